"""Work for units in tests: words are counted, and some lines do to a worker what records on the web do."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets

BUCKETS = 3


def count(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """One row per line: which line, and how many words."""
    rows = []
    for number, url in enumerate(desk.inputs):
        with desk.open(url) as file:
            for line, text in enumerate(file.read().decode().splitlines()):
                if desk.at(f"{number}#{line}"):
                    suffer(text)
                    rows.append({"line": f"{number}#{line}", "words": len(text.split()) * config.get("times", 1)})
    desk.at("")
    pq.write_table(pa.Table.from_pylist(rows), desk.path("words.parquet"))
    return {"documents": len(rows)}


def suffer(text: str) -> None:
    """What a line that begins with ``!`` asks for."""
    match text.split():
        case ["!raise"]:
            raise ValueError("a line that cannot be read")
        case ["!die"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["!die-once", mark] if first(mark):
            os.kill(os.getpid(), signal.SIGKILL)
        case ["!supervisor-dies-once", mark] if first(mark):
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        case ["!wait-once", mark] if first(mark):
            time.sleep(60)
        case ["!hang"]:
            time.sleep(60)
        case ["!hog"]:
            held = []
            while True:  # 32 MB at a time, so that it is the watching that finds it and no single request
                held.append(np.ones(4 * 2**20))
        case ["!leap"]:
            bytearray(2**38)


def first(mark: str) -> bool:
    """Whether nobody was here before."""
    if Path(mark).exists():
        return False
    Path(mark).write_text(str(os.getpid()))
    return True


def scatter(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Lines of a count, to the bucket of their words."""
    table = pa.concat_tables([desk.table(url) for url in desk.inputs])
    write_buckets(desk.path("buckets.parquet"), table, table["words"].to_numpy() % BUCKETS, BUCKETS)
    return {"rows": len(table)}


def gather(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """All words of a bucket."""
    table = read_bucket(desk.inputs, config["bucket"], ["words"])
    pq.write_table(table, desk.path("sum.parquet"))
    return {"rows": len(table), "words": int(np.sum(table["words"].to_numpy()))}


def nothing(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A function that forgets to write."""
    desk.path("promised.parquet")
    return {}


def hog(desk: Desk, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Hold more and more, at no record."""
    suffer("!hog")
    return {}
