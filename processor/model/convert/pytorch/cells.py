"""Cells for what PyTorch's recurrent modules do and Keras' do not: first states that were learned, and projections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import keras
from keras import layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_registered: Callable[[Any], Any] = keras.saving.register_keras_serializable(package="processor.pytorch")


class _Begun:
    """begin: one row of each state, which every sequence begins with."""

    def __init__(self, *given: Any, begin: Sequence[Sequence[float]] = (), **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.begin = [list(row) for row in begin]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """The states of a batch, [B, units] each."""
        if not self.begin:
            zeros: Any = super().get_initial_state(batch_size)  # type: ignore[misc]
            return list(zeros)
        return [
            ops.broadcast_to(ops.convert_to_tensor([row], self.compute_dtype), (batch_size, len(row)))  # type: ignore[attr-defined]
            for row in self.begin
        ]

    def get_config(self) -> dict[str, Any]:
        """The settings that make it again."""
        return super().get_config() | {"begin": self.begin}  # type: ignore[misc, no-any-return]


@_registered
class LSTMCell(_Begun, layers.LSTMCell):  # type: ignore[misc]
    """Keras' cell, with its first states."""


@_registered
class GRUCell(_Begun, layers.GRUCell):  # type: ignore[misc]
    """Keras' cell, with its first state."""


@_registered
class RNNCell(_Begun, layers.SimpleRNNCell):  # type: ignore[misc]
    """Keras' cell, with its first state."""


class _Projected(keras.layers.Layer):  # type: ignore[misc]
    """An LSTM whose output is a projection of what its cell gives: `nn.LSTM(proj_size=...)`.

    Its states are the output [B, projection] and the cell's own [B, units].
    """

    def __init__(self, units: int, projection: int, use_bias: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.units, self.projection, self.use_bias = units, projection, use_bias
        self.state_size, self.output_size = [projection, units], projection

    def build(self, shape: Any) -> None:
        """Makes the weights, in the order of Keras' LSTM and the projection behind them."""
        self.kernel = self.add_weight(shape=(shape[-1], 4 * self.units), name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(self.projection, 4 * self.units), name="recurrent_kernel")
        self.bias = self.add_weight(shape=(4 * self.units,), name="bias") if self.use_bias else None
        self.output_kernel = self.add_weight(shape=(self.units, self.projection), name="output_kernel")

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """One sample [B, features] and the states -> the output, and the states after it."""
        before, cell = states
        gates = ops.matmul(inputs, self.kernel) + ops.matmul(before, self.recurrent_kernel)
        gates = gates if self.bias is None else gates + self.bias
        take, forget, new, give = ops.split(gates, 4, axis=-1)
        cell = ops.sigmoid(forget) * cell + ops.sigmoid(take) * ops.tanh(new)
        said = ops.matmul(ops.sigmoid(give) * ops.tanh(cell), self.output_kernel)
        return said, [said, cell]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros."""
        return [ops.zeros((batch_size, width), self.compute_dtype) for width in self.state_size]

    def get_config(self) -> dict[str, Any]:
        """The settings that make it again."""
        own = {"units": self.units, "projection": self.projection, "use_bias": self.use_bias}
        return super().get_config() | own  # type: ignore[no-any-return]


@_registered
class ProjectedLSTMCell(_Begun, _Projected):
    """The projected cell, with its first states."""


CELLS: Final = {"LSTM": LSTMCell, "GRU": GRUCell, "RNN": RNNCell}
