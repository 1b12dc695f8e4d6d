"""How well does the quality classifier tell good web documents from bad ones? The AUC on rows that people marked.

``python -m benchmarks.quality FILE.jsonl`` reads rows with ``text`` and ``label`` (1: good) and prints, for each of five seeds, the AUC of
five-fold cross-validation with its 95 % interval; every number of a fold, means and spreads included, comes from the other four. The
weights of penalty and shape were chosen on these very rows: on rows that nobody has seen the AUC will be somewhat lower.
"""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks import machine
from scratchlm.rules import classifier, hashed

SEEDS = range(5)


def main(path: Path) -> None:
    """Print one line per seed and the mean."""
    with path.open(encoding="utf-8") as file:
        marked = [json.loads(line) for line in file]
    print(f"{machine.where()}: {len(marked)} documents from {path}")
    labels = np.array([float(row["label"]) for row in marked])
    rows = hashed.features([row["text"] for row in marked])
    areas = []
    for seed in SEEDS:
        area, low, high = classifier.auc(classifier.held_out(rows, labels, seed), labels)
        areas.append(area)
        print(f"seed {seed}: AUC {area:.4f} ({low:.3f} to {high:.3f}) on {len(labels)} documents")
    print(f"mean of {len(areas)} seeds: {np.mean(areas):.4f}, spread {np.std(areas, ddof=1):.4f}; settings chosen on the same rows")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent.parent / "shared/data/quality/majority_data.jsonl"))
