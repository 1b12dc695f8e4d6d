"""What llama.cpp makes of a GGUF file: its likeliest next tokens and its greedy answers, through `xllamacpp` where that is installed.

Keys and values are kept in float32 and attention is computed plainly: with its defaults, half precision and a fused attention,
log-probabilities move by some thousandths whatever the file says.
"""

import importlib
import importlib.util
import json
import math
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from scratchlm.core.errors import CheckFailed
from scratchlm.export import agreement

TOP = 5
"""Likeliest tokens compared at each position."""
EVERY = 8
"""Positions of a row that are passed over, for one is asked at a time."""


EXACT = 1e-4
"""Log-probabilities of float32 weights are equal to four decimals."""
RELATIVE = 1e-5
"""Of the largest logit, where that is more: both sides add float32 products in different orders."""
GELU = 5e-3
"""More than the table of ``by_table`` may show, however far it moves our own computation."""
TWICE = 2.0
"""How many times a rounding may show: of the weights, theirs and that of what flows between them; of a table, both sides of a step."""
WAY_OUT = "Nothing was exported; use --set export.formats=hf."
PATIENCE_S = 60
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class by_table(TorchFunctionMode):  # noqa: N801 - a context, written as one
    """Within it GELU is what llama.cpp computes: looked up in a table of half-precision numbers by a half-precision number.

    That is all that keeps a GPT-2 from being equal to four decimals there, so it is measured on our own model.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.gelu:
            return func(*args, **(kwargs or {}))
        x = args[0]
        looked_up = torch.ops.aten.gelu(x.half().float(), approximate="tanh").half().float()
        return torch.where(x <= -10, 0.0, torch.where(x >= 10, x, looked_up))


@dataclass(frozen=True)
class Comparison:
    """llama.cpp against our own computation with the same weights."""

    difference: float
    """Largest distance of two log-probabilities."""
    rounding: float
    """How far storing the weights as the file does moves our own, of the same tokens."""
    table: float
    """How far llama.cpp's table for GELU does; nothing where a model has none."""
    limit: float
    equal: int
    """Positions at which both find the same token the likeliest."""
    asked: int

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the limit: where either is no number, it is not."""
        return self.difference <= self.limit


def installed() -> bool:
    """Whether xllamacpp can be imported."""
    return importlib.util.find_spec("xllamacpp") is not None


class LlamaCpp:
    """A GGUF file, loaded by llama.cpp on one thread."""

    def __init__(self, file: Path, *, context: int) -> None:
        xllamacpp: Any = importlib.import_module("xllamacpp")
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx, params.n_parallel, params.warmup, params.verbosity = context, 1, False, -1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError as error:
            raise CheckFailed(f"{file}: llama.cpp could not load it ({error}). {WAY_OUT}") from None

    def likeliest(self, ids: Sequence[int], *, shown: int) -> list[tuple[int, float]]:
        """(id, log-probability) of the likeliest tokens after ``ids``, the likeliest first.

        The server leaves out a token whose text is half a character, so it is made to say ``shown``, one that has a text;
        the log-probabilities are those from before that.
        """
        asked = {"prompt": list(ids), "max_tokens": 1, "temperature": 0, "logprobs": TOP, "n_probs": TOP, "logit_bias": [[shown, 1e9]]}
        choice = self._ask(self._server.handle_completions, asked)["choices"][0]
        found = choice["logprobs"]["content"][0]["top_logprobs"]
        return [(each["id"], math.nan if each["logprob"] is None else each["logprob"]) for each in found]  # JSON has no word for NaN

    def prompt(self, text: str, *, chats: bool) -> list[int]:
        """The ids of a question by the file's own chat template and tokenizer, or of a text that is to be continued."""
        if chats:
            text = self._post("/apply-template", {"messages": [{"role": "user", "content": text}]})["prompt"]
        return self._post("/tokenize", {"content": text, "add_special": True, "parse_special": chats})["tokens"]

    def answer(self, ids: Sequence[int], *, most: int) -> list[int]:
        """The greedy answer, without the token that ended it."""
        asked = {"prompt": list(ids), "max_tokens": most, "temperature": 0, "return_tokens": True, "verbose": True}
        return self._ask(self._server.handle_completions, asked)["__verbose"]["tokens"]

    def _post(self, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What the server, which listens on this machine only, answers."""
        data = json.dumps(asked).encode()
        request = urllib.request.Request(self._server.listening_address + path, data, {"Content-Type": "application/json"})
        try:
            with DIRECT.open(request, timeout=PATIENCE_S) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as error:
            raise CheckFailed(f"llama.cpp refused {path}: {error}. {WAY_OUT}") from None

    def _ask(self, handle: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
        found = handle(dict(asked))
        found = json.loads(found) if isinstance(found, str) else found
        if "choices" not in found:
            raise CheckFailed(f"llama.cpp refused the question: {json.dumps(found)[:200]}. {WAY_OUT}")
        return found


def compared(
    theirs: LlamaCpp,
    rows: Sequence[Sequence[int]],
    ours: Sequence[Tensor],
    exact: Sequence[Tensor],
    read: Sequence[Tensor],
    *,
    shown: int,
) -> Comparison:
    """Every ``EVERY``th position of ``rows``, of a shorter row the last one.

    ``ours`` and ``exact`` are our ``logits_TV`` with the file's weights and with our own, ``read`` those of ``exact`` within ``by_table``.

    llama.cpp rounds what flows between the weights as the file rounds the weights, so it may move the log-probability of a likely token
    by as much as that rounding does, twice where errors meet, and by what float32 sums differ by.
    """
    differences: list[Tensor] = []
    roundings: list[Tensor] = []
    tables: list[Tensor] = []
    equal = 0
    for row, ours_TV, exact_TV, read_TV in zip(rows, ours, exact, read, strict=True):
        logprobs_TV = ours_TV.log_softmax(-1)
        moved_TV = (logprobs_TV - exact_TV.log_softmax(-1)).abs()
        looked_up_TV = (read_TV.log_softmax(-1) - exact_TV.log_softmax(-1)).abs()
        for length in range(min(EVERY, len(row)), len(row) + 1, EVERY):
            found = theirs.likeliest(row[:length], shown=shown)
            ids, logprobs = [id for id, _ in found], torch.tensor([logprob for _, logprob in found], dtype=torch.float64)
            roundings.append(moved_TV[length - 1, ids].max())
            tables.append(looked_up_TV[length - 1, ids].max())
            differences.append((logprobs_TV[length - 1, ids].double() - logprobs).abs().max())
            equal += ids[0] == int(ours_TV[length - 1].argmax())
    difference, rounding = agreement.largest(differences), agreement.largest(roundings)
    table = min(GELU, TWICE * agreement.largest(tables))
    limit = TWICE * rounding + max(EXACT, RELATIVE * agreement.largest(exact)) + table
    return Comparison(difference, rounding, agreement.largest(tables), limit, equal, len(differences))
