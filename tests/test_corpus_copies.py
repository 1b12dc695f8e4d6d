"""Signatures, places and copies: the law is a plain loop over all pairs, and no order of rows, files or buckets may show."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import CheckFailed, DataError, UsageError
from scratchlm.core.records import Document
from scratchlm.corpus import copies, cuts, lines, minhash, places, split
from scratchlm.sources import record

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


def near_copies(texts: Sequence[str], least: float = 0.8, buckets: int = 5, **masks: np.ndarray) -> tuple[copies.Copies, pa.Table]:
    """The whole way, as the units go it: the text's number is its place."""
    total = len(texts)
    signatures, enough = minhash.sign([minhash.substance(text) for text in texts])
    scopes = masks.get("scopes", np.zeros(total, np.uint64))
    rows = copies.banded(signatures, enough, np.arange(total), scopes)
    bucket = places.bucket_of(rows["key"].to_numpy(), buckets)
    held_out = masks.get("held_out", none(total))
    found = [
        copies.links(rows.filter(pa.array(bucket == n)), lambda at: signatures[at], least=least, held_out=held_out)[0]
        for n in range(buckets)
    ]
    links = copies.joined(found)
    half = links["place"].to_numpy() < total // 2
    blocks = [links.filter(pa.array(half)), links.filter(pa.array(~half))]
    return copies.settle(lambda: blocks, total, spared=masks.get("spared", none(total))), links


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
    signatures, enough = minhash.sign([minhash.substance(text) for text in texts])
    assert enough.tolist() == [False, False, True]
    assert len(copies.banded(signatures, enough, np.arange(3), np.zeros(3, np.uint64))) == minhash.BANDS


def test_the_estimate_is_off_by_three_hundredths_on_average():
    pairs = [(words, edited(words, rate / 400, seed)) for seed, rate in enumerate(range(100)) for words in [story(300, 1000 + seed)]]
    signatures, _ = minhash.sign([" ".join(words) for pair in pairs for words in pair])
    estimated = minhash.similarity(signatures[::2], signatures[1::2])
    error = estimated - np.array([jaccard(*pair) for pair in pairs])
    assert np.abs(error).mean() < 0.035  # expected: sqrt(2 / pi) times the mean deviation, .03 here
    assert abs(error.mean()) < 0.01


# --- places


def table(rows: Sequence[tuple[float | None, bool, int]], number: int) -> pa.Table:
    score, pinned, characters = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table({
        "doc_id": [record.identify(str(number), str(place)) for place in range(len(rows))],
        "score": pa.array(score, pa.float32()), "pinned": pa.array(pinned, pa.bool_()), "characters": pa.array(characters, pa.int64()),
    })  # fmt: skip


def ordered(folder: Path, tables: Sequence[pa.Table], keep: Sequence[str]) -> tuple[list[str], Callable[[str], np.ndarray]]:
    files = [str(folder / f"it's {number}.parquet") for number in range(len(tables))]
    for file, rows in zip(files, tables, strict=True):
        pq.write_table(rows, file)
    places.order(files, lambda name: folder / name, keep, memory_mb=64)
    return files, lambda name: np.load(folder / name, mmap_mode="r")


def test_places_follow_the_columns_then_the_id_and_unknown_comes_last(tmp_path: Path):
    rows = [[(float("nan"), True, 5), (1.0, False, 5), (None, False, 9)], [(3.0, False, 4), (3.0, False, 2), (0.5, True, 5)], []]
    tables = [table(part, number) for number, part in enumerate(rows)]
    _, array = ordered(tmp_path, tables, ("pinned", "score", "-characters"))
    every = [row for part in tables for row in part.to_pylist()]

    def preference(row: dict) -> tuple:
        score = row["score"] if row["score"] is not None and row["score"] == row["score"] else -1
        return (not row["pinned"], -score, row["characters"], row["doc_id"])

    expected = sorted(range(6), key=lambda place: preference(every[place]))
    assert array("rows.npy").tolist() == expected
    assert array("ids.npy").astype("U").tolist() == [every[place]["doc_id"] for place in expected]
    assert array("places.npy")[expected].tolist() == list(range(6))


def test_places_do_not_depend_on_the_order_of_files(tmp_path: Path):
    dice = random.Random(3)
    tables = [table([(dice.choice([None, 1.0, 2.0]), dice.random() < 0.5, dice.randrange(3)) for _ in range(50)], n) for n in range(4)]
    (tmp_path / "back").mkdir()
    _, there = ordered(tmp_path, tables, places.KEEP[:1] + places.KEEP[2:])
    _, back = ordered(tmp_path / "back", tables[::-1], places.KEEP[:1] + places.KEEP[2:])
    assert there("ids.npy").tolist() == back("ids.npy").tolist()


def test_signatures_are_found_by_place(tmp_path: Path):
    files, array = ordered(tmp_path, [table([(1.0, False, n) for n in range(size)], size) for size in (3, 5)], ("-characters",))
    parts = [np.arange(size * 4, dtype=np.uint32).reshape(size, 4) + 100 * size for size in (3, 5)]
    names = [str(tmp_path / f"{number}.npy") for number in range(2)]
    for name, part in zip(names, parts, strict=True):
        np.save(name, part)
    found = places.stored(names, places.offsets(files), array("rows.npy"))(np.arange(8))
    assert np.array_equal(found, np.concatenate(parts)[array("rows.npy")])


def test_an_id_that_comes_twice_or_an_unknown_column_is_told(tmp_path: Path):
    same = table([(1.0, False, 2)], 1)
    with pytest.raises(DataError, match="comes twice"):
        ordered(tmp_path, [same, same], ("score",))
    with pytest.raises(UsageError, match="Did you mean 'score'"):
        ordered(tmp_path, [same], ("scor",))
    assert places.order([], lambda name: tmp_path / name) == 0


@pytest.mark.soak
def test_sorting_spills_instead_of_growing(tmp_path: Path):
    rows = np.random.default_rng(5).integers(0, 2**62, (3, 1_500_000))
    files = []
    for number in range(4):
        ids = [f"{number:02x}{value:030x}" for value in rows[0].tolist()]
        files.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(pa.table({"doc_id": ids, "score": rows[1].astype(np.float32), "characters": rows[2]}), files[-1])
    assert places.order(files, lambda name: tmp_path / name, ("score", "characters"), memory_mb=200) == 6_000_000  # ids alone: 200 MB


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
    mixed = dice.sample(range(len(rows)), len(rows))
    columns = {name: np.array([rows[n][at] for n in mixed], dtype=np.uint64) for at, name in enumerate(("key", "scope", "apart"))}
    bucket = pa.table({**columns, "check": np.zeros(len(rows), np.uint64), "place": np.array(mixed, dtype=np.int64)})
    spared, held_out = (np.array([row[at] for row in rows], dtype=np.bool_) for at in (3, 4))
    found = copies.same(bucket, spared=spared, held_out=held_out)
    assert dict(zip(found.place.tolist(), found.of.tolist(), strict=True)) == exact_by_loop(rows)
    left = copies.survivors(len(rows), found)
    assert left[found.of].all()
    assert left.sum() + len(found.place) == len(rows)


def test_only_both_halves_of_the_hash_make_a_copy():
    rows = {"key": [7, 7], "check": [1, 2], "scope": [0, 0], "apart": [0, 0], "place": [0, 1]}
    arrays = {name: np.array(values, dtype=np.int64 if name == "place" else np.uint64) for name, values in rows.items()}
    assert not len(copies.same(pa.table(arrays), spared=none(2), held_out=none(2)).place)


def test_a_cluster_is_named_after_its_most_preferred_document():
    arrays = {name: np.full(4, 5, np.uint64) for name in ("key", "check", "scope", "apart")}
    found = copies.same(pa.table({**arrays, "place": np.array([3, 1, 2, 0])}), spared=none(4), held_out=none(4))
    ids = np.array([letter * 32 for letter in "abcd"], dtype="S32")
    rows = copies.decisions(found, ids, stage="exact").to_pylist()
    assert [row["doc_id"][0] for row in rows] == ["b", "c", "d"]
    assert {(row["rule"], row["dup_of"], row["cluster"], row["cluster_size"]) for row in rows} == {("exact copy", "a" * 32, "a" * 32, 4)}


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


def greedy(texts: Sequence[str], least: float, scopes: Sequence[int], held_out: Sequence[bool]) -> dict[int, tuple[int, float]]:
    """Every pair that shares a band is compared; each text is dropped for the most similar one kept before it."""
    signatures, enough = minhash.sign([minhash.substance(text) for text in texts])
    keys = minhash.band_keys(signatures)
    gone: dict[int, tuple[int, float]] = {}
    for one in range(len(texts)):
        best = (-1, 0.0)
        for other in range(one):
            meets = enough[one] and enough[other] and (keys[one] == keys[other]).any()
            allowed = scopes[one] == scopes[other] or held_out[one] or held_out[other]
            share = float(minhash.similarity(signatures[[one]], signatures[[other]])[0])
            if meets and allowed and other not in gone and share >= least and share > best[1]:
                best = (other, share)
        if best[0] >= 0:
            gone[one] = best
    return gone


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_near_copies_are_those_of_the_loop(seed: int):
    dice = random.Random(seed)
    words = [story(60, seed % 7 + n) for n in range(4)]
    texts = [" ".join(edited(dice.choice(words), dice.choice([0.0, 0.01, 0.03, 0.06]), dice.randrange(10**9))) for _ in range(30)]
    scopes, held_out = [dice.randrange(3) for _ in texts], [dice.random() < 0.1 for _ in texts]
    found, _ = near_copies(texts, 0.7, scopes=np.array(scopes, dtype=np.uint64), held_out=np.array(held_out))
    expected = greedy(texts, 0.7, scopes, held_out)
    assert dict(zip(found.place.tolist(), found.of.tolist(), strict=True)) == {place: of for place, (of, _) in expected.items()}
    assert found.value.tolist() == pytest.approx([value for _, value in expected.values()])


def test_a_chain_of_small_steps_does_not_drag_its_end_along():
    links = pa.table([[1, 2, 3], [0, 1, 2], [0.9, 0.9, 0.9]], schema=copies.LINKS)
    found = copies.settle(lambda: [links], 4, spared=none(4))
    assert list(zip(found.place, found.of, strict=True)) == [(1, 0), (3, 2)]
    assert (found.cluster.tolist(), found.size.tolist()) == ([0, 0], [4, 4])


def test_a_spared_document_is_kept_and_still_has_copies():
    links = pa.table([[1, 2], [0, 1], [0.9, 0.8]], schema=copies.LINKS)
    found = copies.settle(lambda: [links], 3, spared=np.array([False, True, False]))
    assert list(zip(found.place, found.of, strict=True)) == [(2, 1)]


def test_a_scope_ends_at_what_is_held_out():
    text = " ".join(story(80, 1))
    scopes = np.array([1, 2, 3], dtype=np.uint64)
    assert not len(near_copies([text] * 3, scopes=scopes)[0].place)
    found, _ = near_copies([text] * 3, scopes=scopes, held_out=np.array([True, False, False]))
    assert found.of.tolist() == [0, 0]


def test_full_buckets_are_capped_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(copies, "MOST_PAIRS", 1000)
    rows = pa.table({"key": np.full(500, 7, np.uint64), "scope": np.zeros(500, np.uint64), "place": np.arange(500)})
    signatures = np.zeros((500, minhash.SLOTS), np.uint32)
    links, crowd = copies.links(rows, lambda at: signatures[at], least=0.8, held_out=none(500))
    assert crowd == copies.Crowd(buckets=1, largest=500, skipped=500 * 499 // 2 - len(links))
    assert len(links) == 1 + 2 * 498
    assert len(copies.settle(lambda: [links], 500, spared=none(500)).place) == 499


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_components_are_those_of_the_plain_union(pairs: list[tuple[int, int]]):
    label = list(range(30))
    for one, other in pairs:
        keep, drop = sorted((label[one], label[other]))
        label = [keep if value == drop else value for value in label]
    one, other = (np.array([pair[at] for pair in pairs], dtype=np.int64) for at in (0, 1))
    assert copies.components(lambda: [(one[:9], other[:9]), (one[9:], other[9:])], 30).tolist() == label


def test_a_long_path_is_one_component():
    path = np.random.default_rng(1).permutation(20_000)
    assert not copies.components(lambda: [(path[:-1], path[1:])], 20_000).any()


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.10, 0.20])
def test_planted_copies_are_found_as_far_as_they_are_similar(rate: float):
    """Of 2,000 documents 400 are edited copies; at rates of 5 % and more hardly one is still similar enough, and then none may go."""
    originals = [story(150, seed) for seed in range(1600)]
    planted = [edited(originals[n], rate, n) for n in range(400)]
    texts = [" ".join(words) for words in [*originals, *planted]]
    found, _ = near_copies(texts)
    of = dict(zip(found.place.tolist(), found.of.tolist(), strict=True))
    true = [jaccard(originals[n], planted[n]) for n in range(400)]
    assert all(of[place] == place - 1600 for place in of)  # no two different stories are merged
    assert all(true[place - 1600] > 0.65 for place in of)  # .8 less four deviations of the estimate
    sure = [n for n in range(400) if true[n] >= 0.9]
    assert sum(1600 + n in of for n in sure) >= 0.97 * len(sure)
    assert len(copies.survivors(2000, found).nonzero()[0]) + len(of) == 2000


def test_neither_rows_nor_buckets_show_in_the_result():
    texts = [" ".join(edited(story(60, n % 40), 0.01, n)) for n in range(200)]
    one, links = near_copies(texts, buckets=1)
    other, same = near_copies(texts, buckets=64)
    assert links.equals(same)
    assert copies.decisions(one, np.arange(200).astype("S32"), stage="near").equals(
        copies.decisions(other, np.arange(200).astype("S32"), stage="near")
    )


# --- lines of a host


RULES = lines.LineRules(documents=3, share=0.5, least=4)


def pages(count: int, shared: str, host: str = "a.org") -> list[tuple[str, str | None, str, cuts.Structure]]:
    return [(str(n), host, f"Title {n}\n{shared}\nStory number {n} is told.\n12\n", None) for n in range(count)]


def cut_lines(documents: Sequence[tuple[str, str | None, str, cuts.Structure]], files: int = 2) -> dict[str, str]:
    parts = [documents[n::files] for n in range(files)]
    tables = [lines.counted(*([row[at] for row in part] for at in (1, 2, 3)), RULES) for part in parts]
    counts = lines.summed(tables)
    sizes = counts.filter(pa.array(counts["line"].to_numpy() == 0))
    common = lines.boilerplate(counts, sizes, RULES)
    spans = dict(lines.found_in(documents, common, RULES))
    return {doc_id: cuts.apply(text, spans.get(doc_id, [])) for doc_id, _, text, _ in documents}


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


def test_files_do_not_show_in_the_counts():
    documents = pages(12, "Menu")
    assert cut_lines(documents, 1) == cut_lines(documents, 5)


# --- the split


def family_rows(groups: int, each: int, parents: dict[int, list[int]]) -> pa.Table:
    ids = [f"{n:032x}" for n in range(groups * each)]
    own = [[f"{p:032x}" for p in parents[n]] if n in parents else None for n in range(len(ids))]
    return pa.table([ids, [f"g{n // each}" for n in range(len(ids))], [100] * len(ids), own], schema=split.ROWS)


@given(st.integers(0, 10**6), st.sampled_from([3, 60]))
@settings(max_examples=40, deadline=None)
def test_a_document_and_its_parents_are_in_one_split(seed: int, groups: int):
    dice = random.Random(seed)
    total = groups * 8
    parents = {dice.randrange(total): [dice.randrange(total + 20)] for _ in range(10)}  # some of them are not there
    codes = split.assign_rows(family_rows(groups, 8, parents), fractions={"validation": 0.1, "test": 0.1}, pinned={"g1"}, seed=seed)
    of_parent: dict[int, set[int]] = {}
    for child, (parent,) in parents.items():
        of_parent.setdefault(parent, set()).add(int(codes[child]))
        if parent < total:
            of_parent[parent].add(int(codes[parent]))
    assert all(len(found) == 1 for found in of_parent.values())
    assert not codes[8:16].any()
    assert set(codes.tolist()) == {0, 1, 2}
    if groups == 60:  # and so are their groups
        assert all(len(set(codes[n : n + 8].tolist())) == 1 for n in range(0, total, 8))


def test_documents_and_rows_give_the_same_split():
    rows = family_rows(30, 4, {5: [80]})
    documents = [
        replace(
            Document("x" * 100, row["doc_id"], "s"),
            facts={"host": row["group"], "parents": None if row["parents"] is None else f'["{row["parents"][0]}"]'},
        )
        for row in rows.to_pylist()
    ]
    codes = split.assign_rows(rows, fractions={"validation": 0.1, "test": 0.1}, pinned=(), seed=4)
    assert [split.SPLITS[code] for code in codes] == list(
        split.assign(documents, fractions={"validation": 0.1, "test": 0.1}, pinned=(), seed=4).values()
    )
