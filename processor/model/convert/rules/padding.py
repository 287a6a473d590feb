"""Zeros around what comes: before the first sample, for the layer after it, and along the axes of each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
from keras.src.ops import numpy

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import Call, InTheWay, Rule, Tensor, rule_for

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers


class Padded(Rule):
    """Rows of zeros before the first sample are no part of the step: the layer after it begins with them."""

    kind: ClassVar[str] = "zeros before the first sample"
    takes_lead: ClassVar[bool] = True

    def widths(self, call: Call) -> list[tuple[int, int]]:
        """How many zeros come before and after, for each axis of the whole tensor."""
        raise NotImplementedError

    def times(self, call: Call) -> tuple[int | None, ...]:
        flow = call.flows[0]
        assert flow.time is not None
        _, after = self.widths(call)[flow.time]
        if after:
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                f"It puts {after} rows of zeros after the last sample, of which no stream knows which it is.",
                [
                    "Pad the axis of time on the left only, and train the model again; where the rows behind the last "
                    "sample are cut off later, leave that out, too, and keep the weights as they are."
                ],
            )
        return (flow.time,)

    def lead(self, call: Call) -> int:
        flow = call.flows[0]
        assert flow.time is not None
        return flow.lead + self.widths(call)[flow.time][0]

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        (sample,), time = inputs, call.flows[0].time
        widths = [pair for axis, pair in enumerate(self.widths(call)) if axis != time]
        return [keras.ops.pad(sample, widths) if any(map(any, widths)) else sample], []


@rule_for(layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
class PaddedByLayer(Padded):
    """ZeroPadding1D, 2D and 3D."""

    def widths(self, call: Call) -> list[tuple[int, int]]:
        given: Any = call.layer.padding
        pairs = [given] if isinstance(given[0], int) else list(given)
        outer = [(0, 0)] * (2 if call.layer.data_format == "channels_first" else 1)
        return [*outer, *pairs, (0, 0)][: call.flows[0].rank]


@rule_for(numpy.Pad)
class PaddedByOperation(Padded):
    """`keras.ops.pad` with zeros."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        if call.layer.mode != "constant" or call.arguments.get("constant_values"):
            raise InTheWay(Obstacle.NO_RULE, "It pads with something else than zeros.")
        if any(self.widths(call)[0]):
            raise InTheWay(Obstacle.NO_RULE, "It pads the axis of the batch.")
        return super().times(call)

    def widths(self, call: Call) -> list[tuple[int, int]]:
        pairs = [tuple(pair) for pair in call.layer.pad_width]
        return pairs * call.flows[0].rank if len(pairs) == 1 else pairs
