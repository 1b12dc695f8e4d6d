"""The funnel: how much came in, what each rule took, what another limit would have taken, and examples from both sides of every limit.

All numbers are queries over the tables of ``corpus/schema.py``, so each can be asked again with other words. DuckDB reads the tables
where they lie and spills to disk, so memory stays flat however many documents there were.
"""

import json
from collections.abc import Mapping
from typing import Any

from scratchlm.core.errors import CheckFailed
from scratchlm.corpus.filters import RULES
from scratchlm.corpus.schema import MEASURE
from scratchlm.sources.found import EXCERPT

BINS = 64
EXAMPLES = 10
"""Just kept and just dropped documents shown for a rule, each."""
LARGEST = 20
"""Clusters of copies, hosts and eval items that are listed."""
MEMORY = "400MB"


class Funnel:
    """Questions to the tables of one corpus."""

    def __init__(self, tables: Mapping[str, Any], spill: str) -> None:
        """``tables``: datasets or tables for ``documents``, ``refused``, ``attributes`` and ``verdicts``; ``spill``: a folder."""
        import duckdb  # heavy: only when a report is made

        self._connection = duckdb.connect(config={"memory_limit": MEMORY, "threads": 1, "temp_directory": spill})
        for name, table in tables.items():
            self._connection.register(name, table)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The answer to a query, a dictionary per row."""
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def one(self, query: str, *values: Any) -> dict[str, Any]:
        """The only row of an answer."""
        (row,) = self.rows(query, *values)
        return row


def conservation(funnel: Funnel) -> dict[str, int]:
    """In = kept + dropped, in documents and in characters; CheckFailed when it is not so or an id came twice."""
    refused = funnel.one("SELECT count(*) AS n, coalesce(sum(characters), 0)::BIGINT AS characters FROM refused")
    met = funnel.one(
        """SELECT count(*) AS n, count(DISTINCT doc_id) AS ids, coalesce(sum(n_chars), 0)::BIGINT AS characters,
           count(*) FILTER (split IS NOT NULL) AS kept, count(*) FILTER (rule IS NOT NULL) AS dropped,
           coalesce(sum(kept_chars), 0)::BIGINT AS kept_characters,
           coalesce(sum(n_chars) FILTER (rule IS NOT NULL), 0)::BIGINT AS dropped_characters FROM verdicts"""
    )
    documents = funnel.one("SELECT count(*) AS n, coalesce(sum(n_chars), 0)::BIGINT AS characters FROM documents")
    if met["ids"] != met["n"]:
        raise CheckFailed(
            f"corpus: {met['n'] - met['ids']} documents share an id with another one. Two records share a locator: report it."
        )
    if (documents["n"], documents["characters"]) != (met["n"], met["characters"]) or met["kept"] + met["dropped"] != met["n"]:
        raise CheckFailed(
            f"corpus: {documents['n']} documents were read, {met['kept']} kept and {met['dropped']} dropped, which does not add up. "
            "Please report it."
        )
    return {
        "documents_in": met["n"] + refused["n"],
        "documents_kept": met["kept"],
        "documents_dropped": met["dropped"] + refused["n"],
        "characters_in": met["characters"] + refused["characters"],
        "characters_kept": met["kept_characters"],
        "characters_dropped": met["dropped_characters"] + refused["characters"],
        "characters_edited_away": met["characters"] - met["dropped_characters"] - met["kept_characters"],
    }


def by_source(funnel: Funnel) -> list[dict[str, Any]]:
    """Documents and characters in, kept and dropped for each source and language; what could not be read has no language."""
    return funnel.rows(
        """SELECT source, lang, count(*) AS documents_in, count(*) FILTER (kept) AS documents_kept,
           count(*) FILTER (NOT kept) AS documents_dropped, sum(characters)::BIGINT AS characters_in,
           sum(kept_characters)::BIGINT AS characters_kept
           FROM (SELECT source, lang, split IS NOT NULL AS kept, n_chars AS characters, kept_chars AS kept_characters FROM verdicts
                 UNION ALL SELECT source, NULL, false, characters, 0 FROM refused)
           GROUP BY source, lang ORDER BY characters_in DESC, source, lang"""
    )


def by_rule(funnel: Funnel) -> list[dict[str, Any]]:
    """Documents that a rule dropped first, that it would have dropped at all, and that it alone dropped.

    A rule of reading, of copies or of contamination is asked only about what came so far, so its three counts are the same.
    """
    return funnel.rows(
        """WITH causes AS (
             SELECT stage, rule, n_chars AS characters, failing FROM verdicts WHERE rule IS NOT NULL
             UNION ALL SELECT stage, rule, characters, []::VARCHAR[] FROM refused),
           fails AS (SELECT unnest(failing) AS rule, len(failing) AS causes FROM verdicts),
           any_cause AS (SELECT rule, count(*) AS documents, count(*) FILTER (causes = 1) AS alone FROM fails GROUP BY rule)
           SELECT causes.stage, causes.rule, count(*) AS first, sum(causes.characters)::BIGINT AS characters,
             greatest(count(*), coalesce(max(any_cause.documents), 0)) AS any, coalesce(max(any_cause.alone), count(*)) AS alone
           FROM causes LEFT JOIN any_cause USING (rule) GROUP BY causes.stage, causes.rule
           ORDER BY first DESC, causes.stage, causes.rule"""
    )


def histogram(funnel: Funnel, rule: str) -> dict[str, Any]:
    """How a rule's value is spread over all documents, in ``BINS`` equal steps between the 0.5 and 99.5 percent points."""
    column = f'"{MEASURE}{rule}"'
    edges = funnel.one(
        f"""SELECT quantile_disc({column}, 0.005) AS low, quantile_disc({column}, 0.995) AS high, count({column}) AS n
        FROM attributes WHERE NOT isnan({column})"""
    )
    if not edges["n"] or edges["low"] == edges["high"]:
        return {"rule": rule, "low": edges["low"], "high": edges["high"], "counts": [edges["n"]]}
    low, high = float(edges["low"]), float(edges["high"])
    found = funnel.rows(
        f"""SELECT greatest(0, least({BINS - 1}, floor(({column} - ?) / (? - ?) * {BINS})))::INT AS bin, count(*) AS n
        FROM attributes WHERE NOT isnan({column}) GROUP BY bin""",
        low, high, low,
    )  # fmt: skip
    counts = {row["bin"]: row["n"] for row in found}
    return {"rule": rule, "low": low, "high": high, "counts": [counts.get(place, 0) for place in range(BINS)]}


def near_the_limit(funnel: Funnel, rule: str, limits: Mapping[str, float]) -> list[dict[str, Any]]:
    """Documents just kept and just dropped by a rule under the limit of their profile, with how they begin."""
    found: list[dict[str, Any]] = []
    column = f'"{MEASURE}{rule}"'
    for profile, limit in sorted(limits.items()):
        for fails in (False, True):
            found += funnel.rows(
                f"""WITH near AS (
                     SELECT a.doc_id, a.locator, {column}::DOUBLE AS value FROM attributes a JOIN verdicts v USING (doc_id)
                     WHERE a.profile = ? AND list_contains(v.failing, ?) = ? AND NOT isnan({column})
                     ORDER BY abs({column} - ?), a.doc_id LIMIT {EXAMPLES})
                   SELECT near.doc_id, near.locator, ? AS profile, near.value, ?::DOUBLE AS threshold, ? AS dropped,
                     substr(d.text, 1, {EXCERPT}) AS excerpt
                   FROM near JOIN documents d USING (doc_id) ORDER BY abs(near.value - ?), near.doc_id""",
                profile, rule, fails, limit, profile, limit, fails, limit,
            )  # fmt: skip
    return found


def dropped_examples(funnel: Funnel) -> dict[str, list[dict[str, Any]]]:
    """For each rule that took something, the first documents it took, with how they begin."""
    rows = funnel.rows(
        f"""WITH gone AS (
              SELECT doc_id, locator, stage, rule, reason, value, threshold, dup_of FROM verdicts WHERE rule IS NOT NULL
              QUALIFY row_number() OVER (PARTITION BY stage, rule ORDER BY doc_id) <= {EXAMPLES})
            SELECT gone.*, substr(d.text, 1, {EXCERPT}) AS excerpt FROM gone JOIN documents d USING (doc_id)
            UNION ALL
            SELECT id, locator, stage, rule, reason, value, threshold, dup_of, excerpt FROM refused
            QUALIFY row_number() OVER (PARTITION BY stage, rule ORDER BY id) <= {EXAMPLES}
            ORDER BY 3, 4, 1"""
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(f"{row.pop('stage')}: {row.pop('rule')}", []).append(
            {key: value for key, value in row.items() if value is not None}
        )
    return found


def hosts(funnel: Funnel) -> list[dict[str, Any]]:
    """The hosts that lost the most documents, and the rule that took most of them."""
    return funnel.rows(
        f"""SELECT host, count(*) AS documents, count(*) FILTER (rule IS NOT NULL) AS dropped,
           mode(rule) FILTER (rule IS NOT NULL) AS rule FROM verdicts GROUP BY host HAVING dropped > 0
           ORDER BY dropped DESC, host LIMIT {LARGEST}"""
    )


def clusters(funnel: Funnel) -> dict[str, Any]:
    """How many clusters of copies have which size (the kept one counted), and the largest with how their kept document begins."""
    sizes = funnel.rows(
        """SELECT size, count(*) AS clusters
           FROM (SELECT dup_of, count(*) + 1 AS size FROM verdicts WHERE dup_of IS NOT NULL GROUP BY dup_of)
           GROUP BY size ORDER BY size"""
    )
    largest = funnel.rows(
        f"""WITH big AS (SELECT dup_of AS doc_id, count(*) AS copies FROM verdicts WHERE dup_of IS NOT NULL
                        GROUP BY dup_of ORDER BY copies DESC, dup_of LIMIT {LARGEST})
           SELECT big.doc_id, d.locator, big.copies, substr(d.text, 1, {EXCERPT}) AS excerpt FROM big JOIN documents d USING (doc_id)
           ORDER BY big.copies DESC, big.doc_id"""
    )
    return {"sizes": {str(row["size"]): row["clusters"] for row in sizes}, "largest": largest}


def edits(funnel: Funnel) -> list[dict[str, Any]]:
    """Places and characters that edits took from kept documents, by kind of edit and source."""
    return funnel.rows(
        """SELECT e.op AS op, source, count(*) AS documents, sum(e.places)::BIGINT AS places, sum(e.characters)::BIGINT AS characters
           FROM (SELECT source, unnest(edits) AS e FROM verdicts WHERE split IS NOT NULL)
           GROUP BY op, source ORDER BY places DESC, op, source"""
    )


def contamination(funnel: Funnel) -> list[dict[str, Any]]:
    """Documents, items and places found of each eval set, and its commonest items."""
    return funnel.rows(
        f"""WITH h AS (SELECT doc_id, hit.set AS set, hit.item AS item FROM (SELECT doc_id, unnest(hits) AS hit FROM attributes)),
           items AS (SELECT set, item, count(DISTINCT doc_id) AS documents FROM h GROUP BY set, item),
           most AS (SELECT set, item, row_number() OVER (PARTITION BY set ORDER BY documents DESC, item) AS place FROM items),
           sets AS (SELECT set, count(DISTINCT doc_id) AS documents, count(DISTINCT item) AS found, count(*) AS places FROM h GROUP BY set)
           SELECT sets.set, sets.documents, sets.found, sets.places, list(most.item ORDER BY most.place) AS most
           FROM sets JOIN most USING (set) WHERE most.place <= {LARGEST}
           GROUP BY sets.set, sets.documents, sets.found, sets.places ORDER BY sets.documents DESC, sets.set"""
    )


def report(funnel: Funnel, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """All of the above as one JSON value; CheckFailed when the books do not balance."""
    books = conservation(funnel)
    limits = limits_by_rule(funnel, thresholds)
    rules = by_rule(funnel)
    booked = {row["rule"] for row in rules}
    return {
        "conservation": books,
        "splits": funnel.rows(
            """SELECT split, count(*) AS documents, count(DISTINCT host) AS groups, sum(kept_chars)::BIGINT AS characters,
            sum(kept_bytes)::BIGINT AS bytes FROM verdicts WHERE split IS NOT NULL GROUP BY split ORDER BY split"""
        ),
        "sources": by_source(funnel),
        "rules": rules,
        "limits": limits,
        "histograms": [histogram(funnel, rule) for rule in limits],
        "near": {rule: near_the_limit(funnel, rule, limits[rule]) for rule in limits if rule in booked},
        "dropped": dropped_examples(funnel),
        "hosts": hosts(funnel),
        "clusters": clusters(funnel),
        "edits": edits(funnel),
        "contamination": contamination(funnel),
    }


def limits_by_rule(funnel: Funnel, thresholds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """For each rule that was asked the limit in each profile that asks it; ``thresholds`` stand in their place."""
    found: dict[str, dict[str, float]] = {}
    for row in funnel.rows("SELECT DISTINCT profile, limits FROM attributes ORDER BY profile, limits"):
        for rule, limit in json.loads(row["limits"]).items():
            found.setdefault(rule, {})[row["profile"]] = float(thresholds.get(rule, limit))
    return {rule: found[rule] for rule in RULES if rule in found}
