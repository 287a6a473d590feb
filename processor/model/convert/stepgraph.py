"""The step graph: a machine as one function of a sample and a state's words, and its LiteRT flatbuffer."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from processor.model.artifact import Slot
from processor.model.convert.litert import as_litert_has_it
from processor.model.convert.names import plain, plain_variables
from processor.model.convert.quiet import silence
from processor.model.convert.refusal import ConversionRefused, Obstacle
from processor.model.convert.toggles import inference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from processor.model.convert.interface import Interface
    from processor.model.convert.machine import Machine
    from processor.model.convert.rules import Tensor

SIGNATURE: Final = "step"
_KINDS: Final = {"float32": "f32", "int32": "i32"}
_LACKING: Final = re.compile(r"'tf\.(\w+)' op is neither")
"""How TensorFlow's converter names an operation that LiteRT does not have."""
_HIDDEN_STATE: Final = ("While", "Random", "Assign", "TensorList")
"""Operations that would make the step anything else than a pure function of bounded work."""


@dataclass(frozen=True, eq=False)
class Step:
    """One sample's function: a machine, and how its pieces lie in a state's vector.

    order: for each slot of the layout, the place of its piece among those of the machine.
    """

    machine: Machine
    layout: tuple[Slot, ...]
    order: tuple[int, ...]
    initial: NDArray[np.float32]  # [words]

    @property
    def interface(self) -> Interface:
        return self.machine.interface

    @property
    def widths(self) -> dict[str, int]:
        """How many words there are of each type that there is."""
        kinds = dict.fromkeys(_KINDS, 0)
        for slot in self.layout:
            kinds[slot.dtype] += slot.stop - slot.start
        return {kind: words for kind, words in kinds.items() if words}

    @property
    def following(self) -> list[str]:
        """The outputs that hold the state after the step, one a type, in the order of `widths`."""
        return [f"next_{_KINDS[kind]}" for kind in self.widths]

    def slots_of(self, name: str) -> list[str]:
        """The slots of one call."""
        return [slot.name for slot in self.layout if slot.name.rpartition(".")[0] == name]

    def answer(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The step graph's own inputs -> its outputs."""
        features = [tensors[f"input_{rank}"] for rank in range(len(self.interface.entries))]
        outputs, after = self.machine.answer(features, self.take_apart(tensors))
        return {f"output_{rank}": y for rank, y in enumerate(outputs)} | self._put_together(after)

    def take_apart(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """`state_f32` and `state_i32` -> the pieces, in the order of the machine, [B, *shape] each."""
        pieces: list[Tensor] = [None] * len(self.layout)
        for kind, short in _KINDS.items():
            mine = [(place, slot) for place, slot in zip(self.order, self.layout, strict=True) if slot.dtype == kind]
            if not mine:
                continue
            parts = tf.split(tensors[f"state_{short}"], [slot.stop - slot.start for _, slot in mine], axis=1)
            for (place, slot), part in zip(mine, parts, strict=True):
                pieces[place] = part if len(slot.shape) == 1 else tf.reshape(part, (-1, *slot.shape))
        return pieces

    def _put_together(self, after: Sequence[Tensor]) -> dict[str, Tensor]:
        following = {}
        for kind, short in _KINDS.items():
            parts = [
                after[place] if len(slot.shape) == 1 else tf.reshape(after[place], (-1, slot.stop - slot.start))
                for place, slot in zip(self.order, self.layout, strict=True)
                if slot.dtype == kind
            ]
            if parts:
                following[f"next_{short}"] = tf.concat(parts, axis=1)
        return following


def plan(machine: Machine) -> Step:
    """Lays the pieces of a machine out in a vector: float32 first, then int32, each in the order of the graph."""
    kinds = ["int32" if piece.initial.dtype.kind == "i" else "float32" for _, piece in machine.pieces]
    order = sorted(range(len(kinds)), key=lambda place: kinds[place] == "int32")
    slots: list[Slot] = []
    words: list[NDArray[np.float32]] = []
    for place in order:
        name, piece = machine.pieces[place]
        start = slots[-1].stop if slots else 0
        slots.append(Slot(name, tuple(piece.initial.shape), kinds[place], start, start + piece.initial.size))
        words.append(np.ravel(piece.initial).astype(kinds[place]).view(np.float32))
    initial = np.concatenate(words) if words else np.zeros(0, np.float32)
    return Step(machine, tuple(slots), tuple(order), initial)


def flatbuffer(step: Step, name: str) -> bytes:
    """The step as LiteRT runs it: signature `step`, any number of rows, builtin operations only. `name`: the model's.

    Raises:
        ConversionRefused: an operation of the model has no counterpart in LiteRT.
    """
    concrete = traced(step, name)
    module = tf.Module()
    module.weights = [variable.value for variable in step.machine.variables]
    module.function = concrete
    try:
        with silence(), plain_variables(step.machine.variables), tempfile.TemporaryDirectory() as directory:
            tf.saved_model.save(module, directory, signatures={SIGNATURE: concrete})
            converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            content = converter.convert()
    except ConverterError as error:
        lacking = sorted(set(_LACKING.findall(str(error))))
        raise _not_in_litert(step, name, concrete, lacking) from error
    return bytes(content)


def traced(step: Step, name: str) -> Any:
    """The step as one TensorFlow function of the samples, then of the state's words. `name`: the model's.

    Raises:
        ConversionRefused: a step would loop, be random, or remember something beside its state.
    """
    specs = [
        tf.TensorSpec((None, *spec.shape), tf.dtypes.as_dtype(spec.dtype), name=f"input_{rank}")
        for rank, spec in enumerate(step.interface.inputs)
    ]
    specs += [
        tf.TensorSpec((None, words), tf.dtypes.as_dtype(kind), name=f"state_{_KINDS[kind]}")
        for kind, words in step.widths.items()
    ]

    def answer(*tensors: Tensor) -> dict[str, Tensor]:
        return step.answer({spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)})

    function = tf.function(answer, input_signature=specs, autograph=False)
    with silence(), as_litert_has_it(), inference():
        concrete = function.get_concrete_function()
    hidden = sorted(kind for kind in operations(concrete) if any(part in kind for part in _HIDDEN_STATE))
    if hidden:
        raise _not_in_litert(step, name, concrete, hidden)
    return concrete


def operations(concrete: Any) -> set[str]:
    """The kinds of TensorFlow's operations in a traced function."""
    return {node.op for node in _nodes(concrete)}


def _nodes(concrete: Any) -> list[Any]:
    outputs = [tensor.op.name for tensor in concrete.outputs]
    definition = tf.compat.v1.graph_util.extract_sub_graph(concrete.graph.as_graph_def(), outputs)
    return [*definition.node, *(node for function in definition.library.function for node in function.node_def)]


def _not_in_litert(step: Step, name: str, concrete: Any, kinds: list[str]) -> ConversionRefused:
    """`kinds`: TensorFlow's operations that no step can hold, because LiteRT lacks them or because of what they do."""
    layer = _layer_of(step, [node.name for node in _nodes(concrete) if node.op in kinds])
    where = f"layer {layer!r}" if layer else f"model {name!r}"
    listed = ", ".join(kinds) or "an operation that its converter does not name"
    if any(part in kind for kind in kinds for part in _HIDDEN_STATE):
        fact = f"A step of the {where} would do more than compute."
        cause = f"It would loop, be random, or remember something beside its state: {listed}."
    else:
        fact = f"The {where} uses an operation that LiteRT does not have."
        cause = f"LiteRT lacks {listed}, and the service steps models by LiteRT alone."
    what = f"the layer {layer!r}" if layer else "what calls it"
    return ConversionRefused(
        fact,
        layer=layer or name,
        reason=Obstacle.NO_RULE,
        cause=cause,
        remedies=[f"Replace {what} by layers that do without {listed}, and train the model again."],
    )


def _layer_of(step: Step, nodes: list[str]) -> str | None:
    """The call that the first of these nodes belongs to: Keras names the scope of a call after its layer."""
    machine: Any = step.machine
    while hasattr(machine, "machine"):  # what keeps and counts around it
        machine = machine.machine
    graph = getattr(machine, "graph", None)
    if graph is None:
        known = {plain(layer.name): layer.name for layer in machine.model._flatten_layers(include_self=False)}
    else:  # a layer may stand inside of another's call: that of a wrapper, the cell of an RNN
        known = {
            plain(inner.name): call.path
            for call in graph.calls
            if hasattr(call.layer, "_flatten_layers")
            for inner in call.layer._flatten_layers()
        }
    parts = [part for node in nodes for part in node.split("/")]
    # TensorFlow numbers a scope that it has met before.
    names = (name for part in parts for name in (part, part.rpartition("_")[0]))
    return next((known[name] for name in names if name in known), None)
