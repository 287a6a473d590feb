"""Recurrent layers: their cell, called on one sample with the states that the key's vector holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import keras
import numpy as np

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import Call, InTheWay, Piece, Rule, Tensor, rule_for

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECES: Final = {
    keras.layers.LSTMCell: ("h", "c"),
    keras.layers.GRUCell: ("h",),
    keras.layers.SimpleRNNCell: ("h",),
}


@rule_for(keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
class Recurrent(Rule):
    """The cell, not the layer: at one sample the layer's loop costs three times as much, and leaves random and assign
    operations in the graph where dropout is configured."""

    kind: ClassVar[str] = "recurrent"

    def times(self, call: Call) -> tuple[int | None, ...]:
        layer = call.layer
        if layer.go_backwards:
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                "go_backwards=True: it starts at the last sample of the sequence.",
                ["Train {layer} with go_backwards=False."],
            )
        if call.flows[0].time is None:
            raise InTheWay(
                Obstacle.NO_TIME_AXIS,
                "Time is gone before it: the layers before it give one answer a sequence.",
                ["Give the recurrent layer before {layer} return_sequences=True, and train the model again."],
            )
        states: tuple[None, ...] = (None,) * len(_PIECES[type(layer.cell)]) if layer.return_state else ()
        return (1 if layer.return_sequences else None, *states)

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        initial = call.layer.cell.get_initial_state(batch_size=1)
        rows = [np.asarray(keras.ops.convert_to_numpy(row)[0], np.float32) for row in initial]
        return tuple(Piece(name, row) for name, row in zip(_PIECES[type(call.layer.cell)], rows, strict=True))

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        output, after = call.layer.cell(inputs[0], list(state), training=False)
        return [output, *after] if call.layer.return_state else [output], list(after)
