"""How the work of a step is divided among processes: one number for each way to divide it; their product is the number of processes."""

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from scratchlm.core.config import Settings
from scratchlm.core.errors import UsageError

AXES = ("pipeline", "replicate", "expert", "shard", "context", "tensor")
"""Of the mesh, the outermost first: neighbours along ``tensor`` talk most and should sit in one machine."""
ROWS = ("replicate", "expert", "shard")
"""Along these a step's rows are shared out."""
SEEN = (*ROWS, "context")
"""Along these processes see other positions, of other rows or of the same."""
WEIGHTS = ("expert", "shard", "context")
"""Along these weights are cut and gathered again; those of experts that a rank keeps to itself not along ``expert``."""
SCHEDULES = Literal["gpipe", "1f1b", "interleaved", "zero_bubble"]


class Layout(Settings):
    """Who computes what. As it stands, all processes there are share weights, gradients and optimizer states out (ZeRO-3)."""

    replicate: int = Field(default=1, ge=1)
    """Groups that hold the same and see other rows; with shard=1 that is plain data parallelism."""
    shard: int | None = Field(default=None, ge=1)
    """Processes that see other rows and keep a part each of what ``zero`` says; None: as many as the other numbers leave."""
    zero: Literal[1, 2, 3] = 3
    """What is cut: 1 optimizer states; 2 gradients too; 3 weights too, which come by blocks (Rajbhandari et al. 2019, arXiv:1910.02054)."""
    tensor: int = Field(default=1, ge=1)
    """Processes that share each matrix out, and between matrices the positions. Shoeybi et al. 2019, arXiv:1909.08053."""
    context: int = Field(default=1, ge=1)
    """Processes that share the positions of each row out."""
    context_by: Literal["gather", "ulysses"] = "gather"
    """How they see each other: all keys and values come to every process, or each gets some heads of all positions (arXiv:2309.14509)."""
    expert: int = Field(default=1, ge=1)
    """Processes that see other rows and keep some experts each; positions travel to theirs. Lepikhin et al. 2020, arXiv:2006.16668."""
    pipeline: int = Field(default=1, ge=1)
    """Processes that keep some layers each, one behind the other."""
    schedule: SCHEDULES = "1f1b"
    """In which order these go forth and back. Narayanan et al. 2021, arXiv:2104.04473; Qi et al. 2023, arXiv:2401.10241."""
    spans: int | None = Field(default=None, ge=1)
    """Stretches of layers of each process of the pipeline; None: 1, or 2 where the schedule takes several."""
    recompute: Literal["none", "selective", "full"] = "none"
    """What of a block is computed again on the way back: nothing, all but products and attention, or everything."""
    offload: bool = False
    """Keep weights and optimizer states in the processor's memory (GPUs only)."""
    gathered: Literal["float32", "bfloat16"] = "float32"
    """Dtype in which cut weights travel and are used; what stands between blocks has it, too, so bfloat16 is for half precision only."""
    reduced: Literal["float32", "bfloat16"] = "float32"
    """Dtype in which gradients travel and are summed."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Seconds after which a process that waits for another gives up."""

    @model_validator(mode="after")
    def _goes_together(self) -> "Layout":
        if self.schedule in ("gpipe", "1f1b") and self.spans not in (None, 1):
            raise ValueError(f"schedule '{self.schedule}' takes one stretch of layers for each process; leave spans out")
        if self.schedule in ("interleaved", "zero_bubble") and self.spans == 1:
            raise ValueError(f"schedule '{self.schedule}' takes several stretches of layers for each process; set spans to 2 or more")
        if self.schedule == "zero_bubble" and self.spans not in (None, 2):
            raise ValueError("schedule 'zero_bubble' takes two stretches of layers for each process, one from either end; leave spans out")
        return self

    @property
    def spans_each(self) -> int:
        """Stretches of layers of each process of the pipeline."""
        return self.spans or (1 if self.schedule in ("gpipe", "1f1b") or self.pipeline == 1 else 2)

    def sizes(self, processes: int) -> Mapping[str, int]:
        """How many processes stand along each axis; UsageError where so many processes cannot be divided so."""
        given = {axis: getattr(self, axis) for axis in AXES}
        fixed = math.prod(size for size in given.values() if size is not None)
        if self.shard is None and processes % fixed == 0:
            return given | {"shard": processes // fixed}
        if self.shard is None or fixed != processes:
            told = " x ".join(f"{axis} {size}" for axis, size in given.items() if size not in (None, 1)) or "one process"
            instead = f"a multiple of {fixed}" if self.shard is None else str(fixed)
            raise UsageError(f"parallel: {told} take {instead} processes, and there are {processes}. Start so many, or change parallel.")
        return given


ALONE = Layout()
