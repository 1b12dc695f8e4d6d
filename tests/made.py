"""Files of every kind, made on the spot: as small as their formats allow."""

import base64
import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from scratchlm.core.records import Document
from scratchlm.sources.dispatch import documents_of
from scratchlm.sources.file import Input, Limits, Reading
from scratchlm.sources.found import Dropped

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
LOCK = "<< /Filter /Standard /V 1 /R 2 /O (" + "o" * 32 + ") /U (" + "u" * 32 + ") /P -4 >>"
CONTAINER = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'


def file(name: str, data: bytes) -> Input:
    """``data`` as a file."""
    return Input(name, lambda: io.BytesIO(data), len(data))


def read(name: str, data: bytes, **limits: Any) -> list[Document | Dropped]:
    """All that is found in a file that holds ``data``."""
    return list(documents_of(file(name, data), replace(Reading(), limits=Limits(**limits))))


def texts(found: Iterable[Document | Dropped]) -> list[str]:
    """The texts among ``found``."""
    return [item.text for item in found if isinstance(item, Document)]


def rules(found: Iterable[Document | Dropped]) -> dict[str, str]:
    """What was refused, by its place."""
    return {item.locator: item.rule for item in found if isinstance(item, Dropped)}


def pdf(pages: Sequence[Sequence[str]], title: str = "", lock: str = "") -> bytes:
    """Pages of lines; with ``lock`` as if encrypted."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, lines in enumerate(pages):
        place = f"/MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R"
        objects.append(f"<< /Type /Page /Parent 2 0 R {place} >>")
        shown = " ".join(f"({line.translate({40: None, 41: None})}) Tj T*" for line in lines)
        body = f"BT /F1 8 Tf 72 760 Td 12 TL {shown} ET"
        objects.append(f"<< /Length {len(body)} >>\nstream\n{body}\nendstream")
    objects += [f"<< /Title ({title}) /CreationDate (D:20210304050607Z) >>", *([lock] if lock else [])]
    written, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(written))
        written += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    locked = f"/Encrypt {len(objects)} 0 R /ID [<00> <00>]" if lock else ""
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(objects) + 1} /Root 1 0 R "
    end += f"/Info {len(objects) - bool(lock)} 0 R {locked} >>\nstartxref\n{len(written)}\n%%EOF\n"
    return written + end.encode()


def zipped(members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file."""
    return zipped_infos([(zipfile.ZipInfo(name), data) for name, data in members.items()], method)


def zipped_infos(members: Sequence[tuple[zipfile.ZipInfo, str | bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file whose members need more than a name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for header, data in members:
            archive.writestr(header, data, compress_type=method)
    return out.getvalue()


def tarred(members: Mapping[str, str | bytes], more: Sequence[tarfile.TarInfo] = ()) -> bytes:
    """A tar file; ``more`` are headers without data."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in members.items():
            data = text.encode() if isinstance(text, str) else text
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
        for header in more:
            archive.addfile(header)
    return out.getvalue()


def epub(chapters: Mapping[str, str], more: Mapping[str, str] | None = None, about: str = "") -> bytes:
    """A book of XHTML bodies, with a table of contents in front."""
    pages = {"nav.xhtml": "<nav><ol><li>Contents</li></ol></nav>", **chapters}
    items = "".join(f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(pages))
    items = items.replace('id="i0"', 'id="i0" properties="nav"')
    spine = "".join(f'<itemref idref="i{n}"/>' for n in range(len(pages)))
    book = f'<package xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>{about}</metadata>'
    book += f"<manifest>{items}</manifest><spine>{spine}</spine></package>"
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER, "OPS/book.opf": book, **(more or {})}
    parts |= {f"OPS/{name}": f"<html><head><title>t</title></head><body>{body}</body></html>" for name, body in pages.items()}
    return zipped(parts, zipfile.ZIP_STORED)


def docx(body: str, more: Mapping[str, str] | None = None) -> bytes:
    """A Word file of the elements in ``body``."""
    return zipped(
        {"[Content_Types].xml": "<Types/>", "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>"} | dict(more or {})
    )


def paragraph(text: str, properties: str = "") -> str:
    """A paragraph of a Word file."""
    return f'<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def letter() -> bytes:
    """A Word file with all that is read of one."""
    rows = "".join(f"<w:tr><w:tc>{paragraph(a)}</w:tc><w:tc>{paragraph(b)}</w:tc></w:tr>" for a, b in (("Name", "Size"), ("a|b", "2")))
    note = '<w:footnote w:id="2"><w:p><w:r><w:t>It was cold.</w:t></w:r></w:p></w:footnote><w:footnote w:type="separator" w:id="0"/>'
    body = [
        paragraph("Top", '<w:pStyle w:val="berschrift1"/>'),
        *(
            paragraph(text, f"<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='3'/></w:numPr>")
            for level, text in enumerate(["one", "two"])
        ),
        f"<w:tbl>{rows}</w:tbl>",
        '<w:p><w:r><w:t>A day</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r>',
        "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>",
        "<w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom>",
    ]
    more = {
        "word/styles.xml": f'<w:styles {W}><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>',
        "word/footnotes.xml": f"<w:footnotes {W}>{note}</w:footnotes>",
        "docProps/core.xml": '<c xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Named</dc:title></c>',
    }
    return docx("".join(body), more)


def parquet(rows: Sequence[Mapping[str, Any]], **options: Any) -> bytes:
    """A Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), out, **options)
    return out.getvalue()


def warc(*records: tuple[str, str, bytes]) -> bytes:
    """A WARC file; each record is its type, the type of what it holds, and that."""
    written = b""
    for number, (kind, mime, body) in enumerate(records):
        if kind == "response":
            mime, body = "application/http", b"HTTP/1.1 200 OK\r\nContent-Type: " + mime.encode() + b"\r\n\r\n" + body
        head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://harbour.example/{number}\r\n"
        head += f"Content-Type: {mime}\r\nContent-Length: {len(body)}\r\n\r\n"
        written += head.encode() + body + b"\r\n\r\n"
    return written


def lz4(data: bytes) -> bytes:
    """One frame."""
    from fastwarc.stream_io import Lz4Writer

    out = io.BytesIO()
    writer = Lz4Writer(out)
    writer.write(data)
    writer.close()
    return out.getvalue()


PACKS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".lz4": lz4,
}
"""What packs a file, by the ending that it then gets."""

WORDS = "It was a bright cold day, and the clocks were striking. "
SEVENZIP = (
    "N3q8ryccAARqGrRq6AAAAAAAAAAVAAAAAAAAAMHokO/gAJIAgF0AHhwJ52cusd3N5zcOPNOkmudX/lrCVBmaBoqZxQKx6B90lTJGWTTtGVZ/EIi5p9W27SsMFAGPW02L4HOm"
    "Mw3CVq2JQoPi0NtqJFerN254w3QTj9ABuZ4dUmXu3QC9ymXMl28roGTq5pdj22BQaPHXsl9Q8sSEhcMkgQVXpYqiHwAA4ABcAFhdAACBMweuD9Uv1NMWbCcB4O7TS0H0r1kW"
    "ZbbK/UG09lGe4SzXeYIq6O7lhL69HcbWwSaW/VJ7pI9Sejns7ki6aG+N/fa/Pr4nBsY2BMZHelvIMN1s8o4AAAAAFwaAiAEJYAAHCwEAASEhARgMXQAA"
)
"""A Posts.xml with one question, as py7zr packs it; it would write the hour into it, too."""
SAMPLES: dict[str, Callable[[], bytes]] = {
    "a.txt": lambda: ("CHAPTER I\n\n" + WORDS * 8 + "\n\n").encode() * 60,
    "a.md": lambda: f"# A title\n\n{WORDS}\n\n- one\n- two\n".encode(),
    "a.rst": lambda: f"A title\n=======\n\n{WORDS} See :func:`~os.path.join`.\n".encode(),
    "a.html": lambda: f"<html><title>T</title><body><h1>Head</h1><p>{WORDS * 9}</p></body></html>".encode(),
    "a.jsonl": lambda: "\n".join(json.dumps({"text": f"{WORDS} {n}", "title": "é"}) for n in range(9)).encode(),
    "a.json": lambda: json.dumps([{"text": f"{WORDS} {n}"} for n in range(9)]).encode(),
    "a.csv": lambda: ("title,text\n" + "".join(f'T{n},"{WORDS}\n{n}"\n' for n in range(9))).encode(),
    "a.parquet": lambda: parquet([{"text": f"{WORDS} {n}", "title": "T"} for n in range(9)]),
    "a.pdf": lambda: pdf([["A Book", *[f"{n}{'abcdef'[n]}. {WORDS}"] * 4, str(n)] for n in range(1, 5)], "A Book"),
    "a.epub": lambda: epub({f"c{n}.xhtml": f"<h1>Chapter {n}</h1><p>{WORDS * 5}</p>" for n in range(3)}, about="<dc:title>B</dc:title>"),
    "a.docx": letter,
    "a.py": lambda: f'"""{WORDS}"""\n\n\ndef f(x):\n    return x\n'.encode(),
    "a.ipynb": lambda: json.dumps(
        {"cells": [{"cell_type": "markdown", "source": [WORDS]}, {"cell_type": "code", "source": "x = 1"}]}
    ).encode(),
    "a.xml": lambda: (
        f"<mediawiki><page><title>T</title><ns>0</ns><id>1</id><revision><id>2</id><text>{WORDS}</text></revision></page></mediawiki>".encode()
    ),
    "Posts.xml": lambda: f'<posts><row Id="1" PostTypeId="1" Score="2" Title="Q" Body="&lt;p&gt;{WORDS}&lt;/p&gt;" /></posts>'.encode(),
    "a.warc": lambda: warc(
        *[("response", "text/html", f"<html><body><h1>Head {n}</h1><p>{WORDS * (n + 5)}</p></body></html>".encode()) for n in range(3)],
        ("response", "application/pdf", SAMPLES["a.pdf"]()),
    ),
    "a.wet.gz": lambda: gzip.compress(warc(*[("conversion", "text/plain", f"{WORDS * 3}{n}".encode()) for n in range(3)])),
    "a.7z": lambda: base64.b64decode(SEVENZIP),
    "b.txt": lambda: f"{WORDS}\n€ and é\n".encode("utf-16"),
    "c.txt": lambda: ("Смотритель маяка каждый вечер спускался в гавань и считал лодки. " * 9).encode("cp1251"),
    "d.txt.lz4": lambda: lz4(f"{WORDS * 40}\n".encode() * 9),
    "e.jsonl.zst": lambda: PACKS[".zst"](SAMPLES["a.jsonl"]()),
    "f.md.xz": lambda: PACKS[".xz"](SAMPLES["a.md"]()),
    "a.zip": lambda: zipped({"x/one.txt": WORDS, "two.jsonl": json.dumps({"text": WORDS + "2"}), "deep.zip": zipped({"in.txt": "inside"})}),
    "a.tar": lambda: tarred({"x/one.txt": WORDS, "b.zip": zipped({"in.txt": "inside a zip"})}),
}
"""One good file of each kind, by its name."""
