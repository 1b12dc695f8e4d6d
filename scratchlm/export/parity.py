"""Does another runtime compute what we compute? The exported directory is read by transformers, where that is installed."""

import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

RELATIVE = 1e-5
"""Both sides add float32 products in different orders: observed differences are near 1e-6 of the largest logit."""


@dataclass(frozen=True)
class Answer:
    """What went in and what came out, greedily."""

    prompt: list[int]
    text: str


@dataclass(frozen=True)
class Readings:
    """What transformers makes of the directory."""

    logits: list[Tensor]
    """``logits_TV`` of each row."""
    answers: list[Answer]


def installed() -> bool:
    """Whether transformers can be imported."""
    return importlib.util.find_spec("transformers") is not None


def read_by_transformers(directory: Path, rows: Sequence[Sequence[int]], prompts: Sequence[str], *, chats: bool, most: int) -> Readings:
    """Logits of ``rows`` in float32, and the greedy answer to each prompt (or its continuation), at most ``most`` tokens long."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # its deprecations are no business of whoever exports a model
        options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "eager", "local_files_only": True}
        model = transformers.AutoModelForCausalLM.from_pretrained(directory, **options).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
        logits = [model(torch.tensor([list(row)])).logits[0] for row in rows]
        return Readings(logits, [_answer(model, tokenizer, prompt, chats=chats, most=most) for prompt in prompts])


def largest_difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """Largest difference of two logits, as a part of the largest logit (of 1 where all are smaller)."""
    scale = max(1.0, *(float(logits_TV.abs().max()) for logits_TV in ours))
    return max(float((a_TV - b_TV).abs().max()) for a_TV, b_TV in zip(ours, theirs, strict=True)) / scale


def _answer(model: Any, tokenizer: Any, prompt: str, *, chats: bool, most: int) -> Answer:
    if chats:
        message = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"]
    else:
        ids = [tokenizer.pad_token_id, *tokenizer(prompt)["input_ids"]]
    most = min(most, model.config.max_position_embeddings - len(ids))
    given = torch.tensor([ids])
    made = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=most, do_sample=False)
    return Answer(list(ids), tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True))
