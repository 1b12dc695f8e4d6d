"""Conversations as training rows: several to a row, kept apart, and only answers count.

Packing is best-fit (each conversation goes where it leaves the least room), over a new order in every epoch. Which rows a step sees
is a function of the seed and the step alone, so a run that resumes needs no other record. Chat files are read here too.
"""

import bisect
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scratchlm.core import seeds
from scratchlm.core.config import nearest
from scratchlm.core.errors import DataError
from scratchlm.core.records import Conversation, Message, Preference
from scratchlm.core.tensors import Batch, ModelInputs, positions_of
from scratchlm.tokenizer import template
from scratchlm.tokenizer.interface import Tokenizer

Encoded = tuple[list[int], list[bool]]
"""A conversation's ids, and for each whether it is trained on."""


def batch_of(rows: Sequence[Sequence[Encoded]], *, length: int, pad: int) -> Batch:
    """Rows of ``length`` inputs, each holding its conversations one after another and then ``pad`` as a segment of its own.

    A target weighs 1 where it is trained on and stands in the same conversation as its input, else 0.
    """
    tokens = torch.full((len(rows), length + 1), pad)
    trained = torch.zeros(len(rows), length + 1, dtype=torch.bool)
    segments = torch.zeros(len(rows), length + 1, dtype=torch.long)
    for row, conversations in enumerate(rows):
        place = 0
        for segment, (ids, mask) in enumerate(conversations):
            end = place + len(ids)
            tokens[row, place:end] = torch.tensor(ids)
            trained[row, place:end] = torch.tensor(mask)
            segments[row, place:end] = segment
            place = end
        segments[row, place:] = len(conversations)
    weights_BT = (trained[:, 1:] & (segments[:, 1:] == segments[:, :-1])).float()
    segments_BT = segments[:, :-1].contiguous()
    inputs = ModelInputs(tokens[:, :-1].contiguous(), positions_of(segments_BT), segments_BT)
    return Batch(inputs, tokens[:, 1:].contiguous(), weights_BT)


def packed(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best fit: which items share a row of ``capacity``; each goes to the row it fills most, or to a new one."""
    rows: list[list[int]] = []
    open_rows: list[tuple[int, int]] = []  # (room left, row), sorted
    for item, length in enumerate(lengths):
        found = bisect.bisect_left(open_rows, (length, 0))
        if found < len(open_rows):
            room, row = open_rows.pop(found)
            rows[row].append(item)
        else:
            room, row = capacity, len(rows)
            rows.append([item])
        if room > length:
            bisect.insort(open_rows, (room - length, row))
    return rows


class ChatRows:
    """An endless stream of packed rows, epoch after epoch; ``batch(step)`` is the step's share of it."""

    def __init__(self, encoded: Sequence[Encoded], *, context: int, rows_per_batch: int, seed: int, pad: int) -> None:
        fitted = [(ids[: context + 1], mask[: context + 1]) for ids, mask in encoded]
        self.kept = [one for one in fitted if any(one[1][1:])]
        self.dropped = len(fitted) - len(self.kept)
        """Conversations without an answer, or whose answer begins behind the row's end."""
        self.cut = sum(any(mask[1 : context + 1]) and any(mask[context + 1 :]) for _, mask in encoded)
        """Conversations whose last answer ends behind the row's end."""
        if not self.kept:
            raise DataError(f"chats: none of {len(encoded)} has an answer that begins within {context} tokens. Give shorter ones.")
        self._context, self._rows_per_batch, self._seed, self._pad = context, rows_per_batch, seed, pad
        self._ends = [0]  # rows in all epochs before each
        self._packed: dict[int, list[list[int]]] = {}

    def batch(self, step: int) -> Batch:
        """The rows of ``step``, counted from 0."""
        first = step * self._rows_per_batch
        rows = [self._row(number) for number in range(first, first + self._rows_per_batch)]
        return batch_of(rows, length=self._context, pad=self._pad)

    def steps(self, epochs: int) -> int:
        """Steps until every conversation was seen ``epochs`` times; the last one may look into the next epoch."""
        return -(-self._end_of(epochs - 1) // self._rows_per_batch)

    def epoch(self, epoch: int) -> list[list[int]]:
        """The rows of an epoch as numbers into ``kept``."""
        if epoch not in self._packed:
            shuffler = random.Random(seeds.derive(self._seed, "chat", epoch=epoch))
            order = shuffler.sample(range(len(self.kept)), len(self.kept))
            rows = packed([len(self.kept[item][0]) for item in order], self._context + 1)
            shuffler.shuffle(rows)  # best fit leaves the emptiest rows last
            self._packed = {near: self._packed[near] for near in (epoch - 1,) if near in self._packed}
            self._packed[epoch] = [[order[item] for item in row] for row in rows]
        return self._packed[epoch]

    def _end_of(self, epoch: int) -> int:
        """Rows in this epoch and all before it."""
        while len(self._ends) < epoch + 2:
            self._ends.append(self._ends[-1] + len(self.epoch(len(self._ends) - 1)))
        return self._ends[epoch + 1]

    def _row(self, number: int) -> list[Encoded]:
        while self._ends[-1] <= number:
            self._end_of(len(self._ends) - 1)
        epoch = bisect.bisect_right(self._ends, number) - 1
        return [self.kept[item] for item in self.epoch(epoch)[number - self._ends[epoch]]]


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches of rows of one length as one."""
    of = [part.inputs for part in parts]
    inputs = ModelInputs(*(torch.cat(each) for each in zip(*((i.tokens_BT, i.positions_BT, i.segments_BT) for i in of), strict=True)))
    return Batch(inputs, torch.cat([part.targets_BT for part in parts]), torch.cat([part.weights_BT for part in parts]))


@dataclass(frozen=True, slots=True)
class PreferenceBatch:
    """P pairs as one batch of 2P rows: the chosen answers first, the rejected ones in the same order behind them."""

    rows: Batch

    def to(self, device: torch.device) -> "PreferenceBatch":
        """The same on another device."""
        return PreferenceBatch(self.rows.to(device))

    def split(self, rows: int) -> "list[PreferenceBatch]":
        """Parts of at most so many rows, though never less than a pair."""
        pairs = max(1, rows // 2)
        return [self.taken(slice(first, first + pairs)) for first in range(0, self.pairs, pairs)]

    def taken(self, pairs: slice) -> "PreferenceBatch":
        """Some of the pairs."""
        chosen, rejected = self.rows.split(self.pairs)
        return PreferenceBatch(joined([chosen.taken(pairs), rejected.taken(pairs)]))

    @property
    def pairs(self) -> int:
        return len(self.rows.targets_BT) // 2

    @property
    def weight(self) -> float:
        return float(self.pairs)

    @property
    def tokens(self) -> int:
        return self.rows.tokens


class PreferenceRows:
    """An endless stream of pairs, shuffled anew in every epoch; ``batch(step)`` is the step's share of it."""

    def __init__(self, pairs: Sequence[tuple[Encoded, Encoded]], *, context: int, pairs_per_batch: int, seed: int, pad: int) -> None:
        # Never cut: the sum over half an answer is not the log-probability of the answer.
        self.kept = [pair for pair in pairs if all(len(ids) <= context + 1 and any(mask[1:]) for ids, mask in pair)]
        self.dropped = len(pairs) - len(self.kept)
        """Pairs with a side that is longer than a row or says nothing."""
        if not self.kept:
            raise DataError(f"pairs: none of {len(pairs)} fits into {context} tokens with both answers. Give shorter ones.")
        self._pairs_per_batch, self._seed, self._pad = pairs_per_batch, seed, pad
        self._order: tuple[int, list[int]] = (-1, [])

    def batch(self, step: int) -> PreferenceBatch:
        """The pairs of ``step``, counted from 0, padded to the longest of them."""
        first = step * self._pairs_per_batch
        pairs = [self._pair(number) for number in range(first, first + self._pairs_per_batch)]
        return preference_batch(pairs, pad=self._pad)

    def steps(self, epochs: int) -> int:
        """Steps until every pair was seen ``epochs`` times; the last one may look into the next epoch."""
        return -(-epochs * len(self.kept) // self._pairs_per_batch)

    def _pair(self, number: int) -> tuple[Encoded, Encoded]:
        epoch, place = divmod(number, len(self.kept))
        if self._order[0] != epoch:
            shuffler = random.Random(seeds.derive(self._seed, "pairs", epoch=epoch))
            self._order = (epoch, shuffler.sample(range(len(self.kept)), len(self.kept)))
        return self.kept[self._order[1][place]]


def preference_batch(pairs: Sequence[tuple[Encoded, Encoded]], *, pad: int) -> PreferenceBatch:
    """Both sides of each pair, each in a row of its own, as long as the longest needs."""
    rows = [[chosen] for chosen, _ in pairs] + [[rejected] for _, rejected in pairs]
    length = max(len(ids) for row in rows for ids, _ in row) - 1
    return PreferenceBatch(batch_of(rows, length=length, pad=pad))


def encode_preference(tokenizer: Tokenizer, preference: Preference) -> tuple[Encoded, Encoded]:
    """Both answers behind the same prompt; only they are trained on, not answers inside the prompt."""
    prompt = len(template.encode(tokenizer, preference.prompt)[0])
    sides = [
        template.encode(tokenizer, [*preference.prompt, Message("assistant", answer)])
        for answer in (preference.chosen, preference.rejected)
    ]
    chosen, rejected = [(ids, [place >= prompt and on for place, on in enumerate(mask)]) for ids, mask in sides]
    return chosen, rejected


def read_chats(path: Path) -> Iterator[Conversation]:
    """The conversations in a file of JSON lines: ``{"messages": [...]}`` or ``{"prompt": ..., "completion": ...}``."""
    for where, row in _lines(path):
        if "messages" in row:
            messages = _messages(row["messages"], where)
        elif {"prompt", "completion"} <= row.keys():
            messages = (*_prompt(row["prompt"], where), Message("assistant", _answer(row["completion"], where, "completion")))
        else:
            raise DataError(f"{where}: neither 'messages' nor 'prompt' and 'completion' are among {_names(row)}. Give one of the two.")
        if all(message.role != "assistant" for message in messages):
            raise DataError(f"{where}: no message is the assistant's, so there is nothing to learn. Add an answer.")
        yield Conversation(messages)


def read_preferences(path: Path) -> Iterator[Preference]:
    """The pairs in a file of JSON lines: ``{"prompt": ..., "chosen": ..., "rejected": ...}``."""
    for where, row in _lines(path):
        if missing := [name for name in ("prompt", "chosen", "rejected") if name not in row]:
            raise DataError(f"{where}: no '{missing[0]}' among {_names(row)}. Add it.")
        prompt = _prompt(row["prompt"], where)
        yield Preference(prompt, _answer(row["chosen"], where, "chosen"), _answer(row["rejected"], where, "rejected"))


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each line's place and object; blank lines are passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        if line.strip():
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where}: not JSON ({error}). Put one object on each line.") from None
            if not isinstance(row, dict):
                raise DataError(f"{where}: a {type(row).__name__} where an object should stand. Put one object on each line.")
            yield where, row


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(message, dict) for message in value):
        raise DataError(f"{where}: the messages are no list of objects with 'role' and 'content'. Write them so.")
    for message in value:
        if message.get("role") not in template.ROLES:
            raise DataError(f"{where}: no role {message.get('role')!r}.{nearest(str(message.get('role')), template.ROLES)}")
    return tuple(Message(message["role"], _said(message.get("content"), where, "content")) for message in value)


def _prompt(value: Any, where: str) -> tuple[Message, ...]:
    """A prompt is one question, or messages."""
    return (Message("user", _said(value, where, "prompt")),) if isinstance(value, str) else _messages(value, where)


def _answer(value: Any, where: str, name: str) -> str:
    """An answer is text, or one message of the assistant."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and value[0].get("role") == "assistant":
        return _said(value[0].get("content"), where, name)
    return _said(value, where, name)


def _said(value: Any, where: str, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: '{name}' is {json.dumps(value)[:60]}, not text. Write what is said there.")
    return value


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(f"'{name}'" for name in row) or "no fields"
