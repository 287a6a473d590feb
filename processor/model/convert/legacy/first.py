"""Keras 1 in the words of Keras 2: the names of classes and settings, and layers that became several."""

from __future__ import annotations

from typing import Any, Final

_KINDS: Final = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "AtrousConvolution1D": "Conv1D",
    "TimeDistributedDense": "Dense",  # which runs over the last axis alone
}
_NAMES: Final = {
    "output_dim": "units",
    "inner_activation": "recurrent_activation",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "bias": "use_bias",
    "p": "rate",
    "sigma": "stddev",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample_length": "strides",
    "subsample": "strides",
    "border_mode": "padding",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "stride": "strides",
}
_OF_EMBEDDING: Final = {"input_dim", "output_dim"}
_WITHOUT_MEANING: Final = {
    "init", "inner_init", "forget_bias_init", "consume_less", "input_dim", "weights", "W_regularizer", "U_regularizer",
    "b_regularizer", "W_constraint", "U_constraint", "b_constraint", "gamma_init", "beta_init", "input_shape",
    "gamma_regularizer", "beta_regularizer", "dim_ordering", "cov_mode", "input_dtype",
}  # fmt: skip
MERGES: Final = {
    "concat": "Concatenate", "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "dot": "Dot",
}  # fmt: skip


def modern(kind: str, settings: dict[str, Any]) -> str:
    """The class of a layer by the name that Keras 2 gave it; its settings are renamed in place."""
    for name in list(settings):
        if kind == "Embedding" and name in _OF_EMBEDDING:
            continue
        if name in _WITHOUT_MEANING or (kind == "Embedding" and name == "dropout"):
            del settings[name]
        elif name in _NAMES:
            settings[_NAMES[name]] = settings.pop(name)
    if "nb_row" in settings:
        settings["kernel_size"] = [settings.pop("nb_row"), settings.pop("nb_col")]
    if kind == "BatchNormalization" and settings.pop("mode", 0) != 0:
        raise ValueError("a BatchNormalization of Keras 1 in a mode that later versions do not have")
    if kind == "Merge":
        return _merge(settings)
    return _KINDS.get(kind, kind)


def _merge(settings: dict[str, Any]) -> str:
    mode = settings.pop("mode", None)
    if mode not in MERGES:
        raise ValueError(f"a Merge of the mode {mode!r}")
    axes = {"concat": {"axis": settings.get("concat_axis", -1)}, "dot": {"axes": settings.get("dot_axes", -1)}}
    kept = {name: settings[name] for name in ("name", "trainable") if name in settings}
    settings.clear()
    settings.update(kept | axes.get(mode, {}))
    return MERGES[mode]


def of_branches(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """The functional description of a Sequential model that begins with branches (Merge), as Keras 1 had it."""
    layers: list[dict[str, Any]] = []
    inputs, ends = [], []
    for rank, branch in enumerate(listed[0]["config"]["layers"]):
        inner = branch["config"] if isinstance(branch["config"], list) else branch["config"]["layers"]
        first: dict[str, Any] = inner[0]["config"]
        settings = {"batch_input_shape": first["batch_input_shape"], "dtype": first.get("input_dtype")}
        start = f"input_{rank + 1}"
        layers.append({"class_name": "InputLayer", "name": start, "config": settings, "inbound_nodes": []})
        inputs.append([start, 0, 0])
        ends.append(_chain(inner, start, layers))
    settings = {key: value for key, value in listed[0]["config"].items() if key != "layers"}
    name = str(settings.get("name", "merge"))
    node = [[end, 0, 0] for end in ends]
    layers.append({"class_name": "Merge", "name": name, "config": settings, "inbound_nodes": [node]})
    end = _chain(listed[1:], name, layers)
    return {"layers": layers, "input_layers": inputs, "output_layers": [[end, 0, 0]]}


def _chain(inner: list[dict[str, Any]], before: str, layers: list[dict[str, Any]]) -> str:
    for entry in inner:
        name = str(entry["config"]["name"])
        layers.append({**entry, "name": name, "inbound_nodes": [[[before, 0, 0]]]})
        before = name
    return before
