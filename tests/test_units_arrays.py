"""Arrays at rest are read by slices, and of an object no more than that is fetched."""

from pathlib import Path

import numpy as np
import pytest

from scratchlm.units import arrays, storage


@pytest.mark.parametrize("kind", ["<i8", "|i1", "<u4"])
def test_a_slice_is_that_of_numpy(tmp_path: Path, kind: str):
    whole = np.arange(60).astype(kind).reshape(20, 3)
    np.save(tmp_path / "a.npy", whole)
    found = arrays.Array(str(tmp_path / "a.npy"))
    assert (len(found), found.shape, found.dtype) == (20, (20, 3), np.dtype(kind))
    for rows in (slice(None), slice(3, 9), slice(18, 99), slice(9, 3), slice(-4, None)):
        assert np.array_equal(found[rows], whole[rows])


def test_of_an_object_only_the_rows_are_fetched(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(tmp_path / "a.npy", np.arange(1_000_000))
    storage.commit(tmp_path / "a.npy", f"{bucket}/a.npy")
    fetched = []
    read = storage._Object.readinto
    monkeypatch.setattr(storage._Object, "readinto", lambda self, buffer: fetched.append(read(self, buffer)) or fetched[-1])
    found = arrays.Array(f"{bucket}/a.npy")
    assert found[500_000:500_100].tolist() == list(range(500_000, 500_100))
    assert sum(fetched) <= arrays.HEAD + 800
