"""Installing: the right build of torch for each machine, with a pip that only writes down what it was asked for; and the pins."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "torch_for_this_machine.py"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FAKE_PIP = """
import os, sys
with open(os.environ["ASKED"], "a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
if not any(wheel in sys.argv for wheel in os.environ["WHEELS"].split()):
    sys.exit("ERROR: No matching distribution found for torch")
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a CUDA build to avoid")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with an empty environment, a fake pip, and nothing on its PATH."""
    venv.create(tmp_path / "venv", with_pip=False)
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text(FAKE_PIP)
    (tmp_path / "bin").mkdir()
    return tmp_path


def install(machine: Path, *, wheels: str) -> tuple[int, list[str], str]:
    """Exit code, what pip was asked for (as far as it matters), and what the user read on standard error."""
    asked = machine / "asked"
    python = machine / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    environment = {"PATH": str(machine / "bin"), "PYTHONPATH": str(machine), "ASKED": str(asked), "WHEELS": wheels}
    done = subprocess.run([python, SCRIPT], env=os.environ | environment, capture_output=True, text=True, check=False)
    lines = asked.read_text().splitlines() if asked.exists() else []
    return done.returncode, [line.removeprefix("install -q --no-deps ") for line in lines], done.stderr


def with_gpu(machine: Path, *, answer: str) -> None:
    tool = machine / "bin" / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{answer}\n")
    tool.chmod(0o755)


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


VERSION = pinned()["torch"]


@linux_only
def test_without_a_gpu_a_cpu_wheel_that_pip_finds_is_taken_and_no_index_is_asked(machine: Path):
    assert install(machine, wheels=f"torch=={VERSION}+cpu")[:2] == (0, [f"torch=={VERSION}+cpu"])


@linux_only
def test_without_a_gpu_and_a_wheel_the_public_cpu_index_is_asked(machine: Path):
    code, asked, said = install(machine, wheels=CPU_INDEX)
    assert (code, asked) == (0, [f"torch=={VERSION}+cpu", f"torch=={VERSION} --index-url {CPU_INDEX}"])
    assert said == ""


@linux_only
def test_with_a_gpu_the_plain_wheel_is_taken(machine: Path):
    with_gpu(machine, answer="echo 'GPU 0: a big one'")
    assert install(machine, wheels=f"torch=={VERSION}")[:2] == (0, [f"torch=={VERSION}"])


@linux_only
@pytest.mark.parametrize("answer", ["exit 9", "echo 'No devices were found'"])
def test_a_driver_that_names_no_gpu_means_the_cpu(machine: Path, answer: str):
    with_gpu(machine, answer=answer)
    assert install(machine, wheels=f"torch=={VERSION}+cpu")[1] == [f"torch=={VERSION}+cpu"]


@linux_only
def test_a_driver_that_cannot_be_started_means_the_cpu(machine: Path):
    with_gpu(machine, answer="")
    (machine / "bin" / "nvidia-smi").write_bytes(b"\x00no program")
    assert install(machine, wheels=f"torch=={VERSION}+cpu")[1] == [f"torch=={VERSION}+cpu"]


def test_when_nothing_is_found_the_user_is_told_in_a_sentence(machine: Path):
    code, _, said = install(machine, wheels="none")
    assert code == 1
    assert said.splitlines()[-1] == (
        f"torch {VERSION} could not be installed. Check the network, or put a wheel for this machine where pip looks."
    )


@pytest.mark.parametrize("build", ["", "+cpu"])
def test_what_is_there_is_left_alone(machine: Path, build: str):
    facts = machine / "torch-0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}{build}\n")
    assert install(machine, wheels="none") == (0, [], "")


def test_another_version_is_replaced(machine: Path):
    facts = machine / "torch-0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.4.0\n")
    assert install(machine, wheels=f"torch=={VERSION} torch=={VERSION}+cpu")[0] == 0


def test_every_dependency_is_pinned_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    wanted = [Requirement(line) for line in listed]
    missing = [need.name for need in wanted if canonicalize_name(need.name) not in pinned()]
    outside = [need.name for need in wanted if not need.specifier.contains(pinned()[canonicalize_name(need.name)])]
    unbounded = [need.name for need in wanted if not {"<", "=="} & {clause.operator for clause in need.specifier}]
    assert (missing, outside, unbounded) == ([], [], [])


def test_pins_are_sorted_and_name_no_place():
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines == sorted(lines)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)


def test_every_pin_that_is_installed_here_runs_on_the_oldest_python():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=") + ".0"
    here = {canonicalize_name(found.name): found for found in importlib.metadata.distributions()}
    asked = {
        name: here[name].metadata.get("Requires-Python") or ""
        for name, version in pinned().items()
        if name in here and here[name].version == version
    }
    assert asked
    assert [name for name, python in asked.items() if not SpecifierSet(python).contains(oldest)] == []
