"""How units are run: where, how many at a time, and what each worker may cost. Nothing here changes what a unit writes."""

import os
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from scratchlm.core.config import Settings

RETRIES = 2
"""Times that a lost unit is tried again, each in a fresh process."""
Event = Callable[..., None]
"""Told what happened, as ``Journal.event`` is: a kind and facts."""


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine(Settings):
    """Settings of the engine; two that differ in any of them leave the same bytes, unless a record was too much for one of them."""

    kind: Literal["local", "ray"] = "local"
    """Small processes on this machine, or tasks of a Ray cluster that runs already."""
    workers: int = Field(default_factory=cores, ge=0)
    """Units at a time on this machine; 0 works them in this process, without its protections. Ray counts its own processors."""
    memory_bytes: int = Field(default=1_500_000_000, ge=100_000_000)
    """Resident memory that one worker may hold; above it is stopped."""
    record_seconds: float = Field(default=120.0, gt=0)
    """A worker that stays longer at one record hangs."""
    silent_seconds: float = Field(default=3600.0, gt=0)
    """The same for work between records: sorting, joining, writing."""
    recycle: int = Field(default=32, ge=1)
    """Units after which a worker makes room for a fresh one, so that what a library leaks does not add up."""
    quarantine_share: float = Field(default=0.001, ge=0, le=1)
    """Of the records that may be left out because workers died on them; more fails the unit or the job."""
    quarantine_least: int = Field(default=10, ge=0)
    """As many may always be left out, however few records there are."""
    retry: bool = False
    """Do units again that left records out, when a worker may now have more memory or time."""
    address: str | None = None
    """Of the Ray cluster, ``host:port``; None leaves it to Ray, which reads RAY_ADDRESS."""
    forward: tuple[str, ...] = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")
    """Environment variables that Ray's workers get; whoever may look at the cluster reads their values, so no secret is among them."""

    @property
    def told(self) -> str:
        """Who works, and what each may cost, for people."""
        if self.kind == "local" and not self.workers:
            return "this process alone, without a limit of its memory"
        who = "tasks of the Ray cluster" if self.kind == "ray" else f"{self.workers} workers"
        return f"{who}, each of at most {self.memory_bytes / 1e9:g} GB, and {self.record_seconds:g} s for a record"

    def allows(self, skipped: int, records: int) -> bool:
        """Whether that many of ``records`` may be left out."""
        return skipped <= max(self.quarantine_least, self.quarantine_share * records)


def ignore(*told: Any, **facts: Any) -> None:
    """Hear of something and do nothing."""
