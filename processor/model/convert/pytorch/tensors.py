"""What several calls and modules do with the tensors of a described `forward`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import layers, ops

from processor.model.convert.pytorch.values import Stack, Value
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def softened(value: Value, function: Callable[..., Any], dim: Any) -> Value:
    """softmax and log_softmax along a dim."""
    if dim is None:
        raise InTheWay(Obstacle.NO_RULE, "It names no dim.")
    return value.of(function(value.whole().tensor, axis=value.axis(dim)))


def dense(given: Any, weight: NDArray[Any], bias: NDArray[Any] | None) -> Value:
    """x @ weight + bias, with weight [features, units]."""
    value = features_last(given, weight.shape[0])
    y = ops.matmul(value.tensor, weight)
    return value.of(y if bias is None else y + bias)


def features_last(given: Any, width: int) -> Value:
    """The value, its last dim as the last axis of its tensor.

    Raises:
        ValueError: it is not as wide as the weights: else a layer of any size would be made for it.
    """
    if not isinstance(given, Value | Stack):
        raise ValueError(f"a layer of the width {width} is given something else")
    value = value_of(given)
    if 0 in value.axes[-1]:
        raise InTheWay(Obstacle.NO_RULE, "It runs over the axis of the batch.")
    if value.axes[-1] != (len(value.tensor.shape) - 1,):
        value = value.straight()
    if value.tensor.shape[-1] != width:
        raise ValueError(f"a layer of the width {width} is given something else")
    return value


def value_of(given: Any) -> Value:
    """A tensor.

    Raises:
        InTheWay: it is something else.
    """
    if isinstance(given, Stack):
        return given.value()
    if not isinstance(given, Value):
        raise InTheWay(Obstacle.NO_RULE, f"It takes a {type(given).__name__.lower()}, where a tensor is followed.")
    return given


def laid_alike(values: list[Value]) -> list[Value]:
    """Tensors of the same dims, each dim on the same axis."""
    if len({value.tail for value in values}) > 1:
        values = [value.whole() for value in values]
    if len({value.axes for value in values}) > 1:
        values = [value.straight() for value in values]
    if len({value.axes for value in values}) != 1:
        raise InTheWay(Obstacle.NO_RULE, "Its tensors have other axes than each other.")
    return values


def padded(value: Value, left: int, right: int) -> Value:
    """Zeros at both ends of the last dim."""
    before, after = layers.ZeroPadding1D, (int(left), int(right))
    if value.rank != 3 or value.batch != 0 or min(after) < 0:
        raise InTheWay(Obstacle.NO_RULE, "It pads other tensors than [batch, channels, time].")
    straight = value.permuted([0, 2, 1]).straight()
    return straight.of(before(after)(straight.tensor)).permuted([0, 2, 1])
