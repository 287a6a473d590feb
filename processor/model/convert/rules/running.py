"""What pools over all samples so far: a mean, or the greatest."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert.rules.base import Call, Piece, Rule, Tensor, rule_for
from processor.model.convert.rules.windows import axis_of_time

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers


class Running(Rule):
    """Over time, and first over the layer's other axes, in each sample by itself."""

    kind: ClassVar[str] = "running"

    def times(self, call: Call) -> tuple[int | None, ...]:
        axis_of_time(call.layer, call.flows[0])
        return (None,)

    @staticmethod
    def channels(call: Call) -> int:
        return call.flows[0].shape[0 if call.layer.data_format == "channels_first" else -1]

    @staticmethod
    def others(call: Call) -> list[int]:
        """The axes of a batch of samples that the layer runs over, beside that of time."""
        rank = call.flows[0].rank - 1
        return list(range(2, rank) if call.layer.data_format == "channels_first" else range(1, rank - 1))

    @staticmethod
    def shaped(call: Call, answer: Tensor) -> Tensor:
        """[B, channels] with the axes that the layer keeps."""
        if not call.layer.keepdims:
            return answer
        ones, channels = (1,) * (call.flows[0].rank - 2), answer.shape[-1]
        is_first = call.layer.data_format == "channels_first"
        return tf.reshape(answer, (-1, channels, *ones) if is_first else (-1, *ones, channels))


@rule_for(layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D, layers.GlobalAveragePooling3D)
class RunningMean(Running):
    """The sum and the count of the samples so far; of those that no mask leaves out, where there is one.

    The sum carries what its rounding left out (`rest`): alone, it would drift, and at last stand still.
    """

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        zeros = np.zeros((self.channels(call),), np.float32)
        return (Piece("sum", zeros), Piece("rest", zeros), Piece("count", np.zeros((), np.int32)))

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        (before, rest, count), place = state, call.place("mask")
        others = self.others(call)
        sample = tf.reduce_mean(inputs[0], axis=others) if others else inputs[0]
        seen = tf.zeros_like(count) + 1 if place is None else tf.cast(inputs[place], tf.int32)
        count += seen
        more = (sample if place is None else sample * tf.cast(seen, sample.dtype)[:, None]) - rest
        total = before + more
        rest = (total - before) - more
        # With nothing seen, Keras gives NaN; a division by zero would make one of either sign, as the kernel likes.
        mean = total / tf.cast(tf.maximum(count, 1), total.dtype)[:, None]
        mean = tf.where((count > 0)[:, None], mean, tf.constant(np.nan, total.dtype))
        return [self.shaped(call, mean)], [total, rest, count]


@rule_for(layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D, layers.GlobalMaxPooling3D)
class RunningGreatest(Running):
    """The greatest of the samples so far."""

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        # The least finite number, not an infinity: a state is made of numbers.
        return (Piece("max", np.full((self.channels(call),), np.finfo(np.float32).min, np.float32)),)

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        others = self.others(call)
        sample = tf.reduce_max(inputs[0], axis=others) if others else inputs[0]
        # A maximum alone would lose a NaN, and with it that the sample was none.
        greatest = tf.maximum(state[0], sample) + tf.reduce_sum(0.0 * inputs[0], axis=others)
        return [self.shaped(call, greatest)], [greatest]
