"""The library's stepper: an engine for people, who pass bare arrays and make mistakes.

It has no state of its own. `step` is a pure function of the features and of the state that the caller holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from processor.model.artifact import HELD, load_artifact
from processor.model.engine import Engine

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike, NDArray

    from processor.model.artifact import Artifact, Mode, Slot
    from processor.types import BoolArray, Features, Float32Array, TensorSpec

    Given = ArrayLike | Mapping[str, ArrayLike]
    Outputs = NDArray[Any] | dict[str, NDArray[Any]]


def load(directory: str | os.PathLike[str]) -> Stepper:
    """Loads an artifact for stepping, after its golden vectors gave their predictions on this machine.

    Raises:
        ConfigError: there is no artifact at `directory`.
        Incompatible: it is damaged, of a newer format, or predicts wrongly on this machine.
    """
    stepper = Stepper(load_artifact(directory))
    stepper.engine.check_golden()
    return stepper


class Stepper:
    """Steps any number of rows, each with its own state, by one sample or by whole sequences.

    A model with one input takes an array, one with several takes a dict of arrays by input name (which one with one
    input takes too). Outputs come back alike: one as an array, several as a dict. A static input is given with the
    first sample of a sequence, and kept in the state; later it is repeated, or left out of the dict.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.engine = Engine(artifact)

    def __repr__(self) -> str:
        return repr(self.artifact).replace("Artifact", "Stepper", 1)

    @property
    def mode(self) -> Mode:
        return self.artifact.mode

    @property
    def length(self) -> int | None:
        """The N of `tumbling N`, the T of `window T`, None in `carry`."""
        return self.artifact.length

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self.artifact.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.artifact.outputs

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits; a prediction's `model` is the first 8."""
        return self.artifact.fingerprint_hex

    @property
    def layout(self) -> dict[str, Slot]:
        """Slot name -> slot, in the order of a state's columns.

        `state[:, slot.columns].view(slot.dtype).reshape(-1, *slot.shape)` is what the slot holds.
        """
        return {slot.name: slot for slot in self.artifact.layout}

    def initial_state(self, rows: int) -> Float32Array:
        """float32[rows, D]: the state before the first sample."""
        if rows < 0:
            raise ValueError(f"rows is {rows}; expected 0 or more")
        return self.engine.initial_state(rows)

    def step(self, features: Given, state: Float32Array) -> tuple[Outputs, Float32Array]:
        """Steps each row by one sample; changes neither argument.

        `features`: [rows, *sample shape] (or a dict of them); `state`: float32[rows, D], as `initial_state` or an
        earlier step gave it. Returns the outputs, [rows, *output shape] (or a dict), and the new state.

        Raises:
            ValueError: a name, a shape or a type is another one than the artifact's; a static input is left out where
                a state holds none, or is another one than it holds.
        """
        checked = self._checked_state(state)
        columns = self._with_static(self._checked(features, (len(checked),), ("rows",)), checked)
        outputs, new_state = self.engine.step(columns, checked)
        return self._bare(outputs), new_state

    def run(self, sequences: Given) -> Outputs:
        """What the model predicts after each sample of whole sequences, each from the initial state.

        `sequences`: [rows, T, *sample shape] (or a dict of them; [rows, *shape] for an input that is static). Returns
        [rows, T, *output shape] (or a dict).

        Raises:
            ValueError: a name, a shape or a type is another one than the artifact's.
        """
        return self.advance(sequences, None)[0]

    def advance(self, sequences: Given, state: Float32Array | None) -> tuple[Outputs, Float32Array]:
        """The same from given states (None: the initial one), and the states after the last sample.

        With the predictions thrown away, it is the burn-in of a state from a recorded sequence.

        Raises:
            ValueError: as `step`.
        """
        columns = self._checked(sequences, (None, None), ("rows", "T"))
        first = next(spec.name for spec in self.inputs if not spec.static)
        rows, length = columns[first].shape[:2]
        at = self.initial_state(rows) if state is None else self._checked_state(state)
        if len(at) != rows:
            raise ValueError(f"{len(at)} states for {rows} sequences")
        columns = self._with_static(columns, at)
        outputs = {spec.name: np.empty((rows, length, *spec.shape), spec.dtype) for spec in self.outputs}
        static = {spec.name for spec in self.inputs if spec.static}
        for t in range(length):
            sample = {name: values if name in static else values[:, t] for name, values in columns.items()}
            predictions, at = self.engine.step(sample, at)
            for name, values in predictions.items():
                outputs[name][:, t] = values
        return self._bare(outputs), at

    def slots(self, state: Float32Array) -> dict[str, NDArray[Any]]:
        """What states hold, by slot: [rows, *shape] in the slot's own type; copies.

        Raises:
            ValueError: the states are not of this artifact's width.
        """
        checked = self._checked_state(state)
        return {
            name: np.ascontiguousarray(checked[:, slot.columns]).view(slot.dtype).reshape(-1, *slot.shape)
            for name, slot in self.layout.items()
        }

    def with_slots(self, state: Float32Array, slots: Mapping[str, ArrayLike]) -> Float32Array:
        """New states that hold these values, and what `state` holds in all other slots.

        `slots`: slot name -> [rows, *shape], or one row's [*shape] for all of them.

        Raises:
            ValueError: there is no such slot, or the values are not of its shape or type.
        """
        changed = self._checked_state(state).copy()
        for name, given in slots.items():
            slot = self.layout.get(name)
            if slot is None:
                raise ValueError(f"there is no slot {name!r}; there are {list(self.layout)}")
            values = np.asarray(given)
            if values.dtype.kind not in ("fiu" if slot.dtype == "float32" else "iu"):
                raise ValueError(f"slot {name!r}: expected {slot.dtype}, given {values.dtype}")
            if values.shape not in ((len(changed), *slot.shape), tuple(slot.shape)):
                raise ValueError(f"slot {name!r}: expected shape [rows, {slot.shape}], given {list(values.shape)}")
            whole = np.broadcast_to(values.astype(slot.dtype), (len(changed), *slot.shape))
            changed[:, slot.columns].view(slot.dtype)[...] = whole.reshape(len(changed), -1)
        return changed

    def warm(self, state: Float32Array) -> BoolArray:
        """bool[rows]: was the prediction that came with each row's state the trained model's own?"""
        return self.engine.warm(self._checked_state(state))

    def _bare(self, outputs: dict[str, NDArray[Any]]) -> Outputs:
        return outputs if len(outputs) > 1 else next(iter(outputs.values()))

    def _checked_state(self, state: Float32Array) -> Float32Array:
        words = self.artifact.words
        # A state's words may be integers: a cast of them would be silent nonsense, so there is none.
        if not isinstance(state, np.ndarray) or state.dtype != np.float32 or state.shape[1:] != (words,):
            given = f"{state.dtype}{list(state.shape)}" if isinstance(state, np.ndarray) else type(state).__name__
            raise ValueError(f"state: expected float32[rows, {words}], given {given}")
        return state

    def _with_static(self, columns: Features, state: Float32Array) -> Features:
        """The columns with the static inputs that were left out, as the states hold them."""
        filled, static = dict(columns), self.artifact.static_slots
        if not static:
            return filled
        slots = self.slots(state)
        held = slots[HELD] != 0
        for name, slot in static.items():
            kept = slots[slot.name]
            if name not in filled:
                if not held.all():
                    raise ValueError(
                        f"input {name!r} is static, and the state of row {int(np.argmin(held))} holds no value of it: "
                        "give it with the first sample of a sequence"
                    )
                filled[name] = kept
                continue
            differs = (filled[name].view(np.int32) != kept.view(np.int32)).reshape(len(state), -1).any(axis=1) & held
            if differs.any():
                row = int(np.argmax(differs))
                raise ValueError(
                    f"input {name!r} is static: given {filled[name][row]}, and row {row} holds {kept[row]}"
                )
        return filled

    def _checked(self, given: Given, leading: tuple[int | None, ...], axes: tuple[str, ...]) -> Features:
        """Every input that is given as an array of its type with the same leading axes; None stands for any length."""
        named = self._named(given)
        columns: dict[str, NDArray[Any]] = {}
        for spec in self.inputs:
            if spec.name not in named:  # static, and left out
                continue
            values = _cast(spec, np.asarray(named[spec.name]))
            if spec.dtype == "int32" and not spec.shape and values.shape[len(axes) :] == (1,):
                values = values[..., 0]  # tokens often come as a column
            if spec.static:
                axes_here, sizes_here = axes[:1], leading[:1]
            else:
                axes_here, sizes_here = axes, leading
            agrees = len(values.shape) >= len(axes_here) and values.shape[len(axes_here) :] == spec.shape
            sizes = values.shape[: len(axes_here)]
            if not agrees or any(want not in (None, size) for want, size in zip(sizes_here, sizes, strict=True)):
                wanted = [
                    *(name if size is None else size for name, size in zip(axes_here, sizes_here, strict=True)),
                    *spec.shape,
                ]
                expected = ", ".join(map(str, wanted))
                raise ValueError(f"input {spec.name!r}: expected shape [{expected}], given {list(values.shape)}")
            leading = (*sizes, *leading[len(sizes) :])
            columns[spec.name] = values
        return columns

    def _named(self, given: Given) -> Mapping[str, ArrayLike]:
        names = [spec.name for spec in self.inputs]
        if not isinstance(given, Mapping):
            if len(names) > 1:
                raise ValueError(f"expected a dict with the inputs {names}, given {type(given).__name__}")
            return {names[0]: given}
        missing = [spec.name for spec in self.inputs if spec.name not in given and not spec.static]
        unknown = [name for name in given if name not in names]
        if missing or unknown:
            raise ValueError(f"expected the inputs {names}, given {list(given)} (missing {missing}, unknown {unknown})")
        return given


def _cast(spec: TensorSpec, values: NDArray[Any]) -> NDArray[Any]:
    """`values` in the input's type, where that means the same: no text, no booleans, no fractions for integers."""
    if values.size and values.dtype.kind not in "iuf":
        raise ValueError(f"input {spec.name!r}: expected {spec.dtype}, given {values.dtype}")
    if values.dtype == spec.dtype:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        cast = values.astype(spec.dtype)
    fits = np.array_equal(cast, values) if spec.dtype == "int32" else np.array_equal(np.isinf(cast), np.isinf(values))
    if not fits:
        raise ValueError(f"input {spec.name!r}: expected {spec.dtype}, given {values.dtype} values that it cannot hold")
    return cast
