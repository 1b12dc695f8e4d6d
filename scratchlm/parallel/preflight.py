"""Before many machines are taken for hours: is everybody here, do they hear each other fast enough, do clocks and versions agree?

torchrun --standalone --nproc-per-node 8 -m scratchlm.parallel.preflight --home runs/node
"""

import argparse
import json
import math
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import scratchlm
from scratchlm.core import machine
from scratchlm.core.errors import CheckFailed, ScratchError

if TYPE_CHECKING:
    from scratchlm.parallel.board import Facts, Place
    from scratchlm.parallel.verdict import Clock, Found

PATIENCE_S = 60.0
MOST_SKEW_S = 1.0
"""Between two clocks: what several hosts write is put in order by its time."""
LEAST_SHARE = 0.5
"""Of the median of its kind, that a link must carry: every step waits for the slowest one."""
PINGS = 8
"""Questions for the time; the answer that came back soonest is the least uncertain. Cristian 1989, doi:10.1007/BF01784024."""
SEEN_S = 5.0
"""Within so long all hosts must see a file that one of them wrote."""
PAUSE_S = 0.05
"""Between two looks for it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, tell on the first process, and return the exit code: 1 where something is wrong, which is said in one line."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # who is missing is said in a sentence of ours, not in pages of frames
    os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")  # a timeout is raised here; otherwise NCCL ends the process
    from scratchlm.parallel.board import complain, place_of

    try:
        return checked(place_of(os.environ, options.timeout), options)
    except ScratchError as error:
        told, code = str(error), error.exit_code
    except RuntimeError as error:  # torch's own: the board is gone
        told, code = f"{socket.gethostname()}: {error}".partition("\n")[0], 1
    complain(told)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scratchlm.parallel.preflight", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, default=Path(), help="the run's folder: whether all hosts see it, and how much room is there")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="what is to hear each other; auto: GPUs, if any")
    parser.add_argument("--hosts", default="", metavar="A,B", help="names of the hosts in order, to call those by who are missing")
    parser.add_argument("--timeout", type=positive, default=PATIENCE_S, metavar="SECONDS", help="how long to wait for others")
    parser.add_argument("--skew", type=positive, default=MOST_SKEW_S, metavar="SECONDS", help="how far clocks may be apart")
    parser.add_argument("--slowest", type=positive, default=LEAST_SHARE, metavar="SHARE", help="of the median, that every link must carry")
    parser.add_argument("--passed", type=Path, metavar="FILE", help="write this file where all is well, for those who come later")
    parser.add_argument("--json", action="store_true", help="print all that was measured as one line of JSON")
    return parser


def positive(text: str) -> float:
    """A number of seconds or a share as it is typed."""
    if not (math.isfinite(value := float(text)) and value > 0):
        raise ValueError
    return value


def checked(place: "Place", options: argparse.Namespace) -> int:
    """All checks, in the order in which one makes sense after another; every process returns the same exit code."""
    from scratchlm.parallel import board, verdict

    roll: list[Facts] = []
    try:
        roll = board.roll_call(place, facts(place, options), [name for name in options.hosts.split(",") if name])
        told = verdict.differences(roll)
        found = None if told else measured(place, roll, options.home)
        if place.rank:
            return board.leave(place)
    except (RuntimeError, CheckFailed) as error:
        return board.broken(place, error, {rank: each["host"] for rank, each in enumerate(roll)})
    told += verdict.complaints(found, skew_s=options.skew, least_share=options.slowest) if found else []
    told += [] if told else not_written(options.passed)
    summary = verdict.summed_up(roll, found, told, least_share=options.slowest)
    if options.json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        verdict.show(summary)
    sys.stdout.flush()
    return board.end(place, told)


def not_written(passed: Path | None) -> list[str]:
    """What keeps the file that is asked for from being written."""
    try:
        if passed is not None:
            passed.parent.mkdir(parents=True, exist_ok=True)
            passed.touch()
    except OSError as error:
        return [f"{passed}: rank 0 cannot write it ({error.strerror}). Allow it, or give another --passed."]
    return []


def facts(place: "Place", options: argparse.Namespace) -> "Facts":
    """What this process runs on and how much room it has."""
    import torch
    from torch.cuda import nccl

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind = options.device if options.device != "auto" else "cuda" if gpus else "cpu"
    lacking = kind == "cuda" and place.local_rank >= gpus
    trouble = f"rank {place.rank} on {place.host}: it takes GPU {place.local_rank}, and {gpus} are here. Start as many processes as GPUs."
    on_gpu = kind == "cuda" and not lacking
    free = float(torch.cuda.mem_get_info(place.local_rank)[0]) if on_gpu else machine.memory().free
    return {
        "trouble": trouble if lacking else None,
        "kind": kind,
        "scratchlm": scratchlm.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_gpu else None,
        "nccl": ".".join(map(str, nccl.version())) if on_gpu else None,
        "device": torch.cuda.get_device_name(place.local_rank) if on_gpu else machine.described(),
        "memory": free if math.isfinite(free) else None,
        "disk": float(shutil.disk_usage(nearest_folder(options.home)).free),
    }


def nearest_folder(path: Path) -> Path:
    """The folder itself, or the first one above it that is there."""
    path = path.resolve()
    return next(each for each in (path, *path.parents) if each.is_dir())


def measured(place: "Place", roll: Sequence["Facts"], home: Path) -> "Found | None":
    """All that takes several processes, for the first one; None for the others."""
    import torch.distributed as dist

    from scratchlm.parallel import links, verdict

    kind, hosts = roll[0]["kind"], ranks_of(roll)
    join(place, kind)
    speeds = links.sums(kind) if place.size > 1 else {}
    mine = links.measured(links.pairs(hosts), kind) if place.size > 1 else []
    place.say(f"links/{place.rank}", mine)
    apart = clocks(place, {host: ranks[0] for host, ranks in hosts.items() if ranks[0]})
    blind = blind_hosts(place, {host: ranks[0] for host, ranks in hosts.items()}, nearest_folder(home))
    dist.destroy_process_group()
    if place.rank:
        return None
    told = [each for every in place.heard(*(f"links/{rank}" for rank in range(place.size))) for each in every]
    at = {rank: here for ranks in hosts.values() for here, rank in enumerate(ranks)}
    tried = [links.Link((a, b), (roll[a]["host"], roll[b]["host"]), gb_s, (at[a], at[b])) for (a, b), gb_s in told]
    return verdict.Found(speeds, tried, apart, blind)


def join(place: "Place", kind: str) -> None:
    """Meet the others for what is measured."""
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore

    if kind == "cuda":
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        store=PrefixStore("group", place.board),
        rank=place.rank,
        world_size=place.size,
        timeout=timedelta(seconds=place.patience_s),
        device_id=torch.device(kind, place.local_rank) if kind == "cuda" else None,
    )


def ranks_of(roll: Sequence["Facts"]) -> dict[str, list[int]]:
    """The processes on each host."""
    hosts: dict[str, list[int]] = {}
    for rank, each in enumerate(roll):
        hosts.setdefault(each["host"], []).append(rank)
    return hosts


def clocks(place: "Place", asked: Mapping[str, int]) -> "dict[str, Clock]":
    """How far the clock of each host is ahead of the first one's: its first process answers with its time, by way of the board."""
    from scratchlm.parallel.board import GRACE_S
    from scratchlm.parallel.verdict import Clock

    answers: dict[str, list[Clock]] = {host: [] for host in asked}
    for host, rank in asked.items():
        for turn in range(PINGS if place.rank in (0, rank) else 0):
            ask, answer = f"ask/{rank}/{turn}", f"answer/{rank}/{turn}"
            if place.rank:
                place.wait(ask, more_s=GRACE_S)
                place.say(answer, time.time())
                continue
            begun = time.time()
            place.say(ask, True)
            place.wait(answer)
            ended = time.time()
            answers[host].append(Clock(place.heard(answer)[0] - (begun + ended) / 2, (ended - begun) / 2))
    return {host: min(each, key=lambda clock: clock.within_s) for host, each in answers.items() if each}


def blind_hosts(place: "Place", asked: Mapping[str, int], folder: Path) -> list[str]:
    """Hosts whose first process does not see a file that the first one has just written into ``folder``."""
    if place.rank == 0:
        try:
            with tempfile.NamedTemporaryFile(prefix=".preflight-", dir=folder) as file:
                place.say("file", file.name)
                return [host for host, rank in asked.items() if rank and not place.heard(f"seen/{rank}", more_s=SEEN_S)[0]]
        except OSError as error:
            place.say("file", None)
            raise CheckFailed(f"{folder}: rank 0 cannot write there ({error.strerror}). Allow it, or give another --home.") from None
    if place.rank in asked.values():
        (name,) = place.heard("file")
        until = time.monotonic() + SEEN_S
        while not (there := name is not None and Path(name).exists()) and time.monotonic() < until:
            time.sleep(PAUSE_S)
        place.say(f"seen/{place.rank}", there)
    return []


if __name__ == "__main__":
    sys.exit(main())
