"""Packed rows mean what the conversations mean: same pairs, apart from each other, each once an epoch."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.batches import chat
from scratchlm.batches.chat import ChatRows, Encoded, PreferenceRows, batch_of, packed, read_chats, read_preferences
from scratchlm.core.errors import DataError
from scratchlm.core.records import Conversation, Message, Preference
from scratchlm.core.tensors import Batch
from scratchlm.tokenizer import store

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=40)
PAD = 0
CONTEXT = 12


def encoded(prompt: int, answer: int, token: int = 7) -> Encoded:
    """A conversation of ``prompt`` untrained and ``answer`` trained tokens, every token its own."""
    return [100 * token + place for place in range(prompt + answer)], [False] * prompt + [True] * answer


CHATS = [encoded(1 + n % 4, 1 + n % 7, token=n + 1) for n in range(23)]
SHAPES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=20)


def pairs(batch: Batch) -> Counter:
    """(input, target, position) of everything that is asked."""
    inputs = batch.inputs
    asked = batch.weights_BT > 0
    columns = (inputs.tokens_BT[asked], batch.targets_BT[asked], inputs.positions_BT[asked])
    return Counter(zip(*(column.tolist() for column in columns), strict=True))


def rows(some: list[Encoded] = CHATS, *, context: int = CONTEXT, seed: int = 3) -> ChatRows:
    return ChatRows(some, context=context, rows_per_batch=2, seed=seed, pad=PAD)


def same(one: Batch, other: Batch) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in [
            (one.inputs.tokens_BT, other.inputs.tokens_BT),
            (one.inputs.segments_BT, other.inputs.segments_BT),
            (one.targets_BT, other.targets_BT),
            (one.weights_BT, other.weights_BT),
        ]
    )


@LAW
@given(shapes=SHAPES)
def test_a_packed_epoch_asks_what_the_conversations_ask(shapes: list[tuple[int, int]]):
    some = [encoded(prompt, answer, token=n + 1) for n, (prompt, answer) in enumerate(shapes)]
    stream = rows(some, context=20)
    together = batch_of([[stream.kept[item] for item in row] for row in stream.epoch(0)], length=20, pad=PAD)
    alone = batch_of([[one] for one in some], length=20, pad=PAD)
    assert pairs(together) == pairs(alone)


@LAW
@given(lengths=st.lists(st.integers(1, 10), min_size=1, max_size=40))
def test_best_fit_places_everything_once_and_overfills_nothing(lengths: list[int]):
    found = packed(lengths, 10)
    assert sorted(item for row in found for item in row) == list(range(len(lengths)))
    assert all(sum(lengths[item] for item in row) <= 10 for row in found)
    halves = [row for row in found if sum(lengths[item] for item in row) <= 5]
    assert len(halves) <= 1  # two of them would have been one


def test_best_fit_fills_the_fullest_row_that_has_room():
    assert packed([6, 7, 3, 4], 10) == [[0, 3], [1, 2]]


def test_a_row_by_hand():
    batch = batch_of([[([1, 2, 3], [False, True, True]), ([4, 5], [False, True])]], length=6, pad=9)
    assert batch.inputs.tokens_BT.tolist() == [[1, 2, 3, 4, 5, 9]]
    assert batch.targets_BT.tolist() == [[2, 3, 4, 5, 9, 9]]
    assert batch.weights_BT.tolist() == [[1, 1, 0, 1, 0, 0]]
    assert batch.inputs.segments_BT.tolist() == [[0, 0, 0, 1, 1, 2]]
    assert batch.inputs.positions_BT.tolist() == [[0, 1, 2, 0, 1, 0]]


def test_no_weight_falls_on_a_prompt_or_across_conversations():
    stream = rows()
    answers = {id for ids, mask in CHATS for id, on in zip(ids, mask, strict=True) if on}
    for step in range(stream.steps(2)):
        batch = stream.batch(step)
        asked = batch.weights_BT > 0
        assert set(batch.targets_BT[asked].tolist()) <= answers
        assert torch.equal(batch.inputs.tokens_BT[asked] // 100, batch.targets_BT[asked] // 100)


def test_a_segment_holds_one_conversation():
    batch = rows().batch(1)
    for tokens, segments in zip(batch.inputs.tokens_BT, batch.inputs.segments_BT, strict=True):
        for segment in segments.unique():
            assert len((tokens[segments == segment] // 100).unique()) == 1


def test_every_epoch_holds_every_conversation_once_in_another_order():
    stream = rows()
    epochs = [stream.epoch(epoch) for epoch in range(3)]
    assert all(sorted(item for row in epoch for item in row) == list(range(len(CHATS))) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_steps_walk_through_the_epochs():
    stream = rows()
    seen: Counter = Counter()
    for step in range(stream.steps(3)):
        seen += pairs(stream.batch(step))
    asked_once = pairs(batch_of([[one] for one in CHATS], length=CONTEXT, pad=PAD))
    assert all(seen[pair] >= 3 for pair in asked_once)
    assert seen.total() <= 3 * asked_once.total() + 2 * CONTEXT


def test_a_step_is_the_same_whoever_asks_for_it():
    walked = rows()
    batches = [walked.batch(step) for step in range(20)]
    assert all(same(rows().batch(step), batches[step]) for step in (0, 7, 19))
    assert same(walked.batch(2), batches[2])
    assert not same(rows(seed=4).batch(0), batches[0])


def test_long_conversations_are_cut_or_dropped_and_counted():
    stream = rows([encoded(2, 3), encoded(5, 30), encoded(CONTEXT + 1, 5), encoded(4, 0)])
    assert [len(ids) for ids, _ in stream.kept] == [5, CONTEXT + 1]
    assert (stream.cut, stream.dropped) == (1, 2)


def test_chats_without_answers_are_an_error():
    with pytest.raises(DataError, match="none of 1"):
        rows([encoded(4, 0)])


PAIRS = [(encoded(3, 1 + n % 3, token=n + 1), encoded(3, 2 + n % 4, token=50 + n)) for n in range(7)]


def preferences(some: list[tuple[Encoded, Encoded]] = PAIRS) -> PreferenceRows:
    return PreferenceRows(some, context=CONTEXT, pairs_per_batch=3, seed=3, pad=PAD)


def test_chosen_answers_come_first_and_rejected_ones_in_the_same_order():
    batch = preferences().batch(0)
    first = (batch.rows.inputs.tokens_BT[:, 0] // 100).tolist()
    assert [token - 49 for token in first[3:]] == first[:3]
    assert (batch.pairs, batch.weight, batch.tokens) == (3, 3.0, batch.rows.targets_BT.numel())


def test_a_pair_is_asked_as_if_alone():
    together = preferences().batch(0).rows
    alone = [batch_of([[side]], length=CONTEXT, pad=PAD) for pair in PAIRS for side in pair]
    assert pairs(together) <= sum((pairs(one) for one in alone), Counter())
    assert together.weights_BT.sum() == sum(pairs(together).values())


def test_every_pair_is_seen_once_an_epoch():
    stream = preferences()
    firsts = [token // 100 for step in range(7) for token in stream.batch(step).rows.inputs.tokens_BT[:3, 0].tolist()]
    assert stream.steps(3) == 7
    assert all(sorted(firsts[epoch * 7 : epoch * 7 + 7]) == list(range(1, 8)) for epoch in range(3))
    assert torch.equal(preferences().batch(5).rows.targets_BT, stream.batch(5).rows.targets_BT)


def test_pairs_that_do_not_fit_are_dropped_whole():
    stream = preferences([*PAIRS, (encoded(3, 2), encoded(3, CONTEXT))])
    assert (len(stream.kept), stream.dropped) == (len(PAIRS), 1)


def test_answers_inside_a_prompt_are_not_preferred():
    tokenizer = store.train("byte", [], size=259)
    prompt = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    chosen, rejected = chat.encode_preference(tokenizer, Preference(prompt, chosen="yes", rejected="no"))
    for (ids, mask), said in ((chosen, "yes"), (rejected, "no")):
        assert tokenizer.decode([id for id, on in zip(ids, mask, strict=True) if on]) == said
    assert len(chosen[0]) == len(rejected[0]) + 1


def file_of(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_chats_are_read_in_both_shapes(tmp_path: Path):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    file = file_of(tmp_path / "chats.jsonl", {"messages": messages}, "", {"prompt": "q", "completion": "a"})
    first, second = read_chats(file)
    assert first.messages == (Message("system", "s"), Message("user", "q"), Message("assistant", "a"))
    assert second == Conversation.ask("q", "a")


def test_pairs_are_read_with_text_or_messages(tmp_path: Path):
    plain = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    spoken = {
        "prompt": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    }
    first, second = read_preferences(file_of(tmp_path / "pairs.jsonl", plain, spoken))
    assert first == second == Preference((Message("user", "q"),), "good", "bad")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "a list where an object"),
        ({"text": "x"}, "'text'"),
        ({"messages": []}, "no list of objects"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "no role 'robot'"),
        ({"messages": [{"role": "user", "content": "x"}]}, "nothing to learn"),
        ({"messages": [{"role": "assistant", "content": [1]}]}, "not text"),
        ({"prompt": "q", "completion": " "}, "'completion'"),
    ],
)
def test_a_bad_chat_is_named_by_its_line(line: object, said: str, tmp_path: Path):
    file = file_of(tmp_path / "chats.jsonl", {"prompt": "q", "completion": "a"}, line)
    with pytest.raises(DataError, match=rf"chats\.jsonl:2: .*{said}"):
        list(read_chats(file))


@pytest.mark.parametrize(
    ("line", "said"), [({"prompt": "q", "chosen": "a"}, "'rejected'"), ({"prompt": "q", "chosen": 1, "rejected": "b"}, "'chosen'")]
)
def test_a_bad_pair_is_named_by_its_line(line: object, said: str, tmp_path: Path):
    with pytest.raises(DataError, match=rf"pairs\.jsonl:1: .*{said}"):
        list(read_preferences(file_of(tmp_path / "pairs.jsonl", line)))


def test_a_missing_file_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read"):
        list(read_chats(tmp_path / "none.jsonl"))
