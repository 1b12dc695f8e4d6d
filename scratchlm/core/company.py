"""Processes that were started together: one leads, and what it decides the others are told. On one process nothing is."""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

R = TypeVar("R")


@runtime_checkable
class Company(Protocol):
    """This process among those that were started with it."""

    @property
    def is_main(self) -> bool:
        """Whether it leads: it alone writes, and prints."""
        ...

    def told(self, value: R) -> R:
        """The leader's ``value``, a JSON value, at every process; the others wait for it as long as it takes."""
        ...

    def meet(self, act: Callable[[], R]) -> R:
        """What ``act``, in which all take part, gives; CheckFailed where one of them is gone."""
        ...


class Alone:
    """One process."""

    is_main = True

    def told(self, value: R) -> R:
        return value

    def meet(self, act: Callable[[], R]) -> R:
        return act()
