"""`scratchlm plan` tells what a run costs before there is one, in the numbers of the formulas, and leaves nothing."""

import re
import shlex
from pathlib import Path
from typing import Any

import foreign_models
import pytest
from test_cli import scratchlm

from scratchlm import cli
from scratchlm.core.config import with_sets
from scratchlm.model import cost
from scratchlm.model import store as models
from scratchlm.model.architectures import ARCHITECTURES
from scratchlm.model.sizes import SIZES
from scratchlm.plans import labour
from scratchlm.plans.advice import advise
from scratchlm.plans.hardware import Machines
from scratchlm.plans.ways import as_set, named
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


def by_section(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[list[str]]]:
    """Rows of what is printed, by heading."""
    code, out, err = scratchlm(capsys, "plan", *arguments)
    assert (code, err) == (0, "")
    found: dict[str, list[list[str]]] = {"": []}
    for line in (line.rstrip() for line in out.splitlines() if line.strip()):
        if line.startswith("  "):
            found[[*found][-1]].append(re.split(r"\s{2,}", line.strip()))
        else:
            found[line] = []
    return found


OF_DEVICES = ("Division of labour", "Messages of a process in a step", "Time of a step")


def test_without_devices_the_plan_is_as_it_was(capsys):
    found = by_section(capsys, "node")
    assert not set(OF_DEVICES) & set(found)
    assert not any("torchrun" in heading for heading in found)


def test_devices_are_told_the_best_division_what_it_holds_and_what_to_type(capsys, folder: Path):
    found, config = by_section(capsys, "node", "--devices", "8xh100"), pretrain("node")
    asked = labour.asked_of(config, Machines.read("8xH100"))
    best = advise(asked).best
    assert found["Division of labour"][0][:2] == ["devices", "8 x H100"]
    assert found["Division of labour"][1][1:] == [labour.lasting(best.forecast.seconds), f"a step: {named(best.division)}"]
    held = {name: size for name, size, *_ in found[f"Memory of a process {best.held.moment}"]}
    assert held == {name: plan.short(size, "B") for name, size in [*best.held.parts.items(), ("together", best.held.total)] if size}
    sent = {name: size for name, size, _ in found["Messages of a process in a step"]}
    assert sent == {name: plan.short(each.size_bytes, "B") for name, each in best.forecast.messages.items()}
    took = {name: value for name, value, *_ in found["Time of a step"]}
    assert took["tokens a second"] == f"{best.forecast.tokens_per_s:,.0f}"
    steps = -(-config.tokens // (config.rows * config.model.context))
    assert took["the run"] == labour.lasting(steps * best.forecast.seconds)
    assert any(heading.startswith("torchrun --standalone --nproc-per-node 8 -m scratchlm pretrain node") for heading in found)
    assert list(folder.iterdir()) == []


def test_a_division_of_the_recipe_s_own_is_told_beside_the_best(capsys):
    own = ("--set", "pretrain.parallel.tensor=4", "--set", "pretrain.rows_at_once=2")
    rows = by_section(capsys, "node", "--devices", "8xH100", *own)["Division of labour"]
    (told_of,) = (row for row in rows if row[0] == "as the recipe has it")
    assert told_of[1].startswith("+")
    assert told_of[2].startswith("shard 2 x tensor 4, ZeRO-3, 2 rows at once: ")
    odd = by_section(capsys, "node", "--devices", "8xH100", "--set", "pretrain.parallel.replicate=3")["Division of labour"]
    assert ["as the recipe has it", "–"] in [row[:2] for row in odd]


def test_what_is_typed_is_the_recipe_as_it_was_given_and_the_way_that_was_planned(capsys, folder: Path):
    (folder / "mine.toml").write_text('recipe = "node"\n')
    (folder / "shards").mkdir()
    given = ["mine.toml", "--home", "my home", "--from", "shards=shards"]
    sets = ["--set", "pretrain.rows=256", "--set", 'pretrain.parallel={"schedule": "interleaved", "spans": 4, "pipeline": 2}']
    found = by_section(capsys, *given, *sets, "--devices", "8xH100")
    (line,) = (shlex.split(heading) for heading in found if heading.startswith("torchrun "))
    (more,) = (shlex.split(heading) for heading in found if heading.startswith("scratchlm launch "))
    for words in (line[line.index("pretrain") + 1 :], more[2:]):
        assert words[: len(given) + len(sets)] == [*given, *sets]
    _, values = cli.parse(line[line.index("pretrain") :])
    config: Any = store.resolved(store.Asked(recipe=values["recipe"], sets=tuple(values["set"])))
    best = advise(labour.asked_of(config.pretrain, Machines.read("8xH100"))).best
    told = as_set(labour.asked_of(config.pretrain, Machines.read("8xH100")), config.pretrain.parallel, config.pretrain.rows_at_once)
    assert named(told.division) == named(best.division)
    assert found["Division of labour"][1][2] == f"a step: {named(best.division)}"


def test_with_devices_the_memory_of_one_process_that_has_all_is_not_told(capsys):
    assert "Memory of a step" in by_section(capsys, "node")
    assert "Memory of a step" not in by_section(capsys, "node", "--devices", "8xH100")


def test_one_device_is_told_no_layout(capsys):
    found = by_section(capsys, "node", "--devices", "1xH100")
    assert not any("parallel" in heading for heading in found)


def test_more_devices_that_gain_nothing_are_told_of(capsys):
    rows = by_section(capsys, "shakespeare", "--devices", "8xH100")["Division of labour"]
    assert [row[1] for row in rows if row[0] == "enough"] == ["1 x H100"]
    assert "enough" not in [row[0] for row in by_section(capsys, "node", "--devices", "8xH100")["Division of labour"]]


def test_a_dtype_that_is_for_one_process_is_planned_for_one(capsys):
    code, out, err = scratchlm(capsys, "plan", "node", "--devices", "8xH100", "--set", "pretrain.dtype=float8")
    assert (code, out) == (2, "")
    assert "--devices 8xH100: dtype float8 is for one process." in err
    assert "Time of a step" in by_section(capsys, "node", "--devices", "1xH100", "--set", "pretrain.dtype=float8")


def test_a_pipeline_s_processes_are_told_one_by_one(capsys):
    found = by_section(capsys, "one_gpu", "--devices", "3xH100", "--set", "pretrain.rows=8")
    (memory,) = (rows for heading, rows in found.items() if heading.startswith("Memory of a process"))
    assert [row[0] for row in memory][-3:] == [f"process {rank} of the pipeline" for rank in range(3)]
    assert "idle in the pipeline" in [row[0] for row in found["Time of a step"]]


def test_what_is_only_fine_tuned_is_shared_out_by_nobody(capsys, folder: Path):
    assert scratchlm(capsys, "adopt", str(foreign_models.write(folder / "there", "qwen3", turns=True)))[0] == 0
    code, out, err = scratchlm(capsys, "plan", "runs/there", "--devices", "8xH100")
    assert (code, out) == (2, "")
    assert "--devices: 'adopted' has no pretrain stage whose work could be shared out." in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("node", "--devices", "8xH10"), "no figures of a 'H10' are here. Did you mean 'H100'?"),
        (("node", "--devices", "many"), "write how many of which, such as 8xH100"),
        (("node", "--devices", "12xH100"), "a machine has 8 H100. Write 8 or 16."),
        (("cluster_70b", "--devices", "8xRTX4090"), "the least that a division was found to take is"),
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
