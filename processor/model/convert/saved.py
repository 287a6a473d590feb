"""Files that Keras wrote, opened but not built: the model's description, Keras' version, and where the weights are."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import h5py
import yaml

from processor.errors import ConfigError
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    import os

SAVE_AGAIN: Final = (
    "Where the model's code and its Keras run: write model.to_json() to model.json, model.save_weights('model.h5') "
    "('model.weights.h5' in Keras 3), and give both: model.json --weights model.h5"
)
DESCRIPTIONS: Final = (".json", ".yaml", ".yml")
_MOST_DESCRIPTION: Final = 64 * 1024 * 1024
_MOST_ITEMS: Final = 2_000_000
_MOST_TIMES: Final = 20
_WEIGHTS: Final = "model.weights.h5"


class Form(Enum):
    """How a model is kept: one archive, one HDF5 file, or a text beside a file of weights."""

    ZIP = "zip"
    H5 = "h5"
    TEXT = "text"


@dataclass(frozen=True)
class Saved:
    """path: what the user named; config: the description; version: of Keras; weights: the file that holds them."""

    path: Path
    form: Form
    config: Any
    version: str
    weights: Path

    @property
    def is_old(self) -> bool:
        """Whether Keras 1 or 2 wrote it."""
        return self.version.split(".")[0] in ("1", "2")

    def weights_in(self, directory: Path) -> Path:
        """A file of weights alone, of the name that Keras wants; taken out of an archive into `directory`."""
        if self.form is Form.ZIP:
            with zipfile.ZipFile(self.path) as archive:
                return Path(archive.extract(_WEIGHTS, directory))
        if self.weights.name.endswith(".weights.h5"):
            return self.weights
        copy = directory / _WEIGHTS
        copy.symlink_to(self.weights.resolve())
        return copy

    def rewritten(self, directory: Path) -> Path:
        """A copy of the file with the description as it is now."""
        if self.form is Form.H5:
            target = directory / "model.h5"
            shutil.copyfile(self.path, target)
            with h5py.File(target, "r+") as file:
                file.attrs["model_config"] = json.dumps(self.config)
            return target
        target = directory / "model.keras"
        with zipfile.ZipFile(self.path) as old, zipfile.ZipFile(target, "w") as new:
            for item in old.infolist():
                if item.filename != "config.json":
                    with old.open(item) as content, new.open(item.filename, "w") as copy:
                        shutil.copyfileobj(content, copy)
            new.writestr("config.json", json.dumps(self.config))
        return target


def read_zip(path: Path) -> Saved:
    """A `.keras` archive (Keras 2.12 and later).

    Raises:
        ConversionRefused: it is no such file, is damaged, or would unpack to far more than it should.
    """
    if not zipfile.is_zipfile(path):
        raise unreadable(path, "It is no .keras file, or only the beginning of one.", "Copy the file again.")
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(item.file_size for item in archive.infolist())
            if claimed > _MOST_TIMES * path.stat().st_size + _MOST_DESCRIPTION:
                raise ValueError(f"it would unpack to {claimed} bytes, far more than weights can be packed")
            config, metadata = _json(archive, "config.json"), _json(archive, "metadata.json")
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise unreadable(path, f"It cannot be read: {error}", SAVE_AGAIN) from error
    return Saved(path, Form.ZIP, config, str(metadata.get("keras_version", "3")), path)


def read_h5(path: Path) -> Saved:
    """An HDF5 file of description and weights (Keras 1 to 3).

    Raises:
        ConversionRefused: it has no description, or is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            description, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "1")
        if description is None:
            raise unreadable(
                path,
                "It holds weights only, without the layers that they belong to.",
                "Where the model's code runs: write model.to_json() to model.json, and give both: model.json --weights "
                f"{path}",
            )
        config = json.loads(description)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise unreadable(path, f"It cannot be read: {error}", SAVE_AGAIN) from error
    return Saved(path, Form.H5, config, version.decode() if isinstance(version, bytes) else str(version), path)


def read_description(path: Path, weights: str | os.PathLike[str] | None) -> Saved:
    """What `model.to_json()` or `model.to_yaml()` wrote (Keras 1 to 3), and the weights in a file of their own.

    Raises:
        ConfigError: no weights are named, or there is no such file; ConversionRefused: one of them cannot be read.
    """
    if weights is None:
        raise ConfigError(
            f"{path} describes a model without its weights.",
            "model.to_json() writes the layers, and model.save_weights(...) the weights.",
            f"Name the file of weights, too: {path} --weights model.weights.h5",
        )
    arrays = Path(weights)
    if not arrays.is_file():
        raise ConfigError(f"There are no weights at {arrays}.", "There is no such file.", "")
    if not h5py.is_hdf5(arrays):
        raise unreadable(
            arrays,
            "It is no HDF5 file.",
            f"Save the weights with model.save_weights('{_WEIGHTS}'), and name that file with --weights.",
        )
    try:
        if path.stat().st_size > _MOST_DESCRIPTION:
            raise ValueError("it is too large")
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix.lower() == ".json" else yaml.load(text, _Plain)
        content = _copied(content, [_MOST_ITEMS])
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise unreadable(path, f"It cannot be read: {error}", SAVE_AGAIN) from error
    version = content.get("keras_version") if isinstance(content, dict) else None
    # Keras 3 writes no version, and the module of each class; Keras 1 writes neither.
    version = version or ("3" if isinstance(content, dict) and "module" in content else "1")
    return Saved(path, Form.TEXT, content, str(version), arrays)


class _Plain(yaml.SafeLoader):
    """YAML without objects; Keras wrote shapes as tuples."""


def _tuple(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.YAMLError("it has a tuple that is not one")
    return loader.construct_sequence(node, deep=True)


_Plain.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


def _copied(value: Any, left: list[int]) -> Any:
    """A copy in which nothing is shared: a few lines of YAML can name one list a billion times."""
    left[0] -= 1
    if left[0] < 0:
        raise ValueError("it describes more than a model has")
    if isinstance(value, dict):
        return {str(key): _copied(item, left) for key, item in value.items()}
    return [_copied(item, left) for item in value] if isinstance(value, list) else value


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > _MOST_DESCRIPTION:
        raise ValueError(f"{name} is too large")
    value = json.loads(archive.read(name))
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    return value


def unreadable(path: Path, cause: str, remedy: str) -> ConversionRefused:
    """The refusal of a file that holds no model that can be loaded."""
    return ConversionRefused(
        f"{path} does not hold a model that can be loaded.",
        layer=path.name,
        reason=Obstacle.UNREADABLE,
        cause=cause,
        remedies=[remedy],
    )
