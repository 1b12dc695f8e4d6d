"""Losses of every recipe's training, step by step, as they were when they were last meant to change: nothing moves them unseen.

Each recipe keeps its architecture, optimizer and schedule; sizes and text are small. Everything is computed in float32 by torch's own
operations on one thread. Where torch, its libraries and the processor are those of the recording, losses are equal to the last bit.
Elsewhere other instructions sum products in another order, and they are equal within ELSEWHERE.

After a change that is meant to move them: `python -m tests.test_golden_curves` writes `golden_curves.json` anew.
"""

import json
import math
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.time_to_loss import prepared
from scratchlm.batches.chat import batch_of
from scratchlm.core import seeds
from scratchlm.core.artifact import Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.journal import Event, Journal
from scratchlm.evals.knowledge import KNOWLEDGE, Knowledge
from scratchlm.losses.likelihood import token_logprobs
from scratchlm.losses.policy import group_advantages
from scratchlm.model import architectures
from scratchlm.model import store as models
from scratchlm.model.architectures import AnyConfig
from scratchlm.model.attention import packed
from scratchlm.optim.schedule import factor
from scratchlm.parallel.precision import Precision
from scratchlm.recipes import RECIPES, store
from scratchlm.recipes.recipe import Recipe
from scratchlm.serve.choose import EXAMPLES
from scratchlm.stages import prefer, pretrain, reinforce, sft
from scratchlm.tokenizer import store as tokenizers
from scratchlm.train import decisions
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.crew import alone
from scratchlm.train.loop import Plan, fit
from scratchlm.train.objectives import Rewarded, Rollouts
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState

FILE = Path(__file__).with_name("golden_curves.json")
ELSEWHERE = {"adamw": 1e-5, "muon": 1e-2}
"""Of a curve's largest loss, by optimizer. Without AVX512 or AVX2, without oneDNN, or by MKL's compatible path losses moved by 5e-7 and
2.8e-3 at most: Muon makes gradients orthogonal in bfloat16, where the last bit of a float32 becomes one of eight. Before a first step
nothing has moved anything, so first losses are held to the smaller limit."""
STEPS, ROWS = 12, 4
Curve = Mapping[str, Any]
"""``optimizer`` and ``losses``."""
SMALL = {
    "context": 32, "layers": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "hidden": 48, "bigrams": 61, "trigrams": 59,
}  # fmt: skip
"""What of a recipe's model is made small, where it has it."""
TEXT = " ".join(
    f"The {n % 7} lamps of house {n} and the {n % 5} of house {2 * n} are {n % 7 + n % 5}, says {'ABCD'[n % 4]}." for n in range(90)
)
SUMS = [(n, n % 4 + 1) for n in range(24)]
LATER: dict[str, Any] = {"device": "cpu", "dtype": "float32", "checkpoint_minutes": None, "checkpoint_steps": None}
SETTLED = {"way": "torch", "rows_at_once": 64, "threads": 1}
PRETRAIN = LATER | {"tokens": STEPS * ROWS * 32, "rows": ROWS, "validation_steps": STEPS, "sample_steps": STEPS}

SETTINGS = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""By which somebody may tell the libraries to take other paths."""


def fingerprint() -> dict[str, str]:
    """What decides in which order products are summed."""
    built = torch.__config__.show()
    libraries = re.findall(r"(?:Math Kernel Library|MKL-DNN|OpenBLAS)[^\n(]*", built)
    return {
        "torch": torch.__version__,
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": processor(),
        "libraries": "; ".join(" ".join(each.split()) for each in libraries),
        "settings": "; ".join(f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ),
    }


def processor() -> str:
    """Its maker, family and model, by which the libraries choose their paths; empty where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    said = dict(re.split(r"\s*:\s*", line, maxsplit=1) for line in reversed(lines) if ":" in line)
    return " ".join(said.get(name, "") for name in ("vendor_id", "cpu family", "model"))


def small(model: AnyConfig) -> AnyConfig:
    """The same architecture with few weights."""
    return model.model_copy(update={name: value for name, value in SMALL.items() if name in type(model).model_fields})


@contextmanager
def settled() -> Iterator[None]:
    """One thread and torch's own operations, whatever the machine is best at; the process is left as it was."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        measured = decisions.decide
        patch.setattr(decisions, "decide", lambda *given, **named: measured(*given, **named).model_copy(update=SETTLED))
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(False)


def curve(config: Training, train: Callable[[Journal], Any]) -> Curve:
    """The loss of every step, as the journal has it, and by which optimizer."""
    events: list[Event] = []
    train(Journal(events.append))
    return {"optimizer": config.optimizer.kind, "losses": [event["loss"] for event in events if event["event"] == "step"]}


def curves(scratch: Path) -> dict[str, Curve]:
    """Every recipe's pre-training; of ``laptop`` what follows it, too."""
    found: dict[str, Curve] = {}
    start = Home(scratch / "start")
    prepared(TEXT, start)
    from_start = {name: start.path / name for name in ("tokenizer", "shards")}
    with settled():
        for name in RECIPES:
            recipe = store.load(name)
            assert isinstance(recipe, Recipe)
            home = Home(scratch / name, from_start)
            if recipe.pretrain is not None:
                config = recipe.pretrain.model_copy(update=PRETRAIN | {"model": small(recipe.pretrain.model)})
                found[name] = curve(config, lambda journal, config=config, home=home: pretrain.run(config, home, journal))
            if name == "laptop":
                found |= later(recipe, start.path / "tokenizer", scratch)
    return found


def later(recipe: Recipe, tokenizer: Path, scratch: Path) -> dict[str, Curve]:
    """Fine-tuning on chats, preference tuning on pairs, a policy gradient on given answers; each begins with the same fresh model."""
    assert recipe.pretrain
    assert recipe.sft
    assert recipe.prefer
    assert recipe.reinforce
    chats, pairs, home = scratch / "chats.jsonl", scratch / "pairs.jsonl", Home(scratch / "later")
    chats.write_text("\n".join(json.dumps({"prompt": f"{a} {b}?", "completion": f"{a + b}."}) for a, b in SUMS))
    pairs.write_text("\n".join(json.dumps({"prompt": f"{a} {b}?", "chosen": f"{a + b}.", "rejected": f"{a - b}."}) for a, b in SUMS))
    model = architectures.build(small(recipe.pretrain.model).model_copy(update={"vocab": tokenizers.load(tokenizer).size}), seed=0)

    def fresh(draft: Draft) -> None:
        alone(model).save(draft.path)
        shutil.copytree(tokenizer, draft.path / "tokenizer", ignore=shutil.ignore_patterns("manifest.json", "plan.json"))
        draft.write_text(KNOWLEDGE, Knowledge(kind="folder").model_dump_json())
        draft.write_json(EXAMPLES, [])

    base, taught = (home.build(name, Settings(), {}, fresh) for name in ("base", "sft"))
    tuned = recipe.prefer.model_copy(update=LATER | {"pairs": str(pairs), "pairs_per_step": ROWS})
    chatted = recipe.sft.model_copy(update=LATER | {"chats": str(chats), "rows": ROWS, "epochs": 2.0})
    elsewhere = Home(scratch / "chatted", {"base": base.path})
    reinforced = recipe.reinforce
    return {
        "laptop sft": curve(chatted, lambda journal: sft.run(chatted, elsewhere, journal)),
        "laptop prefer": curve(tuned, lambda journal: prefer.run(tuned, home, journal)),
        "laptop reinforce": curve(reinforced, lambda journal: reinforce_given(reinforced, taught.path, scratch, journal)),
    }


def reinforce_given(config: reinforce.Config, start: Path, scratch: Path, journal: Journal) -> None:
    """Some steps of its objective, optimizer and schedule; a small model never answers right, so what is rewarded is decided here."""
    (_, model), (_, frozen) = models.load(start), models.load(start)
    chance = torch.Generator().manual_seed(seeds.derive(0, "answers"))
    ids = torch.randint(model.config.vocab, (ROWS, 13), generator=chance).tolist()
    batch = batch_of([[(row[: 10 + place], [False] * 6 + [True] * (4 + place))] for place, row in enumerate(ids)], length=12, pad=0)
    with torch.no_grad():
        given = batch.inputs
        x_BTD = frozen.features(given.tokens_BT, given.positions_BT, packed(given.segments_BT))
        before_BT = token_logprobs(frozen.logits(x_BTD), batch.targets_BT)
    rewards_B = torch.tensor([1.0, 0.0, 0.0, 0.5])
    # Answers of the model at the start, used again in every step: the ratio moves away from one as the policy learns.
    answers = Rollouts(batch, before_BT, before_BT, group_advantages(rewards_B[None]).T, rewards_B, batch.weight / ROWS)
    state = TrainState.begin(model, config.optimizer, seed=0)
    plan = Plan(STEPS, lambda step: factor(config.schedule, step, STEPS), Precision("float32"), Keeper(scratch / "kept"), config.clip)
    fit(state, lambda _: [answers], Rewarded(model.logits, config.kl), plan, (), journal)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Curve]:
    return curves(tmp_path_factory.mktemp("golden"))


GOLDEN: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"fingerprint": {}, "curves": {}}


def test_every_recipe_that_trains_has_a_curve(found: dict[str, Curve]):
    trains = [name for name in RECIPES if dict(store.load(name))["pretrain"] is not None]
    assert len(trains) >= 5
    assert set(GOLDEN["curves"]) == set(found) == {*trains, "laptop sft", "laptop prefer", "laptop reinforce"}


def same(now: Curve, then: Curve, here: Mapping[str, str], there: Mapping[str, str]) -> bool:
    """Whether losses are those that were recorded ``there``."""
    if here == there:
        return now == then
    if now["optimizer"] != then["optimizer"]:
        return False
    largest, later = max(map(abs, then["losses"])), [ELSEWHERE[then["optimizer"]]] * (len(then["losses"]) - 1)
    limits = [limit * largest for limit in (min(ELSEWHERE.values()), *later)]
    return all(abs(loss - recorded) <= limit for loss, recorded, limit in zip(now["losses"], then["losses"], limits, strict=True))


@pytest.mark.parametrize("name", GOLDEN["curves"])
def test_losses_are_those_that_were_recorded(name: str, found: dict[str, Curve]):
    now, then = found[name], GOLDEN["curves"][name]
    assert same(now, then, fingerprint(), GOLDEN["fingerprint"]), f"recorded {then}, found {now}"
    assert same(now, then, {}, GOLDEN["fingerprint"]), "what is equal to the last bit is within the limits of another machine"


@pytest.mark.parametrize("name", GOLDEN["curves"])
def test_a_curve_that_moved_is_found_on_any_machine(name: str):
    then = GOLDEN["curves"][name]
    losses, least = then["losses"], 2 * ELSEWHERE[then["optimizer"]] * max(map(abs, then["losses"]))
    for place in range(len(losses)):
        for by in (least, -least, math.nan):
            moved = then | {"losses": [*losses[:place], losses[place] + by, *losses[place + 1 :]]}
            assert not same(moved, then, {}, GOLDEN["fingerprint"])
    last_bit = then | {"losses": [*losses[:-1], math.nextafter(losses[-1], math.inf)]}
    assert not same(last_bit, then, GOLDEN["fingerprint"], GOLDEN["fingerprint"])
    assert same(last_bit, then, {}, GOLDEN["fingerprint"])


@pytest.mark.parametrize("name", GOLDEN["curves"])
def test_what_is_compared_is_learning(name: str):
    """Losses move by far more than machines differ, and no two curves are the same one."""
    then = GOLDEN["curves"][name]
    assert max(then["losses"]) - min(then["losses"]) > 10 * ELSEWHERE[then["optimizer"]] * max(map(abs, then["losses"]))
    assert sum(other["losses"] == then["losses"] for other in GOLDEN["curves"].values()) == 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(json.dumps({"fingerprint": fingerprint(), "curves": curves(Path(folder))}, indent=1) + "\n", encoding="utf-8")
