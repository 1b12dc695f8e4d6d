"""Repeated passages: the law is a plain look at every pair of positions; cuts keep characters, words and code blocks whole."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import cuts, passages, places, runs, substrings, whole
from scratchlm.corpus.places import bucket_of
from scratchlm.corpus.road import Road
from scratchlm.corpus.schema import RANKED
from scratchlm.sources import record
from scratchlm.units.engine import Engine

WORDS = [f"word{n}" for n in range(30)]


def prose(words: int, seed: int) -> str:
    dice = random.Random(seed)
    return " ".join(dice.choice(WORDS) + str(dice.randrange(10**4)) for _ in range(words))


def joined(texts: list[bytes]) -> tuple[bytes, np.ndarray]:
    return substrings.SEPARATOR.join([*texts, b""]), np.cumsum([len(text) + 1 for text in texts]).astype(np.int64) - 1


def by_all_pairs(texts: list[bytes], least: int) -> list[tuple[int, int]]:
    """A position is repeated if its next bytes, all in one text, also start at least so many bytes earlier in all texts."""
    blob, _ = joined(texts)
    covered = set()
    for place in range(len(blob) - least + 1):
        piece = blob[place : place + least]
        if b"\xff" not in piece and blob.find(piece, 0, place) >= 0:
            covered |= set(range(place, place + least))
    return cuts.merged((place, place + 1) for place in covered)


def found_in(texts: Sequence[bytes], least: int, buckets: int = 1, crowd: int | None = None) -> list[list[cuts.Span]]:
    """The repeated bytes of each text, by all steps that look at bytes; the text's number is its place."""
    blob, ends = joined(list(texts))
    at, hashes = substrings.marks(blob, ends, least)
    number = np.searchsorted(ends, at)
    start = at - np.append(0, ends + 1)[number]
    marks = pa.table([hashes, number, start, np.zeros(len(at), np.int32)], schema=passages.MARKS)
    found, bucket = [], bucket_of(hashes, buckets)
    for n in range(buckets):
        asked, _ = passages.asked(marks.filter(pa.array(bucket == n)), crowd or substrings.crowd(least))
        rows = asked.to_pylist()
        for row in rows:
            text = texts[row["place"]]
            low, high = substrings.around(row["start"], len(text), least)
            row |= {"start": low, "text": text[low:high]}
        pieces = pa.Table.from_pylist(rows, schema=passages.PIECES)
        for part in sorted(set(pieces["part"].to_pylist())):
            own = pieces.filter(pa.array(pieces["part"].to_numpy() == part)).sort_by([("place", "ascending"), ("start", "ascending")])
            found += passages.compared(own, least).to_pylist()
    spans: list[list[cuts.Span]] = [[] for _ in texts]
    for row in found:
        spans[row["place"]].append((row["start"], row["end"]))
    return [cuts.merged(own) for own in spans]


def in_joined(texts: list[bytes], spans: list[list[cuts.Span]]) -> list[cuts.Span]:
    starts = np.append(0, joined(texts)[1] + 1).tolist()
    return [(first + start, first + end) for first, own in zip(starts, spans, strict=False) for start, end in own]


def passages_of(
    texts: Sequence[str], structures: Sequence[cuts.Structure] | None = None, least: int = 100
) -> tuple[list[list[cuts.Span]], int]:
    """What to cut of each text, in characters."""
    found = found_in([text.encode("utf-8", "surrogatepass") for text in texts], least)
    told = [
        substrings.settled(text, np.array(own, dtype=np.int64).reshape(-1, 2), structure)
        for text, own, structure in zip(texts, found, structures or [None] * len(texts), strict=True)
    ]
    return [spans for spans, _ in told], sum(hits for _, hits in told)


texts_of_few_letters = st.lists(st.text(alphabet="ab\x00", max_size=60).map(str.encode), min_size=1, max_size=5)


@given(texts_of_few_letters, st.integers(16, 20), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_repeated_bytes_are_those_of_all_pairs(texts: list[bytes], least: int, buckets: int):
    texts = [*texts, texts[0] + b"x" + texts[-1], b"ab" * 30]
    assert in_joined(texts, found_in(texts, least, buckets)) == by_all_pairs(texts, least)


@given(st.lists(st.text(alphabet="abcdefgh", min_size=20, max_size=30), min_size=2, max_size=4), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_repeated_bytes_of_longer_texts_are_those_of_all_pairs(words: list[str], seed: int):
    dice = random.Random(seed)
    texts = ["".join(dice.choice(words) + dice.choice("xyz") * dice.randrange(3) for _ in range(9)).encode() for _ in range(4)]
    assert in_joined(texts, found_in(texts, 33)) == by_all_pairs(texts, 33)


@given(st.text(alphabet="ab", max_size=300), st.integers(16, 40))
@settings(max_examples=150, deadline=None)
def test_every_stretch_holds_a_mark_that_its_bytes_alone_decide(text: str, least: int):
    blob, ends = joined([text.encode(), b"ab" * 100])
    at, hashes = substrings.marks(blob, ends, least)
    place = dict(zip(at.tolist(), hashes.tolist(), strict=True))
    smallest: dict[bytes, int] = {}
    for start in range(len(blob) - least + 1):
        piece = blob[start : start + least]
        if substrings.SEPARATOR not in piece:
            own = {place[n] for n in range(start, start + least - substrings.gram(least) + 1) if n in place}
            assert own
            assert smallest.setdefault(piece, min(own)) == min(own)


def test_marks_are_as_few_as_they_must_be():
    text = prose(30_000, 3).encode()
    at, _ = substrings.marks(*joined([text]), 100)
    assert len(at) / len(text) == pytest.approx(2 / 52, rel=0.05)
    assert len(substrings.marks(*joined([b"a" * 100_000]), 100)[0]) < 100_000 / 10


def test_blocks_and_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch):
    texts = [prose(40, seed % 5).encode() for seed in range(12)] + [b"na" * 200]
    expected = found_in(texts, 30)
    assert in_joined(texts, expected) == by_all_pairs(texts, 30)
    monkeypatch.setattr(substrings, "CHUNK", 17)
    monkeypatch.setattr(substrings, "MOST", 64)
    assert found_in(texts, 30) == expected


def test_a_crowded_mark_is_compared_in_parts_with_the_first_ones():
    texts = [prose(20, 1).encode()] * 100
    blob, ends = joined(texts)
    at, hashes = substrings.marks(blob, ends, 60)
    table = pa.table([hashes, np.searchsorted(ends, at), at, np.zeros(len(at), np.int32)], schema=passages.MARKS)
    asked, facts = passages.asked(table, 16)
    often = [count for count in np.unique(hashes, return_counts=True)[1].tolist() if count > 18]
    assert facts == {"asked": len(asked), "crowded": len(often), "apart": sum(often)}
    assert sum(often) > 900
    counts = asked.group_by(["mark", "part"]).aggregate([("place", "count")])["place_count"].to_numpy()
    assert counts.max() <= 18
    assert found_in(texts, 60, crowd=16) == [[], *[[(0, len(texts[0]))]] * 99]


def test_all_planted_passages_are_found_and_the_first_ones_stay():
    planted = [prose(60, 500 + n)[:400] for n in range(30)]
    texts = [f"{prose(50, n)} {passage} {prose(50, 100 + n)}" for n, passage in enumerate([*planted, *planted])]
    found, _ = passages_of(texts)
    assert found[:30] == [[]] * 30
    for text, spans, passage in zip(texts[30:], found[30:], planted, strict=True):
        ((start, end),) = spans
        place = text.index(passage)
        assert start <= place + substrings.WORD  # half words at its ends stay
        assert end >= place + 400 - substrings.WORD
        assert place - 8 <= start < end <= place + 408
        assert cuts.apply(text, spans).split()[:50] == text.split()[:50]


def test_a_passage_twice_in_one_text_stays_once():
    passage = prose(40, 1)
    text = f"{passage}\n{prose(9, 2)}\n{passage}\n"
    (spans,), _ = passages_of([text])
    assert cuts.apply(text, spans).count(passage) == 1


def test_what_repeats_itself_keeps_its_first_bytes():
    assert found_in([b"ha" * 500], 100) == [[(100, 1000)]]


def test_nothing_is_found_across_the_border_of_two_texts():
    one, other = prose(20, 1)[:80], prose(20, 2)[:80]
    assert passages_of([one, other, one, other])[0] == [[]] * 4


@given(st.lists(st.text(alphabet="aé中😀 \n", min_size=10, max_size=80), min_size=1, max_size=4), st.integers(16, 24))
@settings(max_examples=100, deadline=None)
def test_no_character_is_torn_and_every_cut_stands_earlier(texts: list[str], least: int):
    texts = [*texts, "".join(texts)]
    found, _ = passages_of(texts, None, least)
    for number, (text, spans) in enumerate(zip(texts, found, strict=True)):
        assert spans == cuts.merged(spans)
        for start, end in spans:
            before = "\n\x01".join([*texts[:number], text[: end - 1]])
            window = max(1, least // 4 - 1)  # characters of at most four bytes
            assert all(text[place : place + window] in before for place in range(start, end - window + 1))


def test_a_code_block_goes_whole_or_stays_whole():
    code, tail = prose(30, 7), prose(30, 8)
    first = f"{code}\n{tail}\n"
    second = f"Look:\n{code}\nxx{tail[5:]} end"
    inside = [{"kind": "code", "start": 6, "end": 6 + len(code)}]
    torn = [{"kind": "code", "start": 6 + len(code) - 40, "end": len(second)}]
    (_, (whole_, _)), stepped = passages_of([first, second], [None, inside])
    assert (whole_, stepped) == ((6, 7 + len(code)), 0)
    (_, left), stepped = passages_of([first, second], [None, torn])
    assert (left, stepped) == ([(6, 6 + len(code) - 40)], 2)


spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


@given(spans, spans)
@settings(max_examples=200, deadline=None)
def test_around_leaves_whole_blocks_and_takes_all_else(some: list[cuts.Span], whole: list[cuts.Span]):
    some, whole = cuts.merged(some), cuts.merged(whole)
    left, stepped = cuts.around(some, whole)
    taken, given_, torn = ({place for start, end in rows for place in range(start, end)} for rows in (left, some, []))
    for start, end in whole:
        block = set(range(start, end))
        assert block <= taken or not block & taken
        torn |= block if not block <= given_ else set()
    assert taken == given_ - torn
    assert (stepped > 0) == bool(given_ & torn)
    assert left == [span for span in left if span[0] < span[1]]


@pytest.mark.parametrize("letter", ["a", "\x00", "é", "ab\n"])
def test_a_megabyte_of_one_letter_is_soon_done(letter: str):
    text = letter * (2**20 // len(letter.encode()))
    (spans,), _ = passages_of([text])
    assert len(cuts.apply(text, spans)) < 200


def test_no_text_and_short_texts_have_no_passages():
    assert passages_of([]) == ([], 0)
    assert passages_of(["a", "", "a"])[0] == [[], [], []]


# --- as units


def cut_by_units(folder: Path, files: Sequence[Sequence[str]], common: Sequence[Sequence[cuts.Span]] | None = None) -> list[str]:
    """The texts of files of documents after all steps; the longer ones are preferred, and documents that begin with '-' are gone before."""
    road, row = Road(Engine(workers=0), str(folder / "units"), Journal()), 0
    texts, attributes, ranked, starts, tables = [], [], [], [0], []
    for number, file in enumerate(files):
        documents = [Document(text, f"{row + n:032x}", "s", {"locator": str(n)}) for n, text in enumerate(file)]
        path = record.write(folder / f"{number}.parquet", documents)
        texts.append((str(path), (0, pq.ParquetFile(path).num_row_groups)))
        known = [{"cuts": [{"start": start, "end": end} for start, end in (common[row + n] if common else [])]} for n in range(len(file))]
        schema = pa.schema([("cuts", pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())])))])
        pq.write_table(pa.Table.from_pylist(known, schema=schema), folder / f"attributes{number}.parquet")
        rows = [{"doc_id": f"{row + n:032x}", "row": row + n, "characters": len(text)} for n, text in enumerate(file) if text[:1] != "-"]
        table = pa.Table.from_pylist([each | {"pinned": False, "held_out": False} for each in rows], schema=RANKED)
        pq.write_table(table, folder / f"ranked{number}.parquet")
        tables.append(table)
        attributes.append(str(folder / f"attributes{number}.parquet"))
        ranked.append(str(folder / f"ranked{number}.parquet"))
        row += len(file)
        starts.append(row)
    places.order(enumerate(tables), lambda name: folder / name, ("characters",))
    ordered = whole.Ordered(ranked, places.offsets(map(len, tables)).tolist(), str(folder / places.PLACES), [])
    found, _ = whole.find_passages(road, texts, attributes, starts, ordered, substrings.PassageRules())
    left = []
    for file, url in zip(files, found, strict=True):
        spans: dict[str, list[cuts.Span]] = {}
        for span in pq.read_table(url).to_pylist():
            spans.setdefault(span["doc_id"], []).append((span["start"], span["end"]))
        first = len(left)
        left += [cuts.apply(text, spans.get(f"{first + n:032x}", [])) for n, text in enumerate(file)]
    return left


def test_a_passage_is_found_however_far_apart_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two texts with the same passage, and between them in the order of preference more than is ever searched at once."""
    monkeypatch.setattr(runs, "RUN", 2)
    monkeypatch.setattr(substrings, "SEARCHED", 2**12)
    monkeypatch.setattr(whole, "PIECE_BYTES", 2**11)
    monkeypatch.setattr(passages, "FILE_BYTES", 2**12)
    passage = prose(40, 1)
    between = [prose(300 + n, 10 + n) for n in range(20)]
    files = [[f"{prose(900, 2)}\n{passage}"], between[:7], [f"-{passage}"], [], between[7:], [f"{passage}\n{prose(9, 3)}"]]
    left = cut_by_units(tmp_path, files)
    assert left[-1] == f"\n{prose(9, 3)}"
    assert left[:-1] == [text for file in files[:-1] for text in file]


def test_common_lines_are_not_sought_and_places_count_from_the_text_as_it_was_read(tmp_path: Path):
    passage, menu = prose(40, 1), "Menu " * 30
    one, other = f"{menu}\n{passage}\n{prose(30, 2)}", f"{menu}\n{passage}\nend"
    left = cut_by_units(tmp_path, [[one, other]], [[(0, len(menu) + 1)]] * 2)
    assert left == [one, f"{menu}\nend"]


def test_a_document_larger_than_all_that_is_searched_at_once_takes_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(substrings, "SEARCHED", 2**14)
    monkeypatch.setattr(passages, "FILE_BYTES", 2**14)
    large, passage = prose(20_000, 5) + "a" * 2**18, prose(40, 1)
    left = cut_by_units(tmp_path, [[f"{large} {passage}", f"{passage} and more"]])
    assert left[1] == " and more"
    assert len(left[0]) == len(large) - 2**18 + 100 + 1 + len(passage)


def test_structure_moves_with_what_is_cut_before():
    code = {"kind": "code", "start": 3, "end": 12}
    document = Document(f"xx code {'y' * 200}", "d", "s", {"structure": json.dumps([code])})
    text = passages.Text(0, 3, 0, document, [(0, 3)], document.text[3:])
    rows, stepped = passages._of_text(text, [(5, 205)])
    assert (stepped, [(row["row"], row["start"], row["end"]) for row in rows]) == (1, [(3, 12, 208)])
