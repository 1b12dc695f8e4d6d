"""Wikitext as plain text that keeps its shape, in one pass of bounded cost whatever the text holds.

Templates, tables and links are matched with a stack in the order of their brackets; what is still open at the end becomes text again.
mwparserfromhell 0.7 is no way to do it: it leaves ``thumb|`` and quotes behind, reads a third as many articles a second, and takes the
square of the length where brackets never close (100 KB of ``{|``: 28 s), so that one hostile page could stop a worker.
The text is Markdown without emphasis and links: ``## Heading``, ``- item``, ``| cell | cell |``, fenced code, ``$formula$``.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from scratchlm.sources import wikilines, wikitables, wikitemplates
from scratchlm.sources.wikilines import Stash

DEEPEST = 40
"""Brackets in brackets that are told apart; articles reach 10."""
TOKEN = re.compile(
    r"<!--|</?[A-Za-z][A-Za-z0-9]{0,20}(?:[\s/][^<>]{0,1000}+)?>|\{\{+|\}\}+|\[\[|\]\]|^[ \t:]{0,10}+\{\||^[ \t]{0,10}+\|\}(?!\})|\|",
    re.MULTILINE,
)
VERBATIM = {"nowiki", "pre", "math", "chem", "ce", "syntaxhighlight", "source"}
LEFT_OUT = {
    "ref": "references", "references": "references", "gallery": "galleries", "timeline": "charts", "graph": "charts", "score": "scores",
    "imagemap": "files", "hiero": "charts", "mapframe": "maps", "maplink": "maps", "templatedata": "page settings",
    "templatestyles": "page settings", "inputbox": "page settings", "categorytree": "page settings", "indicator": "page settings",
    "includeonly": "page settings",
}  # fmt: skip
"""Tags whose content is not the article's text, and what they are counted as."""
REF = re.compile(r"<ref\b[^<>]{0,1000}+(?<!/)>|</ref\s{0,20}>", re.IGNORECASE)
CLOSING = {name: re.compile(rf"</{name}\s{{0,20}}>", re.IGNORECASE) for name in sorted({*VERBATIM, *LEFT_OUT})} | {"ref": REF}
SIGNS = {"code": "`", "tt": "`", "kbd": "`", "samp": "`", "br": wikilines.BREAK, "li": "\n* ", "/li": "", "td": " ", "th": " "}
BLOCKS = (
    "p", "div", "center", "blockquote", "ul", "ol", "dl", "dt", "dd", "table", "tr", "caption", "hr", "poem", "h1", "h2", "h3", "h4", "h5",
    "h6",
)  # fmt: skip
SIGNS |= dict.fromkeys(BLOCKS, "\n")
"""What tags become."""
INLINE = {
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "data", "del", "em", "font", "i", "img", "ins", "mark", "nobr", "noinclude",
    "onlyinclude", "q", "rb", "rp", "rt", "rtc", "ruby", "s", "section", "small", "span", "strike", "strong", "sub", "sup", "tbody",
    "tfoot", "thead", "time", "u", "var", "wbr",
}  # fmt: skip
RAISED = re.compile(r"<su([bp])(?:\s[^<>]{0,100}+)?>([0-9+−–()-]{1,12})</su\1>", re.IGNORECASE)
HIGH = str.maketrans("0123456789+−–-()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁽⁾")
LOW = str.maketrans("0123456789+−–-()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₋₍₎")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f]")
INTERLANGUAGE = re.compile(r"(?:[a-z]{2,3}|simple)(?:-[a-z]{2,10}){0,2}")
FILES = frozenset({
    "file", "image", "media", "datei", "bild", "fichier", "archivo", "imagen", "ficheiro", "imagem", "arquivo", "immagine", "bestand",
    "afbeelding", "plik", "grafika", "файл", "изображение", "зображення", "ファイル", "画像", "文件", "檔案", "图像", "圖像",
    "파일", "그림", "ملف", "صورة", "קובץ", "תמונה", "fil", "bilde", "tiedosto", "kuva", "soubor", "súbor", "fájl", "kép", "dosya",
    "resim", "berkas", "gambar", "tập tin", "hình", "датотека", "слика", "fitxer", "imatge", "fișier", "imagine", "αρχείο",
    "εικόνα", "चित्र",
})  # fmt: skip
CATEGORIES = frozenset({
    "category", "kategorie", "catégorie", "categoría", "categoria", "categorie", "kategoria", "категория", "категорія", "カテゴリ",
    "分类", "分類", "분류", "تصنيف", "קטגוריה", "kategori", "luokka", "kategória", "категорија", "κατηγορία", "श्रेणी", "thể loại",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """How a wiki calls its namespaces; lower case."""

    files: frozenset[str] = FILES
    categories: frozenset[str] = CATEGORIES


@dataclass(frozen=True, slots=True)
class Plain:
    """What became of a page."""

    text: str
    structure: list[dict[str, str | int]]
    left_out: Mapping[str, int]
    """How many templates, references, ... are not in the text."""
    is_disambiguation: bool


@dataclass(slots=True)
class Frame:
    """An open bracket: what stands in it so far, parted at ``|``."""

    kind: str
    fields: list[list[str]] = field(default_factory=lambda: [[]])

    def texts(self) -> list[str]:
        """Its fields as text."""
        return ["".join(parts) for parts in self.fields]


def plain(text: str, title: str, names: Names) -> Plain:
    """The page ``title`` as plain text; never fails, and takes time in proportion to the length of ``text``."""
    scanner = Scanner(CONTROLS.sub("", text), title, names)
    whole = scanner.scan()
    body, structure = wikilines.layout(whole, scanner.stash, scanner.left_out)
    return Plain(body, structure, dict(sorted(scanner.left_out.items())), scanner.is_disambiguation)


class Scanner:
    """One walk over a page from bracket to bracket."""

    def __init__(self, text: str, title: str, names: Names) -> None:
        self.text = RAISED.sub(lambda match: match.group(2).translate(HIGH if match.group(1) in "pP" else LOW), text)
        self.title, self.names = title, names
        self.stash = Stash()
        self.left_out: Counter[str] = Counter()
        self.is_disambiguation = "__DISAMBIG__" in text
        self._stack = [Frame("text")]
        self._too_deep = 0
        self._never: set[str] = set()
        """Endings that do not come again, so that they are not looked for again and again."""

    def scan(self) -> str:
        """The text outside of all brackets, and what these became."""
        at = 0
        while match := TOKEN.search(self.text, at):
            self._add(self.text[at : match.start()])
            at = self._token(match.group(), match.start(), match.end())
        self._add(self.text[at:])
        while len(self._stack) > 1:
            self._flatten()
        return "".join(self._stack[0].fields[0])

    def _add(self, text: str) -> None:
        if text:
            self._stack[-1].fields[-1].append(text)

    def _token(self, token: str, start: int, end: int) -> int:
        """Take one token; where to go on."""
        top = self._stack[-1]
        if token == "|":
            if top.kind in ("template", "argument", "link") and not self._too_deep:
                top.fields.append([])
            else:
                self._add("|")
        elif token == "<!--":
            return self._comment(start, end)
        elif token[0] == "<":
            return self._tag(token, end)
        elif token == "[[":
            self._open("link")
        elif token == "]]":
            self._close("link")
        elif token.endswith("{|"):
            self._open("table")
        elif token[0] == "{":
            for _ in range(1 if len(token) == 3 else len(token) // 2):
                self._open("argument" if len(token) == 3 else "template")
        elif token[0] == "}":
            self._close_templates(len(token))
        elif not self._close("table"):
            self._add("\n")
        return end

    def _comment(self, start: int, end: int) -> int:
        """Skip a comment, with its line when it has one for itself."""
        close = self._find("-->", end)
        if close < 0:
            return end
        self.left_out["comments"] += 1
        close += 3
        is_alone = self.text[start - 1 : start] in ("\n", "") and self.text[close : close + 1] == "\n"
        return close + is_alone

    def _find(self, ending: str, at: int) -> int:
        found = -1 if ending in self._never else self.text.find(ending, at)
        if found < 0:
            self._never.add(ending)
        return found

    def _tag(self, token: str, end: int) -> int:
        name = re.split(r"[\s/>]", token[2:] if token[1] == "/" else token[1:], maxsplit=1)[0].lower()
        is_closing, is_empty = token[1] == "/", token.endswith("/>")
        if name in LEFT_OUT and not is_closing:
            self.left_out[LEFT_OUT[name]] += 1
        if name in CLOSING and not is_closing and not is_empty:
            content, after = self._content(name, end)
            if content is not None:
                self._add("" if name in LEFT_OUT else self._verbatim(name, token, content))
            return after
        if name in SIGNS:
            self._add(SIGNS.get("/" + name, SIGNS[name]) if is_closing else SIGNS[name])
        elif name not in INLINE and name not in CLOSING:
            self._add(token)
        return end

    def _content(self, name: str, at: int) -> tuple[str | None, int]:
        """What stands before the tag's end, and where to go on behind it; None where it does not end, or a reference starts before."""
        match = None if name in self._never else CLOSING[name].search(self.text, at)
        if not match:
            self._never.add(name)
            return None, at
        if match.group()[1] != "/":
            return None, at
        return self.text[at : match.start()], match.end()

    def _verbatim(self, name: str, token: str, content: str) -> str:
        """Text in which nothing is markup, put away until the page is laid out."""
        if name == "nowiki":
            return self.stash.put(wikilines.unescape(content))
        if name in ("math", "chem", "ce"):
            formula = " ".join(content.split())
            is_block = "block" in token
            return self.stash.put(f"$${formula}$$" if is_block else f"${formula}$", "code" if is_block else "") if formula else ""
        if "inline" in token:
            return self.stash.put(f"`{content.strip()}`")
        language = re.search(r"\blang\s{0,5}=\s{0,5}[\"']?([\w+#-]{1,20})", token)
        code = wikilines.unescape(content) if name == "pre" else content
        return self.stash.put(wikilines.fenced(code, language.group(1) if language else ""), "code") if code.strip() else ""

    def _open(self, kind: str) -> None:
        if len(self._stack) > DEEPEST:
            self._too_deep += 1
            self.left_out["nested too deep"] += 1
        else:
            self._stack.append(Frame(kind))

    def _close_templates(self, braces: int) -> None:
        while braces >= 2:
            is_argument = self._stack[-1].kind == "argument" and not self._too_deep
            braces -= 3 if is_argument and braces >= 3 else 2
            self._close("argument" if is_argument else "template")

    def _close(self, kind: str) -> bool:
        """Write what the innermost bracket of this kind holds, and free what is still open in it; False when there is none."""
        if self._too_deep:
            self._too_deep -= 1
            return True
        kinds = [frame.kind for frame in self._stack]
        weaker = {"link": ("link",), "template": ("template", "link"), "argument": ("argument",), "table": ("table", "link", "template")}[
            kind
        ]
        depth = next((n for n in range(len(kinds) - 1, 0, -1) if kinds[n] == kind or kinds[n] not in weaker), 0)
        if kinds[depth] != kind:
            return False
        while len(self._stack) > depth + 1:
            self._flatten()
        frame = self._stack.pop()
        self._add(self._written(frame))
        return True

    def _written(self, frame: Frame) -> str:
        fields = frame.texts()
        if frame.kind == "link":
            return self._link(fields)
        if frame.kind == "argument":
            return fields[1] if len(fields) > 1 else ""
        if frame.kind == "table":
            return self._table(fields[0])
        name = wikitemplates.named(fields[0])
        if wikitemplates.is_disambiguation(name) and len(self._stack) == 1:
            self.is_disambiguation = True
        words = wikitemplates.words(name, fields[1:], self.title)
        if words is None:
            self.left_out["templates"] += 1
        return words or ""

    def _link(self, fields: list[str]) -> str:
        target = fields[0].strip()
        prefix, colon, rest = target.partition(":")
        space = prefix.strip().lower().replace("_", " ") if colon else ""
        if "\n" in target or not target:
            return "|".join(fields)
        if space in self.names.files or space in self.names.categories or (colon and len(fields) == 1 and INTERLANGUAGE.fullmatch(prefix)):
            kind = "files" if space in self.names.files else "categories" if space in self.names.categories else "languages"
            self.left_out[kind] += 1
            return ""
        label = fields[-1] if len(fields) > 1 else target.removeprefix(":").replace("_", " ")
        return label if label.strip() else re.sub(r"\s{0,9}\([^()]{0,200}\)$", "", rest or target)  # [[Mercury (planet)|]]

    def _table(self, content: str) -> str:
        made = wikitables.table(wikilines.inline(content))
        if made.markdown:
            return self.stash.put(self.stash.resolved(made.markdown), "table", made.caption)
        if not made.text:
            self.left_out["tables"] += 1
        return f"\n{made.text}\n"

    def _flatten(self) -> None:
        """Free the innermost bracket, which never closed: what stands in it is text, without what would have been its name."""
        frame = self._stack.pop()
        fields = frame.texts()
        self.left_out["unclosed"] += 1
        text = "|".join(fields)
        if frame.kind == "link" and "\n" not in fields[0]:
            is_file = fields[0].partition(":")[0].strip().lower() in self.names.files
            text = text.partition("\n")[2] if is_file else "|".join(fields[1:]) or text
        elif frame.kind in ("template", "argument"):
            text = text.partition("\n\n")[2] or text.partition("\n")[2]
        elif frame.kind == "table":
            text = wikitables.unclosed(text)
        self._add(text)
