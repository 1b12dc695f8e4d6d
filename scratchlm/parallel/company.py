"""Processes that torchrun started, before and between the stages that they train together."""

import json
import time
from collections.abc import Callable
from typing import TypeVar

from torch.distributed import PrefixStore, Store  # pyright: ignore[reportPrivateImportUsage]

from scratchlm.core.errors import CheckFailed
from scratchlm.parallel.world import met, unreachable

R = TypeVar("R")
SHORTEST_S, LONGEST_S = 0.005, 1.0
"""Between two looks. The leader may clean text for days; should it die, torchrun ends the others."""


class Together:
    """One of several processes that share a store of words."""

    def __init__(self, store: Store, rank: int) -> None:
        self._store, self._rank, self._count = PrefixStore("company", store), rank, 0

    @classmethod
    def met(cls) -> "Together":
        """This process among those that torchrun tells it of."""
        store, rank, _ = met()
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
        pause = SHORTEST_S
        while not self._store.check([word]):  # to wait within the store is to hear no signal
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_S)
        return json.loads(self._store.get(word))

    def meet(self, act: Callable[[], R]) -> R:
        try:
            return act()
        except RuntimeError as error:
            if not unreachable(error):
                raise
        raise CheckFailed(
            "parallel: another process ended, or did not answer in time; its own words say why. "
            "Start all of them again (torchrun does with --max-restarts): they go on from the last checkpoint."
        )
