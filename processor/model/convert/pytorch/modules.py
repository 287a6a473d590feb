"""PyTorch's modules as Keras layers with the same weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from keras import layers, ops

from processor.model.convert.pytorch.calls import UNARY, softened
from processor.model.convert.pytorch.description import RECURRENT
from processor.model.convert.pytorch.values import Stack, Value, Zeros
from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules import InTheWay

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Weights = dict[str, NDArray[Any]]

_PASSING: Final = {"Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout", "Identity"}
_KINDS: Final = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}


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
        return _recurrent(kind, options, weights, name, states)
    if kind in _PASSING:
        return Built(lambda value: value)
    if kind in _ONE_LAYER:
        return _ONE_LAYER[kind](options, weights, name)
    activation = _activation(kind, options)
    if activation is None:
        raise InTheWay(Obstacle.NO_RULE, f"{kind} is not followed.")
    return Built(activation)


def _recurrent(kind: str, options: dict[str, Any], weights: Weights, name: str, states: bool) -> Built:
    if options.get("proj_size"):
        raise InTheWay(Obstacle.NO_RULE, "proj_size: Keras has no LSTM whose output is a projection.")
    chain, weighted, both = [], [], bool(options["bidirectional"])
    for depth in range(options["num_layers"]):
        label = name if options["num_layers"] == 1 else f"{name}_l{depth}"
        ways = [
            _one(kind, options, weights, label if not way else f"{label}{way}", depth, way, states)
            for way in (("", "_reverse") if both else ("",))
        ]
        layer = (
            layers.Bidirectional(ways[0][0], backward_layer=ways[1][0], name=f"{label}_both") if both else ways[0][0]
        )
        chain.append(layer)
        weighted.append((layer, [weight for _, own in ways for weight in own]))
    batch = 0 if options["batch_first"] else 1
    width = weights["weight_ih_l0"].shape[1]
    return Built(lambda value, begin=None: _run(value, begin, chain, batch, kind, width), weighted)


def _run(value: Any, begin: Any, chain: list[Any], batch: int, kind: str, width: int) -> Any:
    starts = begin if isinstance(begin, list | tuple) else [begin]
    if not all(start is None or isinstance(start, Zeros) for start in starts):
        raise InTheWay(Obstacle.INITIAL_STATE)
    if not isinstance(value, Value) or value.rank != 3 or value.batch != batch:
        raise InTheWay(
            Obstacle.NO_RULE, f"It takes tensors with the batch as their axis {batch}, and was given others."
        )
    _of_width(value, width)
    x, held = value.tensor, []
    for layer in chain:
        given, states = layer(x), layer.return_state
        x, after = (given[0], list(given[1:])) if states else (given, [])
        held.append(after)
    stacks = _stacks(held, kind) if states else None
    return [Value(x, batch), stacks]


def _stacks(held: list[list[Any]], kind: str) -> Any:
    """The states of all layers and directions, each kind by itself."""
    if kind != "LSTM":
        return Stack([state for after in held for state in after])
    return [Stack([state for after in held for state in after[rank::2]]) for rank in range(2)]


def _one(
    kind: str, options: dict[str, Any], weights: Weights, name: str, depth: int, way: str, states: bool
) -> tuple[Any, list[NDArray[Any]]]:
    settings: dict[str, Any] = {
        "units": options["hidden_size"],
        "return_sequences": True,
        "return_state": states,
        "use_bias": options["bias"],
        "go_backwards": bool(way),
        "name": name,
    }
    if kind == "RNN":
        settings["activation"] = options.get("nonlinearity", "tanh")
    ending, units = f"l{depth}{way}", options["hidden_size"]
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    if weights[f"weight_hh_{ending}"].shape != (gates * units, units):
        raise ValueError(f"weight_hh_{ending} is not that of {units} units")
    kernels = [weights[f"weight_ih_{ending}"].T, weights[f"weight_hh_{ending}"].T]
    biases = [weights[f"bias_ih_{ending}"], weights[f"bias_hh_{ending}"]] if options["bias"] else []
    if kind == "GRU":
        # PyTorch has the gates reset, update, new; Keras has update, reset, new, and both biases, as here.
        kernels = [_gates(kernel) for kernel in kernels]
        return layers.GRU(reset_after=True, **settings), kernels + ([_gates(np.stack(biases))] if biases else [])
    return _KINDS[kind](**settings), kernels + ([biases[0] + biases[1]] if biases else [])


def _gates(values: NDArray[Any]) -> NDArray[Any]:
    reset, update, new = np.split(values, 3, axis=-1)
    return np.concatenate([update, reset, new], axis=-1)


def _last_axis(value: Any) -> Value:
    if not isinstance(value, Value) or value.batch == value.rank - 1:
        raise InTheWay(Obstacle.NO_RULE, "It runs over the axis of the batch.")
    return value


def _of_width(value: Any, width: int) -> Value:
    """The value, whose last axis has to be as wide as the weights: else a layer of any size would be made for it."""
    if not isinstance(value, Value) or value.tensor.shape[-1] != width:
        raise ValueError(f"a layer of the width {width} is given something else")
    return value


def _linear(_: dict[str, Any], weights: Weights, name: str) -> Built:
    outputs, width = weights["weight"].shape
    layer = layers.Dense(outputs, use_bias="bias" in weights, name=name)
    own = [weights["weight"].T, *([weights["bias"]] if "bias" in weights else [])]
    return Built(lambda value: _of_width(_last_axis(value), width).of(layer(value.tensor)), [(layer, own)])


def _embedding(options: dict[str, Any], weights: Weights, name: str) -> Built:
    if options.get("max_norm") is not None:
        raise InTheWay(Obstacle.NO_RULE, "max_norm changes its weights whenever it is called.")
    layer = layers.Embedding(*weights["weight"].shape, name=name)
    return Built(lambda value: value.of(layer(value.tensor)), [(layer, [weights["weight"]])])


def _layer_norm(options: dict[str, Any], weights: Weights, name: str) -> Built:
    if len(options["normalized_shape"]) != 1:
        raise InTheWay(Obstacle.NO_RULE, "It normalises over several axes.")
    has = {"scale": "weight" in weights, "center": "bias" in weights}
    layer = layers.LayerNormalization(axis=-1, epsilon=options["eps"], name=name, **has)
    own = [weights[key] for key in ("weight", "bias") if key in weights]
    return Built(lambda value: _last_axis(value).of(layer(value.tensor)), [(layer, own)])


def _batch_norm(options: dict[str, Any], weights: Weights, name: str) -> Built:
    if "running_mean" not in weights:
        raise InTheWay(Obstacle.TRAINING, "It normalises by the batch that it is given.")
    has = {"scale": "weight" in weights, "center": "bias" in weights}
    # A sequence has its features before time here, [B, F, T].
    layer = layers.BatchNormalization(axis=1, epsilon=options["eps"], name=name, **has)
    own = [weights[key] for key in ("weight", "bias", "running_mean", "running_var") if key in weights]

    def call(value: Any) -> Value:
        if not isinstance(value, Value) or value.batch != 0:
            raise InTheWay(Obstacle.NO_RULE, "It takes tensors with the batch as their first axis.")
        return value.of(layer(value.tensor))

    return Built(call, [(layer, own)])


_ONE_LAYER: Final[dict[str, Callable[[dict[str, Any], Weights, str], Built]]] = {
    "Linear": _linear,
    "Embedding": _embedding,
    "LayerNorm": _layer_norm,
    "BatchNorm1d": _batch_norm,
    "Flatten": lambda options, _, __: Built(lambda value: value.flattened(options["start_dim"], options["end_dim"])),
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
