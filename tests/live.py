"""How many bytes of tensors are alive? Every storage is counted once, from the operation that makes it until nothing holds it."""

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PLAIN = (Tensor, nn.Parameter)
COMPOUND = (DTensor, AsyncCollectiveTensor)
"""Made of plain tensors, which are counted when a compound's operations come to them."""


class Live(TorchDispatchMode):
    """Within it, ``bytes`` is what is alive, and ``peak`` the most that was after any operation.

    What an operation takes for itself and gives back before it returns is not seen, nor what was made before this was entered, unless
    it is ``register``ed. What autograd keeps for the way back is alive, whether a name is left for it or not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self._changes: deque[int] = deque()  # other threads end tensors, too: they only add here
        self._bytes = self._peak = 0
        self._resize: Callable[..., Any] = torch.UntypedStorage.resize_

    @property
    def bytes(self) -> int:
        self._settle()
        return self._bytes

    @property
    def peak(self) -> int:
        self._settle()
        return self._peak

    def forget_peak(self) -> None:
        """From here on the peak is of what comes."""
        self._peak = self.bytes

    def register(self, tensors: Iterable[Tensor]) -> None:
        """Count these, too."""
        for tensor in tensors:
            self._count(tensor.untyped_storage())
        self._settle()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        if any(kind in COMPOUND for kind in types):
            return NotImplemented
        made = func(*args, **(kwargs or {}))
        self.register(leaf for leaf in tree_leaves(made) if type(leaf) in PLAIN and leaf.device.type != "meta")
        return made

    def __enter__(self) -> Self:
        def resized(storage: Any, size: int) -> None:  # no operation: it is how FSDP gives memory back
            self._resize(storage, size)
            if storage._cdata in self._sizes:
                self._note(storage._cdata, storage.nbytes())

        torch.UntypedStorage.resize_ = resized  # pyright: ignore[reportAttributeAccessIssue]
        return super().__enter__()

    def __exit__(self, *raised: Any) -> None:
        torch.UntypedStorage.resize_ = self._resize
        super().__exit__(*raised)

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            weakref.finalize(storage, self._note, key, None)
        self._note(key, storage.nbytes())

    def _note(self, key: int, size: int | None) -> None:
        """A storage is so large now; None: it is gone."""
        before = self._sizes.pop(key, 0)
        if size is not None:
            self._sizes[key] = size
        self._changes.append((size or 0) - before)

    def _settle(self) -> None:
        while self._changes:
            self._bytes += self._changes.popleft()
            self._peak = max(self._peak, self._bytes)
