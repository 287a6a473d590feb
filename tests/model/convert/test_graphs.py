"""Graphs: branches, several inputs and outputs, shared and nested models, code of one's own, operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import processor
from model import models
from processor.model.convert import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5


def newest(model: Any, inputs: Any, *, over_time: bool = False) -> list[np.ndarray]:
    """What the model says to these inputs, a list of its outputs in flattened order."""
    answers = [np.asarray(y) for y in keras.tree.flatten(model(inputs, training=False))]
    return [y[:, -1] for y in answers] if over_time else answers


def test_branches_several_inputs_and_outputs(tmp_path: Path) -> None:
    """A shared layer, a residual sum, a concatenation, operators and slices, an output from the middle, three heads."""
    a, b = keras.Input((None, 3), name="a"), keras.Input((None, 2), name="b")
    shared = layers.LSTM(4, return_sequences=True, name="shared")
    joined = layers.Concatenate()([shared(a), shared(layers.Dense(3)(b))])
    total = layers.Add()([joined, layers.Dense(8)(a)]) * 2.0 + 1.0
    middle = ops.tanh(total)[:, :, 1:5]
    top = layers.LSTM(3, name="top")(middle)
    heads = {
        "sequence": middle,
        "chance": layers.Dense(1, "sigmoid")(top),
        "kind": layers.Dense(4, "softmax")(top[:, :2]),
    }
    model = models.lively(keras.Model([a, b], heads))
    report = processor.convert(model, tmp_path / "a")
    assert [slot.name for slot in report.layout] == [
        "shared#0.h", "shared#0.c", "shared#1.h", "shared#1.c", "top#0.h", "top#0.c",
    ]  # fmt: skip
    assert set(report.errors) == {"sequence", "chance", "kind"}
    stepper = processor.load(tmp_path / "a")
    x = {"a": models.sequences(3, 6), "b": models.sequences(3, 6, 2, seed=9)}
    got = stepper.run(x)
    assert isinstance(got, dict)
    for t in range(6):
        truth = model([x["a"][:, : t + 1], x["b"][:, : t + 1]])
        np.testing.assert_allclose(got["chance"][:, t], truth["chance"], atol=TOLERANCE)
        np.testing.assert_allclose(got["kind"][:, t], truth["kind"], atol=TOLERANCE)
        np.testing.assert_allclose(got["sequence"][:, t], truth["sequence"][:, -1], atol=TOLERANCE)


def encoder() -> Any:
    return keras.Sequential(
        [keras.Input((None, 4)), layers.LSTM(3, return_sequences=True, name="deep"), layers.Dense(4)], name="encoder"
    )


class Half(layers.Layer):
    """A layer of one's own, made of layers and operations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense, self.slope = layers.Dense(4), None

    def build(self, shape: Any) -> None:
        self.dense.build(shape)
        self.slope = self.add_weight(shape=(4,), name="slope")

    def call(self, x: Any) -> Any:
        return self.dense(x) * self.slope + x


class Own(keras.Model):
    """A subclassed model: its code calls layers, a model, operations, and a layer of its own."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.mask, self.memory = layers.Masking(), layers.LSTM(4, return_sequences=True, name="memory")
        self.half, self.encoder, self.out = Half(name="half"), encoder(), layers.Dense(1, name="out")

    def call(self, x: Any) -> Any:
        x = self.half(self.memory(self.mask(x)))
        return self.out(self.encoder(x) + self.encoder(x * 2))


def test_a_subclassed_model_with_a_shared_model_inside(tmp_path: Path) -> None:
    model = Own()
    model(np.zeros((2, 5, 3), np.float32))
    models.lively(model)
    nodes = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    report = processor.convert(model, tmp_path / "a")
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == nodes
    assert [slot.name for slot in report.layout][::2] == ["memory#0.h", "encoder/deep#0.h", "encoder/deep#1.h"]
    x = models.sequences(3, 7)
    x[:, 2] = 0  # missing: Masking says so
    truth = np.stack([newest(model, x[:, : t + 1], over_time=True)[0] for t in range(7)], axis=1)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)


class Declared(keras.Model):
    """Its code cannot be followed, so it says itself how it is stepped. `wrong`: the sabotage."""

    def __init__(self, wrong: float = 0.0) -> None:
        super().__init__(name="declared")
        self.bands = layers.LSTM(3, return_sequences=True)
        self.wrong = wrong

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        parts = tf.unstack(x, axis=1)  # no symbolic tensor can be taken apart by TensorFlow
        return tf.concat([self.bands(part) for part in parts], axis=-1)

    def initial_state(self) -> dict[str, Any]:
        return {f"{name}{band}": np.zeros(3) for band in range(2) for name in "hc"}

    def step(self, features: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        outputs, after = [], {}
        for band in range(2):
            held = [state[f"h{band}"], state[f"c{band}"] + self.wrong]
            output, (after[f"h{band}"], after[f"c{band}"]) = self.bands.cell(features[:, band], held)
            outputs.append(output)
        return ops.concatenate(outputs, axis=-1), after


def test_a_step_that_the_user_declares(tmp_path: Path) -> None:
    """Parallel bands whose code cannot be followed, with a state for each of them."""
    model = Declared()
    model(np.zeros((1, 2, 5, 4), np.float32))
    models.lively(model)
    report = processor.convert(model, tmp_path / "a", time_axis=2)
    assert [slot.name for slot in report.layout] == [f"declared.{name}{band}" for band in range(2) for name in "hc"]
    x = models.sequences(3, 6, 2, 4)
    truth = np.asarray(model(np.moveaxis(x, 1, 2)))
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)
    model.wrong = 1e-2
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(model, tmp_path / "b", time_axis=2)
    assert caught.value.reason is Obstacle.NOT_EXACT


def test_an_input_that_never_changes_in_a_sequence(tmp_path: Path) -> None:
    """It begins a state, is mixed with each sample, and with what is left at the end."""
    x, place = keras.Input((None, 3), name="x"), keras.Input((2,), name="place")
    begun = [layers.Dense(4)(place), layers.Dense(4)(place)]
    h = layers.GRU(4)(layers.Add()([layers.LSTM(4, return_sequences=True)(x, initial_state=begun), begun[0]]))
    model = models.lively(keras.Model([x, place], layers.Dense(1)(layers.Concatenate()([h, place]))))
    report = processor.convert(model, tmp_path / "a")
    assert [spec.static for spec in report.inputs] == [False, True]
    values, where = models.sequences(3, 5), models.sequences(3, 2, 1)[..., 0]
    truth = np.stack([newest(model, [values[:, : t + 1], where])[0] for t in range(5)], axis=1)
    got = processor.load(tmp_path / "a").run({"x": values, "place": where})
    np.testing.assert_allclose(got, truth, atol=TOLERANCE)


def test_what_follows_the_end_of_time_may_run_over_axes_of_its_own(tmp_path: Path) -> None:
    """An autoencoder: from each prefix, a sequence of five."""
    chain = [
        layers.LSTM(4),
        layers.RepeatVector(5),
        layers.LSTM(3, return_sequences=True),
        layers.TimeDistributed(layers.Dense(2)),
    ]
    model, x = models.sequential(*chain), models.sequences(2, 4)
    processor.convert(model, tmp_path / "a")
    truth = np.stack([np.asarray(model(x[:, : t + 1])) for t in range(4)], axis=1)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)


def test_operations_that_leave_time_alone(tmp_path: Path) -> None:
    x = keras.Input((None, 4), name="x")
    y = layers.Reshape((-1, 2, 2))(x)
    y = ops.transpose(y, (0, 1, 3, 2)) - ops.mean(y, axis=(2, 3), keepdims=True)
    y = ops.where(y > 0.1, ops.exp(-y), ops.square(y) / 3)
    y = ops.concatenate([ops.max(y, axis=3), ops.squeeze(y[:, :, :, :1], 3)], axis=-1)
    y = ops.matmul(y, np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)) + ops.softmax(y)[:, :, :3]
    y = layers.EinsumDense("btf,fg->btg", output_shape=(None, 5), bias_axes="g")(y)
    model = models.lively(keras.Model(x, [layers.LSTM(3)(y), y[:, -1]]))
    processor.convert(model, tmp_path / "a")
    values = models.sequences(3, 5, 4)
    got = list(processor.load(tmp_path / "a").run(values).values())
    for t in range(5):
        for mine, truth in zip(got, newest(model, values[:, : t + 1]), strict=True):
            np.testing.assert_allclose(mine[:, t], truth, atol=TOLERANCE)
