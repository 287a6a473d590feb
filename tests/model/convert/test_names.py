"""Names of layers: equal ones, and such as TensorFlow refuses. People see the model's own; no graph needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import processor
from model import models
from processor.model.convert.names import plain, unique

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5


def encoder(name: str, inner: Any = None) -> Any:
    """A nested model whose input and layer are named as those of any other."""
    x = keras.Input((None, 3), name="x")
    y = layers.LSTM(3, return_sequences=True, name="lstm")(x if inner is None else inner(x))
    return keras.Model(x, y, name=name)


class Block(layers.Layer):
    """One's own, with layers of one name inside."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.one, self.other = layers.Dense(3, name="proj"), layers.Dense(3, name="proj")
        self.memory = layers.GRU(3, return_sequences=True, name="proj")

    def call(self, x: Any) -> Any:
        return self.other(ops.tanh(self.memory(self.one(x))))


def answers_alike(model: Any, directory: Path) -> None:
    """The artifact says what the model says, called as it is."""
    x = models.sequences(2, 5)
    got = processor.load(directory).run(x)
    answers = list(got.values()) if isinstance(got, dict) else [got]
    for mine, truth in zip(answers, keras.tree.flatten(model(x, training=False)), strict=True):
        np.testing.assert_allclose(mine[:, -1], truth[:, -1] if truth.ndim > 2 else truth, atol=TOLERANCE)


def test_equal_names_through_three_levels_in_blocks_and_of_outputs(tmp_path: Path) -> None:
    x = keras.Input((None, 3), name="x")
    y = encoder("two", encoder("deep"))(encoder("one", encoder("deep"))(x))
    block = Block(name="proj")
    y = Block(name="lstm")(block(block(y)))
    head = layers.Dense(2, name="head")
    model = models.lively(keras.Model(x, [head(y), head(y * 2), layers.Dense(1, name="head_1")(y)]))
    names = [layer.name for layer in model._flatten_layers()]
    report = processor.convert(model, tmp_path / "a")
    assert [layer.name for layer in model._flatten_layers()] == names
    assert [slot.name for slot in report.layout if not slot.name.endswith(".c")] == [
        "one/deep/lstm#0.h", "one/lstm#0.h", "two/deep/lstm#0.h", "two/lstm#0.h",
        "proj/proj#1.h", "proj/proj#4.h", "lstm/proj#1.h",
    ]  # fmt: skip
    assert [spec.name for spec in report.outputs] == ["head", "head_2", "head_1"]
    answers_alike(model, tmp_path / "a")


NAMES = (
    "p(fail)", "a b", "a_b", "A b", "größe", "_a", "-x", "", "日本", "a#0", "a:0", "^c", "a\nb", "[bold]", "<i>",
    "%s {x}", "a\\b", "x" * 300,
)  # fmt: skip


@pytest.fixture(scope="module")
def oddly_named() -> Any:
    x = y = keras.Input((None, 3), name="größe 1")
    for name in NAMES:
        y = layers.SimpleRNN(2, return_sequences=True, name=name)(y)
    y = layers.LayerNormalization(name="(norm)")(y)
    return models.lively(keras.Model(x, {"o(1)": layers.Dense(1, name="out put")(y), "o 2": y}, name="my model!"))


def test_names_that_tensorflow_refuses(oddly_named: Any, tmp_path: Path) -> None:
    """In a file, as in memory; the states go to files by such names, too."""
    oddly_named.save(tmp_path / "model.keras")
    report = processor.convert(tmp_path / "model.keras", tmp_path / "a")
    assert report.inputs[0].name == "größe 1"
    assert [spec.name for spec in report.outputs] == ["o 2", "o(1)"]
    assert [slot.name for slot in report.layout] == [f"{name}#0.h" for name in NAMES]
    answers_alike(oddly_named, tmp_path / "a")
    stepper = processor.load(tmp_path / "a")
    _, states = stepper.advance(models.sequences(2, 5), None)
    for name in ("s.npz", "s.h5"):
        processor.save_states(tmp_path / name, stepper, ["a", "b"], states)
        assert processor.load_states(tmp_path / name, stepper)[1].tobytes() == states.tobytes()


def test_such_names_in_a_model_that_runs_whole(tmp_path: Path) -> None:
    inside = layers.LSTM(2, return_sequences=True, name="in side")
    model = models.sequential(layers.Bidirectional(inside, name="b(i)"), layers.Dense(1, name="(out)"))
    assert processor.convert(model, tmp_path / "a", mode="window", length=3).outputs[0].name == "(out)"


def test_a_name_with_a_slash(tmp_path: Path) -> None:
    """Keras makes none, and old files have them."""
    model = models.sequential(layers.LSTM(2, name="lstm"), layers.Dense(1, name="out"))
    for layer in model.layers:
        layer.name = f"enc/{layer.name}"
    report = processor.convert(model, tmp_path / "a")
    assert [slot.name for slot in report.layout] == ["enc/lstm#0.h", "enc/lstm#0.c"]
    assert report.outputs[0].name == "enc/out"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_1", "a_2"]),
        (["a", "a_2", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_1"], ["a", "a_2", "a_1"]),
        (["A", "a"], ["A", "a"]),
    ],
)
def test_the_first_of_equal_names_stays(given: list[str], wanted: list[str]) -> None:
    assert unique(given) == wanted


def test_a_plain_name_stays() -> None:
    assert [plain(name) for name in ("lstm_1", "0x", "a.b-c", "")] == ["lstm_1", "0x", "a.b-c", ""]
    assert [plain(name) for name in ("p(fail)", "_a", "a/b", "<b>", "日")] == ["p_fail_", "n_a", "a_b", "n_b_", "n_"]
