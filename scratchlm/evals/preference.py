"""Which of two answers does a model find likelier?"""

from collections.abc import Sequence

import torch

from scratchlm.batches.chat import Encoded, PreferenceBatch, preference_batch
from scratchlm.losses.likelihood import token_logprobs
from scratchlm.losses.preference import PairLogprobs
from scratchlm.model import attention
from scratchlm.model.architectures import Model
from scratchlm.parallel.precision import Precision
from scratchlm.train.objectives import answer_logprobs

PAIRS = 32


def pair_logprobs(model: Model, batch: PreferenceBatch, precision: Precision) -> PairLogprobs:
    """Summed log-probabilities of both answers of every pair, in nats."""
    rows = batch.rows.to(next(model.parameters()).device)
    model.eval()
    with precision.autocast():
        x_BTD = model.features(rows.inputs.tokens_BT, rows.inputs.positions_BT, attention.packed(rows.inputs.segments_BT))
        return answer_logprobs(token_logprobs(model.logits(x_BTD), rows.targets_BT), rows.weights_BT)


def margins(model: Model, pairs: Sequence[tuple[Encoded, Encoded]], precision: Precision, *, pad: int) -> list[float]:
    """Log-probability of the chosen answer minus that of the rejected one, for each pair, in nats."""
    found: list[float] = []
    for start in range(0, len(pairs), PAIRS):
        with torch.inference_mode():
            scores = pair_logprobs(model, preference_batch(pairs[start : start + PAIRS], pad=pad), precision)
        found += (scores.chosen_P - scores.rejected_P).tolist()
    return found
