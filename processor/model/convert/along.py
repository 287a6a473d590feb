"""What names the length of the model's sequences, in a form that fits any: a repeated static input, the last sample.

A model of 20 samples repeats a static vector 20 times, and takes `x[:, 19]` for its last sample. Asked about a prefix
of 3, it has to repeat it 3 times, and its last sample is the third.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
from keras import ops
from keras.src.ops.numpy import GetItem

if TYPE_CHECKING:
    from processor.model.convert.interface import ModelInput


@dataclass(frozen=True, eq=False)
class Along:
    """A model's sequence: one of its symbolic inputs, where time lies in it, and the length that the model is fixed to.

    static: the inputs that never change in a sequence, by id.
    """

    tensor: Any
    time: int
    length: int
    static: frozenset[int]

    def is_static(self, tensor: Any) -> bool:
        """Whether a symbolic tensor is made of static inputs alone."""
        open_ones, known = [tensor], set()
        while open_ones:
            one = open_ones.pop()
            if id(one) in known or id(one) in self.static:
                continue
            known.add(id(one))
            node = one._keras_history.operation._inbound_nodes[one._keras_history.node_index]
            if node.is_input:
                return False
            open_ones += node.input_tensors
        return True


def along(inputs: Any, entries: list[ModelInput]) -> Along | None:
    """The sequence of these symbolic inputs; None where the model takes sequences of any length."""
    tensors = keras.tree.flatten(inputs)
    timed = [(tensor, entry) for tensor, entry in zip(tensors, entries, strict=True) if entry.length is not None]
    if not timed:
        return None
    (tensor, entry), static = timed[0], [t for t, e in zip(tensors, entries, strict=True) if e.time is None]
    assert entry.time is not None
    assert entry.length is not None
    return Along(tensor, entry.time, entry.length, frozenset(map(id, static)))


class RepeatedAlong(keras.layers.Layer):  # type: ignore[misc]
    """A vector, repeated as many times as a sequence has samples: [B, F] -> [B, T, F]."""

    def __init__(self, time: int, **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.time = time

    def call(self, vector: Any, sequence: Any) -> Any:
        by_time = ops.moveaxis(sequence, self.time, 1)
        while len(by_time.shape) > 2:
            by_time = by_time[..., 0]
        return vector[:, None] + ops.cast(ops.zeros_like(by_time), vector.dtype)[..., None]


def for_this_length(operation: Any, args: tuple[Any, ...], sequence: Along | None) -> tuple[Any, tuple[Any, ...]]:
    """An operation and its arguments, or those that do the same at the model's own length and fit any other."""
    if sequence is None or not args or not isinstance(args[0], keras.KerasTensor):
        return operation, args
    tensor = args[0]
    if type(operation) is keras.layers.RepeatVector and operation.n == sequence.length and sequence.is_static(tensor):
        repeated = RepeatedAlong(sequence.time, name=operation.name, dtype=tensor.dtype)
        return repeated, (tensor, sequence.tensor)
    if type(operation) is GetItem and isinstance(args[1], list | tuple):
        last = sequence.length - 1
        key = [
            _from_the_end(one, last) if axis and size in (None, sequence.length) else one
            for axis, (one, size) in enumerate(zip(args[1], tensor.shape, strict=False))
        ]
        return operation, (tensor, tuple(key))
    return operation, args


def _from_the_end(key: Any, last: int) -> Any:
    """The last sample, counted from the end of whatever length there is."""
    if isinstance(key, slice):
        only = key.start == last and key.stop in (None, last + 1) and key.step in (None, 1)
        return slice(-1, None) if only and last else key
    return -1 if key == last and last and not isinstance(key, bool) else key
