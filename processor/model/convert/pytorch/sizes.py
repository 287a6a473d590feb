"""Sizes that the input decides: those of the batch and of time, and what a `forward` computes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay


@dataclass(frozen=True)
class Size:
    """factor * rows**rows * samples**samples + more. The size of a batch is Size(rows=1), of time Size(samples=1)."""

    factor: int = 1
    rows: int = 0
    samples: int = 0
    more: int = 0

    @property
    def is_time(self) -> bool:
        return (self.factor, self.rows, self.samples) == (1, 0, 1)


AnySize = int | Size
ROWS: Final = Size(rows=1)
SAMPLES: Final = Size(samples=1)


def _size(value: AnySize) -> Size:
    return value if isinstance(value, Size) else Size(0, more=value)


def plain(size: Size) -> AnySize:
    """A number where nothing of the input is in it."""
    if size.factor == 0 or (size.rows == 0 and size.samples == 0):
        return size.more + (size.factor if size.factor else 0)
    return size


def times(one: AnySize, other: AnySize) -> AnySize:
    """The product.

    Raises:
        InTheWay: it is not one that is followed here.
    """
    if isinstance(one, int) and isinstance(other, int):
        return one * other
    if isinstance(one, int) or isinstance(other, int):
        number, size = (one, _size(other)) if isinstance(one, int) else (_size(other).more, _size(one))
        return plain(replace(size, factor=size.factor * number, more=size.more * number))
    if one.more or other.more:
        raise InTheWay(Obstacle.NO_RULE, "It multiplies sums of sizes.")
    return Size(one.factor * other.factor, one.rows + other.rows, one.samples + other.samples)


def divided(one: AnySize, other: AnySize) -> AnySize | None:
    """The quotient, or None where it is no whole number for any input."""
    if isinstance(one, int) and isinstance(other, int):
        return one // other if other and one % other == 0 else None
    one, other = Size(one) if isinstance(one, int) else one, Size(other) if isinstance(other, int) else other
    if one.more or other.more or not other.factor or one.factor % other.factor:
        return None
    if one.rows < other.rows or one.samples < other.samples:
        return None
    return plain(Size(one.factor // other.factor, one.rows - other.rows, one.samples - other.samples))


def plus(one: AnySize, other: AnySize) -> AnySize:
    """The sum. Raises as `times`."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if isinstance(one, Size) and isinstance(other, Size):
        if (one.rows, one.samples) != (other.rows, other.samples):
            raise InTheWay(Obstacle.NO_RULE, "It adds sizes of different axes.")
        return plain(Size(one.factor + other.factor, one.rows, one.samples, one.more + other.more))
    size, number = (one, other) if isinstance(one, Size) else (other, one)
    assert isinstance(size, Size)
    assert isinstance(number, int)
    return replace(size, more=size.more + number)


def position(value: AnySize | None, length: AnySize) -> int | None:
    """A position along an axis of this length, counted from its end where the length is not known; None: the end."""
    if value is None or isinstance(value, int):
        return value if not (isinstance(value, int) and isinstance(length, int) and value == length) else None
    own = length.more if isinstance(length, Size) and length.is_time else 0
    if not value.is_time or (isinstance(length, Size) and not length.is_time) or value.more > own:
        raise InTheWay(Obstacle.NO_RULE, "It picks by a size that is not that of the axis.")
    return value.more - own or None
