"""Layers that are pointwise in time: the answer to a sample needs that sample alone, and nothing is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np

from processor.model.convert.activations import is_pointwise_function
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import RULES, Call, Flow, InTheWay, Rule, Tensor, rule_for
from processor.model.convert.rules.missing import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

layers = keras.layers


class Pointwise(Rule):
    """Called on the sample itself, which has lost its axis of time."""

    kind: ClassVar[str] = "pointwise in time"

    def times(self, call: Call) -> tuple[int | None, ...]:
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
                f"Its activation {name!r} is none of Keras' own functions, and may reach over time.",
                ["Use one of Keras' activations, by name, in {layer}."],
            )


@rule_for(layers.Activation)
class ActivationOnly(WithFunction):
    """An activation function as a layer."""


@rule_for(layers.Dense)
class Affine(WithFunction):
    """Dense. On the sample of two axes it is one FULLY_CONNECTED of the engine; on a sequence of one it is slower."""


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
    """BatchNormalization with the statistics of its training, which are numbers of a feature."""

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


@rule_for(layers.TimeDistributed)
class EachSample(Pointwise):
    """TimeDistributed of a layer that has no time of its own."""

    def admit(self, layer: Any, flow: Flow) -> None:
        if flow.time is None:
            raise InTheWay(Obstacle.NO_TIME_AXIS, "Time is gone before it: there is one answer a sequence.")
        rule = RULES.get(type(layer.layer))
        if not isinstance(rule, Pointwise):
            refuse(layer.layer, Flow(flow.shape, None))
        rule.admit(layer.layer, Flow(flow.shape, None))

    def answer(self, layer: Any, flow: Flow, sample: Tensor) -> Tensor:
        rule = RULES[type(layer.layer)]
        assert isinstance(rule, Pointwise)
        return rule.answer(layer.layer, Flow(flow.shape, None), sample)


@rule_for(layers.Flatten, layers.Reshape, layers.Permute)
class Reshaping(Pointwise):
    """What moves numbers about: harmless once time is gone, and before that a layer that collects time."""

    kind: ClassVar[str] = "after time is gone"

    def admit(self, layer: Any, flow: Flow) -> None:
        if flow.time is not None:
            raise InTheWay(
                Obstacle.COLLECTS_TIME,
                "",
                [
                    "Remove {layer}, give the last recurrent layer return_sequences=False, and train the model again: "
                    "every probability is then exact, from the first sample on.",
                    "Put TimeDistributed around {layer}, where it is meant for each sample by itself.",
                ],
            )
