"""Files made to break their readers: each ends in a row with a reason, the others are read, and nothing takes long or much memory."""

import errno
import gzip
import io
import json
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import hypothesis
import made
import pytest
from hypothesis import strategies as st
from made import PACKS, docx, epub, file, paragraph, read, rules, tarred, texts, zipped

from scratchlm.core.records import Document
from scratchlm.sources import folder, plain, streams, zips
from scratchlm.sources import pdf as pdf_reader
from scratchlm.sources.dispatch import documents_of
from scratchlm.sources.file import Input, Limits, Reading, Unreadable
from scratchlm.sources.found import Dropped

TALE = "\n\n".join(f"Part {n} of the tale, told by {n * n} men on {n % 7} evenings to all who came." for n in range(4000))


@pytest.mark.parametrize("ending", PACKS)
def test_a_clipped_file_is_read_up_to_the_break_and_says_so(ending: str):
    # Five streams one behind the other, as crawls are stored: those before the break are whole.
    packed = b"".join(PACKS[ending](TALE[start : start + 60_000].encode()) for start in range(0, len(TALE), 60_000))
    found = read(f"a.txt{ending}", packed[: len(packed) * 3 // 4])
    assert rules(found) == {f"a.txt{ending}#file": "clipped"}
    assert isinstance(found[-1], Dropped)
    assert 0.4 * len(TALE) < sum(map(len, texts(found))) < 0.8 * len(TALE)
    assert TALE.startswith(texts(found)[0])


def test_rows_before_a_break_are_kept():
    rows = "".join(json.dumps({"text": f"{n} {TALE[n : n + 90]}"}) + "\n" for n in range(900)).encode()
    found = read("a.jsonl.gz", gzip.compress(rows)[:-3000])
    assert 100 < len(texts(found)) < 900
    assert list(rules(found).values()) == ["clipped"]


@pytest.mark.parametrize("ending", PACKS)
def test_rubbish_behind_a_packed_file_does_not_cost_the_file(ending: str):
    found = read(f"a.jsonl{ending}", PACKS[ending](b'{"text": "one"}\n') + b"rubbish" * 20)
    assert texts(found) == ["one"]
    assert list(rules(found).values()) == ["unreadable"]


@pytest.mark.parametrize("ending", PACKS)
def test_a_bomb_is_stopped_early(ending: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "HARMLESS", 2**16)
    packed = PACKS[ending](b"word\n\n" * 2**20)
    tracemalloc.start()
    found = read(f"a.txt{ending}", packed, ratio=20.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rules(found) == {f"a.txt{ending}#file": "bomb"}
    assert peak < 40 * 2**20


def test_a_bomb_among_files_ends_its_archive_in_one_row(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "HARMLESS", 2**16)
    layer = zipped({f"{n}.txt": b" " * 2**20 for n in range(16)})
    nested = zipped({"good.txt": "read before", **{f"{n}.zip": layer for n in range(16)}})
    for name, data in (("a.zip", nested), ("a.tar.gz", gzip.compress(tarred({"good.txt": "read before", "b.zip": nested})))):
        found = read(name, data, ratio=10.0)
        assert rules(found) == {f"{name}#file": "bomb"}
        assert texts(found)[:1] == ["read before"]


def test_a_bomb_that_is_one_member_costs_no_other_member():
    bomb = {"b.html": "<div>" * 6000, "c.zip": zipped({f"{n}.txt": "x" for n in range(30)}), "d.docx": docx("", {"docProps/x": "x"})}
    members = {"a.txt": "one", **bomb, "e.txt": "two", "f.txt": "three"}
    for name, data in (("a.zip", zipped(members)), ("a.tar", tarred(members)), ("a.tar.gz", gzip.compress(tarred(members)))):
        found = read(name, data, members=20)
        assert texts(found) == ["one", "two", "three"]
        assert {place.rpartition("!")[2]: rule for place, rule in rules(found).items()} == {
            "b.html#file": "bomb", "c.zip#file": "bomb", "d.docx#file": "nothing in it",
        }  # fmt: skip


def test_rows_that_share_one_text_a_million_times_are_a_bomb(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "HARMLESS", 2**16)
    found = read("a.parquet", made.parquet([{"text": "word " * 2000}] * 500), ratio=20.0)
    assert texts(found)
    assert list(rules(found).values()) == ["bomb"]


def test_members_that_lie_over_each_other_are_a_bomb():
    data = zipped({f"{n}.txt": "x" * 1000 for n in range(9)})
    start = data.index(b"PK\x01\x02")
    entries = data[start:].split(b"PK\x01\x02")[1:]
    shared = [entry[:38] + struct.pack("<I", 0) + entry[42:] for entry in entries]
    assert rules(read("a.zip", data[:start] + b"".join(b"PK\x01\x02" + entry for entry in shared))) == {"a.zip#file": "bomb"}


def test_too_many_members_and_too_long_a_list_are_a_bomb():
    many = {f"{n}.txt": "x" for n in range(30)}
    assert rules(read("a.zip", zipped(many), members=20)) == {"a.zip#file": "bomb"}
    found = read("a.tar", tarred(many), members=20)
    assert (len(texts(found)), rules(found)) == (20, {"a.tar#file": "bomb"})
    data = bytearray(zipped({"a.txt": "x"}))
    data[-10:-6] = struct.pack("<I", 2**31)
    assert rules(read("a.zip", bytes(data))) == {"a.zip#file": "bomb"}


def test_archives_in_archives_end_somewhere():
    data = b"the end"
    for level in range(5):
        data = zipped({"x.txt" if level == 0 else "x.zip": data})
    assert rules(read("x.zip", data)) == {"x.zip!x.zip!x.zip!x.zip#file": "too deep"}
    for _ in range(5):
        data = gzip.compress(data)
    assert list(rules(read("x.gz", data)).values()) == ["too deep"]


@pytest.mark.parametrize("name", ["../up.txt", "a/../../up.txt", "/etc/up.txt", "..\\up.txt", "C:\\up.txt", "\\\\host\\up.txt"])
def test_a_name_that_climbs_is_refused(name: str):
    assert rules(read("a.zip", zipped({name: "x", "good.txt": "y"}))) == {f"a.zip!{name}#file": "unsafe name"}
    found = read("a.tar", tarred({name: "x", "good.txt": "y"}))
    assert (rules(found), texts(found)) == ({f"a.tar!{name}#file": "unsafe name"}, ["y"])


def test_links_pipes_and_second_members_of_a_name_are_refused():
    headers = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        header = tarfile.TarInfo(f"{kind.decode()}.txt")
        header.type, header.linkname = kind, "/etc/passwd"
        headers.append(header)
    found = read("a.tar", tarred({"a.txt": "once"}, headers))
    assert texts(found) == ["once"]
    assert sorted(rules(found).values()) == ["link", "link", "not a file", "not a file"]
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = made.zipped_infos([(zipfile.ZipInfo("a.txt"), b"once"), (zipfile.ZipInfo("a.txt"), b"again"), (link, b"/etc/passwd")])
    found = read("a.zip", data)
    assert texts(found) == ["once"]
    assert sorted(rules(found).values()) == ["link", "same name"]


def test_locked_and_strangely_packed_members_are_refused_alone():
    data = bytearray(zipped({"a.txt": "secret", "b.txt": "open"}, zipfile.ZIP_STORED))
    place = data.index(b"PK\x01\x02")
    data[6] |= 1
    data[place + 8] |= 1
    assert rules(read("a.zip", bytes(data))) == {"a.zip!a.txt#file": "encrypted"}
    found = read("a.zip", zipped({"a.txt": "x" * 99}, zipfile.ZIP_LZMA))
    assert rules(found) == {"a.zip!a.txt#file": "unreadable"}


def test_a_part_of_a_zip_file_is_not_unpacked_in_ways_that_may_ask_for_gigabytes():
    with zips.opened(io.BytesIO(zipped({"LICENSE": "MIT " * 99}, zipfile.ZIP_LZMA)), Limits()) as archive:
        with pytest.raises(Unreadable, match="method 14"):
            zips.part(archive, "LICENSE", 1000)
        with pytest.raises(Unreadable, match="missing"):
            zips.part(archive, "COPYING", 1000)


def test_a_header_that_asks_for_gigabytes_is_not_followed():
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**40
    block = header.tobuf(tarfile.GNU_FORMAT)
    assert rules(read("a.tar", tarred({"good.txt": "x"})[:1024] + block)) == {"a.tar#file": "bomb"}


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
BILLION = f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("declared", [BILLION, OUTSIDE])
def test_what_xml_declares_is_never_expanded(declared: str):
    main = f"{declared}<w:document {made.W}><w:body>{paragraph('before')}{paragraph('&l11;')}</w:body></w:document>"
    for name in ("a.docx", "a.epub", "a.html"):
        read(name, GOOD[name])  # what their readers import is no part of what a bomb takes
    tracemalloc.start()
    found = [
        *read("a.docx", docx("", {"word/document.xml": main})),
        *read("a.docx", docx(paragraph("words"), {"word/styles.xml": f"{declared}<x>&l11;</x>"})),
        *read("a.epub", epub({"c.xhtml": f"<p>words {declared} &l11;</p>"}, {"OPS/book.opf": f"{declared}<x>&l11;</x>"})),
        *read("a.epub", epub({"c.xhtml": f"<p>words {declared} &l11;</p>"})),
        *read("a.html", f"{declared}<html><body><p>words &l11;</p></body></html>".encode()),
    ]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    assert "root:" not in str(found)
    assert "haha" not in str(found)
    assert "reader failed" not in rules(found).values()


def test_parts_of_a_document_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch):
    from scratchlm.sources import zips

    monkeypatch.setattr(zips, "LARGEST_PART", 2000)
    found = read("a.epub", epub({"a.xhtml": "<p>good</p>", "b.xhtml": "<p>" + "x" * 3000}))
    assert (texts(found), list(rules(found).values())) == (["good"], ["bomb"])
    assert rules(read("a.docx", docx(paragraph("x" * 200) * 30), document_characters=5000)) == {"a.docx#file": "too large"}


@pytest.mark.parametrize("name", [*made.SAMPLES, "a.zst", "a.gz", "a.txt.bz2", "a"])
@pytest.mark.parametrize(
    "junk", [b"\0" * 5000, bytes(range(256)) * 20, b"\xff\xfe" + b"\x00\xd8" * 999, b"PK\x05\x06" + b"\0" * 99, b" \n" * 999]
)
def test_junk_under_any_name_is_refused_in_a_row(name: str, junk: bytes):
    found = read(name, junk)
    assert len(found) >= 1
    assert texts(found) == []
    assert not set(rules(found).values()) & {"reader failed"}


def test_a_title_that_is_no_text_does_not_cost_the_document():
    assert texts(read("a.pdf", made.pdf([["some words"]], "\xfe\xff\xd8\x00"))) == ["some words"]


def test_text_that_turns_into_something_else_is_told(monkeypatch: pytest.MonkeyPatch):
    from scratchlm.sources import texts as chunked

    monkeypatch.setattr(chunked, "CHUNK", 50_000)
    for junk in (b"\0" * 9, bytes(range(128, 256)) * 900):
        found = read("a.txt", TALE[:150_000].encode() + junk)
        assert len(texts(found)) > 15
        assert rules(found) == {"a.txt#file": "not text"}


def test_one_endless_line_is_one_row():
    found = read("a.txt", b"words here\n\n" * 3000 + b"x" * 300_000, record_bytes=200_000)
    assert len(texts(found)) > 1
    assert rules(found) == {"a.txt#line 6001": "line too long"}
    assert rules(read("a.json", b'[{"text": "one"}, {"text": "' + b"x" * 300_000, record_bytes=200_000)) == {"a.json#file": "too large"}


def test_a_line_that_is_too_long_costs_no_other_line():
    before, behind = "words here\n\n" * 3000, "more words\n\n" * 3000
    found = read("a.txt", (before + "x" * 300_000 + "\n" + behind).encode(), record_bytes=200_000)
    assert rules(found) == {"a.txt#line 6001": "line too long"}
    assert "".join("".join(texts(found)).split()) == "".join((before + behind).split())
    found = read("a.txt", ("x" * 300_000 + "\n" + behind + "x" * 300_000).encode(), record_bytes=200_000)
    assert rules(found) == {"a.txt#line 1": "line too long", "a.txt#line 6002": "line too long"}


class Line(io.RawIOBase):
    """A line of so many bytes that nobody has to store."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        count = min(len(buffer), self._left)
        buffer[:count] = b"x" * count
        self._left -= count
        return count


def refusing(name: str, size: int, limits: Limits) -> int:
    """Memory that it takes to refuse a line of ``size`` bytes."""
    long = Input(name, lambda: io.BufferedReader(Line(size)), size)  # pyright: ignore[reportArgumentType]
    read(name, b"x")  # what the reader imports is no part of what the line takes
    tracemalloc.start()
    found = list(documents_of(long, replace(Reading(), limits=limits)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts(found) == []
    assert len(found) == 1
    assert set(rules(found).values()) <= {"line too long", "too large"}
    return peak


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.jsonl", "a.html", "a.py"])
def test_a_line_without_end_is_refused_in_little_memory(name: str):
    assert refusing(name, 2**25, Limits(record_bytes=2**20)) < 2**24


@pytest.mark.soak
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.html", "a.json"])
def test_a_line_of_a_gigabyte_is_refused_within_the_memory_of_a_worker(name: str):
    assert refusing(name, 2**30, Limits()) < 2**29


def test_a_list_of_something_else_is_given_up_soon():
    for name, data in (("a.json", json.dumps([[n, n] for n in range(5000)])), ("a.jsonl", "no rows here\n" * 5000)):
        found = read(name, data.encode())
        assert len(found) == 101
        assert rules(found)[f"{name}#file"] == "unreadable"


def test_values_nested_without_end_cost_one_row():
    for text, rule in (("[" * 100_000, "nothing in it"), ('{"a":' * 100_000, "unreadable")):
        assert set(rules(read("a.jsonl", f'{{"text": "x"}}\n{text}\n'.encode())).values()) == {"no JSON object"}
        assert list(rules(read("a.json", text.encode())).values()) == [rule]


# Every kind of sign that a pattern of ours repeats, and starts that never end.
WORST = [
    "a",
    " ",
    "#",
    "# ",
    "`",
    ":a",
    ":a:`",
    "=",
    "-",
    "\n",
    "\n\n",
    "\r",
    "\t",
    "A: ",
    "A:\n    b\n",
    "Title:",
    "[",
    "<",
    "&",
    "I",
    "1",
    ".",
    '"',
    "\x02a",
    "|",
    "*",
    "́",
]


@pytest.mark.parametrize("sign", WORST)
def test_a_megabyte_of_the_worst_sign_is_read_in_time(sign: str):
    text = sign * (2**20 // len(sign))
    began = time.process_time()
    read("a.rst", text.encode())
    for name in ("a.md", "a.jsonl", "a.json", "a.csv"):
        read(name, f"# x {text[: 2**16]} y".encode())
    pdf_reader.flowing(pdf_reader.mended([text[: 2**16], "end-", "ing"]))
    pdf_reader.without_edges([[text[: 2**14]] * 4] * 4)
    assert time.process_time() - began < 20  # seconds; a pattern that is quadratic takes hours


def test_links_in_circles_and_to_nowhere_and_names_that_are_no_text_are_told(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("words")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "circle.txt").symlink_to("circle.txt")
    (tmp_path / "nowhere.txt").symlink_to("missing.txt")
    (tmp_path / "other.txt").symlink_to("in/a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("words")
    found = list(folder.inputs(tmp_path))
    assert [item.name for item in found if isinstance(item, Input)] == ["in/a.txt", "other.txt"]
    refused = {item.locator: (item.rule, item.reason) for item in found if isinstance(item, Dropped)}
    assert {place: rule for place, (rule, _) in refused.items()} == {
        "caf\\xe9.txt#file": "unreadable",
        "circle.txt#file": "link", "nowhere.txt#file": "link", "in/up#file": "link", "pipe.txt#file": "not a file",
    }  # fmt: skip
    assert "circle" in refused["circle.txt#file"][1]


def test_a_file_and_a_folder_without_permission_are_told(tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (tmp_path / "shut").mkdir()
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "shut").chmod(0)
    found = list(folder.documents(tmp_path, lambda label, done, total: None))
    (tmp_path / "shut").chmod(0o700)
    assert rules(found) == {"a.txt#file": "unreadable", "shut/#file": "unreadable"}


def test_a_file_that_goes_away_or_breaks_is_told():
    def gone():
        raise FileNotFoundError(2, "No such file or directory")

    (row,) = documents_of(Input("a.txt", gone, 5), Reading())
    assert isinstance(row, Dropped)
    assert (row.rule, row.reason) == ("unreadable", "it cannot be read: No such file or directory")


MACHINES = [
    *(OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO)),
    MemoryError(),
    TimeoutError(),
    ConnectionResetError(),
]


@pytest.mark.parametrize("fault", MACHINES, ids=repr)
def test_a_fault_of_the_machine_is_no_fault_of_a_file(fault: Exception, monkeypatch: pytest.MonkeyPatch):
    class Broken(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            raise fault

    def start() -> io.BufferedReader:
        return io.BufferedReader(Broken())

    for name in ("a.txt", "a.parquet", "a.csv", "a.zip"):
        with pytest.raises(type(fault)):
            list(documents_of(Input(name, start, 99), Reading()))  # pyright: ignore[reportArgumentType]

    def full(**anything: object) -> object:
        raise fault

    monkeypatch.setattr(streams, "HELD", 2)
    monkeypatch.setattr(streams.tempfile, "NamedTemporaryFile", full)
    for name, data in (
        ("a.tar", GOOD["a.tar"]),
        ("a.zip.gz", gzip.compress(GOOD["a.zip"])),
        ("a.parquet.gz", gzip.compress(GOOD["a.parquet"])),
    ):
        with pytest.raises(type(fault)):
            read(name, data)


def test_a_fault_of_permission_is_one_of_the_file():
    def shut():
        raise PermissionError(errno.EACCES, "Permission denied")

    assert rules(documents_of(Input("a.txt", shut, 5), Reading())) == {"a.txt#file": "unreadable"}


def test_a_reader_with_a_fault_of_its_own_costs_its_file(monkeypatch: pytest.MonkeyPatch):
    def broken(*anything: object) -> object:
        raise KeyError("our mistake")

    monkeypatch.setattr(plain, "cut", broken)
    assert rules(read("a.txt", b"words")) == {"a.txt#file": "reader failed"}


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A good file with a few places changed, cut out, doubled or exchanged, sometimes packed, sometimes under another name."""
    name = draw(st.sampled_from(sorted(made.SAMPLES)))
    data = bytearray(GOOD[name])
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(data))), draw(st.integers(0, 40))
        change = draw(st.sampled_from(["flip", "cut", "double", "insert", "clip", "number"]))
        if change == "clip":
            del data[place:]
        elif change == "cut":
            del data[place : place + length]
        elif change == "double":
            data[place:place] = data[place : place + 40 * length]
        elif change == "insert":
            data[place:place] = draw(st.binary(max_size=20))
        elif change == "number":
            data[place : place + 4] = struct.pack("<I", draw(st.sampled_from([0, 1, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1])))
        elif place < len(data):
            data[place] ^= draw(st.integers(1, 255))
    ending = draw(st.sampled_from(["", "", "", *PACKS]))
    packed = PACKS[ending](bytes(data)) if ending else bytes(data)
    return draw(st.sampled_from([name, name, "other.txt", "other"])) + ending, packed


GOOD = {name: make() for name, make in made.SAMPLES.items()}


def check(name: str, data: bytes) -> None:
    """What holds of every file, however bad: something is told, each text once, in signs that can be stored, and the same each time."""
    reading = replace(Reading(), limits=Limits(document_characters=10**6, unpacked_bytes=10**8))
    found = list(documents_of(file(name, data), reading))
    assert found
    # An article of a wiki is known by the number that its dump gives it, which damage can give twice.
    documents = [item for item in found if isinstance(item, Document) and item.facts["doc_type"] != "wiki"]
    assert len({item.id for item in documents}) == len(documents)
    assert [item.reason for item in found if isinstance(item, Dropped) and item.rule == "reader failed"] == []
    for item in found:
        (item.text if isinstance(item, Document) else item.reason + item.excerpt).encode()
        for value in item.facts.values() if isinstance(item, Document) else []:
            str(value).encode()
    assert list(documents_of(file(name, data), reading)) == found


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(mutated())
def test_no_damage_to_a_file_breaks_its_reader(sample: tuple[str, bytes]):
    check(*sample)


@pytest.mark.soak
@hypothesis.settings(max_examples=20_000, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(mutated())
def test_no_damage_to_a_file_breaks_its_reader_for_long(sample: tuple[str, bytes]):
    check(*sample)
