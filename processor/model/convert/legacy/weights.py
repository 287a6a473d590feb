"""The arrays of a file, given to the layers that they belong to: by the layers' names, never by their order.

Two layouts: groups named after layers, with the names of their arrays (`.h5`, Keras 1 to 3), and a tree that follows
the objects of the model (`model.weights.h5` in a `.keras` file, Keras 2.12 and later).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import h5py
import keras
import numpy as np
from keras.src.saving import saving_lib
from keras.src.utils import naming

from processor.model.convert.legacy.graph import Rebuilt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Named = tuple[str, NDArray[Any]]

# What Keras 1 called the arrays of a layer.
_NAMES: Final = {
    "U": "recurrent_kernel", "b": "bias", "running_mean": "moving_mean",
    "running_std": "moving_variance", "alphas": "alpha",
}  # fmt: skip
_KNOWN: Final = {
    "kernel", "recurrent_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "embeddings", "alpha",
    "depthwise_kernel", "pointwise_kernel", "mean", "variance", "count",
}  # fmt: skip
# The gates that Keras 1 kept apart, in the order in which a kernel has them side by side.
_GATES: Final = ("ifco", "zrh")
_CONVOLUTIONS: Final = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D")
_OLDER_TREE: Final = "_layer_checkpoint_dependencies"  # TensorFlow 2.12's Keras


class Incomplete(Exception):
    """A file that does not hold what the model needs: the message names the layer, and what is there."""


def read_groups(file: h5py.File, layers: dict[str, Any]) -> None:
    """Gives layers (by the file's names; a model may be a Rebuilt) the arrays of the groups of their names.

    Raises:
        Incomplete: an array is not there, or is of another shape; a layer with weights has no group.
    """
    root = file.get("model_weights", file)
    turned = _text(file.attrs.get("backend", root.attrs.get("backend", ""))) == "theano"
    check_groups(file)
    filled = set()
    for name in _listed(root, "layer_names"):
        arrays = [(array, np.asarray(root[name][array])) for array in _listed(root[name], "weight_names")]
        if not arrays:
            continue
        if name not in layers:
            raise Incomplete(f"It holds weights of a layer {name!r}, which its description does not have.")
        layer = layers[name].model if isinstance(layers[name], Rebuilt) else layers[name]
        _give(layer, name, arrays, turned)
        filled.add(name)
    for name, layer in layers.items():
        owner = layer.model if isinstance(layer, Rebuilt) else layer
        if name not in filled and getattr(owner, "weights", None):
            raise Incomplete(f"It holds no weights of the layer {name!r}, which has {len(owner.weights)}.")


def check_groups(file: h5py.File) -> None:
    """Raises Incomplete where a file was not written to its end."""
    root = file.get("model_weights", file)
    names = _listed(root, "layer_names")
    for name in names:
        if name in root:
            _check_names(root[name], name)
    for name in names:
        if name not in root:
            raise Incomplete(f"It ends before the weights of the layer {name!r}: it was not written to its end.")


def is_tree(path: Path) -> bool:
    """Whether a file of weights follows the objects of the model, not groups named after layers."""
    with h5py.File(path, "r") as file:
        return any(name in file for name in ("layers", _OLDER_TREE)) and "layer_names" not in file.attrs


def read_tree(path: Path, rebuilt: Rebuilt) -> None:
    """Gives the layers of a rebuilt model the arrays of a tree, as Keras 2.12 to 2.15 wrote it.

    Raises:
        Exception: any of Keras', where an array is not there or is of another shape.
    """
    store = saving_lib.H5IOStore(str(path), mode="r")
    try:
        with h5py.File(path, "r") as file:
            _read_branch(store, file, rebuilt, _OLDER_TREE if _OLDER_TREE in file else "layers")
    finally:
        store.close()


def _read_branch(store: Any, group: Any, rebuilt: Rebuilt, key: str) -> None:
    """Layers are found by their class and their rank among those of it, in the order of the file's description.

    The names of a class' groups end in 1, 2, ... from its second on; 2.13 counted 2, 4, ...
    """
    counts: dict[str, int] = {}
    for name, layer in rebuilt.layers.items():
        snake = naming.to_snake_case(rebuilt.kinds[name])
        rank = counts.get(snake, 0)
        counts[snake] = rank + 1
        pattern = re.compile(rf"{re.escape(snake)}(_\d+)?")
        names = sorted(filter(pattern.fullmatch, group[key]), key=lambda found: (len(found), found))
        if rank >= len(names):
            raise Incomplete(f"It holds no weights of the layer {name!r}.")
        inner = f"{group.name}/{key}/{names[rank]}".strip("/")
        if isinstance(layer, Rebuilt):
            _read_branch(store, group[key][names[rank]], layer, key)
        elif isinstance(layer, keras.layers.Layer) and layer.weights:
            saving_lib._load_state(layer, store, None, inner, visited_saveables=set())


def _check_names(group: Any, label: str) -> None:
    names = _listed(group, "weight_names")
    if len(set(names)) < len(names) or any(name not in group for name in names):
        raise Incomplete(
            f"It names {len(names)} arrays of the layer {label!r} and holds {len(set(names) & set(_all(group)))}: "
            "saving stopped there. (Keras 3.0 fails so for layers inside a layer: their arrays have equal names.)"
        )


def _all(group: Any) -> list[str]:
    found: list[str] = []
    group.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def _give(layer: Any, label: str, arrays: list[Named], turned: bool) -> None:
    arrays = list(_joined(arrays))
    kernels = _kernels_of_convolutions(layer.model if isinstance(layer, Rebuilt) else layer) if turned else set()
    for variables in (_trained_first(layer), _layer_by_layer(layer)):
        values = _matched(variables, arrays)
        if values is None:
            continue
        for variable, value in zip(variables, values, strict=True):
            if id(variable) in kernels:  # Theano's convolutions run over a kernel from its end
                value = value[(slice(None, None, -1),) * (value.ndim - 2)]
            variable.assign(value)
        return
    wanted = ", ".join(f"{variable.name} {tuple(variable.shape)}" for variable in _trained_first(layer))
    found = ", ".join(f"{name} {array.shape}" for name, array in arrays)
    raise Incomplete(f"The layer {label!r} has the weights {wanted[:300]}; the file has {found[:300]}.")


def _trained_first(layer: Any) -> list[Any]:
    """The variables of a layer as Keras 1 and 2 order them: all that are trained, then the others."""
    return _unique([*_of(layer, "trainable_weights"), *_of(layer, "non_trainable_weights")])


def _layer_by_layer(layer: Any) -> list[Any]:
    """As they order them where a model inside is frozen: each layer's together."""
    return _unique(_of(layer, "weights"))


def _of(layer: Any, which: str) -> Iterable[Any]:
    if isinstance(layer, Rebuilt):
        for inner in layer.layers.values():
            yield from _of(inner, which)
    else:
        yield from getattr(layer, which, ())


def _unique(variables: Iterable[Any]) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


def _matched(variables: list[Any], arrays: list[Named]) -> list[NDArray[Any]] | None:
    """A value for each variable; None where numbers, names or shapes do not fit."""
    if len(variables) != len(arrays):
        return None
    pairs = zip(variables, arrays, strict=True)
    if any({mine, its} <= _KNOWN and mine != its for mine, its in ((v.name, _last(name)) for v, (name, _) in pairs)):
        return None
    values = [array for _, array in arrays]
    for place, variable in enumerate(variables):
        shape = tuple(variable.shape)
        if values[place].shape == shape:
            continue
        if variable.name == "bias" and place >= 2 and values[place].ndim == 1:
            _lay_out_cudnn(values, place, shape)
        elif variable.name == "kernel" and values[place].ndim == len(shape) + 1:
            values[place] = _one_dimensional(values[place], shape)
        if values[place].shape != shape:
            return None
    return values if all(v.shape == tuple(w.shape) for v, w in zip(values, variables, strict=True)) else None


def _lay_out_cudnn(values: list[NDArray[Any]], place: int, shape: tuple[int, ...]) -> None:
    """Kernel, recurrent kernel and bias of a CuDNN layer, in the layout of LSTM or GRU: each gate's block is transposed
    in memory, and there is a bias for the input and one for the state."""
    bias, gates = values[place], 4 if len(shape) == 1 else 3
    if bias.size != (2 if gates == 4 else 1) * int(np.prod(shape)):
        return
    blocks = np.split(values[place - 2], gates, axis=1)
    values[place - 2] = np.hstack([block.T.reshape(block.shape, order="F") for block in blocks])
    values[place - 1] = np.hstack([block.T for block in np.split(values[place - 1], gates, axis=1)])
    values[place] = bias.reshape(2, -1).sum(axis=0) if gates == 4 else bias.reshape(2, -1)


def _one_dimensional(kernel: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Keras 1 had convolutions over time as ones over an image that is one wide, in one of two orders of axes."""
    if kernel.ndim == 4 and kernel[:, 0].shape != shape:
        kernel = kernel.transpose(2, 3, 1, 0)
    return kernel[:, 0]


def _joined(arrays: list[Named]) -> Iterator[Named]:
    """Keras 1 kept the gates of LSTM and GRU apart: their arrays are put side by side."""
    apart: dict[str, NDArray[Any]] = {}
    for name, array in arrays:
        found = re.search(r"_([WUb])_([ifcozrh])(_\d+)?(:0)?$", name)
        if found is None:
            yield name, array
            continue
        apart[found[1] + found[2]] = array
        for gates in _GATES:
            if apart.keys() == {part + gate for part in "WUb" for gate in gates}:
                for part in "WUb":
                    yield f"_{part}", np.concatenate([apart[part + gate] for gate in gates], axis=-1)
                apart = {}


def _last(name: str) -> str:
    """What an array is within its layer: `kernel` of "lstm_1/kernel_2:0" and of "lstm_1_W:0"."""
    plain = re.sub(r"(_\d+)?(:\d+)?$", "", name.rpartition("/")[2])
    older = re.search(r"_(W|U|b|gamma|beta|running_mean|running_std|alphas)$", plain)
    plain = older[1] if older and "/" not in name else plain
    return _NAMES.get(plain, plain)


def _kernels_of_convolutions(layer: Any) -> set[int]:
    inside = [inner for inner in layer._flatten_layers() if type(inner).__name__.startswith(_CONVOLUTIONS)]
    return {id(v) for inner in inside for v in inner.weights if v.name in ("kernel", "recurrent_kernel")}


def _listed(group: Any, name: str) -> list[str]:
    """An attribute that lists names: in one piece, or in numbered ones where it is long."""
    if name in group.attrs:
        return [_text(item) for item in group.attrs[name]]
    found: list[str] = []
    piece = 0
    while f"{name}{piece}" in group.attrs:
        found += [_text(item) for item in group.attrs[f"{name}{piece}"]]
        piece += 1
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
