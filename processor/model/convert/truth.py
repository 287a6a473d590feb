"""What the trained model says: the one measure of the step graph.

A model of another precision than float32 or float64 is stepped in float32, so its float32 twin is the measure of the
step, and the model itself is held against it by its own precision.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert.interface import symbolic
from processor.model.convert.toggles import free, is_bound
from processor.model.convert.twins import precisions, twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from processor.model.convert.interface import Interface
    from processor.model.convert.sequences import Sequences

    Array = NDArray[Any]

_EXACT: Final = {"float32", "float64"}
_ROUNDINGS: Final = 32
"""How many roundings of its own precision a model may be from its float32 twin."""
_MOST_AS_WRITTEN: Final = 64
"""Samples up to which the model is also run operation by operation, which is slow."""


class Truth:
    """The trained model (or its twin), asked about whole sequences of any number of rows.

    `at_length`: it is asked about sequences of its own length only, so that nothing has to take any other.
    """

    def __init__(self, model: Any, structure: Any, interface: Interface, *, at_length: bool = False) -> None:
        self.model, self.structure, self.interface, self._at_length = model, structure, interface, at_length
        self.low_precision = sorted(precisions(model) - _EXACT)
        entries = interface.entries
        is_free = not is_bound(model) and all(entry.batch_shape[0] is None for entry in entries)
        if not at_length:
            is_free = is_free and all(entry.length is None for entry in entries)
        self._twin: Any = None
        if self.low_precision:
            self._twin, self.source = self._make("float32"), "its float32 twin"
        elif is_free:
            self.source = "the model itself"
        else:
            self._twin, self.source = self._make(), "its twin for any batch and length"
        self._whole = self._function(self._twin)

    @property
    def is_model(self) -> bool:
        """Whether the judge is the very model, or a twin that has to be held against it."""
        return self._twin is None

    @property
    def over_time(self) -> list[bool]:
        return [leave.time is not None for leave in self.interface.exits]

    def whole(self, sequences: Sequences) -> list[Array]:
        """Each output as the model gives it, [R, T, ...] where it has time."""
        return self._by_time(self._whole(sequences.whole()))

    def newest(self, sequences: Sequences) -> list[Array]:
        """Each output after the last sample, [R, *output shape]."""
        return [y[:, -1] if over else y for y, over in zip(self.whole(sequences), self.over_time, strict=True)]

    def rounding(self, sequences: Sequences) -> float:
        """What float32 costs the model itself: how far its answers may be from exact ones, which no step can better.

        Measured, not bounded, in three ways, of which each alone may be lucky: the model's float32 answers, traced (and
        so rearranged by TensorFlow) and as written, against the same in float64; and the float64 answers when every
        weight is rounded otherwise. 0 where there is no such twin: then rounding explains nothing.
        """
        inputs = sequences.whole()
        try:
            twin, function = self._exact
            exact = function(inputs)
            others = [self._whole(inputs), *_rounded_otherwise(twin, lambda: function(inputs))]
            if sequences.length <= _MOST_AS_WRITTEN:
                others.append(self._function(self._twin, traced=False)(inputs))
        except Exception:  # a layer or an operation of the user's own need not know float64
            return 0.0
        return max(scaled_error(a, b) for other in others for a, b in zip(other, exact, strict=True))

    @cached_property
    def _exact(self) -> tuple[Any, Callable[[list[Array]], list[Array]]]:
        """The model's twin in float64, and as a function."""
        made = self._make("float64")
        return made, self._function(made)

    def own_shape(self, sequences: Sequences) -> tuple[float, float, str]:
        """The model itself against the judge, at the shape that it was built for: error, what is allowed, the shape.

        `sequences` are repeated and cut to that shape. The states of a stateful model are put back.
        """
        rows = next((e.batch_shape[0] for e in self.interface.entries if e.batch_shape[0]), None) or sequences.rows
        length = self.interface.length or sequences.length
        asked = sequences.of_shape(rows, length)
        inputs = [
            tf.cast(values, entry.dtype) for values, entry in zip(asked.whole(), self.interface.entries, strict=True)
        ]
        with _states_put_back(self.model):
            answers = keras.tree.flatten(
                self.model(keras.tree.pack_sequence_as(self.structure, inputs), training=False)
            )
        mine = self._by_time([np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))) for y in answers])
        error = max(scaled_error(a, b) for a, b in zip(mine, self.whole(asked), strict=True))
        allowed = max((_ROUNDINGS * _epsilon(kind) for kind in self.low_precision), default=0.0)
        shapes = " and ".join(f"({', '.join(map(str, values.shape))})" for values in asked.whole())
        return error, allowed, shapes

    def _by_time(self, outputs: list[Array]) -> list[Array]:
        return [
            y if leave.time is None else np.moveaxis(y, leave.time, 1)
            for y, leave in zip(outputs, self.interface.exits, strict=True)
        ]

    def _make(self, dtype: str | None = None) -> Any:
        entries = [replace(entry, batch_shape=(None, *entry.batch_shape[1:])) for entry in self.interface.entries]
        return twin(self.model, symbolic(self.structure, entries, -1 if self._at_length else None, dtype), dtype)

    def _function(self, other: Any, *, traced: bool = True) -> Callable[[list[Array]], list[Array]]:
        """The model (or its twin) as one TensorFlow function for any rows and samples: a prefix costs no new trace.

        Not traced, TensorFlow does what is written, operation by operation.
        """
        entries = self.interface.entries
        model = self.model if other is None else other
        kinds = [entry.dtype if other is None else str(x.dtype) for entry, x in
                 zip(entries, other.inputs if other is not None else entries, strict=True)]  # fmt: skip
        specs = [
            tf.TensorSpec(
                [None if axis in (0, entry.time) else size for axis, size in enumerate(entry.batch_shape)], kind
            )
            for entry, kind in zip(entries, kinds, strict=True)
        ]

        def call(*inputs: Any) -> list[Any]:
            structured = (
                list(inputs) if other is not None else keras.tree.pack_sequence_as(self.structure, list(inputs))
            )
            with free(model):
                return list(keras.tree.flatten(model(structured, training=False)))

        if self._at_length:
            specs = [
                tf.TensorSpec(
                    [None, *spec.shape[1 : entry.time], self.interface.length, *spec.shape[entry.time + 1 :]],
                    spec.dtype,
                )
                if entry.time is not None and self.interface.length
                else spec
                for spec, entry in zip(specs, entries, strict=True)
            ]
        function = tf.function(call, specs, autograph=False) if traced else call

        def on_numbers(inputs: list[Array]) -> list[Array]:
            cast = [tf.cast(values, kind) for values, kind in zip(inputs, kinds, strict=True)]
            return [np.asarray(output) for output in function(*cast)]

        def on_squares(inputs: list[Array]) -> list[Array]:
            rows = len(inputs[0])
            length = next(x.shape[e.time] for x, e in zip(inputs, entries, strict=True) if e.time is not None)
            parts = []
            for start in range(0, rows, length):
                known = min(length, rows - start)
                some = [np.resize(x[start : start + known], (length, *x.shape[1:])) for x in inputs]
                parts.append([output[:known] for output in on_numbers(some)])
            return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

        # Where a function knows neither batch nor length, Keras' TimeDistributed takes the one for the other. It is
        # right where both are equal; its way out, a call without a function, takes ten times as long.
        layers = [layer for layer in self.model._flatten_layers() if isinstance(layer, keras.layers.TimeDistributed)]
        return on_squares if layers and not self._at_length else on_numbers


def scaled_error(got: Array, truth: Array) -> float:
    """The greatest |error| / max(1, |truth|), over what the truth has a finite number for."""
    finite = np.isfinite(truth)
    if not finite.any():
        return 0.0
    known = truth[finite].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got[finite].astype(np.float64) - known) / np.maximum(1.0, np.abs(known))
    return float(np.where(np.isnan(error), np.inf, error).max())


def _rounded_otherwise(model: Any, answer: Callable[[], list[Array]]) -> list[list[Array]]:
    """The answers with each weight off by about half a rounding of float32, twice; the weights are put back."""
    rng, kept = np.random.default_rng(31), model.get_weights()
    answers = []
    try:
        for _ in range(2):
            model.set_weights([w * (1 + 2.0**-24 * rng.standard_normal(w.shape)) for w in kept])
            answers.append(answer())
    finally:
        model.set_weights(kept)
    return answers


def _epsilon(kind: str) -> float:
    return {"float16": 2.0**-10, "bfloat16": 2.0**-7}.get(kind, 2.0**-7)


class _states_put_back:  # noqa: N801 - reads as the statement that it is
    """A stateful model starts afresh inside, and has its states again afterwards."""

    def __init__(self, model: Any) -> None:
        self.layers = [
            layer
            for layer in model._flatten_layers()
            if getattr(layer, "stateful", False) and getattr(layer, "states", None)
        ]

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
