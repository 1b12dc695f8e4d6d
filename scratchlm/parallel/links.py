"""How fast do processes hear each other? All of them in a sum, then two by two, to find the link that would hold all others back."""

import math
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist

from scratchlm.core.errors import CheckFailed

MB = 1_000_000
SUMMED = {"cpu": (MB // 4, MB, 4 * MB), "cuda": (MB, 4 * MB, 16 * MB, 64 * MB, 256 * MB)}
"""Bytes that are summed over all processes."""
SENT = {"cpu": MB, "cuda": 64 * MB}
"""Bytes that go to and fro between two of them."""
TRIES = {"cpu": 20, "cuda": 5}
"""The fastest counts: what else a machine does makes others slower, never faster."""
MOST_HOSTS = 16
"""Up to so many hosts each is tried with each other one; beyond, with the next one of the ring."""

Pair = tuple[int, int]


INSIDE, BETWEEN = "inside a host", "between hosts"


@dataclass(frozen=True)
class Link:
    """Two processes, and how much one tells the other in a second."""

    ranks: Pair
    hosts: tuple[str, str]
    gb_s: float
    places: Pair = (0, 0)
    """Of both on their hosts."""

    @property
    def kind(self) -> str:
        """Those inside a host are not held against those between hosts."""
        return INSIDE if self.hosts[0] == self.hosts[1] else BETWEEN

    @property
    def peers(self) -> tuple[str, Pair | None]:
        """Links with the same should be equally fast. Inside a host those of two places are wired alike on all hosts; among themselves
        they need not be: some machines join their GPUs two by two, or have sockets."""
        return self.kind, self.places if self.kind == INSIDE else None

    def told(self) -> str:
        """Both ends, as one says them."""
        ends = [f"{host} (rank {rank})" for rank, host in zip(self.ranks, self.hosts, strict=True)]
        return " – ".join(ends)


@dataclass(frozen=True)
class Slowest:
    """The slowest link of its kind beside its peers, and what is usual among these."""

    link: Link
    median_gb_s: float
    alone: bool
    """Whether there is one host: then its own links are all that it can be held against, and that proves nothing."""

    @property
    def share(self) -> float:
        """Of the median."""
        return self.link.gb_s / self.median_gb_s

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        told = {"kind": self.link.kind, "median_gb_s": self.median_gb_s, "share": self.share, "alone": self.alone}
        return asdict(self.link) | told


def bus_gb_s(size_bytes: int, seconds: float, processes: int) -> float:
    """What each process's connection carries in a sum over all, in GB/s: a ring sends 2 (n - 1) / n of the bytes over each link.

    Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002; the figure that NCCL's own tests call bus bandwidth.
    """
    return 2 * (processes - 1) / processes * size_bytes / seconds / 1e9


def sums(device: str) -> dict[int, float]:
    """GB/s of a sum over all processes, for each of some sizes; CheckFailed where the sum is wrong."""
    found, processes = {}, dist.get_world_size()
    for size_bytes in SUMMED[device]:
        values = torch.zeros(size_bytes // 4, device=device)
        seconds = _fastest(lambda values=values: dist.all_reduce(values), device)
        dist.all_reduce(values.fill_(1.0))
        if not bool((values == processes).all()):
            told = f"rank {dist.get_rank()} on {socket.gethostname()}: {processes} ones were summed up to {values.mean():g}"
            raise CheckFailed(f"{told}. Its memory or network card is broken; leave that host out.")
        found[size_bytes] = bus_gb_s(size_bytes, seconds, processes)
    return found


def pairs(hosts: Mapping[str, Sequence[int]]) -> list[Pair]:
    """Whom to try, by the ranks on each host: neighbours inside a host, and equal places on two hosts, for these share no card."""
    inside = [pair for ranks in hosts.values() for pair in ring(ranks)]
    groups = list(hosts.values())
    each = [(a, b) for place, a in enumerate(groups) for b in groups[place + 1 :]] if len(groups) <= MOST_HOSTS else ring(groups)
    return inside + [pair for a, b in each for pair in zip(a, b, strict=False)]


def ring(places: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Each with the next one, and the last with the first."""
    around = list(zip(places, [*places[1:], *places[:1]], strict=True))
    return around if len(places) > 2 else around[: len(places) - 1]


def rounds(tried: Sequence[Pair]) -> list[list[Pair]]:
    """The pairs in as few rounds as one finds by taking them in turn, so that no process is asked twice in a round."""
    found: list[tuple[set[int], list[Pair]]] = []
    for pair in tried:
        free = next((each for each in found if each[0].isdisjoint(pair)), None)
        if free is None:
            found.append(free := (set(), []))
        free[0].update(pair)
        free[1].append(pair)
    return [together for _, together in found]


def measured(tried: Sequence[Pair], device: str) -> list[tuple[Pair, float]]:
    """GB/s of those pairs that this process is the first of; every process of the group goes through all rounds."""
    rank, found = dist.get_rank(), []
    values = torch.zeros(SENT[device] // 4, device=device)
    for now in rounds(tried):
        dist.barrier()
        for pair in (pair for pair in now if rank in pair):
            seconds = _fastest(lambda pair=pair: _to_and_fro(pair, rank, values), device) / 2
            if rank == pair[0]:
                found.append((pair, SENT[device] / seconds / 1e9))
    return found


def _to_and_fro(pair: Pair, rank: int, values: torch.Tensor) -> None:
    """The first sends and hears the same again."""
    first, second = pair
    if rank == first:
        dist.send(values, second)
        dist.recv(values, second)
    else:
        dist.recv(values, first)
        dist.send(values, first)


def slowest(links: Sequence[Link]) -> list[Slowest]:
    """Of each kind the slowest beside its peers, with their median; of a single host beside all of its links."""
    alone = len({host for link in links for host in link.hosts}) == 1
    groups: dict[Any, list[Link]] = {}
    for link in links:
        groups.setdefault(link.kind if alone else link.peers, []).append(link)
    found = [
        Slowest(min(each, key=lambda link: link.gb_s), statistics.median(link.gb_s for link in each), alone) for each in groups.values()
    ]
    kinds = dict.fromkeys(each.link.kind for each in found)
    return [min((each for each in found if each.link.kind == kind), key=lambda each: (each.share, each.link.gb_s)) for kind in kinds]


def _fastest(act: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of some tries, after one that opens connections."""
    best = math.inf
    for attempt in range(TRIES[device] + 1):
        begun = time.perf_counter()
        act()
        if device == "cuda":
            torch.cuda.synchronize()
        if attempt:
            best = min(best, time.perf_counter() - begun)
    return best
