"""Write ``docs/guide/reference.md`` from the tables in the code; with ``--check``, exit 1 when the page would change.

A row of a table is a choice on the command line and a line of the reference: its docstring is its documentation.
"""

import ast
import importlib
import inspect
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from scratchlm.evals.knowledge import Knowledge
from scratchlm.evals.tasks import TASKS
from scratchlm.export import gguf
from scratchlm.model import cost
from scratchlm.model.architectures import ARCHITECTURES, parameters_of, shape_only
from scratchlm.model.sizes import SIZES
from scratchlm.optim import OPTIMIZERS
from scratchlm.recipes import RECIPES, store
from scratchlm.rules.filters import RULES
from scratchlm.rules.profiles import WEB
from scratchlm.stages import STAGES
from scratchlm.tokenizer.store import TOKENIZERS
from scratchlm.verbs import ADOPT, DEFAULTS, FIELDS, OPTIONS, VERBS, VIEWS, options_of

PAGE = Path(__file__).parent / "guide" / "reference.md"
MOST_SHOWN = 5
"""Items of a list that are shown."""
USUAL = {
    "seed": "Of everything random in this stage; the recipe's unless it is set by itself.",
    "vocab": "Rows of the embedding.",
    "context": "Positions that are read at once.",
    "layers": "Blocks, one behind the other.",
    "width": "Channels of the stream between blocks.",
    "heads": "Query heads of each layer.",
    "kv_heads": "Key-value heads, each shared by as many query heads.",
    "head_dim": "Channels of a head.",
    "rope_theta": "Base of the rotary angles: the larger, the slower the slowest turns.",
    "norm_eps": "Added to mean squares, so that nothing is divided by zero.",
    "dropout": "Share of activations that are set to zero in training.",
    "experts": "Feed-forwards in each block.",
    "experts_per_token": "Of them, those that a position is answered by.",
    "lr": "Peak step size.",
    "embedding_lr": "Peak step size of embeddings.",
    "head_lr": "Peak step size of the head.",
    "beta1": "Of the running mean of gradients.",
    "beta2": "Of the running mean of their squares.",
    "eps": "Added to root mean squares, so that nothing is divided by zero.",
    "momentum": "Of the running mean of gradients.",
    "weight_decay": "On matrices only, times the step size.",
    "validation_steps": "Steps between two measurements.",
    "sample_steps": "Steps between two samples.",
}
"""What a field is called everywhere in the field, for those whose name says nearly all."""
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
    return "\n".join([HEAD, *verbs(), *options(), *recipes(), *stages(), *parts(), *settings()])


def verbs() -> Iterator[str]:
    """What each verb does and leaves."""
    yield "## Verbs\n\nEach is typed as `scratchlm VERB RECIPE`, but for `scratchlm adopt DIR`. `--help` behind it shows its options.\n"
    rows = ((code(name), verb.summary, leaves(name), ", ".join(option(own) for own in verb.own)) for name, verb in VERBS.items())
    yield table(("verb", "what it does", "leaves in the run's folder", "own options"), rows)


def leaves(verb: str) -> str:
    """What stands in the home after the verb."""
    if verb == ADOPT:
        return "`tokenizer/`, `base/`, and `sft/` where it converses"
    return code(f"{STAGES[verb]}/") if verb in STAGES else "nothing" if verb in VIEWS else "all of them"


def options() -> Iterator[str]:
    """Every option, and which verbs have it."""
    yield "## Options\n"
    rows = []
    for name, annotation in OPTIONS.items():
        if name not in ("recipe", "directory"):
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
    have = [verb for verb in VERBS if name in options_of(verb)]
    others = [code(verb) for verb in VERBS if verb not in have]
    if len(have) < len(others):
        return ", ".join(map(code, have))
    return "all" + (f" but {', '.join(others[:-1])} and {others[-1]}" if len(others) > 1 else f" but {others[0]}" if others else "")


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
    others = {"a Hugging Face directory": [name for name, row in ARCHITECTURES.items() if row.HF_NAMES], "GGUF": gguf.ARCHITECTURES}
    exported = {name: ", ".join(form for form, names in others.items() if name in names) or "–" for name in ARCHITECTURES}
    yield table(("architecture", "what it is", "exported as"), ((code(n), first(r.__doc__), exported[n]) for n, r in ARCHITECTURES.items()))
    yield from sizes()
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


def sizes() -> Iterator[str]:
    """Named shapes, and what they count by the formulas that tests compare with the models themselves."""
    yield "## Sizes\n\nShapes of `SIZES` in `model/sizes.py`; `scratchlm plan RECIPE` tells what any other takes.\n"
    counts = (cost.parameters, cost.active_parameters, cost.body_parameters, cost.training_flops)
    rows = (
        (code(name), code(c.kind), c.layers, f"{c.width:,}", f"{c.vocab:,}", f"{c.context:,}", *(f"{count(c):,}" for count in counts))
        for name, c in SIZES.items()
    )
    head = ("size", "architecture", "layers", "width", "vocab", "context", "parameters", "active for a token")
    yield table((*head, "without embeddings and head", "FLOPs per token of training at full context"), rows)


def settings() -> Iterator[str]:
    """Every setting of every stage, each group of them as a table of its own; one that several stages have is told once."""
    yield "## Settings\n"
    yield "Changed with `--set STAGE.NAME=VALUE`; the value is JSON, or text when it is not JSON, and `null` is None."
    yield "A group that is `null` is given whole, and so is a list: `[…]` stands for each of a list, `{…}` for each value of a mapping."
    yield "Defaults are those of the stage; recipes have numbers of their own, which `recipe.json` in the folder of a run lists.\n"
    groups: list[tuple[str, type[BaseModel]]] = [(verb, importlib.import_module(f"scratchlm.stages.{verb}").Config) for verb in STAGES]
    told_at: dict[type[BaseModel], str] = {}
    while groups:
        place, kind = groups.pop(0)
        told_at[kind] = place
        yield f"### {code(place)}\n\n{first(kind.__doc__)}\n"
        inner = {name: under(f"{place}.{name}", field.annotation) for name, field in kind.model_fields.items()}
        new = {each: found for found in inner.values() for found, each in found if each not in told_at}
        told_at |= new
        groups[:0] = [(where, each) for each, where in new.items()]
        told = meanings(kind)
        rows = (
            (
                code(name),
                preset(field),
                meaning(told.get(name, USUAL.get(name, "")), [(told_at[each], each) for _, each in inner[name]])
                + choices(field.annotation),
            )
            for name, field in kind.model_fields.items()
        )
        yield table(("setting", "default", "meaning"), rows)


def meaning(told: str, inner: Sequence[tuple[str, type[BaseModel]]]) -> str:
    """What is said of a field, and where its own fields are."""
    said = told or (str(inner[0][1].__doc__).partition("\n")[0] if len(inner) == 1 else "")
    fields = f"Fields: {', '.join(code(place) for place, _ in inner)}." if inner else ""
    return " ".join(part for part in (said.replace("<", "&lt;"), fields) if part)


def choices(annotation: Any) -> str:
    """The words that a field may be, or the keys that a mapping may have, where they are given."""
    if get_origin(annotation) is dict:
        return choices(get_args(annotation)[0]).replace("One of", "Keys:")
    return f" One of {', '.join(map(code, get_args(annotation)))}." if get_origin(annotation) is Literal else ""


def meanings(kind: type[BaseModel]) -> Mapping[str, str]:
    """The docstring below each field of a model that has one, on one line; those that it inherits are its own, too."""
    above = [base for base in kind.__bases__ if issubclass(base, BaseModel) and base is not BaseModel]
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    return {name: told for base in above for name, told in meanings(base).items()} | {
        field.target.id: " ".join(below.value.value.split())
        for field, below in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def under(place: str, annotation: Any) -> list[tuple[str, type[BaseModel]]]:
    """The models that may stand at a place, or in a list or mapping there; where several may, each with its kind."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(place, annotation)]
    origin = get_origin(annotation)
    if origin is Annotated:
        return under(place, get_args(annotation)[0])
    inside = {tuple: "[…]", dict: "{…}", UnionType: "", Union: ""}
    found = [each for part in get_args(annotation) for each in under(place + inside[origin], part)] if origin in inside else []
    many = origin in (UnionType, Union) and len(found) > 1
    return (
        [(where if " = " in where.rpartition(".")[2] else f"{where} = {kind.model_fields['kind'].default}", kind) for where, kind in found]
        if many
        else found
    )


def preset(field: FieldInfo) -> str:
    """What a field is when nothing is said, shortened when it is long."""
    if field.is_required():
        return "must be given"
    if field.default_factory not in (None, dict):
        return (inspect.getdoc(field.default_factory) or "").rstrip(".").lower()
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "as below"
    if isinstance(value, tuple) and len(value) > MOST_SHOWN:
        return f"{len(value)}, such as {', '.join(code(each) for each in value[:2])}"
    return code(json.dumps(value))


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
