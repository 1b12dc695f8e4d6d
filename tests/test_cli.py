"""The command line with stand-in stages: homes, recipes, journals, errors to one line."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import Field

from scratchlm import cli, verbs
from scratchlm.core import journal as journals
from scratchlm.core.artifact import Draft, read_artifact
from scratchlm.core.config import Settings
from scratchlm.core.errors import ScratchError, UsageError
from scratchlm.recipes import RECIPES, store
from scratchlm.stages import STAGES

LOOK, WHY = "look    scratchlm report {}", "why     scratchlm corpus {} --removed 'a sentence that you miss'"


class StageConfig(Settings):
    seed: int = 0
    data: str | None = None
    chats: str | None = None
    steps: int = 3
    limits: dict[str, float] = Field(default_factory=dict)


class TinyRecipe(Settings):
    name: str = "tiny"
    seed: int = 0
    corpus: StageConfig = StageConfig()
    vocab: StageConfig = StageConfig()
    tokenize: StageConfig = StageConfig()
    pretrain: StageConfig = StageConfig()
    sft: StageConfig | None = StageConfig()
    prefer: StageConfig | None = None
    reinforce: StageConfig | None = None
    evaluate: StageConfig | None = None
    export: StageConfig | None = None
    report: StageConfig = StageConfig()


def tiny() -> TinyRecipe:
    """A recipe of nothing."""
    return TinyRecipe()


def stand_in(verb: str) -> ModuleType:
    """A stage that writes its configuration and says how far it is."""
    module = ModuleType(verb)

    def run(config, home, journal):
        if "few" not in (config.limits or ("few",)):
            raise UsageError(f"{verb}.limits: no such limit. Known: few.")

        def make(draft: Draft) -> None:
            draft.write_json("config.json", config.model_dump())
            journal.progress(verb, 1.0, 2.0, "files", loss=2.5)
            draft.count(files=1)

        return home.build(STAGES[verb], config, [], make)

    vars(module)["run"] = run
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder in which every stage is a stand-in and `mine:tiny` is a recipe."""
    for verb in STAGES:
        monkeypatch.setitem(sys.modules, f"scratchlm.stages.{verb}", stand_in(verb))
    mine = ModuleType("mine")
    vars(mine)["tiny"] = tiny
    vars(mine)["nothing"] = lambda: 3
    monkeypatch.setitem(sys.modules, "mine", mine)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scratchlm(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def recipe_in(home: Path) -> dict:
    return json.loads((home / "recipe.json").read_text())["recipe"]


def test_a_run_builds_every_stage_of_the_recipe_and_names_the_next_command(folder: Path, capsys):
    code, out, err = scratchlm(capsys, "run", "mine:tiny")
    made = {verb for verb, name in STAGES.items() if read_artifact(folder / "runs" / "tiny" / name, name)}
    assert (code, err) == (0, "")
    assert made == {"corpus", "vocab", "tokenize", "pretrain", "sft", "report"}
    assert out.rstrip().splitlines()[-2:] == ["next    scratchlm chat mine:tiny", "        scratchlm serve mine:tiny"]


def test_a_second_run_finds_everything_there(folder: Path, capsys):
    scratchlm(capsys, "run", "mine:tiny")
    _, out, _ = scratchlm(capsys, "run", "mine:tiny")
    assert out.count("was already there") == 6


def test_one_stage_ends_by_naming_the_one_after_it(folder: Path, capsys):
    _, out, _ = scratchlm(capsys, "corpus", "mine:tiny")
    assert out.rstrip().endswith("next    scratchlm vocab mine:tiny")


def test_the_journal_of_the_home_tells_what_was_typed_and_how_long_each_stage_took(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny")
    events = list(journals.read(folder / "runs" / "tiny" / "journal.jsonl"))
    assert [event["event"] for event in events] == ["command", "stage", "stage"]
    assert (events[1]["state"], events[2]["state"], events[2]["counts"]) == ("started", "finished", {"files": 1})
    assert events[2]["seconds"] >= 0


def test_what_is_piped_has_no_control_characters(folder: Path, capsys):
    _, out, _ = scratchlm(capsys, "run", "mine:tiny")
    assert out
    assert all(letter.isprintable() or letter == "\n" for letter in out)


def test_json_output_is_one_event_per_line(folder: Path, capsys):
    _, out, _ = scratchlm(capsys, "run", "mine:tiny", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert {event["event"] for event in events} == {"command", "stage", "progress", "end"}
    assert events[-1]["next"][0] == "scratchlm chat mine:tiny"


def test_the_seed_reaches_every_stage_unless_one_is_set_by_itself(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny", "--seed", "7", "--set", "sft.seed=9")
    recipe = recipe_in(folder / "runs" / "tiny")
    assert [recipe["seed"], recipe["corpus"]["seed"], recipe["pretrain"]["seed"], recipe["sft"]["seed"]] == [7, 7, 7, 9]


def test_a_later_verb_reads_what_the_home_was_asked(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny", "--seed", "7", "--set", "pretrain.steps=5")
    code, _, _ = scratchlm(capsys, "pretrain", "mine:tiny")
    made = read_artifact(folder / "runs" / "tiny" / "base", "base")
    assert code == 0
    assert made is not None
    assert (made.manifest.config["seed"], made.manifest.config["steps"]) == (7, 5)


def test_another_recipe_for_the_same_home_is_refused_in_one_line(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny")
    before = (folder / "runs" / "tiny" / "recipe.json").read_bytes()
    code, _, err = scratchlm(capsys, "corpus", "mine:tiny", "--set", "corpus.steps=4")
    assert code == 2
    assert err.count("\n") == 1
    assert "made with corpus.steps = 3, asked for 4" in err
    assert "--home" in err
    assert "--again" in err
    assert (folder / "runs" / "tiny" / "recipe.json").read_bytes() == before


def test_settings_of_a_stage_that_has_left_nothing_may_change(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny")
    code, _, err = scratchlm(capsys, "corpus", "mine:tiny", "--set", "pretrain.steps=5")
    assert (code, err) == (0, "")
    code, _, _ = scratchlm(capsys, "pretrain", "mine:tiny", "--set", "pretrain.steps=6")
    assert code == 0
    assert recipe_in(folder / "runs" / "tiny")["pretrain"]["steps"] == 6
    code, _, err = scratchlm(capsys, "pretrain", "mine:tiny", "--set", "pretrain.steps=7")
    assert code == 2
    assert "made with pretrain.steps = 6, asked for 7" in err
    code, _, err = scratchlm(capsys, "corpus", "mine:tiny", "--seed", "9")
    assert code == 2
    assert "made with seed = 0, asked for 9" in err


def test_a_checkpoint_on_the_way_is_not_thrown_away_unasked(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny")
    (folder / "runs" / "tiny" / "base.partial" / "checkpoints" / "3").mkdir(parents=True)
    code, _, err = scratchlm(capsys, "pretrain", "mine:tiny", "--set", "pretrain.steps=6")
    assert code == 2
    assert "made with pretrain.steps" in err


def test_again_accepts_the_new_recipe_and_builds_anew(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny")
    code, out, _ = scratchlm(capsys, "corpus", "mine:tiny", "--set", "corpus.steps=4", "--again")
    assert code == 0
    assert "done in" in out
    assert recipe_in(folder / "runs" / "tiny")["corpus"]["steps"] == 4


def test_running_again_from_nothing_forgets_what_was_asked_before(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny", "--seed", "7")
    scratchlm(capsys, "run", "mine:tiny", "--again")
    assert recipe_in(folder / "runs" / "tiny")["seed"] == 0


def test_a_data_folder_gives_the_home_its_name_and_the_folder_stands_for_the_recipe(folder: Path, capsys):
    (folder / "my novels").mkdir()
    _, out, _ = scratchlm(capsys, "corpus", "mine:tiny", "--data", "my novels")
    home = Path("runs") / "tiny-my-novels"
    assert recipe_in(home)["corpus"]["data"] == str((folder / "my novels").resolve())
    assert out.rstrip().endswith(f"next    scratchlm vocab {home}")
    code, _, _ = scratchlm(capsys, "vocab", str(home))
    assert code == 0
    assert read_artifact(home / "tokenizer", "tokenizer")


def test_running_a_home_again_from_nothing_learns_from_the_same_folder(folder: Path, capsys):
    (folder / "novels").mkdir()
    scratchlm(capsys, "corpus", "mine:tiny", "--data", "novels", "--set", "corpus.steps=4")
    scratchlm(capsys, "run", "runs/tiny-novels", "--again")
    found = recipe_in(folder / "runs" / "tiny-novels")["corpus"]
    assert (found["data"], found["steps"]) == (str((folder / "novels").resolve()), 3)


def test_a_file_of_chats_is_part_of_the_recipe(folder: Path, capsys):
    scratchlm(capsys, "sft", "mine:tiny", "--chats", "chats.jsonl")
    assert recipe_in(folder / "runs" / "tiny")["sft"]["chats"] == str((folder / "chats.jsonl").resolve())


def test_an_artifact_from_elsewhere_is_taken_instead_of_built(folder: Path, capsys):
    scratchlm(capsys, "run", "mine:tiny", "--home", "first")
    _, out, _ = scratchlm(capsys, "run", "mine:tiny", "--home", "second", "--from", "base=first/base")
    assert "pretrain: taken from" in out
    assert not (folder / "second" / "base").exists()
    assert (folder / "second" / "sft").exists()


def test_what_comes_next_takes_from_the_same_place(folder: Path, capsys):
    scratchlm(capsys, "corpus", "mine:tiny", "--home", "first")
    _, out, _ = scratchlm(capsys, "vocab", "mine:tiny", "--home", "second", "--from", "corpus=first/corpus")
    assert out.rstrip().endswith("next    scratchlm tokenize second --from=corpus=first/corpus")
    _, out, _ = scratchlm(capsys, "tokenize", "second", "--from", "corpus=first/corpus")
    _, out, _ = scratchlm(capsys, "pretrain", "second")
    assert out.rstrip().endswith("next    scratchlm sft second")


def test_a_toml_file_changes_a_recipe(folder: Path, capsys):
    (folder / "small.toml").write_text('recipe = "mine:tiny"\n[pretrain]\nsteps = 8\n')
    scratchlm(capsys, "corpus", "small.toml")
    recipe = recipe_in(folder / "runs" / "small")
    assert (recipe["name"], recipe["pretrain"]["steps"]) == ("small", 8)


def test_an_edited_toml_file_is_noticed(folder: Path, capsys):
    (folder / "small.toml").write_text('recipe = "mine:tiny"\n')
    scratchlm(capsys, "corpus", "small.toml")
    (folder / "small.toml").write_text('recipe = "mine:tiny"\nseed = 2\n')
    code, _, err = scratchlm(capsys, "vocab", "small.toml")
    assert code == 2
    assert "asked for 2" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu", "laptop"], "Did you mean 'run'?"),
        (["run", "latop"], "Did you mean 'laptop'?"),
        (["run", "mine:tiny", "--sed", "3"], "--seed"),
        (["run", "mine:tiny", "--seed", "three"], "--seed"),
        (["run", "mine:tiny", "--set", "pretrian.steps=3"], "Did you mean 'pretrain'?"),
        (["run", "mine:tiny", "--set", "pretrain.steps=many"], "pretrain.steps"),
        (["run", "mine:tiny", "--set", "pretrain.steps"], "has no '='"),
        (["run", "mine:tiny", "--from", "bse=x"], "Did you mean 'base'?"),
        (["run", "mine:tiny", "--from", "base=nowhere"], "no such folder"),
        (["run", "mine:tiny", "--data", "nowhere"], "no such folder"),
        (["prefer", "mine:tiny"], "no such stage"),
        (["run", "mine:tny"], "Did you mean 'tiny'?"),
        (["run", "mine:nothing"], "not a Recipe"),
        (["run", "no_such_module:tiny"], "no module 'no_such_module'"),
        (["run", "absent.toml"], "absent.toml"),
        (["report", "runs/nothing-there"], "there is no run in runs/nothing-there"),
        (["chat", "runs/nothing-there"], "there is no run in runs/nothing-there"),
    ],
)
def test_a_mistake_is_one_line_exit_2_and_leaves_nothing(folder: Path, capsys, arguments, words):
    code, out, err = scratchlm(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("scratchlm: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (folder / "runs").exists()


def test_a_new_home_whose_settings_a_stage_refuses_is_not_left_behind(folder: Path, capsys):
    code, _, err = scratchlm(capsys, "corpus", "mine:tiny", "--set", "corpus.limits.fwe=3")
    assert (code, err) == (2, "scratchlm: corpus.limits: no such limit. Known: few.\n")
    assert not (folder / "runs" / "tiny").exists()


@pytest.mark.parametrize("verb", ["corpus", "run"])
def test_settings_that_a_stage_refuses_leave_the_home_as_it_was(folder: Path, capsys, verb: str):
    scratchlm(capsys, "corpus", "mine:tiny", "--seed", "7")
    home = folder / "runs" / "tiny"
    before, made = (home / "recipe.json").read_bytes(), read_artifact(home / "corpus", "corpus")
    assert scratchlm(capsys, verb, "mine:tiny", "--seed", "7", "--set", "corpus.limits.fwe=3", "--again")[0] == 2
    assert (home / "recipe.json").read_bytes() == before
    assert read_artifact(home / "corpus", "corpus") == made
    assert scratchlm(capsys, "corpus", "mine:tiny")[0] == 0


def test_what_was_built_keeps_its_recipe_when_a_later_stage_refuses(folder: Path, capsys):
    assert scratchlm(capsys, "run", "mine:tiny", "--set", "corpus.steps=4", "--set", "sft.limits.fwe=3")[0] == 2
    assert recipe_in(folder / "runs" / "tiny")["corpus"]["steps"] == 4
    assert scratchlm(capsys, "sft", "mine:tiny", "--set", "sft.limits={}", "--again")[0] == 0
    assert recipe_in(folder / "runs" / "tiny")["sft"]["limits"] == {}


def test_a_run_begins_by_naming_what_earlier_commands_changed(folder: Path, capsys):
    _, out, _ = scratchlm(capsys, "corpus", "mine:tiny", "--set", "corpus.limits.few=3", "--set", "corpus.steps=3", "--seed", "7")
    assert "changed" not in out
    _, out, _ = scratchlm(capsys, "corpus", "mine:tiny", "--set", 'corpus.chats="a"', "--again")
    assert out.splitlines()[0] == "  changed in this home: seed=7, corpus.limits.few=3"
    _, out, _ = scratchlm(capsys, "corpus", "mine:tiny", "--set", "corpus.limits={}", "--again")
    assert out.splitlines()[0] == '  changed in this home: seed=7, corpus.chats="a"'
    assert "changed" not in scratchlm(capsys, "run", "mine:tiny", "--again")[1]
    scratchlm(capsys, "corpus", "mine:tiny", "--seed", "0")
    assert "changed" not in scratchlm(capsys, "corpus", "mine:tiny")[1]


def test_a_corpus_ends_by_saying_where_to_look_and_a_report_where_it_lies(folder: Path, capsys, monkeypatch):
    _, out, _ = scratchlm(capsys, "corpus", "mine:tiny", "--home", "my runs")
    assert out.splitlines()[-3:-1] == [LOOK.format("'my runs'"), WHY.format("'my runs'")]
    report = sys.modules["scratchlm.stages.report"]
    monkeypatch.setattr(
        report, "run", lambda config, home, _: home.build("report", config, [], lambda out: out.write_text("index.html", ""))
    )
    _, out, _ = scratchlm(capsys, "report", "mine:tiny", "--home", "my runs")
    assert out.splitlines()[-2] == f"report  {Path('my runs/report/index.html')}"


def test_a_second_process_on_the_same_home_is_refused(folder: Path, capsys):
    from scratchlm.core.artifact import Home

    with Home(folder / "runs" / "tiny").lock():
        code, _, err = scratchlm(capsys, "run", "mine:tiny")
    assert code == 2
    assert "another process" in err


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "runs/tiny/corpus/x"), 1, "runs/tiny/corpus/x: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "runs/tiny/x"), 1, "runs/tiny/x: Permission denied"),
        (KeyboardInterrupt(), 130, "stopped"),
        (ScratchError("somewhere: too little. Give more."), 2, "somewhere: too little. Give more."),
    ],
)
def test_what_stops_a_stage_is_told_in_one_line(folder: Path, capsys, monkeypatch, raised, code, words):
    def run(config, home, journal):
        raise raised

    monkeypatch.setattr(sys.modules["scratchlm.stages.corpus"], "run", run)
    found, _, err = scratchlm(capsys, "run", "mine:tiny")
    assert found == code
    assert err.count("\n") == 1
    assert words in err


def test_our_own_mistake_keeps_its_traceback(folder: Path, monkeypatch):
    def run(config, home, journal):
        raise ZeroDivisionError

    monkeypatch.setattr(sys.modules["scratchlm.stages.corpus"], "run", run)
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", "mine:tiny"])


def test_a_view_is_given_the_home_and_its_own_options(folder: Path, capsys, monkeypatch):
    seen = {}
    chat = ModuleType("chat")
    vars(chat)["show"] = lambda home, **options: seen.update(options, home=home.path)
    monkeypatch.setitem(sys.modules, "scratchlm.views.chat", chat)
    scratchlm(capsys, "chat", "mine:tiny", "--prompt", "hello", "--model", "base")
    assert seen == {"home": Path("runs/tiny"), "model": "base", "prompt": "hello", "complete": False}


def test_a_verb_without_a_recipe_lists_them(folder: Path, capsys):
    code, out, _ = scratchlm(capsys, "run")
    assert code == 2
    assert "RECIPE" in out
    assert all(name in out for name in store.summaries())
    assert set(store.summaries()) <= set(RECIPES)


def test_help_names_every_verb_and_imports_nothing_heavy():
    program = "import sys; from scratchlm import cli\ntry: cli.main([])\nfinally: print('torch' in sys.modules, 'rich' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(f"  {verb} " in ended.stdout for verb in verbs.VERBS)
    shown, _, imported = ended.stdout.rstrip().rpartition("\n")
    assert imported == "False False"
    starts = [line.partition(":  ")[2].strip() for line in shown.rstrip().splitlines()[-3:]]
    assert starts == ["scratchlm run laptop", "scratchlm run laptop --data FOLDER", "scratchlm run smoke"]


def test_every_stage_is_a_verb():
    assert set(STAGES) | {"run", verbs.ADOPT, *verbs.VIEWS} == set(verbs.VERBS)
