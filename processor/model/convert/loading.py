"""From a file to a Keras model, taking the file for what it is: something that a stranger may have written."""

from __future__ import annotations

import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import h5py
import keras
from keras.src.backend.common import global_state

from processor.errors import ConfigError
from processor.model.convert.imports import import_code
from processor.model.convert.legacy.load import rebuild
from processor.model.convert.legacy.weights import Incomplete, check_groups, is_tree, read_groups
from processor.model.convert.memory import bounded_memory
from processor.model.convert.pytorch.build import keras_model
from processor.model.convert.pytorch.description import ENDING, Description
from processor.model.convert.pytorch.export import describe, is_pytorch
from processor.model.convert.quiet import silence
from processor.model.convert.refusal import ConversionRefused, Obstacle, in_its_words
from processor.model.convert.repairs import drop_unroll, not_known, refuse_code, refuse_sizes, unknown_name
from processor.model.convert.saved import (
    DESCRIPTIONS,
    SAVE_AGAIN,
    Form,
    Saved,
    read_description,
    read_h5,
    read_zip,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_FROM_SAVED_MODEL: Final = (
    "In TensorFlow 2.15 or earlier, where Keras 2 wrote it: model = tf.keras.models.load_model(...), write "
    "model.to_json() to model.json, model.save_weights('model.h5'), and convert model.json --weights model.h5"
)
_EXPORT: Final = (
    "Where the model's code is: from processor import export_pytorch; export_pytorch(model, 'model.npz'); then convert "
    "model.npz."
)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, how the user names it, and what was repaired in its file.

    described: the PyTorch model that it was made from, with answers of its own.
    """

    model: Any
    source: str
    repairs: list[str]
    described: Description | None = None


def load(model: Any, weights: Any = None, imports: Iterable[str | os.PathLike[str]] = ()) -> Loaded:
    """A model object as it is, or the model in a file. weights: of a description (`.json`, `.yaml`), where they are.

    imports: code of the user's own, which is run before the file is read. What it defines may be in the file.

    Raises:
        ConfigError: there is no such file, weights are given for what has its own, or the user's own code fails.
        ConversionRefused: it holds no model, or one that cannot be loaded safely.
    """
    defined = import_code(imports)
    with keras.saving.custom_object_scope(defined):
        return _loaded(model, weights)


def _loaded(model: Any, weights: Any) -> Loaded:
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
    return _load_path(Path(model), weights)


def _load_path(path: Path, weights: Any) -> Loaded:
    if not path.exists():
        raise ConfigError(f"There is no model at {path}.", "There is no such file.", "")
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            raise unreadable(path, "It is a TensorFlow SavedModel: functions, without the layers.", _FROM_SAVED_MODEL)
        raise unreadable(path, "It is a directory, not a file.", SAVE_AGAIN)
    suffix = path.suffix.lower()
    if suffix in DESCRIPTIONS:
        return _load_saved(read_description(path, weights))
    if weights is not None:
        raise ConfigError(
            f"The weights {weights} are given beside {path}.",
            "Weights of their own belong to a description (model.json or model.yaml), and a model's file has its own.",
            f"Leave out --weights, or name the description: model.json --weights {weights}",
        )
    if suffix == ENDING:
        return _load_description(path)
    if suffix in (".pt", ".pth", ".pt2"):
        raise unreadable(path, "It is a file of PyTorch's, and most of these run code when they are read.", _EXPORT)
    # By content: TensorFlow 2.12 and earlier gave the name .keras to HDF5.
    if h5py.is_hdf5(path):
        return _load_saved(read_h5(path))
    if suffix == ".keras":
        return _load_saved(read_zip(path))
    if suffix in (".h5", ".hdf5"):
        raise unreadable(path, "It is no HDF5 file, or only the beginning of one.", "Copy the file again.")
    raise unreadable(
        path,
        f"Its name ends in {suffix!r}, where .keras or .h5 is wanted."
        if suffix
        else "Its name has no ending: .keras or .h5 is wanted.",
        SAVE_AGAIN,
    )


def _load_description(path: Path) -> Loaded:
    try:
        described = Description.read(path)
        return _made(described, path.stem, str(path))
    except (ConversionRefused, MemoryError):
        raise
    except Exception as error:  # a file may say anything, and whatever that makes the builder raise is its fault
        raise unreadable(path, f"It describes no PyTorch model: {in_its_words(error)}", _EXPORT) from error


def _made(described: Description, name: str, source: str) -> Loaded:
    with silence():
        model = keras_model(described, name)
    return Loaded(model, source, [f"Made from a model of PyTorch {described.version}."], described)


def _load_saved(saved: Saved) -> Loaded:
    """A model whose description was read: nothing of it is built before it was looked through."""
    if not isinstance(saved.config, dict) and not (saved.is_old and isinstance(saved.config, list)):
        raise unreadable(saved.path, "Its description of the model is not one.", SAVE_AGAIN)
    refuse_code(saved.config, str(saved.path))
    refuse_sizes(saved.config, str(saved.path))
    load = _rebuilt if saved.is_old else _by_keras
    try:
        with tempfile.TemporaryDirectory() as directory, silence(), bounded_memory(_unpacked(saved)):
            model, repairs = load(saved, Path(directory))
    except ConversionRefused:
        raise
    except Incomplete as error:
        raise unreadable(saved.path, str(error), SAVE_AGAIN) from error
    except Exception as error:  # whatever a file makes Keras raise is that file's fault
        unknown = unknown_name(str(error))
        if unknown:
            raise not_known(str(saved.path), unknown, unknown, Obstacle.UNREADABLE) from error
        raise unreadable(saved.path, f"Keras reports: {in_its_words(error)}", SAVE_AGAIN) from error
    if not isinstance(model, keras.Model):
        raise unreadable(saved.path, f"It holds a {type(model).__name__}, no model.", SAVE_AGAIN)
    return Loaded(model, str(saved.path), repairs)


def _rebuilt(saved: Saved, directory: Path) -> tuple[Any, list[str]]:
    """A model of Keras 1 or 2."""
    return rebuild(saved.config, saved.version, saved.weights_in(directory))


def _by_keras(saved: Saved, directory: Path) -> tuple[Any, list[str]]:
    """A model of Keras 3, by Keras' own loader where that reads the weights right."""
    repairs = drop_unroll(saved.config)
    if saved.form is Form.ZIP:
        source = saved.rewritten(directory) if repairs else saved.path
        return keras.saving.load_model(source, compile=False, safe_mode=True), repairs
    weights = saved.weights_in(directory)
    if saved.form is Form.H5:
        with h5py.File(weights, "r") as file:
            check_groups(file)
        # Keras looks for the layer inside a wrapper among the custom objects only.
        known = {name: kind for name, kind in vars(keras.layers).items() if isinstance(kind, type)}
        # Its scope hides the one around it, which has what the user imported.
        imported = global_state.get_global_attribute("custom_objects_scope_dict") or {}
        with keras.saving.custom_object_scope(known | imported):
            source = saved.rewritten(directory) if repairs else saved.path
            model = keras.saving.load_model(source, compile=False, safe_mode=True)
    else:
        model = keras.saving.deserialize_keras_object(saved.config, safe_mode=True)
    if is_tree(weights):
        model.load_weights(weights)
    else:
        with h5py.File(weights, "r") as file:
            read_groups(file, {layer.name: layer for layer in model.layers})
    return model, repairs


def _unpacked(saved: Saved) -> int:
    """How many bytes a model's content takes in memory, about."""
    if saved.form is not Form.ZIP:
        return saved.weights.stat().st_size
    with zipfile.ZipFile(saved.path) as archive:
        return sum(item.file_size for item in archive.infolist())
