"""A described PyTorch model as a Keras model with its weights: from there on it is converted like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras

from processor.model.convert.pytorch.description import Description, outputs_of
from processor.model.convert.pytorch.evaluation import Evaluation, plain
from processor.model.convert.pytorch.rounds import sequences_of
from processor.model.convert.pytorch.tensors import value_of
from processor.model.convert.pytorch.values import Stack, Value
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUPPORTED: Final = "docs/converter.md has the table of what is followed; put one of these in the place of {layer}."


def keras_model(description: Description, name: str) -> Any:
    """The Keras model that answers as the described one.

    Raises:
        ConversionRefused: a module or a call in it has no counterpart here.
    """
    nodes = description.nodes
    evaluation, values = Evaluation(description), list[Any]()
    inputs: dict[str, Any] = {}
    for node in nodes:
        label = str(node["name"]) if node.get("name") else name
        try:
            if node["op"] == "input":
                values.append(_input(node, description, inputs))
            elif node["op"] == "loop":
                values.append(sequences_of(node, values, description, label))
            else:
                values.append(evaluation.value(node, values))
        except InTheWay as obstacle:
            raise _refused(label, node, description, obstacle) from None
    outputs = _outputs(description, values)
    model = keras.Model(inputs, outputs, name=plain(name))
    evaluation.fill()
    return model


def _input(node: Mapping[str, Any], description: Description, inputs: dict[str, Any]) -> Value:
    shape = [None if size is None else int(size) for size in node["shape"]]
    name, time = node["name"], int(node["time"])
    recorded = description.inputs[name].shape
    if recorded[2:] != tuple(size for axis, size in enumerate(shape) if axis != time) or (
        shape[time] not in (None, recorded[1])
    ):
        raise ValueError(f"the recorded sequences of the input {name!r} have another shape than it")
    tensor = keras.Input(tuple(shape), dtype="int32" if node["tokens"] else "float32", name=plain(name))
    inputs[plain(name)] = tensor
    return Value.with_batch(tensor, int(node["batch"]))


def _outputs(description: Description, values: list[Any]) -> dict[str, Any]:
    nodes, found = description.nodes, outputs_of(description.nodes, description.modules)
    if len(found) != len(description.answers):
        raise ValueError("there are not as many answers as outputs")
    outputs: dict[str, Any] = {}
    for name, _, number in found:
        try:
            if not isinstance(values[number], Value | Stack):
                raise InTheWay(Obstacle.NO_RULE, "It is no output.")
            outputs[name] = _as_output(value_of(values[number]))
        except InTheWay as obstacle:
            raise _refused(name, nodes[number], description, obstacle) from None
    return outputs


def _as_output(value: Value) -> Any:
    """The tensor, [B, T, ...] or [B, ...]."""
    if value.batch > 1 or len(value.axes[value.batch]) > 1:
        raise InTheWay(Obstacle.NO_RULE, "It is no output: its rows are not those of the batch.")
    return value.straight().tensor


def _refused(name: str, node: dict[str, Any], description: Description, obstacle: InTheWay) -> ConversionRefused:
    kind = description.modules[node["name"]]["kind"] if node["op"] == "module" else node.get("name", node["op"])
    return ConversionRefused(
        f"{name!r} ({kind}) of the PyTorch model has no counterpart here.",
        layer=name,
        reason=obstacle.obstacle,
        cause=obstacle.cause,
        remedies=[remedy.replace("{layer}", repr(name)) for remedy in obstacle.remedies or (_SUPPORTED,)],
    )
