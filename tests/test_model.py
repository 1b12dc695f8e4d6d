"""What every architecture promises, and what each one is exactly."""

import json
import math
import re
from fnmatch import fnmatch
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from tiny import SHAPES, VOCAB, features, fresh, logits, random_tokens, tiny
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.testing import assert_close

from scratchlm.core.errors import ArtifactError
from scratchlm.core.tensors import LanguageModel, positions_of
from scratchlm.generate.cache import Cache
from scratchlm.model import attention, gpt2, llama, minillm, moe, olmo2, qwen3, store, swift
from scratchlm.model.architectures import ARCHITECTURES, build, parameters_of, shape_only
from scratchlm.model.rotary import rotation
from scratchlm.parallel.precision import Dtype, Precision
from scratchlm.parallel.tensor import CUTS, speaks_of
from scratchlm.train.crew import alone

assert_near = partial(assert_close, atol=1e-5, rtol=1e-5)
"""Sums of some dozen float32 products in another order."""
every_architecture = pytest.mark.parametrize("name", ARCHITECTURES)
TIED = [name for name, shape in SHAPES.items() if "tied" in type(shape).model_fields]


def test_every_architecture_has_a_tiny_shape():
    assert set(SHAPES) == set(ARCHITECTURES)
    assert all(isinstance(fresh(name), LanguageModel) for name in SHAPES)


@every_architecture
def test_a_score_for_every_piece_at_every_position(name: str):
    model = tiny(name)
    x_BTD = features(model, random_tokens(2, 9))
    assert x_BTD.shape == (2, 9, model.config.width)
    assert model.logits(x_BTD).shape == (2, 9, VOCAB)


@every_architecture
def test_the_head_may_be_called_in_chunks(name: str):
    model = tiny(name)
    x_BTD = features(model, random_tokens(2, 9))
    parts = [model.logits(part) for part in x_BTD.flatten(0, 1).split(5)]
    assert_near(torch.cat(parts).view(2, 9, VOCAB), model.logits(x_BTD))


@every_architecture
def test_the_past_ignores_the_future(name: str):
    model, tokens_BT = tiny(name), random_tokens(2, 13)
    edited_BT = tokens_BT.clone()
    edited_BT[:, 10:] = (edited_BT[:, 10:] + 1) % VOCAB
    before, after = logits(model, tokens_BT), logits(model, edited_BT)
    assert_close(before[:, :10], after[:, :10])
    assert (before[:, 10:] != after[:, 10:]).any(-1).all()


@every_architecture
def test_the_future_remembers_the_past(name: str):
    model, tokens_BT = tiny(name), random_tokens(2, 13)
    edited_BT = tokens_BT.clone()
    edited_BT[:, 0] = (edited_BT[:, 0] + 1) % VOCAB
    assert (logits(model, tokens_BT) != logits(model, edited_BT)).any(-1).all()


@every_architecture
def test_packed_documents_do_not_see_each_other(name: str):
    model, tokens_BT = tiny(name), random_tokens(2, 11)
    segments_BT = torch.tensor([[0] * 4 + [1] * 7, [3] * 4 + [5] * 7])
    together_BTD = features(model, tokens_BT, segments_BT)
    assert_near(together_BTD[:, :4], features(model, tokens_BT[:, :4]))
    assert_near(together_BTD[:, 4:], features(model, tokens_BT[:, 4:]))


@every_architecture
def test_the_newest_position_needs_only_its_lookback_and_a_cache(name: str):
    model, tokens_BT = tiny(name), random_tokens(3, 12)
    positions_BT = torch.arange(12).expand(3, 12)
    cache = Cache(rows=3, length=12)
    with torch.no_grad():
        model.features(tokens_BT[:, :11], positions_BT[:, :11], cache.attend(positions_BT[:, :11]))
        newest_BLT = tokens_BT[:, 11 - model.lookback :]
        last_BTD = model.features(newest_BLT, positions_BT[:, 11:], cache.attend(positions_BT[:, 11:]))
    assert_near(last_BTD, features(model, tokens_BT)[:, 11:])


@every_architecture
def test_every_parameter_has_a_name_of_its_own_and_learns(name: str):
    model, tokens_BT = tiny(name), random_tokens(4, 15)
    names = [name for name, _ in model.named_parameters()]
    loss = F.cross_entropy(logits(model, tokens_BT[:, :-1]).flatten(0, 1), tokens_BT[:, 1:].flatten())
    loss.backward()
    silent = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert len(set(names)) == len(names)
    assert silent == []


@every_architecture
def test_weights_are_a_function_of_the_seed(name: str):
    one, same, other = (fresh(name, seed=seed).state_dict() for seed in (4, 4, 5))
    assert all(torch.equal(one[key], same[key]) for key in one)
    drawn = [key for key, weights in one.items() if weights.unique().numel() > 2]
    assert drawn
    assert not any(torch.equal(one[key], other[key]) for key in drawn)


@every_architecture
def test_dropout_acts_only_while_training(name: str):
    model, tokens_BT = tiny(name, dropout=0.5), random_tokens(2, 9)
    assert torch.equal(logits(model, tokens_BT), logits(tiny(name), tokens_BT))
    model.train()
    assert not torch.equal(logits(model, tokens_BT), logits(model, tokens_BT))


@every_architecture
def test_shapes_cost_no_memory(name: str):
    model = shape_only(SHAPES[name])
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert parameters_of(model) == parameters_of(fresh(name))


@every_architecture
def test_what_is_saved_comes_back_ready_to_speak(name: str, tmp_path: Path):
    model, tokens_BT = tiny(name, dropout=0.5), random_tokens(2, 9)
    alone(model).save(tmp_path)
    config, back = store.load(tmp_path)
    assert config == model.config
    assert back.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(logits(back, tokens_BT), logits(model, tokens_BT))


@every_architecture
def test_the_same_model_makes_the_same_bytes(name: str, tmp_path: Path):
    for place in ("one", "other"):
        alone(tiny(name)).save(tmp_path / place)
    assert (tmp_path / "one" / store.WEIGHTS).read_bytes() == (tmp_path / "other" / store.WEIGHTS).read_bytes()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def reshaped(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"width": 16}))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (store.WEIGHTS, Path.unlink),
        (store.WEIGHTS, cut),
        (store.WEIGHTS, lambda path: path.write_bytes(b"")),
        (store.WEIGHTS, lambda path: path.write_bytes(b"junk " * 99)),
        (store.SHAPE, Path.unlink),
        (store.SHAPE, cut),
        (store.SHAPE, lambda path: path.write_text('{"kind": "gpt9"}')),
        (store.SHAPE, reshaped),
    ],
)
def test_a_damaged_model_is_named(file: str, damage, tmp_path: Path):
    alone(tiny("qwen3")).save(tmp_path)
    damage(tmp_path / file)
    with pytest.raises(ArtifactError, match=r"no model can be read here .+ --again"):
        store.load(tmp_path)


@every_architecture
def test_the_division_of_labour_speaks_of_parameters_that_exist(name: str):
    row, model = ARCHITECTURES[name], fresh(name)
    paths = [path for path, _ in model.named_modules()]
    assert [pattern for pattern in row.SHARDING if not any(speaks_of(pattern, path) for path in paths)] == []
    assert set(row.SHARDING.values()) <= set(CUTS)
    matrices = [path.removesuffix(".weight") for path, weight in model.named_parameters() if weight.ndim == 2 and "layers." in path]
    cuts = {path: [pattern for pattern in row.SHARDING if speaks_of(pattern, path)] for path in matrices if not path.endswith("router")}
    assert all(len(patterns) == 1 for patterns in cuts.values()), cuts


@pytest.mark.parametrize("name", TIED)
def test_a_tied_head_is_the_embedding(name: str):
    model, tokens_BT = tiny(name, tied=True), random_tokens(2, 9)
    assert not any(key.startswith("head") for key in model.state_dict())
    x_BTD = features(model, tokens_BT)
    assert_near(model.logits(x_BTD), x_BTD @ model.embedding.weight.T)
    assert parameters_of(fresh(name)) - parameters_of(model) == VOCAB * model.config.width


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("name", [name for name in TIED if ARCHITECTURES[name].HF_NAMES])
def test_every_parameter_has_a_name_elsewhere(name: str, tied: bool):
    row = ARCHITECTURES[name]
    biased = {"attention_bias": True} if name == "llama" else {}
    patterns = {re.sub(r"(?<=\.)\d+", "{}", path) for path in fresh(name, tied=tied, **biased).state_dict()}
    expected = set(row.HF_NAMES) - ({"head.weight"} if tied else set())
    assert patterns == expected
    assert len(set(row.HF_NAMES.values())) == len(row.HF_NAMES)
    assert all(ours.count("{}") == theirs.count("{}") for ours, theirs in row.HF_NAMES.items())
    assert getattr(row, "HF_TRANSPOSED", frozenset()) <= patterns


@every_architecture
def test_a_fresh_model_has_the_numbers_it_should(name: str):
    """Ones and zeros are exact; a sample's deviation is within five of its own standard errors of what was drawn."""
    shape = SHAPES[name].model_copy(update={"width": 64, "vocab": 211})
    model = build(shape, seed=3)
    if isinstance(shape, minillm.Config | gpt2.Config):
        shrunk = 0.02 / math.sqrt(2 * shape.layers) if isinstance(shape, gpt2.Config) else 0.02
        drawn = {"position_embedding.weight": 0.01, "*output.weight": shrunk, "*down.weight": shrunk, "*": 0.02}
    elif isinstance(shape, swift.Config):
        drawn = {"*output.weight": 0.0, "*down.weight": 0.0, "head.weight": 0.0, "layers.*": None, "embedding.weight": 1.0, "*": 0.1}
    elif isinstance(shape, olmo2.Config):
        drawn = {"*": 0.02}
    else:
        drawn = {"*output.weight": 0.0, "*down.weight": 0.0, "*router.weight": 0.02, "layers.*": None, "*": 0.02}
    for path, parameter in model.named_parameters():
        if path.endswith(("bias", "value_mix")):
            assert (parameter == 0).all(), path
        elif path.endswith(".mix"):
            assert parameter.tolist() == [1, 0]
        elif parameter.ndim == 1:
            assert (parameter == 1).all(), path
        else:
            told = next(std for pattern, std in drawn.items() if fnmatch(path, pattern))
            std = parameter.shape[1] ** -0.5 if told is None else told  # what comes out of a product is as large as what went in
            assert parameter.std().item() == pytest.approx(std, rel=5 / math.sqrt(2 * parameter.numel())), path


def test_grouped_queries_are_heads_that_share_their_keys_and_values():
    generator = torch.Generator().manual_seed(7)
    q_BTHC, k_BTGC, v_BTGC = (torch.randn(2, 7, heads, 5, generator=generator) for heads in (6, 2, 2))
    segments_BT = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [4, 4, 4, 4, 4, 4, 5]])
    for attend in (attention.packed(segments_BT), attention.reference(segments_BT)):
        k_BTHC, v_BTHC = (t.repeat_interleave(3, dim=2) for t in (k_BTGC, v_BTGC))
        assert_near(attend(0, q_BTHC, k_BTGC, v_BTGC, None), attend(0, q_BTHC, k_BTHC, v_BTHC, None))


def test_packed_attention_equals_the_formula():
    generator = torch.Generator().manual_seed(6)
    q_BTHC, k_BTGC, v_BTGC = (torch.randn(2, 7, heads, 5, generator=generator) for heads in (6, 2, 2))
    for segments_BT in (torch.zeros(2, 7, dtype=torch.long), torch.tensor([[0, 0, 0, 1, 1, 2, 2], [4, 4, 4, 4, 4, 4, 5]])):
        fast, plain = attention.packed(segments_BT), attention.reference(segments_BT)
        # Fused softmax and written-out softmax round differently: 2e-6 is about eight steps of float32 at one.
        assert_close(fast(0, q_BTHC, k_BTGC, v_BTGC, None), plain(0, q_BTHC, k_BTGC, v_BTGC, None), atol=2e-6, rtol=0)


def test_attention_without_preference_is_the_mean_of_what_may_be_seen():
    q_BTHC, k_BTGC = torch.zeros(1, 4, 2, 3), torch.randn(1, 4, 1, 3)
    v_BTGC = torch.tensor([1.0, 3.0, 8.0, 2.0]).view(1, 4, 1, 1).expand(1, 4, 1, 3)
    mixed_BTHC = attention.reference(torch.tensor([[0, 0, 1, 1]]))(0, q_BTHC, k_BTGC, v_BTGC, None)
    assert_close(mixed_BTHC[0, :, 0, 0], torch.tensor([1.0, 2.0, 8.0, 5.0]))


def test_positions_restart_with_each_segment():
    segments_BT = torch.tensor([[0, 0, 1, 1, 1], [7, 8, 8, 9, 9]])
    assert positions_of(segments_BT).tolist() == [[0, 1, 0, 1, 2], [0, 0, 1, 0, 1]]


def test_rotated_scores_depend_on_distance_only():
    q_C, k_C = torch.randn(2, 8, generator=torch.Generator().manual_seed(8)).double()

    def score(asking: int, answering: int) -> Tensor:
        rotate = rotation(torch.tensor([[asking, answering]]), 8, theta=100.0, dtype=torch.float64)
        a, b = rotate(torch.stack((q_C, k_C))[None, :, None])[0, :, 0]
        return a @ b

    # Angles are made in float32 whatever the dtype: at position 500 they are off by some 3e-5.
    assert_close(score(7, 3), score(504, 500), atol=1e-3, rtol=0)
    assert_close(score(5, 5), q_C @ k_C)
    assert abs(score(7, 3) - score(7, 4)) > 0.05


def test_the_count_of_qwen3_is_a_formula():
    c = qwen3.Config(vocab=101, layers=3, width=24, heads=6, kv_heads=2, head_dim=10, hidden=56)
    attended = c.width * c.head_dim * (2 * c.heads + 2 * c.kv_heads) + 2 * c.head_dim
    fed = 3 * c.width * c.hidden
    count = c.vocab * c.width + c.layers * (attended + fed + 2 * c.width) + c.width
    assert parameters_of(shape_only(c.model_copy(update={"tied": True}))) == count
    assert parameters_of(shape_only(c)) == count + c.vocab * c.width


def test_minillm_as_tutorials_have_it_counts_what_they_count():
    V, L, D = 50257, 6, 288
    attended = (3 * D * D + 3 * D) + (D * D + D)
    fed = (4 * D * D + 4 * D) + (4 * D * D + D)
    count = V * D + L * (attended + fed + 2 * 2 * D) + 2 * D + V * D
    assert parameters_of(shape_only(minillm.Config())) == count == 34_943_040
    assert minillm.Config().model_dump() == {
        "kind": "minillm", "vocab": 50257, "context": 256, "layers": 6, "width": 288, "heads": 6, "dropout": 0.0,
    }  # fmt: skip


def minillm_written_out(model: minillm.Model, tokens_T: Tensor) -> Tensor:
    """The tutorial's model as one formula per line."""
    w, D, H = model.state_dict(), model.config.width, model.config.heads
    T, C = len(tokens_T), D // H
    positions_TD = torch.tensor([[f(t / 10000 ** (2 * i / D)) for i in range(D // 2) for f in (math.sin, math.cos)] for t in range(T)])
    x = w["embedding.weight"][tokens_T] * math.sqrt(model.config.width) + positions_TD
    for n in range(model.config.layers):
        p = f"layers.{n}."
        seen = F.layer_norm(x, (D,), w[p + "attention_norm.weight"], w[p + "attention_norm.bias"])
        q, k, v = (seen @ w[p + "qkv.weight"].T + w[p + "qkv.bias"]).split(D, dim=-1)
        heads = []
        for h in range(H):
            part = slice(h * C, (h + 1) * C)
            scores = (q[:, part] @ k[:, part].T / math.sqrt(C)).masked_fill(torch.ones(T, T).triu(1) > 0, -math.inf)
            heads.append(scores.softmax(-1) @ v[:, part])
        x = x + torch.cat(heads, dim=-1) @ w[p + "output.weight"].T + w[p + "output.bias"]
        seen = F.layer_norm(x, (D,), w[p + "feed_norm.weight"], w[p + "feed_norm.bias"])
        up = seen @ w[p + "up.weight"].T + w[p + "up.bias"]
        x = x + (0.5 * up * (1 + torch.erf(up / math.sqrt(2)))) @ w[p + "down.weight"].T + w[p + "down.bias"]
    return F.layer_norm(x, (D,), w["norm.weight"], w["norm.bias"]) @ w["head.weight"].T


def test_minillm_is_exactly_the_minimal_model():
    model = tiny("minillm")
    assert isinstance(model, minillm.Model)
    tokens_BT = random_tokens(1, 11)
    assert_near(logits(model, tokens_BT)[0], minillm_written_out(model, tokens_BT[0]))
    assert "head.bias" not in model.state_dict()


def swift_written_out(model: swift.Model, tokens_T: Tensor) -> Tensor:
    """The fast profile as one formula per line, head by head."""
    w, c, tokens = model.state_dict(), model.config, tokens_T.tolist()
    T, C = len(tokens), c.head_dim

    def level(x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:])

    def turned(x_TC: Tensor) -> Tensor:
        angles_TK = torch.arange(T)[:, None] * c.rope_theta ** (-torch.arange(0, C, 2) / C)
        z_TK = torch.complex(x_TC[:, : C // 2], x_TC[:, C // 2 :]) * torch.polar(torch.ones_like(angles_TK), angles_TK)
        return torch.cat((z_TK.real, z_TK.imag), dim=1)

    pairs = [0, *((before * 36313 ^ own * 27191) % (c.bigrams - 1) + 1 for before, own in pairwise(tokens))]
    windows = zip(tokens, tokens[1:], tokens[2:], strict=False)
    triples = [0, 0, *((oldest * 50331653 ^ before * 36313 ^ own * 27191) % (c.trigrams - 1) + 1 for oldest, before, own in windows)]
    x = first = level(w["embedding.weight"][tokens] + w["pair_embedding.weight"][pairs] + w["triple_embedding.weight"][triples])
    for n in range(c.layers):
        p = f"layers.{n}."
        x = w[p + "mix"][0] * x + w[p + "mix"][1] * first
        q, k, v = (level(x) @ w[f"{p}{part}.weight"].T for part in ("query", "key", "value"))
        if n % 2 == 0:
            v = v + w[p + "value_mix"] * w["value_embedding.weight"][tokens]
        heads = []
        for part in (slice(h * C, (h + 1) * C) for h in range(c.heads)):
            scores = turned(level(q[:, part])) @ turned(level(k[:, part])).T / math.sqrt(C)
            heads.append(scores.masked_fill(torch.ones(T, T).triu(1) > 0, -math.inf).softmax(-1) @ v[:, part])
        x = x + torch.cat(heads, dim=-1) @ w[p + "output.weight"].T
        x = x + (level(x) @ w[p + "up.weight"].T).clamp(min=0) ** 2 @ w[p + "down.weight"].T
    return c.softcap * torch.tanh(level(x) @ w["head.weight"].T / c.softcap)


def test_swift_is_exactly_what_its_first_lines_say():
    model, tokens_BT = tiny("swift"), random_tokens(1, 11)
    assert isinstance(model, swift.Model)
    assert_near(logits(model, tokens_BT)[0], swift_written_out(model, tokens_BT[0]))


def olmo2_written_out(model: olmo2.Model, tokens_T: Tensor) -> Tensor:
    """Norms behind each part, and over all heads' queries and keys, as one formula per line."""
    w, c, T = model.state_dict(), model.config, len(tokens_T)

    def level(x: Tensor, gains: str) -> Tensor:
        return w[gains] * x / (x.square().mean(-1, keepdim=True) + c.norm_eps).sqrt()

    rotate = rotation(torch.arange(T)[None], c.head_dim, theta=c.rope_theta)
    x = w["embedding.weight"][tokens_T]
    for n in range(c.layers):
        p = f"layers.{n}."
        q, k, v = (x @ w[f"{p}attention.{part}.weight"].T for part in ("query", "key", "value"))
        q, k = level(q, p + "attention.query_norm.weight"), level(k, p + "attention.key_norm.weight")
        q_THC, k_TGC = (rotate(t.view(1, T, -1, c.head_dim))[0] for t in (q, k))
        v_TGC = v.view(T, -1, c.head_dim)
        heads = []
        for h in range(c.heads):
            g = h * c.kv_heads // c.heads
            scores = (q_THC[:, h] @ k_TGC[:, g].T / math.sqrt(c.head_dim)).masked_fill(torch.ones(T, T).triu(1) > 0, -math.inf)
            heads.append(scores.softmax(-1) @ v_TGC[:, g])
        x = x + level(torch.cat(heads, dim=-1) @ w[p + "attention.output.weight"].T, p + "attention_norm.weight")
        gated = F.silu(x @ w[p + "feed.gate.weight"].T) * (x @ w[p + "feed.up.weight"].T)
        x = x + level(gated @ w[p + "feed.down.weight"].T, p + "feed_norm.weight")
    return level(x, "norm.weight") @ w["head.weight"].T


def test_olmo2_is_exactly_what_its_first_lines_say():
    model, tokens_BT = tiny("olmo2"), random_tokens(1, 11)
    assert isinstance(model, olmo2.Model)
    assert_near(logits(model, tokens_BT)[0], olmo2_written_out(model, tokens_BT[0]))


def test_an_olmo2_has_no_window():
    with pytest.raises(ValueError, match=r"window\n +Input should be None"):
        olmo2.Config.model_validate({"window": 9})


@pytest.mark.parametrize("name", ["llama", "qwen3", "moe"])
def test_a_fresh_block_hands_on_what_it_was_given(name: str):
    model, tokens_BT = fresh(name).eval(), random_tokens(2, 9)
    assert isinstance(model, llama.Model | qwen3.Model | moe.Model)
    assert_close(features(model, tokens_BT), model.norm(model.embedding(tokens_BT)))


def test_a_fresh_swift_says_nothing_and_never_shouts():
    tokens_BT = random_tokens(2, 9)
    assert logits(fresh("swift"), tokens_BT).abs().max() == 0
    loud = tiny("swift")
    with torch.no_grad():
        loud.head.weight.mul_(1000)  # pyright: ignore[reportOptionalMemberAccess]
    assert logits(loud, tokens_BT).abs().max() <= loud.config.softcap  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("count", [2, 3])
def test_neighbours_are_hashed_within_their_document(count: int):
    tokens_BT = random_tokens(1, 6)
    positions_BT = torch.tensor([[0, 1, 2, 0, 1, 2]])
    rows_BT = swift.hashed(tokens_BT, positions_BT, count, 31)
    alone_BT = torch.cat([swift.hashed(tokens_BT[:, part], positions_BT[:, part], count, 31) for part in (slice(3), slice(3, 6))], dim=1)
    assert torch.equal(rows_BT, alone_BT)
    assert [rows_BT[0, place : place + count - 1].tolist() for place in (0, 3)] == [[0] * (count - 1)] * 2
    assert ((rows_BT > 0) & (rows_BT < 31)).sum() == 2 * (4 - count)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (qwen3, {"heads": 4, "kv_heads": 3}),
        (llama, {"heads": 4, "kv_heads": 3}),
        (olmo2, {"heads": 4, "kv_heads": 3}),
        (moe, {"heads": 4, "kv_heads": 3}),
        (minillm, {"width": 10, "heads": 4}),
        (gpt2, {"width": 10, "heads": 4}),
    ],
)
def test_shapes_that_do_not_fit_are_refused(kind, wrong: dict[str, int]):
    with pytest.raises(ValueError, match="must be a multiple"):
        kind.Config(**wrong)


def test_a_token_cannot_ask_more_experts_than_there_are():
    with pytest.raises(ValueError, match=r"experts_per_token \(9\) must not be above experts \(8\)"):
        moe.Config(experts=8, experts_per_token=9)


@every_architecture
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_products_stay_near_wide_ones(name: str, dtype: Dtype):
    model, tokens_BT = tiny(name), random_tokens(2, 9)
    wide = logits(model, tokens_BT)
    with Precision(dtype).autocast():
        narrow = logits(model, tokens_BT)
    # Steps of 1/256 (bfloat16) in the products of a few layers.
    assert 0 < (narrow.float() - wide).norm() < 0.05 * wide.norm()
