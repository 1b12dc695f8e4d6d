"""The model card: what it is, what it learned from and under which licences, how good it is, how to run it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Source:
    """One origin of the training text."""

    name: str
    licence: str
    documents: int
    characters: int


@dataclass(frozen=True)
class Facts:
    """What the card tells; what is unknown is empty and left out."""

    name: str
    version: str
    parameters: int
    shape: Mapping[str, Any]
    recipe: Mapping[str, Any]
    """Resolved settings of the stage that trained it."""
    sources: Sequence[Source] = ()
    scores: Mapping[str, Any] | None = None
    """The contents of ``scores.json``."""
    origin: Mapping[str, Any] | None = None
    """The contents of ``origin.json``, of a model that was adopted."""


def sources_of(path: Path) -> list[Source]:
    """Documents and characters of each source and licence in a split."""
    if not path.exists():
        return []
    table = pq.read_table(path, columns=["source", "licence", "n_chars"])
    plain = pa.table({"source": table["source"].cast("string"), "licence": table["licence"].cast("string"), "size": table["n_chars"]})
    groups = plain.group_by(["source", "licence"]).aggregate([("size", "count"), ("size", "sum")]).to_pylist()
    found = [Source(row["source"], row["licence"] or "unknown", row["size_count"], row["size_sum"] or 0) for row in groups]
    return sorted(found, key=lambda source: (source.name, source.licence))


def card(facts: Facts) -> str:
    """``README.md``, with the header that model hubs read."""
    parts = [
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\nlicense: other\nlicense_name: see-licence-section\n---\n",
        f"# {facts.name}\n",
        f"A {facts.shape['kind']} language model of {facts.parameters:,} parameters, {_built(facts)} scratchLM {facts.version}: "
        f"{facts.shape['layers']} layers, width {facts.shape['width']}, a vocabulary of {facts.shape['vocab']:,}, "
        f"{facts.shape['context']} tokens of context. It is small: expect it to know what it was taught, and little else.\n",
        USE,
        *_results(facts.scores),
        *_data(facts.sources),
        f"## Recipe\n\nThe settings of its last stage of training.\n\n```json\n{json.dumps(dict(facts.recipe), indent=1)}\n```\n",
        *_origin(facts.origin),
        LICENCE,
    ]
    return "\n".join(parts)


def _built(facts: Facts) -> str:
    return f"made from {_cell(facts.origin['name'])} with" if facts.origin else "built from raw text by"


def _origin(origin: Mapping[str, Any] | None) -> Iterator[str]:
    if origin:
        added = f" New tokens: {', '.join(f'`{name}`' for name in origin['added'])}." if origin["added"] else ""
        yield f"## Origin\n\nIt began as {_cell(origin['name'])}, licence: {_cell(origin['licence'] or 'not told')}.{added}\n"


USE = """## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
question = [{"role": "user", "content": "What can you do?"}]
prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**prompt, max_new_tokens=64)
print(tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True))
```
"""

LICENCE = """## Licence

scratchLM, which made these files, is under the Apache License 2.0. The weights were learned from the texts listed above, each under
its own licence, and from those of the model they began as, if one is named; whoever publishes them decides, with those licences in view,
under which terms.
"""


def _results(scores: Mapping[str, Any] | None) -> Iterator[str]:
    rows = [row for name, facts in (scores or {}).get("models", {}).items() for row in _rows(name, facts)]
    if rows:
        yield "## Results\n\nOn held-out text and questions, each with its 95 % interval and the number of cases.\n"
        yield "| model | measure | value | interval | n |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _rows(name: str, facts: Mapping[str, Any], *, above: str = "") -> Iterator[str]:
    """A line for each measured value, also of those that stand in groups."""
    for measure, fact in facts.items():
        if not isinstance(fact, Mapping):
            continue
        label = f"{above}{measure}".replace("_", " ")
        if all(isinstance(fact.get(key), int | float) for key in ("value", "low", "high")):
            yield f"| {name} | {label} | {fact['value']:.4g} | {fact['low']:.4g} to {fact['high']:.4g} | {fact.get('n', '')} |"
        else:
            yield from _rows(name, fact, above=f"{label}: ")


def _data(sources: Sequence[Source]) -> Iterator[str]:
    if sources:
        rows = [f"| {_cell(s.name)} | {_cell(s.licence)} | {s.documents:,} | {s.characters:,} |" for s in sources]
        yield "## Training text\n\n| source | licence | documents | characters |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split()) or "unknown"
