"""Writing an artifact's directory and reading it again, verified."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from processor.errors import ConfigError, Incompatible
from processor.model.artifact.files import GOLDEN, MANIFEST, STEP_GRAPH, check_place, damaged, place, read
from processor.model.artifact.manifest import FORMAT, Manifest, fingerprint, parse, refuse_to_replace_other_things, seal
from processor.model.artifact.values import Artifact, Golden, Parts, check

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from processor.types import TensorSpec


def write_artifact(directory: str | os.PathLike[str], parts: Parts) -> Artifact:
    """Writes all of an artifact or none of it, and returns it as `load_artifact` reads it.

    An earlier artifact at `directory` is replaced, once the new one is complete.

    Raises:
        ConfigError: there is something at `directory` that is no artifact, or the disk refuses.
        ValueError: the parts do not fit together (the layout has a gap, a golden vector has another shape, ...).
    """
    target = Path(directory).resolve()
    contents = {STEP_GRAPH: bytes(parts.step_graph), GOLDEN: _pack(parts.golden, parts.inputs, parts.outputs)}
    manifest = _manifest(parts, contents)
    manifest.fingerprint = fingerprint(manifest, contents[STEP_GRAPH])
    _assemble(target, manifest, contents)  # what would not load is not written either
    contents[MANIFEST] = seal(manifest)
    try:
        refuse_to_replace_other_things(target)
        place(target, contents)
    except OSError as error:
        raise _not_written(target, error) from error
    return load_artifact(target)


def _manifest(parts: Parts, contents: Mapping[str, bytes]) -> Manifest:
    initial = np.ascontiguousarray(parts.initial_state, dtype="<f4").tobytes()
    return Manifest(
        artifact=FORMAT,
        sha256="",
        files={name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        fingerprint="",
        mode=parts.mode,
        length=parts.length,
        inputs=tuple(parts.inputs),
        outputs=tuple(parts.outputs),
        layout=tuple(parts.layout),
        initial_state=base64.b64encode(initial).decode(),
        tile=parts.tile,
        exact_prefix=parts.exact_prefix,
        tolerance=parts.tolerance,
        certificate=parts.certificate,
        layers=parts.layers,
        repairs=list(parts.repairs),
        weights=parts.weights,
        versions=parts.versions,
        most_rows=parts.most_rows,
        trained_length=parts.trained_length,
        other_modes=list(parts.other_modes),
        weights_sha256=parts.weights_sha256,
    )


def check_target(directory: str | os.PathLike[str]) -> None:
    """Looks whether an artifact can be written there, before the work of making one. Leaves nothing behind.

    Raises:
        ConfigError: there is something at `directory` that is no artifact, or the disk refuses.
    """
    target = Path(directory).resolve()
    try:
        refuse_to_replace_other_things(target)
        check_place(target)
    except OSError as error:
        raise _not_written(target, error) from error


def refuse_another_model(directory: str | os.PathLike[str], weights_sha256: str) -> None:
    """Raises OtherModel where `directory` holds an artifact of a model with other weights.

    The same model in another mode, or converted again, replaces its artifact without a question. So does any artifact
    that is damaged.
    """
    path = Path(directory)
    try:
        manifest = parse(path, read(path, MANIFEST))
    except (ConfigError, Incompatible):
        return
    if manifest.weights_sha256 != weights_sha256:
        raise OtherModel(
            f"{path} holds the artifact of another model.",
            f"Its fingerprint is {manifest.fingerprint}, its mode {manifest.mode}, and its weights are others.",
            "Name another directory with -o, or replace it: --force (in Python, force=True).",
        )


class OtherModel(ConfigError):
    """There is an artifact of another model where one is to be written."""


def _not_written(target: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"The artifact cannot be written to {target}.", str(error), "Choose a directory that this user may write to."
    )


def load_artifact(directory: str | os.PathLike[str]) -> Artifact:
    """Reads an artifact and verifies all of it but the predictions: `Engine.check_golden` does that.

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
        most_rows=manifest.most_rows,
        exact_prefix=manifest.exact_prefix,
        tolerance=manifest.tolerance,
        certificate=manifest.certificate,
        layers=manifest.layers,
        repairs=manifest.repairs,
        weights=manifest.weights,
        versions=manifest.versions,
        step_graph=contents[STEP_GRAPH],
        golden=_unpack(contents[GOLDEN], manifest.inputs, manifest.outputs),
        trained_length=manifest.trained_length,
        other_modes=tuple(manifest.other_modes),
        weights_sha256=manifest.weights_sha256,
    )
    check(artifact)
    return artifact


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
