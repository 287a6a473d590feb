"""The directory of an artifact on the disk: whole or not there, and clear words when it is neither."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from processor.errors import ConfigError, Incompatible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST: Final = "manifest.json"
STEP_GRAPH: Final = "step.tflite"
GOLDEN: Final = "golden.npz"


def read(path: Path, name: str) -> bytes:
    """One file of the artifact at `path`.

    Raises:
        ConfigError: it is not there, or cannot be read.
    """
    try:
        return (path / name).read_bytes()
    except FileNotFoundError as error:
        cause = f"It has no {name}." if path.exists() else "There is no such directory."
        raise no_artifact(path, cause) from error
    except NotADirectoryError as error:
        raise no_artifact(path, "It is a file, and an artifact is a directory.") from error
    except OSError as error:
        raise ConfigError(f"The artifact's file {path / name} cannot be read.", str(error)) from error


def no_artifact(path: Path, cause: str) -> ConfigError:
    return ConfigError(f"{path} is no artifact.", cause, "Write one with `processor convert MODEL -o DIR`.")


def damaged(path: Path, cause: str) -> Incompatible:
    return Incompatible(
        f"The artifact {path} is damaged, or was changed by hand.",
        cause,
        "Convert the model again, or copy the artifact again from where it came.",
    )


def place(target: Path, contents: Mapping[str, bytes]) -> None:
    """Puts a complete directory in the place of `target`: written beside it, synced, then renamed.

    Raises:
        OSError: the disk refuses. What was at `target` is there still.
    """
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
        _exchange(fresh, target, stale)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.exists():
            shutil.rmtree(stale, ignore_errors=True)


def check_place(target: Path) -> None:
    """Tries whether `place` could write there: makes a directory and removes it.

    Raises:
        OSError: it could not.
    """
    parent = next(some for some in target.absolute().parents if some.exists())
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=parent):
        pass


def _exchange(fresh: Path, target: Path, stale: Path) -> None:
    try:
        if target.exists():
            target.rename(stale)
        fresh.rename(target)
    except BaseException:  # Ctrl-C among them
        if stale.exists() and not target.exists():
            stale.rename(target)
        raise
