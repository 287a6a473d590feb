"""What flows through a described `forward`: Keras tensors, in which the batch is first wherever PyTorch has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import keras
from keras import ops

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

Tensor = Any
_FULL: Final = slice(None)


@dataclass(frozen=True, eq=False)
class Value:
    """tensor: with the batch as its first axis, and the others in PyTorch's order; batch: which axis that is there."""

    tensor: Tensor
    batch: int

    @property
    def rank(self) -> int:
        return len(self.tensor.shape)

    def axis(self, dim: int) -> int:
        """The tensor's axis of a PyTorch dim.

        Raises:
            InTheWay: it is that of the batch.
        """
        dim = int(dim) % self.rank
        if dim == self.batch:
            raise InTheWay(Obstacle.NO_RULE, "It mixes the rows of a batch.")
        return dim + 1 if dim < self.batch else dim

    def of(self, tensor: Tensor) -> Value:
        """Another tensor of the same axes."""
        return Value(tensor, self.batch)

    def picked(self, index: Any) -> Value:
        """x[index]"""
        given = list(index) if isinstance(index, list | tuple) else [index]
        if Ellipsis in given:
            place = given.index(Ellipsis)
            missing = self.rank - sum(item is not None and item is not Ellipsis for item in given)
            given[place : place + 1] = [_FULL] * missing
        dims = sum(item is not None for item in given)
        given += [_FULL] * (self.rank - dims)
        picked: list[int | slice | None] = []
        dim, batch, kept = 0, 0, 0
        for item in given:
            if item is None:
                picked.append(None)
                kept += 1
                continue
            if not isinstance(item, int | slice):
                raise InTheWay(Obstacle.NO_RULE, "It picks by what is known at run time only.")
            if dim == self.batch:
                if item != _FULL:
                    raise InTheWay(Obstacle.NO_RULE, "It picks rows of a batch.")
                batch = kept
            else:
                picked.append(item)
            kept += isinstance(item, slice)
            dim += 1
        return Value(self.tensor[(_FULL, *picked)], batch)

    def permuted(self, dims: list[int]) -> Value:
        """x.permute(dims)"""
        order = [int(dim) % self.rank for dim in dims]
        others = [self.axis(dim) for dim in order if dim != self.batch]
        moved = self.tensor if others == sorted(others) else ops.transpose(self.tensor, (0, *others))
        return Value(moved, order.index(self.batch))

    def swapped(self, one: int, other: int) -> Value:
        """x.transpose(one, other)"""
        dims = list(range(self.rank))
        dims[one], dims[other] = dims[other], dims[one]
        return self.permuted(dims)

    def squeezed(self, dim: int | None = None) -> Value:
        """x.squeeze(dim)"""
        if dim is None:
            axes = [axis for axis, size in enumerate(self.tensor.shape) if axis and size == 1]
            before = sum(axis - 1 < self.batch for axis in axes)
            return Value(ops.squeeze(self.tensor, tuple(axes)) if axes else self.tensor, self.batch - before)
        axis = self.axis(dim)
        if self.tensor.shape[axis] != 1:
            return self
        return Value(ops.squeeze(self.tensor, axis), self.batch - (int(dim) % self.rank < self.batch))

    def unsqueezed(self, dim: int) -> Value:
        """x.unsqueeze(dim)"""
        dim = int(dim) % (self.rank + 1)
        if dim <= self.batch:
            return Value(ops.expand_dims(self.tensor, dim + 1), self.batch + 1)
        return Value(ops.expand_dims(self.tensor, dim), self.batch)

    def flattened(self, start: int = 0, end: int = -1) -> Value:
        """x.flatten(start, end), where that is all but the batch."""
        start, end = int(start) % self.rank, int(end) % self.rank
        if self.batch != 0 or start != 1 or end != self.rank - 1:
            raise InTheWay(Obstacle.NO_RULE, "It lays other axes side by side than all but that of the batch.")
        return Value(keras.layers.Flatten()(self.tensor), 0)


@dataclass(frozen=True, eq=False)
class Stack:
    """The states of all layers of a recurrent module, each [B, units]: PyTorch's [layers, B, units]."""

    states: list[Tensor]

    def picked(self, index: Any) -> Value:
        """h[-1]"""
        if isinstance(index, list | tuple) and index and all(item in (_FULL, Ellipsis) for item in index[1:]):
            index = index[0]
        if not isinstance(index, int):
            raise InTheWay(Obstacle.NO_RULE, "It picks other states than those of one layer.")
        return Value(self.states[index], 0)

    def squeezed(self, dim: int | None = None) -> Value:
        """h.squeeze(0)"""
        if len(self.states) != 1 or dim not in (0, None):
            raise InTheWay(Obstacle.NO_RULE, "It mixes the states of several layers.")
        return Value(self.states[0], 0)


class Zeros:
    """A tensor of zeros: what a state begins with."""


class Unknown:
    """A size, a type or a device: what is known at run time only, and decides nothing that is followed here."""
