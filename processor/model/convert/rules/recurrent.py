"""Recurrent layers: their cell, called on one sample with the states that the key's vector holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import keras
import numpy as np
import tensorflow as tf
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import Call, InTheWay, Piece, Rule, Tensor, inherits, rule_for
from processor.model.convert.written_out import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers

_NAMES: Final = {
    layers.LSTMCell: ("h", "c"),
    ConvLSTMCell: ("h", "c"),
    layers.GRUCell: ("h",),
    layers.SimpleRNNCell: ("h",),
}
_OUTPUT_IS_STATE: Final = tuple(_NAMES)
"""Cells that answer with their first state: where they begin with zeros, what they held is their last output."""


@rule_for(
    layers.LSTM,
    layers.GRU,
    layers.SimpleRNN,
    layers.RNN,
    layers.ConvLSTM1D,
    layers.ConvLSTM2D,
    layers.ConvLSTM3D,
)
class Recurrent(Rule):
    """The cell, not the layer: at one sample the layer's loop costs three times as much, and leaves random and assign
    operations in the graph where dropout is configured.

    A masked sample does what Keras makes of it: the states are held, and the last output is repeated (zeros before the
    first, or at each masked sample with `zero_output_for_mask`).
    """

    kind: ClassVar[str] = "recurrent"

    def times(self, call: Call) -> tuple[int | None, ...]:
        layer = call.layer
        if layer.go_backwards:
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                "go_backwards=True: it starts at the last sample of the sequence.",
                ["Train {layer} with go_backwards=False."],
            )
        if call.flows[0].time != 1:
            raise InTheWay(
                Obstacle.NO_TIME_AXIS,
                "It runs over another axis than that of time."
                if call.flows[0].time
                else "It runs over what never changes in a sequence.",
                ["Let {layer} run over the axis along which the samples come."],
            )
        mask = call.place("mask")
        if mask is not None and call.flows[mask].shape:
            raise InTheWay(Obstacle.MASK, "Its mask has an axis beside that of time.")
        if "initial_state" in call.arguments and not all(flow.constant for flow in _beginnings(call)):
            raise InTheWay(Obstacle.INITIAL_STATE)
        states: tuple[None, ...] = (None,) * len(self._states(call)) if layer.return_state else ()
        return (1 if layer.return_sequences else None, *states)

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        pieces = [Piece(name, row) for name, row in self._states(call).items()]
        if self._repeats(call):
            pieces.append(Piece("output", np.zeros(self._output_shape(call), np.float32)))
        if "initial_state" in call.arguments:
            pieces.append(Piece("begun", np.zeros((), np.int32)))
        return tuple(pieces)

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        layer, known = call.layer, list(state)
        begun = [known.pop()] if "initial_state" in call.arguments else []
        said = [known.pop()] if self._repeats(call) else []
        if begun:
            given = keras.tree.flatten(call.filled(inputs)["initial_state"])
            first = tf.reshape(begun[0], (-1,)) == 0
            known = [choose(first, one, other) for one, other in zip(given, known, strict=True)]
        structure = self._nested(call)
        options = {"training": False} if getattr(layer.cell, "_call_has_training_arg", False) else {}
        output, after = layer.cell(inputs[0], keras.tree.pack_sequence_as(structure, known), **options)
        following = [tf.convert_to_tensor(piece) for piece in keras.tree.flatten(after)]
        place = call.place("mask")
        if place is not None:
            seen = tf.cast(inputs[place], tf.bool)
            last = known[0] if not said else said[0]
            kept = tf.zeros_like(output) if layer.zero_output_for_mask else last
            output = choose(seen, output, kept)
            following = [choose(seen, one, other) for one, other in zip(following, known, strict=True)]
        remembered = [*following, *([output] if said else []), *(tf.maximum(piece, 1) for piece in begun)]
        return [output, *following] if layer.return_state else [output], remembered

    def _repeats(self, call: Call) -> bool:
        """Whether the last output has to be remembered for masked samples, since no state is the same."""
        layer = call.layer
        if call.place("mask") is None or layer.zero_output_for_mask:
            return False
        if "initial_state" in call.arguments or any(row.any() for row in self._states(call).values()):
            return True
        return not any(inherits(type(layer.cell), kind) for kind in _OUTPUT_IS_STATE)

    def _nested(self, call: Call) -> tuple[Any, ...]:
        """What one row begins with, in the structure that the cell takes."""
        state = call.layer.get_initial_state(batch_size=1)
        return tuple(state) if isinstance(state, list | tuple) else (state,)

    def _states(self, call: Call) -> dict[str, Any]:
        """Name -> what one row begins with."""
        with tf.init_scope():
            try:
                nested = self._nested(call)
            except Exception as error:  # whatever Keras, or code of the user's own, makes of the cell
                raise InTheWay(
                    Obstacle.CUSTOM_CODE,
                    f"Its cell has no initial state: {error}",
                    ["Give the cell of {layer} a method get_initial_state(batch_size)."],
                ) from error
            rows = [np.asarray(keras.ops.convert_to_numpy(row)[0], np.float32) for row in keras.tree.flatten(nested)]
        return dict(zip(_names(call.layer.cell, len(rows)), rows, strict=True))

    def _output_shape(self, call: Call) -> tuple[int, ...]:
        sample = keras.KerasTensor((1, *call.flows[0].shape))
        output, _ = keras.src.backend.compute_output_spec(lambda x: call.layer.cell(x, self._nested(call)), sample)
        return tuple(output.shape[1:])


def _names(cell: Any, count: int) -> list[str]:
    if type(cell) in _NAMES:
        return list(_NAMES[type(cell)])
    if isinstance(cell, layers.StackedRNNCells):
        names = [
            f"{rank}_{name}"
            for rank, inner in enumerate(cell.cells)
            for name in _names(inner, len(keras.tree.flatten(inner.state_size)))
        ]
        return names if len(names) == count else [str(rank) for rank in range(count)]
    return [f"state_{rank}" for rank in range(count)]


def _beginnings(call: Call) -> list[Any]:
    holes = keras.tree.flatten(call.arguments["initial_state"])
    return [call.flows[hole.place] for hole in holes]
