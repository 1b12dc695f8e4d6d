"""The report, the console and TensorBoard show what the journal says, no more and nothing else."""

import io
import json
import math
import random
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from rich.progress import Progress

from scratchlm.core import journal as journals
from scratchlm.core.artifact import Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.journal import Journal, written_to
from scratchlm.report import console, figures, funnel, gather, histogram, page, scores, vocab, words
from scratchlm.report.tensorboard import crc32c, framed, tensorboard_view
from scratchlm.stages import STAGES, report

HOSTILE = "<script>alert(1)</script>"
OTHERS = {verb: name for verb, name in STAGES.items() if name != "report"}


class Nothing(Settings):
    pass


FUNNEL = {
    "conservation": {"documents_in": 73, "documents_kept": 45, "documents_dropped": 28},
    "splits": [
        {"split": "train", "documents": 40, "seen": 52}, {"split": "validation", "documents": 3, "seen": 3},
        {"split": "test", "documents": 2, "seen": 2},
    ],
    "sources": [
        {"source": "python", "lang": lang, "documents_in": n, "documents_kept": n - 9, "documents_dropped": 9, "characters_in": 60 * n,
         "characters_kept": 50 * n}
        for n, lang in enumerate(("en", "de", "fr", "it"), 10)
    ],
    "stages": [
        {"stage": stage, "source": source, "documents_in": came, "documents_lost": lost, "characters_in": 90 * came, "characters_lost": 0}
        for stage, source, came, lost in (("filter", "python", 60, 14), ("filter", "topics", 13, 0), ("near", "python", 46, 5),
                                          ("near", "topics", 13, 9))
    ],
    "mix": {"parts": {"python": {"size": 1000, "taken": 2500, "whole": 2, "rest": 500}}, "wanted": 2500, "taken": 2500},
    "mended": 7,
    "near_copies": {"crowded_buckets": 2, "pairs_left_out": 1234},
    "passages": {"crowded": 3, "apart": 4321, "blocks_in_the_way": 1},
    "sampled": 6,
    "masked": {"pii:email": [{"doc_id": "1" * 32, "locator": "os", "shown": f"write to <email> {HOSTILE}"}]},
    "rules": [
        {"stage": "filter", "rule": "too_few_words", "first": 14, "any": 15, "alone": 9, "characters": 511},
        {"stage": "exact", "rule": "exact copy", "first": 9, "any": 9, "alone": 9, "characters": 306},
        {"stage": "near", "rule": "near copy", "first": 5, "any": 5, "alone": 5, "characters": 160},
    ],
    "limits": {"too_few_words": [{"profile": "web", "limit": 50.0}, {"profile": "book", "limit": 5.0}]},
    "histograms": [
        {"rule": "too_few_words", "about": "Too short.", "scale": "linear", "low": 1.0, "high": 60.0, "counts": list(range(64)),
         "refused": [n // 2 for n in range(64)], "below": 3, "above": 0}
    ],
    "near": {
        "too_few_words": [
            {"doc_id": "a", "locator": "a", "profile": "web", "value": 51.0, "threshold": 50.0, "dropped": False, "excerpt": HOSTILE},
            {"doc_id": "b", "locator": "b", "profile": "web", "value": 49.0, "threshold": 50.0, "dropped": True, "excerpt": "cut"},
        ],
        "near copy": [{"doc_id": "c", "locator": "c", "profile": "web", "value": 0.9, "threshold": 0.8, "dropped": True}],
    },
    "dropped": {
        "filter: too_few_words": [
            {"doc_id": "1", "locator": "os.path.too_few_words1", "reason": "1 words, fewer than 50", "excerpt": HOSTILE}
        ],
        "exact: exact copy": [{"doc_id": "d", "locator": "d", "reason": "says the same", "dup_of": "a", "excerpt": "a wo" * 75}],
    },
    "hosts": [{"host": "os", "documents": 9, "dropped": 4, "rule": "too_few_words"}],
    "clusters": {"sizes": {"2": 3, "5": 1}, "largest": [{"locator": "os", "copies": 1, "excerpt": HOSTILE}]},
    "edits": [{"op": "pii:email", "source": "python", "documents": 1, "places": 2, "characters": 20}],
    "private": {
        "email": {"precision": 1.0, "precision_interval": [0.9, 1.0], "recall": 1.0, "recall_interval": [0.9, 1.0], "n_positive": 40,
                  "n_negative": 50}
    },
    "coverage": [{"set": "addition", "items": 1000, "findable": 20, "found": 4, "documents": 5, "removed": 3, "gone": 2, "cut": 0}],
}  # fmt: skip


def rate(size: int, tokens: int, others: int) -> dict:
    rates = {"bytes_per_token": round(size / tokens, 4), "other_bytes_per_token": round(size / others, 4)}
    return {"documents": 9, "bytes": size, "tokens": tokens, "other_tokens": others} | rates


PIECES = rate(9000, 2400, 2500) | {
    "pieces_used": 3812,
    "never_used": 281,
    "coverage": {"characters": 8900, "unknown": 0, "share": 1.0},
    "round_trip": {"documents": 18, "documents_lost": [], "bytes": 243, "bytes_lost": [], "bytes_in_no_text": 13},
    "languages": {"en": rate(7000, 1750, 2000), HOSTILE: rate(2000, 650, 500)},
    "sources": {f"source {n}": rate(100 + n, 30, 30) for n in range(20, 0, -1)},
}


ASKED = {"recipe": "laptop", "data": None, "sets": [], "seed": 3}


def corpus(out: Draft) -> None:
    for split, count in (("train", 40), ("validation", 3), ("test", 2)):
        rows = [
            {"source": "python" if n % 4 else "topics", "licence": "PSF-2.0" if n % 3 else "MIT", "n_chars": 900 + n, "text": "x"}
            for n in range(count)
        ]
        pq.write_table(pa.Table.from_pylist(rows), out.path / f"{split}.parquet")
    (out.path / "dropped").mkdir()
    for stage, rule, count in (("exact", "same_text", 9), ("near", "near_duplicate", 5), ("quality", "too_few_words", 14)):
        rows = [
            {
                "id": f"{n:032x}", "locator": f"os.path.{rule}{n}", "source": "python", "stage": stage, "rule": rule,
                "reason": f"{n} words, fewer than 50", "excerpt": f"Return the path. {HOSTILE}", "dup_of": None,
                "value": float(n), "threshold": 50.0, "characters": 30 + n,
            }
            for n in range(count)
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), out.path / "dropped" / f"{stage}.parquet")
    twins = {"a": None, "b": None, "c": "b", "d": "a"}
    rows = [{"doc_id": name, "locator": f"the {name}", "dup_of": twin} for name, twin in twins.items()]
    pq.write_table(pa.Table.from_pylist(rows), out.path / "verdicts.parquet")
    out.write_json("report.json", FUNNEL)


def tokenizer(out: Draft) -> None:
    pieces = [
        {"id": n, "piece": piece, "shown": piece.replace(" ", "·").replace("\n", "↵"), "times": 5}
        for n, piece in enumerate([" the", "\n", " of", " return", "self", HOSTILE])
    ]
    out.write_json("pieces.json", PIECES | {"most_frequent": pieces, "longest": pieces[::-1], "idle": pieces[1:4]})
    out.count(kind="bpe", size=4096, bytes_per_token=3.81)


def model(name: str, steps: int = 240):
    """A model directory whose training has been made up."""

    def make(out: Draft) -> None:
        header = json.dumps(
            {
                "a": {"dtype": "F32", "shape": [4096, 256], "data_offsets": [0, 4]},
                "b": {"dtype": "F32", "shape": [256], "data_offsets": [0, 4]},
            }
        )
        (out.path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + bytes(5000))
        out.write_json("model.json", {"kind": "qwen3", "layers": 6, "width": 256, "context": 256})
        out.write_json("decisions.json", {"dtype": "float32", "threads": 2})
        chance, journal = random.Random(name), Journal(written_to(out.path / "journal.jsonl"), stage=name)
        for step in range(1, steps + 1):
            loss = 1.9 + 5.5 * math.exp(-step / 60) + chance.gauss(0, 0.09)
            facts = {"loss": loss, "lr": 1e-3 * min(1, step / 40) * (1 - 0.9 * step / steps), "grad_norm": abs(chance.gauss(0.6, 0.1))}
            extra = {} if name == "base" else {"reward": 1 - math.exp(-step / 200), "kl": step / 9000}
            journal.event("step", step=step, tokens=8192 * step, tokens_per_s=21000 + chance.gauss(0, 700), seconds=0.4, **facts, **extra)
            if step % 60 == 0 and name == "base":
                journal.event("validation", step=step, tokens=8192 * step, bits_per_byte=1.6 + 2.2 * math.exp(-step / 90))
                journal.event(
                    "sample", step=step, prompt="os.path.join", text=f" returns the path of the {'file ' * (step // 60)}{HOSTILE}"
                )
        journal.event("skipped", step=17, reason="gradient norm 6.3 sigma above the mean")

    return make


def results(out: Draft) -> None:
    def measured(value: float, n: int) -> dict:
        half = 1.96 * math.sqrt(max(value * (1 - value), 0.002) / n)
        return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}

    rates = {
        "facts": (0.01, 0.83, 0.84, 0.82),
        "modules": (0.0, 0.94, 0.93, 0.94),
        "addition": (0.0, 0.71, 0.7, 0.79),
        "reverse": (0.0, 0.62, 0.61, 0.62),
    }
    models = {
        name: {"bits_per_byte": {"value": 1.612 + 0.05 * place, "low": 1.59 + 0.05 * place, "high": 1.63 + 0.05 * place, "n": 212}}
        | {measure: measured(values[place], 300) for measure, values in rates.items()}
        for place, name in enumerate(("base", "sft", "preferred", "reinforced"))
    }
    notes = ["Facts are asked in a phrasing that was never trained."]
    out.write_json("scores.json", {"models": models, "baselines": {"ngram": {"value": 2.03}, "xz": 2.41, "zstd": 2.44}, "notes": notes})
    answers = [
        {"model": "sft", "task": "facts", "question": "What does `os.path.join` do?", "answer": "It joins path components.", "right": True}
    ]
    out.write_json("answers.json", [*answers, answers[0] | {"answer": HOSTILE, "right": False, "expected": "It joins."}])


MAKERS = {"corpus": corpus, "tokenizer": tokenizer, "scores": results} | {
    name: model(name) for name in ("base", "sft", "preferred", "reinforced")
}


def made_home(path: Path, *names: str) -> Home:
    home = Home(path)
    journal = Journal(written_to(path / "journal.jsonl"))
    path.joinpath("recipe.json").write_text(
        json.dumps({"asked": ASKED, "recipe": {"name": "laptop", "seed": 0, "corpus": {"data": HOSTILE}}})
    )
    versions = {"scratchlm": "0.1.0", "python": "3.11.7", "torch": "2.13.0"}
    journal.event("command", argv=["scratchlm", "run", "laptop"], versions=versions, machine="Linux x86_64, 2 processors")
    for place, (verb, name) in enumerate(OTHERS.items()):
        if name in names:
            journal.also(stage=verb).event("stage", name=verb, state="started")
            made = home.build(name, Nothing(), {}, MAKERS.get(name, lambda out: out.count(train_tokens=1)))
            facts = {
                "seconds": 3.0 + 41 * (place == 3) + 9 * place,
                "artifact": name,
                "fingerprint": made.fingerprint,
                "counts": made.counts,
            }
            journal.also(stage=verb).event("stage", name=verb, state="finished", kept=False, **facts)
    journal.also(stage="pretrain").event("warning", message="bf16 is slow here; float32 is used")
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A finished run of every stage."""
    return made_home(tmp_path_factory.mktemp("runs") / "laptop", *OTHERS.values())


@pytest.fixture(scope="module")
def shown(home: Home) -> str:
    """Its report."""
    made = report.run(report.Config(), home, Journal())
    return (made.path / "index.html").read_text(encoding="utf-8")


def visible(text: str) -> str:
    """What a reader sees: tags and style left out, white space as one blank."""
    seen: list[str] = []

    class Reader(HTMLParser):
        hidden = False

        def handle_starttag(self, tag, attrs):
            self.hidden = tag in ("style", "title") or self.hidden

        def handle_endtag(self, tag):
            self.hidden = self.hidden and tag not in ("style", "title")

        def handle_data(self, data):
            seen.extend([] if self.hidden else [data])

    Reader().feed(text)
    return " ".join("".join(seen).split())


def cells(text: str) -> str:
    """What a reader sees, with a blank behind each cell of a table and each name."""
    return visible(re.sub("</(td|code)>", r" \g<0>", text))


def lines_of(path: Path, kind: str) -> list[dict]:
    """Independent of our own reader."""
    return [event for line in path.read_text().splitlines() if (event := json.loads(line))["event"] == kind]


def test_the_final_loss_and_the_speed_equal_a_recomputation_from_the_raw_lines(home: Home, shown: str):
    steps = lines_of(home.path / "base" / "journal.jsonl", "step")
    loss = sum(step["loss"] for step in steps[-100:]) / 100
    speed = steps[-1]["tokens"] / sum(step["seconds"] for step in steps)
    assert f"Mean loss of the last 100 steps: {loss:.4f}" in visible(shown)
    assert f"({speed / 1000:.3g}k per second)" in visible(shown)


def test_a_step_done_twice_counts_once_and_as_it_was_done_last(tmp_path: Path):
    made = made_home(tmp_path, "base").open("base")
    with (made.path / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"event": "step", "step": 240, "tokens": 8192 * 240, "loss": 99.0, "seconds": 0.4}) + "\n")
    training = gather.training(made)
    assert len(training.steps) == 240
    assert training.steps[-1]["loss"] == 99.0


def test_every_score_is_shown_with_its_interval(home: Home, shown: str):
    seen = visible(shown)
    for measures in json.loads((home.path / "scores" / "scores.json").read_text())["models"].values():
        for name, found in measures.items():
            scale, digits = (1, 3) if name == "bits_per_byte" else (100, 1)
            assert f"{found['value'] * scale:.{digits}f}" in seen
            assert f"{found['low'] * scale:.{digits}f} – {found['high'] * scale:.{digits}f}" in seen


def test_a_step_without_a_finite_loss_spoils_neither_the_mean_nor_the_curve(tmp_path: Path):
    made = made_home(tmp_path, "base").open("base")
    before = gather.training(made).last_loss
    with (made.path / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"event": "step", "step": 241, "tokens": 8192 * 241, "loss": math.nan, "seconds": 0.4}) + "\n")
    training = gather.training(made)
    assert training.last_loss == before
    assert "nan" not in figures.learning(training, None)


def test_what_was_dropped_is_counted_by_rule_and_adds_up(home: Home, shown: str):
    assert "73 documents came in; 45 were kept and 28 dropped" in visible(shown)
    assert "too few words · filter · first 14, at all 15, alone 9" in visible(shown)
    assert "Just dropped b – 49, limit 50 (web)" in visible(shown)
    assert "Just kept a – 51, limit 50 (web)" in visible(shown)
    assert "came in 60 13 refused by a rule −14 near copy −5 −9 kept 41 4" in cells(shown)


def test_copies_test_items_private_values_and_the_mix_are_told(shown: str):
    seen = cells(shown)
    assert "1,234 pairs in 2 crowds were not compared" in seen
    assert "4,321 places of 3 crowded marks were not all compared with each other, and 1 piece of code stood in the way of a cut." in seen
    assert "6 texts of more than two million characters were measured by eight pieces of each." in seen
    assert "addition 1,000 20 4 5 3 2 0" in seen
    assert "email · 2 places masked os write to <email>" in seen
    assert "python 1,000 2.50 2,500 100.0 %" in seen
    assert "7 texts were mended" in seen
    assert "40 to learn from (seen 52 times in all)" in seen
    assert "it, fr, de and 1 more" in seen


def test_a_copy_names_the_document_that_is_kept_for_it(shown: str):
    assert "c – 0.9, limit 0.8 (web) · left in favour of the b" in cells(shown)
    assert "d – says the same · left in favour of the a" in cells(shown)
    assert cells(shown).count("left in favour of") == 2


def test_the_funnel_reads_well(shown: str):
    seen = cells(shown)
    assert "3 texts came twice, 1 came 5 times. 1,234 pairs" in seen
    assert "places characters fewer" in cells(shown.replace("</th>", " </th>"))
    assert seen.count("a limit counts only for the kind that stands beside it.") == 2
    assert funnel.came({}) == ""
    assert funnel.sought({"crowded": 0, "apart": 0, "blocks_in_the_way": 0}) == (
        "Repeated passages were sought: every two places with one mark were compared."
    )
    assert funnel.compared({"crowded_buckets": 0, "pairs_left_out": 0}) == "Every pair that shares a band was compared."
    assert funnel.came({"2": 1}) == "1 text came twice."
    assert funnel.came({"3": 1000, "4": 2}) == "1,000 texts came 3 times, 2 came 4 times."


def test_an_excerpt_that_was_cut_off_says_so(shown: str):
    assert "a wo" * 75 + "…" in cells(shown)
    assert funnel.begun("All of it.\n\n\nReally") == "All of it.\nReally"
    assert funnel.begun("a part that was cut before a long ") == "a part that was cut before a long…"


def test_rates_are_those_of_what_was_done_in_one_run(tmp_path: Path):
    made = made_home(tmp_path, "corpus")
    step = {"units": 9, "made": 2, "seconds": 4.0, "peak_bytes": 10**8, "documents": 100, "read_bytes": 6_000_000, "skipped": 1}
    Journal(written_to(made.path / "journal.jsonl")).event("corpus", parts={"read": step, "order": step | {"seconds": 0.0}})
    assert "read 9 2 4.0 25 1.50 100 MB 1" in cells(page.render(made, OTHERS))


def test_a_histogram_marks_every_limit_on_its_axis():
    (told,) = FUNNEL["histograms"]
    svg = histogram.drawn(told, FUNNEL["limits"]["too_few_words"])
    marks = [float(x) for x in re.findall(r'<line x1="([\d.]+)" [^>]*stroke-dasharray', svg)]
    assert marks == pytest.approx([histogram.WIDTH * 4 / 59, histogram.WIDTH * 49 / 59], abs=0.05)
    assert "limit 50 · web" in svg
    assert svg.count(histogram.REFUSED) == 62
    assert histogram.ticks(told) == [10, 20, 30, 40, 50, 60]
    assert "3 lie below" in svg
    assert "value · 1 lies below · 2 lie above" in histogram.drawn(told | {"below": 1, "above": 2}, [])


def test_names_of_marks_do_not_cover_each_other():
    told = FUNNEL["histograms"][0] | {"scale": "log", "low": 0.0, "high": 5000.0}
    svg = histogram.drawn(told, [{"profile": f"language {n}", "limit": 50.0 + n / 10} for n in range(5)])
    assert len(set(re.findall(r'y="(-?[\d.]+)" text-anchor="middle" fill="var\(--ink\)"', svg))) == 5
    assert histogram.ticks(told) == [0, 1, 10, 100, 1000]
    assert histogram.ticks(told | {"low": 2.0, "high": 40.0}) == [2, 5, 10, 20]


def test_the_tokenizer_is_told_by_language_and_source_against_the_other(shown: str):
    seen = cells(shown)
    assert "all 9 9 kB 2,400 3.75 3.60 4.0 % fewer" in seen
    assert "en 9 7 kB 1,750 4.00 3.50 12.5 % fewer" in seen
    assert "9 2 kB 650 3.08 4.00 30.0 % more" in seen
    assert "source 20 9 120 bytes 30 4.00 4.00 0.0 % fewer" in seen
    assert "and 8 more, each with less text." in seen
    assert "All 18 held-out documents come back from their ids as they were, and so does each of the 243 bytes that text can have." in seen
    assert "Each of 8,900 characters has ids of its own. Held-out text used 3,812 of 4,096 pieces; 281 were never needed there." in seen
    assert "Pieces that held-out text never needs ↵ ·of ·return" in seen


def test_what_a_tokenizer_loses_is_told():
    trip = {"documents": 1200, "documents_lost": list("abcdefg"), "bytes": 243, "bytes_lost": ["c3"]}
    assert vocab.comes_back({"round_trip": trip}) == (
        "7 of 1,200 held-out documents do not come back from their ids (a, b, c, d, e and 2 more), and 1 of 243 bytes are lost (c3)."
    )
    assert vocab.known({"coverage": {"characters": 1000, "unknown": 2}}) == (
        "99.8 % of 1,000 characters have ids of their own; 2 became the one for what is unknown."
    )


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"text_bytes_of": 5_000_000, "learned_share": 1.0}, "It was made from 1,200 documents, 5 MB: all the training text."),
        ({"text_bytes_of": 10_000_000}, "It was made from 1,200 documents, 5 MB: a sample of the 10 MB of training text."),
        (
            {"text_bytes_of": 5_000_000, "learned_share": 0.75},
            "It was made from 1,200 documents, 5 MB: all the training text. Its training had room for 75.0 % of that.",
        ),
    ],
)
def test_the_text_of_a_tokenizer_is_told_in_words(counts: dict[str, Any], said: str, tmp_path: Path):
    home = Home(tmp_path)
    whole = {"kind": "bpe", "size": 4096, "text_documents": 1200, "text_bytes": 5_000_000, **counts}
    home.build("tokenizer", Nothing(), {}, lambda out: out.count(**whole))
    seen = cells(page.render(home, OTHERS))
    assert f"Tokenizer Kind bpe · Pieces 4,096 {said}" in seen
    assert "text_bytes" not in seen.lower().replace(" ", "_")


def test_figures_from_few_documents_say_so():
    told = {"round_trip": {"documents": 3}}
    assert vocab.few(told) == "These figures rest on only 3 held-out documents: others may give other figures."
    assert vocab.few(told | {"other": "gpt2"}).startswith("The comparison with gpt2 rests on only 3 held-out documents:")
    assert vocab.few({"round_trip": {"documents": 1}}).startswith("These figures rest on only 1 held-out document:")
    assert vocab.few({"round_trip": {"documents": 10}}) == vocab.few({}) == ""


@pytest.mark.parametrize("missing", [*PIECES, None])
def test_a_tokenizer_that_tells_less_has_a_section_too(tmp_path: Path, missing: str | None):
    def make(out: Draft) -> None:
        out.write_json("pieces.json", {key: value for key, value in PIECES.items() if missing and key != missing})
        out.count(kind="bpe", size=4096)

    home = Home(tmp_path)
    home.build("tokenizer", Nothing(), {}, make)
    seen = cells(page.render(home, OTHERS))
    assert "Tokenizer Kind bpe · Pieces 4,096" in seen
    assert ("en 9 7 kB" in seen) == (missing not in (None, "languages"))


def test_text_from_the_run_never_becomes_markup(shown: str):
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(1)") >= 10


def test_the_page_asks_for_nothing_from_elsewhere(shown: str):
    assert not re.search(r"""(src|href|action)=["'](?!#|data:)""", re.sub(r"xlink:href", "href", shown))
    assert "url(http" not in shown
    assert "@import" not in shown


def test_no_two_elements_share_an_identifier(shown: str):
    found = re.findall(r'\bid="([^"]+)"', shown)
    assert len(found) > 20
    by_picture = [
        set(re.findall(r'\bid="((?!figure_|patch_|axes_|line|xtick|ytick|text_|matplotlib|legend|Line)[^"]+)"', svg))
        for svg in shown.split("<svg")
    ]
    assert len(set().union(*by_picture)) == sum(len(ids) for ids in by_picture)


def test_warnings_and_skipped_steps_are_told(shown: str):
    assert "pretrain: warning: bf16 is slow here; float32 is used" in visible(shown)
    assert "base, step 17: skipped, gradient norm 6.3 sigma above the mean" in visible(shown)


def test_the_command_versions_and_recipe_are_there(shown: str):
    assert "scratchlm run laptop" in visible(shown)
    assert "torch 2.13.0" in visible(shown)
    assert '"seed": 0' in visible(shown)


@pytest.mark.parametrize("names", [(), ("corpus",), ("corpus", "tokenizer", "shards", "base"), ("base", "scores"), ("sft",)])
def test_a_run_that_went_only_part_of_the_way_has_a_report_too(tmp_path: Path, names: tuple[str, ...]):
    made = report.run(report.Config(), made_home(tmp_path, *names), Journal())
    told = "One finished stage," if len(names) == 1 else f"{len(names)} finished stages,"
    assert told in visible((made.path / "index.html").read_text(encoding="utf-8"))


def test_committed_evidence_stands_beside_the_runs_own_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "evidence.json"
    file.write_text(json.dumps({"date": "2026-10-01", "machine": "two cores", "rows": [{"measure": "facts", "mean": 0.8125, "seeds": 3}]}))
    monkeypatch.setattr(page, "EVIDENCE", file)
    seen = visible(page.render(made_home(tmp_path / "run", "scores"), OTHERS))
    assert "Measured 2026-10-01 on two cores" in seen
    assert "0.812" in seen


@pytest.mark.parametrize("other", [{"recipe": "smoke"}, {"data": "/texts"}, {"sets": ["pretrain.tokens=9"]}])
def test_evidence_of_another_recipe_is_not_shown(tmp_path: Path, other: dict):
    made = made_home(tmp_path / "run", "scores")
    assert "with several seeds" in page.render(made, OTHERS)
    made.path.joinpath("recipe.json").write_text(json.dumps({"asked": ASKED | other, "recipe": {}}))
    assert "with several seeds" not in page.render(made, OTHERS)


def test_the_time_of_a_stage_counts_the_attempts_that_were_killed():
    events = [
        {"event": "stage", "stage": "sft", "state": "started", "time": 10.0},
        {"event": "step", "stage": "sft", "step": 1, "time": 14.0},
        {"event": "stage", "stage": "sft", "state": "started", "time": 100.0},
        {"event": "stage", "stage": "sft", "state": "finished", "kept": False, "seconds": 5.0, "time": 105.0},
        {"event": "stage", "stage": "sft", "state": "started", "time": 200.0},
        {"event": "stage", "stage": "sft", "state": "finished", "kept": True, "seconds": 0.1, "time": 200.1},
    ]
    assert gather.attempts_of(events, "sft") == [4.0, 5.0]


def test_smoothing_keeps_a_constant_and_is_the_mean_of_a_window():
    assert figures.smoothed([2.0] * 5, 3) == [2.0] * 5
    assert figures.smoothed([1.0, 2.0, 6.0, 4.0], 2) == [1.0, 1.5, 4.0, 5.0]


def test_the_first_and_the_last_of_many_samples_are_shown():
    assert page.spread(list(range(100)), 4) == [0, 33, 66, 99]
    assert page.spread([1, 2], 4) == [1, 2]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (words.short(18312), "18.3k"),
        (words.short(6_312_000), "6.31M"),
        (words.short(4096), "4,096"),
        (words.short(0.0006), "0.0006"),
        (words.short("bpe"), "bpe"),
        (words.duration(8.44), "8.4 s"),
        (words.duration(125), "2 min 05 s"),
        (words.duration(4020), "1 h 07 min"),
        (words.size(4_100_000), "4.1 MB"),
    ],
)
def test_numbers_read_well(found: str, wanted: str):
    assert found == wanted


def test_the_results_table_in_the_terminal_shows_the_same_values(home: Home):
    table = scores.read(home.path / "scores" / "scores.json")
    assert table is not None
    terminal = Console(file=io.StringIO(), width=160)
    terminal.print(console.results(table))
    drawn = terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert all(each in drawn for each in ("1.612", "83.0 %", "best n-gram", "2.030", "reinforced"))


def test_plain_progress_is_one_line_in_ten_seconds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(100))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    journal = Journal(console.PlainView())
    for done in range(40):
        journal.progress("pretrain", float(done), 40.0, "steps", loss=2.31)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0] == "  pretrain: 22 % of 40 steps, 31 s left  loss 2.310"


def test_a_live_display_shows_bars_and_keeps_markup_in_messages_as_text():
    terminal = Console(file=io.StringIO(), width=100, force_terminal=True)
    with Progress(console=terminal) as progress:
        journal = Journal(console.LiveView(progress), stage="sft")
        journal.event("stage", name="sft", state="started")
        journal.progress("sft", 1.0, 2.0, "steps", loss=2.0)
        journal.event("warning", message="[bold]as typed[/bold]")
        journal.event("stage", name="sft", state="finished", seconds=3.0, counts={"steps": 2})
    assert "[bold]as typed[/bold]" in terminal.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(directory), size_guidance={"tensors": 0, "scalars": 0}).Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_reads_the_journals_numbers(tmp_path: Path):
    journal = Journal(tensorboard_view(tmp_path))
    for step in (1, 2):
        journal.event("step", step=step, tokens=8 * step, loss=0.5 * step, seconds=1.0)
    journal.event("validation", step=2, tokens=16, bits_per_byte=1.5)
    journal.event("sample", step=2, prompt="one ", text="two")
    read = scalars(tmp_path)
    assert read["train/loss"] == [(1, 0.5), (2, 1.0)]
    assert read["validation/bits_per_byte"] == [(2, 1.5)]


def test_records_have_the_checksums_of_tensorboards_own_writer(tmp_path: Path):
    from tensorboard.summary.writer.record_writer import RecordWriter

    for data in (b"", b"a", bytes(range(256)) * 3):
        with (tmp_path / "theirs").open("wb") as file:
            RecordWriter(file).write(data)
        assert framed(data) == (tmp_path / "theirs").read_bytes()
    assert crc32c(b"123456789") == 0xE3069283  # what every implementation is tried with
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_a_resumed_run_replaces_the_steps_it_does_again(tmp_path: Path):
    for steps in ((1, 2, 3), (2, 3)):
        journal = Journal(tensorboard_view(tmp_path))
        for step in steps:
            journal.event("step", step=step, loss=float(len(steps)))
    assert scalars(tmp_path)["train/loss"] == [(1, 3.0), (2, 2.0), (3, 2.0)]


def test_a_resumed_run_is_read_though_a_kill_tore_the_last_record(tmp_path: Path):
    Journal(tensorboard_view(tmp_path)).event("step", step=1, loss=1.0)
    torn = next(tmp_path.iterdir())
    torn.write_bytes(torn.read_bytes() + b"\x18\x00\x00")
    Journal(tensorboard_view(tmp_path)).event("step", step=2, loss=2.0)
    assert scalars(tmp_path)["train/loss"] == [(1, 1.0), (2, 2.0)]


def test_journal_events_that_are_no_numbers_leave_no_file(tmp_path: Path):
    Journal(tensorboard_view(tmp_path)).event("decisions", dtype="float32")
    assert list(tmp_path.iterdir()) == []
    assert journals.PROGRESS == "progress"
