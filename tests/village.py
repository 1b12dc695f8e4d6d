"""A small folder of text that reads like one: chapters with headings, no two sentences in a row alike, the same on every machine."""

import random
from pathlib import Path

NOUNS = [
    "river", "mountain", "garden", "village", "window", "kettle", "lantern", "harbour", "forest", "bridge",
    "letter", "market", "teacher", "sailor", "painter", "farmer", "doctor", "miller", "clock", "basket",
]  # fmt: skip
VERBS = ["carries", "watches", "follows", "mends", "paints", "finds", "keeps", "leaves", "remembers", "opens"]
KINDS = ["old", "quiet", "narrow", "bright", "heavy", "patient", "distant", "wooden", "yellow", "careful"]
TIMES = ["slowly", "often", "at night", "in winter", "before noon", "without hurry", "every morning", "near the sea"]


def write(folder: Path, *, chapters: int = 24) -> Path:
    """``chapters`` Markdown files of some 2 KB each."""
    chance = random.Random(1)
    folder.mkdir(parents=True)
    for number in range(chapters):
        parts = [f"# {chance.choice(KINDS).title()} {chance.choice(NOUNS)} {number}\n"]
        for part in range(3):
            parts.append(f"## The {chance.choice(NOUNS)} of the {chance.choice(NOUNS)} {number}.{part}\n")
            parts.append(" ".join(_sentence(chance) for _ in range(12)) + "\n")
        (folder / f"chapter{number:02}.md").write_text("\n".join(parts), encoding="utf-8")
    return folder


def _sentence(chance: random.Random) -> str:
    subject, other = (f"{chance.choice(KINDS)} {chance.choice(NOUNS)}" for _ in range(2))
    return f"The {subject} {chance.choice(VERBS)} the {other} {chance.choice(TIMES)}."
