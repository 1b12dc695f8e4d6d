"""What is chosen by measuring, once, before the first step: dtype, way and rows at once."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError

from scratchlm.core.artifact import Draft
from scratchlm.core.config import Settings, with_sets
from scratchlm.core.errors import ArtifactError, UsageError
from scratchlm.core.journal import Journal
from scratchlm.model import architectures
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model
from scratchlm.parallel.float8 import UNIT, convert_
from scratchlm.parallel.layout import ROWS, WEIGHTS
from scratchlm.parallel.precision import Dtype, Precision, measured_speeds
from scratchlm.parallel.world import ONE, World
from scratchlm.train.choose import all_bytes, compiled_times, even_parts, least_bytes, own_rows_that_fit, rows_that_fit, times
from scratchlm.train.devices import chosen, peak_of
from scratchlm.train.settings import Training

DECISIONS = "decisions.json"
REMEDY = "Start it anew with --again."
ALONE_ONLY = ("float8", "float16")
"""Dtypes whose scales each process would choose for itself."""
LAYERS_TRIED = 2
"""Of a model that no process holds whole, when ways to compute it are timed."""


class Decisions(Settings):
    """Choices made by measuring, frozen before the first step and read again on resume."""

    device: str
    dtype: Dtype
    threads: int
    float32_gflops: float
    bfloat16_gflops: float
    peak_gflops: float
    """Of products in the dtype that was chosen, without casts: what a step's share is a share of."""
    way: str
    """A row of WAYS."""
    way_ms: dict[str, float]
    """Of each that was tried, for so many positions as ways are tried on."""
    compile_s: dict[str, float]
    """What torch.compile took for those that have it."""
    left_out: dict[str, str]
    """Why others were not tried, or did not pay."""
    rows_at_once: int
    """Of a micro-batch at most: what memory held."""
    sizes: Mapping[str, int] = ONE
    """Processes along each axis, among whom it did."""
    torch: str

    def told(self) -> str:
        """The choices in a line."""
        times = ", ".join(f"{name} {ms:.4g} ms" for name, ms in sorted(self.way_ms.items(), key=lambda each: each[1]))
        return f"{self.dtype} on {self.device} ({self.peak_gflops:,.0f} GFLOP/s) by {self.way} ({times}), {self.rows_at_once} rows at once"


def decided(
    config: Training, out: Draft, journal: Journal, model: Model, world: World, *, tokens: int | None, rows: int | None
) -> Decisions:
    """What the main process measures and chooses; all hear of it."""

    def measure() -> str:
        made = decide(config, model, journal, tokens=tokens, rows=rows, world=world)
        out.write_json(DECISIONS, json.loads(made.model_dump_json()))
        journal.event("decisions", **made.model_dump(), note=made.told())
        return made.model_dump_json()

    return Decisions.model_validate_json(world.told(world.only_main(measure)) or "")


def read_decisions(path: Path) -> Decisions:
    """What was decided when the run began; ArtifactError where another version of this program wrote it."""
    try:
        return Decisions.model_validate_json(path.read_bytes())
    except ValidationError:
        raise ArtifactError(f"{path}: not decisions that this version understands. {REMEDY}") from None


def decide(
    config: Training, model: Model, journal: Journal, *, tokens: int | None = None, rows: int | None = None, world: World | None = None
) -> Decisions:
    """Measure this machine; dtype, way and rows follow unless the recipe names them.

    ``tokens`` are those of the whole run, ``rows`` those of a step, where they are known: what takes long to try is tried only where
    ``tokens`` says that it can pay, and no more rows are computed at once than a step has. Where many processes share a model out, ways
    are tried on some of its layers.
    """
    world = world or World.start(device=chosen(config.device, journal))
    device, threads = world.device, torch.get_num_threads()
    if world.alone and (least := least_bytes(model.config, config.optimizer)) > (there := all_bytes(device)):
        raise UsageError(
            f"model: a step of one row takes {least / 1e9:,.1f} GB at least, and {device} has {there / 1e9:,.1f} GB here. "
            "Set a smaller model or a shorter model.context."
        )
    speeds = measured_speeds(device)
    dtype = speeds.faster if config.dtype == "auto" else config.dtype
    check_dtype(dtype, world)
    peak = peak_of(dtype, device, float32=speeds.float32)
    precision, tried = Precision(dtype, device), model if world.alone else small(model.config)
    if eights := prepare_(tried.to(device), dtype):
        journal.event("float8", note=f"{eights} matrices are multiplied in 8 bits where a micro-batch has a multiple of {UNIT} positions")
    found, left_out = times(tried, precision)
    if (reason := left_out.get("kernels")) and dtype == "bfloat16" and device == "cpu":
        journal.event("way", note=f"torch's own operations are taken: there are no kernels for this ({reason})")
    way = min(found, key=lambda name: found[name])
    at_once = rows_at_once(config, model.config, world, way=way, dtype=dtype, rows=rows)
    whole = rows is not None and rows <= at_once
    trial = compiled_times(tried, precision, found, rows=at_once, tokens=tokens or 0 if world.alone else 0, whole=whole)
    comparable = trial.ways_ms or found  # a trial is on the run's own rows, all others are on some
    found |= trial.ways_ms
    return Decisions(
        device=device,
        dtype=dtype,
        threads=threads,
        float32_gflops=round(speeds.float32, 1),
        bfloat16_gflops=round(speeds.bfloat16, 1),
        peak_gflops=round(peak, 1),
        way=min(comparable, key=lambda name: comparable[name]),
        way_ms=found,
        compile_s=trial.compile_s,
        left_out=left_out | trial.left_out,
        rows_at_once=at_once,
        sizes=world.sizes,
        torch=torch.__version__,
    )


def rows_here(decisions: Decisions, config: Training, shape: AnyConfig, world: World, rows: int | None) -> int:
    """Rows at once as they were decided; anew, by the main process, where a run goes on with another division."""
    if dict(decisions.sizes) == dict(world.sizes):
        return decisions.rows_at_once
    found = world.only_main(lambda: rows_at_once(config, shape, world, way=decisions.way, dtype=decisions.dtype, rows=rows))
    return world.told(found or 0)


def check_dtype(dtype: Dtype, world: World) -> None:
    """UsageError where these processes cannot compute in it."""
    if dtype in ALONE_ONLY and world.processes > 1:
        raise UsageError(f"dtype: {dtype} is for one process, and there are {world.processes}. Set dtype to bfloat16 or auto.")
    if dtype == "float32" and world.layout.gathered == "bfloat16" and world.size(*WEIGHTS) > 1:
        raise UsageError(
            "parallel.gathered: weights that come in bfloat16 are computed with in bfloat16, and dtype is float32. "
            "Set dtype=bfloat16, or parallel.gathered=float32."
        )


def rows_at_once(config: Training, shape: AnyConfig, world: World, *, way: str, dtype: Dtype, rows: int | None) -> int:
    """As many of a step's ``rows`` as memory holds, unless the recipe says how many; UsageError where processes cannot hold one each."""
    if config.rows_at_once:
        return config.rows_at_once
    if world.alone:
        return even_parts(rows, rows_that_fit(shape, config.optimizer, world.device, way=way))
    share = rows // world.size(*ROWS) if rows else rows
    return own_rows_that_fit(shape, config.optimizer, world, half=dtype != "float32", rows=share)


def small(config: AnyConfig) -> Model:
    """A model of the same shape with few layers."""
    return architectures.build(with_sets(config, [f"layers={min(config.layers, LAYERS_TRIED)}"]), seed=0)


def prepare_(model: Model, dtype: Dtype) -> int:
    """Let ``model`` multiply in 8 bits where that is the dtype; how many of its matrices do."""
    count = convert_(model, ARCHITECTURES[model.config.kind].SHARDING) if dtype == "float8" else 0
    if dtype == "float8" and not count:
        raise UsageError(f"dtype: float8 takes matrices with sides of multiples of {UNIT}, and this model has none. Set dtype to bfloat16.")
    return count
