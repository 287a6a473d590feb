"""TimeDistributed: along the axis of time, or along another one (bands, sensors, places)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import keras
import numpy as np
import tensorflow as tf

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import RULES, Call, Hole, InTheWay, Piece, Rule, Tensor, kind_of, rule_for
from processor.model.convert.rules.missing import refuse
from processor.model.convert.rules.pointwise import Pointwise
from processor.model.convert.rules.whole import arguments_by_name
from processor.model.convert.toggles import unrolled

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers


@rule_for(layers.TimeDistributed)
class EachSample(Pointwise):
    """Whatever is inside sees one sample, and remembers nothing from one to the next.

    A mask goes to it as far as it is one within the sample; that of the samples themselves is for the layers after it.
    """

    ignores_mask: ClassVar[bool] = True

    def on(self, call: Call) -> Rule:
        return self if call.flows[0].time == 1 else EACH_PLACE

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        inner, place = call.layer.layer, call.place("mask")
        options = {"training": False} if inner._call_has_training_arg else {}
        if place is not None and inner._call_has_mask_arg:
            options["mask"] = inputs[place]
        with unrolled(call.layer):
            return [inner(inputs[0], **options)], []


class EachPlace(Rule):
    """The layer inside runs over time at each place of the first axis, each time with a memory of its own: the places
    are rows to it."""

    kind: ClassVar[str] = "over time, at each place of another axis"

    def times(self, call: Call) -> tuple[int | None, ...]:
        if call.place("mask") is not None:
            raise InTheWay(Obstacle.MASK, "Its mask does not go along the axis of time.")
        inner = _inside(call)
        if inner.rule is None:
            refuse(inner.layer, inner.flows[0])
        return tuple(None if time is None else time + 1 for time in inner.rule.times(inner))

    def pieces(self, call: Call) -> tuple[Piece, ...]:
        inner, places = _inside(call), call.flows[0].shape[0]
        return tuple(
            Piece(piece.name, np.repeat(piece.initial[None], places, axis=0)) for piece in inner.rule.pieces(inner)
        )

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        inner, places = _inside(call), call.flows[0].shape[0]
        apart = [tf.reshape(tensor, (-1, *tensor.shape[2:])) for tensor in (inputs[0], *state)]
        outputs, after = inner.rule.step(inner, apart[:1], apart[1:])
        return [_together(tensor, places) for tensor in outputs], [_together(tensor, places) for tensor in after]


EACH_PLACE = EachPlace()


def _together(tensor: Tensor, places: int) -> Tensor:
    return tf.reshape(tensor, (-1, places, *tensor.shape[1:]))


def _inside(call: Call) -> Call:
    """The call of the layer inside at one place, with its rule."""
    flow, layer = call.flows[0], call.layer.layer
    assert flow.time is not None
    one = replace(flow, shape=flow.shape[1:], time=flow.time - 1)
    arguments = arguments_by_name(layer, (Hole(0),), {})
    return replace(
        call, layer=layer, sources=call.sources[:1], flows=(one,), arguments=arguments, rule=RULES.get(kind_of(layer))
    )
