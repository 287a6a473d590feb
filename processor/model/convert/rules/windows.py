"""Causal memory: convolutions and pooling windows that reach back over the last samples, and never forward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

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
_CAUSAL: Final = "Use padding='causal' and strides=1 in {layer} (Conv1D has it), and train the model again."


class Reaching(Rule):
    """The last inputs are the memory, zeros before the first sample: what the padding on the left puts there."""

    kind: ClassVar[str] = "causal memory"
    takes_lead: ClassVar[bool] = True

    def times(self, call: Call) -> tuple[int | None, ...]:
        layer, flow = call.layer, call.flows[0]
        if flow.time != 1 or flow.rank != 3 or layer.data_format != "channels_last":
            raise InTheWay(Obstacle.NO_RULE, "It reaches over another axis than that of time, or over several.")
        function = getattr(layer, "activation", None)
        if function is not None and not is_pointwise_function(function):
            raise InTheWay(Obstacle.CUSTOM_CODE, "Its activation is none of Keras' own functions.")
        if _stride(layer) != 1:
            raise InTheWay(Obstacle.NO_RULE, f"strides={_stride(layer)}: not every sample has an answer.", [_CAUSAL])
        if layer.padding == "same" and reach(layer):
            raise InTheWay(Obstacle.NEEDS_FUTURE, "padding='same': it reaches to samples on both sides.", [_CAUSAL])
        if layer.padding == "valid" and flow.lead != reach(layer):
            raise InTheWay(
                Obstacle.NO_RULE,
                f"padding='valid': it has no answer before sample {reach(layer) + 1}."
                if not flow.lead
                else f"It reaches over {reach(layer)} samples before each, behind {flow.lead} rows of padding.",
                [
                    f"Put ZeroPadding1D(({reach(layer)}, 0)) right before {{layer}}, or use padding='causal'; "
                    "train the model again.",
                ],
            )
        if layer.padding == "causal" and flow.lead:
            raise InTheWay(Obstacle.NO_RULE, "It is padded on the left, and by the layer before it once more.")
        return (1,)

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        rows = reach(call.layer)
        return (Piece("last", np.zeros((rows, *call.flows[0].shape), np.float32)),) if rows else ()

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        sample = inputs[0][:, None]
        known = tf.concat([state[0], sample], axis=1) if state else sample
        with changed((call.layer, "padding", "valid")):
            output = call.layer(known)
        return [output[:, 0]], [known[:, 1:]] if state else []


@rule_for(layers.Conv1D, layers.SeparableConv1D, layers.DepthwiseConv1D)
class Convolution(Reaching):
    """A convolution over time."""


@rule_for(layers.MaxPooling1D, layers.AveragePooling1D)
class PoolingWindow(Reaching):
    """The greatest or the mean of the last samples."""


@rule_for(layers.ZeroPadding1D)
class PaddedLeft(Rule):
    """Rows of zeros before the first sample, for the layer after it."""

    kind: ClassVar[str] = "zeros before the first sample"

    def times(self, call: Call) -> tuple[int | None, ...]:
        flow, (_, right) = call.flows[0], call.layer.padding
        if flow.time != 1 or call.layer.data_format != "channels_last":
            raise InTheWay(Obstacle.NO_RULE, "It pads another axis than that of time.")
        if right:
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                f"It puts {right} rows of zeros after the last sample, of which no stream knows which it is.",
                ["Pad on the left only: ZeroPadding1D((n, 0))."],
            )
        return (1,)

    def lead(self, call: Call) -> int:
        return int(call.layer.padding[0])

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [inputs[0]], []


@rule_for(layers.GlobalAveragePooling1D)
class RunningMean(Rule):
    """The sum and the count of the samples so far; of those that no mask leaves out, where there is one.

    The sum carries what its rounding left out (`rest`): alone, it would drift, and at last stand still.
    """

    kind: ClassVar[str] = "running"

    def times(self, call: Call) -> tuple[int | None, ...]:
        _over_samples(call.layer, call.flows[0])
        return (None,)

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        zeros = np.zeros(call.flows[0].shape, np.float32)
        return (Piece("sum", zeros), Piece("rest", zeros), Piece("count", np.zeros((), np.int32)))

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        (before, rest, count), sample, place = state, inputs[0], call.place("mask")
        seen = tf.ones_like(count) if place is None else tf.cast(inputs[place], tf.int32)
        count += seen
        more = (sample if place is None else sample * tf.cast(seen, sample.dtype)[:, None]) - rest
        total = before + more
        rest = (total - before) - more
        # With nothing seen, Keras says NaN; a division by zero would make one of either sign, as the kernel likes.
        mean = total / tf.cast(tf.maximum(count, 1), total.dtype)[:, None]
        mean = tf.where((count > 0)[:, None], mean, tf.constant(np.nan, total.dtype))
        return [mean[:, None] if call.layer.keepdims else mean], [total, rest, count]


@rule_for(layers.GlobalMaxPooling1D)
class RunningGreatest(Rule):
    """The greatest of the samples so far."""

    kind: ClassVar[str] = "running"

    def times(self, call: Call) -> tuple[int | None, ...]:
        _over_samples(call.layer, call.flows[0])
        return (None,)

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        # The least finite number, not an infinity: a state is made of numbers.
        return (Piece("max", np.full(call.flows[0].shape, np.finfo(np.float32).min, np.float32)),)

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        # A maximum alone would lose a NaN, and with it that the sample was none.
        greatest = tf.maximum(state[0], inputs[0]) + 0.0 * inputs[0]
        return [greatest[:, None] if call.layer.keepdims else greatest], [greatest]


def reach(layer: Any) -> int:
    """How many samples before each it looks at."""
    if hasattr(layer, "kernel_size"):
        return int(layer.dilation_rate[0] if isinstance(layer.dilation_rate, tuple) else layer.dilation_rate) * (
            int(layer.kernel_size[0]) - 1
        )
    return int(layer.pool_size[0] if isinstance(layer.pool_size, tuple) else layer.pool_size) - 1


def _stride(layer: Any) -> int:
    return int(layer.strides[0] if isinstance(layer.strides, tuple | list) else layer.strides)


def _over_samples(layer: Any, flow: Flow) -> None:
    if flow.time != 1 or flow.rank != 3 or layer.data_format != "channels_last":
        raise InTheWay(Obstacle.NO_RULE, "It reaches over another axis than that of time, or over several.")
