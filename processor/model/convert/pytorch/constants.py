"""Numbers of the model's own outside of its layers: parameters that `forward` itself uses, like a first state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from processor.model.convert.pytorch.sizes import ROWS
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from processor.model.convert.pytorch.values import Tensor, Value


@dataclass(frozen=True, eq=False)
class Constant:
    """array: as PyTorch has it; batch: the dim that was expanded to the rows of a batch, of size 1 here."""

    array: NDArray[Any]
    batch: int | None = None

    def expanded(self, sizes: Sequence[Any]) -> Constant:
        """x.expand(sizes)"""
        array = self.array.reshape((1,) * (len(sizes) - self.array.ndim) + self.array.shape)
        batch = None if self.batch is None else self.batch + array.ndim - self.array.ndim
        shape = []
        for dim, (size, own) in enumerate(zip(sizes, array.shape, strict=True)):
            if size == ROWS and own == 1:
                batch, size = dim, 1
            if not isinstance(size, int):
                raise _not_followed()
            shape.append(own if size == -1 else size)
        return Constant(np.broadcast_to(array, shape), batch)

    def repeated(self, sizes: Sequence[Any]) -> Constant:
        """x.repeat(sizes)"""
        rows = [dim for dim, size in enumerate(sizes) if size == ROWS]
        numbers = [1 if size == ROWS else size for size in sizes]
        if any(not isinstance(size, int) for size in numbers) or len(rows) > 1:
            raise _not_followed()
        array = np.tile(self.array, numbers)
        batch = rows[0] if rows else None if self.batch is None else self.batch + array.ndim - self.array.ndim
        if rows and array.shape[rows[0]] != 1:
            raise _not_followed()
        return Constant(array, batch)

    def of(self, function: Callable[..., Any], *others: Constant | float) -> Constant:
        """A function of it, number by number."""
        given = [other.array if isinstance(other, Constant) else other for other in others]
        return Constant(np.asarray(function(self.array, *given), np.float32), self.batch)

    def picked(self, index: Any) -> Constant:
        """x[index]"""
        if self.batch is not None:
            raise _not_followed()
        return Constant(self.array[tuple(index) if isinstance(index, list) else index])

    def permuted(self, dims: Sequence[int]) -> Constant:
        """x.permute(dims)"""
        order = [int(dim) % self.array.ndim for dim in dims]
        return Constant(self.array.transpose(order), None if self.batch is None else order.index(self.batch))

    def swapped(self, one: int, other: int) -> Constant:
        """x.transpose(one, other)"""
        dims = list(range(self.array.ndim))
        dims[one], dims[other] = dims[other], dims[one]
        return self.permuted(dims)

    def unsqueezed(self, dim: int) -> Constant:
        """x.unsqueeze(dim)"""
        dim = int(dim) % (self.array.ndim + 1)
        batch = None if self.batch is None else self.batch + (dim <= self.batch)
        return Constant(np.expand_dims(self.array, dim), batch)

    def squeezed(self, dim: int | None = None) -> Constant:
        """x.squeeze(dim)"""
        if self.batch is not None or dim is None:
            raise _not_followed()
        return Constant(np.squeeze(self.array, int(dim)) if self.array.shape[int(dim)] == 1 else self.array)

    def beside(self, value: Value) -> tuple[Value, Tensor]:
        """A tensor and these numbers, so laid that they are added (multiplied, ...) as PyTorch does."""
        if self.array.ndim > value.rank:
            raise _not_followed()
        offset = value.rank - self.array.ndim
        if self.batch is not None and self.batch + offset != value.batch:
            raise _not_followed()
        if self.array.size == 1:
            return value, float(self.array.reshape(()))
        straight = value.straight()
        array = self.array.reshape((1,) * offset + self.array.shape)
        merged = len(straight.axes[straight.batch]) > 1
        if array.shape[straight.batch] != 1 or (merged and array.size != array.shape[-1]):
            raise _not_followed()
        if merged:
            return straight, array.reshape(-1)
        return straight, np.moveaxis(array, straight.batch, 0)


def _not_followed() -> InTheWay:
    return InTheWay(Obstacle.NO_RULE, "It does what is not followed with numbers of the model's own.")
