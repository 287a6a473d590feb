"""What a model's description is looked through for before anything of it is built. Old ones: see `legacy`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import keras

from processor.model.convert.legacy.settings import RECURRENT
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator

_GREATEST_SIZE: Final = 1 << 26
_UNKNOWN: Final = re.compile(
    r"Unknown (?:layer|\w+): '([\w>.]+)'|Could not locate (?:class|function) '([\w>.]+)'"
    r"|Could not interpret \w+(?: function)? identifier: ([\w>.]+)"
)


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
    """Raises ConversionRefused where a file's description holds code, or names any that is not known.

    Known are Keras' own classes, and those that this process has registered: the user has imported these. Nothing of
    the file is run or imported for that.
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
            registered = inner if kind == "function" else layer.get("registered_name") or kind
            if not isinstance(registered, str) or keras.saving.get_registered_object(registered) is None:
                raise not_known(name, str(registered), str(layer_name), Obstacle.CUSTOM_CODE, module)


def not_known(name: str, registered: str, layer_name: str, reason: Obstacle, module: str = "") -> ConversionRefused:
    """A file names a class that is neither Keras' nor registered in this process. `registered`: its name there."""
    where = f" of the module {module}" if module and module != "__main__" else ""
    kind = registered.rpartition(">")[2]
    return ConversionRefused(
        f"The file {name} asks for {registered!r}{where}, which is not known here.",
        layer=layer_name,
        reason=reason,
        cause="It is not one of Keras' own, and nothing that was imported defines or registers it. A file holds the "
        "names of such classes, not their code.",
        remedies=[
            import_remedy(kind),
            f"Put a layer of Keras in the place of {layer_name!r}, and save the model again.",
        ],
    )


def import_remedy(kind: str) -> str:
    """What to do where a file names a class of the user's own."""
    return (
        f"Let your own code run first: add --import FILE.py (or --import MODULE), the code that defines {kind}; in "
        "Python, imports=['FILE.py']."
    )


def unknown_name(message: str) -> str | None:
    """The class or function that Keras does not know, by its message about a file; None for another message."""
    found = _UNKNOWN.search(message)
    return next((name for name in found.groups() if name), None) if found else None


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
