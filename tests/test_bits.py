"""Bits per byte: every token counts once, in whatever company, and a model that knows nothing pays log2 of its vocabulary."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCAB, logits, tiny

from scratchlm.batches.shards import Encoded, Layout, open_split, write_split
from scratchlm.evals import bits
from scratchlm.evals.bits import Windows, bits_of_documents, bits_per_byte, cut
from scratchlm.evals.preference import margins
from scratchlm.losses.likelihood import token_logprobs
from scratchlm.model.architectures import Model
from scratchlm.parallel.precision import Precision

FLOAT32 = Precision("float32")
CONTEXT = 16
LENGTHS = [5, 40, 1, 0, 16, 17, 15, 33, 2, 7]
"""Ids of each document behind its separator: shorter than a context, as long, longer."""


def windows(path: Path, lengths: list[int] = LENGTHS, **limits: Any) -> Windows:
    """Documents of random ids, three bytes to the token."""
    generator = torch.Generator().manual_seed(3)
    texts = [torch.randint(VOCAB - 1, (length,), generator=generator).tolist() for length in lengths]
    documents = [Encoded(f"{n:032x}", ids, "test", bytes=3 * len(ids)) for n, ids in enumerate(texts)]
    write_split(path / "test", documents, Layout("tokenizer", VOCAB - 1, VOCAB, 1000, seed=1))
    return bits.windows(open_split(path, "test"), CONTEXT, **limits)


def silent() -> Model:
    """A model to which every token is as likely as every other."""
    model = tiny("qwen3")
    with torch.no_grad():
        model.head.weight.zero_()  # pyright: ignore[reportOptionalMemberAccess]
    return model


@given(st.integers(1, 120), st.integers(2, 17))
@settings(max_examples=80, deadline=None)
def test_every_token_but_the_separator_is_predicted_once(length: int, context: int):
    parts = list(cut(list(range(length)), context))
    predicted = [id for ids, mask in parts for id, marked in zip(ids, mask, strict=True) if marked]
    assert predicted == list(range(1, length))
    assert all(len(ids) <= context + 1 for ids, _ in parts)
    assert not any(mask[0] for _, mask in parts)


@given(st.integers(20, 120), st.integers(4, 17))
@settings(max_examples=40, deadline=None)
def test_every_later_token_is_predicted_from_half_a_context_at_least(length: int, context: int):
    for ids, mask in list(cut(list(range(length)), context))[1:]:
        assert mask.index(True) >= context // 2
        assert all(after == before + 1 for before, after in pairwise(ids))


def test_the_windows_of_a_split_hold_all_of_its_tokens(tmp_path: Path):
    found = windows(tmp_path)
    predicted = [sum(mask) for _, mask in found.encoded]
    per_document = [sum(count for count, owner in zip(predicted, found.owners, strict=True) if owner == n) for n in range(len(LENGTHS))]
    assert sorted(per_document) == sorted(LENGTHS)
    assert [3 * count for count in per_document] == found.bytes


def test_fewer_tokens_are_the_first_documents(tmp_path: Path):
    everything, some = windows(tmp_path), windows(tmp_path, most_tokens=50)
    assert some.encoded == everything.encoded[: len(some.encoded)]
    assert 50 <= sum(some.bytes) / 3 + len(some.bytes) < 50 + max(LENGTHS) + 1
    assert len(windows(tmp_path, most_tokens=1).bytes) == 1


@pytest.mark.parametrize("most", [2, 20, 47, 48, 10_000])
def test_a_long_document_is_cut_where_the_tokens_are_enough_and_its_bytes_in_proportion(most: int, tmp_path: Path):
    whole, some = windows(tmp_path, most_tokens=most), windows(tmp_path, most_tokens=most, decode=lambda ids: "abc" * len(ids))
    predicted = sum(sum(mask) for _, mask in some.encoded)
    assert predicted + len(some.bytes) == min(most, sum(LENGTHS) + len(LENGTHS))
    assert [3 * predicted, len(some.bytes)] == [sum(some.bytes), len(whole.bytes)]
    given = [id for ids, mask in some.encoded for id, marked in zip(ids, mask, strict=True) if marked]
    assert given == [id for ids, mask in whole.encoded for id, marked in zip(ids, mask, strict=True) if marked][: len(given)]


def test_a_model_that_knows_nothing_pays_the_logarithm_of_its_vocabulary(tmp_path: Path):
    found = windows(tmp_path)
    costs = bits_of_documents(silent(), found, FLOAT32, pad=0)
    assert costs == pytest.approx([size / 3 * math.log2(VOCAB) for size in found.bytes])
    measured = bits_per_byte(costs, found)
    assert measured.value == pytest.approx(math.log2(VOCAB) / 3)
    assert measured.n == len(LENGTHS) - 1  # a document without text has no bytes to pay for


def test_a_document_costs_the_same_in_whatever_company(tmp_path: Path):
    found, model = windows(tmp_path), tiny("swift")
    together = bits_of_documents(model, found, FLOAT32, pad=0)
    for document in range(len(found.bytes)):
        own = [ids for ids, owner in zip(found.encoded, found.owners, strict=True) if owner == document]
        alone = Windows(own, [0] * len(own), [found.bytes[document]])
        assert bits_of_documents(model, alone, FLOAT32, pad=0) == pytest.approx([together[document]], rel=1e-5)


def test_a_short_document_costs_what_the_plain_formula_says(tmp_path: Path):
    found, model = windows(tmp_path, [9]), tiny("qwen3")
    (ids, _), tokens_BT = found.encoded[0], torch.tensor([found.encoded[0][0]])
    logprobs_BT = token_logprobs(logits(model, tokens_BT[:, :-1]), tokens_BT[:, 1:])
    assert len(ids) == 10
    assert bits_of_documents(model, found, FLOAT32, pad=0) == pytest.approx([-float(logprobs_BT.detach().sum()) / math.log(2)], rel=1e-5)


def test_padding_and_progress_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found, model = windows(tmp_path), tiny("minillm").train()
    before = bits_of_documents(model, found, FLOAT32, pad=0)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(bits, "POSITIONS", 3 * CONTEXT)
    after = bits_of_documents(model, found, FLOAT32, pad=5, progress=lambda done, total: told.append((done, total)))
    assert after == pytest.approx(before, rel=1e-5)
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_margin_is_the_difference_of_two_answers():
    model = tiny("qwen3")
    chosen, rejected = ([1, 2, 5, 7], [False, False, True, True]), ([1, 2, 9], [False, False, True])
    (margin,) = margins(model, [(chosen, rejected)], FLOAT32, pad=0)
    (back,) = margins(model, [(rejected, chosen)], FLOAT32, pad=0)
    scores_TV = logits(model, torch.tensor([[1, 2, 5, 7]])).log_softmax(-1)[0].detach()
    assert margin == pytest.approx(float(scores_TV[1, 5] + scores_TV[2, 7] - scores_TV[1, 9]), rel=1e-4)
    assert back == pytest.approx(-margin, rel=1e-5)


def test_many_pairs_are_measured_in_their_order(monkeypatch: pytest.MonkeyPatch):
    from scratchlm.evals import preference

    pairs = [(([1, n], [False, True]), ([1, n + 1], [False, True])) for n in range(2, 9)]
    whole = margins(tiny("qwen3"), pairs, FLOAT32, pad=0)
    monkeypatch.setattr(preference, "PAIRS", 3)
    assert margins(tiny("qwen3"), pairs, FLOAT32, pad=0) == pytest.approx(whole, rel=1e-5)
    assert margins(tiny("qwen3"), [], FLOAT32, pad=0) == []


def test_a_character_without_an_id_costs_what_naming_it_would(tmp_path: Path):
    found, model = windows(tmp_path, [9]), tiny("qwen3")
    unknown = found.encoded[0][0][-1]
    times = found.encoded[0][0][1:].count(unknown)
    (plain,), (charged,) = (bits_of_documents(model, found, FLOAT32, pad=0, unknown=each) for each in (None, unknown))
    assert charged - plain == pytest.approx(times * math.log2(0x110000))
