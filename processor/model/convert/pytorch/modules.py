"""PyTorch's modules as Keras layers with the same weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keras import layers, ops

from processor.model.convert.pytorch.calls import UNARY
from processor.model.convert.pytorch.description import CELLS, RECURRENT
from processor.model.convert.pytorch.recurrent import Cell, Recurrent
from processor.model.convert.pytorch.tensors import features_last, padded, softened, value_of
from processor.model.convert.pytorch.values import Value
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Weights = dict[str, NDArray[Any]]

_PASSING: Final = {"Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout", "Identity"}


@dataclass
class Built:
    """A module's function of values, and its layers with the weights that they are to have."""

    call: Callable[..., Any]
    weighted: list[tuple[Any, list[NDArray[Any]]]] = field(default_factory=list)


def module_of(kind: str, options: dict[str, Any], weights: Weights, name: str, states: bool) -> Built:
    """The counterpart of a module of this kind. `states`: whether a recurrent one is asked for its states, too.

    Raises:
        InTheWay: it has none.
    """
    if kind in RECURRENT:
        module = Recurrent(kind, options, weights, name, states)
        return Built(module, module.weighted)
    if kind in CELLS:
        cell = Cell(kind.removesuffix("Cell"), options, weights, name)
        return Built(cell, cell.weighted)
    if kind in _PASSING:
        return Built(lambda value: value)
    if kind in _ONE_LAYER:
        return _ONE_LAYER[kind](options, weights, name)
    activation = _activation(kind, options)
    if activation is None:
        raise InTheWay(Obstacle.NO_RULE, f"{kind} is not followed.")
    return Built(lambda value: activation(value_of(value)))


def _linear(_: dict[str, Any], weights: Weights, name: str) -> Built:
    outputs, width = weights["weight"].shape
    layer = layers.Dense(outputs, use_bias="bias" in weights, name=name)
    own = [weights["weight"].T, *([weights["bias"]] if "bias" in weights else [])]

    def call(given: Any) -> Value:
        value = features_last(given, width)
        return value.of(layer(value.tensor))

    return Built(call, [(layer, own)])


def _embedding(options: dict[str, Any], weights: Weights, name: str) -> Built:
    if options.get("max_norm") is not None:
        raise InTheWay(Obstacle.NO_RULE, "max_norm changes its weights whenever it is called.")
    layer = layers.Embedding(*weights["weight"].shape, name=name)

    def call(value: Any) -> Value:
        straight = value_of(value).straight()
        return Value(layer(straight.tensor), (*straight.axes, (len(straight.tensor.shape),)))

    return Built(call, [(layer, [weights["weight"]])])


def _layer_norm(options: dict[str, Any], weights: Weights, name: str) -> Built:
    if len(options["normalized_shape"]) != 1:
        raise InTheWay(Obstacle.NO_RULE, "It normalises over several axes.")
    has = {"scale": "weight" in weights, "center": "bias" in weights}
    layer = layers.LayerNormalization(axis=-1, epsilon=options["eps"], name=name, **has)
    own = [weights[key] for key in ("weight", "bias") if key in weights]

    def call(given: Any) -> Value:
        value = features_last(given, options["normalized_shape"][0])
        return value.of(layer(value.tensor))

    return Built(call, [(layer, own)])


def _batch_norm(options: dict[str, Any], weights: Weights, name: str) -> Built:
    if "running_mean" not in weights:
        raise InTheWay(Obstacle.TRAINING, "It normalises by the batch that it is given.")
    has = {"scale": "weight" in weights, "center": "bias" in weights}
    own = [weights[key] for key in ("weight", "bias", "running_mean", "running_var") if key in weights]
    made: list[tuple[Any, Any]] = []

    def call(given: Any) -> Value:
        value = value_of(given)
        if value.batch != 0:
            raise InTheWay(Obstacle.NO_RULE, "It takes tensors with the batch as their first axis.")
        # A sequence has its features before time in PyTorch, [B, F, T].
        axis = value.axis(1)
        if not made:
            layer = layers.BatchNormalization(axis=axis, epsilon=options["eps"], name=name, **has)
            made.append((layer, own))
        elif made[0][0].axis != axis:
            raise InTheWay(Obstacle.NO_RULE, "Its calls have their features on different axes.")
        return value.of(made[0][0](value.tensor))

    return Built(call, made)


def _conv(options: dict[str, Any], weights: Weights, name: str) -> Built:
    (width,), (stride,), (dilation,) = (options[key] for key in ("kernel_size", "stride", "dilation"))
    reach, padding = (width - 1) * dilation, options["padding"]
    left, right = _both_ends(padding, reach)
    if stride != 1 or options["groups"] != 1 or options["padding_mode"] != "zeros":
        raise InTheWay(Obstacle.NO_RULE, "Its stride, groups or padding_mode are not followed.")
    outputs, channels, _ = weights["weight"].shape
    own = [weights["weight"].transpose(2, 1, 0), *([weights["bias"]] if "bias" in weights else [])]
    # Padded by all that it reaches, and at both ends: what it computes behind the newest sample is to be cut off.
    causal = bool(reach) and left == reach and right in (0, reach)
    layer = layers.Conv1D(
        outputs, width, dilation_rate=dilation, padding="causal" if causal else "valid", use_bias="bias" in weights,
        name=name,
    )  # fmt: skip

    def call(given: Any) -> Value:
        value = value_of(given)
        if value.rank != 3 or value.batch != 0:
            raise InTheWay(Obstacle.NO_RULE, "It takes tensors [batch, channels, time].")
        if not causal and (left or right):
            value = padded(value, left, right)
        value = features_last(value.permuted([0, 2, 1]), channels).straight()
        said = Value(layer(value.tensor), value.axes, (1, right) if causal else (0, 0))
        return said.permuted([0, 2, 1])

    return Built(call, [(layer, own)])


def _both_ends(padding: Any, reach: int) -> tuple[int, int]:
    if padding == "same":
        return reach // 2, reach - reach // 2
    amount = 0 if padding == "valid" else padding[0]
    return amount, amount


def _padding(options: dict[str, Any], _: Weights, __: str) -> Built:
    left, right = options["padding"]
    if options.get("value"):
        raise InTheWay(Obstacle.NO_RULE, "It pads with something else than zeros.")
    return Built(lambda value: padded(value_of(value), left, right))


_ONE_LAYER: Final[dict[str, Callable[[dict[str, Any], Weights, str], Built]]] = {
    "Linear": _linear,
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "BatchNorm1d": _batch_norm,
    "Conv1d": _conv,
    "ConstantPad1d": _padding,
    "ZeroPad1d": _padding,
    "Flatten": lambda options, _, __: Built(
        lambda value: value_of(value).flattened(options["start_dim"], options["end_dim"])
    ),
}


def _activation(kind: str, options: dict[str, Any]) -> Callable[[Value], Value] | None:
    if kind in ("Softmax", "LogSoftmax"):
        function = ops.softmax if kind == "Softmax" else ops.log_softmax
        return lambda value: softened(value, function, options["dim"])
    if kind == "LeakyReLU":
        return lambda value: value.of(ops.leaky_relu(value.tensor, options["negative_slope"]))
    if kind == "ELU":
        return lambda value: value.of(ops.elu(value.tensor, options["alpha"]))
    if kind == "GELU":
        return lambda value: value.of(ops.gelu(value.tensor, options["approximate"] == "tanh"))
    if (kind == "Softplus" and options.get("beta", 1) != 1) or (
        kind == "Hardtanh" and (options.get("min_val", -1), options.get("max_val", 1)) != (-1, 1)
    ):
        return None
    plain = UNARY.get(kind.lower())
    return None if plain is None else lambda value: value.of(plain(value.tensor))
