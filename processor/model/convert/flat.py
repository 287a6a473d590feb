"""A trained model as one flat graph: nested models, subclassed models and layers of one's own opened up.

The model is called once more, on symbolic inputs, with the layers that it has: what its layers and operations do with
them is recorded by Keras as a graph, masks as tensors of their own among it. Where a model or a layer has code of its
own, that code runs, and records whatever it calls. Nothing of the model is changed that `untouched` does not put back.
"""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import keras
from keras.src.models.functional import Functional

from processor.model.convert.along import RepeatedAlong, for_this_length
from processor.model.convert.names import functional
from processor.model.convert.quiet import silence
from processor.model.convert.refusal import ConversionRefused, Obstacle, in_its_words
from processor.model.convert.reshapes import for_any_length
from processor.model.convert.rules.base import RULES, kind_of
from processor.model.convert.toggles import inference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processor.model.convert.along import Along

    Substitute = Callable[[Any], Any]

_MOST_DEPTH: Final = 32
_DECLARE: Final = (
    "Declare its step: give the model's class the methods initial_state() and step(features, state), see "
    "docs/converter.md; the certificate then checks them."
)


@dataclass(frozen=True, eq=False)
class Flat:
    """A model whose graph holds no other model.

    graph: a functional keras.Model over the recorded calls; inputs and outputs: its tensors, in the order of the
    model's own; paths: by node, where it stands in the model (`encoder/lstm`);
    closed: by layer, why one could not be opened up.
    """

    graph: Any
    inputs: list[Any]
    outputs: list[Any]
    paths: dict[int, str]
    closed: dict[int, ConversionRefused]

    @property
    def repeats(self) -> bool:
        """Whether a static input goes along with each sample."""
        return any(isinstance(operation, RepeatedAlong) for operation in self.graph.operations)

    def nodes(self) -> Iterator[Any]:
        """The recorded calls: each after those whose tensors it takes, calls of one layer in the order of writing."""
        for depth in sorted(self.graph._nodes_by_depth, reverse=True):
            yield from _in_order(self.graph._nodes_by_depth[depth])

    def path(self, node: Any) -> str:
        return self.paths.get(id(node), str(node.operation.name))


def flatten(model: Any, inputs: Any, substitute: Substitute | None = None, sequence: Along | None = None) -> Flat:
    """Records the calls of a model on these symbolic inputs (keras.Input tensors, in the model's own structure).

    substitute: takes a layer and gives the one that is called in its place; sequence: of these inputs, where what names
    its length is to fit any.

    Raises:
        ConversionRefused: a model or a layer has code of its own that does not run on symbolic tensors.
    """
    recorder = _Recorder(substitute or (lambda layer: layer), sequence)
    with silence(), inference():
        outputs = recorder.call_model(model, (inputs,), {}, "")
    flat_inputs, flat_outputs = keras.tree.flatten(inputs), keras.tree.flatten(outputs)
    given = {id(tensor) for tensor in flat_inputs}
    # An output that is an input itself has no node of its own.
    flat_outputs = [keras.layers.Identity()(y) if id(y) in given else y for y in flat_outputs]
    graph = functional(flat_inputs, flat_outputs)
    return Flat(graph, flat_inputs, flat_outputs, recorder.paths, recorder.closed)


def graph_of(model: Any) -> Any | None:
    """The functional graph of a model as Keras keeps it, or None where its calls are code of its own.

    Raises:
        ConversionRefused: it was never built.
    """
    if isinstance(model, keras.Sequential):
        if type(model).call is not keras.Sequential.call:
            return None
        if model._functional is None:
            raise not_built(model)
        return model._functional
    return model if isinstance(model, Functional) and type(model).call is Functional.call else None


def not_built(model: Any) -> ConversionRefused:
    return ConversionRefused(
        f"The model {model.name!r} was never built.",
        layer=model.name,
        reason=Obstacle.NOT_BUILT,
        remedies=["Begin the model with keras.Input((None, features)), or fit it, before it is converted."],
    )


@contextlib.contextmanager
def untouched(model: Any) -> Iterator[None]:
    """What is recorded inside is forgotten afterwards: the model's layers are as they were."""
    marks = [
        (nodes, len(nodes))
        for layer in model._flatten_layers()
        for nodes in (layer._inbound_nodes, layer._outbound_nodes)
    ]
    try:
        yield
    finally:
        for nodes, length in marks:
            del nodes[length:]


def _in_order(nodes: list[Any]) -> list[Any]:
    """Calls of equal depth, those of one layer in the order in which they were made."""
    return sorted(nodes, key=lambda node: node.operation._inbound_nodes.index(node))


@dataclass
class _Recorder:
    """Calls models and layers on symbolic tensors, and notes where in the model each recorded call stands."""

    substitute: Substitute
    sequence: Along | None = None
    paths: dict[int, str] = field(default_factory=dict)
    closed: dict[int, ConversionRefused] = field(default_factory=dict)
    depth: int = 0

    def call_model(self, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], prefix: str) -> Any:
        graph = graph_of(model)
        if graph is None:
            return self.run_code(model, args, kwargs, prefix)
        given = keras.tree.flatten(args[0] if args else kwargs.get("inputs"))
        mask = kwargs.get("mask")
        for tensor, its in zip(given, keras.tree.flatten(mask) if mask is not None else (), strict=False):
            if its is not None:
                keras.src.backend.set_keras_mask(tensor, its)
        outputs = self.run_graph(graph, given, prefix)
        return keras.tree.pack_sequence_as(graph._outputs_struct, outputs)

    def run_graph(self, graph: Any, given: list[Any], prefix: str, paths: dict[int, str] | None = None) -> list[Any]:
        """Every call of a graph again, on other tensors."""
        values = {id(tensor): fresh for tensor, fresh in zip(graph.inputs, given, strict=True)}
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in _in_order(graph._nodes_by_depth[depth]):
                if node.is_input or any(id(tensor) not in values for tensor in node.input_tensors):
                    continue
                args, kwargs = node.arguments.fill_in(values)
                path = (paths or {}).get(id(node), node.operation.name)
                outputs = self.call(node.operation, args, kwargs, prefix + path)
                values |= {
                    id(tensor): fresh for tensor, fresh in zip(node.outputs, keras.tree.flatten(outputs), strict=True)
                }
        return [values[id(tensor)] for tensor in graph.outputs]

    def call(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> Any:
        """One call: opened up where there is something inside, else recorded as it is."""
        kwargs = _without_default_training(operation, kwargs)
        if not is_opened(operation) or kwargs.get("training"):
            return self.record(operation, args, kwargs, path)
        if self.depth >= _MOST_DEPTH:
            raise not_followed(operation, "It calls itself.")
        given = _with_mask(operation, args, kwargs)
        before = given.get("mask")
        if before is None:
            before = keras.tree.map_structure(_mask_of, args[0] if args else None)
        self.depth += 1
        try:
            if isinstance(operation, keras.Model):
                outputs = self.call_model(operation, args, given, path + "/")
            else:
                outputs = self.run_code(operation, args, given, path + "/")
        except ConversionRefused as refusal:
            if isinstance(operation, keras.Model):
                raise
            # A layer may stay closed where it need not be stepped: once time is gone, or in a model that is run whole.
            self.closed[id(operation)] = refusal
            return self.record(operation, args, kwargs, path)
        finally:
            self.depth -= 1
        if operation.supports_masking and args:
            operation._set_mask_metadata(args[0], outputs, before)
        return outputs

    def record(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], path: str) -> Any:
        """One call as it is."""
        called, args = for_this_length(self.substitute(operation), args, self.sequence)
        if args and isinstance(args[0], keras.KerasTensor):
            called = for_any_length(called, args[0].shape)
        outputs = called(*args, **_with_mask(called, args, kwargs))
        self.paths[id(called._inbound_nodes[-1])] = path
        return outputs

    def run_code(self, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], prefix: str) -> Any:
        """The code of a model or a layer, run on symbolic tensors; then what it called, opened up in its turn."""
        taken = [tensor for tensor in keras.tree.flatten((args, kwargs)) if isinstance(tensor, keras.KerasTensor)]
        masks = [mask for tensor in taken if (mask := _mask_of(tensor)) is not None]
        flat = list({id(tensor): tensor for tensor in taken + masks}.values())
        fresh = {id(tensor): _like(tensor, rank) for rank, tensor in enumerate(flat)}
        for tensor in taken:
            if (mask := _mask_of(tensor)) is not None:
                keras.src.backend.set_keras_mask(fresh[id(tensor)], fresh[id(mask)])

        def swap(value: Any) -> Any:
            return fresh[id(value)] if isinstance(value, keras.KerasTensor) else value

        inner_args, inner_kwargs = keras.tree.map_structure(swap, args), keras.tree.map_structure(swap, kwargs)
        if getattr(owner, "_call_has_training_arg", False):
            inner_kwargs = {"training": False} | inner_kwargs
        try:
            outputs = owner.call(*inner_args, **inner_kwargs)
            inside = functional(list(fresh.values()), keras.tree.flatten(outputs))
        except ConversionRefused:
            raise
        except Exception as error:  # whatever the code of a user raises is about that code
            raise not_followed(owner, f"Run on symbolic tensors, it raises: {in_its_words(error)}") from error
        found = self.run_graph(inside, flat, prefix)
        return keras.tree.pack_sequence_as(outputs, found)


def is_opened(operation: Any) -> bool:
    """Whether a call is looked into: models, and layers of the user's own without a rule."""
    kind = kind_of(operation)
    if kind in RULES:
        return False
    if isinstance(operation, keras.Model):
        return True
    if not isinstance(operation, keras.layers.Layer) or isinstance(operation, keras.layers.RNN):
        return False
    return isinstance(operation, keras.layers.Lambda) or not kind.__module__.startswith("keras.")


def _with_mask(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keras fills in the mask of a layer's input by itself, and does not always record that it did.

    It does so for a layer that takes tensors for one parameter alone: an LSTM that is given initial states, too, uses
    no mask but one that it is called with.
    """
    if not getattr(layer, "_call_has_mask_arg", False) or kwargs.get("mask") is not None or len(args) != 1:
        return kwargs
    if any(isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten(list(kwargs.values()))):
        return kwargs
    mask = _mask_of(args[0])
    return kwargs if mask is None else kwargs | {"mask": mask}


def _without_default_training(operation: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keras records the default of a `call(..., training=True)` as if somebody had asked for training."""
    if not kwargs.get("training"):
        return kwargs
    parameter = inspect.signature(operation.call).parameters.get("training")
    if parameter is None or parameter.default is not kwargs["training"]:
        return kwargs
    return {name: value for name, value in kwargs.items() if name != "training"}


def _mask_of(tensor: Any) -> Any:
    return keras.src.backend.get_keras_mask(tensor) if isinstance(tensor, keras.KerasTensor) else None


def _like(tensor: Any, rank: int) -> Any:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=f"opened_{rank}")


def not_followed(owner: Any, why: str) -> ConversionRefused:
    """A model or a layer has code of its own, and `why` it cannot be followed."""
    what = "model" if isinstance(owner, keras.Model) else "layer"
    remedies = [
        f"Write call() of {type(owner).__name__} with layers and keras.ops alone, on tensors of any batch and length.",
        _DECLARE
        if what == "model"
        else f"Register a rule for {type(owner).__name__}, see docs/converter.md; the certificate then checks it.",
    ]
    return ConversionRefused(
        f"The {what} {owner.name!r} ({type(owner).__name__}) has code of its own that cannot be followed.",
        layer=owner.name,
        reason=Obstacle.NO_GRAPH if what == "model" else Obstacle.CUSTOM_CODE,
        cause=why,
        remedies=remedies,
    )
