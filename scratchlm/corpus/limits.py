"""What another limit would have taken: how the values of each rule are spread around its limits, and the documents nearest to them.

Values, limits and verdicts are put side by side once (``prepare``); each rule then reads one column.
"""

import json
import math
from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import Any

from scratchlm.corpus.schema import MEASURE
from scratchlm.corpus.tables import Tables
from scratchlm.rules import filters
from scratchlm.rules.filters import RULES
from scratchlm.rules.profiles import Profile

BINS = 64
EXAMPLES = 10
"""Documents just kept and just dropped that are shown for a rule, each."""
QUALITY, NEAR, LANGUAGE = "poor quality", "near copy", "unsure_language"
BESIDE = {QUALITY: "a.quality", NEAR: "CASE WHEN v.stage = 'near' THEN v.value END"}
"""What has a value and a limit but is no rule of ``filters.py``: the classifier, and the similarity of what went as a near copy."""
ABOUT = {name: rule.about for name, rule in RULES.items()} | {
    QUALITY: "How probably a text is like the good examples and not like the bad ones.",
    NEAR: "Share of a text's phrases that stand in the document that is kept in its place, as estimated; only copies have one.",
}
EVERY = "every text"
"""Who is asked by those."""
COMMON = (0.005, 0.5, 0.995)
"""Between the first and the last of these points a histogram is drawn, and farther where a limit lies beyond."""
ROOM = 0.12
"""Of the axis that is drawn beyond a limit, so that the side of the dropped is seen."""
WIDE = 20
"""Times the median or a limit (or 1) that the axis is long when its steps grow: counts of words, lengths of lines."""

Limits = Mapping[str, list[dict[str, Any]]]
"""For each rule that was asked, each ``limit`` with the ``profile`` that has it."""


def prepare(tables: Tables, thresholds: Mapping[str, float], least: float | None) -> Limits:
    """Make the tables ``asked`` and ``limit_of``; ``thresholds`` stand in place of the profiles' limits, ``least`` is the classifier's."""
    values = {rule: f"a.{MEASURE}{rule}" for rule in RULES} | BESIDE
    columns = ", ".join(
        f'CASE WHEN isnan(({value})::DOUBLE) THEN NULL ELSE ({value})::DOUBLE END AS "{rule}"' for rule, value in values.items()
    )
    tables.do(
        f"""CREATE TABLE asked AS SELECT v.doc_id, v.split IS NOT NULL AS kept, list_append(v.failing, v.rule) AS causes,
        a.profile::VARCHAR AS profile, a.limits::VARCHAR AS limits, {columns} FROM attributes a JOIN verdicts v USING (doc_id)"""
    )
    tables.do("CREATE TABLE limit_of (profile VARCHAR, limits VARCHAR, asked_as VARCHAR, rule VARCHAR, value DOUBLE)")
    near = tables.one("SELECT min(threshold) AS value FROM verdicts WHERE stage = 'near'")["value"]
    beside = {rule: limit for rule, limit in ((QUALITY, least), (NEAR, near)) if limit is not None}
    found: dict[str, dict[tuple[str, float], None]] = {rule: {} for rule in values}
    for row in tables.rows("SELECT DISTINCT profile, limits FROM asked ORDER BY profile, limits"):
        asked = filters.limits(Profile(row["profile"], json.loads(row["limits"])), thresholds)
        own = {rule: (row["profile"], float(limit)) for rule, limit in asked.items()}
        own |= {rule: (EVERY, float(limit)) for rule, limit in beside.items()}
        tables.insert("limit_of", [(row["profile"], row["limits"], name, rule, limit) for rule, (name, limit) in own.items()])
        for rule, pair in own.items():
            found[rule][pair] = None
    return {rule: [{"profile": name, "limit": limit} for name, limit in pairs] for rule, pairs in found.items() if pairs}


def histograms(tables: Tables, limits: Limits) -> list[dict[str, Any]]:
    """The spread of each rule that was asked, and of how sure the language is whether that was asked or not."""
    rules = [rule for rule in [*RULES, *BESIDE] if rule in limits or rule == LANGUAGE]
    points = ", ".join(f'approx_quantile("{rule}", {list(COMMON)}) AS "{rule}"' for rule in rules)
    ends = ", ".join(f'min("{rule}") AS "low_{rule}", max("{rule}") AS "high_{rule}"' for rule in rules)
    edges = tables.one(f"SELECT {points}, {ends} FROM asked")
    found = []
    for rule in rules:
        if edges[rule] is not None:
            own = [row["limit"] for row in limits.get(rule, [])]
            axis = axis_of(edges[rule], (edges[f"low_{rule}"], edges[f"high_{rule}"]), own)
            found.append({"rule": rule, "about": ABOUT[rule], **axis, **_counted(tables, rule, axis)})
    return found


def axis_of(points: list[float], ends: tuple[float, float], limits: list[float]) -> dict[str, Any]:
    """From where to where a histogram is drawn and how: wide enough for nearly all values and for every limit with some room behind."""
    low, median, high = points
    if low == high:
        low, high = ends
    low, high = min([low, *limits]), max([high, *limits])
    scale = "log" if low >= 0 and high > WIDE * max(1.0, min([median, *limits])) else "linear"
    room = ROOM * (high - low)
    if high in limits:
        high = high * (1 + high) ** ROOM if scale == "log" else high + room
    if low in limits and low > ends[0]:
        low = max(ends[0], low - room)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return {"scale": scale, "low": _rounded(low, math.floor), "high": _rounded(high, math.ceil)}


def _rounded(value: float, towards: Any) -> float:
    """Three digits, outwards: an estimate of a quantile has no more."""
    digits = 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 1.0
    return float(f"{towards(round(value / digits, 6)) * digits:.3g}")


def _counted(tables: Tables, rule: str, axis: Mapping[str, Any]) -> dict[str, Any]:
    """Documents and refused ones in each of ``BINS`` equal steps of the axis; what lies beyond an end is in the last step there."""
    low, high = (math.log1p(axis[end]) if axis["scale"] == "log" else axis[end] for end in ("low", "high"))
    value = f'ln(1 + "{rule}")' if axis["scale"] == "log" else f'"{rule}"'
    rows = tables.rows(
        f"""SELECT greatest(0, least({BINS - 1}, floor(({value} - ?) / (? - ?) * {BINS})))::INT AS bin, count(*) AS n,
        count(*) FILTER (list_contains(causes, ?)) AS refused FROM asked WHERE "{rule}" IS NOT NULL GROUP BY bin""",
        low, high, low, rule,
    )  # fmt: skip
    beyond = tables.one(
        f'SELECT count(*) FILTER ("{rule}" < ?) AS below, count(*) FILTER ("{rule}" > ?) AS above FROM asked', axis["low"], axis["high"]
    )
    by_bin = {row["bin"]: row for row in rows}
    nothing = {"n": 0, "refused": 0}
    bins = [by_bin.get(place, nothing) for place in range(BINS)]
    return {"counts": [row["n"] for row in bins], "refused": [row["refused"] for row in bins], **beyond}


def nearest(tables: Tables, rule: str) -> list[dict[str, Any]]:
    """Ids of documents just dropped by a rule, and just kept in a split, by their distance from the limit that they met.

    Where profiles or languages differ in their limit, the nearest of each come first.
    """
    groups = tables.rows(
        f"""SELECT asked_as AS profile, threshold, dropped,
           arg_min({{'doc_id': doc_id, 'value': value}}, (abs(value - threshold), doc_id), {EXAMPLES}) AS nearest
           FROM (SELECT doc_id, "{rule}"::DOUBLE AS value, l.asked_as, l.value AS threshold, kept, list_contains(causes, ?) AS dropped
                 FROM asked JOIN limit_of l USING (profile, limits) WHERE l.rule = ? AND "{rule}" IS NOT NULL)
           WHERE dropped OR kept GROUP BY ALL ORDER BY dropped, profile, threshold""",
        rule, rule,
    )  # fmt: skip
    found: list[dict[str, Any]] = []
    for side in (True, False):
        about = [
            [{"profile": group["profile"], "threshold": group["threshold"], "dropped": side, **each} for each in group["nearest"]]
            for group in groups
            if group["dropped"] == side
        ]
        in_turn = [each for each in chain.from_iterable(zip_longest(*about)) if each is not None]
        found += sorted(in_turn[:EXAMPLES], key=lambda each: abs(each["value"] - each["threshold"]))
    return found
