"""The oracle against Keras: both were written from the same papers, by different hands."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from model.oracle import ACTIVATIONS, answers

RECURRENT = {
    "lstm": lambda: layers.LSTM(5, return_sequences=True),
    "lstm without bias, other activations": lambda: layers.LSTM(
        4, activation="softsign", recurrent_activation="hard_sigmoid", use_bias=False, return_sequences=True
    ),
    "lstm with a layer as activation": lambda: layers.LSTM(
        4, activation=layers.LeakyReLU(negative_slope=0.1), return_sequences=True
    ),
    "gru, reset after": lambda: layers.GRU(5, return_sequences=True),
    "gru, reset before": lambda: layers.GRU(5, reset_after=False, return_sequences=True),
    "gru without bias": lambda: layers.GRU(5, use_bias=False, return_sequences=True),
    "simple": lambda: layers.SimpleRNN(6, return_sequences=True),
    "simple, relu, no bias": lambda: layers.SimpleRNN(6, activation="relu", use_bias=False, return_sequences=True),
}
POINTWISE = {
    "leaky relu": lambda: layers.LeakyReLU(),
    "relu": lambda: layers.ReLU(max_value=0.5, negative_slope=0.1, threshold=0.05),
    "elu": lambda: layers.ELU(alpha=0.7),
    "dropout": lambda: layers.Dropout(0.5),
    "batch normalization": lambda: layers.BatchNormalization(),
    "batch normalization, bare": lambda: layers.BatchNormalization(center=False, scale=False),
    "layer normalization": lambda: layers.LayerNormalization(),
    "layer normalization, without offset": lambda: layers.LayerNormalization(center=False),
    "time distributed": lambda: layers.TimeDistributed(layers.Dense(3, activation="tanh")),
    "softmax": lambda: layers.Softmax(),
}


def randomized(model: keras.Model) -> keras.Model:
    """Fresh layers have zero biases and unit scales, under which half of the equations could be wrong unseen."""
    random = np.random.default_rng(5)
    model.set_weights(
        [random.uniform(0.1, 0.6, w.shape) * random.choice([-1, 1], w.shape) for w in model.get_weights()]
    )
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(random.uniform(0.5, 2, layer.moving_variance.shape))
    return model


def agree(model: keras.Model, sequences: np.ndarray) -> None:
    every_prefix = [np.asarray(model(sequences[:, : t + 1])) for t in range(sequences.shape[1])]
    truth = [y[:, -1] if y.ndim == 3 else y for y in every_prefix]
    np.testing.assert_allclose(answers(model, sequences), np.stack(truth, axis=1), rtol=0, atol=3e-6)


@pytest.fixture
def sequences() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, 6, 4)).astype(np.float32)


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_are_those_of_the_papers(name: str, sequences: np.ndarray) -> None:
    agree(randomized(keras.Sequential([layers.Input((None, 4)), RECURRENT[name](), layers.Dense(2)])), sequences)


@pytest.mark.parametrize("name", POINTWISE)
def test_other_layers_too(name: str, sequences: np.ndarray) -> None:
    agree(randomized(keras.Sequential([layers.Input((None, 4)), layers.Dense(5), POINTWISE[name]()])), sequences)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(name: str, sequences: np.ndarray) -> None:
    agree(randomized(keras.Sequential([layers.Input((None, 4)), layers.Dense(5, activation=name)])), sequences)


def test_a_whole_model_that_ends_without_a_time_axis(sequences: np.ndarray) -> None:
    inputs = keras.Input((None, 4))
    hidden = layers.LeakyReLU()(layers.LSTM(8, return_sequences=True)(inputs))
    hidden = layers.GRU(5)(layers.Dropout(0.2)(hidden))
    agree(randomized(keras.Model(inputs, layers.Dense(1, activation="sigmoid")(hidden))), sequences)


def test_what_it_does_not_know_it_says(sequences: np.ndarray) -> None:
    model = keras.Sequential([layers.Input((None, 4)), layers.Bidirectional(layers.LSTM(2, return_sequences=True))])
    with pytest.raises(NotImplementedError, match="Bidirectional"):
        answers(model, sequences)
