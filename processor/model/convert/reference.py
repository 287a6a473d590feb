"""What the trained model predicts: the one measure of the step graph.

A model of another precision than float32 or float64 is stepped in float32, so its float32 twin is the measure of the
step, and the model itself is held against it by its own precision.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert.along import along
from processor.model.convert.budget import DEFAULT
from processor.model.convert.interface import symbolic
from processor.model.convert.names import plain_scopes
from processor.model.convert.toggles import distributed, folded, free, is_bound
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


class Reference:
    """The trained model (or its twin), asked about whole sequences of any number of rows.

    `at_length`: it is asked about sequences of its own length only, so that nothing has to take any other;
    `sample_bytes`: what a pass holds of each sample of a row; `held`: what it may hold at once.
    """

    def __init__(
        self,
        model: Any,
        structure: Any,
        interface: Interface,
        *,
        at_length: bool = False,
        sample_bytes: int = 1,
        held: int = DEFAULT.held,
    ) -> None:
        self.model, self.structure, self.interface, self._at_length = model, structure, interface, at_length
        self._sample_bytes, self._held = sample_bytes, held
        self.low_precision = sorted(precisions(model) - _EXACT)
        entries = interface.entries
        is_free = not is_bound(model) and all(entry.batch_shape[0] is None for entry in entries)
        if not at_length:
            is_free = is_free and all(entry.length is None for entry in entries)
        self._twin: Any = None
        if self.low_precision:
            self._twin, self.source = self._make("float32"), "the same model rebuilt in float32"
        elif is_free:
            self.source = "the model itself"
            if distributed(model):
                self.source += ", with TimeDistributed on all samples at once"
        else:
            self._twin, self.source = self._make(), "the same model rebuilt with variable batch and length"
        self._whole = self._function(self._twin)

    @property
    def is_model(self) -> bool:
        """Whether the reference is the very model as Keras runs it, or has to be compared with that."""
        return self._twin is None and not distributed(self.model)

    @property
    def longest(self) -> int:
        """The longest sequence of which a pass of one row holds no more than it may."""
        return max(1, self._held // self._sample_bytes)

    @property
    def over_time(self) -> list[bool]:
        return [leave.time is not None for leave in self.interface.exits]

    def whole(self, sequences: Sequences) -> list[Array]:
        """Each output as the model gives it, [R, T, ...] where it has time."""
        return _joined([self._by_time(self._whole(some.whole())) for some in self._parts(sequences)])

    def newest(self, sequences: Sequences) -> list[Array]:
        """Each output after the last sample, [R, *output shape]."""
        return _joined([self._newest(self._whole, some) for some in self._parts(sequences)])

    def newest_unfused(self, sequences: Sequences) -> list[Array]:
        """The same without TensorFlow's fused operations: of NaN, a fused relu makes 0."""
        with _remapped(wanted=False):
            return _joined([self._newest(self._unfused, some) for some in self._parts(sequences)])

    @cached_property
    def _unfused(self) -> Callable[[list[Array]], list[Array]]:
        return self._function(self._twin)

    def newest_exact(self, sequences: Sequences) -> list[Array] | None:
        """The same computed in float64; None where the model has no such twin."""
        try:
            _, function = self._exact
            return _joined([self._newest(function, some) for some in self._parts(sequences, copies=2)])
        except Exception:  # a layer or an operation of the user's own need not know float64
            return None

    def rounding(self, sequences: Sequences) -> float:
        """What float32 costs the model itself: how far its answers may be from exact ones, which no step can better.

        Measured, not bounded, in three ways, of which each alone may be lucky: the model's float32 answers, traced (and
        so rearranged by TensorFlow) and as written, against the same in float64; and the float64 answers when every
        weight is rounded otherwise. 0 where there is no such twin: then rounding explains nothing.
        """
        try:
            return max(self._rounding(some) for some in self._parts(sequences, copies=6))
        except Exception:  # a layer or an operation of the user's own need not know float64
            return 0.0

    def _rounding(self, sequences: Sequences) -> float:
        inputs = sequences.whole()
        twin, function = self._exact
        exact = function(inputs)
        others = [self._whole(inputs), *_rounded_otherwise(twin, lambda: function(inputs))]
        if sequences.length <= _MOST_AS_WRITTEN:
            others.append(self._function(self._twin, traced=False)(inputs))
        return max(scaled_error(a, b) for other in others for a, b in zip(other, exact, strict=True))

    def _newest(self, function: Callable[[list[Array]], list[Array]], sequences: Sequences) -> list[Array]:
        answers = zip(self._by_time(function(sequences.whole())), self.over_time, strict=True)
        # A copy, so that the answers to the samples before do not stay in memory with it.
        return [y[:, -1].copy() if over else y for y, over in answers]

    def _parts(self, sequences: Sequences, copies: int = 1) -> Iterator[Sequences]:
        """The rows, as many at once as memory allows."""
        rows = max(1, self._held // (self._sample_bytes * copies * sequences.length))
        for start in range(0, sequences.rows, rows):
            yield sequences.chosen(slice(start, start + rows))

    @cached_property
    def _exact(self) -> tuple[Any, Callable[[list[Array]], list[Array]]]:
        """The model's twin in float64, and as a function."""
        made = self._make("float64")
        return made, self._function(made)

    def own_shape(self, sequences: Sequences) -> tuple[float, float, str]:
        """The model itself against the reference, at the shape it was built for: error, what is allowed, the shape.

        `sequences` are repeated and cut to that shape. Layers trained with `stateful=True` begin afresh, as with
        `stateful=False`. Where the model has no number (a mean of masked samples alone), it is asked as a graph, too:
        ReLU leaves NaN as it is in one of TensorFlow's kernels, and makes 0 of it in another.
        """
        asked, inputs = self._at_own_shape(sequences)
        with free(self.model):
            mine = self._own_answers(inputs)
            if any(np.isnan(values).any() for values in mine):
                traced = self._own_answers(inputs, traced=True)
                mine = [np.where(np.isnan(a), b, a) for a, b in zip(mine, traced, strict=True)]
        error = max(scaled_error(a, b) for a, b in zip(mine, self.whole(asked), strict=True))
        allowed = max(_ROUNDINGS * _epsilon(kind) for kind in self.low_precision or ["float32"])
        shapes = " and ".join(f"({', '.join(map(str, values.shape))})" for values in asked.whole())
        return error, allowed, shapes

    def mixed_states(self, sequences: Sequences) -> float | None:
        """How far the model's own answers are from those where each call of a `stateful=True` layer has a state of its
        own. None without such layers, or where Keras cannot call them so.

        Keras keeps one state for a layer, so that calls of a shared one go on from each other's. The states of the
        model are put back.
        """
        if not any(getattr(layer, "stateful", False) for layer in self.model._flatten_layers()):
            return None
        _, inputs = self._at_own_shape(sequences)
        with free(self.model):
            apart = self._own_answers(inputs)
        try:
            with _states_put_back(self.model):
                mixed = self._own_answers(inputs)
        except Exception:  # Keras 3.15 cannot call stateful stacked cells, for one
            return None
        return max(scaled_error(a, b) for a, b in zip(mixed, apart, strict=True))

    def _at_own_shape(self, sequences: Sequences) -> tuple[Sequences, list[Any]]:
        """The sequences repeated and cut to the shape that the model was built for, and as it takes them."""
        fixed = next((e.batch_shape[0] for e in self.interface.entries if e.batch_shape[0]), None)
        rows = fixed or min(sequences.rows, max(1, self.longest // (self.interface.length or sequences.length)))
        length = self.interface.length or sequences.length
        asked = sequences.of_shape(rows, length)
        inputs = [
            tf.cast(values, entry.dtype) for values, entry in zip(asked.whole(), self.interface.entries, strict=True)
        ]
        return asked, inputs

    def _own_answers(self, inputs: list[Any], *, traced: bool = False) -> list[Array]:
        """What the model itself predicts: operation by operation, or (traced) as a graph."""

        def call() -> list[Any]:
            asked = keras.tree.pack_sequence_as(self.structure, inputs)
            return list(keras.tree.flatten(self.model(asked, training=False)))

        answers = tf.function(call, autograph=False)() if traced else call()
        return self._by_time([np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))) for y in answers])

    def _by_time(self, outputs: list[Array]) -> list[Array]:
        return [
            y if leave.time is None else np.moveaxis(y, leave.time, 1)
            for y, leave in zip(outputs, self.interface.exits, strict=True)
        ]

    def _make(self, dtype: str | None = None) -> Any:
        entries = [replace(entry, batch_shape=(None, *entry.batch_shape[1:])) for entry in self.interface.entries]
        inputs = symbolic(self.structure, entries, -1 if self._at_length else None, dtype)
        return twin(self.model, inputs, dtype, None if self._at_length else along(inputs, entries))

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
            with free(model), folded(model), plain_scopes():
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

        return on_numbers


@contextlib.contextmanager
def _remapped(*, wanted: bool) -> Iterator[None]:
    """Whether TensorFlow fuses neighbouring operations of a function that is called inside."""
    before = tf.config.optimizer.get_experimental_options().get("remapping", True)
    tf.config.optimizer.set_experimental_options({"remapping": wanted})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"remapping": before})


def _joined(parts: list[list[Array]]) -> list[Array]:
    """The outputs of all rows, of those of some of them."""
    return parts[0] if len(parts) == 1 else [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def scaled_error(got: Array, truth: Array) -> float:
    """The greatest |error| / max(1, |truth|), over what the truth has a finite number for."""
    return float(row_errors(got[None], truth[None]).max())


def row_errors(got: Array, truth: Array) -> NDArray[np.float64]:
    """[R, ...] each -> the greatest |error| / max(1, |truth|) of each row; what the truth has no finite number for does
    not count."""
    known = truth.reshape(len(truth), -1).astype(np.float64)
    finite = np.isfinite(known)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got.reshape(known.shape).astype(np.float64) - known) / np.maximum(1.0, np.abs(known))
    error = np.where(finite, np.where(np.isnan(error), np.inf, error), 0.0)
    greatest: NDArray[np.float64] = error.max(axis=1, initial=0.0)
    return greatest


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
    return {"float32": 2.0**-24, "float16": 2.0**-10, "bfloat16": 2.0**-7}.get(kind, 2.0**-7)


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
