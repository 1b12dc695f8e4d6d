"""The funnel: how much came in, what each rule took, what another limit would have taken, and examples from both sides of every limit.

All numbers are queries over the tables of ``corpus/schema.py``, so each can be asked again with other words. No query reads a text: how a
document begins stands masked in its verdict, and the examples of all rules are fetched at once.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from scratchlm.core.errors import CheckFailed
from scratchlm.corpus import decontaminate, limits
from scratchlm.corpus.split import SPLITS
from scratchlm.corpus.tables import Tables

EXAMPLES = 10
"""Documents shown for each rule that dropped them."""
LARGEST = 20
"""Clusters of copies, hosts, eval items, and masked values of a kind that are listed."""
STAGES = (
    "read", "clean", "measure", "blocklist", "language", "filter", "classifier", "contamination", "exact", "address", "near", "cut",
    "mix",
)  # fmt: skip
"""The steps that lose documents, in their order."""
OF_RULE = {"blocked address": "blocklist", "other language": "language", limits.QUALITY: "classifier", "eval item": "contamination"}
"""The stage of each rule that is no row of ``filters.RULES``."""


def conservation(tables: Tables, written: Mapping[str, int]) -> dict[str, int]:
    """In = kept + dropped, in documents and in characters, and kept = ``written``, the rows of each split's file.

    CheckFailed when it is not so or an id came twice.
    """
    refused = tables.one("SELECT count(*) AS n, coalesce(sum(characters), 0)::BIGINT AS characters FROM refused")
    met = tables.one(
        """SELECT count(*) AS n, coalesce(sum(n_chars), 0)::BIGINT AS characters,
           count(*) FILTER (split IS NOT NULL) AS kept, count(*) FILTER (rule IS NOT NULL) AS dropped,
           coalesce(sum(kept_chars), 0)::BIGINT AS kept_characters,
           coalesce(sum(n_chars) FILTER (rule IS NOT NULL), 0)::BIGINT AS dropped_characters FROM verdicts"""
    )
    ids = tables.one("SELECT count(*) AS n FROM (SELECT DISTINCT doc_id FROM verdicts)")["n"]
    documents = tables.one("SELECT count(*) AS n, coalesce(sum(n_chars), 0)::BIGINT AS characters FROM documents")
    if ids != met["n"]:
        raise CheckFailed(f"corpus: {met['n'] - ids} documents share an id with another one. Two records share a locator: report it.")
    if (documents["n"], documents["characters"]) != (met["n"], met["characters"]) or met["kept"] + met["dropped"] != met["n"]:
        raise CheckFailed(
            f"corpus: {documents['n']} documents were read, {met['kept']} kept and {met['dropped']} dropped, which does not add up. "
            "Please report it."
        )
    booked = {row["split"]: row["seen"] for row in splits(tables)}
    if booked != {split: rows for split, rows in written.items() if rows}:
        raise CheckFailed(f"corpus: {booked} documents are booked as kept, but {dict(written)} were written. Please report it.")
    return {
        "documents_in": met["n"] + refused["n"],
        "documents_kept": met["kept"],
        "documents_dropped": met["dropped"] + refused["n"],
        "characters_in": met["characters"] + refused["characters"],
        "characters_kept": met["kept_characters"],
        "characters_dropped": met["dropped_characters"] + refused["characters"],
        "characters_edited_away": met["characters"] - met["dropped_characters"] - met["kept_characters"],
    }


def splits(tables: Tables) -> list[dict[str, Any]]:
    """What is in each split: different documents, and documents, characters and bytes as often as the mix has them seen."""
    found = tables.rows(
        """SELECT split, sum(documents)::BIGINT AS documents, sum(seen)::BIGINT AS seen, count(*) AS groups,
           sum(characters)::BIGINT AS characters, sum(bytes)::BIGINT AS bytes
           FROM (SELECT split, host, count(*) AS documents, sum(times) AS seen, sum(kept_chars * times) AS characters,
                 sum(kept_bytes * times) AS bytes FROM verdicts WHERE split IS NOT NULL GROUP BY split, host) GROUP BY split"""
    )
    return sorted(found, key=lambda row: SPLITS.index(row["split"]))


def by_source(tables: Tables) -> list[dict[str, Any]]:
    """Documents and characters in, kept and dropped for each source and language; what could not be read has no language."""
    return tables.rows(
        """SELECT source, lang, count(*) AS documents_in, count(*) FILTER (kept) AS documents_kept,
           count(*) FILTER (NOT kept) AS documents_dropped, sum(characters)::BIGINT AS characters_in,
           sum(kept_characters)::BIGINT AS characters_kept
           FROM (SELECT source, lang, split IS NOT NULL AS kept, n_chars AS characters, kept_chars AS kept_characters FROM verdicts
                 UNION ALL SELECT source, NULL, false, characters, 0 FROM refused)
           GROUP BY source, lang ORDER BY characters_in DESC, source, lang"""
    )


def by_stage(tables: Tables) -> list[dict[str, Any]]:
    """For each source, documents and characters that came to each stage that lost some of any, and what it lost, in the order of stages."""
    came = tables.rows(
        """SELECT source, count(*) AS documents, sum(characters)::BIGINT AS characters
           FROM (SELECT source, n_chars AS characters FROM verdicts UNION ALL SELECT source, characters FROM refused)
           GROUP BY source ORDER BY characters DESC, source"""
    )
    lost = tables.rows(
        """SELECT source, stage, count(*) AS documents, sum(characters)::BIGINT AS characters
           FROM (SELECT source, stage, n_chars AS characters FROM verdicts WHERE rule IS NOT NULL
                 UNION ALL SELECT source, stage, characters FROM refused) GROUP BY source, stage"""
    )
    by_both = {(row["stage"], row["source"]): row for row in lost}
    stages = [stage for stage in STAGES if any(row["stage"] == stage for row in lost)]
    assert {row["stage"] for row in lost} <= set(STAGES), "every stage that drops documents has its place in STAGES"
    found = []
    for stage in stages:
        for source in came:
            gone = by_both.get((stage, source["source"]), {"documents": 0, "characters": 0})
            found.append(
                {"stage": stage, "source": source["source"], "documents_in": source["documents"], "documents_lost": gone["documents"],
                 "characters_in": source["characters"], "characters_lost": gone["characters"]}
            )  # fmt: skip
            source["documents"] -= gone["documents"]
            source["characters"] -= gone["characters"]
    return found


def by_rule(tables: Tables) -> list[dict[str, Any]]:
    """Documents that a rule dropped first, that it would have dropped at all, and that it alone dropped.

    A rule of reading, of copies or of the mix is asked only about what came so far, so its three counts are the same.
    """
    rows = tables.rows(
        """WITH causes AS (
             SELECT stage, rule, n_chars AS characters FROM verdicts WHERE rule IS NOT NULL
             UNION ALL SELECT stage, rule, characters FROM refused),
           firsts AS (SELECT stage, rule, count(*) AS documents, sum(characters)::BIGINT AS characters FROM causes GROUP BY stage, rule),
           fails AS (SELECT unnest(failing) AS rule, len(failing) AS causes FROM verdicts),
           any_cause AS (SELECT rule, count(*) AS documents, count(*) FILTER (causes = 1) AS alone FROM fails GROUP BY rule)
           SELECT firsts.stage AS stage, coalesce(firsts.rule, any_cause.rule) AS rule, coalesce(firsts.documents, 0) AS first,
             coalesce(firsts.characters, 0) AS characters, coalesce(any_cause.documents, firsts.documents) AS any,
             coalesce(any_cause.alone, firsts.documents) AS alone
           FROM firsts FULL OUTER JOIN any_cause ON firsts.rule = any_cause.rule ORDER BY first DESC, "any" DESC, stage, 2"""
    )
    return [row | {"stage": row["stage"] or OF_RULE.get(row["rule"], "filter")} for row in rows]


def dropped_examples(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """For each rule the documents with the smallest ids that it dropped, or where it was never the first cause, that it refuses too."""
    about = "'doc_id': doc_id, 'locator': locator, 'reason': reason, 'dup_of': dup_of, 'excerpt': excerpt"
    rows = tables.rows(
        f"""WITH gone AS (
              SELECT stage, rule, doc_id, locator, reason, dup_of, NULL AS excerpt FROM verdicts WHERE rule IS NOT NULL
              UNION ALL SELECT stage, rule, id, locator, reason, dup_of, excerpt FROM refused)
            SELECT stage, rule, arg_min({{{about}}}, doc_id, {EXAMPLES}) AS examples FROM gone GROUP BY stage, rule
            UNION ALL
            SELECT NULL, failed, arg_min({{{about}}}, doc_id, {EXAMPLES})
            FROM (SELECT unnest(failing) AS failed, doc_id, locator, 'dropped first by ' || rule || ': ' || reason AS reason, dup_of,
                  NULL AS excerpt FROM verdicts)
            WHERE failed NOT IN (SELECT DISTINCT rule FROM verdicts WHERE rule IS NOT NULL) GROUP BY failed ORDER BY 1, 2"""
    )
    return {f"{row['stage'] or OF_RULE.get(row['rule'], 'filter')}: {row['rule']}": row["examples"] for row in rows}


def hosts(tables: Tables) -> list[dict[str, Any]]:
    """The hosts that lost the most documents, and the rule that took most of them."""
    return tables.rows(
        f"""SELECT host, sum(n)::BIGINT AS documents, coalesce(sum(n) FILTER (rule IS NOT NULL), 0)::BIGINT AS dropped,
           arg_max(rule, (n, rule)) FILTER (rule IS NOT NULL) AS rule
           FROM (SELECT host, rule, count(*) AS n FROM verdicts GROUP BY host, rule) GROUP BY host HAVING dropped > 0
           ORDER BY dropped DESC, host LIMIT {LARGEST}"""
    )


def clusters(tables: Tables) -> dict[str, Any]:
    """How many clusters of copies have which size (the kept one counted), and the kept documents of the largest."""
    sizes = tables.rows(
        """SELECT size, count(*) AS clusters
           FROM (SELECT dup_of, count(*) + 1 AS size FROM verdicts WHERE dup_of IS NOT NULL GROUP BY dup_of)
           GROUP BY size ORDER BY size"""
    )
    largest = tables.rows(
        f"""SELECT dup_of AS doc_id, count(*) AS copies FROM verdicts WHERE dup_of IS NOT NULL
           GROUP BY dup_of ORDER BY copies DESC, dup_of LIMIT {LARGEST}"""
    )
    return {"sizes": {str(row["size"]): row["clusters"] for row in sizes}, "largest": largest}


def edits(tables: Tables) -> list[dict[str, Any]]:
    """Places and characters that edits took from kept documents, by kind of edit and source."""
    return tables.rows(
        """SELECT e.op AS op, source, count(*) AS documents, sum(e.places)::BIGINT AS places, sum(e.characters)::BIGINT AS characters
           FROM (SELECT source, unnest(edits) AS e FROM verdicts WHERE split IS NOT NULL)
           GROUP BY op, source ORDER BY places DESC, op, source"""
    )


def masked(tables: Tables) -> dict[str, list[dict[str, Any]]]:
    """For each kind of private value how it looks masked, with what stands around it."""
    rows = tables.rows(
        f"""SELECT m.op AS op, arg_min({{'doc_id': doc_id, 'locator': locator, 'shown': m.shown}}, doc_id, {LARGEST}) AS examples
           FROM (SELECT doc_id, locator, unnest(masked) AS m FROM verdicts) GROUP BY m.op ORDER BY op"""
    )
    return {row["op"]: row["examples"] for row in rows}


def contamination(tables: Tables) -> list[dict[str, Any]]:
    """Documents, items and places found of each eval set, what became of them, and its commonest items.

    ``removed``: documents dropped for it; ``gone``: dropped for something else; ``cut``: places cut out of documents that stay.
    """
    op = decontaminate.OP
    return tables.rows(
        f"""WITH h AS (
             SELECT doc_id, hit.set AS set, hit.item AS item, v.rule = '{op}' AS removed, v.rule <> '{op}' AS gone,
               v.split IS NOT NULL AND len(list_filter(v.edits, lambda e: e.op = '{op}')) > 0 AS cut
             FROM (SELECT doc_id, unnest(hits) AS hit FROM attributes) JOIN verdicts v USING (doc_id)),
           items AS (SELECT set, item, count(DISTINCT doc_id) AS documents FROM h GROUP BY set, item),
           most AS (SELECT set, list(item ORDER BY documents DESC, item)[:{LARGEST}] AS most FROM items GROUP BY set)
           SELECT set, count(DISTINCT doc_id) AS documents, count(DISTINCT item) AS found, count(*) AS places,
             count(DISTINCT doc_id) FILTER (removed) AS removed, count(DISTINCT doc_id) FILTER (gone) AS gone,
             count(*) FILTER (cut) AS cut, any_value(most.most) AS most
           FROM h JOIN most USING (set) GROUP BY set ORDER BY documents DESC, set"""
    )


def report(tables: Tables, written: Mapping[str, int], thresholds: Mapping[str, float], least: float | None) -> dict[str, Any]:
    """All of the above as one JSON value; CheckFailed when the books do not balance.

    ``written``: rows of each split's file; ``thresholds`` and ``least``: limits of rules and of the classifier that the user gave.
    """
    books = conservation(tables, written)
    asked = limits.prepare(tables, thresholds, least)
    rules = by_rule(tables)
    booked = {row["rule"] for row in rules}
    told: dict[str, Any] = {
        "conservation": books,
        "splits": splits(tables),
        "sources": by_source(tables),
        "stages": by_stage(tables),
        "rules": rules,
        "limits": asked,
        "histograms": limits.histograms(tables, asked),
        "near": {rule: limits.nearest(tables, rule) for rule in asked if rule in booked},
        "dropped": dropped_examples(tables),
        "hosts": hosts(tables),
        "clusters": clusters(tables),
        "edits": edits(tables),
        "masked": masked(tables),
        "contamination": contamination(tables),
    }
    shown = [told["clusters"]["largest"], *told["near"].values(), *told["dropped"].values()]
    _begin(tables, [each for examples in shown for each in examples])
    return told


def _begin(tables: Tables, examples: Iterable[dict[str, Any]]) -> None:
    """Tell each example how its document begins and where it lies; all are looked up at once."""
    examples = list(examples)
    tables.do("CREATE TABLE wanted (doc_id VARCHAR)")
    tables.insert("wanted", [(doc_id,) for doc_id in sorted({each["doc_id"] for each in examples})])
    rows = tables.rows("SELECT doc_id, locator, excerpt FROM verdicts JOIN wanted USING (doc_id)")
    found = {row["doc_id"]: row for row in rows}
    for each in examples:
        each.update({key: value for key, value in found.get(each["doc_id"], {}).items() if value is not None})
        for name in [name for name, value in each.items() if value is None]:
            del each[name]
