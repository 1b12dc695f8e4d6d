"""What a run was made with: versions and machine, for the journal."""

import os
import platform
from importlib.metadata import version

import scratchlm

NAMED = ("torch", "tokenizers", "numpy", "pyarrow")


def versions() -> dict[str, str]:
    """Of scratchlm, Python and the libraries that decide numbers."""
    return {"scratchlm": scratchlm.__version__, "python": platform.python_version()} | {name: version(name) for name in NAMED}


def described() -> str:
    """System, architecture and processors."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
