"""Under which licence is a file? Found from what lies beside it: an SPDX line, the text of a licence file, the metadata of a package.

A licence text is known by phrases that it has and that its neighbours lack, compared as runs of words, so that wrapping, quotes and names
do not matter. The answer is an SPDX name with its evidence; ``unknown`` where nothing speaks.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

UNKNOWN = ("unknown", "no licence was found")
LONGEST = 200_000
"""Bytes of a licence file or of metadata that are read."""
FURTHEST = 8_000
"""Characters before a licence; what comes later is that of something bundled."""
HEADER = 4_096
"""Characters at the start of a source file in which its licence is stated."""
SPDX = re.compile(r"SPDX-License-Identifier:[ \t]{0,9}([A-Za-z0-9.+() :-]{2,120})")
FILE = re.compile(r"(?:un)?licen[cs]e[s]?(?:[.-][\w.+-]{1,40})?|copying(?:[.-][\w.+-]{1,40})?|mit-license(?:\.\w{1,4})?", re.IGNORECASE)
PROGRAMS = (".py", ".js", ".ts", ".go", ".rs", ".java", ".c", ".h", ".cpp", ".rb", ".json", ".html", ".tmpl", ".yml", ".yaml")
"""Endings of files that are about licences and hold none."""
CHOICE = re.compile(r"[._-](?:mit|apache|bsd|l?gpl|mpl|isc|zlib|unlicense|cc0|boost|bsl|0bsd)", re.IGNORECASE)
"""In the names of several licence files: each may be chosen."""
METADATA = ("pyproject.toml", "package.json", "Cargo.toml", "setup.cfg", "composer.json", "PKG-INFO", "METADATA")
WORDS = re.compile(r"[a-z0-9]+")

GRANT = "permission is hereby granted free of charge to any person obtaining a copy"
KEPT = "permission notice shall be included in all copies or substantial portions"
FORMS = "redistribution and use in source and binary forms"
ENDORSE = "endorse or promote products derived from this software"
ADVERTISING = "all advertising materials mentioning features"
FEE = "distribute this software for any purpose with or without fee is hereby granted"
NOTICE = "copyright notice and this permission notice appear in all copies"
DATABASE = "sui generis database rights"
RETAINED = ("redistributions of source code must retain the", "redistributions in binary form must reproduce the")


@dataclass(frozen=True, slots=True)
class Phrases:
    """What the text of a licence says, in runs of words without signs, lower case."""

    has: tuple[str, ...]
    """All of these; the first tells where its text begins."""
    lacks: tuple[str, ...] = ()
    """None of these: with one it is a neighbour."""


PHRASES = {
    "MIT": Phrases(
        (GRANT, "deal in the software without restriction", KEPT), ("shall not be used in advertising or otherwise to promote the sale",)
    ),
    "MIT-0": Phrases((GRANT, "deal in the software without restriction"), (KEPT,)),
    "X11": Phrases((GRANT, KEPT, "shall not be used in advertising or otherwise to promote the sale")),
    "BSD-2-Clause": Phrases((FORMS, *RETAINED), (ENDORSE,)),
    "BSD-3-Clause": Phrases((FORMS, *RETAINED, ENDORSE), (ADVERTISING,)),
    "BSD-4-Clause": Phrases((FORMS, *RETAINED, ENDORSE, ADVERTISING)),
    "ISC": Phrases((FEE, NOTICE)),
    "0BSD": Phrases((FEE, "with regard to this software including all implied warranties"), (NOTICE,)),
    "Apache-2.0": Phrases(("version 2 0 january 2004", "grant of patent license", "submission of contributions")),
    "GPL-2.0-only": Phrases(
        ("gnu general public license version 2 june 1991", "terms and conditions for copying distribution and modification")
    ),
    "GPL-3.0-only": Phrases(("gnu general public license version 3 29 june 2007", "conveying modified source versions")),
    "LGPL-2.1-only": Phrases(("gnu lesser general public license version 2 1 february 1999", "work that uses the library")),
    "LGPL-2.0-only": Phrases(("gnu library general public license version 2 june 1991", "work that uses the library")),
    "LGPL-3.0-only": Phrases(("gnu lesser general public license version 3 29 june 2007", "combined works")),
    "AGPL-3.0-only": Phrases(("gnu affero general public license version 3 19 november 2007", "remote network interaction")),
    "GFDL-1.3-only": Phrases(("gnu free documentation license version 1 3 3 november 2008", "invariant sections")),
    "GFDL-1.2-only": Phrases(("gnu free documentation license version 1 2 november 2002", "invariant sections")),
    "MPL-2.0": Phrases(("mozilla public license version 2 0", "incompatible with secondary licenses", "distribution of executable form")),
    "MPL-1.1": Phrases(("mozilla public license version 1 1", "initial developer")),
    "EPL-2.0": Phrases(("eclipse public license v 2 0", "commercial contributor")),
    "EPL-1.0": Phrases(("eclipse public license v 1 0", "commercial contributor")),
    "Unlicense": Phrases(("this is free and unencumbered software released into the public domain",)),
    "CC0-1.0": Phrases(("cc0 1 0 universal", "fully permanently irrevocably and unconditionally waives")),
    "CC-BY-4.0": Phrases(("attribution 4 0 international", DATABASE)),
    "CC-BY-SA-4.0": Phrases(("attribution sharealike 4 0 international", DATABASE)),
    "CC-BY-NC-4.0": Phrases(("attribution noncommercial 4 0 international", DATABASE)),
    "CC-BY-NC-SA-4.0": Phrases(("attribution noncommercial sharealike 4 0 international", DATABASE)),
    "CC-BY-ND-4.0": Phrases(("attribution noderivatives 4 0 international", DATABASE)),
    "CC-BY-NC-ND-4.0": Phrases(("attribution noncommercial noderivatives 4 0 international", DATABASE)),
    "Zlib": Phrases(("origin of this software must not be misrepresented", "altered source versions must be plainly marked as such")),
    "BSL-1.0": Phrases(("boost software license version 1 0", "machine executable object code generated by a source language processor")),
    "PSF-2.0": Phrases(("python software foundation license version 2", "psf is making python available to licensee on an as is basis")),
    "Artistic-2.0": Phrases(("artistic license 2 0", "standard version")),
    "EUPL-1.2": Phrases(("european union public licence v 1 2",)),
    "OFL-1.1": Phrases(("sil open font license version 1 1", "reserved font name")),
    "MS-PL": Phrases(("microsoft public license ms pl",)),
    "NCSA": Phrases(("deal with the software without restriction", "neither the names of")),
    "WTFPL": Phrases(("do what the fuck you want to public license",)),
    "HPND": Phrases(("distribute this software and its documentation for any purpose", "supporting documentation")),
    "SSPL-1.0": Phrases(("server side public license version 1 october 16 2018",)),
    "BUSL-1.1": Phrases(("business source license 1 1", "change date")),
    "Elastic-2.0": Phrases(("elastic license 2 0",)),
}
NOTICES = (
    ("Apache-2.0", "licensed under the apache license version 2 0"),
    ("MPL-2.0", "subject to the terms of the mozilla public license v 2 0"),
    ("AGPL-3.0-or-later", "gnu affero general public license as published by the free software foundation either version 3"),
    ("LGPL-3.0-or-later", "gnu lesser general public license as published by the free software foundation either version 3"),
    ("LGPL-2.1-or-later", "gnu lesser general public license as published by the free software foundation either version 2 1"),
    ("GPL-3.0-or-later", "gnu general public license as published by the free software foundation either version 3"),
    ("GPL-2.0-or-later", "gnu general public license as published by the free software foundation either version 2"),
    ("BSL-1.0", "distributed under the boost software license version 1 0"),
)
"""What the heads of source files say of their licence."""
SAID = {
    "mit": "MIT", "expat": "MIT", "apache 2.0": "Apache-2.0", "apache-2": "Apache-2.0", "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0", "apache software": "Apache-2.0", "apache": "Apache-2.0", "bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause", "bsd-3": "BSD-3-Clause", "bsd 3-clause": "BSD-3-Clause", "3-clause bsd": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause", "bsd 2-clause": "BSD-2-Clause", "simplified bsd": "BSD-2-Clause", "gplv3": "GPL-3.0-only",
    "gplv3+": "GPL-3.0-or-later", "gplv2": "GPL-2.0-only", "gplv2+": "GPL-2.0-or-later", "lgplv3": "LGPL-3.0-only",
    "lgplv3+": "LGPL-3.0-or-later", "lgpl-2.1+": "LGPL-2.1-or-later", "mpl 2.0": "MPL-2.0", "psf": "PSF-2.0", "unlicense": "Unlicense",
    "public domain": "LicenseRef-PublicDomain",
}  # fmt: skip
"""How metadata name licences that have an SPDX name."""


KNOWN = (
    {*PHRASES, *SAID.values(), *(name for name, _ in NOTICES)}
    | {name.replace("-only", "-or-later") for name in PHRASES}
    | {name.removesuffix("-only") for name in PHRASES}
    | {
        "LLVM-exception",
        "Classpath-exception-2.0",
        "CC-BY-3.0",
        "CC-BY-SA-3.0",
        "BlueOak-1.0.0",
        "MIT-CMU",
        "Python-2.0",
        "Artistic-1.0-Perl",
    }
)
"""SPDX names that metadata and headers are believed to mean."""


def is_file(name: str) -> bool:
    """Whether a file of this name, without its folder, holds a licence."""
    return bool(FILE.fullmatch(name)) and not name.lower().endswith(PROGRAMS)


def of_text(text: str) -> str | None:
    """The SPDX name of the licence whose text, or whose usual notice, comes first in ``text``; None when there is none known here."""
    words = f" {' '.join(WORDS.findall(text[:LONGEST].lower()))} "
    found = {
        name: words.index(f" {phrases.has[0]} ")
        for name, phrases in PHRASES.items()
        if all(f" {phrase} " in words for phrase in phrases.has) and not any(f" {phrase} " in words for phrase in phrases.lacks)
    }
    first = min(found, key=lambda name: (found[name], name), default=None)
    if first and found[first] <= FURTHEST:
        return first
    return next((name for name, notice in NOTICES if f" {notice} " in words[:FURTHEST]), None)


def of_header(text: str) -> tuple[str, str] | None:
    """What the head of a source file says: SPDX name and evidence; None when it says nothing."""
    head = text[:HEADER]
    if match := SPDX.search(head):
        name = " ".join(match.group(1).split()).strip(" -")
        return (
            (name, "SPDX line in its head")
            if is_expression(name)
            else ("unknown", f"its head says SPDX {name!r}, which is no name known here")
        )
    if "icense" not in head:
        return None
    words = f" {' '.join(WORDS.findall(head.lower()))} "
    found = next((name for name, notice in NOTICES if f" {notice} " in words), None)
    return (found, "notice in its head") if found else None


def is_expression(text: str) -> bool:
    """Whether ``text`` is made of SPDX names known here."""
    names = re.split(r"\s+(?:AND|OR|WITH)\s+", text.replace("(", " ").replace(")", " ").strip())
    return all(name in KNOWN or name.startswith("LicenseRef-") for name in names)


def of_metadata(name: str, data: bytes) -> tuple[str, str] | None:
    """What a package's metadata say; None when they say nothing of a licence."""
    text = data[:LONGEST].decode("utf-8", "replace")
    try:
        said = _stated(name, text)
    except (ValueError, RecursionError, TypeError, AttributeError):  # broken, or built otherwise than it should be
        return None
    if not said or len(said) > 200:
        return None
    said = " ".join(said.split())
    spdx = said if is_expression(said) else SAID.get(said.lower().removeprefix("the ").removesuffix(" license"))
    return (spdx or "unknown", f"{name}: license = {said}" if spdx else f"{name}: license = {said!r}, which is no name known here")


def _stated(name: str, text: str) -> str:
    if name in ("pyproject.toml", "Cargo.toml"):
        table = tomllib.loads(text)
        package = table.get("project") or table.get("package") or table.get("tool", {}).get("poetry") or {}
        stated = package.get("license") or ""
        return str(stated.get("text") or "") if isinstance(stated, dict) else str(stated).replace("/", " OR ")
    if name in ("package.json", "composer.json"):
        stated = json.loads(text).get("license") or ""
        return (
            str(stated.get("type") or "") if isinstance(stated, dict) else " OR ".join(stated) if isinstance(stated, list) else str(stated)
        )
    match = re.search(r"^license(?:-expression)?[ \t]{0,9}[:=][ \t]{0,9}(\S.{0,200})$", text, re.MULTILINE | re.IGNORECASE)
    return match.group(1) if match else ""


def of_listing(names: Iterable[str], read: Callable[[str], bytes]) -> tuple[str, str]:
    """SPDX name and evidence for a folder, from the names of its files and a way to read one; ``UNKNOWN`` when nothing in it speaks."""
    here = sorted(names)
    texts = {name: spdx for name in here if is_file(name) and (spdx := of_text(read(name)[:LONGEST].decode("utf-8", "replace")))}
    if texts:
        choices = {name: spdx for name, spdx in texts.items() if CHOICE.search(name)}
        plain = {name: spdx for name, spdx in texts.items() if name not in choices and re.fullmatch(r"\w+(?:\.(?:txt|md|rst))?", name)}
        if "COPYING.LESSER" in texts:
            taken = {"COPYING.LESSER": texts["COPYING.LESSER"]}
        else:
            taken = choices if len(choices) > 1 else plain or texts
        word = " OR " if taken is choices else " AND "
        return word.join(sorted(set(taken.values()))), f"{', '.join(taken)}: text of the licence"
    for name in METADATA:
        if name in here and (found := of_metadata(name, read(name))):
            return found
    return UNKNOWN
