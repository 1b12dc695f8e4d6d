"""`scratchlm plan` tells what a run costs before there is one, in the numbers of the formulas, and leaves nothing."""

import re
from pathlib import Path
from typing import Any

import foreign_models
import pytest
from test_cli import scratchlm

from scratchlm.core.config import with_sets
from scratchlm.model import cost
from scratchlm.model import store as models
from scratchlm.model.architectures import ARCHITECTURES
from scratchlm.model.sizes import SIZES
from scratchlm.recipes import RECIPES, adopted, store
from scratchlm.views import plan


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a terminal wide enough for every line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """What is printed, by the name at the start of its line."""
    code, out, err = scratchlm(capsys, "plan", *arguments)
    assert (code, err) == (0, "")
    rows = [re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.startswith("  ") and line.strip()]
    return {row[0]: row[1] for row in rows} | {"first line": out.splitlines()[0]}


def pretrain(name: str, *sets: str) -> Any:
    return dict(store.resolved(store.Asked(recipe=name, sets=sets)))["pretrain"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_planned_before_anything_is_there(name: str, capsys, folder: Path):
    found, config = told(capsys, name), pretrain(name)
    assert found["total"] == f"{cost.parameters(config.model):,}"
    assert found["without embeddings and head"] == f"{cost.body_parameters(config.model):,}"
    steps = -(-config.tokens // (config.rows * config.model.context))
    assert int(found["tokens"].replace(",", "")) == steps * config.rows * config.model.context
    assert found["first line"].startswith(f"{name}: {config.model.kind}, {config.model.layers} layers")
    assert list(folder.iterdir()) == []


def test_what_is_set_is_planned(capsys):
    wide = told(capsys, "laptop", "--set", "pretrain.model.width=384", "--set", "pretrain.tokens=7000000")
    config = pretrain("laptop", "pretrain.model.width=384")
    assert wide["total"] == f"{cost.parameters(config.model):,}"
    assert wide["weights"] == plan.short(4 * cost.parameters(config.model), "B")
    assert wide["tokens"] == "7,000,064"


def test_what_a_budget_leaves_open_is_said(capsys):
    for given, chosen in (((), False), (("--budget", "30m"), True)):
        code, out, err = scratchlm(capsys, "plan", "laptop", *given)
        assert (code, err) == (0, "")
        assert ("Within 30m size, tokens, rows and rates are chosen when pre-training begins" in out) == chosen


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_can_be_planned(kind: str, capsys):
    found = told(capsys, "shakespeare", "--set", f'pretrain.model={{"kind": "{kind}"}}')
    model = pretrain("shakespeare", f'pretrain.model={{"kind": "{kind}"}}').model
    assert found["total"] == f"{cost.parameters(model):,}"
    assert ("active" in found) == (kind == "moe")
    assert ("hf" in found) == (ARCHITECTURES[kind].HF_NAMES is not None)
    assert ("gguf q4_0" in found) == ("hf" in found) != ("model.safetensors" in found)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_can_be_planned(size: str):
    config = with_sets(pretrain("one_gpu").model_copy(update={"model": SIZES[size]}), [])
    rows = {name: value for section in plan.sections(config.model, config, None).values() for name, value, _ in section}
    assert rows["total"] == f"{cost.parameters(SIZES[size]):,}"
    assert rows["of a full context"] == plan.short(cost.cache_bytes(SIZES[size], SIZES[size].context), "B")


def test_the_memory_of_a_step_is_by_part_and_together():
    config = pretrain("laptop")
    parts = cost.training_bytes(config.model, config.rows, config.optimizer.kind)
    rows = {name: value for name, value, _ in plan.memory(config.model, config)}
    assert rows["together"] == plan.short(sum(parts.values()), "B")
    assert {name: plan.short(size, "B") for name, size in parts.items()}.items() <= rows.items()


def test_a_window_and_experts_are_named(capsys):
    sets = ("--set", 'pretrain.model={"kind": "moe", "window": 64}')
    found = told(capsys, "laptop", *sets)
    assert found["first line"].startswith("laptop: moe, 4 layers of width 256, vocab 4,096, context 256, window 64, 2 of 8 experts")
    model = pretrain("laptop", sets[1]).model
    assert found["of a full context"] == plan.short(cost.cache_bytes(model, 64), "B")


def test_a_run_is_planned_as_it_was_asked_for(capsys, folder: Path):
    asked = store.Asked(recipe="smoke", sets=("pretrain.model.layers=5",))
    (folder / "runs" / "smoke").mkdir(parents=True)
    store.settle(folder / "runs" / "smoke", asked)
    before = (folder / "runs" / "smoke" / store.FILE).read_bytes()
    for name in ("smoke", "runs/smoke"):
        assert told(capsys, name)["total"] == f"{cost.parameters(pretrain('smoke', *asked.sets).model):,}"
    more = told(capsys, "smoke", "--set", "pretrain.model.width=48")
    assert more["total"] == f"{cost.parameters(pretrain('smoke', *asked.sets, 'pretrain.model.width=48').model):,}"
    assert (folder / "runs" / "smoke" / store.FILE).read_bytes() == before


@pytest.mark.parametrize("turns", [False, True])
def test_an_adopted_model_is_planned_as_it_came(turns: bool, capsys, folder: Path):
    """With a step of fine-tuning where its home has one."""
    there = foreign_models.write(folder / "there", "qwen3", turns=turns)
    assert scratchlm(capsys, "adopt", str(there))[0] == 0
    config, _ = models.load(folder / "runs" / "there" / ("sft" if turns else "base"))
    found = told(capsys, "runs/there")
    assert found["first line"].startswith(f"adopted: qwen3, {config.layers} layers of width {config.width}, vocab {config.vocab:,}")
    assert found["total"] == f"{cost.parameters(config):,}"
    assert found["of a full context"] == plan.short(cost.cache_bytes(config, config.context), "B")
    assert "tokens per parameter" not in found
    followed: Any = store.followed(folder / "runs" / "there", store.Asked(recipe=adopted.RECIPE))
    assert found["activations"] == plan.short(cost.activation_bytes(config, followed.sft.rows), "B")
    assert "activations" not in told(capsys, "runs/there", "--set", "sft=null")


def test_nothing_can_be_planned_where_no_model_came(capsys, folder: Path):
    code, out, err = scratchlm(capsys, "plan", adopted.RECIPE)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'adopted' has no pretrain stage, and no model is here. Bring one with `scratchlm adopt DIRECTORY`." in err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("laptop", "--set", "pretrain.model.widht=8"), "Did you mean 'width'?"),
        (("laptop", "--set", "pretrain.model.kv_heads=3"), "must be a multiple of kv_heads"),
        (("nowhere",), "no such recipe"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], said: str, capsys, folder: Path):
    code, out, err = scratchlm(capsys, "plan", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0, "B", "0 B"),
        (999, "B", "999 B"),
        (999.6, "B", "1 kB"),
        (1e6, "FLOP", "1 MFLOP"),
        (1.129e12, "B", "1.13 TB"),
        (2.9e6, "", "2.9 M"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(value: float | int, unit: str, shown: str):
    assert plan.short(value, unit) == shown
