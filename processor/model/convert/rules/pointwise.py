"""Layers that are pointwise in time: the answer to a sample needs that sample alone, and nothing is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np

from processor.model.convert.activations import is_pointwise_function
from processor.model.convert.along import RepeatedAlong
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import Call, Flow, InTheWay, Rule, Tensor, rule_for
from processor.model.convert.rules.equations import time_by_equation

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers


class Pointwise(Rule):
    """Called on the sample itself, which has lost its axis of time."""

    kind: ClassVar[str] = "pointwise in time"
    ignores_mask: ClassVar[bool] = False

    def times(self, call: Call) -> tuple[int | None, ...]:
        if len(call.flows) > 1:
            if call.place("mask") is None:
                raise InTheWay(Obstacle.NO_RULE, f"It is called with {len(call.flows)} tensors.")
            if not self.ignores_mask:
                raise InTheWay(Obstacle.MASK)
        self.admit(call.layer, call.flows[0])
        return (call.flows[0].time,)

    def admit(self, layer: Any, flow: Flow) -> None:
        """Raises InTheWay where the options of the layer reach over time."""

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [self.answer(call.layer, call.flows[0], inputs[0])], []

    def answer(self, layer: Any, flow: Flow, sample: Tensor) -> Tensor:
        return layer(sample)


class Positioned(Pointwise):
    """Called on a sequence of one sample, because its options count the axes of the whole tensor."""

    def answer(self, layer: Any, flow: Flow, sample: Tensor) -> Tensor:
        if flow.time is None:
            return layer(sample)
        return keras.ops.squeeze(layer(keras.ops.expand_dims(sample, flow.time)), flow.time)


@rule_for(layers.LeakyReLU, layers.ELU, layers.ReLU)
class Elementwise(Pointwise):
    """Each number by itself."""


@rule_for(
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
    layers.ActivityRegularization,
    layers.Identity,
)
class Passing(Pointwise):
    """What works in training only: the sample goes through as it is."""

    kind: ClassVar[str] = "does nothing after training"

    def answer(self, layer: Any, flow: Flow, sample: Tensor) -> Tensor:
        return sample


class WithFunction(Pointwise):
    """A layer with an activation function, which has to be pointwise in time itself."""

    def admit(self, layer: Any, flow: Flow) -> None:
        function = layer.activation
        if flow.time is not None and not is_pointwise_function(function):
            name = getattr(function, "__name__", None) or getattr(function, "name", type(function).__name__)
            raise InTheWay(
                Obstacle.CUSTOM_CODE,
                f"Its activation {name!r} is not one of Keras' own functions, and may reach over time.",
                ["Use one of Keras' activations, by name, in {layer}."],
            )


@rule_for(layers.Activation)
class ActivationOnly(WithFunction):
    """An activation function as a layer."""


@rule_for(layers.Dense)
class Affine(WithFunction):
    """Dense. On the sample of two axes it is one FULLY_CONNECTED of the engine; on a sequence of one it is slower."""

    def admit(self, layer: Any, flow: Flow) -> None:
        refuse_last_axis(flow)
        super().admit(layer, flow)


@rule_for(layers.EinsumDense)
class AffineByEquation(WithFunction):
    """EinsumDense whose equation leaves time alone."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        super().times(call)
        (flow,), kernel = call.flows, call.layer.kernel
        return (time_by_equation(call.layer.equation, [flow.rank, len(kernel.shape)], [flow.time, None]),)

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        (flow,), (time,) = call.flows, self.times(call)
        return [keras.ops.squeeze(call.layer(keras.ops.expand_dims(inputs[0], flow.time)), time)], []


@rule_for(layers.PReLU)
class LearntSlopes(Positioned):
    """PReLU whose slopes are shared over time. Without `shared_axes` it has one for each position."""

    def admit(self, layer: Any, flow: Flow) -> None:
        if flow.time is not None and flow.time not in (layer.shared_axes or ()):
            raise InTheWay(
                Obstacle.DEPENDS_ON_POSITION,
                f"Its slopes have the shape {tuple(layer.alpha.shape)}: one for each position of the sequence.",
                ["Give {layer} shared_axes=[1], and train the model again.", "Use LeakyReLU in place of {layer}."],
            )


@rule_for(layers.BatchNormalization)
class LearntStatistics(Positioned):
    """BatchNormalization with the statistics of its training, which are numbers of a feature; a mask has its part in
    training only."""

    ignores_mask: ClassVar[bool] = True

    def admit(self, layer: Any, flow: Flow) -> None:
        if flow.runs_over_time(layer.axis):
            raise InTheWay(
                Obstacle.DEPENDS_ON_POSITION,
                f"axis={layer.axis} is the axis of time: it has statistics for each position of the sequence.",
                ["Give {layer} axis=-1, and train the model again."],
            )


@rule_for(layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization, layers.Softmax)
class OverAxes(Positioned):
    """What compares the numbers along some axes, of which time must be none."""

    def admit(self, layer: Any, flow: Flow) -> None:
        if flow.runs_over_time(layer.axis):
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                f"axis={layer.axis} takes in the axis of time: each answer depends on all samples of the sequence.",
                ["Give {layer} axis=-1, and train the model again."],
            )


@rule_for(layers.Normalization)
class FixedStatistics(Positioned):
    """Normalization with the mean and variance that it was given or has adapted to."""

    def admit(self, layer: Any, flow: Flow) -> None:
        axes = layer.axis
        if axes is not None and flow.runs_over_time(axes):
            raise InTheWay(
                Obstacle.DEPENDS_ON_POSITION,
                f"axis={layer.axis} takes in the axis of time: it has a mean for each position of the sequence.",
                ["Give {layer} axis=-1."],
            )


@rule_for(layers.Rescaling)
class Scaling(Positioned):
    """Rescaling by numbers, or by arrays over a sample."""

    def admit(self, layer: Any, flow: Flow) -> None:
        if flow.time is not None and max(np.ndim(layer.scale), np.ndim(layer.offset)) > len(flow.shape):
            raise InTheWay(
                Obstacle.DEPENDS_ON_POSITION,
                "Its scale or offset has an axis of time: numbers for each position of the sequence.",
                ["Give {layer} a scale and an offset for one sample."],
            )


@rule_for(layers.Masking)
class Masked(Pointwise):
    """Masking: zeros in the place of a sample that is missing. The mask itself is a tensor of its own in the graph."""

    def admit(self, layer: Any, flow: Flow) -> None:
        if flow.time == flow.rank - 1:
            raise InTheWay(Obstacle.COLLECTS_TIME, "It looks for missing values along the axis of time.")


@rule_for(layers.Embedding)
class LookedUp(Pointwise):
    """Embedding of tokens. One that it does not have is no number: the engine would stop at it."""

    def answer(self, layer: Any, flow: Flow, sample: Tensor) -> Tensor:
        tokens = keras.ops.cast(sample, "int32")
        known = keras.ops.logical_and(tokens >= 0, tokens < layer.input_dim)
        # Not clipped: LiteRT would make one of its activations of some bounds, and has none for integers.
        found = layer(keras.ops.where(known, tokens, 0))
        return keras.ops.where(keras.ops.expand_dims(known, -1), found, float("nan"))


@rule_for(RepeatedAlong)
class Repeated(Rule):
    """A static input that goes along with each sample."""

    kind: ClassVar[str] = "static, with each sample"

    def times(self, call: Call) -> tuple[int | None, ...]:
        vector, sequence = call.flows
        if not vector.constant or vector.time is not None or sequence.time != call.layer.time:
            raise InTheWay(Obstacle.NEEDS_FUTURE, "It repeats what is known only after the last sample.")
        return (1,)

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        return [inputs[0]], []


def refuse_last_axis(flow: Flow) -> None:
    """Raises InTheWay where time is the last axis, which the layer treats as that of the features."""
    if flow.time is not None and flow.time == flow.rank - 1:
        raise InTheWay(Obstacle.COLLECTS_TIME, "It takes the axis of time for that of the features.")
