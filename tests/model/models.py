"""Small Keras models for tests: built the same every time, with weights that make every part of them matter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from keras import layers

if TYPE_CHECKING:
    from numpy.typing import NDArray


def sequential(*chain: Any, shape: tuple[int | None, ...] = (None, 3), batch: int | None = None, seed: int = 1) -> Any:
    """A Sequential model with an input of that shape, without the batch."""
    return lively(keras.Sequential([keras.Input(shape, batch_size=batch, name="samples"), *chain]), seed)


def lively(model: Any, seed: int = 1) -> Any:
    """Gives the model weights of its own: no bias and no statistic is left at the zero or one that hides mistakes."""
    rng = np.random.default_rng(seed)
    weights = []
    for weight in model.weights:
        value = rng.normal(0.0, 0.4, weight.shape)
        positive = any(word in weight.path for word in ("variance", "gamma", "scale"))
        weights.append(np.abs(value) + 0.5 if positive else value)
    model.set_weights(weights)
    return model


def fixed_model(length: int = 7, *, units: tuple[int, int] = (32, 16)) -> Any:
    """The model that is asked for everywhere, without Flatten: a probability after every sample."""
    return sequential(
        layers.LSTM(units[0], return_sequences=True),
        layers.LeakyReLU(),
        layers.Dropout(0.2),
        layers.LSTM(units[1]),
        layers.Dropout(0.2),
        layers.LeakyReLU(),
        layers.Dense(1, activation="sigmoid", name="probability"),
        shape=(length, 3),
    )


def flattened_model(length: int = 7, features: int = 3) -> Any:
    """The same with Flatten over time, which no single sample can be put through."""
    return sequential(
        layers.LSTM(32, activation="tanh", return_sequences=True),
        layers.LeakyReLU(),
        layers.Dropout(0.2),
        layers.LSTM(16, return_sequences=True),
        layers.Dropout(0.2),
        layers.LeakyReLU(),
        layers.Flatten(name="flatten"),
        layers.Dense(1, activation="sigmoid"),
        shape=(length, features),
    )


def stateful_model(batch: int = 20, length: int = 7) -> Any:
    """Trained stateful, with a fixed batch: its LSTM has the kernels (3, 128) and (32, 128)."""
    return sequential(
        layers.LSTM(32, return_sequences=True, stateful=True),
        layers.LSTM(8, stateful=True),
        layers.Dense(1, activation="sigmoid"),
        shape=(length, 3),
        batch=batch,
    )


def sequences(rows: int, length: int, *shape: int, seed: int = 7) -> NDArray[np.float32]:
    """[rows, length, *shape] of normal numbers; the shape of a sample is (3,) where none is given."""
    return np.random.default_rng(seed).standard_normal((rows, length, *(shape or (3,)))).astype(np.float32)


def on_every_prefix(model: Any, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """[rows, T, *shape] -> [rows, T, *output shape]: what the model says to each prefix alone, called as it is."""
    answers = []
    for t in range(1, x.shape[1] + 1):
        y = np.asarray(model(x[:, :t], training=False))
        has_time = y.ndim == len(model.output_shape) and model.output_shape[1] is None
        answers.append(y[:, -1] if has_time else y)
    return np.stack(answers, axis=1)
