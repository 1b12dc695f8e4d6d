"""The process that does units: it reads a job a line, writes an outcome a line, and ends when its driver does.

It is started as a plain command, so a script needs no ``if __name__`` guard, and nothing is unpickled.
"""

import ctypes
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from scratchlm.units import desk, memory
from scratchlm.units.slate import Slate
from scratchlm.units.unit import Job

# Each worker is one of many, so a library's own threads would only contend; it must be said before that library is loaded.
START = """
import json, os, sys
os.environ.setdefault("OMP_NUM_THREADS", "1")
orders = json.loads(sys.argv[1])
sys.path[:] = orders.pop("modules")
from scratchlm.units.worker import main
main(**orders)
"""
DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""


def command(slate: Path, ceiling: int) -> list[str]:
    """What starts a worker that finds the modules this process finds."""
    orders = {"modules": sys.path, "driver": os.getpid(), "slate": str(slate), "ceiling": ceiling}
    return [sys.executable, "-c", START, json.dumps(orders)]


def main(driver: int, slate: str, ceiling: int) -> None:
    """Do jobs until the driver closes the pipe."""
    # What a library prints must not stand among the answers, and no process that it starts may read the orders.
    told, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    _end_with(driver)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver is interrupted, and ends its workers
    faulthandler.enable()
    memory.cap(ceiling)
    page = Slate.open(Path(slate))
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(told, orders), daemon=True).start()
    while True:
        order = json.loads(orders.get())
        answers.write(json.dumps(desk.attempt(Job.unpack(order["job"]), order["skip"], page)) + "\n")
        answers.flush()


def _listen(told: BinaryIO, orders: "queue.SimpleQueue[bytes]") -> None:
    for line in told:
        orders.put(line)
    os._exit(0)  # the driver is done, or dead; work under way is not wanted any more


def _end_with(driver: int) -> None:
    # A library that never lets go of the interpreter would keep the listener from noticing; the kernel needs no leave.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != driver:
            os._exit(0)
