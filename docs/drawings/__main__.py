"""Write the pictures, or with ``--check`` say whether they are as they should be."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from docs.drawings import checkpoint, experts, matrices, mesh, positions, shards, timelines
from docs.drawings.sheet import Sheet

FOLDER = Path(__file__).parent
DRAWINGS: Mapping[str, Callable[[], Sheet]] = {
    "mesh": mesh.drawing,
    "shards": shards.drawing,
    "matrices": matrices.drawing,
    "positions": positions.drawing,
    "pipelines": timelines.drawing,
    "experts": experts.drawing,
    "checkpoint": checkpoint.drawing,
}
"""By the name of the file."""


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    made = {FOLDER / f"{name}.svg": str(draw()) for name, draw in DRAWINGS.items()}
    if "--check" not in arguments:
        for path, picture in made.items():
            path.write_text(picture, encoding="utf-8", newline="\n")
        return 0
    old = [path.name for path, picture in made.items() if not path.exists() or path.read_text(encoding="utf-8") != picture]
    if old:
        sys.stderr.write(f"{FOLDER}: {', '.join(old)} not as drawn. Run `python -m docs.drawings` and commit them.\n")
    return int(bool(old))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
