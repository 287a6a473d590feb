"""The artifact: the directory that the converter writes and the service loads, and nothing that runs it.

Three files: `manifest.json` (everything that is read by people or decided before a step), `step.tflite` (the step
graph) and `golden.npz` (sequences with the answers that the step graph must give again, wherever it runs). The manifest
holds the SHA-256 of the other two and of itself (its own bytes with that one digest as zeros), so a flipped bit is
found wherever it lies, before anything is believed.

Invariants of an `Artifact`:
- its layout is gapless from column 0: first all float32 slots, then all int32 slots, whose words
  are float32 in name only;
- `initial_state` has one word a column and is read-only;
- the fingerprint covers all that decides an answer, and nothing else: a new version of a tool leaves it as it is.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import os
import secrets
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np

from processor.errors import ConfigError, Incompatible
from processor.types import TensorSpec  # noqa: TC001 - msgspec looks it up at run time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
STEP_GRAPH: Final = "step.tflite"
GOLDEN: Final = "golden.npz"
STEPS: Final = "steps"
"""The int32 slot in which `tumbling` and `window` count the samples of the running sequence."""

Mode = Literal["carry", "tumbling", "window"]
_NO_DIGEST: Final = "0" * 64
_CONVERT_AGAIN: Final = "Convert the model again, or copy the artifact again from where it came."


@dataclass(frozen=True, slots=True)
class Slot:
    """One named piece of a state: the columns `start` to `stop` of the state's vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # "float32" or "int32"
    start: int
    stop: int

    @property
    def columns(self) -> slice:
        return slice(self.start, self.stop)


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


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    artifact: int  # the format
    sha256: str  # of the manifest, see above
    files: dict[str, str]  # file name -> SHA-256
    fingerprint: str
    mode: Mode
    length: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layout: tuple[Slot, ...]
    initial_state: str  # base64 of the little-endian words
    tile: int | None
    exact_prefix: bool
    tolerance: float
    certificate: dict[str, Any]
    layers: list[dict[str, Any]]
    repairs: list[str]
    weights: list[dict[str, Any]]
    versions: dict[str, str]


class _Format(msgspec.Struct):
    artifact: int


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
    _refuse_to_replace_other_things(target)
    initial = np.ascontiguousarray(initial_state, dtype="<f4").tobytes()
    contents = {STEP_GRAPH: bytes(step_graph), GOLDEN: _pack(golden, inputs, outputs)}
    manifest = _Manifest(
        artifact=FORMAT,
        sha256=_NO_DIGEST,
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
    manifest.fingerprint = _fingerprint(manifest, contents[STEP_GRAPH]).hex()
    _assemble(target, manifest, contents)  # what would not load is not written either
    blank = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    digest = hashlib.sha256(blank).hexdigest()
    contents[MANIFEST] = blank.replace(_NO_DIGEST.encode(), digest.encode(), 1)
    try:
        _place(target, contents)
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
    if not path.is_dir():
        fact = f"The artifact {path} is {'a file' if path.exists() else 'not there'}."
        raise ConfigError(fact, "An artifact is a directory.", "Write one with `processor convert MODEL -o DIR`.")
    raw = _read(path, MANIFEST)
    manifest = _parse_manifest(path, raw)
    contents = {name: _read(path, name) for name in (STEP_GRAPH, GOLDEN)}
    for name, content in contents.items():
        if manifest.files.get(name) != hashlib.sha256(content).hexdigest():
            raise _damaged(path, f"The SHA-256 of {name} is not the one in the manifest.")
    if manifest.fingerprint != _fingerprint(manifest, contents[STEP_GRAPH]).hex():
        raise _damaged(path, "The fingerprint in the manifest is not that of the artifact's parts.")
    try:
        return _assemble(path, manifest, contents)
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise _damaged(path, f"Its parts do not fit together: {error}") from error


def _fingerprint(manifest: _Manifest, step_graph: bytes) -> bytes:
    deciding = (
        manifest.artifact,
        manifest.mode,
        manifest.length,
        manifest.exact_prefix,
        manifest.inputs,
        manifest.outputs,
        manifest.layout,
        manifest.initial_state,
        hashlib.sha256(step_graph).hexdigest(),
    )
    return hashlib.sha256(msgspec.json.encode(deciding)).digest()[:8]


def _assemble(path: Path, manifest: _Manifest, contents: Mapping[str, bytes]) -> Artifact:
    initial = np.frombuffer(base64.b64decode(manifest.initial_state, validate=True), "<f4").astype(
        np.float32, copy=False
    )
    initial.flags.writeable = False
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
    _check_layout(artifact.layout)
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


def _check_layout(layout: tuple[Slot, ...]) -> None:
    column, dtypes = 0, [slot.dtype for slot in layout]
    if (
        set(dtypes) - {"float32", "int32"}
        or dtypes != sorted(dtypes)
        or len({slot.name for slot in layout}) != len(layout)
    ):
        raise ValueError("a layout has float32 slots, then int32 slots, each with a name of its own")
    for slot in layout:
        if slot.start != column or slot.stop - slot.start != math.prod(slot.shape):
            raise ValueError(f"slot {slot.name} of shape {slot.shape} lies in columns {slot.start} to {slot.stop}")
        column = slot.stop


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


def _parse_manifest(path: Path, raw: bytes) -> _Manifest:
    try:
        number = msgspec.json.decode(raw, type=_Format).artifact
    except msgspec.ValidationError as error:
        raise _no_artifact(path, f"Its {MANIFEST} is not one of ours: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, f"{MANIFEST} is no JSON: {error}.") from error
    if number != FORMAT:
        relation = "a newer" if number > FORMAT else "another"
        raise Incompatible(
            f"The artifact {path} has format {number}; this version reads format {FORMAT}.",
            f"It was written by {relation} version of the converter.",
            "Run a version that is as new as the converter, or convert the model with this one.",
        )
    try:
        manifest = msgspec.json.decode(raw, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, f"{MANIFEST}: {error}.") from error
    blank = raw.replace(manifest.sha256.encode(), _NO_DIGEST.encode(), 1)
    if len(manifest.sha256) != len(_NO_DIGEST) or hashlib.sha256(blank).hexdigest() != manifest.sha256:
        raise _damaged(path, f"The SHA-256 of {MANIFEST} is not the one in it.")
    return manifest


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except FileNotFoundError as error:
        raise _no_artifact(path, f"It has no {name}.") from error
    except OSError as error:
        raise ConfigError(f"The artifact's file {path / name} cannot be read.", str(error)) from error


def _no_artifact(path: Path, cause: str) -> ConfigError:
    return ConfigError(f"{path} is no artifact.", cause, "Write one with `processor convert MODEL -o DIR`.")


def _damaged(path: Path, cause: str) -> Incompatible:
    return Incompatible(f"The artifact {path} is damaged, or was changed by hand.", cause, _CONVERT_AGAIN)


def _refuse_to_replace_other_things(target: Path) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:
        msgspec.json.decode((target / MANIFEST).read_bytes(), type=_Format)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{target} is there already, and is no artifact.",
            "Only an artifact or an empty directory is replaced.",
            "Name another directory, or remove this one.",
        ) from error


def _place(target: Path, contents: Mapping[str, bytes]) -> None:
    """Puts a complete directory in the place of `target`: written beside it, synced, then renamed."""
    suffix = secrets.token_hex(4)
    fresh, stale = (target.with_name(f".{target.name}.{kind}-{suffix}") for kind in ("new", "old"))
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        fresh.mkdir()
        for name, content in contents.items():
            with (fresh / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            target.rename(stale)
        try:
            fresh.rename(target)
        except OSError:
            if stale.exists():
                stale.rename(target)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(stale, ignore_errors=True)
