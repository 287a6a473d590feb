"""Keras' functions in operations that LiteRT has, and that look up no shape while the graph runs.

LiteRT moves tensors from call to call where a shape is computed as the graph runs, which XNNPACK does not survive. So a
size that is not known, that of the batch, is left open (-1) and never looked up. What LiteRT lacks, or fuses into an
operation that answers otherwise, is written in another way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from processor.model.convert.toggles import changed

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from processor.model.convert.rules import Tensor

_numpy, _nn = keras.src.backend.numpy, keras.src.backend.nn


def as_litert_has_it() -> contextlib.AbstractContextManager[None]:
    """While a step graph is recorded, Keras' layers and operations call these functions."""
    settings = [(_numpy, name, function(getattr(_numpy, name))) for name, function in _ARRAYS.items()]
    settings += [(_nn, name, _in_planes(getattr(_nn, name))) for name in ("max_pool", "average_pool")]
    normalize = (keras.src.ops.nn, "_normalize", _normalize(keras.src.ops.nn._normalize))
    return changed(*settings, normalize)


def _reshape(reshape: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A shape that names one size by looking it up, as Flatten and Reshape name the batch, leaves it open instead."""

    def reshaped(x: Tensor, newshape: Any) -> Tensor:
        sizes = list(newshape) if isinstance(newshape, (tuple, list)) else [newshape]
        looked_up = [at for at, size in enumerate(sizes) if tf.is_tensor(size)]
        if len(looked_up) == 1 and -1 not in [size for size in sizes if not tf.is_tensor(size)]:
            sizes[looked_up[0]] = -1
            return reshape(x, tuple(sizes))
        return reshape(x, newshape)

    return reshaped


def _matmul(matmul: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A tensor of more than two axes times a matrix is one product of matrices."""

    def multiplied(x1: Tensor, x2: Tensor) -> Tensor:
        shape: Any = getattr(x1, "shape", ())
        if len(shape) < 3 or len(x2.shape) != 2 or not _only_batch_is_open(shape):
            return matmul(x1, x2)
        flat = matmul(tf.reshape(x1, (-1, shape[-1])), x2)
        return tf.reshape(flat, (-1, *shape[1:-1], x2.shape[-1]))

    return multiplied


def _repeat(repeat: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Every number of an axis so many times."""

    def repeated(x: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
        shape: Any = getattr(x, "shape", ())
        at = None if axis is None else axis % len(shape)
        if not at or not isinstance(repeats, int) or not _only_batch_is_open(shape):
            return repeat(x, repeats, axis=axis)
        copies = tf.tile(tf.expand_dims(x, at + 1), [repeats if n == at + 1 else 1 for n in range(len(shape) + 1)])
        return tf.reshape(copies, (-1, *shape[1:at], shape[at] * repeats, *shape[at + 1 :]))

    return repeated


def _zeros_like(_: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, dtype=None: tf.cast(tf.zeros_like(_as_numbers(x)), dtype or x.dtype)


def _ones_like(_: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, dtype=None: tf.cast(tf.zeros_like(_as_numbers(x)) + 1, dtype or x.dtype)


_ARRAYS = {
    "reshape": _reshape, "matmul": _matmul, "repeat": _repeat, "zeros_like": _zeros_like, "ones_like": _ones_like,
}  # fmt: skip


def _in_planes(pool: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A pooling window of three axes, which LiteRT does not have, is one of two and then one of the first alone."""

    def pooled(
        inputs: Tensor, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
    ) -> Tensor:
        if len(inputs.shape) != 5:
            return pool(inputs, pool_size, strides, padding, data_format)
        is_first = keras.src.backend.standardize_data_format(data_format) == "channels_first"
        x = tf.transpose(inputs, (0, 2, 3, 4, 1)) if is_first else inputs
        sizes = _three(pool_size)
        steps = sizes if strides is None else _three(strides)
        _, depth, height, width, channels = x.shape
        x = tf.reshape(x, (-1, height, width, channels))
        x = pool(x, sizes[1:], steps[1:], padding, "channels_last")
        _, height, width, _ = x.shape
        x = tf.reshape(x, (-1, depth, height * width, channels))
        if (sizes[0], steps[0]) != (1, 1):
            x = pool(x, (sizes[0], 1), (steps[0], 1), padding, "channels_last")
        x = tf.reshape(x, (-1, x.shape[1], height, width, channels))
        return tf.transpose(x, (0, 4, 1, 2, 3)) if is_first else x

    return pooled


def _normalize(normalize: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Divided by its length, which counts as `epsilon` at the least. LiteRT would fuse Keras' own way into an
    operation that makes NaN of zeros."""

    def normalized(x: Tensor, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
        if order != 2:
            return normalize(x, axis, order, epsilon)
        least = keras.config.epsilon() if epsilon is None else epsilon
        length = keras.ops.sqrt(keras.ops.sum(keras.ops.square(x), axis=axis, keepdims=True))
        return x / keras.ops.maximum(length, least)

    return normalized


def _only_batch_is_open(shape: Any) -> bool:
    return None not in list(shape)[1:]


def _three(size: Any) -> tuple[int, ...]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size,) * 3


def _as_numbers(x: Tensor) -> Tensor:
    return tf.cast(x, tf.int32) if x.dtype == tf.bool else x
