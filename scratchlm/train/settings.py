"""What every training stage can be told."""

from typing import Literal

from pydantic import Field

from scratchlm.core.config import FREE, Settings
from scratchlm.optim import OptimizerConfig, adamw
from scratchlm.optim.schedule import Cosine, ScheduleConfig
from scratchlm.parallel.layout import Layout


class Training(Settings):
    """The fields that every training stage has."""

    optimizer: OptimizerConfig = Field(default=adamw.Config(), discriminator="kind")
    schedule: ScheduleConfig = Field(default=Cosine(), discriminator="kind")
    clip: float | None = Field(default=1.0, gt=0)
    """Gradient norm above which gradients are scaled down; None: never."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where training runs; auto takes a GPU where there is one that computes what the processor computes."""
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float8"] = "auto"
    """Of matrix products; auto measures once whether bfloat16 is the faster one here. float8 is for large models on recent GPUs."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Save after every so many steps; None: only by minutes and on a stop."""
    checkpoint_minutes: float | None = Field(default=1.0, gt=0)
    """Save when so many minutes have passed; None: only by steps and on a stop."""
    rows_at_once: int | None = Field(default=None, ge=1)
    """Rows of a micro-batch; None: as many of the step's rows as memory holds."""
    seed: int = 0
    parallel: Layout = Field(default=Layout(), json_schema_extra=FREE)
    """How the processes that torchrun starts share the work; a run may go on with another division."""
