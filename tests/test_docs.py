"""The pages say what the code does: listings are there, commands parse, examples run, links lead somewhere, nothing is fetched."""

import ast
import importlib
import importlib.util
import itertools
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stand_in import Echo
from test_serve_client import serving

from scratchlm import cli, verbs
from scratchlm.corpus.gathering import Extra
from scratchlm.corpus.mix import Share
from scratchlm.evals.knowledge import Knowledge
from scratchlm.evals.tasks import TASKS
from scratchlm.model.architectures import ARCHITECTURES
from scratchlm.optim import OPTIMIZERS
from scratchlm.recipes import RECIPES, store
from scratchlm.recipes.recipe import Recipe
from scratchlm.rules.filters import RULES
from scratchlm.stages import STAGES
from scratchlm.tokenizer.store import TOKENIZERS
from scratchlm.web.crawl_config import CrawlConfig

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "guide"
CHAPTERS = sorted(GUIDE.glob("*.md"))
FOR_USERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *CHAPTERS]
PAGES = [*FOR_USERS, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
CONTRIBUTING, README = (ROOT / name for name in ("CONTRIBUTING.md", "README.md"))
TABLES = (verbs.VERBS, STAGES, RECIPES, ARCHITECTURES, OPTIMIZERS, TOKENIZERS, RULES, TASKS)
FENCE = re.compile(r"^```(\S*) ?(.*?)$\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of these languages."""
    return [body for language, _, body in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


def listings(page: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Each file that a page includes, with the options of the directive."""
    for kind, path, body in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind in ("{literalinclude}", "{include}", "{image}"):
            options = dict(re.findall(r"^:([a-z-]+): *\"?(.*?)\"?$", body, re.MULTILINE))
            yield (page.parent / path).resolve(), options


def defined(tree: ast.AST, name: str) -> bool:
    """Whether ``Class.method`` or ``function`` is in a module."""
    first, _, rest = name.partition(".")
    found = [node for node in ast.iter_child_nodes(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == first]
    return bool(found) and (not rest or defined(found[0], rest))


def commands() -> Iterator[tuple[str, str]]:
    """Every command in a page for users, in a block or within a line, and where it stands."""
    for page in FOR_USERS:
        lines = [line for body in blocks(page, "sh", "powershell") for line in body.splitlines()]
        inline = re.findall(r"`((?:scratchlm|make) [a-z][^`]*)`", FENCE.sub("", page.read_text(encoding="utf-8")))
        yield from ((name_of(page), line.replace(".venv\\Scripts\\", "")) for line in [*lines, *inline])


def words_of(program: str) -> list[tuple[str, list[str]]]:
    return [(where, words[1:]) for where, line in commands() if (words := shlex.split(line))[0] == program]


def loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", CHAPTERS, ids=name_of)
def test_every_listing_is_in_the_file_it_names(page: Path):
    for path, options in listings(page):
        assert path.is_file(), path
        text = path.read_text(encoding="utf-8")
        if "pyobject" in options:
            assert defined(ast.parse(text), options["pyobject"]), f"{path}: no {options['pyobject']}"
            assert ("." in options["pyobject"]) == ("dedent" in options), f"{options['pyobject']}: a method is dedented, a function is not"
        if "start-at" in options:
            start = text.index(options["start-at"])
            end = options.get("end-at") or options["end-before"]
            assert end in text[start:], f"{path}: no '{end}' after '{options['start-at']}'"


@pytest.mark.parametrize("page", CHAPTERS, ids=name_of)
def test_the_guide_holds_no_copy_of_code(page: Path):
    assert not blocks(page, "python", "py", "toml")
    assert all(ROOT / "scratchlm" in path.parents for path, options in listings(page) if "language" in options)


def test_the_reference_is_what_the_code_says():
    tables = loaded(ROOT / "docs" / "tables.py")
    assert tables.PAGE.read_text(encoding="utf-8") == tables.reference(), "run `make docs`"


def test_a_stale_reference_fails_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    tables = loaded(ROOT / "docs" / "tables.py")
    monkeypatch.setattr(tables, "PAGE", tmp_path / "reference.md")
    assert tables.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert tables.main([]) == 0 == tables.main(["--check"])


def test_every_row_of_every_table_is_in_the_reference():
    page = (GUIDE / "reference.md").read_text(encoding="utf-8")
    assert [row for table in TABLES for row in table if f"| `{row}` |" not in page] == []


def test_every_setting_is_in_the_reference_with_its_meaning():
    page = (GUIDE / "reference.md").read_text(encoding="utf-8").partition("## Settings\n")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.*?) \|$", page, re.MULTILINE)
    kinds = [importlib.import_module(f"scratchlm.stages.{verb}").Config for verb in STAGES]
    kinds += [Extra, CrawlConfig, Share, *(row.Config for table in (ARCHITECTURES, OPTIMIZERS) for row in table.values())]
    assert {name for name, _, _ in rows} >= {name for kind in kinds for name in kind.model_fields if name != "kind"}
    assert [name for name, _, meaning in rows if not meaning] == []


@pytest.mark.parametrize(("where", "words"), words_of("scratchlm"))
def test_every_command_parses_and_changes_fields_that_exist(where: str, words: list[str]):
    verb, values = cli.parse(words)
    if verb == verbs.ADOPT:
        return
    recipe = values["recipe"]
    if recipe in RECIPES:
        resolved = store.resolved(store.Asked(recipe=recipe, sets=tuple(values.get("set") or ()), seed=values.get("seed")))
        assert isinstance(resolved, Recipe)
        assert verb in ("run", *verbs.VIEWS) or getattr(resolved, verb)
    else:
        assert recipe in ("RECIPE", "mine:patient", "patient.toml") or recipe.startswith("runs/"), where


@pytest.mark.parametrize(("where", "words"), words_of("make"))
def test_every_target_exists(where: str, words: list[str]):
    assert set(words) <= set(targets()), where


def test_every_file_looked_at_is_one_that_a_run_leaves():
    looked_at = [words[-1] for _, words in words_of("tail") + words_of("python") if words[-1].startswith("runs/")]
    assert looked_at
    assert [path for path in looked_at if path.split("/")[2] not in STAGES.values()] == []


def targets() -> list[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_help_has_a_line_for_each_target():
    shown = subprocess.run(["make", "-C", ROOT, "--no-print-directory", "help"], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make ([a-z]+)  +\S", shown, re.MULTILINE) == targets()
    assert len(shown.splitlines()) == len(targets())


def test_the_recipes_in_the_readme_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (python,) = [body for body in blocks(README, "python") if "Recipe" in body]
    (toml,) = blocks(README, "toml")
    (tmp_path / "mine.py").write_text(python)
    (tmp_path / "patient.toml").write_text(toml)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "mine", loaded(tmp_path / "mine.py"))
    by_python, by_toml = (store.resolved(store.Asked(recipe=name)) for name in ("mine:patient", "patient.toml"))
    assert isinstance(by_python, Recipe)
    assert isinstance(by_toml, Recipe)
    assert by_python.pretrain == by_toml.pretrain.model_copy(update={"seed": 0})
    assert (by_toml.seed, by_toml.pretrain.seed, by_toml.name) == (7, 7, "patient")


def test_the_client_in_the_readme_gets_an_answer(capsys: pytest.CaptureFixture[str]):
    (code,) = [body for body in blocks(README, "python") if "OpenAI" in body]
    with serving(Echo()) as (client, _):
        code = code.replace("http://127.0.0.1:8000/v1", str(client.base_url)).replace('"none"', '"secret"')
        exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "Which module has `sqrt`?\n"


def test_the_task_in_contributing_keeps_the_laws_of_tasks(tmp_path: Path):
    (code,) = blocks(CONTRIBUTING, "python")
    (tmp_path / "vowels.py").write_text(code)
    words = tuple(f"{first}{middle}{last}" for first in "bcdfgh" for middle in "aeiou" for last in ("ne", "st", "a", "ll"))
    task = runpy.run_path(str(tmp_path / "vowels.py"))["vowels"](Knowledge(kind="python", words=words))
    trained, tested = task.train(1, 200), task.test(1, 20)
    assert {example.facts["letters"] for example in trained}.isdisjoint(example.facts["letters"] for example in tested)
    for example in trained + tested:
        assert task.score(example, example.answer) == 1 > task.score(example, task.wrong_answer(example, 1))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCE.sub("", page.read_text(encoding="utf-8")))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_readme_keeps_a_place_for_measured_results():
    text = README.read_text(encoding="utf-8")
    assert text.count("<!-- results -->") == text.count("<!-- /results -->") == 1
    assert text.index("<!-- results -->") < text.index("<!-- /results -->")


def test_no_export_in_the_readme_takes_away_what_the_one_before_it_made():
    named = [
        set(formats.split(",")) for formats in re.findall(r"^scratchlm export .*--format (\S+)", README.read_text("utf-8"), re.MULTILINE)
    ]
    assert len(named) >= 2
    assert all(before <= after for before, after in itertools.pairwise(named))


def test_decisions_are_numbered_short_and_say_why():
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in found] == [f"{number:04d}" for number in range(1, len(found) + 1)]
    for path in found:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 25, path
        assert text.startswith(f"# {path.name[:4]} · "), path
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequence"], path


def test_the_glossary_is_sorted():
    terms = re.findall(r"^\| ([a-z -]+) \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)[1:]
    assert terms == sorted(set(terms))


def test_the_guide_asks_nothing_of_other_places(monkeypatch: pytest.MonkeyPatch):
    settings: dict[str, Any] = runpy.run_path(str(GUIDE / "conf.py"))
    assert settings["extensions"] == ["myst_parser"], "an extension may fetch: look what its pages ask for, then name it here"
    styles = [(GUIDE / "_static" / name).read_text(encoding="utf-8") for name in settings["html_css_files"]]
    assert not [style for style in styles if re.search(r"url\(|@import|//", style)]
    assert not [name for name in settings if name.endswith(("_js_files", "mathjax_path", "html_favicon", "html_logo"))]


def test_the_picture_is_whole_and_asks_for_nothing():
    picture = (ROOT / "docs" / "road.svg").read_text(encoding="utf-8")
    shown = "".join(ET.fromstring(picture).itertext())
    assert re.findall(r"https?://[^\"]*", picture) == ["http://www.w3.org/2000/svg"]
    assert "href" not in picture
    artifacts = [name.partition("/")[0] for name in STAGES.values()]
    assert [name for name in [*verbs.VERBS, *artifacts] if name != "run" and name not in shown] == []
