"""A GGUF file written and checked: its weights against ours, then llama.cpp's prompts, log-probabilities and answers against ours.

A file of rounded weights is checked twice. The same model is first written in float32, where nothing excuses a difference: that shows
that llama.cpp computes this function of these tensors. What the rounding may move is then measured on our own model with its weights.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from scratchlm.core.artifact import Draft
from scratchlm.core.errors import CheckFailed
from scratchlm.core.journal import Journal
from scratchlm.export import agreement, gguf, gguf_check, llama_cpp
from scratchlm.export.agreement import Ours
from scratchlm.export.gguf import Entry, Quantise
from scratchlm.export.llama_cpp import LlamaCpp

Logits = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True)
class Source:
    """What is written, and what it is called."""

    name: str
    model: gguf.Model
    words: gguf.Words
    shown: int
    """A token that has a text of its own."""
    with_weights: Callable[[Mapping[str, Tensor]], Logits]
    """Our computation with other weights in the place of ours."""


def write(draft: Draft, source: Source, ours: Ours, quantise: Quantise, journal: Journal) -> None:
    """The file, checked as far as what is installed allows; CheckFailed when it is not what it should be."""
    file = draft.path / "gguf" / f"{source.name}-{quantise}.gguf"
    file.parent.mkdir(exist_ok=True)
    asks, context = llama_cpp.installed(), gguf.context_of(source.model.shape)
    ours = replace(
        ours, shape={**ours.shape, "context": context}, prompts={p: ids for p, ids in ours.prompts.items() if len(ids) < context}
    )
    if asks and quantise != "f32":
        exact = file.with_name("exact.gguf")
        gguf.write(exact, source.model, source.words, name=source.name, quantise="f32")
        found, _ = check(exact, source, ours, ours.logits, exact=True)
        journal.event("gguf", note=f"before it is rounded, llama.cpp's log-probabilities differ from ours by {found.difference:.1e}")
        exact.unlink()
    entries = gguf.write(file, source.model, source.words, name=source.name, quantise=quantise)
    tell(file, entries, source, quantise, journal)
    draft.count(gguf_bytes=file.stat().st_size, gguf_tensors=len(entries))
    if not asks:
        journal.event("parity", run=False, reason="llama.cpp was not asked: `pip install xllamacpp`, then export with --again")
        draft.count(parity_gguf="not checked")
        return
    rounded = ours.logits if quantise == "f32" else source.with_weights(dict(gguf_check.rounded(file, entries, source.model)))
    found, equal = check(file, source, ours, rounded, exact=quantise == "f32")
    told = (
        f"llama.cpp's top {llama_cpp.TOP} log-probabilities differ from ours by at most {found.difference:.1e} (limit {found.limit:.1e}); "
        f"{found.equal} of {found.asked} likeliest tokens are equal; it reads {len(ours.prompts)} prompts as we do, and {equal} answers "
        "are equal"
    )
    told += f"; rounded weights move ours by {found.rounding:.1e}" if found.rounding else ""
    told += f"; its table for GELU, of half-precision numbers, moves ours by {found.table:.1e}" if found.table else ""
    facts = {"largest_difference": found.difference, "limit": found.limit, "rounding": found.rounding, "table": found.table}
    counts = {"equal_likeliest": found.equal, "likeliest": found.asked, "equal_answers": equal, "prompts": len(ours.prompts)}
    journal.event("parity", run=True, reader="llama.cpp", note=told, **facts, **counts)
    draft.count(largest_logprob_difference=found.difference, rounding_logprob_difference=found.rounding, equal_answers_gguf=equal)


def tell(file: Path, entries: Sequence[Entry], source: Source, quantise: Quantise, journal: Journal) -> None:
    """Read the file back and say how it stores the weights, and how far it may be read."""
    moved, shape = gguf_check.rounding(file, entries, source.model), source.model.shape
    told = "every weight is stored as it is" if quantise == "f32" else f"no weight moved by more than {moved:.4f} of the largest near it"
    journal.event("gguf", note=f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, {told}", moved=moved)
    if quantise == "q4_0" and any(entry.kind == "q8_0" for entry in entries):
        journal.event("gguf", note="the embedding and the head, which every token passes, have 8 bits a weight; the other matrices have 4")
    if unblocked := sum(entry.kind == "f16" for entry in entries) * quantise.startswith("q"):
        journal.event("gguf", note=f"{unblocked} tensors have rows that are no multiple of {gguf.BLOCK}: they are stored as f16")
    if (context := gguf.context_of(shape)) < shape["context"]:
        note = f"it reads {context} tokens, not {shape['context']}: beyond its window llama.cpp computes another function"
        journal.event("gguf", note=note)


def check(file: Path, source: Source, ours: Ours, rounded: Logits, *, exact: bool) -> tuple[llama_cpp.Comparison, int]:
    """llama.cpp against ``rounded``, ours with the weights as the file has them, and how many answers are equal.

    ``exact``: the weights are ours to the bit, so that answers must be equal but for near-ties.
    """
    context = gguf.context_of(source.model.shape)
    theirs = LlamaCpp(file, context=context)
    rows = ours.rows(most=min(agreement.LENGTH, context - 1))
    logits = [ours.logits(row) for row in rows]
    with llama_cpp.by_table():
        read = [ours.logits(row) for row in rows]
    found = llama_cpp.compared(theirs, rows, [rounded(row) for row in rows], logits, read, shown=source.shown)
    if not found.agrees:
        reason = f"differ from ours by {found.difference:.1e}, limit {found.limit:.1e}"
        raise CheckFailed(f"{file}: the log-probabilities of llama.cpp {reason}. {llama_cpp.WAY_OUT}")
    prompts = {prompt: theirs.prompt(prompt, chats=ours.chats) for prompt in ours.prompts}
    if not ours.chats and source.words.begin is None:
        prompts = {prompt: [ours.begin, *ids] for prompt, ids in prompts.items()}
    agreement.check_prompts(ours, prompts, f"{file}: llama.cpp")
    answers = {prompt: theirs.answer(ids, most=ours.room(ids)) for prompt, ids in ours.prompts.items()}
    bound = 2 * found.limit if exact else None
    return found, agreement.check_answers(ours, answers, f"{file}: llama.cpp", bound=bound)
