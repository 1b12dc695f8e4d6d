"""A unit on its way through losses: tried again, freed of the record that workers are lost at, or given up with one sentence.

Two workers lost at the same record prove that it is the record: it is left out, and the manifest says so.
"""

import errno
import os
from dataclasses import dataclass, field
from typing import Any

from scratchlm.core import errors
from scratchlm.units.desk import FULL
from scratchlm.units.engine import RETRIES, Engine, Event
from scratchlm.units.unit import Job

AT_ONE_RECORD = 2
"""Workers that a record may cost before it is left out."""
FINAL = {
    kind.__name__: kind
    for kind in (errors.ScratchError, errors.UsageError, errors.DataError, errors.ArtifactError, errors.CheckFailed, errors.Stopped)
}
"""What a work function raises to be believed at once; all else is tried again."""


@dataclass
class Case:
    """A job, the workers it has cost since a record was last left out, and the records left out."""

    job: Job
    engine: Engine
    event: Event
    lost: list[str] = field(default_factory=list)
    """Where each of them was; empty when at no record."""
    skip: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """How people are told of it."""
        return f"{self.job.unit.step} unit {self.job.id[:8]}"

    def lose(self, outcome: dict[str, Any], locator: str, records: int) -> None:
        """Make of a fault that the case may be tried again, or raise what ends it."""
        reason = outcome["reason"]
        if outcome["fault"] == FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), reason)
        if outcome["fault"] in FINAL:
            raise FINAL[outcome["fault"]](reason)
        self.lost.append(locator)
        self.event("unit lost", unit=self.name, reason=reason, locator=locator, attempt=len(self.lost), trace=outcome["trace"])
        if locator and self.lost.count(locator) == AT_ONE_RECORD:
            self._leave_out(locator, records, reason)
        elif len(self.lost) > RETRIES:
            at = f" at {' and '.join(shown)}" if (shown := [where for where in self.lost if where]) else ", never at a record"
            inputs = ", ".join(self.job.unit.inputs[:3]) or "none"
            raise errors.DataError(f"{self.name}: {len(self.lost)} workers were lost{at}; the last {reason}. Look at its inputs: {inputs}.")

    def _leave_out(self, locator: str, records: int, reason: str) -> None:
        self.skip.append(locator)
        self.lost.clear()
        self.event("quarantined", unit=self.name, locator=locator, reason=reason)
        if not self.engine.allows(len(self.skip), records):
            raise errors.DataError(
                f"{self.name}: workers were lost at {len(self.skip)} of the first {records} records, more than may be left out; the last "
                f"{reason}, at {locator}. Look at that record, or raise quarantine_least."
            )
