"""Repairs of files that an older Keras wrote, as changes of the model's description before Keras reads it.

A repair is made where its meaning is certain, and listed in the report. Everything else that an old file holds is left
to Keras, which refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD_HARD_SIGMOID: Final = "hard_sigmoid"
_RECURRENT: Final = {"LSTM", "GRU", "SimpleRNN", "RNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTM2D"}
_CUDNN: Final = {"CuDNNLSTM", "CuDNNGRU"}
_GREATEST_SIZE: Final = 1 << 26
_ACTIVATIONS: Final = ("activation", "recurrent_activation")


def layers_of(config: Any) -> Iterator[dict[str, Any]]:
    """Every description of an object in a model's description, the outer before the inner."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for item in config:
            yield from layers_of(item)


def refuse_code(config: Any, name: str) -> None:
    """Raises ConversionRefused where a file's description holds code, or names any that is not Keras'.

    Nothing of the file is run or imported for that.
    """
    for layer in layers_of(config):
        kind, module = layer["class_name"], layer.get("module")
        inner = layer.get("config")
        layer_name = inner.get("name", kind) if isinstance(inner, dict) else kind
        if kind in ("Lambda", "__lambda__"):
            raise ConversionRefused(
                f"The file {name} holds code: the layer {layer_name!r} is a Lambda.",
                layer=str(layer_name),
                reason=Obstacle.CUSTOM_CODE,
                cause="Loading it would run whatever code the file's author put there.",
                remedies=[f"Put a layer of Keras in the place of {layer_name!r}, and save the model again."],
            )
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins", "tf_keras"):
            raise ConversionRefused(
                f"The file {name} asks for {module}.{kind}, which is none of Keras' own.",
                layer=str(layer_name),
                reason=Obstacle.CUSTOM_CODE,
                remedies=[f"Put a layer of Keras in the place of {layer_name!r}, and save the model again."],
            )


def refuse_sizes(config: Any, name: str) -> None:
    """Raises ConversionRefused where a description names sizes that no model has."""
    for layer in layers_of(config):
        inner = layer.get("config")
        if not isinstance(inner, dict):
            continue
        for key, value in inner.items():
            if "seed" not in key and any(size > _GREATEST_SIZE for size in _whole_numbers(value)):
                raise ConversionRefused(
                    f"The layer {inner.get('name', layer['class_name'])!r} in {name} has a size that no model has.",
                    layer=str(inner.get("name", layer["class_name"])),
                    reason=Obstacle.UNREADABLE,
                    cause=f"Its {key} is {str(value)[:100]}.",
                )


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _whole_numbers(item)


def repair(config: dict[str, Any], keras_version: str, name: str) -> list[str]:
    """Changes a model's description in place. Returns what was done, a sentence each.

    Raises:
        ConversionRefused: it holds what can neither be read nor repaired.
    """
    done: list[str] = []
    old = keras_version.split(".")[0] in ("1", "2")
    for layer in layers_of(config):
        kind, inner = layer["class_name"], layer.get("config")
        if not isinstance(inner, dict):
            continue
        label = inner.get("name", kind)
        if kind in _CUDNN:
            raise ConversionRefused(
                f"The layer {label!r} in {name} is a {kind}, which Keras 3 does not have.",
                layer=str(label),
                reason=Obstacle.UNREADABLE,
                cause="Its weights are laid out for a GPU's own library.",
                remedies=[
                    "Load the model where it was made, copy its weights into LSTM or GRU, and save that as .keras."
                ],
            )
        done += _repair_recurrent(kind, inner, label, old)
        if kind == "Sequential":
            done += _name_the_input(inner)
    return done


def _repair_recurrent(kind: str, inner: dict[str, Any], label: str, old: bool) -> list[str]:
    if kind not in _RECURRENT:
        return []
    done = []
    if inner.get("unroll"):
        inner["unroll"] = False
        done.append(f"{label}: unroll=True was dropped, which changes nothing but how it is run.")
    if "time_major" in inner:
        if inner["time_major"]:
            raise ConversionRefused(
                f"The layer {label!r} has time_major=True, which Keras 3 does not have.",
                layer=label,
                reason=Obstacle.UNREADABLE,
                cause="Its first axis is time, and the batch is the second.",
                remedies=["Build the model with time as the second axis, load the same weights, and save it again."],
            )
        del inner["time_major"]
        done.append(f"{label}: dropped time_major=False, which Keras 3 no longer knows.")
    if kind in ("GRU", "GRUCell") and "reset_after" not in inner:
        inner["reset_after"] = False
        done.append(f"{label}: reset_after=False, which was the only kind of GRU when the file was written.")
    return done


def _name_the_input(inner: dict[str, Any]) -> list[str]:
    """A Sequential model whose first layer carries the shape of the input gets an input layer of that shape."""
    listed = inner.get("layers")
    if not isinstance(listed, list) or not listed:
        return []
    first = listed[0]
    if (
        not isinstance(first, dict)
        or first.get("class_name") == "InputLayer"
        or not isinstance(first.get("config"), dict)
    ):
        return []
    settings = first["config"]
    shape = settings.pop("batch_input_shape", None)
    if shape is None:
        return []
    dtype = settings.get("dtype") if isinstance(settings.get("dtype"), str) else "float32"
    label = settings.get("name", first.get("class_name"))
    entry = {"batch_shape": list(shape), "dtype": dtype, "name": f"{label}_input"}
    listed.insert(0, {"class_name": "InputLayer", "config": entry})
    return [f"{label}: its batch_input_shape {tuple(shape)} became an input layer."]


def uses_old_hard_sigmoid(config: Any, keras_version: str) -> bool:
    """Whether `hard_sigmoid` in this file means what it meant before Keras 3."""
    if keras_version.split(".")[0] not in ("1", "2"):
        return False
    settings = (layer.get("config") for layer in layers_of(config))
    return any(
        OLD_HARD_SIGMOID in (inner.get(key) for key in _ACTIVATIONS) for inner in settings if isinstance(inner, dict)
    )
