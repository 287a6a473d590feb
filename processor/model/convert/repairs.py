"""What a model's description is looked through for before anything of it is built. Old ones: see `legacy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from processor.model.convert.legacy.settings import RECURRENT
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator

_GREATEST_SIZE: Final = 1 << 26


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


def drop_unroll(config: Any) -> list[str]:
    """Takes `unroll=True` out of a description, in place: it changes nothing but how a layer is run, and a file that
    names a length of a million has a graph of it. Returns what was done, a sentence each."""
    done = []
    for layer in layers_of(config):
        inner = layer.get("config")
        if layer["class_name"] in RECURRENT and isinstance(inner, dict) and inner.get("unroll"):
            inner["unroll"] = False
            done.append(f"{inner.get('name')}: unroll=True was dropped, which changes nothing but how it is run.")
    return done
