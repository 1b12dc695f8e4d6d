"""The plain baseline is GPT-2, trained as nanoGPT trains it; a stand-in that differs is found out."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from benchmarks import baseline, beside_nanogpt
from benchmarks.baseline import GPT, Recipe, Shape, adamw, batch, characters, loss_on, rate, take

SHAPE = Shape(vocab=23, context=16, layers=3, heads=2, width=12)
TEXT = "".join(f"{n} and {n * n} are not {n + 1}, but close to it. " for n in range(80))
STAND_IN = """
from benchmarks import baseline

class GPTConfig:
    def __init__(self, block_size, vocab_size, n_layer, n_head, n_embd, dropout, bias):
        self.shape = baseline.Shape(vocab_size, block_size, n_layer, n_head, n_embd)

class GPT(baseline.GPT):
    def __init__(self, config):
        super().__init__(config.shape)
        print("number of parameters: few")
    def forward(self, idx, targets):
        return None, super().forward(idx, targets)
    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        return baseline.adamw(self, baseline.Recipe(lr=learning_rate, betas=betas, weight_decay=weight_decay))
"""
TRAIN = """
import dataclasses, pathlib, sys
sys.path[:0] = [{root!r}]
import torch
from benchmarks import baseline
from model import GPT, GPTConfig
told = dict(word[2:].split("=") for word in sys.argv[2:])
ids, _, vocab = baseline.characters(pathlib.Path("data/shakespeare_char/input.txt").read_text())
recipe = baseline.Recipe(int(told["lr_decay_iters"]), int(told["batch_size"]){change})
torch.manual_seed(1337)
model = GPT(GPTConfig(int(told["block_size"]), vocab, int(told["n_layer"]), int(told["n_head"]), int(told["n_embd"]), 0.0, False))
optimizer = model.configure_optimizers(recipe.weight_decay, recipe.lr, recipe.betas, "cpu")
draw = lambda: baseline.batch(ids, int(told["block_size"]), recipe.rows, torch.default_generator)
x, y = draw()
for _ in range(2 * int(told["eval_iters"])):
    draw()
for step in range(int(told["max_iters"]) + 1):
    loss = baseline.take(lambda: model(x, y)[1], optimizer, recipe, step)
    print(f"iter {{step}}: loss {{loss:.4f}}, time 1.00ms, mfu -100.00%")
    x, y = draw()
"""


def test_it_is_the_gpt2_of_transformers():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=23, n_positions=16, n_embd=12, n_layer=3, n_head=2, activation_function="gelu", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    theirs, ours = GPT2LMHeadModel(config).eval(), GPT(SHAPE)
    with torch.no_grad():
        for weight in ours.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.2)
        its = dict(theirs.named_parameters())
        for name, weight in its.items():
            weight.zero_() if name.endswith("bias") else None
        names = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
        order = ["wte", "wpe", *(f"h.{layer}.{name}" for layer in range(3) for name in names), "ln_f"]
        for name, weight in zip(order, ours.parameters(), strict=True):
            transposed = ".c_" in name  # GPT-2 wrote its products as x W
            its[f"transformer.{name}.weight"].copy_(weight.T if transposed else weight)
    tokens = torch.randint(23, (4, 17), generator=torch.Generator().manual_seed(0))
    x, y = tokens[:, :-1], tokens[:, 1:]
    wanted = torch.nn.functional.cross_entropy(theirs(input_ids=x).logits.flatten(0, 1), y.flatten())
    assert_close(ours(x, y), wanted)


def test_the_rate_rises_then_falls_along_a_cosine():
    recipe = Recipe(steps=300, lr=1.0, least_lr=0.1, warmup=100)
    assert [rate(recipe, step) for step in (0, 49, 99)] == pytest.approx([1 / 101, 50 / 101, 100 / 101])
    assert [rate(recipe, step) for step in (100, 200, 300, 999)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_gains_do_not_decay():
    model = GPT(SHAPE)
    decays, stays = adamw(model, Recipe()).param_groups
    assert (decays["weight_decay"], stays["weight_decay"]) == (0.1, 0.0)
    assert {weight.ndim for weight in decays["params"]} == {2}
    assert len(stays["params"]) == 2 * SHAPE.layers + 1


def test_targets_are_the_next_tokens():
    ids = torch.arange(40)
    x, y = batch(ids, 16, 5, torch.Generator().manual_seed(3))
    assert x.shape == y.shape == (5, 16)
    assert torch.equal(y, x + 1)


def test_it_learns():
    learned, held, vocab = characters(TEXT)
    shape, chance = Shape(vocab, context=16, layers=1, heads=2, width=32), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model, recipe = GPT(shape), Recipe(steps=60, warmup=5, lr=3e-3)
    optimizer, before = adamw(model, recipe), loss_on(model, held, 16)
    for step in range(recipe.steps):
        x, y = batch(learned, 16, recipe.rows, chance)
        take(lambda x=x, y=y: model(x, y), optimizer, recipe, step)
    assert before == pytest.approx(math.log(vocab), rel=0.05)
    assert loss_on(model, held, 16) < 0.8 * before


def stand_in(folder: Path, change: str = "") -> Path:
    """What a checkout of nanoGPT has of which we make use, written with the baseline itself."""
    root = str(Path(__file__).parent.parent)
    data = folder / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    (data / "prepare.py").write_text("")
    (folder / "model.py").write_text(f"import sys\nsys.path[:0] = [{root!r}]\n{STAND_IN}")
    (folder / "train.py").write_text(TRAIN.format(root=root, change=change))
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "input.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(("change", "apart"), [("", 0.0), (", lr=4e-3", 0.03)])
def test_a_curve_that_is_another_one_is_seen(change: str, apart: float, tmp_path: Path):
    learned, _, vocab = characters(TEXT)
    shape, recipe, folder = Shape(vocab, layers=1, width=16), Recipe(steps=110, rows=3), stand_in(tmp_path / "nanogpt", change)
    theirs, ours = beside_nanogpt.its_curve(folder, TEXT, shape, recipe), beside_nanogpt.our_curve(folder, learned, shape, recipe)
    furthest = max(abs(own - other) / other for own, other in zip(ours, theirs, strict=True))
    assert len(theirs) == recipe.steps
    assert furthest <= 1e-4 if apart == 0 else furthest > apart  # four digits are printed


def test_turns_are_taken_on_the_same_batches(tmp_path: Path):
    learned, _, vocab = characters(TEXT)
    pairs = beside_nanogpt.turns(stand_in(tmp_path / "nanogpt"), learned, Shape(vocab, layers=1, width=16), Recipe(200, rows=2), rounds=3)
    assert len(pairs) == 3
    assert all(seconds > 0 for pair in pairs for seconds in pair)


@pytest.mark.parametrize(
    ("lost", "ratio", "code"), [(1.0, 1.0, 0), (1.02, 0.98, 0), (1.04, 1.0, 1), (1.0, 1.05, 1), (1.0, 0.95, 1), (float("nan"), 1.0, 1)]
)
def test_three_percent_are_the_limit(
    lost: float, ratio: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(beside_nanogpt, "its_curve", lambda *_: [3.0, 2.0])
    monkeypatch.setattr(beside_nanogpt, "our_curve", lambda *_: [3.0, 2.0 * lost])
    monkeypatch.setattr(beside_nanogpt, "turns", lambda *_, rounds: [(30.0, 30.0 * ratio)] * rounds)
    assert beside_nanogpt.show(Path(), TEXT, steps=2, rounds=3) == code
    assert ("NOT within" in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--text", "{text}", "--nanogpt", "nowhere"], "no train.py is there"),
        (["--text", "{short}"], "characters are too few"),
        (["--text", "{text}", "--steps", "0"], "'0' is no count"),
        (["--text", "{text}", "--rounds", "many"], "'many' is no count"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], said: str, text: Path, capsys: pytest.CaptureFixture[str]):
    short = text.with_name("short.txt")
    short.write_text("too little")
    with pytest.raises(SystemExit) as ended:
        baseline.main([word.format(text=text, short=short) for word in words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_it_needs_torch_alone(text: Path):
    """Copied to a folder of its own it trains there."""
    copy = text.with_name("baseline.py")
    copy.write_text(Path(baseline.__file__).read_text())
    program = "import sys, baseline; print(baseline.main(sys.argv[1:])); assert not any(n.startswith('scratchlm') for n in sys.modules)"
    command = [sys.executable, "-c", program, "--text", text.name, "--steps", "3"]
    lines = subprocess.run(command, cwd=copy.parent, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["step     0", "step     2", "the last tenth", "0"]
