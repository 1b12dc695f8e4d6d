"""Source code, one document for each file as its author left it, and notebooks with their code and without its outputs."""

import json
import re
from typing import Any

from scratchlm.core.records import Document
from scratchlm.sources import charset, licence
from scratchlm.sources.file import Input, Reading, mended
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.languages import ENDINGS, is_foreign, language_of, made_by_tool
from scratchlm.sources.repository import Repository

__all__ = ["ENDINGS", "read"]

LARGEST = 2**20
"""Bytes of a file; people write some thousand lines into one, tools and tables fill a megabyte."""
LONGEST_LINE, USUAL_LINE = 1_000, 100
"""Characters of the longest and of the average line, with both of which a file is minified (The Stack's limits: Kocetkov et al. 2022,
arXiv:2211.15533)."""
NUMBERS, NUMBERS_FROM = 0.5, 5_000
"""Share of digits and escapes among the signs of a file from so many characters on, above which it is data in a program's clothes."""
MATLAB = re.compile(r"^[ \t]{0,40}%|^function\b", re.MULTILINE)
Fault = tuple[str, str]


def read(file: Input, reading: Reading, repository: Repository | None = None) -> Found:
    """The document of a source file, or why it is none; ``repository`` is what it lies in."""
    path = repository.path(file.name) if repository else file.name
    fault = _fault_of_name(path)
    if fault:
        yield file.refuse("file", *fault)
        return
    if not reading.at(file.name):
        yield file.refuse("file", "quarantined", "a worker died on it twice")
        return
    language = language_of(file.name) or "unknown"
    most = reading.limits.record_bytes if language == "notebook" else LARGEST
    with file.open() as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        yield file.refuse("file", "too large", f"more than {most:,} bytes, which nobody wrote by hand", value=len(data), threshold=most)
        return
    text, name, why_not = charset.decoded(data)
    if why_not:
        yield file.refuse("file", "not text", why_not)
        return
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    facts = {"charset": name, "raw_bytes": len(data)} | _facts(file, repository, text)
    yield _notebook(file, reading, text, facts) if language == "notebook" else _source(file, text, facts, _exact(language, text))


def _fault_of_name(path: str) -> Fault | None:
    """Rule and reason for a file that is refused unread."""
    if is_foreign(path.rpartition("/")[0]):
        return "vendored", "it lies in a folder of other people's work"
    if reason := made_by_tool(path):
        return "generated", reason
    return None


def _fault(text: str, path: str) -> Fault | None:
    """Rule and reason for a text that nobody wrote by hand."""
    if not text.strip():
        return "nothing in it", "the file is empty"
    if reason := made_by_tool(path, text):
        return "generated", reason
    lines = text.split("\n")
    if max(map(len, lines)) > LONGEST_LINE and len(text) > USUAL_LINE * len(lines):
        return "minified", f"a line of {max(map(len, lines)):,} characters, and {len(text) // len(lines):,} on average"
    signs = len(text) - sum(map(text.count, " \t\n"))
    numbers = sum(map(text.count, "0123456789")) + 2 * text.count("\\x") + text.count("0x")
    if len(text) >= NUMBERS_FROM and numbers > NUMBERS * signs:
        return "data", f"{numbers / signs:.0%} of its signs are numbers"
    return None


def _source(file: Input, text: str, facts: dict[str, Any], language: str) -> Document | Dropped:
    fault = _fault(text, file.name)
    if fault:
        return file.refuse("file", *fault, excerpt=text)
    whole = [{"kind": "code", "start": 0, "end": len(text)}]
    facts["extra"] = json.dumps({"language": language, **facts.pop("about")}, ensure_ascii=False)
    return file.document(
        "", text, {**facts, "mime": f"text/x-{language.replace(' ', '-')}", "extractor": "code@1", "structure": json.dumps(whole)}
    )


def _notebook(file: Input, reading: Reading, text: str, facts: dict[str, Any]) -> Document | Dropped:
    """The cells of a notebook: text as it stands, code between fences; outputs, which are no one's words, are counted and left out."""
    try:
        made = json.loads(text)
        cells = made.get("cells") or [cell for sheet in made.get("worksheets", []) for cell in sheet["cells"]]
        language = mended(str(made.get("metadata", {}).get("kernelspec", {}).get("language") or "python")[:40])
        parts = [(cell["cell_type"] == "code", mended(_joined(cell.get("source", cell.get("input", ""))))) for cell in cells]
        outputs = sum(len(cell.get("outputs", ())) for cell in cells)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        return file.refuse("file", "broken record", f"no notebook: {type(error).__name__}", excerpt=text)
    body, structure = _cells(parts, language)
    if not body:
        return file.refuse("file", "nothing in it", "no cell holds text")
    if len(body) > reading.limits.document_characters:
        return file.refuse("file", "too large", f"more than {reading.limits.document_characters:,} characters", value=len(body))
    extra = {"language": language, "outputs_left_out": outputs, **facts.pop("about")}
    more = {"mime": "application/x-ipynb+json", "extractor": "notebook@1", "structure": json.dumps(structure)}
    return file.document("", body, {**facts, **more, "extra": json.dumps(extra, ensure_ascii=False)})


def _joined(source: str | list[str]) -> str:
    return source if isinstance(source, str) else "".join(source)


def _cells(parts: list[tuple[bool, str]], language: str) -> tuple[str, list[dict[str, str | int]]]:
    """The text of cells, and where in it code stands."""
    written: list[str] = []
    structure: list[dict[str, str | int]] = []
    length = 0
    for is_code, source in parts:
        text = source.strip("\n").rstrip()
        if not text:
            continue
        fence = "`" * (max((len(run) for run in re.findall(r"`{3,}", text)), default=2) + 1)
        text = f"{fence}{language}\n{text}\n{fence}" if is_code else text
        start = length + 2 if written else 0
        written.append(text)
        length = start + len(text)
        if is_code:
            structure.append({"kind": "code", "start": start, "end": length})
    return "\n\n".join(written), structure


def _facts(file: Input, repository: Repository | None, text: str) -> dict[str, Any]:
    """What a file says of itself, and inherits from its repository; without one its group is the folder it lies under."""
    top, slash, _ = file.name.partition("/")
    facts: dict[str, Any] = {"title": file.name.rpartition("/")[2], "doc_type": "code", "about": {}}
    facts |= {"host": top if slash else file.name, "licence": licence.UNKNOWN[0], "licence_evidence": licence.UNKNOWN[1]}
    if repository:
        facts |= {**repository.facts(file.name), "about": {**repository.about, "path": repository.path(file.name)}}
    if stated := licence.of_header(text):
        facts |= {"licence": stated[0], "licence_evidence": stated[1]}
    return facts


def _exact(language: str, text: str) -> str:
    """The language where one ending stands for two."""
    if language == "objective-c" and MATLAB.search(text) and "@interface" not in text and "#import" not in text:
        return "matlab"
    is_cpp = language == "c" and re.search(r"^[ \t]{0,40}(?:class\s+\w+|template\s{0,9}<|namespace\s+\w+)", text, re.MULTILINE)
    return "c++" if is_cpp else language
