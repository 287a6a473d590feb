"""Every supported layer and option: the artifact, run by the service's engine, against the trained model itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

import processor
from model import models
from model.oracle import answers as oracle_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOLERANCE = 1e-5


def assert_same(model: Any, directory: Path, x: Any, **options: Any) -> processor.model.convert.Report:
    """Converts, and compares by other means than the certificate: the Stepper against `model(prefix)`."""
    report = processor.convert(model, directory, **options)
    got = processor.load(directory).run(x)
    truth = models.on_every_prefix(model, x)
    assert got.shape == truth.shape
    np.testing.assert_array_less(np.abs(got - truth) / np.maximum(1, np.abs(truth)), TOLERANCE)
    assert max(report.errors.values()) <= TOLERANCE
    return report


def adapted() -> Any:
    normalization = layers.Normalization()
    normalization.build((None, None, 3))
    return normalization


RECURRENT: dict[str, Callable[[], list[Any]]] = {
    "lstm": lambda: [
        layers.LSTM(5, return_sequences=True, use_bias=False),
        layers.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid"),
    ],
    "lstm, dropout inside": lambda: [
        layers.LSTM(4, dropout=0.3, recurrent_dropout=0.3, activation=layers.LeakyReLU(0.2), return_sequences=True)
    ],
    "gru": lambda: [layers.GRU(5, return_sequences=True), layers.GRU(3)],
    "gru, reset before": lambda: [
        layers.GRU(5, reset_after=False, activation="gelu", return_sequences=True),
        layers.GRU(4, reset_after=False, use_bias=False, recurrent_activation="relu6"),
        layers.Dense(2, "softmax"),
    ],
    "simple": lambda: [layers.SimpleRNN(5, return_sequences=True), layers.SimpleRNN(3, activation="sigmoid")],
    "three kinds": lambda: [
        layers.LSTM(6, return_sequences=True),
        layers.GRU(5, return_sequences=True),
        layers.SimpleRNN(4, return_sequences=True),
        layers.Dense(3, activation=layers.LeakyReLU()),
    ],
}

POINTWISE: dict[str, Callable[[], list[Any]]] = {
    "activations": lambda: [
        layers.LeakyReLU(0.2),
        layers.ELU(0.7),
        layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.05),
        layers.PReLU(shared_axes=[1]),
        layers.Activation("swish"),
        layers.Dense(4, activation="softplus"),
        layers.Softmax(),
    ],
    "regularization": lambda: [
        layers.Dropout(0.5),
        layers.SpatialDropout1D(0.5),
        layers.GaussianDropout(0.5),
        layers.GaussianNoise(0.5),
        layers.AlphaDropout(0.5),
        layers.ActivityRegularization(0.1),
        layers.Identity(),
    ],
    "normalization": lambda: [
        adapted(),
        layers.Rescaling([0.5, 2.0, 1.5], 0.1),
        layers.BatchNormalization(),
        layers.LayerNormalization(),
        layers.LayerNormalization(axis=2, center=False),
        layers.RMSNormalization(),
        layers.UnitNormalization(),
    ],
    "distributed": lambda: [
        layers.TimeDistributed(layers.Dense(4, activation="elu")),
        layers.TimeDistributed(layers.BatchNormalization()),
        layers.TimeDistributed(layers.Dropout(0.2)),
    ],
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent(name: str, tmp_path: Path) -> None:
    assert_same(models.sequential(*RECURRENT[name]()), tmp_path / "a", models.sequences(3, 6))


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise(name: str, tmp_path: Path) -> None:
    model = models.sequential(*POINTWISE[name](), layers.LSTM(3))
    report = assert_same(model, tmp_path / "a", models.sequences(3, 5))
    assert [row["slots"] for row in report.layers[:-1]] == [[]] * (len(report.layers) - 1)


def test_what_follows_when_time_is_gone(tmp_path: Path) -> None:
    chain = [
        layers.LSTM(6),
        layers.BatchNormalization(),
        layers.PReLU(),
        layers.Reshape((2, 3)),
        layers.Softmax(axis=1),
        layers.Permute((2, 1)),
        layers.Flatten(),
        layers.LayerNormalization(),
        layers.Dense(2),
    ]
    assert_same(models.sequential(*chain), tmp_path / "a", models.sequences(3, 5))


def test_samples_of_more_axes(tmp_path: Path) -> None:
    model = models.sequential(layers.TimeDistributed(layers.Flatten()), layers.LSTM(4), shape=(None, 2, 3))
    assert_same(model, tmp_path / "a", models.sequences(3, 5, 2, 3))


def test_functional_chain_with_states_given_out(tmp_path: Path) -> None:
    samples = keras.Input((None, 3), name="samples")
    _, h, _ = layers.LSTM(4, return_state=True, name="memory")(samples)
    model = models.lively(keras.Model({"samples": samples}, {"score": layers.Dense(1, name="score")(h)}))
    report = processor.convert(model, tmp_path / "a")
    x = models.sequences(3, 6)
    truth = np.stack([np.asarray(model({"samples": x[:, : t + 1]})["score"]) for t in range(6)], axis=1)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)
    assert [spec.name for spec in report.inputs + report.outputs] == ["samples", "score"]
    assert [slot.name for slot in report.layout] == ["memory#0.h", "memory#0.c"]


def test_a_layer_called_twice_has_two_states(tmp_path: Path) -> None:
    shared = layers.LSTM(3, return_sequences=True, name="shared")
    samples = keras.Input((None, 3))
    model = models.lively(keras.Model(samples, shared(layers.LeakyReLU(name="between")(shared(samples)))))
    report = assert_same(model, tmp_path / "a", models.sequences(3, 6))
    assert [slot.name for slot in report.layout] == ["shared#0.h", "shared#0.c", "shared#1.h", "shared#1.c"]
    assert [row["name"] for row in report.layers] == ["shared", "between", "shared#1"]


def test_calls_of_a_layer_outside_of_the_model_do_not_count(tmp_path: Path) -> None:
    layer = layers.LSTM(3, name="used_before")
    layer(keras.Input((None, 3)))
    samples = keras.Input((None, 3))
    model = models.lively(keras.Model(samples, layer(samples)))
    report = assert_same(model, tmp_path / "a", models.sequences(2, 4))
    assert [slot.name for slot in report.layout] == ["used_before#0.h", "used_before#0.c"]


def test_a_model_that_remembers_nothing(tmp_path: Path) -> None:
    model = models.sequential(layers.Dense(4, activation="relu"), layers.Dense(1, activation="sigmoid"))
    assert assert_same(model, tmp_path / "a", models.sequences(3, 4)).words == 0


def test_unrolled_and_of_a_fixed_length(tmp_path: Path) -> None:
    """Prefixes are asked of a twin built by hand here: the model takes 7 samples only."""
    own = layers.TimeDistributed(layers.Dense(3, activation=lambda x: x * x))
    model = models.sequential(own, layers.LSTM(4, unroll=True), layers.Dense(1), shape=(7, 3))
    free = models.sequential(layers.Dense(3, activation=lambda x: x * x), layers.LSTM(4), layers.Dense(1))
    free.set_weights(model.get_weights())
    processor.convert(model, tmp_path / "a")
    x = models.sequences(3, 7)
    got = processor.load(tmp_path / "a").run(x)
    np.testing.assert_allclose(got, models.on_every_prefix(free, x), atol=TOLERANCE)
    np.testing.assert_allclose(got[:, -1], np.asarray(model(x)), atol=TOLERANCE)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions_are_stepped_in_float32(policy: str, tmp_path: Path) -> None:
    chain = [
        layers.LSTM(8, return_sequences=True, dtype=policy),
        layers.TimeDistributed(layers.Dense(4, dtype=policy), dtype=policy),
        layers.GRU(4, dtype=policy),
        layers.Dense(1, dtype=policy),
    ]
    model = models.sequential(*chain)
    report = processor.convert(model, tmp_path / "a")
    twin = models.sequential(layers.LSTM(8, return_sequences=True), layers.Dense(4), layers.GRU(4), layers.Dense(1))
    twin.set_weights(model.get_weights())
    x = models.sequences(3, 6)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), models.on_every_prefix(twin, x), atol=TOLERANCE)
    low = policy.removeprefix("mixed_")
    assert any(low in remark for remark in report.remarks) == (policy != "float64")


def test_the_oracle_says_the_same(tmp_path: Path) -> None:
    """Keras, the step graph, and the equations of the papers."""
    chain = [
        layers.LSTM(6, return_sequences=True),
        layers.BatchNormalization(),
        layers.GRU(5, return_sequences=True, reset_after=False),
        layers.LayerNormalization(),
        layers.GRU(5, return_sequences=True),
        layers.LeakyReLU(),
        layers.SimpleRNN(4),
        layers.Dense(2, activation="softmax"),
    ]
    model = models.sequential(*chain)
    x = models.sequences(3, 9)
    assert_same(model, tmp_path / "a", x)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), oracle_answers(model, x), atol=TOLERANCE)


_UNITS = st.integers(1, 9)
_FUNCTIONS = st.sampled_from(["tanh", "sigmoid", "softsign", "hard_sigmoid", "elu", "silu", "linear"])


@st.composite
def chains(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """Descriptions of layers, at least one of them recurrent, and all but perhaps the last giving sequences."""
    chain: list[tuple[str, dict[str, Any]]] = []
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["LSTM", "GRU", "SimpleRNN"]))
        settings_ = {"units": draw(_UNITS), "return_sequences": True, "use_bias": draw(st.booleans())}
        if kind == "GRU":
            settings_["reset_after"] = draw(st.booleans())
        chain.append((kind, settings_))
        other = draw(st.sampled_from(["LeakyReLU", "Dropout", "BatchNormalization", "LayerNormalization", "Dense", ""]))
        if other == "Dense":
            chain.append((other, {"units": draw(_UNITS), "activation": draw(_FUNCTIONS)}))
        elif other:
            chain.append((other, {"rate": 0.2} if other == "Dropout" else {}))
    chain.append(("LSTM", {"units": draw(_UNITS), "return_sequences": draw(st.booleans())}))
    return chain


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chain=chains(), features=st.integers(1, 5), tumbling=st.none() | st.integers(1, 5))
def test_any_chain(
    chain: list[tuple[str, dict[str, Any]]], features: int, tumbling: int | None, tmp_path: Path
) -> None:
    made = [getattr(layers, kind)(**settings_) for kind, settings_ in chain]
    model = models.sequential(*made, shape=(None, features))
    options = {} if tumbling is None else {"mode": "tumbling", "length": tumbling}
    processor.convert(model, tmp_path / "a", force=True, **options)
    x = models.sequences(2, 7, features)
    starts = range(0, 7, tumbling or 7)
    truth = np.concatenate([models.on_every_prefix(model, x[:, s : s + (tumbling or 7)]) for s in starts], axis=1)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)
