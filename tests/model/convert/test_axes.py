"""Samples of several axes: layers that run over time and more, or over all but time; and layers inside of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

import processor
from model import models
from processor.model.convert import ConversionRefused, Obstacle, properties
from processor.model.convert.modes import build

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOLERANCE = 1e-5
each = layers.TimeDistributed


@pytest.fixture(autouse=True)
def short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole sequence of images or of layers inside of others is dear; that these drift would be seen elsewhere."""
    monkeypatch.setattr(properties, "LONG_RUN", 32)


def assert_carried(model: Any, directory: Path, x: Any, time: int = 1) -> processor.model.convert.Report:
    """Every answer of the artifact is the model's to that prefix. x: [rows, T, *sample shape]."""
    report = processor.convert(model, directory)
    got = keras.tree.flatten(processor.load(directory).run(x))
    length = report.length or model.inputs[0].shape[time]
    for t in range(1, x.shape[1] + 1) if length is None else [length]:
        known = keras.tree.flatten(model(np.moveaxis(x[:, :t], 1, time), training=False))
        for mine, truth, spec in zip(got, known, report.outputs, strict=True):
            wanted = truth if truth.shape[1:] == spec.shape else truth[:, -1]
            np.testing.assert_allclose(mine[:, t - 1], wanted, atol=TOLERANCE)
    return report


def test_a_spectrogram_goes_through_convolutions_that_do_not_look_ahead(tmp_path: Path) -> None:
    """Over frequencies they do what they like; over time they reach back, or take each sample by itself."""
    chain = [
        layers.ZeroPadding2D(((0, 0), (1, 1))),
        layers.ZeroPadding2D(((4, 0), (0, 0))),
        layers.Conv2D(3, 3, dilation_rate=(2, 1), activation="relu"),
        layers.BatchNormalization(),
        layers.SpatialDropout2D(0.2),
        layers.MaxPooling2D((1, 2)),
        layers.SeparableConv2D(3, (1, 3), padding="same"),
        layers.Conv2DTranspose(2, (1, 2), strides=(1, 2)),
        layers.DepthwiseConv2D((1, 3)),
        layers.AveragePooling2D((1, 2)),
        layers.Reshape((-1, 6)),
        layers.LSTM(3),
        layers.Dense(2),
    ]
    model = models.sequential(*chain, shape=(None, 8, 1))
    report = assert_carried(model, tmp_path / "a", models.sequences(3, 7, 8, 1))
    assert [(slot.name.rpartition("#")[2], slot.shape) for slot in report.layout] == [
        ("0.last", (4, 10, 1)), ("0.h", (3,)), ("0.c", (3,)),
    ]  # fmt: skip


def test_a_film_goes_through_convolutions_of_three_axes(tmp_path: Path) -> None:
    chain = [
        layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True),
        layers.MaxPooling3D((1, 2, 2)),
        layers.UpSampling3D((1, 2, 1)),
        layers.Conv3D(2, (1, 2, 2), padding="same", strides=(1, 2, 1)),
        layers.ZeroPadding3D(((1, 0), (0, 0), (0, 1))),
        layers.AveragePooling3D((2, 1, 2), strides=1),
        layers.Cropping3D(((0, 0), (1, 0), (0, 0))),
        layers.Reshape((5, 4)),
        layers.GRU(2),
    ]
    model = models.sequential(*chain, shape=(5, 4, 4, 1))
    assert_carried(model, tmp_path / "a", models.sequences(2, 5, 4, 4, 1))


def test_channels_first(tmp_path: Path) -> None:
    chain = [
        layers.ZeroPadding2D(((1, 0), (0, 0)), data_format="channels_first"),
        layers.Conv2D(4, (2, 3), data_format="channels_first", activation="relu"),
        layers.MaxPooling2D((1, 2), data_format="channels_first"),
        layers.Permute((2, 3, 1)),
        layers.Reshape((-1, 12)),
        layers.LSTM(3),
    ]
    model = models.sequential(*chain, shape=(2, None, 8))
    assert_carried(model, tmp_path / "a", models.sequences(3, 6, 2, 8), time=2)


def test_pooled_over_time_and_more(tmp_path: Path) -> None:
    x = keras.Input((None, 5, 2), name="x")
    y = layers.Conv2D(3, (2, 3))(ops.pad(x, [[0, 0], [1, 0], [0, 0], [0, 0]]))
    mean = layers.GlobalAveragePooling2D(keepdims=True)(y)
    model = models.lively(keras.Model(x, [mean, layers.GlobalMaxPooling2D()(y), layers.LSTM(2)(ops.max(y, axis=2))]))
    report = assert_carried(model, tmp_path / "a", models.sequences(3, 6, 5, 2))
    assert report.outputs[0].shape == (1, 1, 3)


@pytest.mark.parametrize("mode", ["window", "tumbling"])
def test_what_pools_time_or_looks_ahead_runs_whole(mode: str, tmp_path: Path) -> None:
    """LiteRT has no pooling window of three axes: it is one of two, and one of one."""
    chain = [
        layers.Conv3D(2, 3, padding="same"),
        layers.MaxPooling3D((2, 2, 2)),
        layers.AveragePooling3D(2, strides=1, padding="same"),
        layers.Reshape((3, 8)),
        layers.LSTM(2),
    ]
    model, x = models.sequential(*chain, shape=(6, 4, 4, 1)), models.sequences(2, 12, 4, 4, 1)
    processor.convert(model, tmp_path / "a", mode=mode)
    got = np.asarray(processor.load(tmp_path / "a").run(x))
    for t in (6, 12):
        np.testing.assert_allclose(got[:, t - 1], model(x[:, t - 6 : t]), atol=TOLERANCE)


class Reshaping(keras.Model):
    """A model whose code asks for the sizes of its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.memory = layers.Dense(12), layers.LSTM(3)

    def call(self, x: Any) -> Any:
        y = self.dense(ops.reshape(x, (ops.shape(x)[0], -1, 12)))
        return self.memory(ops.reshape(y, (-1, ops.shape(x)[1], 12)))


RESHAPED: dict[str, Callable[[Any], Any]] = {
    "by a layer": lambda x: layers.Reshape((6, 2, 4))(layers.Dense(8)(layers.Reshape((6, 12))(x)))[:, :, 0],
    "as long as wide": lambda x: layers.Reshape((6, 6))(layers.Reshape((6, 2, 6))(x)[:, :, 1]),
    "by an operation": lambda x: ops.reshape(layers.Permute((1, 3, 2))(x), (-1, 6, 12)),
}


@pytest.mark.parametrize("name", RESHAPED)
def test_a_shape_that_names_the_length(name: str, tmp_path: Path) -> None:
    x = keras.Input((6, 4, 3), name="x")
    model = models.lively(keras.Model(x, layers.LSTM(3)(RESHAPED[name](x))))
    assert_carried(model, tmp_path / "a", models.sequences(3, 6, 4, 3))


def test_a_shape_that_is_asked_for(tmp_path: Path) -> None:
    model, x = Reshaping(), models.sequences(3, 5, 4, 3)
    model(x)
    models.lively(model)
    processor.convert(model, tmp_path / "a")
    got = np.asarray(processor.load(tmp_path / "a").run(x))
    np.testing.assert_allclose(got[:, -1], model(x), atol=TOLERANCE)


def test_sums_by_an_equation_that_leaves_time_alone(tmp_path: Path) -> None:
    x, weights = keras.Input((None, 4), name="x"), np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
    y = layers.EinsumDense("...x,xy->...y", output_shape=(4,), bias_axes="y")(x)
    y = layers.EinsumDense("abc,cde->adbe", output_shape=(2, None, 3), bias_axes="de")(y)
    y = ops.einsum("adbe,adbf->abef", y, y)
    z = ops.einsum("bti,ij->btj", x, weights)
    model = models.lively(keras.Model(x, [layers.GRU(2)(layers.Reshape((-1, 9))(y)), layers.LSTM(2)(z)]))
    assert_carried(model, tmp_path / "a", models.sequences(3, 6, 4))


INSIDE: dict[str, tuple[tuple[int | None, ...], Callable[[Any], Any]]] = {
    "layers with a loop of their own": (
        (None, 4, 3),
        lambda x: layers.Concatenate()(
            [
                each(layers.LSTM(2, dropout=0.2))(x),
                each(layers.Bidirectional(layers.GRU(2)))(x),
                each(layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)], go_backwards=True))(x),
            ]
        ),
    ),
    "one in another": (
        (None, 2, 4, 3),
        lambda x: each(layers.Flatten())(
            each(each(layers.Dense(2, "relu")))(
                each(
                    each(
                        keras.Sequential([layers.Conv1D(2, 2), layers.BatchNormalization(), layers.UnitNormalization()])
                    )
                )(x)
            )
        ),
    ),
    "a model of several layers": (
        (5, 4, 4, 1),
        lambda x: each(
            keras.Sequential(
                [
                    keras.Input((4, 4, 1)),
                    layers.Conv2D(3, 3, activation="relu"),
                    layers.Dropout(0.5),
                    layers.MaxPooling2D(),
                    layers.Reshape((3, 1)),
                    layers.LSTM(3),
                    layers.Dense(2),
                ]
            )
        )(x),
    ),
}


@pytest.mark.parametrize("name", INSIDE)
def test_time_distributed(name: str, tmp_path: Path) -> None:
    shape, inside = INSIDE[name]
    x = keras.Input(shape, name="x")
    model = models.lively(keras.Model(x, layers.LSTM(2)(inside(x))))
    values = models.sequences(2, shape[0] or 6, *shape[1:])
    values[0, 2] = 0
    assert_carried(model, tmp_path / "a", values)


def test_a_mask_within_a_sample(tmp_path: Path) -> None:
    """Sentences of four words, one a step: words that are none are left out."""
    x = keras.Input((None, 4), dtype="int32", name="x")
    y = each(layers.LSTM(3))(layers.Embedding(7, 3, mask_zero=True)(x))
    model = models.lively(keras.Model(x, layers.Dense(2)(y)))
    values = np.random.default_rng(2).integers(0, 7, (3, 6, 4)).astype(np.int32)
    values[0, 1, 2:], values[1, :, 0], values[2, 3] = 0, 0, 0
    assert_carried(model, tmp_path / "a", values)


def forecast(x: Any, kind: Any) -> Any:
    """Encoder and decoder: the states of one begin the other."""
    said, *states = kind(4, return_state=True)(x)
    begun = states if len(states) > 1 else states[0]
    return each(layers.Dense(2))(kind(4, return_sequences=True)(layers.RepeatVector(3)(said), initial_state=begun))


def said_again(x: Any) -> Any:
    """A decoder that is given its own answers."""
    _, h, c = layers.LSTM(3, return_state=True)(x)
    cell, dense, y, said = layers.LSTMCell(3), layers.Dense(3), x[:, -1], []
    for _ in range(3):
        _, (h, c) = cell(y, [h, c])
        y = dense(h)
        said.append(y)
    return ops.stack(said, axis=1)


DECODERS: dict[str, Callable[[Any], Any]] = {
    "begun with the encoder's states": lambda x: forecast(x, layers.LSTM),
    "as long as the sequence": lambda x: layers.Dense(3)(
        layers.Bidirectional(layers.GRU(2, return_sequences=True))(layers.RepeatVector(6)(layers.GRU(4)(x)))
    ),
    "its own answers": said_again,
    "repeated by an operation": lambda x: layers.Dense(2)(
        layers.SimpleRNN(3, return_sequences=True, dropout=0.2)(
            ops.repeat(ops.tile(layers.LSTM(4)(x)[:, None], (1, 2, 1)), 2, axis=1)
        )
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_sequence_is_given_at_every_step(name: str, tmp_path: Path) -> None:
    """Forecasts and autoencoders: what comes out has an axis of its own, and is computed again for each sample."""
    x = keras.Input((6 if "as long" in name else None, 3), name="x")
    model = models.lively(keras.Model(x, DECODERS[name](x)))
    report = assert_carried(model, tmp_path / "a", models.sequences(3, 6))
    assert len(report.outputs[0].shape) == 2
    interpreter = Interpreter(model_content=processor.load(tmp_path / "a").artifact.step_graph)
    assert "SHAPE" not in {operation["op_name"] for operation in interpreter._get_ops_details()}


def test_layers_run_over_time_at_each_band(tmp_path: Path) -> None:
    """Within a frame along the bands, and along time at each band, with a state for each: networks of two paths."""
    x = keras.Input((None, 4, 2), name="frames")
    within = layers.Dense(2)(each(layers.Bidirectional(layers.LSTM(2, return_sequences=True)))(x)) + x
    bands = layers.Permute((2, 1, 3))(within)
    memory = each(layers.LSTM(2, return_sequences=True), name="memory")(bands)
    memory = each(layers.Conv1D(2, 2, padding="causal"), name="reach")(memory) + bands
    frames = layers.Permute((2, 1, 3), name="frames_after")(each(layers.Dense(2))(memory))
    newest = layers.Dense(1, name="newest")(layers.Flatten()(each(layers.GRU(2))(memory)))
    model = models.lively(keras.Model(x, [frames, newest]))
    report = assert_carried(model, tmp_path / "a", models.sequences(3, 6, 4, 2))
    shapes = {slot.name: slot.shape for slot in report.layout}
    assert (shapes["memory#0.h"], shapes["reach#0.last"]) == ((4, 2), (4, 1, 2))


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (layers.Bidirectional(layers.LSTM(2)), Obstacle.NEEDS_FUTURE),
        (layers.Conv1D(2, 3, padding="same"), Obstacle.NEEDS_FUTURE),
        (layers.Flatten(), Obstacle.COLLECTS_TIME),
        (keras.Sequential([layers.LSTM(2)]), Obstacle.NO_RULE),
    ],
)
def test_what_cannot_be_stepped_cannot_at_each_band_either(inner: Any, reason: Obstacle) -> None:
    x = keras.Input((4, None, 2))
    with pytest.raises(ConversionRefused) as caught:
        build(keras.Model(x, each(inner, name="it")(x)), "carry", None, 2)
    assert (caught.value.layer, caught.value.reason) == ("it", reason)
