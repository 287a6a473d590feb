"""What is not converted, what is said about it, and that nothing of it is left on the disk."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from rich.console import Console

import processor
from model import models
from processor.errors import ConfigError
from processor.model.convert import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def refused(model: Any, directory: Path, **options: Any) -> ConversionRefused:
    """The refusal of a conversion, after which there is nothing at or beside the artifact's place."""
    place = directory / "artifact"
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(model, place, **options)
    assert not place.exists()
    assert not [entry for entry in directory.iterdir() if "artifact" in entry.name]
    error = caught.value
    assert error.exit_code == 2
    assert error.layer in error.fact or error.layer in error.cause
    assert error.cause.endswith(".")
    return error


class OwnLSTM(layers.LSTM):
    """A subclass that changes what its parent does is not its parent's kind."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)


def chain(*middle: Any, shape: tuple[int | None, ...] = (4, 3)) -> Any:
    return keras.Sequential(
        [keras.Input(shape), layers.LSTM(4, return_sequences=True), *middle, layers.LSTM(2), layers.Dense(1)]
    )


def image(layer: Any) -> Any:
    """Time, frequency, two channels."""
    return keras.Sequential([keras.Input((4, 16, 2)), layer, layers.TimeDistributed(layers.Flatten()), layers.LSTM(2)])


IN_THE_WAY: dict[str, tuple[Callable[[], Any], Obstacle]] = {
    "flatten": (lambda: keras.Sequential([keras.Input((4, 3)), layers.Flatten(name="it")]), Obstacle.COLLECTS_TIME),
    "reshape": (lambda: chain(layers.Reshape((8, 2), name="it")), Obstacle.COLLECTS_TIME),
    "bidirectional": (lambda: chain(layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="it")),
                      Obstacle.NEEDS_FUTURE),
    "backwards": (lambda: chain(layers.GRU(2, return_sequences=True, go_backwards=True, name="it")),
                  Obstacle.NEEDS_FUTURE),
    "conv same": (lambda: chain(layers.Conv1D(2, 3, padding="same", name="it")), Obstacle.NEEDS_FUTURE),
    "conv valid": (lambda: chain(layers.Conv1D(2, 3, name="it")), Obstacle.NO_RULE),
    "conv valid behind too little": (lambda: chain(layers.ZeroPadding1D((1, 0)), layers.Conv1D(2, 3, name="it")),
                                     Obstacle.NO_RULE),
    "conv with strides": (lambda: chain(layers.Conv1D(2, 3, strides=2, padding="causal", name="it"),
                                        shape=(4, 3)), Obstacle.NO_RULE),
    "tokens in both directions": (lambda: keras.Sequential([keras.Input((4,)), layers.Embedding(9, 4),
                                                            layers.Bidirectional(layers.LSTM(2), name="it")]),
                                  Obstacle.NEEDS_FUTURE),
    "padding on the right": (lambda: chain(layers.ZeroPadding1D((1, 1), name="it")), Obstacle.NEEDS_FUTURE),
    "padding before another layer": (lambda: chain(layers.ZeroPadding1D((1, 0)), layers.Dense(2, name="it")),
                                     Obstacle.NO_RULE),
    "pooling": (lambda: chain(layers.MaxPooling1D(2, name="it")), Obstacle.NO_RULE),
    "pooling same": (lambda: chain(layers.AveragePooling1D(2, strides=1, padding="same", name="it")),
                     Obstacle.NEEDS_FUTURE),
    "convolution of two axes, same": (lambda: image(layers.Conv2D(2, (3, 3), padding="same", name="it")),
                                      Obstacle.NEEDS_FUTURE),
    "convolution of two axes, with strides": (lambda: image(layers.Conv2D(2, (1, 3), strides=2, name="it")),
                                              Obstacle.NO_RULE),
    "convolution of two axes, valid": (lambda: image(layers.SeparableConv2D(2, (3, 1), name="it")), Obstacle.NO_RULE),
    "pooling of two axes": (lambda: image(layers.MaxPooling2D((2, 2), name="it")), Obstacle.NO_RULE),
    "padding of two axes": (lambda: image(layers.ZeroPadding2D(1, name="it")), Obstacle.NEEDS_FUTURE),
    "transposed over time": (lambda: image(layers.Conv2DTranspose(2, (3, 1), name="it")), Obstacle.NEEDS_FUTURE),
    "channels for time": (lambda: chain(layers.Conv1D(2, 1, data_format="channels_first", name="it")),
                          Obstacle.COLLECTS_TIME),
    "repeated of two axes": (lambda: image(layers.UpSampling2D((2, 1), name="it")), Obstacle.COLLECTS_TIME),
    "equation over time": (lambda: chain(layers.EinsumDense("btf,tg->bgf", output_shape=(5, 4), name="it")),
                           Obstacle.COLLECTS_TIME),
    "reshape that mixes": (lambda: image(layers.Reshape((16, 4, 2), name="it")), Obstacle.COLLECTS_TIME),
    "dense over time": (lambda: keras.Sequential([keras.Input((4, 3)), layers.Permute((2, 1)),
                                                  layers.Dense(2, name="it")]), Obstacle.COLLECTS_TIME),
    "masked softmax": (lambda: chain(layers.Masking(), layers.Softmax(name="it")), Obstacle.MASK),
    "repeated": (lambda: chain(layers.UpSampling1D(2, name="it")), Obstacle.COLLECTS_TIME),
    "group normalization": (lambda: chain(layers.GroupNormalization(2, name="it")), Obstacle.NEEDS_FUTURE),
    "layer normalization over time": (lambda: chain(layers.LayerNormalization(axis=[1, 2], name="it")),
                                      Obstacle.NEEDS_FUTURE),
    "softmax over time": (lambda: chain(layers.Softmax(axis=1, name="it")), Obstacle.NEEDS_FUTURE),
    "unit normalization over time": (lambda: chain(layers.UnitNormalization(axis=-2, name="it")),
                                     Obstacle.NEEDS_FUTURE),
    "batch normalization over time": (lambda: chain(layers.BatchNormalization(axis=1, name="it")),
                                      Obstacle.DEPENDS_ON_POSITION),
    "slopes over time": (lambda: chain(layers.PReLU(name="it")), Obstacle.DEPENDS_ON_POSITION),
    "mean over time": (lambda: chain(layers.Normalization(axis=(1, 2), mean=np.zeros((4, 4)),
                                                          variance=np.ones((4, 4)), name="it")),
                       Obstacle.DEPENDS_ON_POSITION),
    "scale over time": (lambda: chain(layers.Rescaling(np.ones((4, 4)).tolist(), name="it")),
                        Obstacle.DEPENDS_ON_POSITION),
    "custom recurrent layer": (lambda: chain(OwnLSTM(2, return_sequences=True, name="it")), Obstacle.CUSTOM_CODE),
    "custom activation": (lambda: chain(layers.Dense(2, activation=lambda x: x[:, ::-1], name="it")),
                          Obstacle.CUSTOM_CODE),
    "without time": (lambda: keras.Sequential([keras.Input((3,), name="it"), layers.Dense(1)]), Obstacle.NO_TIME_AXIS),
    "truths": (lambda: keras.Sequential([keras.Input((4, 3), dtype="bool", name="it"), layers.LSTM(2)]),
               Obstacle.INPUT_TYPE),
    "samples of any size": (lambda: keras.Sequential([keras.Input((None, None, 3), name="it"),
                                                      layers.TimeDistributed(layers.GlobalAveragePooling1D())]),
                            Obstacle.INPUT_TYPE),
    "never built": (lambda: keras.Sequential([layers.LSTM(2)], name="it"), Obstacle.NOT_BUILT),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_the_layer_in_the_way(name: str, tmp_path: Path) -> None:
    make, reason = IN_THE_WAY[name]
    error = refused(make(), tmp_path)
    assert error.layer == "it"
    assert error.reason is reason
    assert all("{" not in remedy for remedy in error.remedies)


def functional(make: Callable[[Any], Any], **names: Any) -> Any:
    samples = keras.Input((4, 3), name="samples")
    return keras.Model(samples, make(samples), **names)


def _started(x: Any) -> Any:
    _, h, c = layers.LSTM(4, return_state=True)(x)
    return layers.LSTM(4, name="it")(x, initial_state=[h, c])


GRAPHS: dict[str, tuple[Callable[[Any], Any], Obstacle]] = {
    "started from another's states": (_started, Obstacle.INITIAL_STATE),
    "operation": (lambda x: ops.flip(layers.LSTM(4, return_sequences=True)(x), axis=1), Obstacle.COLLECTS_TIME),
    "the first sample": (lambda x: layers.Dense(1)(x[:, 0]), Obstacle.COLLECTS_TIME),
    "sum over time": (lambda x: layers.Dense(1)(ops.sum(x, axis=1)), Obstacle.NEEDS_FUTURE),
    "softmax over time": (lambda x: layers.LSTM(2)(ops.softmax(x, axis=1)), Obstacle.NEEDS_FUTURE),
    "one after the other": (lambda x: layers.LSTM(2)(ops.concatenate([x, x], axis=1)), Obstacle.NEEDS_FUTURE),
    "numbers for each position": (lambda x: layers.LSTM(2)(x * np.ones((4, 3), np.float32)),
                                  Obstacle.DEPENDS_ON_POSITION),
    "products of all samples": (lambda x: layers.LSTM(2)(ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
                                Obstacle.NEEDS_FUTURE),
    "sums of all samples": (lambda x: layers.LSTM(2)(ops.einsum("btf,bsf->bts", x, x)), Obstacle.NEEDS_FUTURE),
    "padded with ones": (lambda x: layers.LSTM(2)(ops.pad(x, [[0, 0], [1, 0], [0, 0]], constant_values=1)),
                         Obstacle.NO_RULE),
    "samples and their end": (lambda x: layers.Multiply(name="it")(
        [x, layers.Reshape((1, 3))(layers.LSTM(3)(x))]), Obstacle.NEEDS_FUTURE),
    "attention": (lambda x: layers.Attention(name="it")([x, x]), Obstacle.NEEDS_FUTURE),
    "more attention": (lambda x: layers.MultiHeadAttention(1, 2, name="it")(x, x), Obstacle.NEEDS_FUTURE),
    "dropout that never ends": (lambda x: layers.LSTM(4)(layers.Dropout(0.5, name="it")(x, training=True)),
                                Obstacle.TRAINING),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_the_call_in_the_way(name: str, tmp_path: Path) -> None:
    make, reason = GRAPHS[name]
    error = refused(functional(make), tmp_path)
    assert error.reason is reason
    assert error.layer == "it" or "operation" in error.fact


FAILING: dict[str, tuple[Callable[[Any], Any], dict[str, Any], Obstacle, str]] = {
    "a mask that does not fit, in a window": (
        lambda x: layers.LSTM(2)(layers.Softmax(name="it")(layers.Masking()(x))), {"mode": "window"}, Obstacle.FAILS,
        "raises ValueError: The `mask` must be broadcastable"),
    "a mask that does not fit, in tumbling": (
        lambda x: layers.LSTM(2)(layers.Softmax(name="it")(layers.Masking()(x))), {"mode": "tumbling"}, Obstacle.FAILS,
        "raises ValueError: The `mask` must be broadcastable"),
    "computed tokens": (
        lambda x: layers.LSTM(2)(layers.Embedding(5, 2, name="it")(x[:, :, 0] * 9)), {}, Obstacle.INPUT_TYPE,
        "tokens that the table has"),
    "computed tokens, of the whole": (
        lambda x: layers.Bidirectional(layers.LSTM(2))(layers.Embedding(5, 2, name="it")(x[:, :, 0] * 9)),
        {"mode": "window"}, Obstacle.INPUT_TYPE, "tokens that the table has"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILING)
def test_what_tensorflow_raises_is_a_refusal(case: str, tmp_path: Path) -> None:
    """With the layer and the words of the exception, and without where TensorFlow was when it stopped."""
    make, options, reason, words = FAILING[case]
    error = refused(functional(make), tmp_path, **options)
    assert (error.layer, error.reason) == ("it", reason)
    assert words in error.cause
    assert not any(chatter in str(error) for chatter in ("File", "Detected at", "{{", "\x1b"))
    assert error.__cause__ is not None


class Looping(keras.Model):
    """Its code asks for the values of a tensor, which a symbolic one does not have."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.memory = layers.LSTM(2)

    def call(self, x: Any) -> Any:
        return self.memory(x) if float(ops.sum(x)) < 1e9 else x


def test_an_input_that_cannot_be_stepped_is_not_taken_for_one_that_never_changes(tmp_path: Path) -> None:
    """As long as the sequence, it is one itself, unless it is said where time lies."""
    x, y = keras.Input((6, 1), name="x"), keras.Input((6, 1), name="y")
    both = [layers.Bidirectional(layers.LSTM(2), name="both")(x), layers.LSTM(2)(y)]
    model = models.lively(keras.Model([x, y], layers.Dense(1)(layers.Concatenate()(both))))
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(model, tmp_path / "a")
    assert (caught.value.reason, caught.value.layer) == (Obstacle.NEEDS_FUTURE, "both")
    report = processor.convert(model, tmp_path / "a", time_axis={"y": 1})
    assert [spec.static for spec in report.inputs] == [True, False]


def test_a_model_whose_code_cannot_be_followed(tmp_path: Path) -> None:
    own = Looping()
    own(np.zeros((1, 7, 3), np.float32))
    error = refused(own, tmp_path)
    assert (error.reason, error.layer) == (Obstacle.NO_GRAPH, "own")
    assert any("step(features, state)" in remedy for remedy in error.remedies)


def test_a_subclass_that_was_never_called(tmp_path: Path) -> None:
    assert refused(Looping(), tmp_path).reason is Obstacle.NOT_BUILT


def test_quantized_weights(tmp_path: Path) -> None:
    model = models.sequential(layers.LSTM(4), layers.Dense(2, name="it"))
    model.quantize("int8")
    assert refused(model, tmp_path).reason is Obstacle.PRECISION


def test_the_asked_for_stream_with_flatten(tmp_path: Path) -> None:
    """The layer's name, the reason, what helps; to people and to programs."""
    error = refused(models.flattened_model(), tmp_path)
    assert (error.layer, error.reason) == ("flatten", "collects_time")
    assert "'flatten' (Flatten)" in error.fact
    assert "side by side" in error.cause
    assert any("return_sequences=False" in remedy for remedy in error.remedies)
    console = Console(file=io.StringIO(), width=100)
    error.render(console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(word in printed for word in ("not converted", "flatten", "collects_time", "What to do"))
    assert error.to_dict()["remedies"] == list(error.remedies)
    assert refused(models.flattened_model(), tmp_path, mode="carry").reason == "collects_time"
    place = str(tmp_path / "artifact")
    assert error.remedies[-2:] == tuple(
        f"processor.convert(model, {place!r}, mode={mode!r})" for mode in ("tumbling", "window")
    )


def test_a_custom_activation_in_a_cell_is_judged_by_the_certificate(tmp_path: Path) -> None:
    """There is no time inside a cell, so any function of its rows is the step's own."""
    model = models.sequential(layers.LSTM(4, activation=lambda x: ops.tanh(0.5 * x)))
    report = processor.convert(model, tmp_path / "a")
    assert max(report.errors.values()) < 1e-5


def test_a_function_that_mixes_the_rows_of_a_batch_is_found_out(tmp_path: Path) -> None:
    model = models.sequential(layers.SimpleRNN(4, activation=lambda x: ops.tanh(x - ops.mean(x, axis=0))))
    assert refused(model, tmp_path).reason is Obstacle.NOT_EXACT


class TestModes:
    def test_a_window_of_another_length_than_the_models(self, tmp_path: Path) -> None:
        error = refused(models.flattened_model(), tmp_path, mode="window", length=5)
        assert error.reason is Obstacle.MODE
        place = str(tmp_path / "artifact")
        assert error.remedies[0] == f"processor.convert(model, {place!r}, mode='window', length=7)"

    def test_a_window_too_long_for_a_state(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="the most"):
            processor.convert(models.sequential(layers.LSTM(2)), tmp_path / "a", mode="window", length=100_000)

    @pytest.mark.parametrize("axis", [0, 3, True, {"another": 1}])
    def test_an_axis_of_time_that_is_none(self, axis: Any, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="axis"):
            processor.convert(models.sequential(layers.LSTM(2)), tmp_path / "a", time_axis=axis)

    def test_tumbling_needs_a_length(self, tmp_path: Path) -> None:
        model = models.sequential(layers.LSTM(2))
        with pytest.raises(ConfigError, match="--mode tumbling --length N"):
            processor.convert(model, tmp_path / "a", mode="tumbling")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"mode": "sliding"}, "auto, carry, tumbling, window"),
            ({"length": 7}, "--mode tumbling --length 7"),
            ({"mode": "carry", "length": 7}, "means nothing"),
            ({"mode": "tumbling", "length": 0}, "out of range"),
            ({"tolerance": 0.0}, "out of range"),
            ({"tolerance": float("nan")}, "out of range"),
            ({"examples": "nowhere.npz"}, "no such file"),
            ({"examples": np.zeros((2, 5, 4), np.float32)}, r"float32\[rows, samples, 3\]"),
            ({"examples": np.full((2, 5, 3), np.nan, np.float32)}, "finite"),
            ({"examples": {"another": np.zeros((2, 5, 3))}}, "'samples'"),
        ],
    )
    def test_wrong_arguments(self, options: dict[str, Any], words: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=words):
            processor.convert(models.fixed_model(units=(4, 3)), tmp_path / "a", **options)
        assert not (tmp_path / "a").exists()

    def test_no_model_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no Keras 3 model"):
            processor.convert(object(), tmp_path / "a")
