"""Write ``docs/guide/reference.md`` from the tables in the code; with ``--check``, exit 1 when the page would change.

A row of a table is a choice on the command line and a line of the reference: its docstring is its documentation.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scratchlm.cli import COMMON, DEFAULTS, FIELDS, OF_VIEWS, OPTIONS, VERBS, VIEWS
from scratchlm.evals.knowledge import Knowledge
from scratchlm.evals.tasks import TASKS
from scratchlm.model.architectures import ARCHITECTURES, parameters_of, shape_only
from scratchlm.optim import OPTIMIZERS
from scratchlm.recipes import RECIPES, store
from scratchlm.rules.filters import RULES
from scratchlm.rules.profiles import WEB
from scratchlm.stages import STAGES
from scratchlm.tokenizer.store import TOKENIZERS

PAGE = Path(__file__).parent / "guide" / "reference.md"
HEAD = """<!-- made by docs/tables.py: change the docstring of the row instead -->

# Reference

What can be typed and what can be chosen. This page is made from the tables in the code.
"""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or say whether it is up to date; the exit code."""
    made = reference()
    if "--check" not in arguments:
        PAGE.write_text(made, encoding="utf-8", newline="\n")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == made:
        return 0
    sys.stderr.write(f"{PAGE}: not what the code says. Run `make docs` (or `python docs/tables.py`) and commit the page.\n")
    return 1


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *verbs(), *options(), *recipes(), *stages(), *parts()])


def verbs() -> Iterator[str]:
    """What each verb does and leaves."""
    yield "## Verbs\n\nEach is typed as `scratchlm VERB RECIPE`. `scratchlm VERB --help` shows its options.\n"
    rows = ((code(name), verb.summary, leaves(name), ", ".join(option(own) for own in verb.own)) for name, verb in VERBS.items())
    yield table(("verb", "what it does", "leaves in the run's folder", "own options"), rows)


def leaves(verb: str) -> str:
    """What stands in the home after the verb."""
    return code(f"{STAGES[verb]}/") if verb in STAGES else "nothing" if verb in VIEWS else "all of them"


def options() -> Iterator[str]:
    """Every option, and which verbs have it."""
    yield "## Options\n"
    rows = []
    for name, annotation in OPTIONS.items():
        if name != "recipe":
            told = annotation.__metadata__[0].help
            same = f" For `{FIELDS[name].partition('.')[0]}` the same as `--set {FIELDS[name]}=…`." if name in FIELDS else ""
            preset = f" Default: {DEFAULTS[name]}." if DEFAULTS.get(name) else ""
            rows.append((option(name), told + same + preset, who_has(name)))
    yield table(("option", "meaning", "verbs"), rows)


def option(name: str) -> str:
    """``--port N``, as it is typed."""
    info = OPTIONS[name].__metadata__[0]
    return code(" ".join([f"--{name.replace('_', '-')}", *([info.metavar] if info.metavar else [])]))


def who_has(name: str) -> str:
    """The verbs that take an option."""
    if name in OF_VIEWS:
        return "all"
    if name in COMMON:
        return f"all but {' and '.join(map(code, VIEWS))}"
    return ", ".join(code(verb) for verb, row in VERBS.items() if name in row.own)


def recipes() -> Iterator[str]:
    """Each recipe and the size of its model."""
    yield "## Recipes\n\n`RECIPE` is one of these, or `module:function`, a `.toml` file, or the folder of a run.\n"
    told = store.summaries()
    rows = []
    for name in RECIPES:
        pretrain = plain(name).pretrain
        size = parameters_of(shape_only(pretrain.model))
        rows.append((code(name), told[name], code(pretrain.model.kind), f"{size / 1e6:.1f} M", f"{pretrain.tokens / 1e6:,g} M"))
    yield table(("recipe", "what it is", "architecture", "parameters at most", "training tokens"), rows)


def stages() -> Iterator[str]:
    """Which recipe has which stage."""
    yield "## Stages\n\nIn their order. A recipe without a stage has None in its place.\n"
    rows = (
        (code(verb), code(f"{artifact}/"), *("yes" if getattr(plain(name), verb) else "–" for name in RECIPES))
        for verb, artifact in STAGES.items()
    )
    yield table(("stage", "leaves", *RECIPES), rows)


def plain(recipe: str) -> Any:
    """The recipe as it stands, without options."""
    return store.load(recipe)


def parts() -> Iterator[str]:
    """The tables that a recipe chooses from."""
    yield '## Architectures\n\nChosen with `--set pretrain.model=\'{"kind": "NAME"}\'`.\n'
    exported = {name: "a Hugging Face directory" if row.HF_NAMES else "–" for name, row in ARCHITECTURES.items()}
    yield table(("architecture", "what it is", "exported as"), ((code(n), first(r.__doc__), exported[n]) for n, r in ARCHITECTURES.items()))
    yield '## Optimizers\n\nChosen with `--set pretrain.optimizer=\'{"kind": "NAME"}\'`; any training stage has the field.\n'
    yield table(("optimizer", "what it is"), ((code(name), first(row.__doc__)) for name, row in OPTIMIZERS.items()))
    yield "## Tokenizers\n\nChosen with `--set vocab.kind=NAME`.\n"
    documents = {name: sys.modules[row.train.__module__].__doc__ for name, row in TOKENIZERS.items()}
    yield table(("tokenizer", "what it is", "rows at least"), ((code(n), first(documents[n]), r.fewest) for n, r in TOKENIZERS.items()))
    yield "## Rules\n\nThe limit is that for web pages; other kinds of text have milder ones or none: `LIMITS` in `rules/profiles.py`.\n"
    yield "A limit is changed with `--set corpus.thresholds.NAME=NUMBER`.\n"
    limits = ((f"{row.keeps} {WEB[name]:g}" if name in WEB else "–") for name, row in RULES.items())
    rows = ((code(name), row.about, limit) for (name, row), limit in zip(RULES.items(), limits, strict=True))
    yield table(("rule", "what it refuses", "limit"), rows)
    yield "## Tasks\n\nWhat an assistant is taught and asked; the score of a task is also a reward: `--set reinforce.task=NAME`.\n"
    asked = {name: row(Knowledge(kind="python")).phrasings.test for name, row in TASKS.items()}
    yield table(("task", "what it is", "asked in the test as"), ((code(n), first(r.__doc__), span(asked[n])) for n, r in TASKS.items()))


def first(docstring: str | None) -> str:
    """Its first line."""
    return (docstring or "").strip().partition("\n")[0]


def code(text: str) -> str:
    return f"`{text}`"


def span(text: str) -> str:
    """Code that may hold backticks itself."""
    return f"`` {text} ``"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table, and an empty line after it."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
