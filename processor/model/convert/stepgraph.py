"""The step graph: a machine as one function of a sample and a state's words, and its LiteRT flatbuffer."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from processor.model.artifact import Slot
from processor.model.convert.litert import as_litert_has_it
from processor.model.convert.quiet import silence
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from processor.model.convert.interface import Interface
    from processor.model.convert.machine import Machine
    from processor.model.convert.rules import Tensor

SIGNATURE: Final = "step"
_KINDS: Final = {"float32": "f32", "int32": "i32"}
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
    module = tf.Module()
    module.weights = [variable.value for variable in step.machine.variables]
    module.function = function
    try:
        with silence(), tempfile.TemporaryDirectory() as directory:
            with as_litert_has_it():
                concrete = function.get_concrete_function()
            _refuse_hidden_state(concrete, name)
            tf.saved_model.save(module, directory, signatures={SIGNATURE: concrete})
            converter = tf.lite.TFLiteConverter.from_saved_model(directory, signature_keys=[SIGNATURE])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            content = converter.convert()
    except ConverterError as error:
        raise _not_in_litert(name, "It cannot be expressed in LiteRT's builtin operations.") from error
    return bytes(content)


def _refuse_hidden_state(concrete: Any, name: str) -> None:
    definition = concrete.graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    hidden = sorted({node.op for node in nodes if any(part in node.op for part in _HIDDEN_STATE)})
    if hidden:
        raise _not_in_litert(name, f"A step of it would loop, be random or remember by itself: {', '.join(hidden)}.")


def _not_in_litert(name: str, cause: str) -> ConversionRefused:
    return ConversionRefused(
        f"The model {name!r} uses an operation that LiteRT does not have.",
        layer=name,
        reason=Obstacle.NO_RULE,
        cause=cause,
        remedies=["Use another activation: relu, tanh, sigmoid and most others are there."],
    )
