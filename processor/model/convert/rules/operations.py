"""Operations of keras.ops and Python's operators, and the layers that merge tensors, off the axis of time.

Each is called on sequences of one sample, so that its options count the axes that they were written for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import keras
import numpy as np
import tensorflow as tf
from keras.src.ops import core, math, nn, numpy

from processor.model.convert.refusal import Obstacle
from processor.model.convert.reshapes import target_of, with_size
from processor.model.convert.rules.base import RULES, Call, Flow, Hole, InTheWay, Layer, Rule, Tensor, rule_for
from processor.model.convert.rules.equations import time_by_equation
from processor.model.convert.rules.whole import call_by_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

layers = keras.layers
_LAST: Final = (
    "Remove {layer}, give the last recurrent layer return_sequences=False, and train the model again: every "
    "probability is then exact, from the first sample on."
)
_EACH: Final = "Put TimeDistributed around {layer}, where it is meant for each sample by itself."


class OfOneSample(Rule):
    """Called on sequences of one sample, of which the axis of time is taken off again."""

    kind: ClassVar[str] = "pointwise in time"

    def called(self, call: Call) -> Layer:
        """What is called on sequences of one sample."""
        return call.layer

    def step(self, call: Call, inputs: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        times = self.times(call)
        outputs = keras.tree.flatten(call_by_name(self.called(call), call.filled(_with_time(call, inputs))))
        if len(times) != len(outputs):
            times = (times[0],) * len(outputs)
        return [y if time is None else keras.ops.squeeze(y, time) for y, time in zip(outputs, times, strict=True)], []


class Elementwise(OfOneSample):
    """Each number with those in the same place: every tensor has time in the same place, counted from the right."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        rank = max(flow.rank for flow in call.flows)
        (from_right,) = _same({flow.rank - flow.time for flow in call.flows if flow.time is not None})
        for flow in call.flows:
            if flow.time is None:
                axis = flow.rank - from_right
                if axis < 1 or flow.shape[axis - 1] != 1:
                    raise _misplaced()
        for shape in _arrays(call.arguments):
            if len(shape) >= from_right and shape[-from_right] != 1:
                raise InTheWay(
                    Obstacle.DEPENDS_ON_POSITION,
                    f"An array of the shape {shape} has an axis of time: numbers for each position of the sequence.",
                )
        return (rank - from_right,)


@rule_for(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
class Merged(Elementwise):
    """The same as a layer, which lets a tensor of fewer axes stand for every sample."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        rank = max(flow.rank for flow in call.flows)
        if all(flow.time == 1 if flow.time else flow.rank == rank - 1 for flow in call.flows):
            return (1,)
        return super().times(call)


@rule_for(layers.Concatenate, numpy.Concatenate)
class Joined(OfOneSample):
    """Side by side along another axis than that of time."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        flow = call.flows[0]
        if any(other.time is None for other in call.flows):
            raise _misplaced()
        (time,) = _same({other.time for other in call.flows})
        axis = call.arguments.get("axis", getattr(call.layer, "axis", -1))
        if flow.runs_over_time(axis):
            raise InTheWay(Obstacle.NEEDS_FUTURE, "It lays sequences one after the other.")
        return (time,)


class AlongAxes(OfOneSample):
    """What compares the numbers along some axes, of which time must be none, and keeps them all."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        (flow,) = call.flows
        if flow.runs_over_time(axes_of(call, flow)):
            raise InTheWay(
                Obstacle.NEEDS_FUTURE,
                "It takes in the axis of time: each answer depends on all samples of the sequence.",
            )
        return (flow.time,)


class Reduced(AlongAxes):
    """A sum, mean, greatest or any along some axes, of which time must be none."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        (time,) = super().times(call)
        (flow,) = call.flows
        if call.arguments.get("keepdims", getattr(call.layer, "keepdims", False)):
            return (time,)
        assert time is not None
        return (time - sum(axis % flow.rank < time for axis in axes_of(call, flow)),)


class Contracted(OfOneSample):
    """A product with an array of weights over another axis than that of time, or of two tensors in each sample."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        if len(call.flows) == 2 and all(flow.rank > 3 and flow.time for flow in call.flows):
            one, other = call.flows
            if one.rank == other.rank and one.time == other.time and (one.time or 0) < one.rank - 2:
                return (one.time,)
        if len(call.flows) != 1 or call.place("x1") is None:
            raise InTheWay(Obstacle.NEEDS_FUTURE, "It multiplies tensors of all samples by each other.")
        (flow,), (shape,) = call.flows, list(_arrays(call.arguments)) or [()]
        if len(shape) > 2 or flow.time == flow.rank - 1:
            raise InTheWay(Obstacle.COLLECTS_TIME, "It sums over the axis of time, or has weights for each position.")
        return (flow.time,)


class ByEquation(OfOneSample):
    """Sums of products by an equation that leaves time alone."""

    def times(self, call: Call) -> tuple[int | None, ...]:
        operands = keras.tree.flatten(list(call.arguments.values()))
        times = [call.flows[x.place].time if isinstance(x, Hole) else None for x in operands]
        ranks = [call.flows[x.place].rank if isinstance(x, Hole) else len(x.shape) for x in operands]
        return (time_by_equation(call.layer.subscripts, ranks, times),)


class Moved(OfOneSample):
    """What only moves numbers about. Where they go is found out by moving numbers that say where they were."""

    kind: ClassVar[str] = "moves numbers about"

    def times(self, call: Call) -> tuple[int | None, ...]:
        places, _ = self._found(call)
        return places

    def called(self, call: Call) -> Layer:
        _, axis = self._found(call)
        target = target_of(call.layer)
        return call.layer if axis is None or target is None else with_size(target, axis, 1)

    def _found(self, call: Call) -> tuple[tuple[int | None, ...], int | None]:
        """Where time comes to lie, and which size of a Reshape's target is the length, where one is."""
        target = target_of(call.layer) or ()
        named = [] if {-1, None} & {*target} else [(axis, with_size(target, axis, -1)) for axis in range(len(target))]
        for axis, layer in ((None, call.layer), *named):
            places = [_places(layer, call, length) for length in (5, 7)]
            if places[0] is not None and places[0] == places[1]:
                return places[0], axis
        flattens, reshapes = isinstance(call.layer, layers.Flatten), isinstance(call.layer, layers.Reshape)
        raise InTheWay(
            Obstacle.COLLECTS_TIME,
            "" if flattens else "It mixes the axis of time with others, or takes some of the samples out.",
            [_LAST, _EACH] if flattens else [_EACH] if reshapes else [],
        )


def axes_of(call: Call, flow: Flow) -> list[int]:
    """The axes that an operation runs along; all of them where it names none."""
    axis = call.arguments.get("axis", getattr(call.layer, "axis", None))
    if axis is None:
        return list(range(flow.rank))
    return [int(some) for some in axis] if isinstance(axis, list | tuple) else [int(axis)]


def _places(layer: Layer, call: Call, length: int) -> tuple[int | None, ...] | None:
    """Where time comes to lie in each output; None for an output of the newest sample alone; None for none such."""
    rows, flows = 3, call.flows
    inputs = []
    for flow in flows:
        if flow.time is None:
            return None
        shape = [rows, *flow.shape]
        shape.insert(flow.time, length)
        marks = np.arange(rows).reshape(-1, *(1,) * (len(shape) - 1)) * 100
        steps = np.arange(length).reshape(*(1,) * flow.time, -1, *(1,) * (len(shape) - flow.time - 1))
        inputs.append(np.broadcast_to(marks + steps, shape).astype(np.float32))
    try:
        with tf.init_scope():  # with numbers, even where the step graph is being built
            outputs = keras.tree.flatten(call_by_name(layer, call.filled(inputs)))
            found = [_place(np.asarray(y), rows, length) for y in outputs]
    except Exception:  # it has the model's own length in its options
        return None
    return None if -1 in found else tuple(found)


def _place(moved: Any, rows: int, length: int) -> int | None:
    """The axis along which time runs on in numbers that say where they were; None: the newest only; -1: neither."""
    row = np.arange(rows).reshape(-1, *(1,) * (moved.ndim - 1))
    if moved.ndim < 1 or moved.shape[0] != rows or not (moved // 100 == row).all():
        return -1
    steps = moved % 100
    if (steps == length - 1).all():
        return None
    for axis in range(1, moved.ndim):
        wanted = np.arange(length).reshape(*(1,) * axis, -1, *(1,) * (moved.ndim - axis - 1))
        if moved.shape[axis] == length and (steps == wanted).all():
            return axis
    return -1


def _with_time(call: Call, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [
        x if flow.time is None else keras.ops.expand_dims(x, flow.time)
        for x, flow in zip(inputs, call.flows, strict=True)
    ]


def _same(values: set[Any]) -> set[Any]:
    if len(values) != 1:
        raise _misplaced()
    return values


def _misplaced() -> InTheWay:
    return InTheWay(Obstacle.NEEDS_FUTURE, "Time does not lie in the same place in what it takes.")


def _arrays(arguments: Any) -> Iterable[tuple[int, ...]]:
    """The shapes of arrays and weights among the arguments."""
    for leaf in keras.tree.flatten(arguments):
        if isinstance(leaf, np.ndarray) or hasattr(leaf, "shape"):
            yield tuple(leaf.shape)


def _table(rule: Rule, names: str, *modules: Any) -> None:
    for name in names.split():
        for module in modules:
            kind = getattr(module, name, None)
            if isinstance(kind, type):
                RULES.setdefault(kind, rule)


_table(
    Elementwise(),
    "Abs Absolute Add Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Cast Cbrt Ceil Celu Clip Conj Cos Cosh "
    "Deg2rad Divide DivideNoNan Elu Equal Erf Erfinv Exp Exp2 Expm1 Floor FloorDivide Gelu Greater GreaterEqual "
    "HardShrink HardSigmoid HardSilu HardTanh Heaviside Hypot Identity IsClose Isfinite Isinf Isnan LeakyRelu Less "
    "LessEqual Log Log10 Log1p Log2 LogSigmoid Logaddexp LogicalAnd LogicalNot LogicalOr LogicalXor Maximum Minimum "
    "Mish Mod Multiply Negative NanToNum NotEqual OnesLike Power Reciprocal Relu Relu6 Round Rsqrt Selu Sigmoid Sign "
    "Silu Sin Sinh SoftShrink Softplus Softsign SparseSigmoid Sqrt Square Squareplus StopGradient Subtract Tan Tanh "
    "TanhShrink Threshold TrueDivide Trunc Where ZerosLike",
    numpy, nn, core, math,
)  # fmt: skip
_table(AlongAxes(), "LogSoftmax Normalize Softmax Sparsemax Sort Argsort", nn, numpy)
_table(Reduced(), "All Amax Amin Any Argmax Argmin CountNonzero Logsumexp Max Mean Median Min Prod Std Sum Var Norm",
       numpy, math)  # fmt: skip
_table(Contracted(), "Matmul Dot", numpy)
_table(ByEquation(), "Einsum", numpy)
_table(
    Moved(),
    "BroadcastTo ExpandDims Flip GetItem Moveaxis Ravel Repeat Reshape Roll Rot90 Split Squeeze Stack Swapaxes Take "
    "Tile Transpose Unstack",
    numpy, core,
)  # fmt: skip
RULES.update(
    dict.fromkeys(
        (
            layers.Flatten, layers.Reshape, layers.Permute, layers.Cropping1D, layers.Cropping2D, layers.Cropping3D,
            layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D,
        ),
        Moved(),
    )
)  # fmt: skip
