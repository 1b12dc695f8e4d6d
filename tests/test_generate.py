"""Cached, batched generation says what the plain forward pass says, row by row, whoever stands beside it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCAB, logits, random_tokens, tiny
from torch.testing import assert_close

from scratchlm.core.errors import CheckFailed, UsageError
from scratchlm.core.records import Message
from scratchlm.generate import speaker as speakers
from scratchlm.generate.engine import Answer, Engine
from scratchlm.generate.sample import Sampling, choose
from scratchlm.generate.speaker import Piece, Speaker
from scratchlm.model.architectures import ARCHITECTURES, Model
from scratchlm.tokenizer import store as tokenizers

CONTEXT = 16
PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6, 5, 3], [5], [8, 9, 7, 9, 3, 2, 3, 8, 4, 6]]
FREE = Sampling(temperature=1.3, max_tokens=9, seed=2)
every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def engine(name: str = "qwen3", *, stop: frozenset[int] = frozenset(), context: int = CONTEXT) -> Engine:
    return Engine(tiny(name, dropout=0.2).train(), context, stop)


def plain_logprobs(model: Model, prompt: list[int], answer: Answer) -> list[float]:
    """Of each answered token, from one forward pass over everything and no cache."""
    ids = [*prompt, *answer.ids]
    with torch.no_grad():
        scores_TV = logits(model, torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    return [float(scores_TV[place - 1, ids[place]]) for place in range(len(prompt), len(ids))]


def plain_greedy(model: Model, prompt: list[int], most: int) -> list[int]:
    """The likeliest next token, one whole forward pass for each."""
    ids = list(prompt)
    while len(ids) < min(len(prompt) + most, CONTEXT):
        with torch.no_grad():
            ids.append(int(logits(model, torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@every_architecture
@pytest.mark.parametrize("sampling", [Sampling(max_tokens=9), FREE])
def test_what_the_cache_says_is_what_the_whole_pass_says(name: str, sampling: Sampling):
    speaks = engine(name)
    for prompt, answer in zip(PROMPTS, speaks.generate(PROMPTS, sampling), strict=True):
        # One position at a time, or all at once: the same float32 sums in another order.
        assert answer.logprobs == pytest.approx(plain_logprobs(speaks.model, prompt, answer), abs=2e-5)
        assert len(answer.ids) == min(9, CONTEXT - len(prompt))


@every_architecture
def test_prompts_of_different_lengths_do_not_disturb_each_other(name: str):
    speaks = engine(name)
    together = speaks.generate(PROMPTS, Sampling(max_tokens=9))
    for prompt, answer in zip(PROMPTS, together, strict=True):
        (alone,) = speaks.generate([prompt], Sampling(max_tokens=9))
        assert answer.ids == alone.ids == plain_greedy(speaks.model, prompt, 9)
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=2e-5)


@every_architecture
def test_a_row_draws_from_its_own_stream_whoever_stands_beside_it(name: str):
    speaks = engine(name)
    others = [[7, 7], *PROMPTS[1:3], [2, 2, 2, 2]]
    first, second = speaks.generate(PROMPTS, FREE), speaks.generate(others, FREE)
    assert [answer.ids for answer in first[1:3]] == [answer.ids for answer in second[1:3]]
    assert first[0].ids != second[0].ids


def test_the_same_prompt_in_two_rows_gives_two_answers_and_the_same_seed_the_same_two():
    speaks = engine()
    one, same = (speaks.generate([PROMPTS[0]] * 2, FREE) for _ in range(2))
    other = speaks.generate([PROMPTS[0]] * 2, FREE.model_copy(update={"seed": 3}))
    assert one[0].ids != one[1].ids
    assert one == same
    assert one != other


def test_a_row_that_stops_leaves_the_others_alone():
    free = engine().generate(PROMPTS, FREE)
    ends = free[1].ids[2]
    stopped = engine(stop=frozenset({ends})).generate(PROMPTS, FREE)
    for before, after in zip(free, stopped, strict=True):
        length = before.ids.index(ends) + 1 if ends in before.ids else len(before.ids)
        assert after.ids == before.ids[:length]
        assert after.finish == ("stop" if ends in before.ids else "length")
        assert after.logprobs == pytest.approx(before.logprobs[:length], abs=2e-5)
    assert len(stopped[1].ids) <= 3


@pytest.mark.parametrize(("prompt", "asked", "given"), [(3, 5, 5), (3, 13, 13), (3, 99, 13), (15, 99, 1)])
def test_an_answer_is_as_long_as_asked_or_as_the_context_allows(prompt: int, asked: int, given: int):
    (answer,) = engine().generate([[1] * prompt], Sampling(max_tokens=asked))
    assert (len(answer.ids), answer.finish) == (given, "length")


@pytest.mark.parametrize("length", [0, CONTEXT, CONTEXT + 9])
def test_a_prompt_that_leaves_no_room_is_refused(length: int):
    with pytest.raises(UsageError, match=rf"{length} tokens, but the model reads 1 to {CONTEXT - 1}"):
        engine().generate([[1], [1] * length], Sampling())


def test_tokens_come_one_by_one_and_the_caller_may_learn_in_between():
    speaks = engine()
    tokens = speaks.tokens([PROMPTS[0]], Sampling(max_tokens=4))
    first = next(tokens)
    assert not torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    logits(speaks.model, random_tokens(1, 5)).sum().backward()
    rest = list(tokens)
    assert [first.id, *(token.id for token in rest)] == speaks.generate([PROMPTS[0]], Sampling(max_tokens=4))[0].ids
    assert [token.finish for token in rest] == [None, None, "length"]


def test_two_conversations_may_take_turns():
    speaks, how = engine(), Sampling(max_tokens=6)
    one, other = (speaks.tokens([prompt], how) for prompt in PROMPTS[:2])
    heard = [[], []]
    for a, b in zip(one, other, strict=True):
        heard[0].append(a.id)
        heard[1].append(b.id)
    assert heard == [answer.ids for answer in speaks.generate(PROMPTS[:2], how)]
    assert not torch.is_inference_mode_enabled()


PROBABILITIES = [0.1, 0.4, 0.05, 0.25, 0.2]


def chosen(sampling: Sampling, *, draws: int = 400) -> dict[int, float]:
    """How often each token is chosen when the only randomness runs evenly from 0 to 1."""
    uniform_B = (torch.arange(draws) + 0.5) / draws
    logits_BV = torch.tensor(PROBABILITIES).log().expand(draws, 5) - 3.0  # only differences matter
    ids = choose(logits_BV, uniform_B, sampling).tolist()
    return {id: ids.count(id) / draws for id in sorted(set(ids))}


def test_free_sampling_has_the_models_own_probabilities():
    assert chosen(Sampling(temperature=1)) == pytest.approx(dict(enumerate(PROBABILITIES)), abs=1 / 400)


def test_greedy_is_the_likeliest():
    assert chosen(Sampling()) == {1: 1.0}
    assert chosen(Sampling(temperature=1, top_k=1)) == chosen(Sampling(temperature=1, top_p=0.01)) == {1: 1.0}


def test_temperature_sharpens_by_its_inverse_power():
    squares = [p**2 for p in PROBABILITIES]
    wanted = {id: square / sum(squares) for id, square in enumerate(squares)}
    assert chosen(Sampling(temperature=0.5)) == pytest.approx(wanted, abs=1 / 400)


def test_top_k_shares_among_the_k_likeliest():
    assert chosen(Sampling(temperature=1, top_k=2)) == pytest.approx({1: 0.4 / 0.65, 3: 0.25 / 0.65}, abs=1 / 400)
    assert chosen(Sampling(temperature=1, top_k=99)) == chosen(Sampling(temperature=1))


@pytest.mark.parametrize(("top_p", "kept"), [(0.39, [1]), (0.41, [1, 3]), (0.64, [1, 3]), (0.66, [1, 3, 4]), (1.0, [0, 1, 2, 3, 4])])
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: list[int]):
    total = sum(PROBABILITIES[id] for id in kept)
    wanted = {id: PROBABILITIES[id] / total for id in kept}
    assert chosen(Sampling(temperature=1, top_p=top_p)) == pytest.approx(wanted, abs=1 / 400)


def test_top_p_is_measured_after_top_k():
    assert list(chosen(Sampling(temperature=1, top_k=3, top_p=0.75))) == [1, 3]  # 0.47 + 0.29 of the 0.85 that is left


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=8), st.floats(0, 1, exclude_max=True), st.integers(1, 8), st.floats(0.01, 1)
)
@settings(max_examples=80, deadline=None)
def test_whatever_is_drawn_is_within_the_limits(scores: list[float], uniform: float, top_k: int, top_p: float):
    sampling = Sampling(temperature=0.7, top_k=top_k, top_p=top_p)
    (id,) = choose(torch.tensor([scores]), torch.tensor([uniform]), sampling).tolist()
    likelier = [score for score in scores if score > scores[id]]
    assert len(likelier) < top_k
    weights = [math.exp((score - max(scores)) / 0.7) for score in sorted(scores, reverse=True)[:top_k]]
    assert sum(weights[: len(likelier)]) < top_p * sum(weights) + 1e-9


def test_a_row_is_chosen_without_a_look_at_its_neighbours():
    logits_BV, uniform_B = torch.randn(6, VOCAB, generator=torch.Generator().manual_seed(1)), torch.linspace(0, 0.99, 6)
    how = Sampling(temperature=1, top_k=7, top_p=0.8)
    together = choose(logits_BV, uniform_B, how)
    assert_close(together, torch.cat([choose(logits_BV[row : row + 1], uniform_B[row : row + 1], how) for row in range(6)]))


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("scores", [[1.0, math.nan], [math.inf, 1.0], [-math.inf, -math.inf]])
def test_scores_without_a_largest_choose_nothing(scores: list[float], temperature: float):
    logits_BV = torch.tensor([[0.0, 1.0], scores])
    with pytest.raises(CheckFailed, match=r"generate: the model's scores are not finite numbers.*Take a model"):
        choose(logits_BV, torch.tensor([0.5, 0.5]), Sampling(temperature=temperature))
    assert choose(torch.tensor([[-math.inf, 1.0]]), torch.tensor([0.5]), Sampling(temperature=temperature)).tolist() == [1]


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0}, {"max_tokens": 0}])
def test_impossible_sampling_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)  # pyright: ignore[reportArgumentType]


BYTES = tokenizers.train("byte", [], size=259)


class Recital:
    """An engine that says what it is told to."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids

    def tokens(self, prompts, sampling):
        from scratchlm.generate.engine import Token

        for place, id in enumerate(self.ids):
            yield Token(0, id, -0.5, None if place < len(self.ids) - 1 else "stop" if id >= 256 else "length")


def byte_speaker(ids: list[int] | None = None, *, context: int = 64) -> Speaker:
    speaker = Speaker(tiny("qwen3", vocab=259, context=context), BYTES, "bytes")
    if ids is not None:
        vars(speaker)["engine"] = Recital(ids)
    return speaker


def heard(ids: list[int]) -> list[Piece]:
    return list(byte_speaker(ids).stream([1], Sampling()))


def test_characters_come_whole_though_their_bytes_come_one_by_one():
    text = "naïve 你好 🙂"
    pieces = heard([*text.encode(), BYTES.end_of_text])
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces[-5:]] == ["", "", "", "🙂", ""]
    assert [piece.finish for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_character_cut_off_by_the_end_is_shown_as_such(cut: int):
    ids = "ok 🙂".encode()[: 3 + cut]
    pieces = heard(list(ids))
    assert "".join(piece.text for piece in pieces) == ids.decode("utf-8", "replace")
    assert pieces[-1].finish == "length"


@given(st.lists(st.integers(0, 258), min_size=1, max_size=20))
@settings(max_examples=80, deadline=None)
def test_streamed_text_is_the_decoded_text(ids: list[int]):
    assert "".join(piece.text for piece in heard(ids)) == BYTES.decode(ids)


def test_a_stream_joins_to_the_reply():
    speaker, how = byte_speaker(), Sampling(temperature=2, max_tokens=30, seed=4)
    asked = [Message("user", "你好?")]
    pieces = list(speaker.stream(speaker.prompt_ids(asked), how))
    reply = speaker.reply(asked, how)
    assert reply.text == "".join(piece.text for piece in pieces)
    assert (reply.finish, reply.answer_tokens) == (pieces[-1].finish, len(pieces))
    assert reply.prompt_tokens == len(speaker.prompt_ids(asked))


def test_many_replies_keep_their_order_in_any_batches(monkeypatch: pytest.MonkeyPatch):
    speaker, how = byte_speaker(), Sampling(max_tokens=8)
    many = [[Message("user", "x" * (7 * number % 12))] for number in range(7)]
    together = speaker.replies(many, how)
    monkeypatch.setattr(speakers, "BATCH", 2)
    assert speaker.replies(many, how) == together == [speaker.reply(messages, how) for messages in many]
    assert [reply.prompt_tokens for reply in together] == [len(speaker.prompt_ids(messages)) for messages in many]
    assert speaker.replies([], how) == []


def test_a_speaker_stops_at_both_ends_of_speech_and_nowhere_else():
    ends = byte_speaker().engine.stop
    assert ends == {BYTES.end_of_text, BYTES.control["<|im_end|>"]}


def test_a_conversation_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="Shorten it"):
        byte_speaker().reply([Message("user", "x" * 64)], Sampling())


def test_a_row_that_has_ended_says_no_more():
    ended: set[int] = set()
    for token in engine().tokens(PROMPTS, FREE):
        assert token.row not in ended
        ended |= {token.row} if token.finish else set()
    assert ended == set(range(len(PROMPTS)))
