"""The artifact: the directory that the converter writes and the service loads, and nothing that runs it.

Three files: `manifest.json` (everything that is read by people or decided before a step), `step.tflite` (the step
graph) and `golden.npz` (sequences with the answers that the step graph must give again, wherever it runs).

Invariants of an `Artifact`:
- its layout is as `processor.model.layout` says, and all its parts fit together;
- `initial_state` has one word a column and is read-only;
- the fingerprint covers all that decides an answer, and nothing else: a new version of a tool leaves it as it is.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from processor.errors import ConfigError
from processor.model.files import GOLDEN, MANIFEST, STEP_GRAPH, damaged, place, read
from processor.model.layout import STEPS, Mode, Slot, check_layout
from processor.model.manifest import FORMAT, Manifest, fingerprint, parse, refuse_to_replace_other_things, seal

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from processor.types import TensorSpec

__all__ = ["STEPS", "Artifact", "Golden", "Mode", "Slot", "load_artifact", "write_artifact"]


@dataclass(frozen=True, eq=False)
class Golden:
    """R sequences of T samples with the answers to every sample, and the states after the last."""

    features: Mapping[str, NDArray[Any]]  # input name -> [R, T, *sample shape]
    outputs: Mapping[str, NDArray[Any]]  # output name -> [R, T, *output shape]
    state: NDArray[np.float32]  # [R, words]


@dataclass(frozen=True, eq=False)
class Artifact:
    """What a directory that `convert` wrote says, after all of it was verified.

    `length` is the N of `tumbling` and the T of `window`. `tile`, where set, is the only number of rows that the step
    graph may be called with. `exact_prefix` is false where `tumbling` answers exactly at the N-th step only. Of the
    lists, `layers` has items `{name, class, rule, ...}` and `weights` has items `{layer, name, shape, dtype}`.
    """

    directory: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    mode: Mode
    length: int | None
    layout: tuple[Slot, ...]
    initial_state: NDArray[np.float32]  # [words]
    fingerprint: int  # unsigned, 64 bits
    tile: int | None
    exact_prefix: bool
    tolerance: float
    certificate: dict[str, Any]
    layers: list[dict[str, Any]]
    repairs: list[str]
    weights: list[dict[str, Any]]
    versions: dict[str, str]
    step_graph: bytes
    golden: Golden

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

    def slot(self, name: str) -> Slot | None:
        return next((slot for slot in self.layout if slot.name == name), None)


def write_artifact(
    directory: str | os.PathLike[str],
    *,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    mode: Mode,
    length: int | None,
    layout: tuple[Slot, ...],
    initial_state: NDArray[np.float32],
    step_graph: bytes,
    golden: Golden,
    tolerance: float,
    certificate: dict[str, Any],
    layers: list[dict[str, Any]],
    weights: list[dict[str, Any]],
    versions: dict[str, str],
    repairs: list[str] | None = None,
    tile: int | None = None,
    exact_prefix: bool = True,
) -> Artifact:
    """Writes all of an artifact or none of it, and returns it as `load_artifact` reads it.

    An earlier artifact at `directory` is replaced, once the new one is complete. `initial_state`: float32[words].

    Raises:
        ConfigError: there is something at `directory` that is no artifact, or the disk refuses.
        ValueError: the parts do not fit together (the layout has a gap, a golden vector has another shape, ...).
    """
    target = Path(directory).resolve()
    initial = np.ascontiguousarray(initial_state, dtype="<f4").tobytes()
    contents = {STEP_GRAPH: bytes(step_graph), GOLDEN: _pack(golden, inputs, outputs)}
    manifest = Manifest(
        artifact=FORMAT,
        sha256="",
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        fingerprint="",
        mode=mode,
        length=length,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        layout=tuple(layout),
        initial_state=base64.b64encode(initial).decode(),
        tile=tile,
        exact_prefix=exact_prefix,
        tolerance=tolerance,
        certificate=certificate,
        layers=layers,
        repairs=list(repairs or ()),
        weights=weights,
        versions=versions,
    )
    manifest.fingerprint = fingerprint(manifest, contents[STEP_GRAPH])
    _assemble(target, manifest, contents)  # what would not load is not written either
    contents[MANIFEST] = seal(manifest)
    try:
        refuse_to_replace_other_things(target)
        place(target, contents)
    except OSError as error:
        raise ConfigError(
            f"The artifact cannot be written to {target}.",
            str(error),
            "Choose a directory that this user may write to.",
        ) from error
    return load_artifact(target)


def load_artifact(directory: str | os.PathLike[str]) -> Artifact:
    """Reads an artifact and verifies all of it but the answers, which are `Engine.check_golden`'s part.

    Raises:
        ConfigError: there is no artifact, or one of its files is missing or cannot be read.
        Incompatible: a file is damaged or was changed, or the format is not this version's.
    """
    path = Path(directory)
    manifest = parse(path, read(path, MANIFEST))
    contents = {name: read(path, name) for name in (STEP_GRAPH, GOLDEN)}
    for name, content in contents.items():
        if manifest.files.get(name) != hashlib.sha256(content).hexdigest():
            raise damaged(path, f"The SHA-256 of {name} is not the one in the manifest.")
    if manifest.fingerprint != fingerprint(manifest, contents[STEP_GRAPH]):
        raise damaged(path, "The fingerprint in the manifest is not that of the artifact's parts.")
    try:
        return _assemble(path, manifest, contents)
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise damaged(path, f"Its parts do not fit together: {error}") from error


def _assemble(path: Path, manifest: Manifest, contents: Mapping[str, bytes]) -> Artifact:
    words = base64.b64decode(manifest.initial_state, validate=True)
    initial = np.frombuffer(words, "<f4").astype(np.float32, copy=False)  # read-only, as bytes are
    artifact = Artifact(
        directory=path,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        mode=manifest.mode,
        length=manifest.length,
        layout=manifest.layout,
        initial_state=initial,
        fingerprint=int(manifest.fingerprint, 16),
        tile=manifest.tile,
        exact_prefix=manifest.exact_prefix,
        tolerance=manifest.tolerance,
        certificate=manifest.certificate,
        layers=manifest.layers,
        repairs=manifest.repairs,
        weights=manifest.weights,
        versions=manifest.versions,
        step_graph=contents[STEP_GRAPH],
        golden=_unpack(contents[GOLDEN], manifest.inputs, manifest.outputs),
    )
    _check(artifact)
    return artifact


def _check(artifact: Artifact) -> None:
    """Raises ValueError where one part contradicts another."""
    check_layout(artifact.layout)
    names = [[spec.name for spec in specs] for specs in (artifact.inputs, artifact.outputs)]
    if not all(names) or any(len(set(some)) != len(some) for some in names):
        raise ValueError(f"inputs and outputs need names of their own, not {names}")
    if artifact.initial_state.shape != (artifact.words,):
        raise ValueError(f"the initial state has {artifact.initial_state.size} words, the layout {artifact.words}")
    if (artifact.mode == "carry") != (artifact.length is None) or (artifact.length or 1) < 1:
        raise ValueError(f"mode {artifact.mode} has the length {artifact.length}")
    if artifact.mode == "window" or not artifact.exact_prefix:
        steps = artifact.slot(STEPS)
        if steps is None or steps.dtype != "int32" or steps.stop - steps.start != 1:
            raise ValueError(f"mode {artifact.mode} needs one int32 word named {STEPS!r}")
    if artifact.tile is not None and artifact.tile < 1:
        raise ValueError(f"a tile has {artifact.tile} rows")
    _check_golden_shapes(artifact)


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


def _pack(golden: Golden, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
    # Members go by rank: a layer's name may hold anything, and a zip member's may not.
    arrays = {f"input_{i}": golden.features[spec.name] for i, spec in enumerate(inputs)}
    arrays |= {f"output_{i}": golden.outputs[spec.name] for i, spec in enumerate(outputs)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays, state=golden.state)
    return buffer.getvalue()


def _unpack(content: bytes, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> Golden:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return Golden(
            {spec.name: arrays[f"input_{i}"] for i, spec in enumerate(inputs)},
            {spec.name: arrays[f"output_{i}"] for i, spec in enumerate(outputs)},
            arrays["state"],
        )
