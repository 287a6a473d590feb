"""What the trained model says: the one measure of the step graph.

A model of another precision than float32 or float64 is stepped in float32, so its float32 twin is the measure of the
step, and the model itself is held against it by its own precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert.graph import TIME_AXIS, Graph, functional
from processor.model.convert.twins import is_free, precisions, twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Array = NDArray[Any]

_EXACT: Final = {"float32", "float64"}
_ROUNDINGS: Final = 32
"""How many roundings of its own precision a model may be from its float32 twin."""


class Truth:
    """The trained model (or its twin), asked about whole sequences of any number of rows and samples."""

    def __init__(self, graph: Graph) -> None:
        self.model = graph.model
        self.over_time = [graph.flows[number].time is not None for _, number in graph.outputs]
        self.names = [spec.name for spec, _ in graph.outputs]
        self.low_precision = sorted(precisions(self.model) - _EXACT)
        if self.low_precision:
            self.judge, self.source = twin(self.model, "float32"), "its float32 twin"
        elif is_free(self.model):
            self.judge, self.source = self.model, "the model itself"
        else:
            self.judge, self.source = twin(self.model), "its twin for any batch and length"
        self._whole = _function(self.judge)

    @property
    def is_model(self) -> bool:
        """Whether the judge is the very model, or a twin that has to be held against it."""
        return self.judge is self.model

    def whole(self, sequences: Array) -> list[Array]:
        """[R, T, *shape] -> each output as the model gives it, with time where it has that."""
        return self._whole(sequences)

    def newest(self, sequences: Array) -> list[Array]:
        """[R, T, *shape] -> each output after the last sample, [R, *output shape]."""
        return [y[:, -1] if over else y for y, over in zip(self.whole(sequences), self.over_time, strict=True)]

    def rounding(self, sequences: Array) -> float:
        """How far the model's own float32 answers are from the same in float64: what no step graph can better."""
        exact = _function(twin(self.judge, "float64"))(sequences.astype(np.float64))
        pairs = zip(self.whole(sequences), exact, strict=True)
        return max(scaled_error(mine, other) for mine, other in pairs)

    def own_shape(self, sequences: Array) -> tuple[float, float, str]:
        """The model itself against the judge, at the shape that it was built for: error, what is allowed, the shape.

        `sequences` [R, T, *shape] are repeated and cut to that shape. The states of a stateful model are put back.
        """
        (tensor,) = self.model.inputs
        rows = tensor.shape[0] or len(sequences)
        length = tensor.shape[TIME_AXIS] or sequences.shape[1]
        repeats = (-(-rows // len(sequences)), -(-length // sequences.shape[1]), *(1,) * (sequences.ndim - 2))
        asked = np.tile(sequences, repeats)[:rows, :length]
        with _states_put_back(self.model):
            answers = keras.tree.flatten(
                self.model(_as_inputs(self.model, tf.cast(asked, tensor.dtype)), training=False)
            )
        mine = [np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))) for y in answers]
        error = max(scaled_error(a, b) for a, b in zip(mine, self.whole(asked), strict=True))
        allowed = max((_ROUNDINGS * _epsilon(kind) for kind in self.low_precision), default=0.0)
        return error, allowed, f"({rows}, {length}, {', '.join(map(str, asked.shape[2:]))})"

    def insides(self, sequences: Array, tensors: list[Any]) -> list[Array]:
        """The values of tensors inside the judge's graph, as the model computes them over whole sequences."""
        inside = keras.Model(functional(self.judge)._inputs_struct, tensors)
        return _function(inside)(sequences)


def scaled_error(got: Array, truth: Array) -> float:
    """The greatest |error| / max(1, |truth|), over what the truth has a finite number for."""
    finite = np.isfinite(truth)
    if not finite.any():
        return 0.0
    known = truth[finite].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got[finite].astype(np.float64) - known) / np.maximum(1.0, np.abs(known))
    return float(np.where(np.isnan(error), np.inf, error).max())


def _epsilon(kind: str) -> float:
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(kind, 2.0**-7)


def _function(model: Any) -> Callable[[Array], list[Array]]:
    """A model as one TensorFlow function for any rows and samples, so that a prefix costs no new trace."""
    (tensor,) = model.inputs
    shape = (None, None, *tensor.shape[TIME_AXIS + 1 :])

    def call(sequences: Any) -> list[Any]:
        return list(keras.tree.flatten(model(_as_inputs(model, sequences), training=False)))

    traced = tf.function(call, [tf.TensorSpec(shape, tensor.dtype)], autograph=False)

    def on_numbers(sequences: Array) -> list[Array]:
        return [np.asarray(output) for output in traced(tf.cast(sequences, tensor.dtype))]

    def on_squares(sequences: Array) -> list[Array]:
        rows, length = sequences.shape[:2]
        parts = []
        for start in range(0, rows, length):
            part = np.zeros((length, *sequences.shape[1:]), sequences.dtype)
            known = min(length, rows - start)
            part[:known] = sequences[start : start + known]
            parts.append([output[:known] for output in on_numbers(part)])
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    # Where a function knows neither batch nor length, Keras' TimeDistributed takes the one for the other. It is right
    # where both are equal; its way out, a call without a function, takes ten times as long.
    squares = any(isinstance(layer, keras.layers.TimeDistributed) for layer in model._flatten_layers())
    return on_squares if squares else on_numbers


def _as_inputs(model: Any, sequences: Any) -> Any:
    """The one input in the form that the model was built with: itself, or in a dict or a list."""
    return keras.tree.pack_sequence_as(functional(model)._inputs_struct, [sequences])


class _states_put_back:  # noqa: N801 - reads as the statement that it is
    """A stateful model starts afresh inside, and has its states again afterwards."""

    def __init__(self, model: Any) -> None:
        self.layers = [layer for layer in model.layers if getattr(layer, "stateful", False) and layer.states]

    def __enter__(self) -> None:
        self.kept = [[variable.numpy() for variable in self._variables(layer)] for layer in self.layers]
        for layer in self.layers:
            layer.reset_state()

    def __exit__(self, *_: object) -> None:
        for layer, values in zip(self.layers, self.kept, strict=True):
            for variable, value in zip(self._variables(layer), values, strict=True):
                variable.assign(value)

    @staticmethod
    def _variables(layer: Any) -> Iterator[Any]:
        yield from keras.tree.flatten(layer.states)
