"""What documents are measured with, made before any of them is: the questions of exams, and a judge of quality; inputs of units.

Each lies in ``ROOT/beside`` under a name that follows from what it is made from, so it is made once and never out of date.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from scratchlm.core.artifact import fingerprint_of
from scratchlm.core.config import Settings
from scratchlm.core.errors import DataError
from scratchlm.core.records import Document
from scratchlm.corpus import decontaminate, eval_sets, reading
from scratchlm.corpus.road import Road, code_version
from scratchlm.rules import classifier
from scratchlm.sources import folder
from scratchlm.units import storage


class Quality(Settings):
    """Text like this, not like that: a classifier trained on two folders."""

    like: str
    """Folder of good examples."""
    unlike: str
    """Folder of bad ones."""
    least: float = Field(default=0.5, ge=0.0, le=1.0)
    """Documents below this probability are dropped."""


@dataclass(frozen=True)
class Beside:
    """What is to be made."""

    questions: Mapping[str, Sequence[str]]
    """Of our own tasks, by their names."""
    evals: Sequence[str]
    """Files or folders of questions."""
    quality: Quality | None
    seed: int

    def prints(self) -> dict[str, list[Any]]:
        """What each is known by, from the contents of its files; DataError when one cannot be read."""
        asked = [[path.name, storage.digest(str(path))] for path in eval_sets.files_of(map(Path, self.evals))]
        found = {"evals": [{name: list(texts) for name, texts in self.questions.items()}, asked]}
        if self.quality:
            heaps = [reading.digest_of(reading.place(name, root)) for name, root in self._heaps().items()]
            found["quality"] = [heaps, self.seed]
        return found

    def make(self, road: Road) -> dict[str, str]:
        """The address of each."""
        makers = {"evals": self._index, "quality": self._classifier}
        return {name: _kept(road.root, name, what, makers[name]) for name, what in self.prints().items()}

    def _index(self, path: Path) -> None:
        own = [eval_sets.EvalSet(name, [[text] for text in asked]) for name, asked in self.questions.items()]
        decontaminate.Index.build([*own, *eval_sets.read_all(map(Path, self.evals), taken=self.questions)]).save(path)

    def _classifier(self, path: Path) -> None:
        texts = []
        for root in self._heaps().values():
            read = folder.documents(root, lambda label, done, total: None)
            found = [(item.text, str(item.facts["host"])) for item in read if isinstance(item, Document)]
            if not found:
                raise DataError(f"{root}: no text in it to learn from. Give a folder of examples.")
            texts.append(found)
        classifier.train(*texts, seed=self.seed).save(path)

    def _heaps(self) -> dict[str, str]:
        return {"like": self.quality.like, "unlike": self.quality.unlike} if self.quality else {}


def _kept(root: str, name: str, what: Any, make: Callable[[Path], None]) -> str:
    url = storage.join(root, "beside", f"{name}-{fingerprint_of([what, code_version()])[:16]}")
    if not storage.exists(url):
        aside = storage.scratch(url)
        try:
            make(aside / name)
            storage.commit(aside / name, url)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return url
