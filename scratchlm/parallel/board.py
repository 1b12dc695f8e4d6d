"""A board that all processes of a launch write on and read: who is here, and who is not.

It is the store that torchrun keeps, or one that the first process keeps. What is written is JSON: nothing that is read is ever run.
"""

import itertools
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  # as torch's own pages write it
from torch.distributed.distributed_c10d import PrefixStore, Store

from scratchlm.core.errors import CheckFailed, UsageError

GRACE_S = 5.0
"""How much longer a process waits for what another tells after having waited itself."""
PAUSE_S = 0.1
"""Between two tries to reach the board."""
PORTS = 1 << 16
Facts = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """This process among those that were started together, and their board."""

    rank: int
    size: int
    host: str
    local_rank: int
    local_size: int
    board: Store
    patience_s: float

    def say(self, what: str, value: Any) -> None:
        """Write on the board."""
        with self.answers():
            self.board.set(what, json.dumps(value))

    def wait(self, *what: str, more_s: float = 0.0) -> None:
        """Until all of this is written there; RuntimeError where it does not come."""
        with self.answers(more_s):
            self.board.wait(list(what), timedelta(seconds=self.patience_s + more_s))

    def heard(self, *what: str, more_s: float = 0.0) -> list[Any]:
        """What others wrote, waiting for it."""
        self.wait(*what, more_s=more_s)
        with self.answers():
            return [json.loads(self.board.get(each)) for each in what]

    def silent(self, what: str, ranks: Iterable[int], wait_s: float) -> list[int]:
        """Of some processes those that have not written ``what/RANK`` after a time."""
        keys = {rank: f"{what}/{rank}" for rank in ranks}
        with suppress(RuntimeError), self.answers(wait_s):
            self.board.wait(list(keys.values()), timedelta(seconds=wait_s))
            return []
        with self.answers():
            return [rank for rank, key in keys.items() if not self.board.check([key])]

    def answers(self, more_s: float = 0.0) -> AbstractContextManager[None]:
        """What is asked of the board meanwhile."""
        return answering(f"rank {self.rank} on {self.host}", self.patience_s + more_s + GRACE_S)


@contextmanager
def answering(who: str, patience_s: float) -> Iterator[None]:
    """End this process where the board does not answer: a machine that stands still keeps its connections, and torch waits for ever."""

    def give_up() -> None:
        complain(f"{who}: the board does not answer within {patience_s:g} s. Look at the host of rank 0.")
        os._exit(1)

    watch = threading.Timer(patience_s, give_up)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def place_of(told: Mapping[str, str], patience_s: float) -> Place:
    """Where this process stands by the variables that torchrun sets, alone without them; CheckFailed where it reaches no board."""
    names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_PORT": 0}
    try:
        rank, size, local_rank, local_size, port = (int(told.get(name, usual)) for name, usual in names.items())
        if not (0 <= rank < size and 0 <= local_rank < local_size and 0 <= port < PORTS):
            raise ValueError
    except ValueError:
        found = ", ".join(f"{name}={told[name]}" for name in names if name in told)
        raise UsageError(f"{found}: these variables do not say who this process is. Let torchrun set them.") from None
    address, host = told.get("MASTER_ADDR", "127.0.0.1"), socket.gethostname()
    keeps = rank == 0 and told.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    if not keeps:
        reach(address, port, patience_s, f"rank {rank} on {host}")
    try:
        with answering(f"rank {rank} on {host}", patience_s + GRACE_S):
            board = TCPStore(address, port, None, keeps, timedelta(seconds=patience_s), wait_for_workers=False)
    except RuntimeError as error:
        raise CheckFailed(f"rank {rank} on {host}: no board at {address}:{port} ({first_line(error)}). Is the port free?") from None
    attempt = told.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Place(rank, size, host, local_rank, local_size, PrefixStore(f"preflight/{attempt}", board), patience_s)


def reach(address: str, port: int, patience_s: float, who: str) -> None:
    """Wait until somebody listens there; CheckFailed where nobody does."""
    until = time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection((address, port), timeout=patience_s).close()
            return
        except OSError as error:
            if time.monotonic() >= until:
                told = f"nobody answers at {address}:{port} within {patience_s:g} s ({error.strerror or error})"
                raise CheckFailed(f"{who}: {told}. Is rank 0 up, and may hosts reach that port?") from None
        time.sleep(PAUSE_S)


def roll_call(place: Place, mine: Facts, hosts: Sequence[str] = ()) -> list[Facts]:
    """The facts of every process; CheckFailed names those that never came, by ``hosts`` where nobody of a host did."""
    place.say(f"here/{place.rank}", mine | {"host": place.host, "local_size": place.local_size})
    if place.rank == 0:
        missing = set(place.silent("here", range(place.size), place.patience_s))
        there = [rank for rank in range(place.size) if rank not in missing]
        came = dict(zip(there, place.heard(*(f"here/{rank}" for rank in there)), strict=True))
        place.say("roll", [came.get(rank) for rank in range(place.size)])
    (roll,) = place.heard("roll", more_s=GRACE_S)
    if absent := [rank for rank, facts in enumerate(roll) if facts is None]:
        told = by_host(absent, {rank: host_of(rank, roll, hosts) for rank in absent})
        raise CheckFailed(f"{told} never came within {place.patience_s:g} s; {place.size - len(absent)} of {place.size} did. Are they up?")
    return roll


def leave(place: Place) -> int:
    """The exit code that the first process tells, waiting for it."""
    (code,) = place.heard("end", more_s=2 * GRACE_S)
    place.say(f"gone/{place.rank}", True)
    return code


def complain(told: str) -> None:
    """Say at once what is wrong: as soon as others end, torchrun ends this process, too."""
    sys.stderr.write(f"preflight: {told}\n")
    sys.stderr.flush()


def end(place: Place, told: Sequence[str], silent: Iterable[int] = ()) -> int:
    """Say what is wrong, then tell the others with which exit code to end, and return it once they have read it.

    The board may end with this process. Who is ``silent`` is not waited for.
    """
    if told:
        complain(" ".join(told))
    place.say("end", int(bool(told)))
    there = [rank for rank in range(1, place.size) if rank not in silent and place.board.check([f"here/{rank}"])]
    place.silent("gone", there, GRACE_S)
    return int(bool(told))


def broken(place: Place, error: Exception, hosts: Mapping[int, str]) -> int:
    """Exit code 1 after what went wrong here; the first process says what is behind it.

    That is a check that failed anywhere, or else those that fell silent: who only waited for others in vain says so on the board.
    """
    told, silent = first_line(error), list[int]()
    try:
        place.say(f"broke/{place.rank}", str(error) if isinstance(error, CheckFailed) else None)
        if place.rank:
            return leave(place)
    except RuntimeError:
        raise CheckFailed(f"rank {place.rank} on {place.host}: {told}, and rank 0 does not answer. Look at its host.") from None
    said = str(error)
    if isinstance(error, RuntimeError):
        silent = place.silent("broke", range(place.size), GRACE_S)
        failed = [said for said in place.heard(*(f"broke/{rank}" for rank in range(place.size) if rank not in silent)) if said]
        who = by_host(silent, {rank: hosts.get(rank, "") for rank in silent})
        network = f"{told}. All still answer: name the network card to use in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME."
        said = failed[0] if failed else f"{who} fell silent ({told}). Look what happened there." if silent else network
    return end(place, [said], silent)


def host_of(rank: int, roll: Sequence[Facts | None], hosts: Sequence[str]) -> str:
    """The host of a process that did not come: that of its neighbours, or the one that should be there."""
    each = next(facts["local_size"] for facts in roll if facts)
    beside = [facts["host"] for facts in roll[rank // each * each : (rank // each + 1) * each] if facts]
    return next(iter([*beside, *hosts[rank // each : rank // each + 1]]), "")


def by_host(ranks: Iterable[int], hosts: Mapping[int, str]) -> str:
    """``n1 (ranks 2–3), n4 (ranks 12–15)``; without a host ``ranks 12–15``."""
    groups: dict[str, list[int]] = {}
    for rank in ranks:
        groups.setdefault(hosts[rank], []).append(rank)
    told = {host: f"rank{'s' if len(each) > 1 else ''} {stretches(each)}" for host, each in groups.items()}
    return ", ".join(f"{host} ({which})" if host else which for host, which in told.items())


def stretches(numbers: Sequence[int]) -> str:
    """``0–3, 7`` for rising numbers."""
    runs = [[number for _, number in run] for _, run in itertools.groupby(enumerate(numbers), lambda each: each[1] - each[0])]
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def first_line(error: Exception) -> str:
    """The first sentence of what an error says, without the place in torch's code that gloo puts before it."""
    return re.sub(r"^\[[^]]*\] ", "", str(error).strip().partition("\n")[0]).partition(". ")[0].rstrip(".")
