"""Activation functions: which are pointwise in time, and one that old files mean differently from today's Keras."""

from __future__ import annotations

from typing import Any, Final

import keras

_FUNCTIONS: Final = {
    getattr(keras.activations, name)
    for name in (
        "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
        "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink",
        "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh",
        "tanh_shrink",
    )
}  # fmt: skip


def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """`hard_sigmoid` as Keras 1 and 2 had it: at 2.0 it is 0.9, where today's is 0.8333."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


keras.saving.register_keras_serializable(package="processor")(hard_sigmoid_of_keras_2)


def is_pointwise_function(function: Any) -> bool:
    """Whether an activation looks at each sample by itself (softmax and its like compare features only)."""
    if isinstance(function, keras.layers.Layer):
        return type(function) in (keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.ReLU)
    return function in _FUNCTIONS or function is hard_sigmoid_of_keras_2
