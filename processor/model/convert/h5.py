"""Named arrays in an HDF5 file. Importing this imports h5py, and nothing of Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """One data set an array; a slash in a name makes groups."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            # "#" and "." are fine in a name, and a layer's path has slashes that are groups of their own.
            file.create_dataset(name, data=values)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """What `write` wrote, by the same names."""
    found: dict[str, NDArray[Any]] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiubS":
            found[name] = np.asarray(item[()])

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return found
