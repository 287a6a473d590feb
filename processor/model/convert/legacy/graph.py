"""A description of Keras 1 or 2 as a model of Keras 3, still without its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import keras

from processor.model.convert.legacy import first
from processor.model.convert.legacy.operations import Operation, operation_of
from processor.model.convert.legacy.settings import repaired
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.repairs import import_remedy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    Described = dict[str, Any]
    Reference = tuple[str, int, int]

_CONSTANT: Final = "_CONSTANT_VALUE"
_MODELS: Final = {"Model", "Functional", "Sequential"}
_LISTS_OF_STATES: Final = (keras.layers.RNN, keras.layers.Bidirectional)
# They run code, or read files that the description names.
_NEVER: Final = {
    "Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "StringLookup", "IntegerLookup",
    "TextVectorization",
}  # fmt: skip


@dataclass(eq=False)
class Rebuilt:
    """A model of the old file, and its layers as the file names and orders them.

    layers: by the file's names; a model among them is a Rebuilt of its own; kinds: the classes, as the file names them.
    """

    model: Any
    layers: dict[str, Any]
    kinds: dict[str, str]


@dataclass
class Builder:
    """Builds layers, and calls them as described.

    keras_1: whether Keras 1 wrote the description; repairs: what was repaired so far, a sentence each."""

    keras_1: bool
    repairs: list[str] = field(default_factory=list)

    def build(self, described: Described) -> Rebuilt:
        """The model that is described.

        Raises:
            ConversionRefused: a layer in it is not one of Keras', or cannot be repaired.
            Exception: any, where the description is wrong or names what Keras 3 does not have.
        """
        inner = described["config"]
        if described["class_name"] == "Sequential":
            return self.sequential(inner if isinstance(inner, dict) else {"layers": inner}, described.get("name"))
        return self.functional(inner)

    def sequential(self, inner: dict[str, Any], name: str | None) -> Rebuilt:
        """A list of layers; before Keras 2.2.3 the bare list was all of its description."""
        listed = inner["layers"]
        merged = self.keras_1 and listed and listed[0]["class_name"] == "Merge" and "layers" in listed[0]["config"]
        stack, layers, kinds = [], {}, {}
        if merged:
            return self.functional(first.of_branches(listed))
        given = _input_of(listed[0]) or _shape_of_build(inner)
        if given is not None:
            stack.append(keras.Input(**given))
            if listed[0]["class_name"] != "InputLayer":
                shape = tuple(given["batch_shape"])
                self.repairs.append(f"{_name_of(listed[0])}: its batch_input_shape {shape} became an input layer.")
        for entry in listed:
            if entry["class_name"] == "InputLayer":
                continue
            made = self.made(entry)
            layers[_name_of(entry)], kinds[_name_of(entry)] = made, entry["class_name"]
            stack.append(_layer(made))
        if given is None and stack and isinstance(stack[0], keras.Model) and stack[0].built:
            stack.insert(0, keras.Input(batch_shape=stack[0].inputs[0].shape, dtype=stack[0].inputs[0].dtype))
        label = inner.get("name") or name
        return Rebuilt(keras.Sequential(stack, name=self.named(label) if label else None), layers, kinds)

    def functional(self, inner: dict[str, Any]) -> Rebuilt:
        """Layers, and for each of their calls (nodes) the tensors that it takes."""
        return _Calls(self, inner).run()

    def made(self, entry: Described) -> Any:
        """The layer, operation or model (as a Rebuilt) of one entry."""
        kind = entry["class_name"]
        if kind in _MODELS or "input_layers" in (entry["config"] if isinstance(entry["config"], dict) else {}):
            return self.build({"name": _name_of(entry), **entry})
        operation = operation_of(entry)
        return operation if operation is not None else self.layer(entry)

    def layer(self, entry: Described) -> Any:
        """A layer or a cell, those inside it built first."""
        settings, label = dict(entry["config"]), _name_of(entry)
        kind = first.modern(entry["class_name"], settings) if self.keras_1 else entry["class_name"]
        kind, done = repaired(kind, settings, label)
        self.repairs += done
        if "name" in settings:
            settings["name"] = self.named(settings["name"])
        for key, value in settings.items():
            if isinstance(value, dict) and "class_name" in value:
                settings[key] = _layer(self.made(value))
            elif key in ("cell", "cells") and isinstance(value, list):
                settings[key] = [self.layer(item) for item in value]
        known = keras.saving.get_registered_object(str(entry.get("registered_name") or kind))
        if known is not None:
            return known.from_config(settings)
        found = vars(keras.layers).get(kind)
        if kind in _NEVER or not (isinstance(found, type) and issubclass(found, keras.layers.Layer)):
            raise ConversionRefused(
                f"The file's layer {label!r} is a {entry['class_name']}. It is not one of Keras' own that can be read.",
                layer=label,
                reason=Obstacle.CUSTOM_CODE if kind not in vars(keras.layers) else Obstacle.UNREADABLE,
                remedies=[
                    *([import_remedy(kind)] if kind not in vars(keras.layers) else []),
                    f"Put a layer of Keras in the place of {label!r}, and save the model again.",
                ],
            )
        is_trained = settings.pop("trainable", True)
        layer = found(**settings)
        layer.trainable = bool(is_trained)
        return layer

    def named(self, name: str, taken: Collection[str] = ()) -> str:
        """A name without slashes, which Keras 3 refuses, and not one of those taken."""
        if "/" not in name:
            return name
        plain = name.replace("/", "_")
        while plain in taken:
            plain += "_"
        self.repairs.append(f"{name}: became {plain}, for Keras 3 allows no slash in a name.")
        return plain


class _Waits(Exception):
    """A call takes a tensor that no call gave yet."""


@dataclass
class _Calls:
    """The tensors of a functional model, as far as its layers were called. given: by layer and the rank of the call."""

    builder: Builder
    inner: dict[str, Any]
    layers: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    given: dict[tuple[str, int], list[Any]] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    def run(self) -> Rebuilt:
        waiting: list[tuple[str, int, Any]] = []
        taken = {name for name in map(_name_of, self.inner["layers"]) if "/" not in name}
        for entry in self.inner["layers"]:
            name = _name_of(entry)
            self.kinds[name] = entry["class_name"]
            if entry["class_name"] == "InputLayer":
                self.given[name, 0] = [keras.Input(**_input_of(entry) or {}, name=self.builder.named(name))]
                continue
            if "/" in name and isinstance(entry["config"], dict):
                entry = {**entry, "config": {**entry["config"], "name": self.builder.named(name, taken)}}
            self.layers[name] = self.builder.made(entry)
            waiting += [(name, rank, node) for rank, node in enumerate(entry["inbound_nodes"])]
        self._find_skipped(waiting)
        while waiting:
            left = [call for call in waiting if not self._called(*call)]
            if len(left) == len(waiting):
                raise ValueError(f"the calls of {', '.join(sorted({name for name, _, _ in left}))} wait for each other")
            waiting = left
        inputs, outputs = (self._filled(self.inner[key], None) for key in ("input_layers", "output_layers"))
        label = self.inner.get("name")
        model = keras.Model(_alone(inputs), _alone(outputs), name=self.builder.named(label) if label else None)
        return Rebuilt(model, self.layers, self.kinds)

    def _find_skipped(self, calls: list[tuple[str, int, Any]]) -> None:
        """A model inside has a call of its own already, which Keras 1 and 2 count and do not write down."""
        counts: dict[str, int] = {}
        for name, rank, _ in calls:
            counts[name] = max(counts.get(name, 0), rank + 1)
        named = [*(node for _, _, node in calls), self.inner["output_layers"]]
        for name, rank, _ in (reference for node in named for reference in _references(node)):
            if isinstance(self.layers.get(name), Rebuilt) and rank >= counts.get(name, 0):
                self.skipped[name] = 1

    def _called(self, name: str, rank: int, node: Any) -> bool:
        options: dict[str, Any] = {}
        try:
            taken = self._filled(node, options)
            options = {key: self._filled(value, None) for key, value in options.items()}
        except _Waits:
            return False
        layer = self.layers[name]
        if isinstance(layer, Operation):
            made = layer(taken, options)
        else:
            options = {key: value for key, value in options.items() if value is not None and value is not False}
            made = _call(_layer(layer), _alone(taken), options)
        self.given[name, rank] = keras.tree.flatten(made)
        return True

    def _filled(self, value: Any, options: dict[str, Any] | None) -> Any:
        """A structure with tensors for its references, whose options of the call (the fourth place) are gathered."""
        if _is_reference(value):
            name, rank, place = value[:3]
            if options is not None and len(value) > 3:
                options |= value[3]
            if name == _CONSTANT:
                return place
            if name not in self.layers and (name, 0) not in self.given:
                raise ValueError(f"a call takes an output of {name!r}, which there is not")
            found = self.given.get((name, rank - self.skipped.get(name, 0)))
            if found is None:
                raise _Waits
            return found[place]
        if isinstance(value, list):
            return [self._filled(item, options) for item in value]
        if isinstance(value, dict):
            return {key: self._filled(item, options) for key, item in value.items()}
        return value


def _call(layer: Any, given: Any, options: dict[str, Any]) -> Any:
    """One call. Keras 2 put the states that a recurrent layer begins with behind its input."""
    if isinstance(given, list) and len(given) > 1 and isinstance(layer, _LISTS_OF_STATES):
        given, options = given[0], {"initial_state": given[1:], **options}
    if "initial_state" in options and not isinstance(layer, keras.layers.Bidirectional):
        options["initial_state"] = _alone(options["initial_state"])
    return layer(given, **options)


def _is_reference(value: Any) -> bool:
    """[name of a layer, number of its call, number of the output, options of the call]."""
    if not isinstance(value, list) or len(value) not in (3, 4) or not isinstance(value[0], str):
        return False
    whole = [isinstance(item, int) and not isinstance(item, bool) for item in value[1:3]]
    return (all(whole) or (value[0] == _CONSTANT and whole[0])) and (len(value) == 3 or isinstance(value[3], dict))


def _references(value: Any) -> Iterator[Reference]:
    if _is_reference(value):
        yield value[0], value[1], value[2]
        value = value[3] if len(value) > 3 else None
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _references(item)


def _name_of(entry: Described) -> str:
    inner = entry.get("config")
    return str(entry.get("name") or (inner.get("name") if isinstance(inner, dict) else None) or entry["class_name"])


def _layer(made: Any) -> Any:
    return made.model if isinstance(made, Rebuilt) else made


def _alone(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _input_of(entry: Described) -> dict[str, Any] | None:
    """What an input takes, as a layer's settings tell it; None where they do not."""
    settings = entry["config"]
    if not isinstance(settings, dict):
        return None
    shape = settings.get("batch_input_shape") or settings.get("batch_shape")
    if shape is None:
        return _input_of(settings["layer"]) if isinstance(settings.get("layer"), dict) else None
    dtype = settings.get("dtype") or settings.get("input_dtype")
    if entry["class_name"] == "Embedding":
        dtype = "int32"
    given: dict[str, Any] = {"batch_shape": tuple(shape), "dtype": dtype if _is_plain(dtype) else "float32"}
    return given | {key: True for key in ("sparse", "ragged") if settings.get(key)}


def _is_plain(dtype: Any) -> bool:
    return isinstance(dtype, str) and dtype in ("float16", "float32", "float64", "int32", "int64", "uint8", "bool")


def _shape_of_build(inner: dict[str, Any]) -> dict[str, Any] | None:
    shape = inner.get("build_input_shape")
    return {"batch_shape": tuple(shape)} if isinstance(shape, list) else None
