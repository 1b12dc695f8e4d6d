"""One corpus by every way: from files of all kinds, a crawl, a data set, an object store; by processes, a cluster, and after kills."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import made
import pyarrow.parquet as pq
import pytest
import village
from fastwarc.warc import ArchiveIterator, WarcRecordType
from web import Clock, Handler, Site, page, served

from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.errors import UsageError
from scratchlm.core.journal import Journal
from scratchlm.corpus import reading
from scratchlm.corpus.gathering import Extra
from scratchlm.sources import record
from scratchlm.stages import corpus
from scratchlm.units import storage
from scratchlm.units.engine import Engine
from scratchlm.web import crawl, datasets
from scratchlm.web.crawl_config import CrawlConfig

TESTS = Path(__file__).parent
SPLITS = ("train", "validation", "test")
HERE = Engine(workers=0)
SLOW = {"connect_s": 900.0, "read_s": 900.0, "page_s": 900.0, "delay_s": 0.0}
"""A machine that is busy with other things must not look like a server that is."""
OPEN: dict[str, Any] = {
    "thresholds": {"too_few_words": 0, "too_few_letters": 0, "too_few_characters": 0},
    "minimum_bytes": 1,
    "engine": HERE,
}


def built(home: Path, **config: Any) -> Artifact:
    return corpus.run(corpus.Config(**(OPEN | config)), Home(home), Journal())


def documents(made: Artifact) -> list[Any]:
    return [document for split in SPLITS for document in record.read(made.path / f"{split}.parquet")]


def bytes_of(folder: Path) -> dict[str, str]:
    """Digests of all tables of a corpus."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.parquet")}


# Kinds of files


def test_a_folder_that_holds_one_of_each_kind_becomes_a_corpus(tmp_path: Path):
    folder = village.write(tmp_path / "texts", chapters=6)
    for name, sample in made.SAMPLES.items():
        (folder / name).write_bytes(sample())
    art = built(tmp_path / "home", data=str(folder))
    seen = {row["locator"] for row in pq.read_table(art.path / "verdicts.parquet", columns=["locator"]).to_pylist()}
    for name in made.SAMPLES:
        assert any(place.startswith(name) for place in seen), name
    assert pq.read_table(art.path / "dropped" / "unread.parquet").num_rows == 0
    books = json.loads((art.path / "report.json").read_text())["conservation"]
    assert books["documents_in"] == len(seen) == books["documents_kept"] + books["documents_dropped"]
    assert books["characters_in"] == sum(books[f"characters_{what}"] for what in ("kept", "dropped", "edited_away"))


# Tables


def test_columns_of_a_table_are_named_for_ours(tmp_path: Path):
    (tmp_path / "texts").mkdir()
    rows = [{"body": f"Words of row {n}.", "meta": {"name": f"T{n}", "terms": ["MIT", "BSD"]}, "mark": n / 4} for n in range(60)]
    (tmp_path / "texts" / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "texts" / "b.parquet").write_bytes(made.parquet([row | {"body": row["body"] + "b"} for row in rows]))
    columns = {"text": "body", "title": "meta.name", "licence": "meta.terms", "score": "mark"}
    found = documents(built(tmp_path / "home", data=str(tmp_path / "texts"), columns=columns, copies={"near": None}))
    assert Counter(str(d.facts["locator"]).partition("#")[0] for d in found) == {"a.jsonl": 60, "b.parquet": 60}
    for document in found:
        number = int(str(document.facts["locator"]).partition("#")[2]) - 1
        assert document.text.startswith(f"Words of row {number}.")
        facts = [document.facts[name] for name in ("title", "licence", "score")]
        assert facts == [f"T{number}", "MIT", number / 4]


def test_a_column_that_is_not_there_is_named(tmp_path: Path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text('{"note": "one"}')
    (tmp_path / "texts" / "b.txt").write_text(village.write(tmp_path / "v", chapters=1).joinpath("chapter00.md").read_text() * 3)
    art = built(tmp_path / "home", data=str(tmp_path / "texts"), columns={"text": "body"})
    (refused,) = pq.read_table(art.path / "dropped" / "unread.parquet").to_pylist()
    assert "no column 'body', 'text' or 'content' that holds text (columns: note)" in refused["reason"]


def test_a_table_without_the_named_column_is_read_by_the_usual_one(tmp_path: Path):
    (tmp_path / "texts").mkdir()
    for name, column in (("a.jsonl", "body"), ("b.jsonl", "content")):
        rows = [{column: f"Row {n} of {name} tells of the {n * 7} ships that sailed.", "title": f"{n}"} for n in range(30)]
        (tmp_path / "texts" / name).write_text("\n".join(map(json.dumps, rows)))
    found = documents(built(tmp_path / "home", data=str(tmp_path / "texts"), columns={"text": "body"}, copies={"near": None}))
    assert Counter(str(d.facts["locator"]).partition("#")[0] for d in found) == {"a.jsonl": 30, "b.jsonl": 30}
    assert {d.facts["title"] for d in found} == {str(n) for n in range(30)}


# The web


@pytest.fixture
def site() -> Iterator[Site]:
    with served(Clock()) as found:
        yield found


def told(number: int) -> str:
    chapter = village.write(Path(tempfile.mkdtemp()) / "v", chapters=number + 1) / f"chapter{number:02}.md"
    said = "It is said that they have been with us, and that it was to be so. "
    return said + " ".join(line for line in chapter.read_text().splitlines() if line and not line.startswith("#"))


def tagged(text: str) -> Callable[[Handler], None]:
    """A page with an ETag, sent only to those who do not have it."""
    mark, body = f'"{hash(text)}"', page(text=text).encode()

    def reply(handler: Handler) -> None:
        if handler.headers.get("If-None-Match") == mark:
            handler.say(304, {"ETag": mark})
        else:
            handler.say(200, {"ETag": mark, "Content-Type": "text/html", "Content-Length": str(len(body))}, body)

    return reply


def test_a_crawl_is_a_source_and_the_next_one_asks_only_what_changed(site: Site, tmp_path: Path):
    texts = [told(number) for number in range(8)]
    site.pages["/"] = page(*(f"/p{n}" for n in range(8)), text=told(9))
    for number, text in enumerate(texts):
        site.pages[f"/p{number}"] = tagged(text)
    plan = CrawlConfig(**({"seeds": (site.url(),)} | SLOW))
    extra = Extra(name="site", crawl=plan, licence="CC0-1.0")
    art = built(tmp_path / "one", more=(extra,), lines=None)
    found = documents(art)
    assert {text[70:140] for text in texts} <= {document.text[70:140] for document in found}
    assert {(d.source, d.facts["licence"], d.facts["host"]) for d in found} == {("site", "CC0-1.0", found[0].facts["host"])}
    site.pages["/p3"] = tagged(told(11))
    earlier = tmp_path / "one" / "fetched" / "site"
    again = built(tmp_path / "two", more=(extra.model_copy(update={"previous": str(earlier)}),), lines=None)
    kept = {document.text[70:140] for document in documents(again)}
    assert kept - {told(9)[70:140]} == {text[70:140] for number, text in enumerate(texts) if number != 3} | {told(11)[70:140]}
    (pages,) = crawl.pages_in(tmp_path / "two" / "fetched" / "site")
    with pages.open("rb") as stream:
        unchanged = [found for found in ArchiveIterator(stream) if found.record_type == WarcRecordType.revisit]
    assert len(unchanged) == 7


def test_a_data_set_is_fetched_once_and_read_by_its_columns(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for part in range(3):
        rows = [{"content": told(4 * part + n), "meta": {"licence": "MIT" if n else None}} for n in range(4)]
        site.pages[f"/{part}.jsonl"] = "\n".join(map(json.dumps, rows))
    row = datasets.Dataset(
        title="Stories",
        licence="CC0-1.0",
        licence_evidence="its page",
        home=site.url(),
        files=(datasets.Files(site.url("/{}.jsonl"), "{}.jsonl", 3),),
        columns={"text": "content", "licence": "meta.licence"},
        doc_type="book",
        lang="en",
    )
    monkeypatch.setitem(datasets.DATASETS, "stories", row)
    extra = Extra(name="mine", dataset="stories", files=2)
    found = documents(built(tmp_path / "home", more=(extra,)))
    assert len(found) == 8
    assert {(d.facts["doc_type"], d.facts["lang"], d.source) for d in found} == {("book", "en", "mine")}
    assert Counter(d.facts["licence"] for d in found) == {"MIT": 6, "CC0-1.0": 2}
    asked = len(site.fetched)
    built(tmp_path / "home", more=(extra,), seed=1)
    assert len(site.fetched) == asked
    with pytest.raises(UsageError, match="Did you mean 'stories'"):
        built(tmp_path / "other", more=(Extra(name="mine", dataset="storys"),))


# Places


def test_a_corpus_from_and_by_an_object_store_is_the_one_from_a_folder(bucket: str, tmp_path: Path):
    folder = village.write(tmp_path / "texts", chapters=8)
    (folder / "a.zip").write_bytes(made.SAMPLES["a.zip"]())
    for path in folder.iterdir():
        fsspec.filesystem("s3").put_file(str(path), storage.join(bucket, "in", path.name))
    here = built(tmp_path / "here", data=str(folder))
    there = built(tmp_path / "there", data=f"{bucket}/in", store=f"{bucket}/units", engine=Engine(workers=1))
    assert bytes_of(here.path) == bytes_of(there.path)
    assert any("/select/" in url for url in storage.files_under(f"{bucket}/units"))


# Who does the work, and who is killed

BUILD = """
import sys
from pathlib import Path
from scratchlm.core.artifact import Home
from scratchlm.core.journal import Journal
from scratchlm.stages import corpus
from scratchlm.units.engine import Engine
if __name__ == "__main__":
    kind, data, home = sys.argv[1:]
    engine = Engine(kind=kind, workers=2)
    corpus.run(corpus.Config(data=data, minimum_bytes=1, engine=engine), Home(Path(home)), Journal())
"""


def start(kind: str, data: Path, home: Path, **environment: str) -> subprocess.Popen[str]:
    environment = {"PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])} | environment
    command = [sys.executable, "-c", BUILD, kind, str(data), str(home)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)


def finished(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate()
    assert process.returncode == 0, said[-3000:]


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """A Ray cluster on this machine; what a process that uses it must be told."""
    pytest.importorskip("ray", reason="the cluster's library is not installed")
    told = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as short:
        head = subprocess.Popen(
            [sys.executable, str(TESTS / "ray_head.py"), short],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | told,
        )
        assert head.stdin is not None
        assert head.stdout is not None
        try:
            yield told | {"RAY_ADDRESS": next(line for line in head.stdout if ":" in line).strip()}
        finally:
            head.communicate("")


def children(process: int) -> list[int]:
    """Processes that ``process`` has started."""
    return [int(pid) for task in Path(f"/proc/{process}/task").glob("*") for pid in (task / "children").read_text().split()]


def harass(kind: str, data: Path, home: Path, chance: random.Random, most: float, **environment: str) -> int:
    """Build, killing a worker or the driver at random moments until one run gets to its end; how many were killed."""
    kills, patience = 0, most
    while True:
        driver = start(kind, data, home, **environment)
        try:
            driver.wait(timeout=chance.uniform(0.5, patience))
        except subprocess.TimeoutExpired:
            victims = children(driver.pid) if kind == "local" and chance.random() < 0.5 else []
            os.kill(chance.choice(victims or [driver.pid]), signal.SIGKILL)
            kills += 1
            if victims:
                driver.wait()
            patience *= 1.2
        _, said = driver.communicate()
        assert driver.returncode in (0, -signal.SIGKILL), said[-3000:]
        if driver.returncode == 0:
            return kills


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the workers of a driver")
def test_a_corpus_is_the_same_after_workers_and_drivers_were_killed(tmp_path: Path):
    data = village.write(tmp_path / "texts", chapters=10)
    whole = built(tmp_path / "whole", data=str(data), thresholds={})
    kills = harass("local", data, tmp_path / "killed", random.Random(3), 2.0)
    assert kills > 0
    assert bytes_of(tmp_path / "killed" / "corpus") == bytes_of(whole.path)


@pytest.mark.soak
def test_a_cluster_builds_the_corpus_of_this_machine(tmp_path: Path):
    data = village.write(tmp_path / "texts", chapters=10)
    whole = built(tmp_path / "whole", data=str(data), thresholds={})
    with cluster() as told:
        finished(start("ray", data, tmp_path / "there", **told))
    assert bytes_of(tmp_path / "there" / "corpus") == bytes_of(whole.path)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["local", "ray"])
def test_a_corpus_of_real_text_is_the_same_however_often_it_was_killed(kind: str, real_data: Path, tmp_path: Path):
    data = real_data / "peps"
    finished(start("local", data, tmp_path / "whole"))
    chance, kills, number = random.Random(11), 0, 0
    with cluster() if kind == "ray" else no_cluster() as told:
        while kills < 25:
            home, number = tmp_path / f"home{number}", number + 1
            kills += harass(kind, data, home, chance, 4.0, **told)
            assert bytes_of(home / "corpus") == bytes_of(tmp_path / "whole" / "corpus")


@contextmanager
def no_cluster() -> Iterator[dict[str, str]]:
    """Nothing to be told."""
    yield {}


@pytest.mark.soak
def test_a_large_file_is_many_units_and_the_same_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "texts"
    folder.mkdir()
    rows = [
        {"text": f"Row {number} tells of the {number * 7} ships that sailed, and of those that came back.", "title": f"T{number}"}
        for number in range(400)
    ]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "b.parquet").write_bytes(made.parquet([row | {"text": row["text"] + " Then came night."} for row in rows], row_group_size=50))
    whole = built(tmp_path / "whole", data=str(folder), copies={"near": None})
    monkeypatch.setattr(reading, "UNIT_BYTES", 8_000)
    parted = built(tmp_path / "parted", data=str(folder), copies={"near": None})
    assert len(list((tmp_path / "parted" / "units" / "read").iterdir())) > 4 > len(list((tmp_path / "whole" / "units" / "read").iterdir()))
    told = [[(d.id, d.facts["locator"], d.text) for d in documents(art)] for art in (whole, parted)]
    assert told[0] == told[1]
    assert len(told[0]) == 800


def test_what_was_dropped_is_told_in_a_line():
    rules = [{"rule": f"rule_{n}", "first": n} for n in range(9)]
    dropped = {"read: unreadable": [{"locator": "a.jsonl#1", "reason": "no column 'text' or 'content' that holds text (columns: body)"}]}
    told = corpus.lost({"rules": rules, "dropped": dropped})
    assert told.startswith(
        "8 × rule 8, 7 × rule 7, 6 × rule 6, 5 × rule 5, 4 × rule 4, 3 × rule 3 and 3 more; such as a.jsonl#1: no column"
    )
    assert corpus.lost({"rules": [], "dropped": {}}) == ""
