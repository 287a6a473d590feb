"""A description that Keras 1 or 2 wrote, and a file of weights, as a Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py

from processor.model.convert.legacy.graph import Builder
from processor.model.convert.legacy.weights import is_tree, read_groups, read_tree

if TYPE_CHECKING:
    from pathlib import Path


def rebuild(described: Any, version: str, weights: Path) -> tuple[Any, list[str]]:
    """The model with its weights, and what was repaired, a sentence each.

    Raises:
        ConversionRefused: it has what Keras 3 does not; ConversionRefused and Incomplete are meant for people, and any
        other exception is one that a wrong description or file made Keras raise.
    """
    builder = Builder(version.split(".")[0] == "1")
    rebuilt = builder.build(
        {"class_name": "Sequential", "config": described} if isinstance(described, list) else described
    )
    if is_tree(weights):
        read_tree(weights, rebuilt)
    else:
        with h5py.File(weights, "r") as file:
            read_groups(file, rebuilt.layers)
    return rebuilt.model, builder.repairs
