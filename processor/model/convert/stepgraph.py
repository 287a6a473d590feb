"""The step graph: the calls of a model as one function of a sample and a state, and its LiteRT flatbuffer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from processor.model.artifact import STEPS, Slot
from processor.model.convert.quiet import silence
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from processor.model.convert.graph import Graph
    from processor.model.convert.rules import Tensor
    from processor.types import TensorSpec

SIGNATURE: Final = "step"
_HIDDEN_STATE: Final = ("While", "Random", "Assign", "TensorList")
"""Operations that would make the step anything else than a pure function of bounded work."""


@dataclass(frozen=True, eq=False)
class Step:
    """One sample's function: the graph, and how its pieces lie in a state's vector."""

    graph: Graph
    length: int | None  # the N of tumbling
    layout: tuple[Slot, ...]
    initial: NDArray[np.float32]  # [words]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(spec for spec, _ in self.graph.inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(spec for spec, _ in self.graph.outputs)

    @property
    def widths(self) -> dict[str, int]:
        """How many words there are of each type that there is."""
        kinds = {"float32": 0, "int32": 0}
        for slot in self.layout:
            kinds[slot.dtype] += slot.stop - slot.start
        return {kind: words for kind, words in kinds.items() if words}

    def slots_of(self, name: str) -> list[str]:
        """The slots of one call."""
        return [slot.name for slot in self.layout if slot.name.rpartition(".")[0] == name]

    def answer(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
        """The step graph's own inputs -> its outputs, and every tensor of the model on the way, by number."""
        graph, values = self.graph, {}
        for rank, (_, number) in enumerate(graph.inputs):
            values[number] = tensors[f"input_{rank}"]
        pieces = self._take_apart(tensors)
        after: list[Tensor] = []
        for call in graph.calls:
            rule = graph.rule(call)
            mine = [pieces.pop(0) for _ in call.pieces]
            outputs, remembered = rule.step(call, [values[number] for number in call.sources], mine)
            values |= zip(call.targets, outputs, strict=True)
            after += remembered
        answers = {f"output_{rank}": values[number] for rank, (_, number) in enumerate(graph.outputs)}
        return answers | self._put_together(tensors, after), values

    def _take_apart(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        slots = [slot for slot in self.layout if slot.dtype == "float32"]
        if not slots:
            return []
        flat = tf.split(tensors["state_f32"], [slot.stop - slot.start for slot in slots], axis=1)
        return [
            piece if len(slot.shape) == 1 else tf.reshape(piece, (-1, *slot.shape))
            for slot, piece in zip(slots, flat, strict=True)
        ]

    def _put_together(self, tensors: Mapping[str, Tensor], after: list[Tensor]) -> dict[str, Tensor]:
        flat = [piece if len(piece.shape) == 2 else tf.reshape(piece, (tf.shape(piece)[0], -1)) for piece in after]
        following = {"next_f32": tf.concat(flat, axis=1)} if flat else {}
        if self.length is None:
            return following
        steps = tensors["state_i32"] + 1
        over = steps >= self.length
        beginning = tf.constant(self.initial[None, : self.widths.get("float32", 0)])
        following = {name: tf.where(over, beginning, value) for name, value in following.items()}
        return following | {"next_i32": tf.where(over, 0, steps)}


def plan(graph: Graph, length: int | None) -> Step:
    """Lays the pieces of a model out in a vector; `length` is the N of tumbling, which counts in a slot of its own."""
    slots: list[Slot] = []
    initial: list[NDArray[Any]] = []
    for call, piece in graph.pieces():
        slots.append(_after(slots, f"{call.name}.{piece.name}", piece.initial.shape, "float32"))
        initial.append(np.ravel(piece.initial).astype(np.float32))
    if length is not None:
        slots.append(_after(slots, STEPS, (), "int32"))
        initial.append(np.zeros(1, np.int32).view(np.float32))
    return Step(graph, length, tuple(slots), np.concatenate(initial) if initial else np.zeros(0, np.float32))


def _after(slots: list[Slot], name: str, shape: tuple[int, ...], dtype: str) -> Slot:
    start = slots[-1].stop if slots else 0
    return Slot(name, tuple(shape), dtype, start, start + int(np.prod(shape, dtype=np.int64)))


def flatbuffer(step: Step) -> bytes:
    """The step as LiteRT runs it: signature `step`, any number of rows, builtin operations only.

    Raises:
        ConversionRefused: an operation of the model has no counterpart in LiteRT.
    """
    specs = [
        tf.TensorSpec((None, *spec.shape), tf.dtypes.as_dtype(spec.dtype), name=f"input_{rank}")
        for rank, spec in enumerate(step.inputs)
    ]
    names = {"float32": "state_f32", "int32": "state_i32"}
    specs += [
        tf.TensorSpec((None, words), tf.dtypes.as_dtype(kind), name=names[kind]) for kind, words in step.widths.items()
    ]

    def answer(*tensors: Tensor) -> dict[str, Tensor]:
        return step.answer({spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)})[0]

    function = tf.function(answer, input_signature=specs, autograph=False)
    module = tf.Module()
    module.weights = [variable.value for variable in step.graph.model.weights]
    module.function = function
    try:
        with silence(), tempfile.TemporaryDirectory() as directory:
            concrete = function.get_concrete_function()
            _refuse_hidden_state(concrete)
            tf.saved_model.save(module, directory, signatures={SIGNATURE: concrete})
            converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            content = converter.convert()
    except ConverterError as error:
        raise ConversionRefused(
            f"The model {step.graph.model.name!r} uses an operation that LiteRT does not have.",
            layer=step.graph.model.name,
            reason=Obstacle.NO_RULE,
            cause="It cannot be expressed in LiteRT's builtin operations.",
            remedies=["Use another activation: relu, tanh, sigmoid and most others are there."],
        ) from error
    return bytes(content)


def _refuse_hidden_state(concrete: Any) -> None:
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    hidden = sorted({node.op for node in nodes if any(part in node.op for part in _HIDDEN_STATE)})
    if hidden:
        raise AssertionError(f"a rule put {', '.join(hidden)} into the step graph")
