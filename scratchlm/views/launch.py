"""How a recipe is trained by many processes: the lines to type on one host or on several, or a job file for Slurm or Kubernetes.

Files are written and never run. What a user gave stands in them quoted, so that it is one word there whatever it holds.
"""

import json
import math
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field, model_validator
from rich.console import Console

import scratchlm
from scratchlm.core.artifact import Home, write_atomically
from scratchlm.core.config import Settings, from_plain, nearest
from scratchlm.core.errors import UsageError
from scratchlm.plans.words import one_line, words_of

RUN = "run"
TRAINING = ("pretrain", "sft", "prefer", "reinforce")
"""Verbs whose stage shares its work out."""
PREFLIGHT = "scratchlm.parallel.preflight"
PORT = 29500
RESTARTS = 3
"""How often torchrun starts all processes anew when one breaks; they go on from the newest checkpoint."""
HOURS = 24.0
NOTICE_S, STOP_S = 120, 110
"""Seconds from the warning to the end, and those of them that torchrun leaves for a checkpoint."""
PATIENCE_S = 300
"""For processes of a job that have not come to the preflight yet: some nodes are slow to start."""
JOIN_S = 1800
"""Within so many seconds all pods must have come: images may take long to fetch."""
LOGS = "logs"
"""In the run's folder: what all processes say, and which job has passed its preflight."""
MOUNTED = "/scratch"
"""Where pods have the shared volume, which is their working folder too."""
LONGEST_NAME = 50
"""Of a job: Kubernetes adds a pod's number and allows 63 letters."""
TEMPLATES = {"slurm": "launch.sbatch", "kubernetes": "launch.yaml"}
SUBMIT = {"slurm": "sbatch", "kubernetes": "kubectl apply -f"}
ONLY = {"slurm": ("partition", "account"), "kubernetes": ("image", "volume")}
"""Options that one kind of job file has."""
READS = {"corpus": "data", "sft": "chats", "prefer": "pairs"}
"""Stages that read what a user has, and the field that says where it lies."""
NAMES = {
    "partition": r"[A-Za-z0-9][A-Za-z0-9_.,-]*",
    "account": r"[A-Za-z0-9][A-Za-z0-9_.@-]*",
    "image": r"[A-Za-z0-9][A-Za-z0-9_.:/@-]*",
    "volume": r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?",
}
"""What such a name is made of where it is given: by Slurm, in registries of images, by Kubernetes."""


class Launch(Settings):
    """What is asked for beside the recipe."""

    nodes: int = Field(default=1, ge=1)
    processes: int = Field(default=8, ge=1)
    """On each node, one for each GPU."""
    verb: str = "pretrain"
    slurm: Path | None = None
    kubernetes: Path | None = None
    image: str | None = None
    partition: str | None = None
    account: str | None = None
    volume: str | None = None
    hours: float | None = Field(default=None, gt=0, le=10_000)
    again: bool = False

    @model_validator(mode="after")
    def _names_are_names(self) -> "Launch":
        for name, letters in NAMES.items():
            if (value := dict(self)[name]) is not None and not re.fullmatch(letters, value):
                raise ValueError(f"{name}: {value!r} will not do: a name there is made of {letters}")
        return self

    @property
    def files(self) -> dict[str, Path]:
        """The job files that are asked for, by kind."""
        return {kind: path for kind, path in (("slurm", self.slurm), ("kubernetes", self.kubernetes)) if path is not None}


def show(home: Home, *, recipe: Settings, asked: Settings, **options: Any) -> None:
    """Print how to train by ``recipe``, or write it to files; ``asked`` is what was typed of it, and is to be typed again."""
    launch = from_plain(Launch, options, "launch")
    _refuse_idle(launch)
    stages = stages_of(recipe, launch.verb)
    divided = {verb: stage.parallel.sizes(launch.nodes * launch.processes) for verb, stage in stages.items()}
    words = words_of(launch.verb, home, dict(asked))
    if launch.nodes * launch.processes > 1:
        from scratchlm.plans.begins import refuse_what_would_not_begin  # needs torch

        refuse_what_would_not_begin(stages, dict(recipe), home, launch.nodes * launch.processes)
    job = job_of(launch, slug(str(dict(recipe)["name"]), launch.verb), home, words, [stage.device for stage in stages.values()])
    if launch.kubernetes:
        _refuse_outside(paths_of(home, dict(recipe), launch.verb))
    texts = {kind: rendered(kind, job | {"file": one_line(path.name)}) for kind, path in launch.files.items()}
    for kind, path in launch.files.items():  # all of them before the first is written
        _refuse_target(path, texts[kind], kind, again=launch.again)
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    for kind, path in launch.files.items():
        console.print(write(path, texts[kind], kind), markup=False)
    for line in [] if launch.files else lines(launch, job, divided):
        console.print(line, markup=False)


def _refuse_idle(launch: Launch) -> None:
    """UsageError where an option is given of a job file that is not asked for."""
    given = launch.model_dump(exclude_none=True)
    for kind in (kind for kind in ONLY if kind not in launch.files):
        if idle := [f"--{name}" for name in ONLY[kind] if name in given]:
            raise UsageError(f"launch: {' and '.join(idle)} would be lost without --{kind} FILE. Add it, or leave that out.")
    if launch.hours and not launch.files:
        raise UsageError("launch: --hours would be lost without --slurm FILE or --kubernetes FILE. Add one, or leave it out.")


def paths_of(home: Home, recipe: Mapping[str, Any], verb: str) -> dict[str, Path]:
    """What training reads and writes, by how it is given."""
    found = {f"--home {home.path}": home.path} | {f"--from {name}={path}": path for name, path in home.sources.items()}
    for stage, field in READS.items():
        value = dict(recipe[stage])[field] if verb in (RUN, stage) and recipe[stage] else None
        if value is not None and "://" not in str(value):
            found[f"{stage}.{field} {value}"] = Path(value)
    return found


def _refuse_outside(paths: Mapping[str, Path]) -> None:
    for given, path in paths.items():
        if not Path(os.path.normpath(Path(MOUNTED) / path)).is_relative_to(MOUNTED):
            raise UsageError(f"{given}: pods have the shared volume at {MOUNTED}. Give a path below that, or one such as runs/NAME.")


def stages_of(recipe: Settings, verb: str) -> dict[str, Any]:
    """Settings of the stages that a verb trains; UsageError where there are none."""
    told = dict(recipe)
    if verb not in (RUN, *TRAINING):
        raise UsageError(f"--verb {verb}: it does not train.{nearest(verb, (RUN, *TRAINING))}")
    found = {each: told[each] for each in TRAINING if verb in (RUN, each) and told[each]}
    if not found:
        raise UsageError(f"--verb {verb}: the recipe '{told['name']}' has no such stage. Choose another verb.")
    return found


def slug(name: str, verb: str) -> str:
    """A job's name that Slurm and Kubernetes both take."""
    letters = re.sub(r"[^a-z0-9]+", "-", f"scratchlm-{name}"[: LONGEST_NAME - len(verb)].lower()).strip("-")
    return f"{letters}-{verb}"


def job_of(launch: Launch, name: str, home: Home, words: Sequence[str], devices: Sequence[str]) -> dict[str, Any]:
    """All that the templates name."""
    minutes = math.ceil(60 * (launch.hours or HOURS))
    gpus = 0 if set(devices) == {"cpu"} else launch.processes
    check = ["--device", "cuda" if gpus else "cpu", "--home", str(home.path), "--timeout", str(PATIENCE_S)]
    each = "process" if launch.processes == 1 else "processes"
    return {
        "title": f"scratchlm {shlex.join(words)}: {launch.nodes} node{'s' * (launch.nodes > 1)} of {launch.processes} {each}",
        "name": name,
        "nodes": launch.nodes,
        "processes": launch.processes,
        "gpus": gpus,
        "check": check,
        "words": [*words],
        "home": str(home.path),
        "folder": str(home.path / LOGS),
        "logs": ["--log-dir", str(home.path / LOGS), "--tee", "3", "--local-ranks-filter", "0"],
        "python": one_line(sys.executable),
        "partition": launch.partition,
        "account": launch.account,
        "image": launch.image or f"scratchlm:{scratchlm.__version__}",
        "volume": launch.volume or "scratchlm",
        "time": f"{minutes // 60}:{minutes % 60:02d}:00",
        "deadline_s": launch.hours and 60 * minutes,
        "preflight": PREFLIGHT,
        "port": PORT,
        "restarts": RESTARTS,
        "notice_s": NOTICE_S,
        "stop_s": STOP_S,
        "join_s": JOIN_S,
        "mounted": MOUNTED,
        "meeting": meeting,
    }


def meeting(nodes: int, processes: int, address: str, identity: str, restarts: int) -> list[str]:
    """torchrun's options by which processes on several nodes find each other."""
    size = ["--nnodes", str(nodes), "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    return [*size, "--rdzv-backend", "c10d", "--rdzv-endpoint", address, "--rdzv-id", identity]


def lines(launch: Launch, job: Mapping[str, Any], divided: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What is printed: where to type what, and what else there is."""
    training, check = ["-m", "scratchlm", *job["words"]], ["-m", PREFLIGHT, "--home", job["home"]]
    here = ["torchrun", "--standalone", "--nproc-per-node", str(launch.processes)]
    if launch.nodes > 1:
        where = f"On each of {launch.nodes} nodes that share the folder {job['home']}, with the name of one of them as HOST:"
        typed = [
            ["torchrun", *meeting(launch.nodes, launch.processes, f"HOST:{PORT}", f"{job['name']}-preflight", 0), *check],
            ["torchrun", *meeting(launch.nodes, launch.processes, f"HOST:{PORT}", job["name"], RESTARTS), *training],
        ]
    elif launch.processes > 1:
        where, typed = "On one node:", [[*here, *check], [*here, "--max-restarts", str(RESTARTS), *training]]
    else:
        where, typed = "In one process:", [["scratchlm", *job["words"]]]
    axes = {verb: " x ".join(f"{axis} {size}" for axis, size in sizes.items() if size > 1) for verb, sizes in divided.items()}
    return [
        *(f"{verb}: {told}" for verb, told in axes.items() if told),
        where,
        "",
        *(f"  {shlex.join(each)}" for each in typed),
        "",
        "The same line goes on from the newest checkpoint, by as many processes as you like.",
        "Other numbers: --nodes N --processes M. As a job: --slurm FILE, --kubernetes FILE.",
    ]


def for_a_pod(word: str) -> str:
    """As it stands in a pod's command, or $(NAME) would be replaced: kubernetes.io, "Define Dependent Environment Variables"."""
    return word.replace("$", "$$")


def rendered(kind: str, job: Mapping[str, Any]) -> str:
    """The text of a job file."""
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True)
    templates.filters |= {
        "shell": shlex.quote,
        "yaml": lambda word: json.dumps(word, ensure_ascii=False),  # a quoted scalar of YAML, as its letters are printable
        "pod": for_a_pod,
    }
    return templates.get_template(TEMPLATES[kind]).render(job)


def _refuse_target(path: Path, text: str, kind: str, *, again: bool) -> None:
    """UsageError where a job file cannot be written; what is there with other contents stays unless ``again``."""
    if path.exists() and not path.is_file():
        raise UsageError(f"--{kind} {path}: there is something that is no file. Give a file's name.")
    if path.exists() and not again and path.read_bytes() != text.encode():
        raise UsageError(f"--{kind} {path}: it is there with other contents. Give another name, or write over it with --again.")
    if not path.parent.is_dir():
        raise UsageError(f"--{kind} {path}: there is no folder {path.parent}. Make it, or give another name.")


def write(path: Path, text: str, kind: str) -> str:
    """Write a job file, unless it is there, and say what to do with it."""
    then = f"Read it, then type: {SUBMIT[kind]} {shlex.quote(str(path))}"
    if path.exists() and path.read_bytes() == text.encode():
        return f"{path}: it is there, and just so. {then}"
    write_atomically(path, text.encode())
    return f"{path}: written. {then}"
