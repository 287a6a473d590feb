"""The oracle: recurrent models in float64 NumPy, sample by sample, written from the papers' equations.

It shares no code with the converter or the engine, and imports neither Keras nor TensorFlow: of a Keras model it reads
the layers' configurations and weights, nothing else. Every layer is a function of one sample and of its own memory, so
that the answer after sample t is that of the prefix that ends there.

Sources:
- LSTM: S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; with the forget gate of
  F. Gers, J. Schmidhuber, F. Cummins, "Learning to Forget", Neural Computation 12(10), 2000.
- GRU: K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", EMNLP 2014, equations 5 to 8; with
  `reset_after` the variant whose reset gate acts on the recurrent product (J. Chung et al., "Empirical Evaluation of
  Gated Recurrent Neural Networks on Sequence Modeling", 2014, has both).
- SimpleRNN: J. Elman, "Finding Structure in Time", Cognitive Science 14(2), 1990.
- Batch normalization, at inference: S. Ioffe, C. Szegedy, ICML 2015, algorithm 2.
- Layer normalization: J. Ba, J. Kiros, G. Hinton, 2016, equation 3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Step = Callable[[Array], Array]


def sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))  # the same function, and never an overflow


def softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def leaky(x: Array, slope: float) -> Array:
    return np.where(x >= 0, x, slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu(x: Array) -> Array:
    return 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


ACTIVATIONS: dict[str, Step] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x: leaky(x, 0.2),
    "elu": elu,
    "selu": lambda x: 1.05070098735548049342 * elu(x, 1.67326324235437728481),
    "gelu": gelu,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "exponential": np.exp,
    "softmax": softmax,
    "log_softmax": lambda x: np.log(softmax(x)),
}


def activation(config: Any) -> Step:
    """The function that a layer's configuration names; a dict names a layer that is used as one."""
    if isinstance(config, dict):
        inner = config["config"]
        return activation(inner) if isinstance(inner, str) else _without_weights(config["class_name"], inner)
    return ACTIVATIONS[config or "linear"]


class LSTM:
    """i, f, o = s(W x + U h + b); c' = f c + i g(W_c x + U_c h + b_c); h' = o g(c')."""

    def __init__(self, config: dict[str, Any], weights: list[Array]) -> None:
        self.units = config["units"]
        self.kernel, self.recurrent = weights[:2]
        self.bias = weights[2] if config["use_bias"] else np.zeros(4 * self.units)
        self.gate, self.cell = activation(config["recurrent_activation"]), activation(config["activation"])
        self.h: Array | float = 0.0
        self.c: Array | float = 0.0

    def __call__(self, x: Array) -> Array:
        h = np.broadcast_to(self.h, (len(x), self.units))
        i, f, g, o = np.split(x @ self.kernel + h @ self.recurrent + self.bias, 4, axis=-1)
        self.c = self.gate(f) * self.c + self.gate(i) * self.cell(g)
        self.h = self.gate(o) * self.cell(self.c)
        return self.h


class GRU:
    """z, r = s(W x + U h + b); h~ = g(W x + U (r h) + b), or g(W x + b + r (U h + b')); h' = z h + (1 - z) h~."""

    def __init__(self, config: dict[str, Any], weights: list[Array]) -> None:
        self.units, self.reset_after = config["units"], config["reset_after"]
        self.kernels = np.split(weights[0], 3, axis=-1)
        self.recurrents = np.split(weights[1], 3, axis=-1)
        bias = weights[2] if config["use_bias"] else np.zeros(3 * self.units)
        own, recurrent = bias if self.reset_after and config["use_bias"] else (bias, np.zeros_like(bias))
        self.biases, self.recurrent_biases = np.split(own, 3), np.split(recurrent, 3)
        self.gate, self.candidate = activation(config["recurrent_activation"]), activation(config["activation"])
        self.h: Any = 0.0

    def __call__(self, x: Array) -> Array:
        h = np.broadcast_to(self.h, (len(x), self.units))
        of_x = [x @ kernel + bias for kernel, bias in zip(self.kernels, self.biases, strict=True)]
        of_h = [h @ kernel + bias for kernel, bias in zip(self.recurrents, self.recurrent_biases, strict=True)]
        z, r = self.gate(of_x[0] + of_h[0]), self.gate(of_x[1] + of_h[1])
        memory = r * of_h[2] if self.reset_after else (r * h) @ self.recurrents[2]
        self.h = z * h + (1 - z) * self.candidate(of_x[2] + memory)
        return self.h


class SimpleRNN:
    """h' = g(W x + U h + b)."""

    def __init__(self, config: dict[str, Any], weights: list[Array]) -> None:
        self.units = config["units"]
        self.kernel, self.recurrent = weights[:2]
        self.bias = weights[2] if config["use_bias"] else np.zeros(self.units)
        self.activation = activation(config["activation"])
        self.h: Array | float = 0.0

    def __call__(self, x: Array) -> Array:
        h = np.broadcast_to(self.h, (len(x), self.units))
        self.h = self.activation(x @ self.kernel + h @ self.recurrent + self.bias)
        return self.h


RECURRENT: dict[str, Callable[[dict[str, Any], list[Array]], Step]] = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": SimpleRNN}
NOTHING_AT_INFERENCE = {
    "InputLayer",
    "Dropout",
    "SpatialDropout1D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
}


def _dense(config: dict[str, Any], weights: list[Array]) -> Step:
    function = activation(config["activation"])
    bias = weights[1] if config["use_bias"] else 0.0
    return lambda x: function(x @ weights[0] + bias)


def _scale_and_offset(config: dict[str, Any], weights: list[Array]) -> tuple[Any, Any, list[Array]]:
    rest = list(weights)
    scale = rest.pop(0) if config["scale"] else 1.0
    offset = rest.pop(0) if config["center"] else 0.0
    return scale, offset, rest


def _batch_normalization(config: dict[str, Any], weights: list[Array]) -> Step:
    scale, offset, (mean, variance) = _scale_and_offset(config, weights)
    deviation = np.sqrt(variance + config["epsilon"])
    return lambda x: (x - mean) / deviation * scale + offset


def _layer_normalization(config: dict[str, Any], weights: list[Array]) -> Step:
    scale, offset, _ = _scale_and_offset(config, weights)

    def normalize(x: Array) -> Array:
        variance = x.var(axis=-1, keepdims=True)
        return (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(variance + config["epsilon"]) * scale + offset

    return normalize


def _rectify(config: dict[str, Any]) -> Step:
    threshold, slope = config["threshold"], config["negative_slope"]
    ceiling = math.inf if config["max_value"] is None else config["max_value"]
    return lambda x: np.where(x >= threshold, np.minimum(x, ceiling), slope * (x - threshold))


def _without_weights(kind: str, config: dict[str, Any]) -> Step:
    if kind in NOTHING_AT_INFERENCE:
        return lambda x: x
    if kind == "Activation":
        return activation(config["activation"])
    if kind == "LeakyReLU":
        return lambda x: leaky(x, config["negative_slope"])
    if kind == "ReLU":
        return _rectify(config)
    if kind == "ELU":
        return lambda x: elu(x, config["alpha"])
    if kind == "Softmax":
        return softmax
    raise NotImplementedError(f"the oracle knows no {kind}")


def _layer(layer: Any) -> Step:
    kind, config = type(layer).__name__, layer.get_config()
    if kind == "TimeDistributed":
        return _layer(layer.layer)  # one sample is what it hands to its inner layer anyway
    weights = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
    if kind in RECURRENT:
        return RECURRENT[kind](config, weights)
    if kind == "Dense":
        return _dense(config, weights)
    if kind == "BatchNormalization":
        return _batch_normalization(config, weights)
    if kind == "LayerNormalization":
        return _layer_normalization(config, weights)
    return _without_weights(kind, config)


def answers(model: Any, sequences: NDArray[Any]) -> Array:
    """What a Keras model (a chain of layers) says after every sample of whole sequences.

    `sequences`: [R, T, *sample shape]. Returns float64[R, T, *output shape]: at t the answer to samples 0 to t, be the
    model's output one with a time axis (its newest row) or without.
    """
    layers = [_layer(layer) for layer in model.layers]
    rows = []
    for t in range(sequences.shape[1]):
        x = sequences[:, t].astype(np.float64)
        for step in layers:
            x = step(x)
        rows.append(x)
    return np.stack(rows, axis=1)
