"""A small trained model to show things on: what a sequence model of three sensors looks like before it is converted.

LSTM(32), LeakyReLU, LSTM(16), LeakyReLU, Dense(1, sigmoid), trained by `fit` on windows of 7 samples. What it learns is
made up, and has memory: whether one sensor has on the whole been above the two others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.model.convert.quiet import prepare, silence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Answers = Callable[[dict[str, NDArray[np.float32]]], NDArray[np.float32]]

WINDOW: Final = 7
FEATURES: Final = 3
INPUT: Final = "samples"
_TRAINED_ON: Final = 4096
_JUDGED_ON: Final = 1024
_EPOCHS: Final = 5


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model, in memory and as a file. `accuracy`: on windows that it was not trained on, 0 to 1."""

    model: Any
    path: Path
    accuracy: float
    windows: int
    parameters: int
    seconds: float


def train(path: Path, seed: int = 1, epoch_done: Callable[[int, int], None] | None = None) -> Trained:
    """Trains the model on synthetic windows and saves it as `path` (a `.keras` file).

    epoch_done: called after every epoch with how many are done, and of how many.

    Raises:
        ConfigError: Keras or TensorFlow is not installed.
    """
    prepare()
    import keras

    started = time.monotonic()
    keras.utils.set_random_seed(seed)
    model = _model(WINDOW, every_step=False)
    model.compile(keras.optimizers.Adam(0.005), loss="binary_crossentropy", metrics=["accuracy"])
    windows, labels = _windows(_TRAINED_ON + _JUDGED_ON, seed)
    tell = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, _logs: epoch_done(epoch + 1, _EPOCHS) if epoch_done else None
    )
    with silence():
        model.fit(
            windows[:_TRAINED_ON], labels[:_TRAINED_ON], epochs=_EPOCHS, batch_size=64, verbose=0, callbacks=[tell]
        )
        _, accuracy = model.evaluate(windows[_TRAINED_ON:], labels[_TRAINED_ON:], batch_size=256, verbose=0)
        model.save(path)
    seconds = time.monotonic() - started
    return Trained(model, path, float(accuracy), _TRAINED_ON, int(model.count_params()), seconds)


def at_every_step(trained: Trained) -> Answers:
    """What Keras predicts after every sample of whole sequences: {input: [rows, T, 3]} -> [rows, T, 1], for any T.

    The same layers with the same weights, but for `return_sequences` in the last LSTM: nothing of the converter is in
    it. That it is the trained model is tried on windows of the trained length.
    """
    import tensorflow as tf

    with silence():
        twin = _model(None, every_step=True)
        twin.set_weights(trained.model.get_weights())
        compiled = tf.function(lambda samples: twin(samples, training=False), reduce_retracing=True)

        windows, _ = _windows(_JUDGED_ON, seed=2)
        by_twin = compiled(tf.constant(windows)).numpy()[:, -1]
        apart = np.abs(by_twin - trained.model(windows, training=False).numpy()).max()
    if apart > 1e-6:
        raise AssertionError(f"The model at every step is not the trained one: {apart} apart.")

    def answers(features: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        with silence():
            found: NDArray[np.float32] = compiled(tf.constant(features[INPUT])).numpy()
        return found

    return answers


def _model(length: int | None, *, every_step: bool) -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((length, FEATURES), name=INPUT),
            layers.LSTM(32, return_sequences=True),
            layers.LeakyReLU(),
            layers.LSTM(16, return_sequences=every_step),
            layers.LeakyReLU(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def _windows(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows [count, 7, 3] of normal numbers, and labels [count, 1]: recent samples count more than early ones."""
    windows = np.random.default_rng(seed).standard_normal((count, WINDOW, FEATURES)).astype(np.float32)
    apart = windows[:, :, 0] - windows[:, :, 1:].mean(axis=2)
    weights = 0.8 ** np.arange(WINDOW - 1, -1, -1)
    return windows, (apart @ weights > 0).astype(np.float32)[:, None]
