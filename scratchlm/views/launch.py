"""How a recipe is trained by many processes: the lines to type on one host or on several, or a job file for Slurm or Kubernetes.

Files are written and never run. What a user gave stands in them quoted, so that it is one word there whatever it holds.
"""

import json
import math
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
JOIN_S = 1800
"""Within so many seconds all pods must have come: images may take long to fetch."""
MOUNTED = "/scratch"
"""Where pods have the shared volume, which is their working folder too."""
LONGEST_NAME = 50
"""Of a job: Kubernetes adds a pod's number and allows 63 letters."""
TEMPLATES = {"slurm": "launch.sbatch", "kubernetes": "launch.yaml"}
ONLY = {"slurm": ("partition", "account"), "kubernetes": ("image", "volume")}
"""Options that one kind of job file has."""
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
    job = job_of(launch, slug(str(dict(recipe)["name"]), launch.verb), home, words, [stage.device for stage in stages.values()])
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    for kind, path in launch.files.items():
        if kind == "kubernetes":
            _refuse_outside(home.path)
        console.print(write(path, rendered(kind, job | {"file": one_line(path.name)}), kind, again=launch.again), markup=False)
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


def _refuse_outside(home: Path) -> None:
    if home.is_absolute() and not home.is_relative_to(MOUNTED):
        raise UsageError(f"--home {home}: pods have the shared volume at {MOUNTED}. Give a folder below that, or one such as runs/NAME.")


def stages_of(recipe: Settings, verb: str) -> dict[str, Any]:
    """Settings of the stages that a verb trains; UsageError where there are none."""
    told = dict(recipe)
    if verb not in (RUN, *TRAINING):
        raise UsageError(f"--verb {verb}: it does not train.{nearest(verb, (RUN, *TRAINING))}")
    found = {each: told[each] for each in TRAINING if verb in (RUN, each) and told[each]}
    if not found:
        raise UsageError(f"--verb {verb}: the recipe '{told['name']}' has no such stage. Choose another verb.")
    return found


def words_of(verb: str, home: Home, asked: Mapping[str, Any]) -> list[str]:
    """The words behind ``scratchlm``: this recipe, home, artifacts from elsewhere and changed fields."""
    sources = [word for name, path in home.sources.items() for word in ("--from", f"{name}={path}")]
    sets = [word for each in asked["sets"] for word in ("--set", each)]
    return [one_line(word) for word in (verb, asked["recipe"], "--home", str(home.path), *sources, *sets)]


def one_line(word: str) -> str:
    """The word itself; UsageError for one that a line of a file cannot hold."""
    if not word.isprintable():
        raise UsageError(f"{word!r}: it holds a line break or another letter that cannot be printed, so it is no word of a command.")
    return word


def slug(name: str, verb: str) -> str:
    """A job's name that Slurm and Kubernetes both take."""
    letters = re.sub(r"[^a-z0-9]+", "-", f"scratchlm-{name}"[: LONGEST_NAME - len(verb)].lower()).strip("-")
    return f"{letters}-{verb}"


def job_of(launch: Launch, name: str, home: Home, words: Sequence[str], devices: Sequence[str]) -> dict[str, Any]:
    """All that the templates name."""
    minutes = math.ceil(60 * (launch.hours or HOURS))
    device = devices[0] if len(set(devices)) == 1 and devices[0] in ("cpu", "cuda") else "auto"
    each = "process" if launch.processes == 1 else "processes"
    return {
        "title": f"scratchlm {shlex.join(words)}: {launch.nodes} node{'s' * (launch.nodes > 1)} of {launch.processes} {each}",
        "name": name,
        "nodes": launch.nodes,
        "processes": launch.processes,
        "gpus": 0 if device == "cpu" else launch.processes,
        "device": device,
        "words": [*words],
        "home": str(home.path),
        "logs": ["--log-dir", str(home.path / "logs"), "--tee", "3", "--local-ranks-filter", "0"],
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


def rendered(kind: str, job: Mapping[str, Any]) -> str:
    """The text of a job file."""
    templates = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, keep_trailing_newline=True)
    templates.filters |= {
        "shell": shlex.quote,
        "yaml": lambda word: json.dumps(word, ensure_ascii=False),  # a quoted scalar of YAML, as its letters are printable
        "pod": lambda word: word.replace(
            "$", "$$"
        ),  # or $(NAME) would be replaced: kubernetes.io, "Define Dependent Environment Variables"
    }
    return templates.get_template(TEMPLATES[kind]).render(job)


def write(path: Path, text: str, kind: str, *, again: bool) -> str:
    """Write a job file, and say what to do with it; what is there with other contents stays unless ``again``."""
    submit = {"slurm": "sbatch", "kubernetes": "kubectl apply -f"}[kind]
    then = f"Read it, then type: {submit} {shlex.quote(str(path))}"
    if path.exists() and not path.is_file():
        raise UsageError(f"--{kind} {path}: there is something that is no file. Give a file's name.")
    if path.exists() and path.read_bytes() == text.encode():
        return f"{path}: it is there, and just so. {then}"
    if path.exists() and not again:
        raise UsageError(f"--{kind} {path}: it is there with other contents. Give another name, or write over it with --again.")
    if not path.parent.is_dir():
        raise UsageError(f"--{kind} {path}: there is no folder {path.parent}. Make it, or give another name.")
    write_atomically(path, text.encode())
    return f"{path}: written. {then}"
