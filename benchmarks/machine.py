"""Where a number was measured: the machine, its versions, the commit, the day. And the file that rows of results are added to."""

import datetime
import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scratchlm.core.machine import memory
from scratchlm.units.engine import cores

ROOT = Path(__file__).parent.parent
BENCH = Path(__file__).parent / "results" / "bench.jsonl"
"""Rows of `make bench`."""
NAMED = ("torch", "transformers", "accelerate", "litgpt")
"""Whose versions decide speed: torch for all, the others for themselves."""


def facts() -> dict[str, Any]:
    """Of this machine: processor, cores that may be used, memory, system, Python, and the versions of what is installed of ``NAMED``."""
    found: dict[str, Any] = {"cpu": processor(), "cores": cores()}
    total = memory().total
    if math.isfinite(total):
        found["memory_gb"] = round(total * 1e-9, 1)
    found |= {"system": platform.platform(), "python": platform.python_version()}
    for name in NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor(root: Path = Path("/")) -> str:
    """Its name as it is sold, where the system says; else its architecture."""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    try:
        told = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout.strip()  # macOS
    except OSError:
        told = ""
    return told or platform.processor() or platform.machine()


def commit(folder: Path = ROOT) -> str:
    """Of a checkout; "and changes" where something but results differs from it; "unknown" outside of one, or without git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()

    try:
        name, changed = git("rev-parse", "--short", "HEAD"), git("status", "--porcelain", "--", ".", ":(exclude)benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name} and changes" if changed else name


def today() -> str:
    """As a row has it: in UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def where() -> str:
    """Machine, versions and commit in one line."""
    found = facts()
    size = f", {found['memory_gb']} GB" if "memory_gb" in found else ""
    packages = ", ".join(f"{name} {found[name]}" for name in NAMED if name in found)
    return f"{found['cpu']}, {found['cores']} cores{size}, {found['system']}, Python {found['python']}, {packages}, commit {commit()}"


def append(path: Path, benchmark: str, *, settings: Mapping[str, Any], measured: Mapping[str, Any], left_out: Mapping[str, str]) -> None:
    """Add a row of JSON: what was measured where, how and when, and who was left out for which reason."""
    row = {"benchmark": benchmark, "date": today(), "commit": commit(), "machine": facts(), "settings": settings}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | {"measured": measured, "left_out": left_out}, ensure_ascii=False) + "\n")


def spread(values: Sequence[float], digits: int) -> str:
    """The least and the most of the rounds, in brackets."""
    return f"({min(values):.{digits}f} to {max(values):.{digits}f})"
