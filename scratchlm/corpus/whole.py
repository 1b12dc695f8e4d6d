"""The steps that look at the whole corpus: lines of hosts, copies, repeated passages. Which units, on what, in which order.

All are shuffles: a unit for each run of files, one for each bucket, and back. The number of buckets grows with the corpus, so that none
grows; what one unit writes for another grows smaller, and their number with the square of the corpus.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from scratchlm.corpus import copies, copying, lines, minhash, places, runs, substrings
from scratchlm.corpus.copying import every
from scratchlm.units.unit import Done, Unit

MEMORY_MB = 400
"""What DuckDB may hold while it sorts and joins."""
BUCKET_ROWS = 2_000_000
"""Rows that a bucket should hold: 100 to 300 MB while they are reduced."""
NEAR_ROWS = 1_000_000
"""The same for near copies, whose rows are larger: 145 MB of rows, 500 while they are reduced."""
MARKED = 4
"""Files whose marks a bucket should hold: a million rows of English text, at most five."""
PIECE_BYTES = 2**26
"""Text around marks that a bucket should hold."""
Texts = Sequence[tuple[str, tuple[int, int]]]
"""Each file of documents, and from which of its row groups up to which."""


@runtime_checkable
class Steps(Protocol):
    """Does units, as ``road.Road``."""

    def step(self, name: str, units: Sequence[Unit]) -> list[Done]:
        """All units of a step, done or found."""
        ...

    def unit(self, step: str, work: str, inputs: Sequence[str], **config: Any) -> Unit:
        """A unit of one of the modules of this room."""
        ...


@dataclass(frozen=True)
class Ordered:
    """The order of all documents that no rule refuses, and what is known of their copies."""

    ranked: Sequence[str]
    starts: Sequence[int]
    """Of each file the rank of its first document among all, and how many there are."""
    places: str
    found: Sequence[str]
    """Copies of all kinds, in buckets by run."""


def unit(road: Steps, step: str, work: str, inputs: Mapping[str, Sequence[str]], **config: Any) -> Unit:
    """A unit that finds its inputs by their names."""
    urls, has = runs.listed(inputs)
    return road.unit(step, work, urls, has=has, **config)


def per_file(done: Sequence[Done], files: int) -> list[str]:
    """What units of runs wrote for each file."""
    return [url for run, own in zip(runs.runs(files), done, strict=True) for url in every_of(own, len(run))]


def every_of(done: Done, count: int) -> list[str]:
    """The first numbered outputs of a unit."""
    return [done.files[f"{number}.parquet"] for number in range(count)]


def all_of(done: Sequence[Done]) -> list[str]:
    """Every output of some units."""
    return [url for own in done for _, url in sorted(own.files.items())]


def common_lines(road: Steps, texts: Texts, rules: lines.LineRules) -> list[str]:
    """For each file the lines that hosts put on their pages, as far as they stand in its run."""
    files = runs.runs(len(texts))
    config = {"lines": rules.model_dump(), "buckets": len(files)}
    counting = [
        road.unit("lines", "line_counts:count", [texts[n][0] for n in run], groups=[texts[n][1] for n in run], **config) for run in files
    ]
    counted = road.step("count lines", counting)
    (sized,) = road.step("common lines", [road.unit("lines", "line_counts:sizes", every(counted, "hosts.parquet"), **config)])
    inputs = [sized.files["sizes.parquet"], *every(counted, "lines.parquet")]
    rule = {"lines": rules.model_dump()}
    found = road.step("common lines", [road.unit("lines", "line_counts:common", inputs, bucket=n, **rule) for n in range(len(files))])
    common = every(found, "common.parquet")
    told = road.step("common lines", [road.unit("lines", "line_counts:tell", common, bucket=n) for n in range(len(files))])
    return [told[number].files["common.parquet"] for number, run in enumerate(files) for _ in run]


def find_copies(
    road: Steps, judged: Sequence[Done], starts: Sequence[int], rules: copies.CopyRules
) -> tuple[Ordered, list[str], list[Done]]:
    """The order of preference with all copies; of each file the decisions on its copies; and the units that linked near copies.

    ``starts``: the first row of each file in the corpus, and the number of all rows.
    """
    ranked, signatures = every(judged, "ranked.parquet"), every(judged, "signatures.npy")
    ranks = places.offsets(int(done.facts["left"]) for done in judged).tolist()
    files = runs.runs(len(judged))
    keep = {"keep": list(rules.keep), "memory_mb": MEMORY_MB, "run_files": runs.RUN}
    (order,) = road.step("order", [road.unit("order", "copying:order", ranked, **keep)])
    found: dict[str, list[str]] = {"exact": [], "address": [], "near": []}
    links: list[Done] = []
    for kind in ("exact", *(["address"] if rules.address else []), "near"):
        buckets = max(1, ranks[-1] // BUCKET_ROWS if kind != "near" else ranks[-1] * minhash.BANDS // NEAR_ROWS)
        gone = [url for urls in found.values() for url in urls]
        mapping = [
            unit(
                road, "keys", "copying:keys",
                {"places": [order.files[places.PLACES]], "ranked": [ranked[n] for n in run],
                 "signatures": [signatures[n] for n in run] if kind == "near" else [], "found": gone},
                kind=kind, scope=rules.scope, buckets=buckets, run=number, start=ranks[run[0]],
            )
            for number, run in enumerate(files)
        ]  # fmt: skip
        keys = every(road.step(f"{kind} copies", mapping), "keys.parquet")
        if kind == "near":
            links, found["near"] = near_copies(road, keys, buckets, order, (ranks[-1], len(files)), rules)
        else:
            same = [road.unit("same", "copying:same", keys, bucket=n, runs=len(files)) for n in range(buckets)]
            found[kind] = every(road.step(f"{kind} copies", same), "copies.parquet")
    inputs = {"ordered": [order.files[places.ORDERED]], **found}
    (followed,) = road.step("copies", [unit(road, "follow", "copying:follow", inputs, memory_mb=MEMORY_MB, runs=len(files))])
    limits = [rules.near, rules.held_out]
    deciding = [
        road.unit("decide", "copying:decide", [url], starts=[int(starts[n]) for n in (*run, run[-1] + 1)], limits=limits)
        for run, url in zip(files, every_of(followed, len(files)), strict=True)
    ]
    decided = per_file(road.step("copies", deciding), len(judged))
    ordered = Ordered(ranked, ranks, order.files[places.PLACES], [url for urls in found.values() for url in urls])
    return ordered, decided, links


def near_copies(
    road: Steps, keys: Sequence[str], buckets: int, order: Done, sizes: tuple[int, int], rules: copies.CopyRules
) -> tuple[list[Done], list[str]]:
    """The units that linked near copies, and the near copies that go, in buckets by run. ``sizes``: of documents, and of runs."""
    total, count = sizes
    ranges = max(1, -(-total // copying.RANGE))
    limits = {"near": rules.near, "held_out": rules.held_out, "ranges": ranges}
    links = road.step("near copies", [road.unit("links", "copying:link", keys, bucket=n, **limits) for n in range(buckets)])
    linked = every(links, "links.parquet")
    sorted_ = road.step("near copies", [road.unit("sort", "copying:sort", linked, bucket=n) for n in range(ranges)])
    settling = road.unit("settle", "copying:settle", every(sorted_, "links.parquet"), total=total)
    (settled,) = road.step("near copies", [settling])
    beside = [order.files[places.ROWS], order.files[places.RUNS]]
    locating = [
        road.unit("locate", "copying:locate", [url, *beside], bucket=number, runs=count)
        for number, url in enumerate(every_of(settled, ranges))
    ]
    return links, every(road.step("near copies", locating), "copies.parquet")


def find_passages(
    road: Steps, texts: Texts, attributes: Sequence[str], starts: Sequence[int], ordered: Ordered, rules: substrings.PassageRules
) -> tuple[list[str], list[Done]]:
    """For each file the places of repeated passages; and the units that counted what was not compared. ``starts``: as of `find_copies`."""
    files, least = runs.runs(len(texts)), rules.least
    by_run: list[tuple[dict[str, list[str]], dict[str, Any]]] = []
    leaving = [
        unit(
            road, "left", "copying:left", {"places": [ordered.places], "ranked": [ordered.ranked[n] for n in run], "found": ordered.found},
            run=number, start=ordered.starts[run[0]], first_row=int(starts[run[0]]), rows=int(starts[run[-1] + 1] - starts[run[0]]),
        )
        for number, run in enumerate(files)
    ]  # fmt: skip
    for number, (run, left) in enumerate(zip(files, road.step("passages", leaving), strict=True)):
        own = {"texts": [texts[n][0] for n in run], "attributes": [attributes[n] for n in run], "left": [left.files["left.npy"]]}
        by_run.append((own, {"run": number, "groups": [texts[n][1] for n in run], "first_row": int(starts[run[0]]), "least": least}))
    buckets = max(1, len(texts) * max(1, 100 // least) // MARKED)
    marking = [unit(road, "marks", "passages:mark", own, buckets=buckets, **config) for own, config in by_run]
    marks = all_of(road.step("passages", marking))
    meeting = [road.unit("asked", "passages:meet", marks, bucket=n, runs=len(files), least=least) for n in range(buckets)]
    met = road.step("passages", meeting)
    more = {"asked": every(met, "asked.parquet")}
    buckets = max(1, sum(int(done.facts["asked"]) for done in met) * 2 * least // PIECE_BYTES)
    fetching = [unit(road, "pieces", "passages:fetch", own | more, buckets=buckets, **config) for own, config in by_run]
    pieces = all_of(road.step("passages", fetching))
    searching = [road.unit("repeats", "passages:search", pieces, bucket=n, runs=len(files), least=least) for n in range(buckets)]
    repeats = {"runs": every(road.step("passages", searching), "runs.parquet")}
    settling = [unit(road, "spans", "passages:settle", own | repeats, **config) for own, config in by_run]
    settled = road.step("passages", settling)
    return per_file(settled, len(texts)), [*met, *settled]
