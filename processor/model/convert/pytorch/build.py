"""A described PyTorch model as a Keras model with its weights: from there on it is converted like any other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from processor.model.convert.pytorch.calls import called
from processor.model.convert.pytorch.description import RECURRENT, Description, outputs_of
from processor.model.convert.pytorch.modules import Built, module_of
from processor.model.convert.pytorch.values import Unknown, Value, Zeros
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUPPORTED: Final = "docs/converter.md has the table of what is followed; put one of these in the place of {layer}."


def keras_model(description: Description, name: str) -> Any:
    """The Keras model that answers as the described one.

    Raises:
        ConversionRefused: a module or a call in it has no counterpart here.
    """
    return _Builder(description, name).run()


@dataclass
class _Builder:
    """The values of the nodes so far, and the layers made for the modules: one that is called again is the same."""

    description: Description
    name: str
    values: list[Any] = field(default_factory=list)
    made: dict[str, Built] = field(default_factory=dict)
    inputs: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Any:
        nodes = self.description.nodes
        for node in nodes:
            label = str(node["name"]) if node.get("name") else self.name
            try:
                self.values.append(self.value(node))
            except InTheWay as obstacle:
                raise _refused(label, node, self.description, obstacle) from None
        outputs: dict[str, Any] = {}
        if len(outputs_of(nodes, self.description.modules)) != len(self.description.answers):
            raise ValueError("there are not as many answers as outputs")
        for name, _, number in outputs_of(nodes, self.description.modules):
            value = self.values[number]
            if not isinstance(value, Value) or value.batch > 1:
                raise _refused(name, nodes[number], self.description, InTheWay(Obstacle.NO_RULE, "It is no output."))
            outputs[name] = value.tensor
        model = keras.Model(self.inputs, outputs, name=_plain(self.name))
        for built in self.made.values():
            for layer, weights in built.weighted:
                layer.set_weights(weights)
        return model

    def value(self, node: dict[str, Any]) -> Any:
        """What a node gives."""
        kind = node["op"]
        if kind == "input":
            return self.input(node)
        if kind == "fixed":
            return None
        if kind == "weight":
            weight = self.description.weights.get(node["name"])
            if weight is None or not np.any(weight):
                return Zeros()
            raise InTheWay(Obstacle.NO_RULE, "It is a number of the model's own outside of its layers.")
        if kind == "output":
            return None
        given, options = self.filled(node["args"]), {k: self.filled(v) for k, v in node["kwargs"].items()}
        if kind == "module":
            return self.module(node, given, options)
        return called(node["name"], given, options)

    def input(self, node: dict[str, Any]) -> Value:
        shape = [None if size is None else int(size) for size in node["shape"]]
        name, time = node["name"], int(node["time"])
        recorded = self.description.inputs[name].shape
        if recorded[2:] != tuple(size for axis, size in enumerate(shape) if axis != time) or (
            shape[time] not in (None, recorded[1])
        ):
            raise ValueError(f"the recorded sequences of the input {name!r} have another shape than it")
        tensor = keras.Input(tuple(shape), dtype="int32" if node["tokens"] else "float32", name=_plain(node["name"]))
        self.inputs[_plain(node["name"])] = tensor
        return Value(tensor, int(node["batch"]))

    def filled(self, value: Any) -> Any:
        """An argument with the values of the nodes that it names."""
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "node" in value:
            return self.values[value["node"]]
        if "slice" in value:
            return slice(*(self.filled(item) for item in value["slice"]))
        return Ellipsis if "ellipsis" in value else Unknown()

    def module(self, node: dict[str, Any], given: list[Any], options: dict[str, Any]) -> Any:
        name = node["name"]
        if name not in self.made:
            told = self.description.modules[name]
            prefix = f"{name}." if name else ""
            weights = {
                key[len(prefix) :]: value for key, value in self.description.weights.items() if key.startswith(prefix)
            }
            self.made[name] = module_of(
                told["kind"], told["options"], weights, _plain(name or told["kind"].lower()), self.asks_states(name)
            )
        return self.made[name].call(*given, **options)

    def asks_states(self, name: str) -> bool:
        """Whether anything but the output takes the states of a recurrent module."""
        nodes = self.description.nodes
        if self.description.modules[name]["kind"] not in RECURRENT:
            return False
        calls = {n for n, node in enumerate(nodes) if node["op"] == "module" and node["name"] == name}
        taken = {
            n
            for n, node in enumerate(nodes)
            if node.get("name") == "getitem" and node["args"][0].get("node") in calls and node["args"][1] == 1
        }
        return any(taken & set(_named(node.get("args"))) for node in nodes if node["op"] != "output")


def _named(value: Any) -> Iterable[int]:
    if isinstance(value, list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, dict):
        if "node" in value:
            yield value["node"]
        for item in value.values():
            yield from _named(item) if isinstance(item, list | dict) else ()


def _plain(name: str) -> str:
    """A name that Keras takes."""
    return name.replace(".", "_").replace("/", "_")


def _refused(name: str, node: dict[str, Any], description: Description, obstacle: InTheWay) -> ConversionRefused:
    kind = description.modules[node["name"]]["kind"] if node["op"] == "module" else node.get("name", node["op"])
    return ConversionRefused(
        f"{name!r} ({kind}) of the PyTorch model has no counterpart here.",
        layer=name,
        reason=obstacle.obstacle,
        cause=obstacle.cause,
        remedies=[remedy.replace("{layer}", repr(name)) for remedy in obstacle.remedies or (_SUPPORTED,)],
    )
