"""The house has floors: imports only fall, never to a neighbour (docs/design.md, section 2)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "scratchlm"
FLOORS = [
    ["core"],
    ["units"],
    ["sources", "web"],
    ["privacy", "rules", "kernels"],
    ["corpus", "tokenizer", "model", "losses", "optim", "parallel", "export", "report", "trace"],
    ["batches", "shares"],
    ["train", "generate"],
    ["evals", "serve", "plans"],
    ["stages", "views"],
    ["recipes", "verbs"],
    ["cli"],
    ["__main__"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
WITHOUT_TORCH = ["units", "sources", "web", "privacy", "rules", "corpus", "tokenizer", "recipes/__init__.py", "verbs.py", "cli.py"]
CORE_MAY_USE = {"pydantic", "filelock", "scratchlm"}
TORCH_IN_CORE = "tensors.py"


def imports_of(path: Path) -> list[str]:
    """Every module a file imports, those inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative imports hide the room they reach"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += names if node.module == "scratchlm" else [node.module]
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_room_has_a_floor():
    assert {room_of(path) for path in modules()} <= set(FLOOR_OF)


def test_imports_only_fall():
    climbs = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        for name in imports_of(path)
        if name.startswith("scratchlm.") and (target := name.split(".")[1]) in FLOOR_OF
        if target != room_of(path) and FLOOR_OF[room_of(path)] <= FLOOR_OF[target]
    ]
    assert not climbs, "\n".join(climbs)


def test_stages_and_views_never_import_each_other():
    crossings = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in [*(PACKAGE / "stages").glob("*.py"), *(PACKAGE / "views").glob("*.py")]
        for name in imports_of(path)
        if name.startswith(("scratchlm.stages.", "scratchlm.views."))
    ]
    assert not crossings, "\n".join(crossings)


@pytest.mark.parametrize("place", WITHOUT_TORCH)
def test_the_command_line_and_the_cleaning_never_import_torch(place: str):
    paths = [PACKAGE / place] if place.endswith(".py") else sorted((PACKAGE / place).rglob("*.py"))
    heavy = [f"{path.name} imports {name}" for path in paths for name in imports_of(path) if name.split(".")[0] == "torch"]
    assert paths
    assert not heavy, "\n".join(heavy)


def test_core_stands_on_the_standard_library():
    import sys

    foreign = [
        f"{path.name} imports {name}"
        for path in (PACKAGE / "core").glob("*.py")
        if path.name != TORCH_IN_CORE
        for name in imports_of(path)
        if name.split(".")[0] not in CORE_MAY_USE | sys.stdlib_module_names
    ]
    assert not foreign, "\n".join(foreign)


def test_a_climb_would_be_found(tmp_path: Path):
    file = tmp_path / "climber.py"
    file.write_text("def later():\n    from scratchlm.stages import pretrain\n    import scratchlm.serve.app\n")
    assert imports_of(file) == ["scratchlm.stages", "scratchlm.serve.app"]
