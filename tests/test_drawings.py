"""The pictures and formulas of "Who computes what": drawn as they are committed, and true of what processes do."""

import itertools
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import messages
import pytest
from crowd import Crowd
from shared_out import CONTEXT, MODELS, ROWS, Case
from torch.distributed.pipelining import schedules as of_torch

from docs.drawings import __main__ as drawings
from docs.drawings import shards
from docs.drawings.timelines import SCHEDULES, numbered, played, under_way
from docs.drawings.timelines import idle as idle_share
from scratchlm.parallel.layout import Layout
from scratchlm.shares import schedules

FOLDER = Path(drawings.__file__).parent
LARGEST = 100_000
"""Bytes of a picture."""
PIPELINES = [(4, 8), (4, 7), (2, 4), (3, 5), (8, 16)]
"""Processes and micro-batches."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Crowd]:
    crowd = Crowd(2)
    yield crowd
    crowd.end()


def test_the_pictures_are_as_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert drawings.main(["--check"]) == 0
    assert sorted(path.stem for path in FOLDER.glob("*.svg")) == sorted(drawings.DRAWINGS)
    monkeypatch.setattr(drawings, "FOLDER", tmp_path)
    assert drawings.main(["--check"]) == 1
    assert "python -m docs.drawings" in capsys.readouterr().err
    assert drawings.main([]) == 0 == drawings.main(["--check"])


@pytest.mark.parametrize("name", drawings.DRAWINGS)
def test_a_picture_is_whole_and_asks_for_nothing(name: str):
    picture = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    root = ET.fromstring(picture)
    assert len(picture.encode()) < LARGEST
    assert re.findall(r"https?://[^\"]*", picture) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"href|@import|@font-face|<script|<image", picture)
    assert "prefers-color-scheme: dark" in picture
    classes = {word for element in root.iter() for word in element.get("class", "").split()}
    assert [word for word in classes if f".{word} {{" not in picture] == []


def orders_of_torch(name: str, ranks: int, count: int) -> list[list[tuple[str, int, int]]]:
    """(what, stretch, micro-batch) of each process, as torch's own schedule has them."""
    made: Any = object.__new__({"interleaved": of_torch.ScheduleInterleaved1F1B, "zero_bubble": of_torch.ScheduleZBVZeroBubble}[name])
    made.pp_group_size, made._n_microbatches, made.n_local_stages = ranks, count, SCHEDULES[name].spans
    made.num_stages = ranks * made.n_local_stages
    made.number_of_rounds = max(1, count // ranks)
    made.microbatches_per_round = count // made.number_of_rounds
    words = [
        [re.fullmatch(r"(\d+)([FBIW])(\d+)", str(action)) for action in made._calculate_single_rank_operations(rank)]
        for rank in range(ranks)
    ]
    return [[(word[2], int(word[1]), int(word[3])) for word in each if word] for each in words]


@pytest.mark.parametrize("name", ["interleaved", "zero_bubble"])
@pytest.mark.parametrize(("ranks", "count"), PIPELINES)
def test_the_orders_are_torchs_own(name: str, ranks: int, count: int):
    if not schedules.goes(name, ranks, count):
        pytest.skip("torch does not take so many")
    schedule = SCHEDULES[name]
    for rank, torchs in enumerate(orders_of_torch(name, ranks, count)):
        ours = numbered(schedule.order(rank, ranks, count), count)
        assert [(what, schedule.number(rank, ranks, span), batch) for what, span, batch in ours] == torchs


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("ranks", "count"), PIPELINES)
def test_what_is_played_is_what_the_formulas_say(name: str, ranks: int, count: int):
    spans = SCHEDULES[name].spans
    done = played(SCHEDULES[name], ranks, count)
    waits = schedules.idle(name, ranks, count, spans)
    assert idle_share(done, ranks) == pytest.approx(waits / (count + waits))
    if name in schedules.SINGLE:
        assert idle_share(done, ranks) == pytest.approx((ranks - 1) / (count + ranks - 1))
    for rank in range(ranks):
        assert under_way(done, rank, spans) == sum(schedules.under_way(name, ranks, rank, count, spans)) / spans


def test_nobody_does_two_things_at_once():
    for schedule in SCHEDULES.values():
        done = sorted(played(schedule, 4, 8), key=lambda each: (each.rank, each.start))
        assert all(one.end <= other.start for one, other in itertools.pairwise(done) if one.rank == other.rank)


EACH, LAYERS, WIDTH = ROWS // 2, 4, 32
"""Rows of each of two processes that see other ones; layers and width of all models."""
N = CONTEXT
"""Positions of a micro-batch of one row."""


def sent(crowd: Crowd, model: str, layout: dict[str, Any]) -> tuple[list[dict[str, int]], int, int]:
    """What each process sends in a step with one row at a time; numbers of the blocks, and of embedding, norm and head."""
    found = crowd.run(messages.told, Case(model, Layout(**layout), dtype="float32"))
    return [said for said, _, _ in found], found[0][1], found[0][2]


def test_copies_and_cut_weights_send_what_the_chapter_says(pair: Crowd):
    for layout, often, once in (({"zero": 1}, 2, 2), ({"zero": 2}, 1 + EACH, 1 + EACH), ({"zero": 3}, 3 * EACH, 2 * EACH)):
        said, blocks, ends = sent(pair, "llama", layout)
        assert [sum(each.values()) for each in said] == [(often * blocks + once * ends) // 2] * 2, layout
    said, blocks, ends = sent(pair, "llama", {"replicate": 2, "shard": 1})
    assert [sum(each.values()) for each in said] == [2 * (blocks + ends) // 2] * 2


def test_shared_matrices_send_positions_four_times_a_block_there_and_back(pair: Crowd):
    said, _, _ = sent(pair, "llama", {"tensor": 2})
    for each in said:
        assert each["_allgather_base_"] + each["_reduce_scatter_base_"] == ROWS * (8 * LAYERS + 4) * N * WIDTH // 2


def test_positions_send_keys_or_heads(pair: Crowd):
    heads, keys, channels = (dict(MODELS["qwen3"])[name] for name in ("heads", "kv_heads", "head_dim"))
    said, blocks, ends = sent(pair, "qwen3", {"context": 2})
    weights = ROWS * (3 * blocks + 2 * ends) // 2
    assert [sum(each.values()) for each in said] == [weights + ROWS * LAYERS * 4 * N * keys * channels // 2] * 2
    said, _, _ = sent(pair, "qwen3", {"context": 2, "context_by": "ulysses"})
    assert [each["alltoall_base_"] for each in said] == [ROWS * LAYERS * 4 * N * (heads + keys) * channels // 4] * 2


def test_pipelines_send_what_lies_between_layers(pair: Crowd):
    said, _, _ = sent(pair, "llama", {"pipeline": 2})
    assert [each["send"] for each in said] == [ROWS * N * WIDTH] * 2


def test_experts_are_sent_what_is_asked_of_them(pair: Crowd):
    said, _, _ = sent(pair, "moe", {"expert": 2})
    evenly = EACH * LAYERS * 4 * 2 * N * WIDTH // 2
    assert [each["alltoall_base_"] for each in said] == pytest.approx([evenly] * 2, rel=0.2)  # routers that learned nothing yet


@pytest.mark.soak
def test_four_processes_hold_what_the_picture_says():
    crowd = Crowd(4)
    try:
        for mode, layout in shards.MODES.items():
            for rest, most in crowd.run(messages.held, layout):
                assert rest == pytest.approx(shards.rest(mode), rel=1e-3), mode
                assert shards.most(mode) <= most <= shards.most(mode) + 2.5, mode  # activations and the block in use
    finally:
        crowd.end()


def test_memory_falls_from_way_to_way():
    most = [shards.most(mode) for mode in shards.MODES]
    assert most == sorted(most, reverse=True)
    assert math.isclose(shards.most("zero=3"), 16 / shards.COUNT)
