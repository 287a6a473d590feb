"""Convolutions and pooling windows, of one axis or of several: they reach back over the last samples, or not at all.

Of the axes that such a layer runs over, one may be that of time. There it must take each sample by itself, or reach
back and never forward; over the others it does what it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert.activations import is_pointwise_function
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import Call, Flow, InTheWay, Piece, Rule, Tensor, rule_for
from processor.model.convert.toggles import changed

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers


class Reaching(Rule):
    """The last inputs are the memory, zeros before the first sample: what the padding on the left puts there."""

    kind: ClassVar[str] = "causal memory"
    takes_lead: ClassVar[bool] = True

    def times(self, call: Call) -> tuple[int | None, ...]:
        layer, flow = call.layer, call.flows[0]
        axis = axis_of_time(layer, flow)
        function = getattr(layer, "activation", None)
        if function is not None and not is_pointwise_function(function):
            raise InTheWay(Obstacle.CUSTOM_CODE, "Its activation is not one of Keras' own functions.")
        stride, rows = along(layer.strides, axis), reach(layer, axis)
        if stride != 1:
            raise InTheWay(
                Obstacle.NO_RULE,
                f"strides={stride} along the axis of time: not every sample has an answer.",
                ["Use a stride of 1 along the axis of time in {layer}, and train the model again."],
            )
        if layer.padding == "same" and rows:
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                "padding='same': it reaches to samples on both sides.",
                [_padded(layer, axis, rows)],
            )
        if layer.padding == "valid" and flow.lead != rows:
            raise InTheWay(
                Obstacle.NO_RULE,
                f"padding='valid': it has no answer before sample {rows + 1}."
                if not flow.lead
                else f"It reaches over {rows} samples before each, behind {flow.lead} rows of padding.",
                [_padded(layer, axis, rows)] if rows else [],
            )
        if layer.padding != "valid" and flow.lead:
            raise InTheWay(Obstacle.NO_RULE, "It is padded on the left, and by the layer before it once more.")
        return (flow.time,)

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        rows = reach(call.layer, axis_of_time(call.layer, call.flows[0]))
        return (Piece("last", np.zeros((rows, *call.flows[0].shape), np.float32)),) if rows else ()

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        layer, time = call.layer, call.flows[0].time
        assert time is not None
        sample = inputs[0][:, None]
        known = tf.concat([state[0], sample], axis=1) if state else sample
        whole = known if time == 1 else keras.ops.moveaxis(known, 1, time)
        padding = "valid" if layer.padding == "causal" else layer.padding
        with changed((layer, "padding", padding)):
            output = _channels_last(layer, whole)
        return [keras.ops.squeeze(output, time)], [known[:, 1:]] if state else []


@rule_for(
    layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.SeparableConv1D, layers.SeparableConv2D,
    layers.DepthwiseConv1D, layers.DepthwiseConv2D,
)  # fmt: skip
class Convolution(Reaching):
    """A convolution over time, or over other axes alone."""


@rule_for(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
class Transposed(Reaching):
    """A transposed convolution that takes each sample by itself."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        if reach(call.layer, axis_of_time(call.layer, call.flows[0])):
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                "It spreads each sample over several rows of time.",
                ["Use a kernel of 1 along the axis of time in {layer}, and train the model again."],
            )
        return super().times(call)


@rule_for(
    layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D,
    layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D,
)  # fmt: skip
class PoolingWindow(Reaching):
    """The greatest or the mean of the last samples, or of parts of each."""


def axis_of_time(layer: Any, flow: Flow) -> int:
    """Which of the axes that a layer runs over is that of time.

    Raises:
        InTheWay: none of them is.
    """
    first = 2 if layer.data_format == "channels_first" else 1
    if flow.time is None:
        raise InTheWay(Obstacle.NO_TIME_AXIS, "It runs over what never changes in a sequence.")
    if not first <= flow.time < first + flow.rank - 2:
        raise InTheWay(Obstacle.COLLECTS_TIME, "It takes the axis of time for that of the features.")
    return flow.time - first


def along(option: Any, axis: int) -> int:
    """What an option is for one axis: it has a number for each, or one for all."""
    return int(option[axis] if isinstance(option, tuple | list) else option)


def reach(layer: Any, axis: int) -> int:
    """How many places before each a convolution or a pooling window looks at, along one of its axes."""
    if hasattr(layer, "kernel_size"):
        return along(layer.dilation_rate, axis) * (along(layer.kernel_size, axis) - 1)
    return along(layer.pool_size, axis) - 1


def _padded(layer: Any, axis: int, rows: int) -> str:
    """How to make the layer causal."""
    axes = len(layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size)
    sides = [f"({rows}, 0)" if place == axis else "(0, 0)" for place in range(axes)]
    padding = sides[0] if axes == 1 else f"({', '.join(sides)})"
    causal = "padding='causal'" if type(layer) is layers.Conv1D else "padding='valid'"
    also = ", or use padding='causal'" if type(layer) is layers.Conv1D and layer.padding == "valid" else ""
    if layer.padding == "same" and type(layer) is layers.Conv1D:
        return f"Use {causal} in {{layer}}, and train the model again."
    before = f"Put ZeroPadding{axes}D({padding}) right before {{layer}}"
    return f"{before}{also}{', with ' + causal if layer.padding == 'same' else ''}; train the model again."


def _channels_last(layer: Any, x: Tensor) -> Tensor:
    """The layer's answer; LiteRT knows no other order of axes than that with the channels at the end."""
    if layer.data_format == "channels_last":
        return layer(x)
    with changed((layer, "data_format", "channels_last"), (layer, "input_spec", None)):
        return keras.ops.moveaxis(layer(keras.ops.moveaxis(x, 1, -1)), -1, 1)
