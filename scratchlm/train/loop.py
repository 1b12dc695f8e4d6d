"""The one loop: pre-training, fine-tuning, preference tuning and reinforcement differ in where items come from and what is asked.

Sums first, one division by the step's global weight. Schedules and sample order are pure functions of the step.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from scratchlm.core import seeds
from scratchlm.core.errors import CheckFailed, MemoryShort, ScratchError, Stopped
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Attend, Every, Facts, Item, ModelInputs
from scratchlm.model.attention import packed
from scratchlm.parallel.layout import AXES, ROWS, SEEN
from scratchlm.parallel.precision import Precision
from scratchlm.parallel.world import World
from scratchlm.train import stop
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.forward import Forward, Made, plainly
from scratchlm.train.meter import Meter
from scratchlm.train.state import TrainState

SKIPS_IN_A_ROW = 16
"""After so many a run is not learning any more, and says so."""


@runtime_checkable
class Objective(Protocol):
    """What is asked of the model, in two parts, so that plain, sharded and pipelined steps run the same one."""

    def inputs(self, item: Any) -> ModelInputs: ...

    def loss(self, x_BTD: Tensor, item: Any) -> tuple[Tensor, Facts]:
        """The SUM of losses over the item's weights, and numbers to log, sums as well."""
        ...


@dataclass(frozen=True)
class Probe:
    """Something measured or shown while training; its facts become an event of its name."""

    name: str
    every: Every
    measure: Callable[[TrainState], dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """How far and how fast."""

    steps: int
    factor: Callable[[int], float]
    """Of the peak learning rate, by step."""
    precision: Precision
    keeper: Keeper
    clip: float | None = 1.0
    """Gradient norm above which gradients are scaled down."""
    attend: Callable[[Tensor], Attend] = packed
    """How positions of packed rows see each other, given their segments."""
    forward: Forward = plainly
    """How a micro-batch goes through the model."""
    meter: Meter | None = None
    """What tells the share of the machine's peak."""
    falls: bool = False
    """Whether the loss must fall, as a likelihood's does, so that one that rises for good is said."""
    shared: bool = False
    """Whether items are this process's share already, as where they are costly to make; else each process takes its own."""


Items = Callable[[int], Sequence[Item]]
"""What a step learns from: a pure function of its number (and, in reinforcement, of the model). Micro-batches are cut from it here."""


def fit(state: TrainState, items: Items, objective: Objective, plan: Plan, probes: tuple[Probe, ...], journal: Journal) -> None:
    """Train ``state`` up to ``plan.steps``, from wherever it stands."""
    world = state.crew.world
    with stop.listening() as wish:
        while state.step < plan.steps:
            started = time.perf_counter()
            rows = state.rows_at_once
            given = items(state.step)
            facts = update(state, given, objective, plan)
            if state.rows_at_once != rows:
                message = f"memory was short: {state.rows_at_once} rows at once from here on"
                journal.event("smaller", rows=state.rows_at_once, message=message)
            state.step += 1
            facts |= _pace(facts["tokens"], time.perf_counter() - started, [objective.inputs(item) for item in given], plan, world)
            state.tokens += facts.pop("tokens")
            journal.event("step", step=state.step, tokens=state.tokens, **facts)
            journal.progress("train", state.step, plan.steps, "steps", loss=facts["loss"], tokens_per_s=facts["tokens_per_s"])
            _complain(state, facts, plan, journal)
            for probe in probes:
                if probe.every.due(state.step, plan.steps):
                    journal.event(probe.name, step=state.step, tokens=state.tokens, **_measured(probe, state, facts["loss"]))
            stopped = world.sum(float(wish.stop), *AXES) > 0
            if plan.keeper.due(state.step) or stopped:
                plan.keeper.save(state)
            if stopped:
                raise Stopped(
                    f"stopped after step {state.step} of {plan.steps}; a checkpoint was written. The same command goes on from here."
                )


def update(state: TrainState, items: Sequence[Item], objective: Objective, plan: Plan) -> dict[str, Any]:
    """One step: gradients of all micro-batches, one division, the guard's verdict, one change."""
    lr, world = state.set_lr(plan.factor(state.step)), state.crew.world
    own = items if plan.shared else [state.crew.own(item, len(objective.inputs(item).tokens_BT)) for item in items]
    weight = world.sum(sum(item.weight for item in own), *SEEN)  # over every rank and micro-batch of this step
    loss_sum, sums = accumulated(state, own, objective, plan, scale=1 / max(weight, 1e-9))
    tokens = sum(item.tokens for item in own) if state.crew.has_loss else 0
    totals = world.sums([loss_sum, float(tokens), *sums.values()], *SEEN, "pipeline")
    loss, *means = (total / max(weight, 1e-9) for total in (totals[0], *totals[2:]))
    norm = clipped_norm(state, plan.clip)
    reason = "no position of the step has weight" if weight == 0 else state.guard.verdict(loss, norm)
    if reason is None:
        _change(state)
    elif state.scaler is not None:
        state.scaler.update()
    for optimizer in state.optimizers:
        optimizer.zero_grad(set_to_none=True)
    state.crew.forget()
    facts = {"loss": loss, "lr": lr, "grad_norm": norm, "weight": weight, "tokens": int(totals[1])}
    return facts | dict(zip(sums, means, strict=True)) | ({"skipped": reason} if reason else {})


def accumulated(state: TrainState, items: Sequence[Item], objective: Objective, plan: Plan, *, scale: float) -> tuple[float, Facts]:
    """Every parameter's gradient over all of the step, times ``scale``; the loss SUM and the facts' sums come back.

    Where memory runs out the step is begun again with half as many rows at once: the sum is the same, but for the order of its terms.
    """
    world = state.crew.world
    while True:
        try:
            torch.manual_seed(seeds.derive(state.seed, "dropout", step=state.step, rank=world.rank))
            state.model.train()
            parts = [part.to(torch.device(world.device)) for whole in items for part in whole.split(state.rows_at_once)]
            sums = (piped if state.crew.pipe else one_by_one)(state, parts, objective, plan, scale)
            state.crew.settle()
            return sums
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        for parameter in state.model.parameters():
            parameter.grad = None
        rows = min(state.rows_at_once, max(len(objective.inputs(item).tokens_BT) for item in items))
        if rows == 1:
            raise MemoryShort("training: memory does not hold a step of one row. Set a smaller model or a shorter model.context.")
        if not world.alone:
            raise MemoryShort(f"training: memory does not hold {rows} rows at once. Set rows_at_once={rows // 2}, or another parallel.")
        state.rows_at_once = rows // 2


def one_by_one(state: TrainState, parts: Sequence[Item], objective: Objective, plan: Plan, scale: float) -> tuple[float, Facts]:
    """The gradients of micro-batches, one after another."""
    loss_sum, sums = 0.0, Counter[str]()
    for number, item in enumerate(parts, start=1):
        state.crew.announce(number == len(parts))
        part, facts = backward(state, item, objective, plan.precision, scale=scale, attend=plan.attend, forward=plan.forward)
        loss_sum += part
        sums.update({name: float(value) for name, value in facts.items()})
    return loss_sum, dict(sums)


def piped(state: TrainState, parts: Sequence[Item], objective: Objective, plan: Plan, scale: float) -> tuple[float, Facts]:
    """The same in a pipeline, where several are under way at once; the loss SUM is known at its end only, 0 elsewhere."""
    losses: dict[int, float] = {}

    def lost(made: Made, number: int) -> Tensor:
        (x_BTD, zero), item = made, parts[number]
        with plan.precision.autocast():
            loss, _ = objective.loss(x_BTD, item)
        losses[number] = float(loss.detach())
        return (loss + item.weight * zero) * scale

    assert state.crew.pipe is not None
    given = [objective.inputs(item) for item in parts]
    state.crew.pipe.step([(each.tokens_BT, each.positions_BT, each.segments_BT) for each in given], lost)
    return sum(losses.values()), {}


def out_of_memory(error: RuntimeError) -> bool:
    """Whether ``error`` says that memory is short, on a GPU or beside it."""
    said = ("allocate memory", "out of memory", "not enough memory")  # on Linux, Apple's GPUs, Windows
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in said)


def backward(
    state: TrainState,
    item: Item,
    objective: Objective,
    precision: Precision,
    *,
    scale: float,
    attend: Callable[[Tensor], Attend] = packed,
    forward: Forward = plainly,
) -> tuple[float, Facts]:
    """Add one micro-batch's gradients, times ``scale``; its loss SUM and facts come back."""
    inputs = objective.inputs(item)
    with precision.autocast():
        x_BTD, zero = state.crew.made(inputs, attend, forward)
        wished = item.weight * zero  # the gradient of a model's own wishes, as strong as the mean loss; the loss stays the loss
        loss, facts = objective.loss(x_BTD, item)
    scaled = (loss + wished) * scale
    (scaled if state.scaler is None else state.scaler.scale(scaled)).backward()
    return float(loss.detach()), facts


def clipped_norm(state: TrainState, clip: float | None) -> float:
    """The global gradient norm before clipping; gradients are scaled down in place where it is above ``clip``."""
    if state.scaler is not None:
        for optimizer in state.optimizers:
            state.scaler.unscale_(optimizer)
    norm = math.sqrt(state.crew.squares())
    if clip is not None and norm > clip:
        torch._foreach_mul_([part.own.grad for part in state.parts if part.own.grad is not None], clip / norm)  # pyright: ignore[reportPrivateImportUsage]
    return norm


def _change(state: TrainState) -> None:
    for optimizer in state.optimizers:
        if state.scaler is None:
            optimizer.step()
        else:
            state.scaler.step(optimizer)
    if state.scaler is not None:
        state.scaler.update()


def _measured(probe: Probe, state: TrainState, loss: float) -> dict[str, Any]:
    """What a probe finds; where it fails on a model whose loss is no number either, the rates are to blame."""
    try:
        return probe.measure(state)
    except ScratchError:
        if math.isfinite(loss):
            raise
        raise _broken(state) from None


def _broken(state: TrainState) -> CheckFailed:
    peak = state.optimizers[0].param_groups[0]["peak_lr"]
    return CheckFailed(
        f"training: by step {state.step} the weights are broken, and no loss is a number: the steps before were too large. "
        f"Set rates of the optimizer well below those of now (its lr is {peak:g}), or a longer schedule.warmup."
    )


def _pace(tokens: int, seconds: float, given: Sequence[ModelInputs], plan: Plan, world: World) -> dict[str, float]:
    found = {"seconds": round(seconds, 4), "tokens_per_s": round(tokens / seconds, 1)}
    if plan.meter is None:
        return found
    share = plan.meter.share((inputs.tokens_BT.shape for inputs in given), seconds)
    return found | {"mfu": round(world.sum(share, *ROWS) if plan.shared else share, 4)}


def _complain(state: TrainState, facts: dict[str, Any], plan: Plan, journal: Journal) -> None:
    peak = state.optimizers[0].param_groups[0]["peak_lr"]
    if plan.falls and (risen := state.guard.risen()):
        raise CheckFailed(
            f"training: it diverges. By step {state.step} {risen}, at a learning rate of {facts['lr']:.3g}. "
            f"Set an optimizer.lr well below {peak:g}, such as {peak / 4:.2g}, or a longer schedule.warmup."
        )
    if "skipped" not in facts:
        return
    if not math.isfinite(facts["loss"]) and state.guard.first is None:
        raise CheckFailed(
            f"training: the loss is {facts['loss']} at step {state.step} already, before anything was learned. "
            f"Set dtype to float32 (it is {plan.precision.dtype}), or look at the weights that it starts from."
        )
    if not math.isfinite(facts["loss"]):
        broken = not all(bool(part.own.isfinite().all()) for part in state.parts)
        if state.crew.world.sum(float(broken), *AXES):  # weights that are elsewhere, too
            raise _broken(state)
    journal.event("skipped", step=state.step, reason=facts["skipped"], message=f"step {state.step} changed nothing: {facts['skipped']}")
    if state.guard.in_a_row >= SKIPS_IN_A_ROW:
        raise CheckFailed(
            f"training: {SKIPS_IN_A_ROW} steps in a row were skipped, the last at step {state.step} ({facts['skipped']}). "
            f"Set an optimizer.lr below {peak:g}, or look at the data of these steps."
        )
