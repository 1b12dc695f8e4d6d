"""Which documents are kept aside: whole groups, so that nothing a model is tested on has a sibling among what it learned from."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from scratchlm.core import seeds
from scratchlm.core.errors import DataError
from scratchlm.core.records import Document
from scratchlm.sources.folder import FEW_FILES

SPLITS = ("train", "validation", "test")
LEAST_TAIL = 0.05
LARGEST_SHARE = 0.1
"""Of a held-out split that one group should fill at most."""


def assign(documents: Sequence[Document], *, fractions: Mapping[str, float], pinned: Collection[str], seed: int) -> dict[str, str]:
    """The split of each document by its id. ``pinned`` groups always train; ``fractions`` are of all characters.

    A pure function of the documents' groups and sizes and the seed. DataError when there are too few documents for three splits.
    """
    groups: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        groups[str(document.facts["host"])].append(document)
    split = _by_tail(groups, fractions, pinned) if len(groups) < FEW_FILES else _by_group(groups, fractions, pinned, seed)
    return _with_something_in_each(documents, split)


def _by_group(groups: Mapping[str, list[Document]], fractions: Mapping[str, float], pinned: Collection[str], seed: int) -> dict[str, str]:
    """Groups in an order drawn from the seed fill the held-out splits; one that is too large for what is missing is left to train."""
    size = {group: sum(len(document.text) for document in members) for group, members in groups.items()}
    order = sorted((group for group in groups if group not in pinned), key=lambda group: (seeds.derive(seed, "split", group=group), group))
    split_of: dict[str, str] = {}
    for split, fraction in fractions.items():
        share = missing = fraction * sum(size.values())
        # Small groups first, so that a split is not one large module; then, where files are large, any that fits.
        for most in (share * LARGEST_SHARE, share):
            for group in order:
                if group not in split_of and size[group] <= min(most, missing):
                    split_of[group] = split
                    missing -= size[group]
    return {document.id: split_of.get(group, "train") for group, members in groups.items() for document in members}


def _by_tail(groups: Mapping[str, list[Document]], fractions: Mapping[str, float], pinned: Collection[str]) -> dict[str, str]:
    """The last parts of each group: first what validates, then what tests."""
    validation, test = (max(LEAST_TAIL, fractions[split]) if fractions[split] else 0.0 for split in ("validation", "test"))
    split_of = {}
    for members in groups.values():
        if str(members[0].facts["host"]) in pinned:
            split_of |= dict.fromkeys((document.id for document in members), "train")
            continue
        total, before = sum(len(document.text) for document in members), 0
        for document in members:
            middle = (before + len(document.text) / 2) / max(1, total)
            split_of[document.id] = "test" if middle > 1 - test else "validation" if middle > 1 - test - validation else "train"
            before += len(document.text)
    return split_of


def _with_something_in_each(documents: Sequence[Document], split_of: dict[str, str]) -> dict[str, str]:
    """A small corpus can leave a split empty: it is given the last document that trains."""
    for split in ("test", "validation"):
        if split not in split_of.values():
            training = [document.id for document in documents if split_of[document.id] == "train"]
            if len(training) < 2:
                raise DataError(
                    f"corpus: {len(documents)} documents are too few to train, validate and test on. Give more text with --data."
                )
            split_of[training[-1]] = split
    return split_of
