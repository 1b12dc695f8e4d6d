"""Processes that torchrun started, before and between the stages that they train together."""

import datetime
import json
import os
from typing import TypeVar

from torch.distributed import PrefixStore, Store, rendezvous  # pyright: ignore[reportPrivateImportUsage]

R = TypeVar("R")
PATIENCE = datetime.timedelta(days=30)
"""The leader may clean text for days; should it die, torchrun ends the others."""


class Together:
    """One of several processes that share a store of words."""

    def __init__(self, store: Store, rank: int) -> None:
        self._store, self._rank, self._count = PrefixStore("company", store), rank, 0

    @classmethod
    def met(cls) -> "Together":
        """This process among those that torchrun tells it of."""
        store, rank, _ = next(rendezvous("env://", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])))
        return cls(store, rank)

    @property
    def is_main(self) -> bool:
        """See ``core.company.Company``, here and below."""
        return self._rank == 0

    def told(self, value: R) -> R:
        self._count += 1
        word = f"told {self._count}"
        if self.is_main:
            self._store.set(word, json.dumps(value))
            return value
        self._store.wait([word], PATIENCE)
        return json.loads(self._store.get(word))
