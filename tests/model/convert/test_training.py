"""What matters in training alone: dropout, and `stateful`. Neither is in a step, nor is either a reason to refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import processor
from model import models
from processor.model.convert import ConversionRefused

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5
OFTEN = {"dropout": 0.5, "recurrent_dropout": 0.3}


class Cell(layers.Layer):
    """A cell of one's own that nobody tells of training: a Dropout layer, and a cell with dropout, inside."""

    def __init__(self) -> None:
        super().__init__()
        self.state_size, self.drop, self.dense = 3, layers.Dropout(0.5), layers.Dense(3, "tanh")
        self.inner = layers.SimpleRNNCell(3, **OFTEN)

    def build(self, shape: Any) -> None:
        self.dense.build((None, shape[-1] + 3))
        self.inner.build((None, 3))

    def call(self, x: Any, states: Any) -> Any:
        h, _ = self.inner(self.dense(ops.concatenate([self.drop(x), states[0]], axis=-1)), states)
        return h, [h]


class Noisy(Cell):
    """Draws numbers whether it trains or not, and uses them in training: which is the default of its call."""

    def __init__(self, *, always: bool = False) -> None:
        super().__init__()
        self.seeds, self.always = keras.random.SeedGenerator(1), always

    def call(self, x: Any, states: Any, training: bool = True) -> Any:
        noise = keras.random.uniform((1, 3), seed=self.seeds)
        return super().call(x + noise if training or self.always else x, states)


class Block(layers.Layer):
    """A layer of one's own whose call takes training for its default."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.dense = layers.Dropout(0.5), layers.Dense(3)

    def call(self, x: Any, training: bool = True) -> Any:
        return self.drop(self.dense(x * (0.0 if training else 1.0)), training=training)


def test_no_dropout_is_in_a_step(tmp_path: Path) -> None:
    model = models.sequential(
        layers.SimpleRNN(3, return_sequences=True, **OFTEN),
        layers.GRU(3, return_sequences=True, **OFTEN),
        layers.LSTM(3, return_sequences=True, **OFTEN),
        layers.RNN([layers.SimpleRNNCell(3, **OFTEN), Cell(), Noisy()], return_sequences=True),
        Block(),
        layers.SpatialDropout1D(0.5),
        layers.GaussianDropout(0.5),
        layers.AlphaDropout(0.5),
        layers.TimeDistributed(keras.Sequential([keras.Input((3,)), layers.Dropout(0.5), layers.Dense(4)])),
        layers.Reshape((-1, 2, 2, 1)),
        layers.ConvLSTM2D(2, 2, **OFTEN),
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(1),
    )
    processor.convert(model, tmp_path / "a")
    x = models.sequences(3, 6)
    truth = models.on_every_prefix(model, x)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)


def test_nor_in_a_model_that_runs_whole(tmp_path: Path) -> None:
    x = keras.Input((None, 3))
    both = layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True, **OFTEN))(x)
    seen = layers.MultiHeadAttention(2, 2, dropout=0.5)(both, both)
    seen = layers.Attention(dropout=0.5, seed=4)([seen, both])
    model = models.lively(keras.Model(x, layers.Dense(1)(layers.SimpleRNN(2, **OFTEN)(seen))))
    assert processor.convert(model, tmp_path / "a", mode="window", length=4).passed


def test_what_is_random_after_training_is_refused(tmp_path: Path) -> None:
    model = models.sequential(layers.RNN(Noisy(always=True)), layers.Dense(1))
    with pytest.raises(ConversionRefused, match="would do more than compute") as refused:
        processor.convert(model, tmp_path / "a")
    assert "Random" in refused.value.cause


def bands(**options: Any) -> Any:
    """One LSTM for three bands of a sequence, [bands, time, features]."""
    x = keras.Input((3, None, 4), batch_size=1, name="bands")
    shared = layers.LSTM(3, return_sequences=True, name="shared", **options)
    return models.lively(keras.Model(x, layers.Concatenate()([shared(x[:, band]) for band in range(3)])))


def test_each_call_of_a_shared_stateful_layer_has_a_state_of_its_own(tmp_path: Path) -> None:
    report = processor.convert(bands(stateful=True), tmp_path / "a")
    assert [slot.name for slot in report.layout][::2] == ["shared#0.h", "shared#1.h", "shared#2.h"]
    assert any("mixes the states of its calls" in remark for remark in report.remarks)
    x = models.sequences(1, 50, 3, 4)
    truth = np.asarray(bands()(np.moveaxis(x, 1, 2)))
    stepper = processor.load(tmp_path / "a")
    np.testing.assert_allclose(stepper.run(x), truth, atol=TOLERANCE)
    halves, state = [], None
    for part in (x[:, :25], x[:, 25:]):
        answers, state = stepper.advance(part, state)
        halves.append(answers)
    assert np.concatenate(halves, axis=1).tobytes() == np.asarray(stepper.run(x)).tobytes()


@pytest.mark.parametrize("cells", [[layers.GRUCell(2), layers.LSTMCell(2)], layers.GRUCell(2)], ids=["stacked", "one"])
def test_stateful_is_no_reason_to_refuse(cells: Any, tmp_path: Path) -> None:
    """Keras 3.15 cannot call a stateful stack of cells at all; and no call of one layer mixes anything."""
    model = models.sequential(layers.RNN(cells, stateful=True), layers.Dense(1), shape=(6, 3), batch=20)
    assert processor.convert(model, tmp_path / "a").remarks == []
    assert processor.load(tmp_path / "a").run(models.sequences(3, 6)).shape == (3, 6, 1)
