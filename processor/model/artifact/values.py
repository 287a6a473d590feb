"""What an artifact holds, and that its parts fit together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from processor.model.artifact.layout import (
    HELD,
    STEPS,
    Mode,
    Slot,
    check_layout,
    state_size,
    static_slot,
    static_slots,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from processor.types import TensorSpec


@dataclass(frozen=True, eq=False)
class Golden:
    """R sequences of T samples, with the prediction after every sample, and the states after the last."""

    features: Mapping[str, NDArray[Any]]  # input name -> [R, T, *sample shape]
    outputs: Mapping[str, NDArray[Any]]  # output name -> [R, T, *output shape]
    state: NDArray[np.float32]  # [R, words]

    def __repr__(self) -> str:
        return f"<Golden: {len(self.state)} sequences of {list(self.features)}>"


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """What a conversion makes, and an artifact holds.

    `length` is the N of `tumbling` and the T of `window`. `tile`, where set, is the only number of rows that the step
    graph may be called with; `most_rows`, where set, is the greatest. `exact_prefix` is false where `tumbling` predicts
    exactly at the N-th step only. Of the lists, `layers` has items `{name, class, rule, ...}` and `weights` has items
    `{layer, name, shape, dtype}`. `trained_length` is the number of samples that the model's input names, and
    `other_modes` those that work for it. `weights_sha256` covers the trained model's layers and weights.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    mode: Mode
    length: int | None
    layout: tuple[Slot, ...]
    initial_state: NDArray[np.float32]  # [words]
    step_graph: bytes
    golden: Golden
    tolerance: float
    certificate: dict[str, Any]
    layers: list[dict[str, Any]]
    weights: list[dict[str, Any]]
    versions: dict[str, str]
    repairs: list[str] = field(default_factory=list)
    tile: int | None = None
    most_rows: int | None = None
    exact_prefix: bool = True
    trained_length: int | None = None
    other_modes: tuple[Mode, ...] = ()
    weights_sha256: str = ""


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Artifact(Parts):
    """What a directory that `convert` wrote contains, after all of it was verified."""

    directory: Path
    fingerprint: int  # unsigned, 64 bits

    def __repr__(self) -> str:
        """What it is in one line: neither its bytes nor its weights."""
        mode = self.mode if self.length is None else f"{self.mode} {self.length}"
        named = [", ".join(map(_shown, specs)) for specs in (self.inputs, self.outputs)]
        state = state_size(self.words)
        return f"<Artifact {self.fingerprint_hex} {mode}: {named[0]} -> {named[1]}; {state}; {self.directory}>"

    @property
    def words(self) -> int:
        """The number of 4-byte words of a state."""
        return self.layout[-1].stop if self.layout else 0

    @property
    def float_words(self) -> int:
        """How many of them, from the left, are float32; the others are int32."""
        return sum(slot.stop - slot.start for slot in self.layout if slot.dtype == "float32")

    @property
    def fingerprint_hex(self) -> str:
        return f"{self.fingerprint:016x}"

    @property
    def model_id(self) -> str:
        """What a prediction calls the model: the first 8 digits of the fingerprint."""
        return self.fingerprint_hex[:8]

    @property
    def static_slots(self) -> dict[str, Slot]:
        """Static input -> the slot that keeps it while a sequence runs."""
        return static_slots(self.inputs, self.layout)

    def slot(self, name: str) -> Slot | None:
        return next((slot for slot in self.layout if slot.name == name), None)


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype}{list(spec.shape)}{' static' if spec.static else ''}"


def check(artifact: Artifact) -> None:
    """Raises ValueError where one part contradicts another."""
    check_layout(artifact.layout)
    names = [[spec.name for spec in specs] for specs in (artifact.inputs, artifact.outputs)]
    if not all(names) or any(len(set(some)) != len(some) for some in names):
        raise ValueError(f"inputs and outputs need names of their own, not {names}")
    if artifact.initial_state.shape != (artifact.words,):
        raise ValueError(f"the initial state has {artifact.initial_state.size} words, the layout {artifact.words}")
    if (artifact.mode == "carry") != (artifact.length is None) or (artifact.length is not None and artifact.length < 1):
        raise ValueError(f"mode {artifact.mode} has the length {artifact.length}")
    if artifact.mode == "window" or not artifact.exact_prefix:
        _check_word(artifact, STEPS, f"mode {artifact.mode}")
    _check_static(artifact)
    if artifact.tile is not None and artifact.tile < 1:
        raise ValueError(f"a tile has {artifact.tile} rows")
    _check_golden_shapes(artifact)


def _check_word(artifact: Artifact, name: str, needed_by: str) -> None:
    word = artifact.slot(name)
    if word is None or word.dtype != "int32" or word.stop - word.start != 1:
        raise ValueError(f"{needed_by} needs one int32 word named {name!r}")


def _check_static(artifact: Artifact) -> None:
    for spec in artifact.inputs:
        if spec.static:
            _check_word(artifact, HELD, f"the static input {spec.name!r}")
            slot = artifact.slot(static_slot(spec.name))
            if slot is None or (slot.dtype, slot.shape) != (spec.dtype, spec.shape):
                raise ValueError(
                    f"the static input {spec.name!r} needs the slot {static_slot(spec.name)!r} of its kind"
                )


def _check_golden_shapes(artifact: Artifact) -> None:
    golden, rows = artifact.golden, artifact.golden.state.shape[:1]
    sides = ((artifact.inputs, golden.features), (artifact.outputs, golden.outputs))
    steps = next(iter(golden.features.values())).shape[1:2]
    for spec, values in ((spec, values[spec.name]) for specs, values in sides for spec in specs):
        if (
            spec.dtype not in ("float32", "int32")
            or values.dtype != spec.dtype
            or values.shape != rows + steps + spec.shape
        ):
            raise ValueError(f"the golden vectors of {spec.name} are {values.dtype}{list(values.shape)}")
    if golden.state.dtype != np.float32 or golden.state.shape[1:] != (artifact.words,) or 0 in rows + steps:
        raise ValueError(f"the golden states are {golden.state.dtype}{list(golden.state.shape)}")
