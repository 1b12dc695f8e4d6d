"""Processes on this machine that train together: started once, then asked to run one function after another."""

import gc
import importlib
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch.multiprocessing

MOST_RUNS = 16
"""Of the same processes: where weights were cut, torch keeps some groups, whose threads look for messages all the time."""


class Crowd:
    """``size`` processes that wait to be told what to do together."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._begin()

    def _begin(self) -> None:
        self._ends, self._processes, self._runs = list[Connection](), list[Any](), 0
        context = torch.multiprocessing.get_context("spawn")
        for rank in range(self.size):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, rank, self.size), daemon=True)
            process.start()
            theirs.close()
            self._ends.append(ours)
            self._processes.append(process)

    def run(self, act: Callable[..., Any], *given: Any) -> list[Any]:
        """What ``act(*given)``, a function of a test module, returns in each process."""
        self._runs += 1
        if self._runs > MOST_RUNS:
            self.end()
            self._begin()
        port = free_port()  # each time another: words of an earlier meeting may still lie at the old one
        for end in self._ends:
            end.send((port, act.__module__, act.__name__, given))
        found = [end.recv() if end.poll(120) else (False, "it did not answer within 120 s") for end in self._ends]
        faults = [f"process {rank}: {said}" for rank, (fine, said) in enumerate(found) if not fine]
        if faults:
            raise AssertionError("\n".join(faults))
        return [said for _, said in found]

    def end(self) -> None:
        """Let them go."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.join(20)
            if process.is_alive():
                process.kill()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def serve(end: Connection, rank: int, size: int) -> None:
    """One process: do what is asked until nobody asks any more."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)
    while True:
        try:
            port, module, name, given = end.recv()
        except EOFError:
            return
        os.environ["MASTER_PORT"] = str(port)
        try:
            end.send((True, getattr(importlib.import_module(module), name)(*given)))
        except Exception:  # noqa: BLE001  (whatever it is, it is told)
            end.send((False, traceback.format_exc()))
        if torch.distributed.is_initialized():
            gc.collect()  # whoever still knows a group keeps its threads at work
            torch.distributed.destroy_process_group()
