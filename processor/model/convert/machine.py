"""What a step graph computes: a model stepped layer by layer, or run whole on the samples that a key's state holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from processor.model.artifact import HELD, STEPS, static_slot
from processor.model.convert.rules import Piece, put
from processor.model.convert.toggles import folded, unrolled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.model.convert.graph import Graph
    from processor.model.convert.interface import Interface
    from processor.model.convert.rules import Tensor

    Pieces = list[tuple[str, Piece]]


class Machine(Protocol):
    """A pure function of one sample and a state.

    interface: what goes in and comes out; variables: all that it reads; pieces: by the names of their slots.
    """

    interface: Interface
    variables: Sequence[Any]
    pieces: Pieces

    def answer(self, features: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """[B, *sample shape] each, and each piece [B, *shape] -> the outputs, and the pieces after it."""


class Stepped:
    """Every layer stepped by its rule."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.interface = graph, graph.interface
        self.variables: Sequence[Any] = graph.variables
        self.pieces: Pieces = [(f"{call.name}.{piece.name}", piece) for call, piece in graph.pieces()]

    def answer(self, features: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        outputs, after, _ = self.insides(features, state)
        return outputs, after

    def insides(
        self, features: Sequence[Tensor], state: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], dict[int, Tensor]]:
        """The same, and every tensor of the model on the way, by number."""
        graph, pieces, after = self.graph, list(state), []
        values: dict[int, Tensor] = {}
        for number, entry, feature in zip(graph.inputs, self.interface.entries, features, strict=True):
            values[number] = _typed(feature, entry.dtype)
        for call in graph.calls:
            mine = [pieces.pop(0) for _ in call.pieces]
            outputs, remembered = call.rule.step(call, [values[number] for number in call.sources], mine)
            for number, output in zip(call.targets, outputs, strict=True):
                # A layer that is called as it is would use the mask that another hung on its input.
                keras.src.backend.set_keras_mask(output, None)
                values[number] = output
            after += remembered
        return [values[number] for number in graph.outputs], after, values


class WholeModel:
    """The model itself, on the last samples (`slides`), or on those so far with zeros for those to come."""

    def __init__(self, model: Any, structure: Any, interface: Interface, length: int, *, slides: bool) -> None:
        self.model, self.structure, self.interface = model, structure, interface
        self.length, self.slides = length, slides
        self.variables: Sequence[Any] = model.variables
        rows = [
            (f"{entry.spec.name}.last", Piece("last", np.zeros((length - 1, *entry.spec.shape), entry.spec.dtype)))
            for entry in interface.entries
            if entry.time is not None and length > 1
        ]
        self.pieces: Pieces = rows if not slides else [*rows, (STEPS, Piece(STEPS, np.zeros((), np.int32)))]
        if not slides:
            self.pieces.append(("samples", Piece("samples", np.zeros((), np.int32))))

    def answer(self, features: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        *rows, count = state
        known, inputs, after = list(rows), [], []
        good: list[Tensor] = []
        for entry, given in zip(self.interface.entries, features, strict=True):
            sample = given
            if entry.vocabulary is not None and entry.spec.dtype == "int32":
                sample = tf.where((given >= 0) & (given < entry.vocabulary), given, 0)
                good.append(tf.reduce_all(given == sample, axis=list(range(1, len(given.shape)))))
            value = sample
            if entry.time is not None:
                before = known.pop(0) if self.length > 1 else None
                value, following = self._longer(before, sample, count)
                after += [] if following is None else [following]
                value = value if entry.time == 1 else keras.ops.moveaxis(value, 1, entry.time)
            inputs.append(_typed(value, entry.dtype))
        with unrolled(self.model), folded(self.model):
            answers = keras.tree.flatten(
                self.model(keras.tree.pack_sequence_as(self.structure, inputs), training=False)
            )
        outputs = [
            y if leave.time is None else self._newest(y, leave.time, count)
            for y, leave in zip(answers, self.interface.exits, strict=True)
        ]
        # A token that the model does not have makes the answer no number; the engine would stop at it.
        for rows_good in good:
            outputs = [
                tf.where(tf.reshape(rows_good, (-1, *(1,) * (len(y.shape) - 1))), y, tf.constant(np.nan, y.dtype))
                for y in outputs
            ]
        return outputs, [*after, tf.minimum(count + 1, self.length)]

    def _longer(self, rows: Tensor | None, sample: Tensor, count: Tensor) -> tuple[Tensor, Tensor | None]:
        """All samples that the model is given, and those that are kept for the next step."""
        if rows is None:
            return sample[:, None], None
        if self.slides:
            known = tf.concat([rows, sample[:, None]], axis=1)
            return known, known[:, 1:]
        known = put(rows, sample, count, self.length)
        return known, known[:, :-1]

    def _newest(self, output: Tensor, time: int, count: Tensor) -> Tensor:
        by_time = output if time == 1 else keras.ops.moveaxis(output, time, 1)
        if self.slides:
            return by_time[:, -1]
        here = tf.range(self.length)[None] == tf.reshape(count, (-1, 1))
        shape = (-1, self.length, *(1,) * (len(by_time.shape) - 2))
        return tf.reduce_sum(tf.where(tf.reshape(here, shape), by_time, tf.zeros_like(by_time)), axis=1)


class Keeping:
    """A machine that keeps its static inputs from a sequence's first sample on; what comes with later ones is not used.

    So a row that leaves them out and one that repeats them are the same to the step graph, whatever they hold.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine, self.interface = machine, machine.interface
        self.variables: Sequence[Any] = machine.variables
        self.places = [place for place, entry in enumerate(self.interface.entries) if entry.spec.static]
        specs = [self.interface.entries[place].spec for place in self.places]
        values = [(static_slot(spec.name), Piece(HELD, np.zeros(spec.shape, spec.dtype))) for spec in specs]
        self.pieces: Pieces = [*machine.pieces, *values, (HELD, Piece(HELD, np.zeros((), np.int32)))]

    def answer(self, features: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        *known, held = state
        pieces, kept = known[: len(self.machine.pieces)], known[len(self.machine.pieces) :]
        given = list(features)
        for place, value in zip(self.places, kept, strict=True):
            is_held = tf.reshape(held > 0, (-1, *(1,) * (len(value.shape) - 1)))
            given[place] = tf.where(is_held, value, given[place])
        outputs, after = self.machine.answer(given, pieces)
        return outputs, [*after, *(given[place] for place in self.places), tf.maximum(held, 1)]


def keeping(machine: Machine) -> Machine:
    """The machine, which keeps its static inputs where it has some."""
    return Keeping(machine) if any(entry.spec.static for entry in machine.interface.entries) else machine


def stepped(machine: Machine) -> Stepped:
    """The layers that a machine steps, without what keeps and counts around them."""
    while isinstance(machine, Keeping | Tumbling):
        machine = machine.machine
    assert isinstance(machine, Stepped)
    return machine


class Tumbling:
    """A machine that counts its samples, and is as at the beginning after the N-th."""

    def __init__(self, machine: Machine, length: int) -> None:
        self.machine, self.length = machine, length
        self.interface = machine.interface
        self.variables: Sequence[Any] = machine.variables
        self.pieces: Pieces = [*machine.pieces, (STEPS, Piece(STEPS, np.zeros((), np.int32)))]

    def answer(self, features: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        *pieces, count = state
        outputs, after = self.machine.answer(features, pieces)
        steps = count + 1
        over = steps >= self.length
        following = [
            tf.where(tf.reshape(over, (-1, *(1,) * piece.initial.ndim)), tf.constant(piece.initial)[None], value)
            for (_, piece), value in zip(self.machine.pieces, after, strict=True)
        ]
        return outputs, [*following, tf.where(over, 0, steps)]


def _typed(tensor: Tensor, dtype: str) -> Tensor:
    """A sample in the type that the model takes it in."""
    wanted = tf.dtypes.as_dtype("float32" if "float" in dtype else dtype)
    return tensor if tensor.dtype == wanted else tf.cast(tensor, wanted)
