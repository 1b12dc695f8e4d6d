"""What a preflight found: in words where something is wrong, as one mapping for programs, as a table for people."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scratchlm.parallel.board import Facts, by_host
from scratchlm.parallel.links import Link, Slowest, slowest

ALIKE = ("scratchlm", "python", "torch", "cuda", "nccl", "device")
"""Facts that must be the same everywhere."""
ROOM = ("memory", "disk")
"""Facts of which the least counts."""
WIDE = 160
"""Columns where no terminal says how many: a log must not cut names."""
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))


@dataclass(frozen=True)
class Clock:
    """How far a host's clock is ahead of the first one's, in seconds, give or take."""

    ahead_s: float
    within_s: float

    def told(self) -> str:
        return f"{self.ahead_s:+.4f} s ± {self.within_s:.4f} s"


@dataclass(frozen=True)
class Found:
    """What was measured, as the first process knows it."""

    sums: Mapping[int, float]
    """GB/s that each connection carries in a sum over all processes, by bytes."""
    links: Sequence[Link]
    clocks: Mapping[str, Clock]
    blind: Sequence[str]
    """Hosts that do not see the first one's files."""


def differences(roll: Sequence[Facts]) -> list[str]:
    """What keeps these processes from working together: a device that is not there, facts that are not the same everywhere."""
    hosts = {rank: facts["host"] for rank, facts in enumerate(roll)}
    told = [facts["trouble"] for facts in roll if facts["trouble"]][:1]
    for name in () if told else ALIKE:
        values = dict.fromkeys(facts[name] for facts in roll)
        have = {value: [rank for rank, facts in enumerate(roll) if facts[name] == value] for value in values}
        if len(have) > 1:
            said = "; ".join(f"{value or 'none'} on {by_host(ranks, hosts)}" for value, ranks in have.items())
            told.append(f"{name} is not the same everywhere: {said}. Make it so.")
    return told


def complaints(found: Found, *, skew_s: float, least_share: float) -> list[str]:
    """What of the measured is beyond a limit, a sentence each."""
    links = [_too_slow(each, least_share) for each in slowest(found.links) if each.share < least_share and not each.alone]
    # What is within the uncertainty is no finding.
    late = {host: clock for host, clock in found.clocks.items() if abs(clock.ahead_s) - clock.within_s > skew_s}
    clocks = [
        f"{host}: its clock is {clock.told()} from the first host's, more than {skew_s:g} s. Set it by NTP." for host, clock in late.items()
    ]
    blind = (
        [f"{', '.join(found.blind)}: no sight of what rank 0 writes into --home. Give a folder that all hosts share."]
        if found.blind
        else []
    )
    return [*links, *clocks, *blind]


def doubts(found: Found, *, least_share: float) -> list[str]:
    """What may be as it should, a sentence each: links of one host, which nothing of their kind can be held against."""
    return [
        f"{_too_slow(each, least_share)} Where GPUs are joined two by two, or by sockets, that is as it should be."
        for each in slowest(found.links)
        if each.share < least_share and each.alone
    ]


def _too_slow(each: Slowest, least_share: float) -> str:
    return (
        f"{each.link.told()} carries {rate(each.link.gb_s)}, {percent(each.share)} of the median {each.link.kind} "
        f"({rate(each.median_gb_s)}): less than {percent(least_share)}. Look at its card and cable, or leave that host out."
    )


def summed_up(roll: Sequence[Facts], found: Found | None, told: Sequence[str], *, least_share: float) -> dict[str, Any]:
    """Everything, as JSON holds it; what was not measured is absent."""
    facts = {name: [*dict.fromkeys(each[name] for each in roll)] for name in ALIKE}
    least = {name: [(each[name], rank) for rank, each in enumerate(roll) if each[name] is not None] for name in ROOM}
    summary: dict[str, Any] = {
        "processes": len(roll),
        "hosts": [*dict.fromkeys(each["host"] for each in roll)],
        "backend": "nccl" if roll[0]["kind"] == "cuda" else "gloo",
        "facts": {name: values[0] if len(values) == 1 else values for name, values in facts.items()},
        "least": {
            name: {"bytes": (low := min(each))[0], "rank": low[1], "host": roll[low[1]]["host"]} for name, each in least.items() if each
        },
        "complaints": [*told],
    }
    if found is None:
        return summary
    return summary | {
        "all_reduce": [{"bytes": size, "gb_s": gb_s} for size, gb_s in found.sums.items()],
        "links": [asdict(link) for link in found.links],
        "slowest": [each.plain() for each in slowest(found.links)],
        "doubts": doubts(found, least_share=least_share),
        "clocks": {host: asdict(clock) for host, clock in found.clocks.items()},
        "blind": [*found.blind],
    }


def show(summary: Mapping[str, Any]) -> None:
    """Print it as a table."""
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else WIDE)
    each = "process" if summary["processes"] == 1 else "processes"
    hosts = summary["hosts"]
    console.print(f"[bold]{summary['processes']} {each}[/] on {len(hosts)} host{'s' if len(hosts) > 1 else ''} by {summary['backend']}\n")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for cells in rows(summary):
        table.add_row(*map(escape, cells))
    console.print(table)
    for doubt in summary.get("doubts", ()):
        console.print(f"\n{escape(doubt)}", soft_wrap=True)


def rows(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What, how much, and of what or where."""
    sums = [(f"all-reduce of {size(each['bytes'])}", rate(each["gb_s"]), "") for each in summary.get("all_reduce", ())]
    links = [
        (
            f"slowest link {each['kind']}",
            rate(each["gb_s"]),
            f"{percent(each['share'])} of the median: {Link(each['ranks'], each['hosts'], 0.0).told()}",
        )
        for each in summary.get("slowest", ())
    ]
    off = sorted(summary.get("clocks", {}).items(), key=lambda clock: -abs(clock[1]["ahead_s"]))[:1]
    clocks = [("clock furthest off", f"{each['ahead_s']:+.4f} s", f"± {each['within_s']:.4f} s: {host}") for host, each in off]
    least = [
        (f"least {name} free", size(each["bytes"]), f"{each['host']} (rank {each['rank']})") for name, each in summary["least"].items()
    ]
    facts = [
        (name, "", " | ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in summary["facts"].items()
        if value
    ]
    return [*sums, *links, *clocks, *least, *facts]


def percent(share: float) -> str:
    """``84 %``."""
    return f"{100 * share:.0f} %"


def rate(gb_s: float) -> str:
    """``12.3 GB/s``."""
    return f"{size(gb_s * 1e9)}/s"


def size(size_bytes: float | int) -> str:
    """``1.5 GB``: three digits, in decimal units."""
    scale, unit = next((each for each in UNITS if size_bytes >= each[0]), UNITS[-1])
    return f"{size_bytes / scale:.3g} {unit}"
