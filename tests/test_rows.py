"""Rows of tokens: a pure function of seed and step, each token at most once in an epoch, targets one place ahead."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCAB, tiny

from scratchlm.batches.rows import TokenRows, in_pieces, shuffled
from scratchlm.batches.shards import Encoded, Layout, Shard, Shards, open_split, write_split
from scratchlm.core.errors import DataError
from scratchlm.core.tensors import positions_of
from scratchlm.model.attention import packed

END = 999


def shards_of(path: Path, lengths: list[int], *, shard_tokens: int = 60) -> Shards:
    """Documents whose tokens all differ, in shards that the rows do not respect."""
    documents, first = [], 0
    for number, length in enumerate(lengths):
        documents.append(Encoded(f"{number:032x}", list(range(first, first + length)), "test", bytes=length))
        first += length
    write_split(path / "train", documents, Layout("tokenizer", END, 1000, shard_tokens, seed=1))
    return open_split(path, "train")


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return shards_of(tmp_path, [7, 30, 1, 0, 55, 12, 40, 3, 90, 21])


def in_memory(tokens: int) -> Shards:
    """One document of ``tokens`` tokens."""
    ids = np.arange(tokens, dtype=np.uint16)
    return Shards((Shard(ids, np.zeros(1, np.int64)),), np.array([0, tokens]), np.zeros(1, np.int64), np.array([tokens]))


def test_a_batch_is_a_function_of_seed_and_number(shards: Shards):
    one, same = (TokenRows(shards, context=16, rows=3, seed=4) for _ in range(2))
    ahead = [one.batch(number).inputs.tokens_BT for number in (9, 0, 5)]
    assert all(torch.equal(found, same.batch(number).inputs.tokens_BT) for found, number in zip(ahead, (9, 0, 5), strict=True))
    other = TokenRows(shards, context=16, rows=3, seed=5)
    assert not torch.equal(other.batch(0).inputs.tokens_BT, ahead[1])


def test_targets_are_the_inputs_one_place_ahead(shards: Shards):
    batch = TokenRows(shards, context=16, rows=3, seed=4).batch(2)
    assert batch.inputs.tokens_BT.shape == batch.targets_BT.shape == batch.weights_BT.shape == (3, 16)
    assert torch.equal(batch.inputs.tokens_BT[:, 1:], batch.targets_BT[:, :-1])
    assert (batch.weight, batch.tokens) == (48, 48)


def test_positions_restart_and_segments_change_where_a_document_begins(shards: Shards):
    rows = TokenRows(shards, context=16, rows=4, seed=4)
    for number in range(5):
        inputs = rows.batch(number).inputs
        begins_BT = inputs.tokens_BT[:, 1:] == END
        assert torch.equal(begins_BT, inputs.positions_BT[:, 1:] == 0)
        assert torch.equal(begins_BT, inputs.segments_BT[:, 1:] != inputs.segments_BT[:, :-1])
        grows = inputs.positions_BT[:, 1:] - inputs.positions_BT[:, :-1] == 1
        assert torch.equal(~begins_BT, grows)
        assert (inputs.positions_BT[:, 0] == 0).all()


@pytest.mark.parametrize("tokens", [900, 150])  # within an epoch, and over four of them
@pytest.mark.parametrize(("first", "last", "piece"), [(0, 3, 4), (3, 6, 8)])
def test_shorter_rows_at_first_are_pieces_of_the_same_rows_mixed(first: int, last: int, piece: int, tokens: int):
    plain, grown = (TokenRows(in_memory(tokens), context=16, rows=4, seed=4, warmup=warmup) for warmup in (0, 6))
    rows = [start for number in range(first, last) for start in plain.starts(number)]
    pieces = [start for number in range(first, last) for start in grown.starts(number)]
    for epoch in range(5):
        some = [place for place in range(len(rows)) if (4 * first + place) // plain.rows_per_epoch == epoch]
        dealt = [start for place in some for start in pieces[place * 16 // piece :][: 16 // piece]]
        assert sorted(dealt) == sorted(rows[place] + at for place in some for at in range(0, 16, piece))
    if tokens == 900:
        within = [{row for row in rows if any(row <= start < row + 16 for start in grown.starts(number))} for number in range(first, last)]
        assert min(map(len, within)) > 4  # a step sees more places than it has rows
    batches = [grown.batch(number) for number in range(first, last)]
    for batch, number in zip(batches, range(first, last), strict=True):
        assert batch.inputs.tokens_BT.shape == (4, 16)
        assert torch.equal(batch.inputs.positions_BT, torch.arange(16).expand(4, 16) % piece)
        assert torch.equal(batch.inputs.segments_BT, torch.arange(16).expand(4, 16) // piece)
        everything = grown.shards.window(0, tokens)[0]
        seen = [everything[start : start + piece + 1] for start in grown.starts(number)]
        assert batch.inputs.tokens_BT.flatten().tolist() == [int(token) for each in seen for token in each[:-1]]
        assert batch.targets_BT.flatten().tolist() == [int(token) for each in seen for token in each[1:]]


def test_after_the_warm_up_rows_are_as_without_one(shards: Shards):
    plain, grown = (TokenRows(shards, context=16, rows=3, seed=4, warmup=warmup) for warmup in (0, 3))
    for number in range(3, 8):
        assert grown.starts(number) == plain.starts(number)
        assert torch.equal(grown.batch(number).inputs.segments_BT, plain.batch(number).inputs.segments_BT)


def test_documents_have_borders_within_pieces_too(shards: Shards):
    rows = TokenRows(shards, context=16, rows=3, seed=4, warmup=4)
    for number in range(4):
        inputs = rows.batch(number).inputs
        begins_BT = (torch.arange(16) % (4 if number < 2 else 8) == 0) | (inputs.tokens_BT == END)
        assert torch.equal(begins_BT, inputs.positions_BT == 0)
        assert torch.equal(begins_BT[:, 1:], inputs.segments_BT[:, 1:] != inputs.segments_BT[:, :-1])


def test_a_model_makes_of_pieces_what_it_makes_of_rows_as_short():
    model = tiny("qwen3")
    tokens_BT, none_BT = torch.randint(0, VOCAB, (2, 16)), torch.zeros(2, 16, dtype=torch.long)
    segments_BT = in_pieces(none_BT, 4)
    long_BTD = model.features(tokens_BT, positions_of(segments_BT), packed(segments_BT))
    short_BTD = model.features(tokens_BT.view(8, 4), torch.arange(4).expand(8, 4), packed(none_BT.view(8, 4)))
    torch.testing.assert_close(long_BTD.view_as(short_BTD), short_BTD)


def test_a_row_says_where_it_was_cut(shards: Shards):
    rows = TokenRows(shards, context=16, rows=3, seed=4)
    everything = shards.window(0, shards.tokens)[0]
    for row, start in zip(rows.batch(3).inputs.tokens_BT, rows.starts(3), strict=True):
        assert row.tolist() == everything[start : start + 16].tolist()


@given(st.integers(40, 400), st.integers(2, 12), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_an_epoch_shows_each_row_once_and_leaves_out_two_rows_at_most(tokens: int, context: int, seed: int):
    rows = TokenRows(in_memory(tokens), context=context, rows=1, seed=seed)
    for epoch in range(2):
        found = [rows.starts(number)[0] for number in range(epoch * rows.rows_per_epoch, (epoch + 1) * rows.rows_per_epoch)]
        assert len(set(found)) == len(found)
        assert len({start % context for start in found}) == 1
        assert min(found) >= 0
        assert max(found) + context + 1 <= tokens
        assert tokens - context * len(found) <= 2 * context + 1


def test_epochs_differ_in_order_and_in_where_rows_begin():
    rows = TokenRows(in_memory(500), context=8, rows=1, seed=0)
    epochs = [[rows.starts(epoch * rows.rows_per_epoch + place)[0] for place in range(rows.rows_per_epoch)] for epoch in range(6)]
    assert len({tuple(epoch) for epoch in epochs}) == 6
    assert len({epoch[0] % 8 for epoch in epochs}) > 1
    assert all(epoch != sorted(epoch) for epoch in epochs)


def test_a_shuffle_is_a_permutation():
    order = shuffled(50, 3)
    assert sorted(order.tolist()) == list(range(50))
    assert order.tolist() == shuffled(50, 3).tolist() != shuffled(50, 4).tolist()


@pytest.mark.parametrize("tokens", [1, 17, 50])
def test_too_little_text_is_told_with_its_numbers(tokens: int):
    found = max(0, (tokens - 1) // 16 - 1)
    with pytest.raises(DataError, match=rf"{tokens} tokens give {found} rows of 16, one step takes 3\. Give more text, or set a smaller"):
        TokenRows(in_memory(tokens), context=16, rows=3, seed=0)


def test_a_context_that_cannot_be_cut_is_refused():
    with pytest.raises(DataError, match="a context of 30 cannot be cut in four"):
        TokenRows(in_memory(900), context=30, rows=3, seed=0, warmup=1)
    assert TokenRows(in_memory(900), context=30, rows=3, seed=0).batch(0).tokens == 90


def test_just_enough_text_is_enough():
    rows = TokenRows(in_memory(4 * 16 + 1), context=16, rows=3, seed=0)
    assert rows.rows_per_epoch == 3
    assert [rows.batch(number).tokens for number in range(3)] == [48, 48, 48]
