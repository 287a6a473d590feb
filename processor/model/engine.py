"""The engine: steps the rows of many keys at once with the step graph of an artifact. The hot path's arithmetic.

One LiteRT interpreter per number of rows (a bucket: 1, 2, 4 ... `max_rows`), because resizing one costs more than
stepping it. A call is cut into buckets, and what is missing in the last of them is padded with zeros.

Invariants:
- a row's prediction and new state depend on that row alone: not on its neighbours, its bucket or its index in it;
- arguments are never changed, and what is returned is never touched again;
- between two calls nothing of a row is kept: views into an interpreter's memory live for one assignment only, for
  LiteRT refuses to run while any is held.

An engine belongs to one thread; a step gives the interpreter lock free while LiteRT computes.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import Incompatible
from processor.model.artifact import STEPS
from processor.model.interpreter import open_interpreter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.types import BoolArray, Features, Float32Array, TensorSpec

_CALL_BYTES: Final = 1 << 20
"""One more call costs about as much as stepping as many rows as the step graph (its weights, nearly) fits in here."""


class Engine:
    """Steps the rows of an artifact's model.

    `max_rows` is the largest bucket, rounded up to a power of two, or what the artifact allows at the most; an artifact
    that fixes its tile has no other. `held`: bytes of step graphs in its interpreters, each of which has a copy of the
    weights; beyond it, the interpreter that was opened first is closed. None: all stay open.
    """

    def __init__(self, artifact: Artifact, *, max_rows: int = 512, held: int | None = None) -> None:
        if max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}; it must be at least 1")
        self.artifact = artifact
        self._words = artifact.words
        self._float_words = artifact.float_words
        self._inputs = tuple((spec.name, spec.shape) for spec in artifact.inputs)
        self._outputs = tuple((spec.name, spec.shape, np.dtype(spec.dtype)) for spec in artifact.outputs)
        self._smallest = artifact.tile or 1
        self._largest = artifact.tile or 1 << (min(max_rows, artifact.most_rows or max_rows) - 1).bit_length()
        self._padding = max(1, _CALL_BYTES // len(artifact.step_graph))
        self._most_open = None if held is None else max(1, held // len(artifact.step_graph))
        self._buckets: dict[int, _Bucket] = {}

    def initial_state(self, rows: int) -> Float32Array:
        """float32[rows, D]: the state of keys that have not been seen."""
        return np.tile(self.artifact.initial_state, (rows, 1))

    def step(self, features: Features, state: Float32Array) -> tuple[dict[str, NDArray[Any]], Float32Array]:
        """Steps each row by one sample.

        `features`: input name -> [B, *sample shape]; `state`: float32[B, D]. Returns the outputs, by name
        [B, *output shape], and the new state, float32[B, D], all of them new arrays. B may be 0.

        Raises:
            ValueError: a shape is another one, or an input is missing.
        """
        rows = len(state)
        columns = self._columns(features, state, rows)
        outputs = [np.empty((rows, *shape), dtype) for _, shape, dtype in self._outputs]
        new_state = np.empty((rows, self._words), np.float32)
        self._wave(columns, outputs, 0, state, new_state)
        return {name: array for (name, _, _), array in zip(self._outputs, outputs, strict=True)}, new_state

    def step_run(
        self, features: Features, state: Float32Array, sizes: Sequence[int]
    ) -> tuple[dict[str, NDArray[Any]], Float32Array]:
        """Steps m keys by many samples each: by one of every key, then by one of the first `sizes[1]` keys, and so on.

        `features`: input name -> [n, *sample shape], in this order, n = sum(sizes); `state`: float32[m, D]; `sizes`:
        falling, sizes[0] = m. Returns the outputs and the state after every sample, [n, ...] both, as new arrays.

        Raises:
            ValueError: as `step`.
        """
        rows = sum(sizes)
        states = np.empty((rows, self._words), np.float32)
        columns = self._columns(features, states, rows)
        outputs = [np.empty((rows, *shape), dtype) for _, shape, dtype in self._outputs]
        start, before = 0, state
        for size, alike in groupby(sizes, self._fitting):
            waves = list(alike)
            if waves[0] <= size:
                self._bucket(size).run(columns, outputs, start, waves, before, states)
                start += sum(waves)
                before = states[start - waves[-1] : start]
            else:  # one such wave is several calls
                for wave in waves:
                    self._wave(columns, outputs, start, before[:wave], states)
                    before, start = states[start : start + wave], start + wave
        return {name: array for (name, _, _), array in zip(self._outputs, outputs, strict=True)}, states

    def _wave(
        self,
        columns: list[NDArray[Any]],
        outputs: list[NDArray[Any]],
        start: int,
        state: Float32Array,
        states: Float32Array,
    ) -> None:
        """Steps each row of `state` once, in as many calls as it takes; of the others the rows from `start` on."""
        rows, done = len(state), 0
        while done < rows:
            size = self._bucket_size(rows - done)
            part = min(size, rows - done)
            self._bucket(size).run(columns, outputs, start + done, [part], state[done : done + part], states)
            done += part

    def _fitting(self, rows: int) -> int:
        """The smallest bucket that holds this many rows, or the largest."""
        if rows <= self._smallest:
            return self._smallest
        return min(self._largest, 1 << (rows - 1).bit_length())

    def _bucket(self, size: int) -> _Bucket:
        if size not in self._buckets:
            if len(self._buckets) == self._most_open:
                del self._buckets[next(iter(self._buckets))]
            self._buckets[size] = _Bucket(self.artifact, size, self._words, self._float_words)
        return self._buckets[size]

    def warm(self, state: Float32Array) -> BoolArray:
        """bool[B]: whether the prediction that came with each row's state was the trained model's own.

        `window` needs as many samples as it is long; a `tumbling` model without an exact prefix predicts for itself at
        the last step only, after which its count is that of an empty state again.
        """
        artifact, steps = self.artifact, self.artifact.slot(STEPS)
        if steps is None or (artifact.mode != "window" and artifact.exact_prefix):
            return np.ones(len(state), np.bool_)
        count = state[:, steps.start].view(np.int32)
        return count >= (artifact.length or 0) if artifact.mode == "window" else count == 0

    def warm_up(self) -> None:
        """Opens the interpreters of all buckets, so that no later step waits for one.

        Raises:
            Incompatible: the step graph is not what the manifest describes.
        """
        size = self._smallest
        while size <= self._largest:
            self._bucket(size)
            size *= 2

    def check_golden(self) -> None:
        """Steps the golden vectors, whose predictions must come out again within the artifact's tolerance.

        Raises:
            Incompatible: they do not, on this machine.
        """
        artifact, golden = self.artifact, self.artifact.golden
        state = self.initial_state(len(golden.state))
        length = next(iter(golden.features.values())).shape[1]
        for t in range(length):
            outputs, state = self.step({name: values[:, t] for name, values in golden.features.items()}, state)
            for name, values in golden.outputs.items():
                self._compare(f"The output {name} after sample {t + 1}", outputs[name], values[:, t])
        for slot in artifact.layout:
            columns, dtype = slice(slot.start, slot.stop), np.dtype(slot.dtype)
            got, expected = (some[:, columns].view(dtype) for some in (state, golden.state))
            self._compare(f"The state's slot {slot.name} after sample {length}", got, expected)

    def _compare(self, what: str, got: NDArray[Any], expected: NDArray[Any]) -> None:
        exact = expected.dtype.kind == "i"
        wide = expected.astype(np.float64)
        with np.errstate(invalid="ignore"):  # an infinity less itself; NaN is no error that any tolerance allows
            errors = np.abs(got.astype(np.float64) - wide) / np.maximum(1.0, np.abs(wide))
        tolerance = 0.0 if exact else self.artifact.tolerance
        if bool(np.all(errors <= tolerance)):
            return
        raise Incompatible(
            f"The artifact {self.artifact.directory} does not give its golden predictions on this machine.",
            f"{what} is off by {float(np.max(errors)):.2g}, which is above the tolerance of {tolerance:.2g}.",
            "Convert the model again; if that artifact passes where it was made, this machine's kernels differ.",
        )

    def _bucket_size(self, rows: int) -> int:
        """The bucket for the first of `rows` rows: one that holds all, or one that they fill where padding is dear."""
        size = self._fitting(rows)
        return size if size - rows < self._padding or size == self._smallest else size // 2

    def _columns(self, features: Features, state: Float32Array, rows: int) -> list[NDArray[Any]]:
        # A wrong shape would be broadcast into the interpreter's memory without a word.
        if state.shape != (rows, self._words) or state.dtype != np.float32:
            raise ValueError(f"state is {state.dtype}{list(state.shape)}; expected float32[{rows}, {self._words}]")
        columns = []
        for name, shape in self._inputs:
            if name not in features:
                raise ValueError(f"features lack the input {name!r}; expected {[name for name, _ in self._inputs]}")
            values = features[name]
            if values.shape != (rows, *shape):
                raise ValueError(f"features of {name!r} have shape {values.shape}; expected {(rows, *shape)}")
            columns.append(values)
        return columns


class _Bucket:
    """One interpreter that steps up to `size` rows."""

    def __init__(self, artifact: Artifact, size: int, words: int, float_words: int) -> None:
        self._size = size
        pieces: dict[str, tuple[slice, str]] = {}
        if float_words:
            pieces["f32"] = (slice(0, float_words), "float32")
        if words > float_words:
            pieces["i32"] = (slice(float_words, words), "int32")
        states = {name: ((of.stop - of.start,), dtype) for name, (of, dtype) in pieces.items()}
        inputs = _named("input", artifact.inputs) | {f"state_{name}": spec for name, spec in states.items()}
        outputs = _named("output", artifact.outputs) | {f"next_{name}": spec for name, spec in states.items()}
        self._interpreter, views = open_interpreter(artifact, size, inputs, outputs)
        self._given = [views[name] for name in inputs]
        self._inputs = [views[f"input_{i}"] for i in range(len(artifact.inputs))]
        self._outputs = [views[f"output_{i}"] for i in range(len(artifact.outputs))]
        # The memory of a part of the state, before a step and after it, and the words of the state that it holds.
        self._pieces = [
            (views[f"state_{name}"], views[f"next_{name}"], of, np.dtype(dtype)) for name, (of, dtype) in pieces.items()
        ]

    def run(
        self,
        columns: list[NDArray[Any]],
        outputs: list[NDArray[Any]],
        start: int,
        waves: Sequence[int],
        state: Float32Array,
        states: Float32Array,
    ) -> None:
        """Steps the first `waves[0]` keys, then the first `waves[1]` of these, and so on: falling numbers of rows.

        state: of the keys, before. The samples are the rows of `columns` from `start` on, a wave behind the other; so
        are what is filled in, of `outputs` and of `states`, the states after each step.
        """
        if waves[0] < self._size:
            # Rows that an earlier call left here would only cost time, but a NaN or a denormal costs much of it.
            for view in self._given:
                view()[waves[0] :] = 0
        pieces = [
            (before, after, state[:, of].view(dtype), states[:, of].view(dtype))
            for before, after, of, dtype in self._pieces
        ]
        former = None
        for rows in waves:  # what a hot key's event costs: what can be looked up outside is
            stop = start + rows
            for view, column in zip(self._inputs, columns, strict=True):
                view()[:rows] = column[start:stop]
            for before, _, first, whole in pieces:
                before()[:rows] = first[:rows] if former is None else whole[former : former + rows]
            self._interpreter.invoke()
            for view, output in zip(self._outputs, outputs, strict=True):
                output[start:stop] = view()[:rows]
            for _, after, _, whole in pieces:
                whole[start:stop] = after()[:rows]
            former, start = start, stop


def _named(kind: str, specs: tuple[TensorSpec, ...]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {f"{kind}_{i}": (spec.shape, spec.dtype) for i, spec in enumerate(specs)}
