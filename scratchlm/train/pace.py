"""How many tokens a second? Some steps of the one loop, with a model as a run would have it, before the run begins."""

import statistics
import tempfile
import time
from pathlib import Path

from scratchlm.core.artifact import Draft
from scratchlm.core.errors import MemoryShort
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Batch
from scratchlm.model.architectures import AnyConfig, Drawn
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.choose import SHARE, free_bytes, least_bytes
from scratchlm.train.loop import Plan, out_of_memory, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.session import Session
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState

SECONDS, STEPS = 1.5, 5
"""How long, and how many steps, are timed at least, after a first one."""


def tokens_per_s(shape: AnyConfig, config: Training, batch: Batch, *, device: str, tokens: int) -> float:
    """Of steps on ``batch``, in the way that is the fastest here for a run on ``tokens``; 0 where memory does not hold one row."""
    if least_bytes(shape, config.optimizer) > SHARE * free_bytes(device):
        return 0.0
    try:
        return batch.tokens / statistics.median(steps(shape, config, batch, tokens))
    except MemoryShort:
        return 0.0
    except RuntimeError as error:
        if out_of_memory(error):
            return 0.0
        raise


def steps(shape: AnyConfig, config: Training, batch: Batch, tokens: int) -> list[float]:
    """Seconds of some steps."""
    with tempfile.TemporaryDirectory() as folder:
        session = Session.open(Draft(Path(folder)), config, Journal(), Drawn(shape, config.seed), tokens=tokens, rows=len(batch.targets_BT))
        state = TrainState.begin(session.model, config.optimizer, seed=config.seed, scaler=session.precision.scaler(), crew=session.crew)
        state.rows_at_once = session.rows_at_once
        plan = Plan(1, lambda _: 0.0, session.precision, Keeper(Path(folder)), config.clip, session.attend, session.forward)
        objective = NextToken(session.model)
        update(state, [batch], objective, plan)
        begun, taken = time.perf_counter(), list[float]()
        while len(taken) < STEPS or time.perf_counter() - begun < SECONDS:
            started = time.perf_counter()
            update(state, [batch], objective, plan)
            taken.append(time.perf_counter() - started)
    return taken
