"""Install the build of torch that fits this machine, so that pip never has to choose one.

Plain pip takes the CUDA build on Linux: gigabytes that a machine without an NVIDIA GPU has no use for. Run with the Python that is to
have it, as in ``.venv/bin/python scripts/torch_for_this_machine.py``. The version is the one that constraints.txt names.
"""

import importlib.metadata
import platform
import shutil
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own folder of CPU wheels; asked only where pip finds none by itself."""
LONGEST_ANSWER_S = 30


def main() -> int:
    """Install it unless it is there; the exit code."""
    version = wanted(CONSTRAINTS.read_text(encoding="utf-8"))
    if installed() == version:
        return 0
    gpu = has_nvidia_gpu()
    kind = "with CUDA: this machine has an NVIDIA GPU" if gpu else "for the CPU: no NVIDIA GPU here"
    sys.stdout.write(f"installing torch {version} {kind}\n")
    sys.stdout.flush()
    said = ""
    for attempt in attempts(version, system=platform.system(), gpu=gpu):
        pip = subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", *attempt], check=False, stderr=subprocess.PIPE, text=True
        )
        if pip.returncode == 0:
            return 0
        said = pip.stderr
    sys.stderr.write(f"{said}torch {version} could not be installed. Check the network, or put a wheel for this machine where pip looks.\n")
    return 1


def wanted(constraints: str) -> str:
    """The version of torch that was tested: ``torch==2.13.0 -> 2.13.0``."""
    return next(line.partition("==")[2] for line in constraints.splitlines() if line.startswith("torch=="))


def installed() -> str | None:
    """The version of torch that is there, whatever its build; None when there is none."""
    try:
        return importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver names a GPU."""
    tool = shutil.which("nvidia-smi")
    try:
        listed = subprocess.run([tool, "-L"], check=False, capture_output=True, text=True, timeout=LONGEST_ANSWER_S) if tool else None
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed is not None and listed.returncode == 0 and "GPU" in listed.stdout


def attempts(version: str, *, system: str, gpu: bool) -> list[list[str]]:
    """What to ask pip for, one after another until it succeeds. Outside Linux the plain wheel is a CPU one."""
    if gpu or system != "Linux":
        return [[f"torch=={version}"]]
    return [[f"torch=={version}+cpu"], [f"torch=={version}", "--index-url", CPU_INDEX]]


if __name__ == "__main__":
    sys.exit(main())
