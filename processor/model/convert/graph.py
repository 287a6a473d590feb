"""The walk over a trained model's graph: from its nodes to calls that have a rule, or to the layer in the way.

The graph is walked as one: a tensor goes to whatever takes it, a layer may be called more than once, and each call has
a state of its own. Sequential models have their graph in `_functional`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
from keras.src.models.functional import Functional

from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.rules import RULES, Call, Flow, InTheWay, Piece, Rule, refuse
from processor.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME_AXIS = 1


@dataclass(frozen=True, eq=False)
class Graph:
    """A model whose every call has a rule.

    inputs and outputs: each with the number of its tensor, in the model's order; flows and tensors (Keras' symbolic
    ones): by number; `length` is the T that the model is fixed to, and None where it takes any.
    """

    model: Any
    calls: tuple[Call, ...]
    inputs: tuple[tuple[TensorSpec, int], ...]
    outputs: tuple[tuple[TensorSpec, int], ...]
    flows: dict[int, Flow]
    tensors: dict[int, Any]
    length: int | None

    def rule(self, call: Call) -> Rule:
        return RULES[type(call.layer)]

    def pieces(self) -> Iterator[tuple[Call, Piece]]:
        """All that is remembered between two samples, in the order of the graph."""
        for call in self.calls:
            for piece in call.pieces:
                yield call, piece


def functional(model: Any) -> Any:
    """The graph of a model, as Keras keeps it.

    Raises:
        ConversionRefused: there is none.
    """
    if isinstance(model, keras.Sequential):
        if model._functional is None:
            _refuse_custom_layers(model)
            raise ConversionRefused(
                f"The model {model.name!r} was never built.",
                layer=model.name,
                reason=Obstacle.NOT_BUILT,
                remedies=["Begin the model with keras.Input((None, features)), or fit it, before it is converted."],
            )
        graph, overridden = model._functional, type(model).call is not keras.Sequential.call
    else:
        graph, overridden = model, not isinstance(model, Functional) or type(model).call is not Functional.call
    if overridden:
        raise ConversionRefused(
            f"The model {model.name!r} ({type(model).__name__}) is a class of its own.",
            layer=model.name,
            reason=Obstacle.NO_GRAPH,
            remedies=[
                "Build the same layers with keras.Sequential or keras.Model(inputs, outputs), and load the weights."
            ],
        )
    return graph


def walk(model: Any) -> Graph:
    """The calls of a model, each with its rule.

    Raises:
        ConversionRefused: something in it cannot be stepped; the error names the first such layer.
    """
    graph = functional(model)
    return _Walk(graph, model).run()


def _refuse_custom_layers(model: Any) -> None:
    """A layer whose shapes Keras cannot tell leaves a Sequential model without a graph: better to name that layer."""
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        if not type(inner).__module__.startswith("keras."):
            try:
                refuse(inner, None)
            except InTheWay as obstacle:
                raise _refused(layer, obstacle) from None


class _Walk:
    """The numbers of the tensors, and what flows in each, as far as the walk has come."""

    def __init__(self, graph: Any, model: Any) -> None:
        self.graph, self.model = graph, model
        self.numbers: dict[int, int] = {}
        self.tensors: dict[int, Any] = {}
        self.flows: dict[int, Flow | ConversionRefused] = {}
        self.calls: list[Call] = []

    def run(self) -> Graph:
        self._refuse_several()
        (tensor,) = self.graph.inputs
        length = tensor.shape[TIME_AXIS] if len(tensor.shape) > TIME_AXIS else None
        for node in self._nodes():
            if isinstance(node.operation, keras.layers.InputLayer):
                self._number(node.outputs[0], self._input_flow(node.operation))
            else:
                self._visit(node)
        inputs = self._specs(self.graph._inputs_struct, self.graph.inputs)
        outputs = self._specs(self.graph._outputs_struct, self.graph.outputs)
        flows = {number: flow for number, flow in self.flows.items() if isinstance(flow, Flow)}
        return Graph(self.model, tuple(self.calls), inputs, outputs, flows, self.tensors, length)

    def _refuse_several(self) -> None:
        for what, tensors, obstacle in (
            ("inputs", self.graph.inputs, Obstacle.SEVERAL_INPUTS),
            ("outputs", self.graph.outputs, Obstacle.SEVERAL_OUTPUTS),
        ):
            if len(tensors) != 1:
                raise ConversionRefused(
                    f"The model {self.model.name!r} has {len(tensors)} {what}.",
                    layer=self.model.name,
                    reason=obstacle,
                    remedies=[f"Convert a keras.Model with one of the {what} alone."],
                )

    def _nodes(self) -> Iterator[Any]:
        for depth in sorted(self.graph._nodes_by_depth, reverse=True):
            yield from self.graph._nodes_by_depth[depth]

    def _number(self, tensor: Any, flow: Flow | ConversionRefused) -> int:
        number = self.numbers.setdefault(id(tensor), len(self.numbers))
        self.flows[number], self.tensors[number] = flow, tensor
        return number

    def _input_flow(self, layer: Any) -> Flow:
        shape, dtype = tuple(layer.batch_shape), str(keras.backend.standardize_dtype(layer.dtype))
        if len(shape) < 3:
            raise _refused(
                layer,
                InTheWay(
                    Obstacle.NO_TIME_AXIS,
                    f"Its shape is {_shown(shape)}: a batch of samples, not of sequences.",
                    ["Give the model an input of the shape (batch, time, features)."],
                ),
            )
        if "float" not in dtype or layer.sparse or getattr(layer, "ragged", False) or None in shape[2:]:
            kind = "sparse " if layer.sparse else "ragged " if getattr(layer, "ragged", False) else ""
            raise _refused(
                layer, InTheWay(Obstacle.INPUT_TYPE, f"It takes {kind}{dtype} of the shape {_shown(shape)}.")
            )
        return Flow(shape[2:], TIME_AXIS)

    def _visit(self, node: Any) -> None:
        layer = node.operation
        try:
            if type(layer) not in RULES:
                taken = [self.flows[self.numbers[id(tensor)]] for tensor in node.arguments.keras_tensors]
                refuse(layer, next((flow for flow in taken if isinstance(flow, Flow)), None))
            sources = self._sources(node)
            rank = sum(call.layer is layer for call in self.calls)
            flows = tuple(flow for number in sources if isinstance(flow := self.flows[number], Flow))
            call = Call(layer, layer.name, rank, sources, (), flows)
            times = RULES[type(layer)].times(call)
            pieces = RULES[type(layer)].pieces(call)
        except InTheWay as obstacle:
            refusal = _refused(layer, obstacle)
            if isinstance(layer, keras.layers.Layer):
                raise refusal from None
            # An operation may only make a mask for a layer that says it better: it is refused where it is used.
            for tensor in node.outputs:
                self._number(tensor, refusal)
            return
        targets = tuple(
            self._number(tensor, Flow(self._sample_shape(layer, tensor, time), time))
            for tensor, time in zip(node.outputs, times, strict=True)
        )
        self.calls.append(replace(call, targets=targets, pieces=pieces))

    def _sources(self, node: Any) -> tuple[int, ...]:
        """The tensors that go into a layer, which has one."""
        arguments, options = node.arguments.args, node.arguments.kwargs
        if _tensors(options.get("mask")):
            raise InTheWay(Obstacle.MASK)
        if _tensors(options.get("initial_state")) or _tensors(arguments[1:]):
            raise InTheWay(Obstacle.INITIAL_STATE)
        if options.get("training"):
            raise InTheWay(Obstacle.TRAINING, "", ["Call {layer} without training=True, as Keras' own predict does."])
        if node.operation.dtype_policy.quantization_mode is not None:
            raise InTheWay(Obstacle.PRECISION, "", ["Convert the model as it was before it was quantized."])
        tensors = _tensors([arguments, options])
        if len(tensors) != 1:
            raise InTheWay(Obstacle.NO_RULE, f"It is called with {len(tensors)} tensors.")
        number = self.numbers[id(tensors[0])]
        flow = self.flows[number]
        if isinstance(flow, ConversionRefused):
            raise flow
        return (number,)

    def _sample_shape(self, layer: Any, tensor: Any, time: int | None) -> tuple[int, ...]:
        shape = tuple(size for axis, size in enumerate(tensor.shape) if axis not in (0, time))
        if None in shape:
            raise _refused(layer, InTheWay(Obstacle.INPUT_TYPE, f"It gives the shape {_shown(tensor.shape)}."))
        return shape

    def _specs(self, structure: Any, tensors: list[Any]) -> tuple[tuple[TensorSpec, int], ...]:
        """Names by the model's dict, else by layers; with each tensor's number."""
        found: list[tuple[TensorSpec, int]] = []
        for rank, tensor in enumerate(tensors):
            flow = self.flows[self.numbers[id(tensor)]]
            if isinstance(flow, ConversionRefused):
                raise flow
            keys = [key for key, value in structure.items() if value is tensor] if isinstance(structure, dict) else []
            name = keys[0] if keys else tensor._keras_history.operation.name
            taken = {spec.name for spec, _ in found}
            spec = TensorSpec(name if name not in taken else f"{name}_{rank}", flow.shape)
            found.append((spec, self.numbers[id(tensor)]))
        return tuple(found)


def _tensors(nested: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(nested) if isinstance(leaf, keras.KerasTensor)]


def _refused(layer: Any, obstacle: InTheWay) -> ConversionRefused:
    what = "layer" if isinstance(layer, keras.layers.Layer) else "operation"
    return ConversionRefused(
        f"The {what} {layer.name!r} ({type(layer).__name__}) cannot be stepped, neither in carry nor in tumbling.",
        layer=layer.name,
        reason=obstacle.obstacle,
        cause=obstacle.cause,
        remedies=[remedy.replace("{layer}", repr(layer.name)) for remedy in obstacle.remedies],
    )


def _shown(shape: Any) -> str:
    return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
