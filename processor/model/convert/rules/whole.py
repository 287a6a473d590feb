"""What is called as it is: layers that time has left, and layers to which a whole sequence was collected."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert.rules.base import Call, Piece, Rule, Tensor
from processor.model.convert.toggles import unrolled

if TYPE_CHECKING:
    from collections.abc import Sequence


class Whole(Rule):
    """The layer itself, on tensors that have no axis of time (any more)."""

    kind: ClassVar[str] = "runs on the last output only"

    def times(self, call: Call) -> tuple[int | None, ...]:
        return (None,)

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        arguments = call.filled(inputs)
        with unrolled(call.layer):
            outputs = call_by_name(call.layer, arguments)
        return list(keras.tree.flatten(outputs)), []


class Collect(Rule):
    """Rows of time side by side, zeros in the place of those still to come: what a layer needs that takes them all.

    It stands for no layer of the model. `call.layer` is a `Collected`.
    """

    kind: ClassVar[str] = "collects time"

    def times(self, call: Call) -> tuple[int | None, ...]:
        return (None,)

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        length, (flow,) = call.layer.length, call.flows
        dtype = np.float32 if call.layer.is_float else np.int32
        return (
            Piece("rows", np.zeros((length - 1, *flow.shape), dtype)),
            Piece("count", np.zeros((), np.int32)),
        )

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        (sample,), (rows, count) = inputs, state
        dtype = sample.dtype
        rows = put(rows, tf.cast(sample, rows.dtype), count, call.layer.length)
        time = call.flows[0].time
        assert time is not None
        whole = rows if time == 1 else keras.ops.moveaxis(rows, 1, time)
        return [tf.cast(whole, dtype)], [rows[:, :-1], count + 1]


class Collected:
    """What `Collect` collects: as many rows as the model is long, for the layer of that name."""

    def __init__(self, name: str, length: int, is_float: bool) -> None:
        self.name, self.length, self.is_float = name, length, is_float


def put(rows: Tensor, sample: Tensor, count: Tensor, length: int) -> Tensor:
    """[B, length - 1, ...] and one row more: the sample in the place `count`, [B]. Gives [B, length, ...]."""
    longer = tf.concat([rows, tf.zeros_like(sample)[:, None]], axis=1)
    here = tf.range(length)[None] == tf.reshape(count, (-1, 1))
    shape = (-1, length, *(1,) * (len(sample.shape) - 1))
    return tf.where(tf.reshape(here, shape), sample[:, None], longer)


def call_by_name(layer: Any, arguments: dict[str, Any]) -> Any:
    """Calls a layer or an operation with its arguments by name; what it takes first goes without, as Keras wants it."""
    first, *others = arguments.items()
    values = first[1] if first[0].startswith("*") else (first[1],)
    return layer(*values, **dict(others))


def arguments_by_name(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """A call's arguments by the names of the parameters; those of a variable number under `*name`."""
    signature = inspect.signature(layer.call)
    bound = signature.bind(*args, **kwargs)
    given: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            given |= value
        else:
            given["*" + name if kind is inspect.Parameter.VAR_POSITIONAL else name] = value
    return given
