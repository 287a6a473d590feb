"""Tokens: integers, also where a model takes them as floats, and where people write them so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import processor
from model import models
from processor.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5
TOKENS = np.random.default_rng(3).integers(0, 9, (3, 6))


class Table(layers.Layer):
    """Rows of a table of one's own."""

    def build(self, _: Any) -> None:
        self.rows = self.add_weight(shape=(9, 3))

    def call(self, x: Any) -> Any:
        return ops.take(self.rows, ops.cast(x, "int32"), axis=0)


def embedded() -> Any:
    return layers.Embedding(9, 3, mask_zero=True)


PATHS = {
    "straight": lambda x: embedded()(x),
    "cast": lambda x: embedded()(ops.cast(x, "int32")),
    "in a Lambda": lambda x: embedded()(layers.Lambda(lambda v: ops.cast(v, "int64"))(x)),
    "nested": lambda x: keras.Sequential([keras.Input((None,)), layers.Identity(), embedded()])(x),
    "a table": lambda x: Table()(x),
    "one of many": lambda x: ops.one_hot(ops.cast(x, "int32"), 9),
    "two": lambda x: embedded()(x) + embedded()(ops.cast(x, "int32")),
}


@pytest.mark.parametrize("path", list(PATHS))
def test_a_float_input_that_is_only_looked_up_has_tokens(path: str, tmp_path: Path) -> None:
    x = keras.Input((None,), name="words")
    model = models.lively(keras.Model(x, layers.Dense(1)(layers.LSTM(3)(PATHS[path](x)))))
    report = processor.convert(model, tmp_path / "a")
    assert [(spec.shape, spec.dtype) for spec in report.inputs] == [((), "int32")]
    answers = processor.load(tmp_path / "a").run(TOKENS)
    np.testing.assert_allclose(answers[:, -1], model(TOKENS.astype(np.float32)), atol=TOLERANCE)


def test_a_float_input_that_is_more_than_looked_up_has_numbers(tmp_path: Path) -> None:
    x = keras.Input((None, 2), name="x")
    y = layers.Concatenate()([layers.Embedding(9, 3)(x[:, :, 0]), x])
    model = models.lively(keras.Model(x, layers.LSTM(3)(y)))
    assert processor.convert(model, tmp_path / "a").inputs[0].dtype == "float32"


def test_a_column_of_tokens_and_a_static_token(tmp_path: Path) -> None:
    words, kind = keras.Input((None, 1), name="words"), keras.Input((1,), name="kind")
    y = layers.Embedding(9, 3)(words[:, :, 0]) + layers.Embedding(4, 3)(kind)
    model = models.lively(keras.Model([words, kind], layers.LSTM(3)(y)))
    report = processor.convert(model, tmp_path / "a")
    assert [(spec.shape, spec.dtype, spec.static) for spec in report.inputs] == [
        ((1,), "int32", False), ((1,), "int32", True),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    model = models.lively(keras.Sequential([keras.Input((None,)), layers.Embedding(9, 3), layers.LSTM(3)]))
    directory = tmp_path_factory.mktemp("tokens") / "a"
    processor.convert(model, directory, examples=TOKENS.astype(np.float32))
    return model, directory


def test_floats_that_hold_integers_are_tokens(converted: tuple[Any, Path]) -> None:
    stepper = processor.load(converted[1])
    answers = np.asarray(stepper.run(TOKENS))
    for kind in (np.float32, np.float64, np.float16, np.int64, np.uint8):
        assert np.asarray(stepper.run(TOKENS.astype(kind))).tobytes() == answers.tobytes()
    first, _ = stepper.step([float(token) for token in TOKENS[:, 0]], stepper.initial_state(3))
    assert np.asarray(first).tobytes() == answers[:, 0].tobytes()


@pytest.mark.parametrize("wrong", [1.5, np.nan, np.inf, 3e9, -3e9])
def test_other_floats_are_none(converted: tuple[Any, Path], wrong: float) -> None:
    stepper = processor.load(converted[1])
    with pytest.raises(ValueError, match="expected int32, given float64 values that it cannot hold"):
        stepper.step(np.array([1.0, wrong]), stepper.initial_state(2))


def test_examples_that_are_no_tokens_are_refused(converted: tuple[Any, Path]) -> None:
    model, directory = converted
    with pytest.raises(ConfigError, match=r"not all tokens[^$]*1\.5 is no integer of 32 bits"):
        processor.verify(directory, model, examples=TOKENS + np.where(TOKENS[0, 0] == TOKENS, 1.5 - TOKENS[0, 0], 0.0))
