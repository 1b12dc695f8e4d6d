"""Arrays at rest, here or in an object store."""

import io
import math

import numpy as np

from scratchlm.units import storage

HEAD = 1024
"""Bytes within which the header of an array ends."""


class Array:
    """An array in numpy's own format, of which nothing is fetched but the rows that are asked for."""

    def __init__(self, url: str) -> None:
        with storage.open_ranges(url) as file:
            head = io.BytesIO(file.read(HEAD))
        np.lib.format.read_magic(head)
        self.shape, _, self.dtype = np.lib.format.read_array_header_1_0(head)
        self._url, self._start = url, head.tell()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Some rows that follow each other."""
        start, end, step = rows.indices(len(self))
        assert step == 1, "rows follow each other"
        row = self.dtype.itemsize * math.prod(self.shape[1:])
        with storage.open_ranges(self._url) as file:
            file.seek(self._start + start * row)
            data = file.read(max(0, end - start) * row)
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])
