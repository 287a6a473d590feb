"""What flows through a described `forward`: Keras tensors that have the batch first, wherever PyTorch has it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from keras import layers, ops

from processor.model.convert.pytorch.sizes import ROWS, SAMPLES, AnySize, Size, divided, position, times
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Sequence

Tensor = Any
_FULL: Final = slice(None)


@dataclass(frozen=True, eq=False)
class Value:
    """tensor: with the batch as its first axis; axes: for each of PyTorch's dims the axis of the tensor that it is.

    The dim of the batch may be of several: `view(-1, features)` lays batch and time into one dim, which nothing here
    needs to compute. Only that dim may. A permutation moves no numbers: it is another `axes`.

    tail: (an axis of the tensor, how many more samples PyTorch has behind its end): what a convolution that is padded
    at both ends computes beyond the newest sample, until it is cut off.
    """

    tensor: Tensor
    axes: tuple[tuple[int, ...], ...]
    tail: tuple[int, int] = (0, 0)

    @classmethod
    def with_batch(cls, tensor: Tensor, batch: int) -> Value:
        """The dims in the tensor's own order, but that of the batch, which is here."""
        others = [(axis,) for axis in range(1, len(tensor.shape))]
        return cls(tensor, (*others[:batch], (0,), *others[batch:]))

    @property
    def rank(self) -> int:
        return len(self.axes)

    @property
    def batch(self) -> int:
        """Which dim is that of the batch."""
        return next(dim for dim, axes in enumerate(self.axes) if 0 in axes)

    @property
    def sizes(self) -> list[AnySize]:
        """Its size in PyTorch."""
        sizes: list[AnySize] = []
        for axes in self.axes:
            size: AnySize = 1
            for axis in axes:
                size = times(size, self._size(axis))
            sizes.append(size)
        return sizes

    def _size(self, axis: int) -> AnySize:
        size = self.tensor.shape[axis]
        more = self.tail[1] if axis and axis == self.tail[0] else 0
        if axis == 0:
            return ROWS
        return replace(SAMPLES, more=more) if size is None else int(size) + more

    def axis(self, dim: int) -> int:
        """The tensor's axis of a dim.

        Raises:
            InTheWay: it is that of the batch.
        """
        axes = self.axes[int(dim) % self.rank]
        if 0 in axes:
            raise InTheWay(Obstacle.NO_RULE, "It mixes the rows of a batch.")
        return axes[0]

    def of(self, tensor: Tensor) -> Value:
        """Another tensor of the same axes."""
        return Value(tensor, self.axes, self.tail)

    def whole(self) -> Value:
        """Itself.

        Raises:
            InTheWay: it has more samples than came.
        """
        if self.tail[1]:
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                "A convolution pads both ends of the sequence, and what it computes behind the newest sample is used.",
                [f"Cut the last {self.tail[1]} off its output, or pad on the left alone."],
            )
        return self

    def straight(self) -> Value:
        """Its numbers moved: the tensor's axes lie as the dims do, but that of the batch."""
        self.whole()
        order = [axis for axes in self.axes for axis in axes if axis]
        if order == sorted(order):
            return self
        places = {axis: place for place, axis in enumerate(order, start=1)} | {0: 0}
        moved = ops.transpose(self.tensor, (0, *order))
        return Value(moved, tuple(tuple(places[axis] for axis in axes) for axes in self.axes))

    def picked(self, index: Any) -> Value:
        """x[index]"""
        given = list(index) if isinstance(index, list | tuple) else [index]
        if any(item is Ellipsis for item in given):
            place = next(at for at, item in enumerate(given) if item is Ellipsis)
            missing = self.rank - sum(item is not None and item is not Ellipsis for item in given)
            given[place : place + 1] = [_FULL] * missing
        given += [_FULL] * (self.rank - sum(item is not None for item in given))
        value, dim = self, 0
        for item in given:
            if item is None:
                value, dim = value.unsqueezed(dim), dim + 1
                continue
            kept = isinstance(item, slice | EachRow)
            value = value._picked(dim, item)
            dim += kept
        return value

    def _picked(self, dim: int, item: Any) -> Value:
        if 0 in self.axes[dim]:
            if not isinstance(item, EachRow) and item not in (_FULL, slice(0, None)):
                raise InTheWay(Obstacle.NO_RULE, "It picks rows of a batch.")
            return self
        if not isinstance(item, int | slice | Size):
            raise InTheWay(Obstacle.NO_RULE, "It picks by what is known at run time only.")
        axis, length = self.axes[dim][0], self.sizes[dim]
        if isinstance(item, slice):
            item = slice(position(item.start, length), position(item.stop, length), item.step)
            if item in (_FULL, slice(0, None), slice(0, None, 1)):
                return self
            if self.tail == (axis, -(item.stop or 0)) and item == slice(item.start, item.stop) and not item.start:
                return Value(self.tensor, self.axes)
            return Value(self.whole().tensor[(*(_FULL,) * axis, item)], self.axes)
        place = item if isinstance(item, int) else (position(item, length) or 0)
        return self.whole()._without(dim, self.tensor[(*(_FULL,) * axis, place)])

    def _without(self, dim: int, tensor: Tensor) -> Value:
        """Another tensor, that has lost the axis of this dim."""
        lost = self.axes[dim][0]
        kept = [axes for at, axes in enumerate(self.axes) if at != dim]
        return Value(tensor, tuple(tuple(axis - (axis > lost) for axis in axes) for axes in kept))

    def permuted(self, dims: Sequence[int]) -> Value:
        """x.permute(dims)"""
        return Value(self.tensor, tuple(self.axes[int(dim) % self.rank] for dim in dims), self.tail)

    def swapped(self, one: int, other: int) -> Value:
        """x.transpose(one, other)"""
        dims = list(range(self.rank))
        dims[one], dims[other] = dims[other], dims[one]
        return self.permuted(dims)

    def squeezed(self, dim: int | None = None) -> Value:
        """x.squeeze(dim)"""
        ones = [at for at, size in enumerate(self.sizes) if size == 1] if dim is None else [int(dim) % self.rank]
        value = self
        for at in reversed(ones):
            if value.sizes[at] == 1:
                value = value._without(at, ops.squeeze(value.tensor, value.axis(at)))
        return value

    def unsqueezed(self, dim: int) -> Value:
        """x.unsqueeze(dim)"""
        value, dim = self.straight(), int(dim) % (self.rank + 1)
        place = 1 + sum(axis != 0 for axes in value.axes[:dim] for axis in axes)
        moved = [tuple(axis + (axis >= place) for axis in axes) for axes in value.axes]
        return Value(ops.expand_dims(value.tensor, place), (*moved[:dim], (place,), *moved[dim:]))

    def flattened(self, start: int = 0, end: int = -1) -> Value:
        """x.flatten(start, end)"""
        start, end = int(start) % self.rank, int(end) % self.rank
        sizes, joined = self.sizes, 1
        for size in sizes[start : end + 1]:
            joined = times(joined, size)  # type: ignore[assignment]
        return self.reshaped([*sizes[:start], joined, *sizes[end + 1 :]])

    def reshaped(self, wanted: Sequence[Any]) -> Value:
        """x.reshape(sizes), of which one may be -1.

        Raises:
            InTheWay: it would tear rows apart, or lays them beside what they are not made of.
        """
        value = self.straight()
        atoms = [(axis, value._size(axis)) for axes in value.axes for axis in axes]
        groups = _grouped(atoms, _completed(value, wanted))
        sizes: list[int] = []
        axes: list[tuple[int, ...]] = []
        for group in groups:
            if any(axis == 0 for axis, _ in group):
                numbers = [0 if axis == 0 else len(sizes) + sum(a != 0 for a, _ in group[:at]) + 1
                           for at, (axis, _) in enumerate(group)]  # fmt: skip
                axes.append(tuple(numbers))
                sizes += [_as_number(size) for axis, size in group if axis]
            else:
                size: AnySize = 1
                for _, part in group:
                    size = times(size, part)
                sizes.append(_as_number(size))
                axes.append((len(sizes),))
        known = [-1 if size is None else int(size) for size in value.tensor.shape[1:]]
        if sizes == known:
            return Value(value.tensor, tuple(axes))
        layer = layers.Flatten() if len(sizes) == 1 else layers.Reshape(sizes)
        return Value(layer(value.tensor), tuple(axes))


def _as_number(size: AnySize) -> int:
    return size if isinstance(size, int) else -1


def _completed(value: Value, wanted: Sequence[Any]) -> list[AnySize]:
    """The sizes, with the one that is left out (-1)."""
    total: AnySize = 1
    for size in value.sizes:
        total = times(total, size)
    open_places = [at for at, size in enumerate(wanted) if isinstance(size, int) and size == -1]
    if any(not isinstance(size, int | Size) for size in wanted) or len(open_places) > 1:
        raise InTheWay(Obstacle.NO_RULE, "It takes a shape by what is known at run time only.")
    known: AnySize = 1
    for at, size in enumerate(wanted):
        known = known if at in open_places else times(known, size)
    missing = divided(total, known)
    if missing is None or (not open_places and missing != 1):
        raise InTheWay(Obstacle.NO_RULE, "It takes another shape than its numbers can have.")
    return [missing if at in open_places else size for at, size in enumerate(wanted)]


_Atom = tuple[int, AnySize]


def _grouped(atoms: list[_Atom], wanted: Sequence[AnySize]) -> list[list[_Atom]]:
    """Which of the axes, or parts of them, each of the wanted sizes is made of, in their order."""
    left, groups = [atom for atom in atoms if atom[1] != 1], []
    for want in wanted:
        group: list[_Atom] = []
        while want != 1:
            if not left:
                raise InTheWay(Obstacle.NO_RULE, "It takes another shape than its numbers can have.")
            axis, size = left.pop(0)
            rest = divided(want, size)
            if rest is not None:
                group.append((axis, size))
                want = rest
                continue
            rest = divided(size, want)
            if rest is None or axis == 0 or not isinstance(want, int):
                raise InTheWay(Obstacle.NO_RULE, "It lays parts of one axis beside parts of another.")
            group.append((axis, want))
            left.insert(0, (axis, rest))
            want = 1
        groups.append(group)
    return groups


@dataclass(frozen=True, eq=False)
class Stack:
    """The states of all layers of a recurrent module, each [B, units]: PyTorch's [layers, B, units].

    One of them is picked as it is; for all else they are laid together.
    """

    states: list[Tensor]

    def picked(self, index: Any) -> Value:
        """h[-1]"""
        first, *rest = index if isinstance(index, list | tuple) and index else [index]
        if isinstance(first, int):
            return Value.with_batch(self.states[first], 0).picked(list(rest))
        return self.value().picked(index)

    def squeezed(self, dim: int | None = None) -> Value:
        """h.squeeze(0)"""
        return self.picked(0) if len(self.states) == 1 and dim in (0, None) else self.value().squeezed(dim)

    def value(self) -> Value:
        """The states as one tensor."""
        if len(self.states) == 1:
            return Value.with_batch(self.states[0], 0).unsqueezed(0)
        return Value.with_batch(ops.stack(self.states, axis=1), 1)


@dataclass(frozen=True, eq=False)
class Zeros:
    """A tensor of zeros: what a state begins with. sizes: None where they are not known."""

    sizes: list[AnySize] | None = None


class EachRow:
    """torch.arange(batch): picks each row for itself."""


class Unknown:
    """A type or a device: what is known at run time only, and decides nothing that is followed here."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A sequence that is packed: here it never is, since each sample is one that came."""

    value: Value
