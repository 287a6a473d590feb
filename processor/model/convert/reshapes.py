"""Reshape of sequences: a target that names the length, or the batch, as one that fits any."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
from keras.src.ops.numpy import Reshape

if TYPE_CHECKING:
    from collections.abc import Sequence


def target_of(operation: Any) -> tuple[int | None, ...] | None:
    """The sizes behind the batch that a Reshape gives (-1 or None: what is left); None where it is no such thing."""
    if isinstance(operation, keras.layers.Reshape):
        return tuple(operation.target_shape)
    if type(operation) is Reshape and not isinstance(operation.newshape, int) and operation.newshape[0] in (-1, None):
        return tuple(operation.newshape[1:])
    return None


def with_size(target: Sequence[int | None], axis: int, size: int) -> Any:
    """A Reshape to the same sizes but one."""
    return keras.layers.Reshape(tuple(size if place == axis else known for place, known in enumerate(target)))


def for_any_length(operation: Any, shape: Sequence[int | None]) -> Any:
    """The operation itself, or a Reshape of the same numbers for any batch and length.

    shape: of the tensor that it takes, batch first; one more size that is not known is the length of the sequences.
    A shape that was asked of a symbolic tensor has None for a size; a fixed length stands in the target as a number.
    """
    target, sizes = target_of(operation), tuple(shape[1:])
    if target is None:
        return operation
    if None in target:
        fits = target.count(None) + target.count(-1) == 1
        return with_size(target, target.index(None), -1) if fits else operation
    if type(operation) is Reshape and operation.newshape[0] is None:
        return keras.layers.Reshape(target)
    if sizes.count(None) != 1 or -1 in target:
        return operation
    place = sizes.index(None)
    around = _product(sizes[:place]), _product(sizes[place + 1 :])
    for axis in range(len(target)):
        if (_product(target[:axis]), _product(target[axis + 1 :])) == around:
            return with_size(target, axis, -1)
    return operation


def _product(sizes: Sequence[int | None]) -> int:
    return math.prod(size for size in sizes if size is not None)
