"""The manifest of an artifact: its fields, its bytes, and how it vouches for all of the artifact.

It holds the SHA-256 of the other files, and of itself: its own bytes with that one digest as zeros. So a bit that was
flipped anywhere is found before anything is believed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from processor.errors import ConfigError, Incompatible
from processor.model.artifact.files import GOLDEN, MANIFEST, STEP_GRAPH, damaged, no_artifact
from processor.model.artifact.layout import Mode, Slot  # noqa: TC001 - msgspec looks them up at run time
from processor.types import TensorSpec  # noqa: TC001 - the same

if TYPE_CHECKING:
    from pathlib import Path

FORMAT: Final = 1
_NO_DIGEST: Final = "0" * 64


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
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
    most_rows: int | None = None
    trained_length: int | None = None  # samples, where the model's input names a number
    other_modes: list[Mode] = []  # that were tried on the model and work
    weights_sha256: str = ""  # of the trained model's layers and weights, whatever the mode


class _Format(msgspec.Struct):
    artifact: int


def seal(manifest: Manifest) -> bytes:
    """The manifest's bytes, its own SHA-256 among them."""
    manifest.sha256 = _NO_DIGEST
    blank = msgspec.json.format(msgspec.json.encode(manifest, enc_hook=_plain), indent=2) + b"\n"
    return blank.replace(_NO_DIGEST.encode(), hashlib.sha256(blank).hexdigest().encode(), 1)


def fingerprint(manifest: Manifest, step_graph: bytes) -> str:
    """16 hexadecimal digits over all that decides a prediction, and nothing else."""
    deciding = (
        manifest.mode,
        manifest.length,
        manifest.exact_prefix,
        manifest.inputs,
        manifest.outputs,
        manifest.layout,
        manifest.initial_state,
        hashlib.sha256(step_graph).hexdigest(),
    )
    return hashlib.sha256(msgspec.json.encode(deciding)).hexdigest()[:16]


def parse(path: Path, raw: bytes) -> Manifest:
    """Reads the bytes of a manifest that `seal` wrote.

    Raises:
        ConfigError: they are something else's.
        Incompatible: they were changed, or are of another format.
    """
    try:
        number = msgspec.json.decode(raw, type=_Format).artifact
    except msgspec.ValidationError as error:
        raise no_artifact(path, f"Its {MANIFEST} is not one of ours: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(path, f"{MANIFEST} is no JSON: {error}.") from error
    if number != FORMAT:
        relation = "a newer" if number > FORMAT else "another"
        raise Incompatible(
            f"The artifact {path} has format {number}; this version reads format {FORMAT}.",
            f"It was written by {relation} version of the converter.",
            "Run a version that is as new as the converter, or convert the model with this one.",
        )
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(path, f"{MANIFEST}: {error}.") from error
    blank = raw.replace(manifest.sha256.encode(), _NO_DIGEST.encode(), 1)
    if len(manifest.sha256) != len(_NO_DIGEST) or hashlib.sha256(blank).hexdigest() != manifest.sha256:
        raise damaged(path, f"The SHA-256 of {MANIFEST} is not the one in it.")
    return manifest


def refuse_to_replace_other_things(target: Path) -> None:
    """Raises ConfigError where replacing `target` would delete what no converter wrote (OSError: it cannot be read)."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    try:  # what is no directory has no manifest either
        msgspec.json.decode((target / MANIFEST).read_bytes(), type=_Format)
        others = sorted({entry.name for entry in target.iterdir()} - {MANIFEST, STEP_GRAPH, GOLDEN})
        cause = f"It holds {', '.join(others)} besides." if others else ""
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, msgspec.DecodeError, UnicodeDecodeError):
        cause = f"It has no {MANIFEST} of ours."
    if cause:
        raise ConfigError(
            f"{target} is there already, and is not just an artifact.",
            f"{cause} Only an artifact or an empty directory is replaced.",
            "Name another directory, or remove this one.",
        )


def _plain(value: object) -> object:
    # Certificates are computed with NumPy, and its numbers are numbers.
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} in a manifest")
