"""Builds a kernel with the C++ compiler at hand, once for each version of its text, and loads it; where that cannot be, says why."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

# With -O2, which builds in four fifths of the time, attention takes 2.5 times as long.
FLAGS = ("-O3", "-march=native", "-std=c++17", "-fno-math-errno", "-fopenmp", "-shared", "-fPIC")
SECONDS = 120
NEEDS = "avx512_bf16"
"""What a processor must be able to do, in Linux's words."""
CACHE = "SCRATCHLM_KERNELS"
"""The environment variable that names the folder for built kernels."""


class Unavailable(Exception):
    """Why there is no kernel on this machine."""


@functools.cache
def library(name: str) -> ctypes.CDLL:
    """The kernel ``name`` of this room; raises Unavailable.

    The library shares OpenMP's threads with torch, which has loaded its own copy under the same name before.
    """
    if NEEDS not in features():
        raise Unavailable(f"this processor has no {NEEDS}")
    try:
        return ctypes.CDLL(str(_begun()[name].result()))
    except OSError as error:
        raise Unavailable(f"the kernel that was built cannot be loaded ({error})") from None


def begin() -> None:
    """Build what is not built yet, all at once, while the caller goes on; nothing on a processor that cannot run it."""
    if NEEDS in features():
        _begun()


def finish() -> None:
    """Wait until nothing is being built any more: what is timed beside a compiler is timed wrongly."""
    if NEEDS in features():
        wait(_begun().values())


@functools.cache
def _begun() -> Mapping[str, Future[Path]]:
    """By name, each kernel's file, which a thread of its own is building unless it is there."""
    pool = ThreadPoolExecutor(thread_name_prefix="kernels")
    futures = {source.stem: pool.submit(_built, source.stem) for source in sorted(Path(__file__).parent.glob("*.cpp"))}
    pool.shutdown(wait=False)
    return futures


def _built(name: str) -> Path:
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
    if compiler is None:
        raise Unavailable("there is no C++ compiler here (g++)")
    source = Path(__file__).with_name(f"{name}.cpp")
    try:
        built = folder() / f"{name}-{_key(source, compiler)}.so"
    except RuntimeError:
        raise Unavailable(f"there is no home folder to keep it in; set {CACHE} to one") from None
    if not built.exists():
        _build(compiler, source, built)
    return built


@functools.cache
def features() -> frozenset[str]:
    """What the processor says it can do, in Linux's words; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def folder() -> Path:
    """Where built kernels are kept."""
    given = os.environ.get(CACHE)
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scratchlm" / "kernels"


def _key(source: Path, compiler: str) -> str:
    """Changes with the text, the flags, the compiler and the processor."""
    text = (file.read_text(encoding="utf-8") for file in (source, *sorted(source.parent.glob("*.h"))))
    age = str(os.stat(compiler).st_mtime_ns)
    found = (*text, *FLAGS, compiler, age, platform.machine(), *sorted(features()))
    return hashlib.blake2b("\x1f".join(found).encode(), digest_size=8).hexdigest()


def _build(compiler: str, source: Path, built: Path) -> None:
    """Compile into a file of its own and give it its name in one step, so that two processes never see half of it."""
    try:
        built.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
            draft = Path(scratch) / built.name
            subprocess.run([compiler, *FLAGS, str(source), "-o", str(draft)], check=True, capture_output=True, text=True, timeout=SECONDS)
            draft.replace(built)
    except subprocess.CalledProcessError as error:
        first = next((line for line in error.stderr.splitlines() if "error" in line), "it gave no reason")
        raise Unavailable(f"{Path(compiler).name} cannot build {source.name} ({first[:120]})") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{source.name} cannot be built ({error})") from None
