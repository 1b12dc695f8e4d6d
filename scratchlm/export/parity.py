"""Does another runtime compute what we compute? The exported directory is read by transformers and MLX, where they are installed."""

import importlib
import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scratchlm.core.artifact import Draft
from scratchlm.core.errors import CheckFailed
from scratchlm.core.journal import Journal
from scratchlm.export import agreement, huggingface
from scratchlm.export.agreement import Ours

RELATIVE = 1e-5
"""Both sides add float32 products in different orders: observed differences are near 1e-6 of the largest logit."""


@dataclass(frozen=True)
class Readings:
    """What transformers makes of the directory."""

    logits: list[Tensor]
    """``logits_TV`` of each row."""
    prompts: Mapping[str, list[int]]
    """The ids of each prompt."""
    answers: Mapping[str, list[int]]
    """What it says to our ids, greedily."""


def installed() -> bool:
    """Whether transformers can be imported."""
    return importlib.util.find_spec("transformers") is not None


def check_transformers(draft: Draft, ours: Ours, journal: Journal) -> None:
    """Compare transformers' logits, prompts and greedy answers with ours; CheckFailed when they differ."""
    if not installed():
        journal.event("parity", run=False, reason="transformers is not installed: `pip install transformers`, then export with --again")
        draft.count(parity="not checked")
        return
    rows = ours.rows()
    window = ours.shape.get("window")
    if window is not None and len(rows[0]) < min(window + agreement.BEYOND, ours.shape["context"]):
        journal.event("parity", note=f"rows of {len(rows[0])} tokens are compared: that its window ends after {window} is not seen")
    theirs = read_by_transformers(draft.path / "hf", rows, ours)
    logits = [ours.logits(row) for row in rows]
    difference = largest_difference(logits, theirs.logits)
    must(difference, f"{draft.path}: the logits of transformers")
    agreement.check_prompts(ours, theirs.prompts, f"{draft.path}: transformers")
    bound = 2 * RELATIVE * max(1.0, agreement.largest(logits))
    equal = agreement.check_answers(ours, theirs.answers, f"{draft.path}: transformers", bound=bound)
    told = (
        f"transformers' logits differ from ours by at most {difference:.1e} of the largest; it reads {len(ours.prompts)} prompts as we do, "
        f"and {equal} answers are equal"
    )
    facts = {"largest_difference": difference, "limit": RELATIVE, "equal_answers": equal, "prompts": len(ours.prompts), "near": bound}
    journal.event("parity", run=True, reader="transformers", note=told, **facts)
    draft.count(largest_logit_difference=difference, equal_answers=equal, prompts=len(ours.prompts))


def check_mlx(draft: Draft, ours: Ours, journal: Journal) -> None:
    """Compare MLX's logits with ours, within the window that it does not know of; nothing is said where it is not installed."""
    if not mlx_installed():
        return
    window = ours.shape.get("window") if huggingface.is_mistral(ours.shape) else None
    rows = ours.rows(most=window or agreement.LENGTH)
    try:
        theirs = logits_by_mlx(draft.path / "hf", rows)
    except CheckFailed as error:
        journal.event("parity", run=False, reader="mlx", reason=str(error))
        return
    difference = largest_difference([ours.logits(row) for row in rows], theirs)
    told = f"MLX's logits differ from ours by at most {difference:.1e} of the largest"
    told += f"; it knows no window, so do not let it read more than {window} tokens" if window else ""
    journal.event("parity", run=True, reader="mlx", note=told, largest_difference=difference, limit=RELATIVE)
    draft.count(largest_logit_difference_mlx=difference)
    must(difference, f"{draft.path}: the logits of MLX")


def must(difference: float, what: str) -> None:
    """CheckFailed when logits differ by more than the order of sums explains."""
    if not difference <= RELATIVE:  # what is no number agrees with none
        found = f"differ from ours by {difference:.1e} of the largest, limit {RELATIVE:.0e}"
        raise CheckFailed(f"{what} {found}. Nothing was exported: that version of it computes another function. Try another version.")


def read_by_transformers(directory: Path, rows: Sequence[Sequence[int]], ours: Ours) -> Readings:
    """Logits of ``rows`` in float32, the ids of each prompt, and the greedy answer to ours."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # its deprecations are no business of whoever exports a model
        options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "eager", "local_files_only": True}
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, **options).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
        logits = [model(torch.tensor([list(row)])).logits[0] for row in rows]
        prompts = {prompt: _prompt(tokenizer, prompt, ours) for prompt in ours.prompts}
        answers = {prompt: _answer(model, ids, most=ours.room(ids)) for prompt, ids in ours.prompts.items()}
    return Readings(logits, prompts, answers)


def mlx_installed() -> bool:
    """Whether mlx-lm can be imported."""
    return importlib.util.find_spec("mlx_lm") is not None


def logits_by_mlx(directory: Path, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    """MLX's ``logits_TV`` of each row; CheckFailed when it cannot read the directory."""
    mlx: Any = importlib.import_module("mlx.core")
    mlx_lm: Any = importlib.import_module("mlx_lm")
    try:
        model = mlx_lm.load(str(directory))[0]
    except ValueError as error:
        reason = " ".join(str(error).split())[:100]
        raise CheckFailed(f"{directory}: MLX cannot read it ({reason}). Other readers can.") from None
    return [torch.tensor(model(mlx.array([list(row)])).tolist())[0] for row in rows]


def largest_difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Largest difference of two logits, as a part of the largest logit (of 1 where all are smaller); NaN where one is no number."""
    return agreement.largest([a_TV - b_TV for a_TV, b_TV in zip(ours, theirs, strict=True)]) / max(1.0, agreement.largest(ours))


def _prompt(tokenizer: Any, prompt: str, ours: Ours) -> list[int]:
    """The ids by the directory's own tokenizer and template; where it puts nothing before a text, what ours begin with."""
    if ours.chats:
        message = [{"role": "user", "content": prompt}]
        return list(tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"])
    ids = list(tokenizer(prompt)["input_ids"])
    return ids if ids[:1] == [tokenizer.bos_token_id] else [tokenizer.pad_token_id, *ids]


def _answer(model: Any, ids: Sequence[int], *, most: int) -> list[int]:
    given = torch.tensor([list(ids)])
    made = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=most, do_sample=False)
    return made[0, len(ids) :].tolist()
