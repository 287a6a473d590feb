"""From a file to a Keras model, taking the file for what it is: something that a stranger may have written."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import keras

from processor.errors import ConfigError
from processor.model.convert.activations import hard_sigmoid_of_keras_2
from processor.model.convert.memory import bounded_memory
from processor.model.convert.pytorch.build import keras_model
from processor.model.convert.pytorch.description import ENDING, Description
from processor.model.convert.pytorch.export import describe, is_pytorch
from processor.model.convert.quiet import silence
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.repairs import refuse_code, refuse_sizes, repair, uses_old_hard_sigmoid

_SAVE_AGAIN: Final = "Save the model with model.save('model.keras') in Keras 3."
_FROM_SAVED_MODEL: Final = (
    "Where the model's code is: build the model, load_weights(...) from the SavedModel's checkpoint (its variables/"
    "variables), and model.save('model.keras') in Keras 3."
)
_EXPORT: Final = (
    "Where the model's code is: from processor import export_pytorch; export_pytorch(model, 'model.npz'); then convert "
    "model.npz."
)
_MOST_DESCRIPTION: Final = 64 * 1024 * 1024
_MOST_TIMES: Final = 20


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, how the user names it, and what was repaired in its file.

    described: the PyTorch model that it was made from, with answers of its own.
    """

    model: Any
    source: str
    repairs: list[str]
    described: Description | None = None


def load(model: Any) -> Loaded:
    """A model object as it is, or the model in a `.keras` or `.h5` file.

    Raises:
        ConfigError: there is no such file.
        ConversionRefused: it holds no model, or one that cannot be loaded safely.
    """
    if isinstance(model, keras.Model):
        return Loaded(model, "MODEL", [])
    if is_pytorch(model):
        return _made(describe(model), type(model).__name__, "MODEL")
    if not isinstance(model, str | os.PathLike):
        raise ConfigError(
            f"{type(model).__module__}.{type(model).__qualname__} is no Keras 3 model.",
            "",
            "Pass a keras.Model, a torch.nn.Module, or the path of a .keras or .h5 file.",
        )
    path = Path(model)
    if not path.exists():
        raise ConfigError(f"There is no model at {path}.", "There is no such file.", "")
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            raise _unreadable(path, "It is a TensorFlow SavedModel: functions, without the layers.", _FROM_SAVED_MODEL)
        raise _unreadable(path, "It is a directory, not a file.", _SAVE_AGAIN)
    suffix = path.suffix.lower()
    if suffix == ".keras":
        return _load_zip(path)
    if suffix in (".h5", ".hdf5"):
        return _load_h5(path)
    if suffix == ENDING:
        return _load_description(path)
    if suffix in (".pt", ".pth", ".pt2"):
        raise _unreadable(path, "It is a file of PyTorch's, and most of these run code when they are read.", _EXPORT)
    raise _unreadable(
        path,
        f"Its name ends in {suffix!r}, where .keras or .h5 is wanted."
        if suffix
        else "Its name has no ending: .keras or .h5 is wanted.",
        _SAVE_AGAIN,
    )


def _load_description(path: Path) -> Loaded:
    try:
        described = Description.read(path)
        return _made(described, path.stem, str(path))
    except (ConversionRefused, MemoryError):
        raise
    except Exception as error:  # a file may say anything, and whatever that makes the builder raise is its fault
        raise _unreadable(path, f"It describes no PyTorch model: {_short(error)}", _EXPORT) from error


def _made(described: Description, name: str, source: str) -> Loaded:
    with silence():
        model = keras_model(described, name)
    return Loaded(model, source, [f"Made from a model of PyTorch {described.version}."], described)


def _load_zip(path: Path) -> Loaded:
    if not zipfile.is_zipfile(path):
        raise _unreadable(path, "It is no .keras file, or only the beginning of one.", "Copy the file again.")
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(item.file_size for item in archive.infolist())
            if claimed > _MOST_TIMES * path.stat().st_size + _MOST_DESCRIPTION:
                raise ValueError(f"it would unpack to {claimed} bytes, far more than weights can be packed")
            config = _json(archive, "config.json")
            metadata = _json(archive, "metadata.json")
    except (KeyError, ValueError, OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise _unreadable(path, f"It cannot be read: {error}", _SAVE_AGAIN) from error
    version = str(metadata.get("keras_version", "3"))
    repairs = _mend(config, version, path)
    with tempfile.TemporaryDirectory() as directory:
        source = _rewritten_zip(path, Path(directory) / "model.keras", config) if repairs else path
        return _finish(source, path, config, version, repairs)


def _load_h5(path: Path) -> Loaded:
    if not h5py.is_hdf5(path):
        raise _unreadable(path, "It is no HDF5 file, or only the beginning of one.", "Copy the file again.")
    try:
        with h5py.File(path, "r") as file:
            description, version = file.attrs.get("model_config"), file.attrs.get("keras_version", "1")
        if description is None:
            raise _unreadable(
                path,
                "It holds weights only, without the layers that they belong to.",
                "Build the model, load_weights(...) into it, and save all of it: model.save('model.keras').",
            )
        config = json.loads(description)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _unreadable(path, f"It cannot be read: {error}", _SAVE_AGAIN) from error
    version = version.decode() if isinstance(version, bytes) else str(version)
    repairs = _mend(config, version, path)
    with tempfile.TemporaryDirectory() as directory:
        source = _rewritten_h5(path, Path(directory) / "model.h5", config) if repairs else path
        return _finish(source, path, config, version, repairs)


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > _MOST_DESCRIPTION:
        raise ValueError(f"{name} is too large")
    value = json.loads(archive.read(name))
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    return value


def _mend(config: Any, version: str, path: Path) -> list[str]:
    if not isinstance(config, dict):
        raise _unreadable(path, "Its description of the model is none.", _SAVE_AGAIN)
    refuse_code(config, str(path))
    refuse_sizes(config, str(path))
    return repair(config, version, str(path))


def _rewritten_zip(source: Path, target: Path, config: dict[str, Any]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for item in old.infolist():
            if item.filename != "config.json":
                with old.open(item) as content, new.open(item.filename, "w") as copy:
                    shutil.copyfileobj(content, copy)
        new.writestr("config.json", json.dumps(config))
    return target


def _rewritten_h5(source: Path, target: Path, config: dict[str, Any]) -> Path:
    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
    return target


def _finish(source: Path, path: Path, config: dict[str, Any], version: str, repairs: list[str]) -> Loaded:
    # Keras looks for the layer inside a wrapper among the custom objects only, where the file is an old one.
    known = {name: kind for name, kind in vars(keras.layers).items() if isinstance(kind, type)}
    try:
        scope = keras.saving.custom_object_scope(known if source.suffix != ".keras" else {})
        with silence(), scope, bounded_memory(_unpacked(path)):
            model = keras.saving.load_model(source, compile=False, safe_mode=True)
    except ConversionRefused:
        raise
    except Exception as error:  # whatever a file makes Keras raise is that file's fault
        raise _unreadable(path, f"Keras says: {_short(error)}", _SAVE_AGAIN) from error
    if not isinstance(model, keras.Model):
        raise _unreadable(path, f"It holds a {type(model).__name__}, no model.", _SAVE_AGAIN)
    if uses_old_hard_sigmoid(config, version):
        repairs = [*repairs, *_restore_hard_sigmoid(model)]
    return Loaded(model, str(path), repairs)


def _unpacked(path: Path) -> int:
    """How many bytes a file's content takes in memory, about."""
    if path.suffix.lower() != ".keras":
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return sum(item.file_size for item in archive.infolist())


def _restore_hard_sigmoid(model: Any) -> list[str]:
    """Gives `hard_sigmoid` the meaning back that it had when the model was trained."""
    done = []
    for layer in model._flatten_layers(include_self=False):
        for name in ("activation", "recurrent_activation"):
            if vars(layer).get(name) is keras.activations.hard_sigmoid:
                setattr(layer, name, hard_sigmoid_of_keras_2)
                done.append(f"{layer.name}: hard_sigmoid as it was before Keras 3 (0.9 at 2.0, not 0.8333).")
    return done


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) < 300 else text[:300] + " ..."


def _unreadable(path: Path, cause: str, remedy: str) -> ConversionRefused:
    return ConversionRefused(
        f"{path} does not hold a model that can be loaded.",
        layer=path.name,
        reason=Obstacle.UNREADABLE,
        cause=cause,
        remedies=[remedy],
    )
