"""A download arrives whole or says why not, whatever the server does."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
from web import Clock, Handler, Site, served

from scratchlm.core.errors import ArtifactError, DataError, UsageError
from scratchlm.units import known
from scratchlm.web import datasets, download
from scratchlm.web.datasets import DATASETS
from scratchlm.web.download import Wanted, fetch, fetch_all
from scratchlm.web.transfer import Patience

DATA = b"".join(b"line %d of a file that is worth having\n" % n for n in range(8_000))
SHA256 = hashlib.sha256(DATA).hexdigest()
PATIENT = {"connect_s": 900.0, "read_s": 900.0}
"""A machine that is busy with other things must not look like a server that is."""


@dataclass
class Source:
    """A file on a server that knows parts, and breaks off after so many bytes of each answer while ``breaks`` last."""

    data: bytes = DATA
    etag: str | None = '"one"'
    modified: str | None = None
    breaks: list[int] = field(default_factory=list)
    knows_parts: bool = True
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, handler: Handler) -> None:
        start, status = 0, 200
        asked, mark = handler.headers.get("Range"), handler.headers.get("If-Range")
        if asked and self.knows_parts and (mark is None or mark in (self.etag, self.modified)):
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
        body = self.data[start:]
        head = {"Content-Length": str(len(body))} | self.headers
        head |= {"ETag": self.etag} if self.etag else {}
        head |= {"Last-Modified": self.modified} if self.modified else {}
        if status == 206 and not body:
            handler.say(416, {"Content-Range": f"bytes */{len(self.data)}", "Content-Length": "0"})
            return
        if status == 206:
            head["Content-Range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        cut = self.breaks.pop(0) if self.breaks else None
        handler.say(status, head, body[:cut])
        if cut is not None:
            handler.hang_up()


@pytest.fixture
def site() -> Iterator[Site]:
    with served(Clock()) as found:
        yield found


def got(site: Site, path: Path, **options: Any) -> str:
    """The hash of ``/file`` of ``site`` fetched to ``path``."""
    wanted = {name: options.pop(name) for name in ("sha256", "size_bytes") if name in options}
    patience = Patience(**PATIENT | options.pop("patience", {}))
    return fetch(Wanted(site.url("/file"), path, **wanted), patience=patience, sleep=site.clock.sleep, **options)


def ranges(site: Site) -> list[str | None]:
    return [headers.get("range") for headers in site.headers]


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_arrives_whole_with_its_hash_beside_it(tmp_path: Path, site: Site):
    site.pages = {"/file": Source()}
    told: list[tuple[str, int, int]] = []
    assert got(site, tmp_path / "new" / "a.txt", progress=lambda *step: told.append(step)) == SHA256
    assert (tmp_path / "new" / "a.txt").read_bytes() == DATA
    beside, stat = (tmp_path / "new" / "a.txt.sha256").read_text(), (tmp_path / "new" / "a.txt").stat()
    assert beside == f"{SHA256}  a.txt\n# {len(DATA)} bytes, changed at {stat.st_mtime_ns} ns\n"
    assert left_in(tmp_path / "new") == {"a.txt", "a.txt.sha256"}
    assert told[-1] == ("a.txt", len(DATA), len(DATA))
    assert site.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("source", [Source(), Source(etag=None, modified="Thu, 01 Jan 2026 00:00:00 GMT")], ids=["etag", "date"])
def test_a_transfer_that_breaks_off_goes_on_where_it_was(tmp_path: Path, site: Site, source: Source):
    source.breaks = [100_000, 7, 50_000]
    site.pages = {"/file": source}
    assert got(site, tmp_path / "a") == SHA256
    assert ranges(site) == [None, "bytes=100000-", "bytes=100007-", "bytes=150007-"]
    assert {headers.get("if-range") for headers in site.headers[1:]} == {source.etag or source.modified}


def test_a_later_run_goes_on_with_what_an_earlier_one_left(tmp_path: Path, site: Site):
    site.pages = {"/file": Source(breaks=[60_000, 0, 0])}
    with pytest.raises(DataError, match=r"60,000 bytes are kept: run again"):
        got(site, tmp_path / "a", patience={"tries": 2})
    assert left_in(tmp_path) == {"a.partial", "a.partial.json"}
    assert got(site, tmp_path / "a") == SHA256
    assert ranges(site)[-1] == "bytes=60000-"


@pytest.mark.parametrize(
    "source", [Source(knows_parts=False), Source(etag=None), Source(etag='W/"weak"')], ids=["no parts", "no mark", "weak mark"]
)
def test_without_a_promise_of_the_same_version_the_whole_is_sent_again(tmp_path: Path, site: Site, source: Source):
    source.breaks = [100_000, 200_000]
    site.pages = {"/file": source}
    assert got(site, tmp_path / "a") == SHA256
    assert len(site.asked) == 3
    if source.knows_parts:
        assert ranges(site) == [None] * 3


def test_a_file_that_changes_between_two_parts_is_fetched_anew(tmp_path: Path, site: Site):
    source = Source(data=b"old " * 50_000, breaks=[99_999])
    site.pages = {"/file": source}

    def replaced(seconds: float) -> None:
        source.data, source.etag = DATA, '"two"'

    assert fetch(Wanted(site.url("/file"), tmp_path / "a"), sleep=replaced, patience=Patience(**PATIENT)) == SHA256


@pytest.mark.parametrize("known", [True, False])
def test_a_part_of_another_version_is_never_put_behind_the_first(tmp_path: Path, site: Site, known: bool):
    """The server ignores If-Range; its Content-Range tells."""
    source = Source(data=b"old " * 50_000, breaks=[99_999])

    def careless(handler: Handler) -> None:
        del handler.headers["If-Range"]
        source(handler)

    site.pages = {"/file": careless}

    def replaced(seconds: float) -> None:
        source.data, source.etag = DATA, None

    wanted = Wanted(site.url("/file"), tmp_path / "a", SHA256 if known else None)
    assert fetch(wanted, sleep=replaced, patience=Patience(**PATIENT)) == SHA256


def test_parts_of_two_versions_that_look_the_same_are_found_out_by_the_hash(tmp_path: Path, site: Site):
    wrong = bytes(len(DATA))
    site.pages = {"/file": Source(data=wrong, etag=None, breaks=[5_000, 0])}
    with pytest.raises(DataError):
        got(site, tmp_path / "a", sha256=SHA256, patience={"tries": 1})
    site.pages = {"/file": Source(etag=None)}
    assert got(site, tmp_path / "a", sha256=SHA256) == SHA256
    assert ranges(site)[-2:] == ["bytes=5000-", None]


def test_a_part_that_was_whole_already_is_only_given_its_name(tmp_path: Path, site: Site):
    site.pages = {"/file": Source(breaks=[len(DATA) - 1])}
    with pytest.raises(DataError):
        got(site, tmp_path / "a", patience={"tries": 0})
    (tmp_path / "a.partial").write_bytes(DATA)
    assert got(site, tmp_path / "a") == SHA256


def test_a_file_that_became_shorter_is_fetched_anew(tmp_path: Path, site: Site):
    site.pages = {"/file": Source(breaks=[60_000, 0])}
    with pytest.raises(DataError):
        got(site, tmp_path / "a", patience={"tries": 1})
    site.pages = {"/file": Source(data=b"short")}
    assert got(site, tmp_path / "a") == hashlib.sha256(b"short").hexdigest()


def test_a_body_shorter_than_it_was_said_to_be_is_no_file(tmp_path: Path, site: Site):
    site.pages = {"/file": Source(etag=None, headers={"Content-Length": str(len(DATA) + 1)}, breaks=[len(DATA)] * 9)}
    with pytest.raises(DataError, match=r"3 times in a row\. Try again later"):
        got(site, tmp_path / "a", patience={"tries": 3})
    assert not (tmp_path / "a").exists()


def test_a_body_longer_than_it_was_said_to_be_is_found_out_by_size_and_hash(tmp_path: Path, site: Site):
    site.pages = {"/file": Source(headers={"Content-Length": "1000"})}
    with pytest.raises(DataError, match="1,000 bytes, not"):
        got(site, tmp_path / "a", size_bytes=len(DATA))
    with pytest.raises(DataError, match="SHA-256"):
        got(site, tmp_path / "a", sha256=SHA256)
    assert left_in(tmp_path) == set()


def test_waits_grow_until_something_new_comes(tmp_path: Path, site: Site):
    answers = iter([(500, {}, b""), (503, {"Retry-After": "7"}, b""), (502, {}, b""), (429, {"Retry-After": "9999"}, b"")])
    source = Source()

    def moody(handler: Handler) -> None:
        status, headers, body = next(answers, (0, {}, b""))
        if status:
            handler.say(status, {"Content-Length": "0"} | headers, body)
        else:
            source(handler)

    site.pages = {"/file": moody}
    assert got(site, tmp_path / "a") == SHA256
    assert site.clock.slept == [1, 7, 4, 60]


def test_an_address_that_is_wrong_is_not_tried_again(tmp_path: Path, site: Site):
    with pytest.raises(DataError, match=r"status 404.*moved"):
        got(site, tmp_path / "a")
    assert site.clock.slept == []
    site.pages = {"/file": (302, {"Location": "/file"}, b"")}
    with pytest.raises(DataError, match="redirect"):
        got(site, tmp_path / "b")


def test_redirects_are_followed_and_keep_the_range(tmp_path: Path, site: Site):
    site.pages = {"/file": (302, {"Location": "/there"}, b""), "/there": Source(breaks=[1_000])}
    assert got(site, tmp_path / "a") == SHA256
    assert ranges(site)[-1] == "bytes=1000-"


def test_a_server_that_is_gone_is_one_sentence(tmp_path: Path):
    with served(Clock()) as gone:
        pass
    with pytest.raises(DataError, match="2 times in a row"):
        got(gone, tmp_path / "a", patience={"tries": 2})


def test_no_file_is_larger_than_allowed(tmp_path: Path, site: Site):
    def endless(handler: Handler) -> None:
        handler.say(200, {"Transfer-Encoding": "chunked"})
        for _ in range(10_000):
            handler.wfile.write(b"400\r\n" + b"y" * 1_024 + b"\r\n")

    site.pages = {"/file": Source()}
    with pytest.raises(DataError, match="more than the 1,000"):
        got(site, tmp_path / "a", patience={"most_bytes": 1_000})
    site.pages = {"/file": endless}
    with pytest.raises(DataError, match="more than the 9,000"):
        got(site, tmp_path / "a", patience={"most_bytes": 9_000})
    assert left_in(tmp_path) == set()


def test_a_body_that_is_packed_on_the_way_is_refused_unless_the_file_is(tmp_path: Path, site: Site):
    packed = gzip.compress(DATA)
    site.pages = {"/file": Source(data=packed, headers={"Content-Encoding": "gzip"})}
    with pytest.raises(DataError, match="packed as 'gzip'"):
        got(site, tmp_path / "a.txt")
    assert got(site, tmp_path / "a.jsonl.gz") == hashlib.sha256(packed).hexdigest()


def test_a_full_disk_is_said_before_and_during(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch):
    site.pages = {"/file": Source()}
    if Path("/dev/full").exists():
        (tmp_path / "a.partial.json").write_text(json.dumps({"url": site.url("/file"), "etag": '"one"', "total": len(DATA)}))
        monkeypatch.setattr("scratchlm.web.transfer.Transfer.partial", Path("/dev/full"))
        monkeypatch.setattr("scratchlm.web.transfer.Transfer.forget", lambda job: None)
        with pytest.raises(DataError, match="the disk is full"):
            got(site, tmp_path / "a")
        monkeypatch.undo()
    usage = type("Usage", (), {"free": 1_234})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(DataError, match=r"the disk has 1,234\. Free some"):
        got(site, tmp_path / "b")


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, site: Site):
    (tmp_path / "file").write_text("in the way")
    site.pages = {"/file": Source()}
    with pytest.raises(DataError, match="cannot be written"):
        got(site, tmp_path / "file" / "a")


def test_what_was_fetched_is_checked_ever_after(tmp_path: Path, site: Site):
    site.pages = {"/file": Source()}
    got(site, tmp_path / "a")
    assert got(site, tmp_path / "a") == SHA256
    assert len(site.asked) == 1
    (tmp_path / "a").write_bytes(DATA[:-1] + b"!")
    with pytest.raises(ArtifactError, match=r"it changed\. Remove it"):
        got(site, tmp_path / "a")
    (tmp_path / "b").write_bytes(DATA)
    assert got(site, tmp_path / "b") == SHA256
    assert known.kept(tmp_path / "b") == SHA256
    with pytest.raises(ArtifactError, match="not 0000"):
        got(site, tmp_path / "b", sha256="0" * 64)


def test_a_file_that_was_not_written_to_is_not_read_again(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch):
    site.pages = {"/file": Source()}
    got(site, tmp_path / "a")
    read: list[Path] = []
    whole = download.sha256_of
    monkeypatch.setattr(download, "sha256_of", lambda path: (read.append(path), whole(path))[1])
    assert got(site, tmp_path / "a") == got(site, tmp_path / "a", sha256=SHA256.upper()) == known.known(tmp_path / "a") == SHA256
    assert read == []
    with pytest.raises(ArtifactError, match="not 0000"):
        got(site, tmp_path / "a", sha256="0" * 64)
    os.utime(tmp_path / "a", ns=(1, 1))
    assert known.known(tmp_path / "a") is None
    assert got(site, tmp_path / "a") == SHA256
    assert read == [tmp_path / "a"]
    (tmp_path / "a.sha256").write_text(f"{SHA256}  a\n")  # as other tools write it
    assert (known.kept(tmp_path / "a"), known.known(tmp_path / "a")) == (SHA256, None)
    assert got(site, tmp_path / "a") == known.known(tmp_path / "a") == SHA256
    (tmp_path / "a").write_bytes(DATA[:-1] + b"!")
    with pytest.raises(ArtifactError, match="it changed"):
        got(site, tmp_path / "a")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not here")
def test_other_tools_check_what_is_kept_beside_a_file(tmp_path: Path):
    (tmp_path / "a").write_bytes(DATA)
    known.keep(tmp_path / "a", SHA256)
    assert subprocess.run(["sha256sum", "-c", "--strict", "a.sha256"], cwd=tmp_path, capture_output=True).returncode == 0


def test_files_of_this_machine_are_taken_the_same_way(tmp_path: Path):
    source = tmp_path / "so ürce.txt"
    source.write_bytes(DATA)
    assert fetch(Wanted(source.as_uri(), tmp_path / "a"), sleep=lambda seconds: None) == SHA256
    assert fetch(Wanted(str(source), tmp_path / "b", SHA256)) == SHA256
    with pytest.raises(DataError, match="no such file"):
        fetch(Wanted(str(tmp_path / "nothing"), tmp_path / "c"))
    with pytest.raises(DataError, match="SHA-256"):
        fetch(Wanted(str(source), tmp_path / "c", "0" * 64))
    assert left_in(tmp_path) == {source.name, "a", "a.sha256", "b", "b.sha256"}


def test_two_at_a_time_come_in_their_order_and_the_first_error_ends_all(tmp_path: Path, site: Site):
    site.pages = {f"/{n}": Source(data=DATA[: n * 1_000]) for n in range(1, 6)}
    wanted = [Wanted(site.url(f"/{n}"), tmp_path / str(n)) for n in range(1, 6)]
    patience = Patience(**PATIENT)
    assert fetch_all(wanted, patience=patience) == [tmp_path / str(n) for n in range(1, 6)]
    assert [(tmp_path / str(n)).stat().st_size for n in range(1, 6)] == [n * 1_000 for n in range(1, 6)]
    with pytest.raises(DataError, match="404"):
        fetch_all([*wanted, Wanted(site.url("/9"), tmp_path / "9")], patience=patience)


# Datasets


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_names_what_it_is_and_where_it_lies(name: str, tmp_path: Path):
    from scratchlm.corpus.gathering import Named
    from scratchlm.sources.readers import READERS

    row, files = DATASETS[name], datasets.wanted(name, tmp_path)
    assert row.title
    assert row.licence
    assert row.licence_evidence
    assert row.columns["text"]
    assert row.doc_type in ("web", "wiki", "qa", "code", "book")
    ends = [ending for reader in ("parquet", "json_lines") for ending in READERS[reader].endings]
    assert any(files[0].path.name.removesuffix(".gz").endswith(ending) for ending in ends)
    assert set(row.columns) <= set(get_args(Named))
    assert len({one.path for one in files}) == len({one.url for one in files}) == len(files) == sum(part.count for part in row.files)
    for one in files:
        assert one.url.startswith(row.home + "/resolve/")
        assert "{" not in one.url + one.path.name
        assert one.sha256 is None or len(bytes.fromhex(one.sha256)) == 32


def test_the_first_files_of_a_dataset_are_fetched_into_a_folder_of_its_name(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch):
    site.pages = {f"/part-{n:03d}": Source(data=DATA[: n + 1]) for n in range(9)}
    part = datasets.Files(site.url("/part-{:03d}"), "{:03d}.jsonl", 9, {1: hashlib.sha256(DATA[:2]).hexdigest()}, {1: 2})
    row = datasets.Dataset("title", "CC0-1.0", "page", site.url(), (part,), {"text": "text"}, "web")
    monkeypatch.setitem(DATASETS, "mine", row)
    paths = datasets.fetch("mine", tmp_path, most_files=3, patience=Patience(**PATIENT))
    assert paths == [tmp_path / "mine" / f"{n:03d}.jsonl" for n in range(3)]
    assert sorted(site.asked) == ["/part-000", "/part-001", "/part-002"]
    with pytest.raises(UsageError, match="Did you mean 'gutenberg'"):
        datasets.fetch("gutenburg", tmp_path)
