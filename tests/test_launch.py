"""`scratchlm launch` prints lines that torchrun and we understand, and writes job files in which every word a user gave is one word."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_cli import scratchlm
from torch.distributed.run import get_args_parser

import scratchlm as package
from scratchlm import cli
from scratchlm.core.errors import UsageError
from scratchlm.parallel import preflight
from scratchlm.recipes import RECIPES
from scratchlm.views import launch

HOSTILE = [
    "a b",
    "it's",
    'say "x"',
    "$(touch owned)",
    "`touch owned`",
    "a; touch owned #",
    "$(HOME)",
    "$$",
    "\\",
    "*",
    "{{ 7 }}",
    "é: - [",
    "&",
]
MOE = '{"kind": "moe", "experts": 6}'
STUB = """#!{python}
import json, os, pathlib, signal, sys, time
here = pathlib.Path({folder!r})
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
told = {{key: os.environ.get(key) for key in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT")}}
with (here / "calls").open("a") as file:
    file.write(json.dumps([name, words, told]) + "\\n")
if name == "scontrol" and words[:2] == ["show", "hostnames"]:
    print("n1\\nn2")
if name == "scontrol" and words[:2] == ["show", "job"]:
    print(f"JobState=RUNNING PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime={{os.environ['PREEMPTED']}}")
if name == "scancel":
    (here / "asked").touch()
if name == "srun" and "torch.distributed.run" in words:
    until = time.monotonic() + 20
    while "wait" in os.environ["TRAINING"] and not (here / "asked").exists() and time.monotonic() < until:
        time.sleep(0.02)
    sys.exit(int(os.environ["TRAINING"].removeprefix("wait ")))
sys.exit(int(os.environ.get("PREFLIGHT", "0")) if name == "srun" else 0)
"""
"""Slurm's commands as a job sees them: each writes down what it was given; training ends as the test says."""
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and a recipe `smoke` that many processes can share out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(RECIPES, "smoke", "many_rows")
    return tmp_path


def typed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[list[str]]:
    """The words of each line to type."""
    code, out, err = scratchlm(capsys, "launch", *arguments)
    assert (code, err) == (0, "")
    return [shlex.split(line) for line in out.splitlines() if line.startswith("  ")]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a mistake is answered with."""
    code, out, err = scratchlm(capsys, "launch", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    return err


def job_files(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, Any, Any]:
    """The text for Slurm, and Kubernetes' Service and Job."""
    code, _, err = scratchlm(capsys, "launch", *arguments, "--slurm", "job.sbatch", "--kubernetes", "job.yaml", "--again")
    assert (code, err) == (0, "")
    service, job = yaml.safe_load_all(Path("job.yaml").read_text(encoding="utf-8"))
    return Path("job.sbatch").read_text(encoding="utf-8"), service, job


def directives(text: str) -> dict[str, str]:
    """Slurm reads them up to the first command."""
    head = text.partition("\nset -euo pipefail\n")[0].splitlines()
    assert head[0] == "#!/bin/bash"
    assert all(line.startswith("#") for line in head)
    found = [line.removeprefix("#SBATCH --").partition("=") for line in head if line.startswith("#SBATCH ")]
    return {name: value for name, _, value in found}


def test_one_node_is_two_lines_that_can_be_typed(capsys, folder: Path):
    check, train = typed(capsys, "smoke", "--home", "there", "--set", "pretrain.tokens=9", "--processes", "4")
    assert check == ["torchrun", "--standalone", "--nproc-per-node", "4", "-m", "scratchlm.parallel.preflight", "--home", "there"]
    assert train[:7] == ["torchrun", "--standalone", "--nproc-per-node", "4", "--max-restarts", "3", "-m"]
    assert cli.parse(train[8:])[1]["home"] == Path("there")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("verb", ["pretrain", "sft", "prefer", "reinforce", "run"])
def test_what_is_typed_on_many_nodes_is_what_torchrun_and_we_understand(capsys, verb: str):
    check, train = typed(capsys, "smoke", "--nodes", "3", "--processes", "2", "--verb", verb, "--set", "corpus.minimum_bytes=5")
    for words, module in ((check, "scratchlm.parallel.preflight"), (train, "scratchlm")):
        known = get_args_parser().parse_args(words[1:])
        assert (words[0], known.module, known.training_script) == ("torchrun", True, module)
        assert (known.nnodes, known.nproc_per_node, known.rdzv_backend, known.rdzv_endpoint) == ("3", "2", "c10d", "HOST:29500")
    assert get_args_parser().parse_args(check[1:]).rdzv_id != get_args_parser().parse_args(train[1:]).rdzv_id
    assert get_args_parser().parse_args(train[1:]).max_restarts == 3
    found, values = cli.parse(train[train.index("scratchlm") + 1 :])
    assert (found, values["recipe"], values["home"]) == (verb, "smoke", Path("runs/smoke"))
    assert values["set"] == ["corpus.minimum_bytes=5"]
    assert preflight._parser().parse_args(check[check.index("scratchlm.parallel.preflight") + 1 :]).home == Path("runs/smoke")


def test_the_lines_in_the_guide_are_those_that_are_printed(capsys):
    page = (Path(__file__).parent.parent / "docs" / "guide" / "launches.md").read_text(encoding="utf-8")
    written = [shlex.split(line) for line in page.splitlines() if line.startswith("torchrun --")]
    asked = [["--processes", "4"], ["--nodes", "2", "--processes", "4"], ["--processes", "4", "--verb", "sft"], ["--processes", "2"]]
    asked.append(["--processes", "4", "--set", "pretrain.parallel.tensor=2"])
    printed = [words for arguments in asked for words in typed(capsys, "laptop", *arguments)]
    assert len(written) == 8
    assert [words for words in written if words not in printed] == []


def test_one_process_needs_no_torchrun(capsys):
    assert typed(capsys, "smoke", "--processes", "1") == [["scratchlm", "pretrain", "smoke", "--home", "runs/smoke"]]


def test_artifacts_from_elsewhere_are_named_again(capsys, folder: Path):
    (folder / "my shards").mkdir()
    _, train = typed(capsys, "smoke", "--from", "shards=my shards")
    assert train[-2:] == ["--from", "shards=my shards"]


def test_it_says_who_would_compute_what(capsys):
    _, out, _ = scratchlm(capsys, "launch", "smoke", "--nodes", "2", "--set", "pretrain.parallel.tensor=4")
    assert out.splitlines()[0] == "pretrain: shard 4 x tensor 4"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "pretrain.parallel.tensor=3"], "tensor 3 take a multiple of 3 processes, and there are 8"),
        (["--verb", "run", "--set", "sft.parallel.pipeline=5"], "pipeline 5 take a multiple of 5 processes, and there are 8"),
        (["--set", "pretrain.rows=12"], "pretrain.parallel: 12 rows of a step cannot be shared out evenly among 8 processes"),
        (["--verb", "prefer", "--set", "prefer.pairs_per_step=4"], "prefer.parallel: 4 pairs of a step cannot be shared out evenly"),
        (["--verb", "reinforce", "--set", "reinforce.prompts=2"], "reinforce.parallel: 2 prompts of a step cannot be shared out evenly"),
        (["--verb", "prefer", "--set", "prefer.parallel.tensor=2"], "prefer.parallel: only pretrain and sft share layers"),
        (["--verb", "run", "--set", "reinforce.parallel.context=2"], "reinforce.parallel: only pretrain and sft share layers"),
        (["--set", "pretrain.parallel.pipeline=4"], "pretrain.parallel.pipeline: 2 layers cannot be cut into 4 stretches"),
        (["--verb", "sft", "--set", "sft.parallel.pipeline=4"], "sft.parallel.pipeline: 2 layers cannot be cut into 4 stretches"),
        (
            ["--set", "pretrain.parallel.pipeline=2", "--set", "pretrain.rows=4"],
            "1 rows of a step cannot be cut into as many micro-batches",
        ),
        (["--set", "pretrain.parallel.tensor=8"], "8 processes cannot share 12 heads out evenly"),
        (["--set", "pretrain.parallel.tensor=4", "--set", "pretrain.model.hidden=66"], "4 processes cannot share"),
        (["--set", "pretrain.parallel.context=8", "--set", "pretrain.model.context=100"], "rows of 100 positions cannot be cut into 16"),
        (["--set", 'pretrain.parallel={"context": 8, "context_by": "ulysses"}'], "8 processes cannot share 12 heads out evenly"),
        (["--set", "pretrain.parallel.expert=2"], "a 'qwen3' model has no experts"),
        (["--set", "pretrain.model=" + MOE, "--set", "pretrain.parallel.expert=4"], "4 processes cannot share 6 experts out evenly"),
        (["--set", "pretrain.dtype=float16"], "pretrain.dtype: float16 is for one process, and there are 8"),
        (["--set", "pretrain.budget=2h"], "pretrain.budget: what a time is worth is measured on one process"),
        (["--verb", "corpus"], "--verb corpus: it does not train."),
        (["--verb", "pretrian"], "Did you mean 'pretrain'?"),
        (["--nodes", "0"], "nodes: 0 will not do"),
        (["--nodes", "two"], "--nodes"),
        (["--processes", "-1"], "processes: -1 will not do"),
        (["--hours", "3"], "--hours would be lost without --slurm FILE or --kubernetes FILE"),
        (["--hours", "nan", "--slurm", "f"], "hours: nan will not do"),
        (["--hours", "0", "--slurm", "f"], "hours: 0.0 will not do"),
        (["--image", "x", "--slurm", "f"], "--image would be lost without --kubernetes FILE"),
        (["--partition", "x", "--account", "y", "--kubernetes", "f"], "--partition and --account would be lost without --slurm FILE"),
        (["--slurm", "nowhere/f"], "there is no folder nowhere"),
        (["--slurm", "."], "there is something that is no file"),
        (["--home", "/elsewhere/run", "--kubernetes", "f"], "--home /elsewhere/run: pods have the shared volume at /scratch"),
        (["--home", "../run", "--kubernetes", "f"], "--home ../run: pods have the shared volume at /scratch"),
        (["--from", "base=..", "--kubernetes", "f"], "--from base=..: pods have the shared volume at /scratch"),
        (["--verb", "sft", "--set", "sft.chats=/elsewhere/chats", "--kubernetes", "f"], "sft.chats /elsewhere/chats: pods have the shared"),
        (["--verb", "run", "--set", "corpus.data=/elsewhere", "--kubernetes", "f"], "corpus.data /elsewhere: pods have the shared volume"),
        (["--slurm", "first", "--kubernetes", "nowhere/f"], "there is no folder nowhere"),
        (["--set", "name=a\nb"], "holds a line break"),
        (["--home", "a\x1b[2Jb"], "holds a line break or another letter that cannot be printed"),
        (["--home", "a\u202eb"], "cannot be printed"),
        (["--slurm", "a\nb"], "holds a line break"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(capsys, folder: Path, arguments: list[str], words: str):
    assert words in refused(capsys, "smoke", *arguments)
    assert list(folder.iterdir()) == []


def test_a_recipe_without_the_stage_is_refused(capsys):
    assert "'shakespeare' has no such stage" in refused(capsys, "shakespeare", "--verb", "sft")


@pytest.mark.parametrize("name", launch.NAMES)
@pytest.mark.parametrize("value", [*HOSTILE, "", "-x", "a\nb", "a\n#SBATCH --uid=0", "x\n  y: z"])
def test_names_that_could_be_more_than_names_are_refused(name: str, value: str):
    with pytest.raises(UsageError, match=f"launch: {name}: "):
        launch.from_plain(launch.Launch, {name: value}, "launch")


@pytest.mark.parametrize(
    ("name", "value"),
    [("partition", "gpu_a100,gpu-h100"), ("account", "p12.lab@x"), ("image", "host.io:5000/a/b:1.2@sha256:ab"), ("volume", "runs-1.b")],
)
def test_names_as_they_are_in_use_are_taken(name: str, value: str):
    assert dict(launch.from_plain(launch.Launch, {name: value}, "launch"))[name] == value


def test_a_job_for_slurm_asks_for_what_it_needs(capsys):
    text, _, _ = job_files(capsys, "smoke", "--nodes", "4", "--partition", "gpu", "--account", "lab", "--hours", "1.51")
    assert directives(text) == {
        "job-name": "scratchlm-smoke-pretrain",
        "nodes": "4",
        "ntasks-per-node": "1",
        "exclusive": "",
        "mem": "0",
        "gpus-per-node": "8",
        "partition": "gpu",
        "account": "lab",
        "time": "1:31:00",
        "requeue": "",
        "signal": "B:USR1@120",
        "open-mode": "append",
        "output": "%x-%j.log",
    }
    assert 30 < launch.STOP_S < launch.NOTICE_S


def test_a_job_on_processors_asks_for_no_gpus(capsys):
    text, _, job = job_files(capsys, "smoke", "--set", "pretrain.device=cpu")
    assert not {"gpus-per-node", "partition", "account"} & set(directives(text))
    assert "--device cpu" in text
    assert "resources" not in box_of(job)
    assert words_after(box_of(job)["args"], "--device") == "cpu"
    assert directives(text)["time"] == "24:00:00"


def run_job(folder: Path, *, training: str = "0", preflight: str = "0", preempted: str = "None") -> subprocess.Popen[bytes]:
    """The job file, started as Slurm would, with Slurm's commands as stubs."""
    stubs = folder / "stubs"
    stubs.mkdir(exist_ok=True)
    for name in ("srun", "scontrol", "scancel"):
        (stubs / name).write_text(STUB.format(python=sys.executable, folder=str(folder)))
        (stubs / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "31", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_ON_NODE": "6"}
    told = {"PATH": f"{stubs}:{os.environ['PATH']}", "TRAINING": training, "PREFLIGHT": preflight, "PREEMPTED": preempted}
    return subprocess.Popen(["bash", "job.sbatch"], env=os.environ | slurm | told, cwd=folder, stdout=subprocess.DEVNULL)


def calls(folder: Path) -> list[tuple[str, list[str], dict[str, str]]]:
    """Every command of Slurm's that a job typed."""
    return [tuple(json.loads(line)) for line in (folder / "calls").read_text().splitlines()]


@needs_bash
def test_a_job_checks_first_and_trains_then_with_every_word_as_it_was_given(capsys, folder: Path):
    sets = [word for value in HOSTILE for word in ("--set", f"name={value}")]
    job_files(capsys, "smoke", "--nodes", "2", "--processes", "3", "--home", "the $(touch owned) home", *sets)
    subprocess.run(["bash", "-n", "job.sbatch"], check=True)
    assert run_job(folder).wait() == 0
    (_, check, around), (_, train, _) = (call for call in calls(folder) if call[0] == "srun")
    assert (around["MASTER_ADDR"], around["LOCAL_WORLD_SIZE"]) == ("n1", "3")
    assert check[check.index("scratchlm.parallel.preflight") + 1 :] == (
        ["--device", "cuda", "--home", "the $(touch owned) home", "--timeout", "300", "--hosts", "n1,n2"]
    )
    assert {"--ntasks=6", "--ntasks-per-node=3", "--overcommit"} <= set(check)
    assert {"--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=6"} <= set(train)
    assert train[train.index("scratchlm") + 1 :] == ["pretrain", "smoke", "--home", "the $(touch owned) home", *sets]
    known = get_args_parser().parse_args(train[train.index("torch.distributed.run") + 1 :])
    assert (known.nnodes, known.nproc_per_node, known.rdzv_id, known.max_restarts) == ("2", "3", "31", 3)
    assert known.rdzv_endpoint == f"n1:{int(around['MASTER_PORT']) + 1}"
    assert known.log_dir == "the $(touch owned) home/logs"
    assert not (folder / "owned").exists()


@needs_bash
def test_the_preflight_in_a_job_tells_each_process_who_it_is(capsys, folder: Path):
    job_files(capsys, "smoke", "--nodes", "2", "--processes", "3")
    run_job(folder).wait()
    check = next(words for name, words, _ in calls(folder) if name == "srun")
    inner = check[check.index("bash") :]
    shown = [*inner[: inner.index("preflight") + 1], "sh", "-c", "echo $RANK $LOCAL_RANK $WORLD_SIZE"]
    task = {"SLURM_PROCID": "4", "SLURM_LOCALID": "1", "SLURM_NTASKS": "6"}
    assert subprocess.run(shown, env=os.environ | task, capture_output=True, text=True, check=True).stdout == "4 1 6\n"


@needs_bash
@pytest.mark.parametrize(
    ("training", "preempted", "code", "queues_again"),
    [("0", "None", 0, False), ("1", "None", 1, False), ("1", "2026-01-02T03:04:05", 1, True), ("0", "2026-01-02T03:04:05", 0, False)],
)
def test_a_job_queues_again_when_it_was_stopped_and_not_when_it_broke_or_ended(
    capsys, folder: Path, training, preempted, code, queues_again
):
    job_files(capsys, "smoke")
    assert run_job(folder, training=training, preempted=preempted).wait() == code
    assert (["requeue", "31"] in [words for _, words, _ in calls(folder)]) == queues_again


@needs_bash
def test_a_job_warned_of_its_end_asks_for_a_checkpoint_and_queues_again(capsys, folder: Path):
    job_files(capsys, "smoke")
    with run_job(folder, training="wait 1") as job:
        until = time.monotonic() + 60
        while "torch.distributed.run" not in ((folder / "calls").read_text() if (folder / "calls").exists() else ""):
            assert time.monotonic() < until
            time.sleep(0.02)
        job.send_signal(signal.SIGUSR1)
        assert job.wait() == 1
    found = [(name, words) for name, words, _ in calls(folder)]
    assert found[-2:] == [("scancel", ["--signal=TERM", "31"]), ("scontrol", ["requeue", "31"])]
    assert calls(folder)[-3][2]["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == str(launch.STOP_S)


@needs_bash
def test_a_job_whose_preflight_finds_something_does_not_train(capsys, folder: Path):
    job_files(capsys, "smoke")
    assert run_job(folder, preflight="1").wait() == 1
    assert [name for name, _, _ in calls(folder)] == ["scontrol", "srun"]


def box_of(job: Any) -> Any:
    """The container of a pod: there is one, for a pod that comes back must not wait in another for those that train."""
    spec = job["spec"]["template"]["spec"]
    assert "initContainers" not in spec
    (box,) = spec["containers"]
    return box


def test_a_job_for_kubernetes_is_whole(capsys):
    _, service, job = job_files(capsys, "smoke", "--nodes", "4", "--image", "here:5/a", "--volume", "runs", "--hours", "2")
    name, spec = "scratchlm-smoke-pretrain", job["spec"]
    pod = spec["template"]["spec"]
    assert (service["kind"], service["apiVersion"], job["kind"], job["apiVersion"]) == ("Service", "v1", "Job", "batch/v1")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == spec["template"]["metadata"]["labels"]
    assert {service["metadata"]["name"], job["metadata"]["name"], pod["subdomain"]} == {name}
    assert (spec["completionMode"], spec["completions"], spec["parallelism"], spec["backoffLimit"]) == ("Indexed", 4, 4, 12)
    assert spec["activeDeadlineSeconds"] == 7200
    assert spec["podFailurePolicy"]["rules"] == [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Never", launch.NOTICE_S)
    assert {each["name"]: each for each in pod["volumes"]} == {
        "runs": {"name": "runs", "persistentVolumeClaim": {"claimName": "runs"}},
        "shared-memory": {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},
    }
    box = box_of(job)
    assert box["image"] == "here:5/a"
    assert box["resources"] == {"limits": {"nvidia.com/gpu": 8}}
    assert {each["name"]: each["mountPath"] for each in box["volumeMounts"]} == {"runs": "/scratch", "shared-memory": "/dev/shm"}
    assert box["workingDir"] == "/scratch"
    assert box["env"] == [
        {"name": "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "value": str(launch.STOP_S)},
        {"name": "JOB_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/controller-uid']"}}},
    ]


def test_what_is_not_given_for_kubernetes_has_a_default(capsys):
    _, _, job = job_files(capsys, "smoke")
    assert "activeDeadlineSeconds" not in job["spec"]
    assert box_of(job)["image"] == f"scratchlm:{package.__version__}"
    assert job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "scratchlm"}


TORCHRUN = """#!{python}
import json, pathlib, sys
with (pathlib.Path({folder!r}) / "started").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "--passed" in sys.argv:
    passed = pathlib.Path(sys.argv[sys.argv.index("--passed") + 1])
    passed.parent.mkdir(parents=True, exist_ok=True)
    passed.touch()
sys.exit({code} if "scratchlm.parallel.preflight" in sys.argv else 0)
"""
"""Writes down what it was given; a preflight writes the file that it is asked for."""


def words_after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def pod(folder: Path, job: Any, index: int, *, job_uid: str = "u-1", code: int = 0) -> tuple[int, list[Any]]:
    """What a pod ends with, and what torchrun is given there, as it understands it."""
    (folder / "torchrun").write_text(TORCHRUN.format(python=sys.executable, folder=str(folder), code=code))
    (folder / "torchrun").chmod(0o755)
    (folder / "started").write_text("")
    told = {"PATH": f"{folder}:{os.environ['PATH']}", "JOB_COMPLETION_INDEX": str(index), "JOB_UID": job_uid}
    box = box_of(job)
    ended = subprocess.run([as_kubernetes_reads(word) for word in box["command"] + box["args"]], env=os.environ | told, cwd=folder)
    started = [json.loads(line) for line in (folder / "started").read_text().splitlines()]
    return ended.returncode, [get_args_parser().parse_args(words) for words in started]


@needs_bash
@pytest.mark.parametrize("index", [0, 1])
def test_pods_run_just_the_words_that_were_given(capsys, folder: Path, index: int):
    sets = [word for value in HOSTILE for word in ("--set", f"name={value}")]
    _, service, job = job_files(capsys, "smoke", "--nodes", "2", "--home", "my $(HOME)", *sets)
    name = job["metadata"]["name"]
    ports = {each["name"]: each["port"] for each in service["spec"]["ports"]}
    code, found = pod(folder, job, index)
    assert code == 0
    marked = ["--passed", "my $(HOME)/logs/preflight-u-1"]
    given = {
        "preflight": ["--device", "cuda", "--home", "my $(HOME)", "--timeout", "300", *marked],
        "training": ["pretrain", "smoke", "--home", "my $(HOME)", *sets],
    }
    for known, (which, own) in zip(found, given.items(), strict=True):
        assert known.training_script_args == own
        assert (known.nnodes, known.nproc_per_node, known.max_restarts) == ("2", "8", 3 if which == "training" else 0)
        assert known.rdzv_endpoint == f"{name}-0.{name}:{ports[which]}"
        assert known.rdzv_conf.split(",")[0] == f"is_host={int(index == 0)}"
    assert not (folder / "owned").exists()


@needs_bash
def test_a_pod_that_comes_back_goes_straight_to_those_that_train_and_another_job_is_checked_anew(capsys, folder: Path):
    _, _, job = job_files(capsys, "smoke", "--nodes", "2")
    checked = [["scratchlm.parallel.preflight", "scratchlm"], ["scratchlm"], ["scratchlm.parallel.preflight", "scratchlm"]]
    started = [pod(folder, job, 1, job_uid=uid)[1] for uid in ("u-1", "u-1", "u-2")]
    assert [[known.training_script for known in each] for each in started] == checked


@needs_bash
def test_a_pod_whose_preflight_finds_something_does_not_train(capsys, folder: Path):
    _, _, job = job_files(capsys, "smoke", "--nodes", "2")
    code, found = pod(folder, job, 0, code=1)
    assert (code, [known.training_script for known in found]) == (1, ["scratchlm.parallel.preflight"])
    assert pod(folder, job, 0, job_uid="")[0] != 0


def as_kubernetes_reads(word: str) -> str:
    """A word of a command with $(NAME) replaced and $$ as $: k8s.io/kubernetes/third_party/forked/golang/expansion."""
    return re.sub(r"\$(?:(\$)|\((\w+)\))", lambda found: "$" if found[1] else f"REPLACED {found[2]}", word)


@pytest.mark.parametrize("recipe", ["smoke", "UPPER_case.toml", f"{'long' * 30}.toml", "é -.toml"])
def test_jobs_have_names_that_kubernetes_takes(capsys, folder: Path, recipe: str):
    if recipe.endswith(".toml"):
        (folder / recipe).write_text('recipe = "smoke"\n')
    _, _, job = job_files(capsys, recipe, "--verb", "reinforce")
    assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", job["metadata"]["name"])
    assert len(f"{job['metadata']['name']}-99999") <= 63


def test_a_file_with_other_contents_stays_unless_again_is_said(capsys, folder: Path):
    file = folder / "job.sbatch"
    assert scratchlm(capsys, "launch", "smoke", "--slurm", "job.sbatch")[1].endswith("sbatch job.sbatch\n")
    written = file.read_bytes()
    assert "it is there, and just so" in scratchlm(capsys, "launch", "smoke", "--slurm", "job.sbatch")[1]
    file.write_text("mine")
    assert "it is there with other contents" in refused(capsys, "smoke", "--slurm", "job.sbatch")
    assert file.read_text() == "mine"
    assert scratchlm(capsys, "launch", "smoke", "--slurm", "job.sbatch", "--again")[0] == 0
    assert file.read_bytes() == written


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck here")
def test_a_job_has_no_slip_that_shellcheck_knows(capsys, folder: Path):
    job_files(capsys, "smoke", "--nodes", "2")
    subprocess.run(["shellcheck", "--severity=warning", "job.sbatch"], check=True)
