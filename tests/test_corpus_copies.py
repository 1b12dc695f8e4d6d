"""Signatures, places and copies: the law is a plain loop over all pairs, and no order of rows, files or buckets may show."""

import itertools
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.artifact import Home
from scratchlm.core.errors import CheckFailed, DataError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Document
from scratchlm.corpus import copies, copying, cuts, lines, minhash, places, runs, whole
from scratchlm.corpus.road import Road
from scratchlm.corpus.schema import RANKED
from scratchlm.sources import record
from scratchlm.stages import corpus
from scratchlm.units.engine import Engine
from scratchlm.units.unit import Done

WORDS = [f"word{n}" for n in range(3000)]


def story(words: int, seed: int) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def edited(words: Sequence[str], rate: float, seed: int) -> list[str]:
    """Every word is replaced with this probability."""
    dice = random.Random(seed)
    return [dice.choice(WORDS) + "e" if dice.random() < rate else word for word in words]


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    first, second = ({" ".join(words[n : n + 5]) for n in range(len(words) - 4)} for words in (one, other))
    return len(first & second) / max(1, len(first | second))


def none(total: int) -> np.ndarray:
    return np.zeros(total, np.bool_)


def banded(texts: Sequence[str], **columns: np.ndarray) -> pa.Table:
    """What is sought by; the text's number is its place."""
    total = len(texts)
    signatures, enough = minhash.sign([minhash.substance(text) for text in texts])
    own = {"scope": np.zeros(total, np.uint64), "place": np.arange(total), "pinned": none(total), "held_out": none(total)} | columns
    table = pa.table(own).append_column("brief", copies.packed(minhash.brief(signatures))).filter(pa.array(enough))
    keys = minhash.band_keys(signatures[enough]).ravel()
    return copies.band_rows(table, keys, np.arange(len(keys)))


def near_copies(
    texts: Sequence[str], near: float | None = 0.8, held: float = 0.8, buckets: int = 5, **columns: np.ndarray
) -> tuple[pa.Table, pa.Table]:
    """What goes, and the links, by the whole way."""
    rows = banded(texts, **columns)
    bucket = places.bucket_of(rows["key"].to_numpy(), buckets)
    links = copies.joined([copies.links(rows.filter(pa.array(bucket == n)), near=near, held_out=held)[0] for n in range(buckets)])
    half = links["place"].to_numpy() < len(texts) // 2
    return settled([links.filter(pa.array(half)), links.filter(pa.array(~half))], len(texts)), links


def settled(blocks: Sequence[pa.Table], total: int) -> pa.Table:
    return pa.concat_tables(copies.settle(blocks, total))


def pairs_of(found: pa.Table) -> dict[int, int]:
    return dict(zip(found["place"].to_pylist(), found["of"].to_pylist(), strict=True))


# --- signatures


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_rensa_and_numpy_compute_the_same_signatures(sets: list[list[int]]):
    hashes = np.array(list(itertools.chain(*sets)), dtype=np.uint64)
    offsets = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    assert np.array_equal(minhash.signatures(hashes, offsets), minhash.reference(hashes, offsets))


def test_the_reference_gives_the_golden_signatures():
    minhash.check_golden()
    assert minhash._digest(minhash.reference(*minhash._samples())) == minhash.GOLDEN


def test_signatures_of_a_text_are_those_that_are_stored():
    signature, enough = minhash.sign([minhash.substance("The quick brown fox jumps over the lazy dog and runs away from the hounds")])
    assert enough.tolist() == [True]
    assert signature[0, :4].tolist() == [3381087297, 3264092739, 3530279305, 2121732792]
    assert minhash.band_keys(signature)[0, :2].tolist() == [2842045051492697038, 14039068378839359586]


def test_another_rensa_is_an_error_that_says_recompute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(minhash, "_by_rensa", lambda hashes, offsets: minhash.reference(hashes, offsets) + np.uint32(1))
    minhash.check_golden.cache_clear()
    with pytest.raises(CheckFailed, match="recompute every signature"):
        minhash.sign(["a b c d e f"])
    minhash.check_golden.cache_clear()


@given(st.lists(st.text(alphabet=" ab中かก\x00é", max_size=60), min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_a_text_has_the_same_phrases_alone_and_among_others(texts: list[str]):
    texts = [minhash.substance(text) for text in texts]
    hashes, offsets = minhash.shingles(texts)
    for text, start, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
        assert np.array_equal(minhash.shingles([text])[0], hashes[start:end])
        if text.isascii():
            words = text.split()
            assert end - start == max(0, len(words) - 4)
            assert len(np.unique(hashes[start:end])) == len({tuple(words[n : n + 5]) for n in range(len(words) - 4)})


def test_blocks_of_hashing_do_not_show():
    texts = [" ".join(story(40_000, 1)), "x" * 70_000, "", " ".join(story(300, 2))]
    assert len(texts[0]) > 4 * minhash.BLOCK
    alone = np.concatenate([minhash.shingles([" ".join(texts[0].split()[n : n + 5])])[0] for n in range(0, 39_996, 997)])
    hashes, offsets = minhash.shingles(texts)
    assert np.array_equal(hashes[: offsets[1]][::997][: len(alone)], alone)
    assert offsets[3] == offsets[2]


@pytest.mark.parametrize("letter", ["a", " ", "中", "é ", "\x00", "a b ", "กข"])
def test_a_megabyte_of_one_letter_is_soon_done(letter: str):
    signature, _ = minhash.sign([minhash.substance(letter * (2**20 // len(letter)))])
    assert signature.shape == (1, minhash.SLOTS)


def test_case_and_white_space_do_not_count_and_texts_without_spaces_have_words():
    one, other, chinese = minhash.sign(["a b c d e f g h i j k l", "A B C D e f g h i j k l", "天地玄黄宇宙洪荒日月盈昃"])[0]
    assert np.array_equal(one, other)
    assert minhash.sign(["天地玄黄宇宙洪荒日月盈昃"])[1].all()
    assert not np.array_equal(one, chinese)


def test_few_different_phrases_give_no_bands():
    texts = ["one two three four five six", "la " * 500, " ".join(WORDS[:12])]
    assert minhash.sign([minhash.substance(text) for text in texts])[1].tolist() == [False, False, True]
    assert len(banded(texts)) == minhash.BANDS


def test_the_estimate_is_off_by_three_hundredths_on_average():
    pairs = [(words, edited(words, rate / 400, seed)) for seed, rate in enumerate(range(100)) for words in [story(300, 1000 + seed)]]
    signatures, _ = minhash.sign([" ".join(words) for pair in pairs for words in pair])
    brief = minhash.brief(signatures)
    estimated = minhash.similarity(brief[::2], brief[1::2])
    error = estimated - np.array([jaccard(*pair) for pair in pairs])
    assert np.abs(error).mean() < 0.035  # expected: sqrt(2 / pi) times the mean deviation, .03 here
    assert abs(error.mean()) < 0.01
    whole = (signatures[::2] == signatures[1::2]).mean(axis=1)
    assert np.abs(estimated - whole).max() < 0.02  # bytes that are equal by chance


def test_bytes_that_are_equal_by_chance_do_not_count():
    one, other = np.random.default_rng(1).integers(0, 256, (2, 20_000, minhash.SLOTS), dtype=np.uint8)
    other[:, :56] = one[:, :56]
    assert minhash.similarity(one, other).mean() == pytest.approx(0.5, abs=0.001)
    assert minhash.similarity(one[:2], one[:2]).tolist() == [1.0, 1.0]


# --- places


def table(rows: Sequence[tuple[float | None, bool, int]], number: int) -> pa.Table:
    score, pinned, characters = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table({
        "doc_id": pa.array([record.identify(str(number), str(place)) for place in range(len(rows))], pa.string()),
        "row": pa.array([100 * number + place for place in range(len(rows))], pa.int64()),
        "score": pa.array(score, pa.float32()), "pinned": pa.array(pinned, pa.bool_()), "characters": pa.array(characters, pa.int64()),
        "held_out": pa.array([False] * len(rows), pa.bool_()),
    })  # fmt: skip


def ordered(folder: Path, tables: Sequence[pa.Table], keep: Sequence[str]) -> tuple[list[str], Callable[[str], list[int]]]:
    places.order(enumerate(tables), lambda name: folder / name, keep, memory_mb=64)
    return pq.read_table(folder / places.ORDERED)["doc_id"].to_pylist(), lambda name: np.load(folder / name).tolist()


def test_places_follow_the_columns_then_the_id_and_unknown_comes_last(tmp_path: Path):
    rows = [[(float("nan"), True, 5), (1.0, False, 5), (None, False, 9)], [(3.0, False, 4), (3.0, False, 2), (0.5, True, 5)], []]
    tables = [table(part, number) for number, part in enumerate(rows)]
    (tmp_path / "it's").mkdir()
    ids, array = ordered(tmp_path / "it's", tables, ("score", "-characters"))
    every = [row | {"run": run} for run, part in enumerate(tables) for row in part.to_pylist()]

    def preference(row: dict[str, Any]) -> tuple:
        score = row["score"] if row["score"] is not None and row["score"] == row["score"] else -1
        return (not row["pinned"], -score, row["characters"], row["doc_id"])

    expected = sorted(range(6), key=lambda place: preference(every[place]))
    assert array(places.ROWS) == [every[place]["row"] for place in expected]
    assert array(places.RUNS) == [every[place]["run"] for place in expected]
    assert ids == [every[place]["doc_id"] for place in expected]
    assert [array(places.PLACES)[place] for place in expected] == list(range(6))


def test_held_out_text_comes_before_all_that_is_not_pinned_whatever_is_kept(tmp_path: Path):
    rows = table([(9.0, False, 1), (1.0, False, 1), (0.0, True, 1)], 0)
    rows = rows.set_column(rows.column_names.index("held_out"), "held_out", [[False, True, False]])
    _, array = ordered(tmp_path, [rows], ("score",))
    assert array(places.ROWS) == [2, 1, 0]


def test_places_do_not_depend_on_the_order_of_files(tmp_path: Path):
    dice = random.Random(3)
    tables = [table([(dice.choice([None, 1.0, 2.0]), dice.random() < 0.5, dice.randrange(3)) for _ in range(50)], n) for n in range(4)]
    (tmp_path / "back").mkdir()
    there, _ = ordered(tmp_path, tables, places.KEEP[::2])
    back, _ = ordered(tmp_path / "back", tables[::-1], places.KEEP[::2])
    assert there == back


def test_an_id_that_comes_twice_is_told_and_no_document_is_none(tmp_path: Path):
    same = table([(1.0, False, 2)], 1)
    with pytest.raises(DataError, match="comes twice"):
        ordered(tmp_path, [same, same], ("score",))
    assert ordered(tmp_path, [], ("score",))[1](places.PLACES) == []


def test_rules_are_checked_when_they_are_given():
    with pytest.raises(ValueError, match="Did you mean 'score'"):
        copies.CopyRules(keep=("-scor",))
    with pytest.raises(ValueError, match="scope"):
        copies.CopyRules(scope="hosts")  # pyright: ignore[reportArgumentType]


@pytest.mark.soak
def test_sorting_spills_instead_of_growing(tmp_path: Path):
    rows = np.random.default_rng(5).integers(0, 2**62, (3, 1_500_000))
    flags = none(1_500_000)

    def tables() -> Iterator[tuple[int, pa.Table]]:
        for number in range(4):
            ids = [f"{number:02x}{value:030x}" for value in rows[0].tolist()]
            own = {"doc_id": ids, "row": np.arange(len(ids)) + number * len(ids), "pinned": flags, "held_out": flags}
            yield number, pa.table(own | {"score": rows[1].astype(np.float32), "characters": rows[2]})

    assert places.order(tables(), lambda name: tmp_path / name, ("score", "characters"), memory_mb=200) == 6_000_000  # ids alone: 200 MB


# --- exact copies


def exact_by_loop(rows: Sequence[tuple[int, int, int, bool, bool]]) -> dict[int, int]:
    """(key, scope, apart, spared, held out) in the order of places, one after the other: place -> the one it is a copy of."""
    aside = {key for key, _, _, _, held_out in rows if held_out}
    plain: dict[tuple, int] = {}
    named: dict[tuple, int] = {}
    gone = {}
    for place, (key, scope, apart, spared, _) in enumerate(rows):
        group = (key, 0 if key in aside else scope)
        known = named.get((group, apart)) if spared else plain.get(group)
        if known is not None:
            gone[place] = known
        else:
            plain.setdefault(group, place)
            named.setdefault((group, apart), place)
    return gone


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.booleans(), st.booleans()), max_size=30), st.randoms()
)
@settings(max_examples=200, deadline=None)
def test_exact_copies_are_those_of_the_loop_whatever_the_order_of_rows(rows: list[tuple[int, int, int, bool, bool]], dice: random.Random):
    found = copies.same(exact(rows, dice.sample(range(len(rows)), len(rows))))
    expected = exact_by_loop(rows)
    assert pairs_of(found) == expected
    assert [row // 10 for row in found["row"].to_pylist()] == found["place"].to_pylist()
    assert not set(found["of"].to_pylist()) & set(expected)


def exact(rows: Sequence[tuple[int, int, int, bool, bool]], mixed: Sequence[int]) -> pa.Table:
    """(key, scope, apart, pinned, held out) in the order of places, as a bucket in another order."""
    columns = {name: [rows[n][at] for n in mixed] for at, name in enumerate(("key", "scope", "apart", "pinned", "held_out"))}
    more = {"check": [0] * len(mixed), "place": list(mixed), "row": [10 * place for place in mixed], "run": [0] * len(mixed)}
    return pa.Table.from_pydict(columns | more).select(copies.SAME.names).cast(copies.SAME)


def test_only_both_halves_of_the_hash_make_a_copy():
    rows = exact([(7, 0, 0, False, False)] * 2, [0, 1])
    assert len(copies.same(rows)) == 1
    assert not len(copies.same(rows.set_column(1, "check", pa.array([1, 2], pa.uint64()))))


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://www.Example.org:80/a/?b=2&a=1&utm_source=x#top", "example.org/a?a=1&b=2"),
        ("https://example.org", "example.org/"),
        ("https://example.org:8443/A", "example.org:8443/A"),
        ("https://example.org/?q=a%20b&empty=", "example.org/?empty=&q=a+b"),
        ("ftp://example.org/a", None), ("https://[broken", None), ("https://h:99999999/", None), ("mailto:a@b.org", None), (None, None),
    ],
)  # fmt: skip
def test_an_address_names_its_page(url: str | None, page: str | None):
    assert copies.address(url) == page


# --- near copies


@dataclass
class Told:
    """What is known of the documents of a test, by place."""

    scopes: Sequence[int]
    held_out: Sequence[bool]
    pinned: Sequence[bool]


def greedy(texts: Sequence[str], near: float | None, held: float, told: Told) -> dict[int, tuple[int, float]]:
    """Every pair that shares a band is compared; each text is dropped for the most similar one kept before it, or for held-out text."""
    signatures, enough = minhash.sign([minhash.substance(text) for text in texts])
    keys, brief = minhash.band_keys(signatures), minhash.brief(signatures)
    gone: dict[int, tuple[int, float]] = {}
    for one in (one for one in range(len(texts)) if not told.pinned[one]):
        best = (False, 0.0, -1)
        for other in range(one):
            meets = enough[one] and enough[other] and (keys[one] == keys[other]).any()
            share = float(minhash.similarity(brief[[one]], brief[[other]])[0])
            firm = told.held_out[one] != told.held_out[other] and share >= held
            alike = near is not None and told.scopes[one] == told.scopes[other] and share >= near
            if meets and (firm or (alike and other not in gone)) and (other not in gone, share) > best[:2]:
                best = (other not in gone, share, other)
        if best[2] >= 0:
            gone[one] = best[2], best[1]
    return gone


def stories(seed: int, count: int = 30) -> list[str]:
    dice = random.Random(seed)
    words = [story(60, seed % 7 + n) for n in range(4)]
    return [" ".join(edited(dice.choice(words), dice.choice([0.0, 0.01, 0.03, 0.06]), dice.randrange(10**9))) for _ in range(count)]


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_near_copies_are_those_of_the_loop(seed: int):
    texts, dice = stories(seed), random.Random(seed)
    scopes = [dice.randrange(3) for _ in texts]
    found, _ = near_copies(texts, 0.7, scope=np.array(scopes, dtype=np.uint64))
    expected = greedy(texts, 0.7, 0.7, Told(scopes, [False] * 30, [False] * 30))
    assert pairs_of(found) == {place: of for place, (of, _) in expected.items()}
    assert found["value"].to_pylist() == pytest.approx([value for _, value in expected.values()])


@given(st.integers(0, 10**6), st.sampled_from([None, 0.7, 0.9]))
@settings(max_examples=25, deadline=None)
def test_what_is_like_held_out_text_goes_as_by_the_loop(seed: int, near: float | None):
    texts, dice = stories(seed), random.Random(seed)
    kinds = sorted((dice.choice("phooooo") for _ in texts), key="pho".index) if seed % 2 else ["h"] * 3 + ["o"] * 27
    kinds.sort(key="pho".index)  # as places do: pinned, held out, others
    pinned, held_out = ([kind == letter for kind in kinds] for letter in "ph")
    scopes = [dice.randrange(3) for _ in texts]
    columns = {"scope": np.array(scopes, dtype=np.uint64), "pinned": np.array(pinned), "held_out": np.array(held_out)}
    found, _ = near_copies(texts, near, 0.75, **columns)
    assert set(pairs_of(found)) == set(greedy(texts, near, 0.75, Told(scopes, held_out, pinned)))
    assert min(found["value"].to_pylist(), default=1.0) >= min(near or 1.0, 0.75)


def linked(*links: tuple[int, int, float, bool]) -> pa.Table:
    return pa.table([list(column) for column in zip(*links, strict=True)], schema=copies.LINKS)


def test_a_chain_of_small_steps_does_not_drag_its_end_along():
    assert pairs_of(settled([linked((1, 0, 0.9, False), (2, 1, 0.9, False), (3, 2, 0.9, False))], 4)) == {1: 0, 3: 2}


def test_a_firm_link_counts_though_its_other_end_went():
    assert pairs_of(settled([linked((1, 0, 0.9, False), (2, 1, 0.9, True))], 3)) == {1: 0, 2: 1}
    assert pairs_of(settled([linked((2, 0, 0.8, False), (2, 1, 0.9, True))], 3)) == {2: 1}
    assert pairs_of(settled([linked((1, 0, 0.9, False)), linked((2, 0, 0.8, False), (2, 1, 0.9, True))], 3)) == {1: 0, 2: 0}


def test_a_pinned_document_is_kept_and_still_has_copies():
    text = " ".join(story(80, 1))
    found, _ = near_copies([text] * 3, pinned=np.array([True, True, False]))
    assert pairs_of(found) == {2: 0}


def test_a_scope_ends_at_what_is_held_out_and_held_out_text_at_what_is_pinned():
    text = " ".join(story(80, 1))
    scope = np.array([1, 2, 3], dtype=np.uint64)
    assert not len(near_copies([text] * 3, scope=scope)[0])
    found, _ = near_copies([text] * 3, None, scope=scope, held_out=np.array([True, False, False]))
    assert (pairs_of(found), found["firm"].to_pylist()) == ({1: 0, 2: 0}, [True, True])
    found, _ = near_copies([text] * 3, None, pinned=np.array([True, False, False]), held_out=np.array([False, True, True]))
    assert pairs_of(found) == {1: 0, 2: 0}


def crowd(count: int, **columns: np.ndarray) -> pa.Table:
    """Documents that share one band and nothing else."""
    brief = np.random.default_rng(2).integers(0, 256, (count, minhash.SLOTS), dtype=np.uint8)
    own = {"scope": np.zeros(count, np.uint64), "place": np.arange(count), "pinned": none(count), "held_out": none(count)} | columns
    rows = pa.table({"key": np.full(count, 7, np.uint64)} | own).append_column("brief", copies.packed(brief))
    return rows.select(copies.BANDED.names)


def test_full_buckets_are_capped_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copies, "MOST_PAIRS", 1000)
    rows = crowd(500).set_column(5, "brief", copies.packed(np.zeros((500, minhash.SLOTS), np.uint8)))
    links, crowded = copies.links(rows, near=0.8, held_out=0.8)
    assert crowded == copies.Crowd(buckets=1, largest=500, skipped=500 * 499 // 2 - len(links))
    assert len(links) == 1 + 2 * 498
    assert len(settled([links], 500)) == 499


def test_a_full_bucket_still_compares_all_with_all_that_is_held_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copies, "MOST_PAIRS", 100)
    held_out = np.arange(500) < 60
    rows = crowd(500, held_out=held_out)
    brief = copies.unpacked(rows["brief"]).copy()
    brief[499] = brief[59]  # a copy of the last held-out one, far behind the limit
    links, crowded = copies.links(rows.set_column(5, "brief", copies.packed(brief)), near=0.8, held_out=0.8)
    assert pairs_of(links) == {499: 59}
    assert crowded.skipped > 0


def test_of_many_links_the_most_preferred_and_those_to_held_out_text_are_remembered():
    many = copies.joined([linked(*((99, of, 0.9, of in (3, 50)) for of in range(60)))])
    assert many["of"].to_pylist() == [*range(copies.MOST_LINKS), 50]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.10, 0.20])
def test_planted_copies_are_found_as_far_as_they_are_similar(rate: float):
    """Of 2,000 documents 400 are edited copies; at rates of 5 % and more hardly one is still similar enough, and then none may go."""
    originals = [story(150, seed) for seed in range(1600)]
    planted = [edited(originals[n], rate, n) for n in range(400)]
    texts = [" ".join(words) for words in [*originals, *planted]]
    of = pairs_of(near_copies(texts)[0])
    true = [jaccard(originals[n], planted[n]) for n in range(400)]
    assert all(of[place] == place - 1600 for place in of)  # no two different stories are merged
    assert all(true[place - 1600] > 0.65 for place in of)  # .8 less four deviations of the estimate
    sure = [n for n in range(400) if true[n] >= 0.9]
    assert sum(1600 + n in of for n in sure) >= 0.97 * len(sure)


def test_neither_rows_nor_buckets_show_in_the_result():
    texts = [" ".join(edited(story(60, n % 40), 0.01, n)) for n in range(200)]
    one, links = near_copies(texts, buckets=1)
    other, same = near_copies(texts, buckets=64)
    assert links.equals(same)
    assert one.equals(other)


# --- all kinds, as units


def judged(folder: Path, files: Sequence[Sequence[dict[str, Any]]]) -> tuple[list[Done], list[int]]:
    """Files of documents as the step before leaves them; the first row of each, and the number of rows."""
    done, row = [], 0
    starts = [0]
    for number, documents in enumerate(files):
        where = folder / f"judged{number}"
        where.mkdir()
        texts = [minhash.substance(document["text"]) for document in documents]
        signatures, enough = minhash.sign(texts)
        rows = []
        for text, is_enough, document in zip(texts, enough.tolist(), documents, strict=True):
            high, low = copies.text_key(text)
            known = {"source": "s", "host": "h", "lang": "en", "characters": len(text), "pinned": False, "held_out": False}
            own = {"row": row, "substance_high": high, "substance_low": low, "enough": is_enough, "named": "n"}
            rows.append(known | own | document)
            row += 1
        pq.write_table(pa.Table.from_pylist(rows, schema=RANKED), where / "ranked.parquet")
        np.save(where / "signatures.npy", signatures)
        names = {name: str(where / name) for name in ("ranked.parquet", "signatures.npy")}
        done.append(Done(str(number), names, {"left": len(rows)}, 0, ()))
        starts.append(row)
    return done, starts


def ids(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [document | {"doc_id": f"{number:032x}"} for number, document in enumerate(documents)]


def here(folder: Path) -> Road:
    return Road(Engine(workers=0), str(folder / "units"), Journal())


def found_by_units(folder: Path, files: Sequence[Sequence[dict[str, Any]]], rules: copies.CopyRules) -> list[dict[str, Any]]:
    _, decided, _ = whole.find_copies(here(folder), *judged(folder, files), rules)
    tables = [pq.read_table(url) for url in decided]
    assert [set(part["row"].to_pylist()) <= set(range(1000)) for part in tables]
    return pa.concat_tables(tables).to_pylist()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs, buckets and ranges so small that a few documents make many of each."""
    monkeypatch.setattr(runs, "RUN", 2)
    monkeypatch.setattr(copying, "RANGE", 7)
    monkeypatch.setattr(whole, "BUCKET_ROWS", 12)
    monkeypatch.setattr(whole, "NEAR_ROWS", 150)


def test_what_is_kept_in_the_place_of_a_copy_is_kept_itself(tmp_path: Path, small: None):
    base = story(80, 1)
    near, other = " ".join(edited(base, 0.01, 5)), " ".join(story(80, 2))
    documents = ids([
        {"text": " ".join(base), "score": 9.0},
        {"text": near, "score": 5.0, "address": "a.org/2"},  # a near copy of 0
        {"text": other, "score": 4.0, "address": "a.org/2"},  # the address of 1
        {"text": other, "score": 3.0},  # an exact copy of 2
        {"text": " ".join(story(80, 3)), "score": 1.0},
    ])  # fmt: skip
    told = found_by_units(tmp_path, [documents[:2], documents[2:3], [], documents[3:]], copies.CopyRules(near=0.7))
    assert [(row["row"], row["rule"]) for row in told] == [(1, "near copy"), (2, "address copy"), (3, "exact copy")]
    assert {row["dup_of"] for row in told} == {row["cluster"] for row in told} == {documents[0]["doc_id"]}
    assert [row["threshold"] for row in told] == [0.7, 1.0, 1.0]
    assert "which itself went" not in told[0]["reason"]
    assert all("which itself went for the one that is kept" in row["reason"] for row in told[1:])


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_all_kinds_are_those_of_a_loop_over_all_documents(tmp_path: Path, small: None, seed: int):
    dice = random.Random(seed)
    texts = stories(seed, 40)
    documents = ids([
        {"text": dice.choice(texts[:8]) if dice.random() < 0.2 else text, "score": float(dice.randrange(9)), "host": dice.choice("abc"),
         "address": dice.choice(["x/1", "x/2", None, None, None]), "held_out": dice.random() < 0.1} for text in texts
    ])  # fmt: skip
    files = [documents[start : start + 6] for start in range(0, 40, 6)]
    told = found_by_units(tmp_path, files, copies.CopyRules(scope="host", near=0.7))
    by_place = sorted(range(40), key=lambda n: (not documents[n]["held_out"], -documents[n]["score"], -len(documents[n]["text"]), n))
    left, expected = by_place, {}
    for kind in ("text", "address"):
        own = [n for n in left if documents[n].get(kind) is not None]
        number = {value: at for at, value in enumerate(sorted({documents[n][kind] for n in own}))}
        rows = [(number[documents[n][kind]], "abc".index(documents[n]["host"]) + 1, 0, False, documents[n]["held_out"]) for n in own]
        gone = {own[place] for place in exact_by_loop(rows)}
        expected |= dict.fromkeys(gone, {"text": "exact copy", "address": "address copy"}[kind])
        left = [n for n in left if n not in gone]
    about = Told([ord(documents[n]["host"]) for n in left], [documents[n]["held_out"] for n in left], [False] * len(left))
    expected |= {left[place]: "near copy" for place in greedy([documents[n]["text"] for n in left], 0.7, 0.8, about)}
    assert {row["row"]: row["rule"] for row in told} == expected
    assert [row["row"] for row in told] == sorted(expected)
    assert len(set(expected.values())) == 3
    assert not {int(row["dup_of"], 16) for row in told} & set(expected)


def test_neither_runs_nor_buckets_nor_ranges_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    documents = ids([{"text": text, "score": float(n % 5)} for n, text in enumerate(stories(3, 40))])
    files = [documents[start : start + 4] for start in range(0, 40, 4)]
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one = found_by_units(tmp_path / "one", files, copies.CopyRules())
    for module, name, value in ((runs, "RUN", 3), (copying, "RANGE", 5), (whole, "BUCKET_ROWS", 9), (whole, "NEAR_ROWS", 99)):
        monkeypatch.setattr(module, name, value)
    assert found_by_units(tmp_path / "other", files, copies.CopyRules()) == one
    assert one


@pytest.mark.parametrize("rules", [{"near": None}, {"scope": "host"}, {"near": 0.95, "scope": "source"}])
def test_what_is_like_held_out_text_never_trains(tmp_path: Path, rules: dict[str, Any]):
    base = story(80, 1)
    documents = ids([
        {"text": " ".join([*base[:-1], "other"]), "score": 9.0, "host": "a", "source": "t"},
        {"text": " ".join(base), "score": 1.0, "host": "b", "held_out": True},
    ])  # fmt: skip
    (told,) = found_by_units(tmp_path, [documents], copies.CopyRules(**rules))
    assert (told["row"], told["rule"], told["threshold"], told["dup_of"]) == (0, "near copy", 0.8, documents[1]["doc_id"])
    assert told["reason"].endswith("stand in a document that is held out")


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how many descriptors are open")
def test_forty_files_need_no_more_descriptors_than_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "RUN", 1)
    files = [ids([{"text": text, "score": 1.0}])[:1] for text in stories(1, 40)]
    for number, file in enumerate(files):
        file[0]["doc_id"] = f"{number:032x}"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 24, limits[1]))
    try:
        assert found_by_units(tmp_path, files, copies.CopyRules())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_who_is_left_is_told_by_row_of_a_run(tmp_path: Path, small: None):
    documents = ids([{"text": " ".join(story(80, n % 4)), "score": float(n)} for n in range(10)])
    files = [documents[start : start + 3] for start in range(0, 10, 3)]
    road = here(tmp_path)
    done, starts = judged(tmp_path, files)
    ordered, _, _ = whole.find_copies(road, done, starts, copies.CopyRules())
    inputs = {"places": [ordered.places], "ranked": ordered.ranked[2:4], "found": ordered.found}
    (left,) = road.step("left", [whole.unit(road, "left", "copying:left", inputs, run=1, start=6, first_row=6, rows=4)])
    assert np.load(left.files["left.npy"]).tolist() == [3, 2, 1, 0]  # the best of each text: rows 6 to 9
    inputs["ranked"] = ordered.ranked[:2]
    (left,) = road.step("left", [whole.unit(road, "left", "copying:left", inputs, run=0, start=0, first_row=0, rows=6)])
    assert np.load(left.files["left.npy"]).tolist() == [-1] * 6


def test_decisions_say_why_in_words():
    rows = [
        {"row": 1, "run": 0, "kind": "near", "value": 0.875, "firm": False, "through": False, "dup_of": "a"},
        {"row": 2, "run": 0, "kind": "near", "value": 0.875, "firm": True, "through": False, "dup_of": "b"},
        {"row": 3, "run": 0, "kind": "address", "value": 1.0, "firm": False, "through": True, "dup_of": "b"},
    ]
    told = copying.decided(pa.Table.from_pylist(rows, schema=copying.FOLLOWED), 0.85, 0.7).to_pylist()
    assert [row["reason"] for row in told] == [
        "about 88% of its phrases stand in another document",
        "about 88% of its phrases stand in a document that is held out",
        "the web address of another document, which itself went for the one that is kept",
    ]
    assert [(row["stage"], row["rule"], row["value"], row["threshold"]) for row in told] == [
        ("near", "near copy", 0.875, 0.85), ("near", "near copy", 0.875, 0.7), ("address", "address copy", 1.0, 1.0)
    ]  # fmt: skip


BEGINS = ["riv", "ston", "lamp", "door", "wind", "cart", "bell", "road", "leaf", "ship"]
ENDS = ["er", "ing", "ful", "ly", "let", "en", "ish"]


def split_of(folder: Path, home: Path) -> dict[str, dict[str, Any]]:
    """The verdicts on the texts of a folder, by name, where near copies are kept."""
    config = corpus.Config(data=str(folder), minimum_bytes=1, engine=Engine(workers=0), copies=copies.CopyRules(near=None), lines=None)
    made = corpus.run(config, Home(home), Journal())
    return {row["locator"]: row for row in pq.read_table(made.path / "verdicts.parquet").to_pylist()}


def test_a_near_copy_of_a_validation_document_leaves_training(tmp_path: Path):
    """From files to splits, and though near copies are kept: the near copy of what trains stays, that of what is held out goes."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(40):
        dice = random.Random(number)
        said = [[dice.choice(BEGINS) + dice.choice(ENDS) for _ in range(8)] for _ in range(14)]
        text = "\n".join(" ".join([*words, "and", "the", f"number{number}x{line}"]) + "." for line, words in enumerate(said))
        (folder / f"{number:02}.txt").write_text(text)
    before = split_of(folder, tmp_path / "before")
    for name in (next(name for name, row in before.items() if row["split"] == split) for split in ("validation", "test", "train")):
        (folder / f"near-{name}").write_text((folder / name).read_text().replace(".\n", " indeed.\n", 1))
    after = split_of(folder, tmp_path / "after")
    ids_of = {row["doc_id"]: name for name, row in after.items()}
    told = {name: row for name, row in after.items() if name.startswith("near-")}
    originals = [after[name.removeprefix("near-")]["split"] for name in told]
    assert sorted(originals) == ["test", "train", "validation"]
    for (name, row), original in zip(told.items(), originals, strict=True):
        if original == "train":
            assert (row["split"], row["rule"]) == ("train", None)
        else:
            assert (row["split"], row["rule"], row["threshold"]) == (None, "near copy", 0.8)
            assert ids_of[row["dup_of"]] == name.removeprefix("near-")


# --- lines of a host


RULES = lines.LineRules(documents=3, share=0.5, least=4)


def pages(count: int, shared: str, host: str = "a.org") -> list[tuple[str, str | None, str, cuts.Structure]]:
    return [(str(n), host, f"Title {n}\n{shared}\nStory number {n} is told.\n12\n", None) for n in range(count)]


def cut_lines(documents: Sequence[tuple[str, str | None, str, cuts.Structure]], files: int = 2, buckets: int = 3) -> dict[str, str]:
    left = {}
    runs_of = [documents[n::files] for n in range(files)]
    counts = [lines.counted(*([row[at] for row in part] for at in (1, 2, 3)), RULES) for part in runs_of]
    sizes = lines.summed([count.filter(pa.array(count["line"].to_numpy() == 0)) for count in counts])
    rows = [count.append_column("run", pa.array(np.full(len(count), run, np.int32))) for run, count in enumerate(counts)]
    rows = pa.concat_tables(rows).filter(pa.array(pa.concat_tables(rows)["line"].to_numpy() != 0))
    bucket = places.bucket_of(rows["line"].to_numpy(), buckets)
    common = pa.concat_tables([lines.common(rows.filter(pa.array(bucket == n)), sizes, RULES) for n in range(buckets)])
    for run, part in enumerate(runs_of):
        keys = np.sort(common.filter(pa.array(common["run"].to_numpy() == run))["key"].to_numpy())
        spans = dict(lines.found_in(part, keys, RULES))
        left |= {doc_id: cuts.apply(text, spans.get(doc_id, [])) for doc_id, _, text, _ in part}
    return left


def test_a_line_of_most_pages_of_a_host_is_cut_with_its_line_break():
    left = cut_lines(pages(6, "  Read   MORE about cookies"))
    assert left["3"] == "Title 3\nStory number 3 is told.\n12\n"


def test_a_line_of_many_hosts_but_of_few_pages_of_each_stays():
    documents = [(f"{host}{n}", host, f"{'A proverb.' if n == 0 else 'Nothing.' + str(n)}\n", None) for host in "abcdef" for n in range(5)]
    assert all(cut_lines(documents)[doc_id] == text for doc_id, _, text, _ in documents)


def test_small_hosts_and_documents_without_one_keep_their_lines():
    for documents in (pages(3, "Menu"), [(doc_id, None, text, rows) for doc_id, _, text, rows in pages(9, "Menu")]):
        assert all(cut_lines(documents)[doc_id] == text for doc_id, _, text, _ in documents)


def test_a_line_twice_in_one_page_counts_once():
    documents = [*pages(6, "Other"), ("twice", "a.org", "Again\n" * 9, None)]
    assert cut_lines(documents)["twice"] == "Again\n" * 9


def test_lines_of_code_are_neither_counted_nor_cut():
    text = "import numpy\n"
    coded = [(str(n), "a.org", f"Page {n}\n{text}", [{"kind": "code", "start": 7, "end": 7 + len(text)}]) for n in range(6)]
    assert all(cut_lines(coded)[doc_id] == whole for doc_id, _, whole, _ in coded)
    plain = [(doc_id, host, whole, None) for doc_id, host, whole, _ in coded]
    assert cut_lines(plain)["2"] == "Page 2\n"


def test_files_and_buckets_do_not_show_in_the_counts():
    documents = [*pages(12, "Menu"), *pages(7, "Other menu", "b.org")]
    assert cut_lines(documents, 1, 1) == cut_lines(documents, 5, 7)


def test_a_run_is_told_only_lines_that_stand_in_it():
    rows = [(1, 9, 3, 0), (1, 9, 1, 1), (1, 7, 9, 1), (2, 9, 5, 1)]  # host, line, documents, run
    table = pa.table([list(column) for column in zip(*rows, strict=True)], schema=lines.IN_RUN)
    sizes = pa.table({"host": pa.array([1], pa.uint64()), "documents": [8]})
    told = lines.common(table, sizes, RULES)
    host, line = (np.array(values, dtype=np.uint64) for values in ([1, 1, 1], [9, 9, 7]))
    assert told["key"].to_pylist() == lines.key_of(host, line).tolist()
    assert told["run"].to_pylist() == [0, 1, 1]


def test_lines_are_counted_over_all_files_and_each_run_is_told_its_own(tmp_path: Path, small: None):
    rules = lines.LineRules(documents=6, share=0.5, least=10)
    texts: list[tuple[str, tuple[int, int]]] = []
    for number in range(7):
        documents = []
        for n in range(3):
            host, menu = ("a.org", "The menu of a") if n < 2 else ("b.org", "The menu of b")
            facts = {"doc_type": "web", "host": host, "locator": str(n)}
            documents.append(Document(f"{menu}\nStory {number} of {n}.\n", f"{number:016x}{n:016x}", "s", facts))
        texts.append((str(record.write(tmp_path / f"{number}.parquet", documents)), (0, 1)))
    told = whole.common_lines(here(tmp_path), texts, rules)
    assert len(set(told)) == 4  # two files a run
    for url, (path, _) in zip(told, texts, strict=True):
        keys = pq.read_table(url)["key"].to_numpy()
        asked = [(d.id, str(d.facts["host"]), d.text, None) for d in record.read(Path(path))]
        found = dict(lines.found_in(asked, keys, rules))
        assert len(keys) == 1  # b.org has too few pages
        assert [cuts.apply(text, found[doc_id]).partition(" ")[0] for doc_id, _, text, _ in asked] == ["Story", "Story", "The"]
