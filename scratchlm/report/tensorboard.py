"""The journal as TensorBoard reads it: scalars by step, samples as text; no torch and no background thread.

Each record is written and closed at once, so a kill loses at most one. A resumed run writes a file of its own, whose first record tells
TensorBoard from which step on the older file no longer counts. Records are framed here: TensorBoard's own writer brings most of
TensorBoard along, and what it finds installed to reach object stores, a quarter of a second in every run.
"""

import functools
import struct
from pathlib import Path
from typing import Any

# Generated modules: their names appear only when they run, so pyright cannot see them.
from tensorboard.compat.proto.event_pb2 import Event as Record  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.compat.proto.types_pb2 import DT_STRING  # pyright: ignore[reportAttributeAccessIssue]
from tensorboard.plugins.text import metadata

from scratchlm.core.journal import Event, View

GROUPS = {"step": "train", "validation": "validation"}
NO_FACTS = ("event", "time", "stage", "step", "seconds")
CASTAGNOLI = 0x82F63B78
"""The polynomial of CRC-32C, its bits reversed (RFC 3720, section 12.1)."""


def tensorboard_view(directory: Path) -> View:
    """A view that writes every step, validation and sample below ``directory``; nothing is left open between two events."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"events.out.tfevents.{len(list(directory.glob('events.out.tfevents.*'))):06d}"

    def write(event: Event) -> None:
        values = _values(event)
        if not values:
            return
        step, seconds = int(event["step"]), float(event["time"])
        records = [] if path.exists() else _opening(step, seconds)
        records.append(Record(step=step, wall_time=seconds, summary=Summary(value=values)))
        with path.open("ab") as file:
            for record in records:
                file.write(framed(record.SerializeToString()))

    return write


def framed(data: bytes) -> bytes:
    """A record of a TFRecord file: its length, the length's checksum, itself, its own checksum."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(crc32c(length))) + data + struct.pack("<I", masked(crc32c(data)))


def masked(checksum: int) -> int:
    """As TFRecord stores it, so that the checksum of data that holds checksums stays a good one: turned by 15 bits, plus a constant."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The cyclic redundancy check of iSCSI: the remainder of a division in which no digit is carried."""
    remainder, table = 0xFFFFFFFF, _remainders()
    for byte in data:
        remainder = table[(remainder ^ byte) & 0xFF] ^ remainder >> 8
    return remainder ^ 0xFFFFFFFF


@functools.cache
def _remainders() -> tuple[int, ...]:
    """Of each byte."""
    table = list(range(256))
    for _ in range(8):
        table = [value >> 1 ^ CASTAGNOLI * (value & 1) for value in table]
    return tuple(table)


def _opening(step: int, seconds: float) -> list[Any]:
    start = SessionLog(status=SessionLog.START)
    return [Record(wall_time=seconds, file_version="brain.Event:2"), Record(wall_time=seconds, step=step, session_log=start)]


def _values(event: Event) -> list[Any]:
    if event["event"] == "sample":
        return [_text(f"{event['prompt']}{event['text']}")]
    group = GROUPS.get(event["event"])
    if group is None:
        return []
    facts = {name: value for name, value in event.items() if name not in NO_FACTS and isinstance(value, int | float)}
    return [Summary.Value(tag=f"{group}/{name}", simple_value=value) for name, value in facts.items()]


def _text(text: str) -> Any:
    tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    return Summary.Value(tag="samples", metadata=metadata.create_summary_metadata("samples", ""), tensor=tensor)
