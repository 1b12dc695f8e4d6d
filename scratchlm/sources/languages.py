"""Which programming language a file is in, by its name, and which files nobody wrote: locks, what tools made, what others wrote."""

import re

ENDINGS = {
    ".py": "python", ".pyw": "python", ".pyi": "python", ".pyx": "cython", ".pxd": "cython", ".ipynb": "notebook", ".c": "c", ".h": "c",
    ".cc": "c++", ".cpp": "c++", ".cxx": "c++", ".c++": "c++", ".hh": "c++", ".hpp": "c++", ".hxx": "c++", ".inl": "c++", ".cu": "cuda",
    ".cuh": "cuda", ".cs": "c#", ".java": "java", ".kt": "kotlin", ".kts": "kotlin", ".scala": "scala", ".sc": "scala",
    ".groovy": "groovy", ".gradle": "groovy", ".go": "go", ".rs": "rust", ".swift": "swift", ".m": "objective-c", ".mm": "objective-c",
    ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript", ".jsx": "javascript", ".ts": "typescript", ".mts": "typescript",
    ".cts": "typescript", ".tsx": "typescript", ".vue": "vue", ".svelte": "svelte", ".coffee": "coffeescript", ".php": "php",
    ".rb": "ruby", ".rake": "ruby", ".gemspec": "ruby", ".pl": "perl", ".pm": "perl", ".lua": "lua", ".r": "r", ".jl": "julia",
    ".hs": "haskell", ".lhs": "haskell", ".elm": "elm", ".purs": "purescript", ".ml": "ocaml", ".mli": "ocaml", ".fs": "f#", ".fsx": "f#",
    ".fsi": "f#", ".erl": "erlang", ".hrl": "erlang", ".ex": "elixir", ".exs": "elixir", ".clj": "clojure", ".cljs": "clojure",
    ".cljc": "clojure", ".lisp": "lisp", ".el": "emacs lisp", ".scm": "scheme", ".rkt": "racket", ".dart": "dart", ".zig": "zig",
    ".nim": "nim", ".cr": "crystal", ".d": "d", ".f": "fortran", ".for": "fortran", ".f77": "fortran", ".f90": "fortran",
    ".f95": "fortran", ".f03": "fortran", ".pas": "pascal", ".pp": "pascal", ".adb": "ada", ".ads": "ada", ".cob": "cobol",
    ".cbl": "cobol", ".vb": "visual basic", ".bas": "basic", ".sh": "shell", ".bash": "shell", ".zsh": "shell", ".ksh": "shell",
    ".fish": "fish", ".ps1": "powershell", ".psm1": "powershell", ".bat": "batch", ".cmd": "batch", ".awk": "awk", ".sed": "sed",
    ".tcl": "tcl", ".vim": "vim script", ".sql": "sql", ".css": "css", ".scss": "scss", ".sass": "sass", ".less": "less",
    ".graphql": "graphql", ".gql": "graphql", ".proto": "protobuf", ".thrift": "thrift", ".tf": "hcl", ".hcl": "hcl", ".nix": "nix",
    ".bzl": "starlark", ".cmake": "cmake", ".mk": "make", ".dockerfile": "dockerfile", ".s": "assembly", ".asm": "assembly",
    ".wat": "webassembly", ".v": "verilog", ".sv": "systemverilog", ".svh": "systemverilog", ".vhd": "vhdl", ".vhdl": "vhdl",
    ".glsl": "glsl", ".vert": "glsl", ".frag": "glsl", ".hlsl": "hlsl", ".wgsl": "wgsl", ".metal": "metal", ".sol": "solidity",
    ".lean": "lean", ".thy": "isabelle", ".agda": "agda", ".idr": "idris", ".tla": "tla+", ".pro": "prolog", ".tex": "tex", ".sty": "tex",
    ".bib": "bibtex", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml",
}  # fmt: skip
"""By the file's ending, lower case."""
NAMES = {
    "makefile": "make", "gnumakefile": "make", "dockerfile": "dockerfile", "containerfile": "dockerfile", "cmakelists.txt": "cmake",
    "rakefile": "ruby", "gemfile": "ruby", "jenkinsfile": "groovy", "vagrantfile": "ruby", "build.bazel": "starlark",
    "workspace": "starlark", "sconstruct": "python", "justfile": "make", "meson.build": "meson",
}  # fmt: skip
"""By the whole name, lower case."""
FOREIGN = frozenset({
    "node_modules", "bower_components", "jspm_packages", "vendor", "_vendor", "third_party", "third-party", "thirdparty", "3rdparty",
    "site-packages", "dist-packages", "pods", "carthage", "__pycache__", ".venv", ".tox", ".nox", ".eggs",
})  # fmt: skip
"""Folders with the work of others, which belongs to the repositories it came from."""
LOCKS = frozenset({
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "poetry.lock", "pdm.lock", "uv.lock", "pipfile.lock",
    "cargo.lock", "gemfile.lock", "composer.lock", "go.sum", "flake.lock", "podfile.lock", "mix.lock", "pubspec.lock",
    "packages.lock.json", "gradle.lockfile", "bun.lockb", "deno.lock", "conda-lock.yml", "pixi.lock", "chart.lock", ".terraform.lock.hcl",
})  # fmt: skip
"""Names of files that package managers write."""
MADE = re.compile(
    r"(?:_pb2(?:_grpc)?\.pyi?|\.pb(?:\.gw)?\.go|\.pb\.(?:cc|h)|_pb\.(?:js|d\.ts)|\.g(?:\.i)?\.cs|\.designer\.(?:cs|vb)|\.g\.dart|\.freezed\.dart"
    r"|[._]generated\.\w{1,5}|_gen\.go|zz_generated[\w.]{0,60}\.go|\.min\.\w{1,5}|\.bundle\.(?:js|css)|[.-]bundle\.js)$",
    re.IGNORECASE,
)
"""Ends of names that tools give to what they make."""
COMMENTED = re.compile(r"^[ \t]{0,20}(?:#|//|/\*|\*|--|;|<!--|%|\"(?:\"\"|\s)|'{3}|\(\*|\{-|@?rem\b|=begin)", re.IGNORECASE)
SIGNED = re.compile(
    r"(?i:@generated\b|\bcode generated\b|\bauto-?(?:matically)?[ -]?generated\b|\bgenerated (?:automatically|by|from|with|using)\b"
    r"|\bthis file (?:is|was) (?:auto)?generated\b)|\bDO NOT (?:EDIT|MODIFY)\b"
)
SIGNED_WITHIN = 15
"""First lines in which a tool says that it made the file."""


def language_of(name: str) -> str | None:
    """The language of a file's name; None when it is no source code."""
    base = name.rpartition("!")[2].rpartition("/")[2].lower()
    stem, dot, ending = base.rpartition(".")
    return NAMES.get(base) or (ENDINGS.get(dot + ending) if stem else None)


def is_foreign(path: str) -> bool:
    """Whether a path leads through a folder with the work of others."""
    return any(part in FOREIGN for part in path.lower().split("/"))


def made_by_tool(name: str, text: str = "") -> str:
    """Why nobody wrote this file: by its name, then by what its first comments say; empty when somebody did."""
    base = name.rpartition("/")[2]
    if base.lower() in LOCKS:
        return "a package manager wrote it"
    if MADE.search(base):
        return f"a tool made it: its name ends in '{MADE.search(base).group()}'"  # pyright: ignore[reportOptionalMemberAccess]
    lines = text[:4096].split("\n")[:SIGNED_WITHIN]
    line = next((line for line in lines if COMMENTED.match(line) and SIGNED.search(line[:300])), "")
    return f"a tool made it: {' '.join(line.split())[:100]!r}" if line else ""
