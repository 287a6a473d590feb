"""Look-ups by token beside the Embedding layer: rows of a table (`ops.take`), and vectors of one 1 (`ops.one_hot`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import keras
from keras.src.ops import core, nn, numpy

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import Call, InTheWay, Layer, Tensor, rule_for
from processor.model.convert.rules.operations import Moved, OfOneSample
from processor.model.convert.rules.whole import Collect

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers


@rule_for(numpy.Take)
class Taken(Moved):
    """Rows of a table that is no tensor of the model, by the tokens of a sample; or some of a sample's own numbers."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        if not _by_token(call):
            return super().times(call)
        if call.layer.axis != 0:
            raise InTheWay(Obstacle.NO_RULE, "It takes columns of a table, not rows.", ["Give {layer} axis=0."])
        return (call.flows[0].time,)

    def called(self, call: Call) -> Layer:
        return call.layer if _by_token(call) else super().called(call)

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        if not _by_token(call):
            return super().step(call, inputs, state)
        rows, (tokens,) = call.arguments["x"].shape[0], inputs
        known = keras.ops.logical_and(tokens >= -rows, tokens < rows)
        # A token that the table does not have is no number: the engine would stop at it.
        (found,), _ = super().step(call, [keras.ops.where(known, tokens, 0)], state)
        missing = len(found.shape) - len(known.shape)
        known = keras.ops.reshape(known, (-1, *known.shape[1:], *(1,) * missing))
        return [keras.ops.where(known, found, float("nan"))], []


@rule_for(nn.OneHot)
class OneOfMany(OfOneSample):
    """A 1 in the place of the token, zeros elsewhere; zeros alone for a token outside of the vocabulary."""

    kind: ClassVar[str] = "pointwise in time"

    def times(self, call: Call) -> tuple[int | None, ...]:
        (flow,) = call.flows
        axis = call.layer.axis % (flow.rank + 1)
        if flow.time is None or axis == 0:
            raise InTheWay(Obstacle.NO_RULE)
        return (flow.time + (axis <= flow.time),)


def vocabulary_of(call: Call) -> int | None:
    """How many tokens a look-up knows; None where the call is no look-up."""
    layer = call.layer
    if isinstance(layer, layers.TimeDistributed):
        layer = layer.layer
    if isinstance(layer, layers.Embedding):
        return int(layer.input_dim)
    if isinstance(layer, nn.OneHot):
        return int(layer.num_classes)
    return int(call.arguments["x"].shape[0]) if isinstance(layer, numpy.Take) and _by_token(call) else None


def only_passes(call: Call) -> bool:
    """Whether what comes out is what went in: the same numbers in another type or another place."""
    if vocabulary_of(call) is not None:
        return False
    return isinstance(call.rule, Moved | Collect) or isinstance(call.layer, core.Cast | layers.Identity)


def _by_token(call: Call) -> bool:
    return call.place("x") is None and call.place("indices") is not None
