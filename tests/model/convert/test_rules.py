"""The table of rules, row by row: what each remembers, and that it says what the trained model says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import processor
from model import models
from processor.model.convert import ConversionRefused, InTheWay, Obstacle, Piece, Rule, rule_for, rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOLERANCE = 1e-5


def slots(report: Any) -> list[str]:
    return [slot.name.rpartition("#")[2] for slot in report.layout]


@keras.saving.register_keras_serializable(package="tests")
class Leaky(layers.Layer):
    """A cell of one's own, with an output that is none of its states."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units, self.state_size, self.output_size = units, units, units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x: Any, states: Any) -> Any:
        h = 0.9 * states[0] + ops.matmul(x, self.kernel)
        return ops.tanh(h), [h]


CHAINS: dict[str, tuple[Callable[[], list[Any]], list[str]]] = {
    "cells": (
        lambda: [
            layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True),
            layers.RNN(Leaky(4), return_sequences=True),
            layers.RNN(layers.SimpleRNNCell(2)),
        ],
        ["0.0_h", "0.0_c", "0.1_h", "0.state_0", "0.h"],
    ),
    "convolutions": (
        lambda: [
            layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu"),
            layers.ZeroPadding1D((2, 0)),
            layers.Conv1D(3, 3),
            layers.ZeroPadding1D((2, 0)),
            layers.SeparableConv1D(3, 3),
            layers.ZeroPadding1D((2, 0)),
            layers.DepthwiseConv1D(3),
            layers.Conv1D(3, 1, padding="same"),
            layers.LSTM(3),
        ],
        ["0.last"] * 4 + ["0.h", "0.c"],
    ),
    "pooling": (
        lambda: [
            layers.ZeroPadding1D((3, 0)),
            layers.MaxPooling1D(4, strides=1),
            layers.ZeroPadding1D((1, 0)),
            layers.AveragePooling1D(2, strides=1),
            layers.LSTM(4, return_sequences=True),
            layers.GlobalAveragePooling1D(),
        ],
        ["0.last", "0.last", "0.h", "0.c", "0.sum", "0.rest", "0.count"],
    ),
    "unit length": (
        # Of the random sequences one is all zeros, which LiteRT's own way of this would make NaN of.
        lambda: [layers.UnitNormalization(), layers.Lambda(lambda x: ops.normalize(x - x, axis=-1) + x)],
        [],
    ),
    "greatest": (lambda: [layers.Dense(3), layers.GlobalMaxPooling1D(keepdims=True), layers.Flatten()], ["0.max"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str, tmp_path: Path) -> None:
    make, remembered = CHAINS[name]
    model, x = models.sequential(*make()), models.sequences(3, 9)
    report = processor.convert(model, tmp_path / "a")
    assert slots(report) == remembered
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), models.on_every_prefix(model, x), atol=TOLERANCE)


def test_images_in_recurrent_convolutions(tmp_path: Path) -> None:
    chain = [
        layers.ConvLSTM2D(2, 2, return_sequences=True),
        layers.BatchNormalization(),
        layers.TimeDistributed(layers.Conv2D(2, 2, activation="relu")),
        layers.TimeDistributed(layers.Flatten()),
        layers.LSTM(2),
    ]
    model, x = models.sequential(*chain, shape=(None, 4, 4, 2)), models.sequences(2, 4, 4, 4, 2)
    report = processor.convert(model, tmp_path / "a")
    assert report.layout[0].shape == (3, 3, 2)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), models.on_every_prefix(model, x), atol=TOLERANCE)
    for chain in (
        [layers.ConvLSTM1D(2, 3, padding="same", return_sequences=True), layers.ConvLSTM1D(2, 2), layers.Flatten()],
        [layers.ConvLSTM3D(1, 2, padding="same"), layers.GlobalAveragePooling3D()],
    ):
        shape = (None, 5, 2) if len(chain) == 3 else (None, 2, 2, 2, 1)
        model = models.sequential(*chain, shape=shape)
        processor.convert(model, tmp_path / f"{len(shape)} axes")


class TestMasks:
    """A masked sample holds the states; what is said meanwhile is the last output, or zeros."""

    def missing(self) -> np.ndarray:
        x = models.sequences(5, 8)
        for row, steps in enumerate(([], [0], [3, 4], [0, 1, 7], range(8))):
            x[row, list(steps)] = 0.5
        return x

    def test_masking(self, tmp_path: Path) -> None:
        chain = [
            layers.Masking(0.5),
            layers.LSTM(4, return_sequences=True),
            layers.TimeDistributed(layers.Dense(4)),
            layers.BatchNormalization(),
            layers.GRU(3, return_sequences=True, zero_output_for_mask=True),
            layers.RNN([layers.SimpleRNNCell(3), layers.GRUCell(2)], return_sequences=True),
            layers.RNN(Leaky(2)),
        ]
        model, x = models.sequential(*chain), self.missing()
        report = processor.convert(model, tmp_path / "a")
        assert slots(report) == ["0.h", "0.c", "0.h", "0.0_h", "0.1_h", "0.output", "0.state_0", "0.output"]
        np.testing.assert_allclose(
            processor.load(tmp_path / "a").run(x), models.on_every_prefix(model, x), atol=TOLERANCE
        )

    def test_initial_states_and_masks(self, tmp_path: Path) -> None:
        """Keras hands a mask on to a layer that takes initial states only where it is called with one."""
        x, place = keras.Input((None, 3), name="x"), keras.Input((2,), name="place")
        y, begun = layers.Masking(0.5)(x), [layers.Dense(4)(place) for _ in range(2)]
        unmasked = layers.LSTM(4, return_sequences=True)(y, initial_state=begun)
        seen = ops.any(ops.not_equal(x, 0.5), axis=-1)
        masked = layers.GRU(4, return_sequences=True)(y, initial_state=begun[0], mask=seen)
        zeros = layers.SimpleRNN(4, return_sequences=True, zero_output_for_mask=True)(
            y, initial_state=begun[1], mask=seen
        )
        heeded = layers.GRU(3, return_sequences=True)(unmasked)
        model = models.lively(keras.Model([x, place], layers.Concatenate()([unmasked, masked, zeros, heeded])))
        values, where = self.missing(), models.sequences(5, 2, 1)[..., 0]
        processor.convert(model, tmp_path / "a")
        got = processor.load(tmp_path / "a").run({"x": values, "place": where})
        np.testing.assert_allclose(got, model([values, where]), atol=TOLERANCE)

    def test_a_mean_leaves_out_what_is_missing(self, tmp_path: Path) -> None:
        model, x = models.sequential(layers.Masking(0.5), layers.GlobalAveragePooling1D()), self.missing()
        processor.convert(model, tmp_path / "a")
        truth, got = models.on_every_prefix(model, x), processor.load(tmp_path / "a").run(x)
        assert (np.isfinite(got) == np.isfinite(truth)).all()
        np.testing.assert_allclose(got[np.isfinite(truth)], truth[np.isfinite(truth)], atol=TOLERANCE)

    def test_tokens(self, tmp_path: Path) -> None:
        """Token 0 is none; one that is not in the vocabulary makes an answer that is no number, and stops nothing."""
        tokens = keras.Input((None,), dtype="int32", name="tokens")
        embedded = layers.Embedding(11, 5, mask_zero=True)(tokens)
        model = models.lively(keras.Model(tokens, layers.Dense(2, "softmax")(layers.LSTM(4)(embedded))))
        processor.convert(model, tmp_path / "a")
        x = np.random.default_rng(5).integers(0, 11, (4, 9)).astype(np.int32)
        x[0, :4], x[1, 5:] = 0, 0
        stepper = processor.load(tmp_path / "a")
        truth = np.stack([np.asarray(model(x[:, : t + 1])) for t in range(9)], axis=1)
        np.testing.assert_allclose(stepper.run(x), truth, atol=TOLERANCE)
        strange, _ = stepper.step(np.array([3, 11, -1], np.int32), stepper.initial_state(3))
        assert np.isfinite(strange).all(axis=1).tolist() == [True, False, False]

    def test_tokens_that_the_model_takes_as_floats_are_integers(self, tmp_path: Path) -> None:
        model = models.sequential(layers.Embedding(7, 3), layers.GRU(2), shape=(None,))
        assert processor.convert(model, tmp_path / "a").inputs[0].dtype == "int32"


class Doubling(layers.Layer):
    """A layer that TensorFlow alone can run: no symbolic tensor goes through it."""

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        return tf.cumsum(x, axis=1)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class TestARuleOfOnesOwn:
    def model(self) -> Any:
        return models.sequential(Doubling(name="sum"), layers.Dense(2))

    def test_without_one_it_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConversionRefused, match="'sum'") as caught:
            processor.convert(self.model(), tmp_path / "a")
        assert caught.value.reason is Obstacle.CUSTOM_CODE
        assert any("Register a rule" in remedy for remedy in caught.value.remedies)

    @pytest.mark.parametrize("wrong", [0.0, 1e-3])
    def test_with_one_the_certificate_judges_it(
        self, wrong: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rules.base, "RULES", rules.RULES)

        @rule_for(Doubling)
        class Running(Rule):
            kind = "running"

            def times(self, call: Any) -> tuple[int | None, ...]:
                if call.flows[0].time != 1:
                    raise InTheWay(Obstacle.NO_TIME_AXIS)
                return (1,)

            def pieces(self, call: Any) -> tuple[Piece, ...]:
                return (Piece("sum", np.zeros(call.flows[0].shape, np.float32)),)

            def step(self, call: Any, inputs: Any, state: Any) -> Any:
                total = state[0] + inputs[0] * (1 + wrong)
                return [total], [total]

        try:
            if wrong:
                with pytest.raises(ConversionRefused) as caught:
                    processor.convert(self.model(), tmp_path / "a")
                assert (caught.value.reason, caught.value.layer) == (Obstacle.NOT_EXACT, "sum")
            else:
                assert slots(processor.convert(self.model(), tmp_path / "a")) == ["0.sum"]
        finally:
            del rules.RULES[Doubling]

    def test_run_whole_it_needs_none(self, tmp_path: Path) -> None:
        """Where no layer is stepped, code that cannot be followed is run as it is."""
        model, x = self.model(), models.sequences(2, 6)
        processor.convert(model, tmp_path / "a", mode="window", length=4)
        got = np.asarray(processor.load(tmp_path / "a").run(x))
        np.testing.assert_allclose(got[:, 5], np.asarray(model(x[:, 2:]))[:, -1], atol=TOLERANCE)
