"""The modules of the standard library that an assistant is taught from: everybody's tools, the most used first."""

PINNED = (
    "builtins", "os", "os.path", "math", "json", "re", "random", "itertools", "functools", "collections", "string", "sys", "time",
    "datetime", "pathlib", "shutil", "operator", "copy", "statistics", "textwrap", "subprocess", "threading", "tempfile", "glob", "csv",
    "heapq", "bisect", "contextlib", "logging", "argparse", "inspect", "types", "typing", "enum", "dataclasses", "decimal", "fractions",
    "hashlib", "base64", "struct", "io", "pickle", "socket", "urllib.parse", "urllib.request", "zipfile", "queue", "asyncio", "abc",
    "warnings", "traceback", "unittest", "platform", "getpass", "locale", "calendar", "fnmatch", "secrets", "uuid", "gc", "weakref",
    "importlib", "signal", "select", "ast", "html", "difflib", "pprint", "array", "cmath", "codecs", "unicodedata", "gzip", "zlib",
)  # fmt: skip
"""Modules that the assistant is taught from, so they are never held out."""
