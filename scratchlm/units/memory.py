"""How much memory a process holds, how much it held at most, and how it is kept from holding more."""

import os
import subprocess
import sys
from pathlib import Path

# pyarrow's allocator maps a gibibyte at once and touches little of it (measured: 1,116 MiB of data beside 174 MiB resident), so
# the hard limit stands that far above the ceiling. RLIMIT_DATA rather than RLIMIT_AS: with numpy, pyarrow and DuckDB sorting 2 M
# rows in 412 MiB, the first needed 1 GiB, the second 3, since it counts libraries, mapped files and what is only reserved.
SLACK = 2**30


def forget_peak() -> None:
    """Let ``peak`` begin anew, where the kernel can."""
    if sys.platform == "linux":
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return


def peak() -> int:
    """Bytes that this process held at most: since ``forget_peak`` on Linux, elsewhere since its start."""
    if sys.platform == "linux":
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if os.name != "posix":
        return 0
    import resource  # absent on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident(process: int) -> int:
    """Bytes that another process holds now; 0 when it is gone, or where nothing tells."""
    statistics = Path(f"/proc/{process}/statm")
    try:
        if statistics.exists():
            return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if os.name == "posix":
            shown = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True, check=False)
            return int(shown.stdout or 0) * 1024
    except (OSError, ValueError):
        return 0
    return 0


def cap(ceiling: int) -> None:
    """Let an allocation that leaps over the ceiling fail at once; the driver, which looks ten times a second, stops the others."""
    if sys.platform == "linux":
        import resource  # absent on Windows

        resource.setrlimit(resource.RLIMIT_DATA, (ceiling + SLACK, ceiling + SLACK))
