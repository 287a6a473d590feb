"""Every rule made wrong on purpose, in one thing: the certificate finds it out, and names the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import pytest
from keras import layers, ops
from keras.src.ops import nn, numpy

import processor
from model import models
from processor.model.convert import ConversionRefused, Obstacle, graph, rules
from processor.model.convert.along import RepeatedAlong

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def a_little(right: Any, call: Any, inputs: Any, state: Any) -> Any:
    """Half a thousandth too much; or the contrary, of what is true or false."""
    outputs, after = right.step(call, inputs, state)
    first = outputs[0]
    return [ops.logical_not(first) if first.dtype == "bool" else first * 1.002, *outputs[1:]], after


def forgetful(right: Any, call: Any, inputs: Any, state: Any) -> Any:
    """What is remembered is what was remembered."""
    return right.step(call, inputs, state)[0], list(state)


def late(right: Any, call: Any, inputs: Any, state: Any) -> Any:
    """All pieces but the last are remembered as they were: a row in the wrong place, a count that runs on."""
    outputs, after = right.step(call, inputs, state)
    return outputs, [*state[:-1], after[-1]]


def after_memory(*chain: Any) -> Any:
    return models.sequential(layers.SimpleRNN(4, return_sequences=True), *chain, layers.Dense(2))


def functional(make: Callable[[Any], Any]) -> Any:
    x = keras.Input((None, 4), name="x")
    return models.lively(keras.Model(x, layers.Dense(2)(make(x))))


def tokens(look_up: Callable[[Any], Any]) -> Any:
    words = keras.Input((None,), dtype="int32", name="words")
    return models.lively(keras.Model(words, layers.LSTM(2)(look_up(words))))


def repeated() -> Any:
    x, static = keras.Input((4, 2), name="x"), keras.Input((3,), name="static")
    joined = layers.Concatenate()([x, layers.RepeatVector(4, name="guilty")(static)])
    return models.lively(keras.Model([x, static], layers.Dense(2)(layers.SimpleRNN(3)(joined))))


# The type whose rule is made wrong, how, and a model in which its call is named guilty (where a call can be named).
CASES: list[tuple[type, Callable[..., Any], Callable[[], Any]]] = [
    (layers.LeakyReLU, a_little, lambda: after_memory(layers.LeakyReLU(name="guilty"))),
    (layers.Dropout, a_little, lambda: after_memory(layers.Dropout(0.5, name="guilty"))),
    (layers.Activation, a_little, lambda: after_memory(layers.Activation("tanh", name="guilty"))),
    (layers.Dense, a_little, lambda: models.sequential(layers.Dense(3, name="guilty"))),
    (layers.EinsumDense, a_little, lambda: after_memory(
        layers.EinsumDense("btf,fg->btg", output_shape=(None, 3), name="guilty"))),
    (layers.PReLU, a_little, lambda: after_memory(layers.PReLU(shared_axes=[1], name="guilty"))),
    (layers.BatchNormalization, a_little, lambda: after_memory(layers.BatchNormalization(name="guilty"))),
    (layers.LayerNormalization, a_little, lambda: after_memory(layers.LayerNormalization(name="guilty"))),
    (layers.UnitNormalization, a_little, lambda: after_memory(layers.UnitNormalization(name="guilty"))),
    (layers.Normalization, a_little, lambda: after_memory(
        layers.Normalization(mean=0.1, variance=2.0, axis=None, name="guilty"))),
    (layers.Rescaling, a_little, lambda: after_memory(layers.Rescaling(2.0, 0.1, name="guilty"))),
    (layers.TimeDistributed, a_little, lambda: after_memory(layers.TimeDistributed(layers.Dense(3), name="guilty"))),
    (RepeatedAlong, a_little, repeated),
    (layers.Masking, a_little, lambda: models.sequential(layers.Masking(name="guilty"), layers.LSTM(3))),
    (layers.Embedding, a_little, lambda: tokens(layers.Embedding(5, 3, name="guilty"))),
    (numpy.Take, a_little, lambda: tokens(lambda words: ops.take(ops.ones((5, 3)), words, axis=0))),
    (nn.OneHot, a_little, lambda: tokens(lambda words: ops.one_hot(words, 5))),
    (layers.GRU, forgetful, lambda: models.sequential(layers.GRU(3, name="guilty"), layers.Dense(2))),
    (layers.RNN, late, lambda: models.sequential(
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], name="guilty"), layers.Dense(2))),
    (layers.ConvLSTM1D, forgetful, lambda: models.sequential(
        layers.ConvLSTM1D(2, 2, name="guilty"), layers.Flatten(), shape=(None, 4, 1))),
    (layers.Conv1D, forgetful, lambda: after_memory(layers.Conv1D(3, 3, padding="causal", name="guilty"))),
    (layers.MaxPooling1D, forgetful, lambda: after_memory(
        layers.ZeroPadding1D((2, 0)), layers.MaxPooling1D(3, strides=1, name="guilty"))),
    (layers.ZeroPadding1D, a_little, lambda: after_memory(
        layers.ZeroPadding1D((1, 0), name="guilty"), layers.Conv1D(3, 2))),
    (layers.Conv1DTranspose, a_little, lambda: after_memory(layers.Conv1DTranspose(3, 1, name="guilty"))),
    (numpy.Pad, a_little, lambda: functional(lambda x: layers.Conv1D(3, 2)(ops.pad(x, [[0, 0], [1, 0], [0, 0]])))),
    (layers.GlobalAveragePooling1D, late, lambda: models.sequential(layers.GlobalAveragePooling1D(name="guilty"))),
    (layers.GlobalMaxPooling1D, forgetful, lambda: models.sequential(layers.GlobalMaxPooling1D(name="guilty"))),
    (layers.Add, a_little, lambda: functional(lambda x: layers.Add(name="guilty")([x, layers.Dense(4)(x)]))),
    (numpy.Multiply, a_little, lambda: functional(lambda x: x * ops.tanh(x))),
    (layers.Concatenate, a_little, lambda: functional(lambda x: layers.Concatenate(name="guilty")([x, x]))),
    (nn.Softmax, a_little, lambda: functional(lambda x: ops.softmax(x))),
    (nn.Normalize, a_little, lambda: functional(lambda x: ops.normalize(x))),
    (numpy.Mean, a_little, lambda: functional(lambda x: ops.mean(x, axis=-1, keepdims=True))),
    (numpy.Matmul, a_little, lambda: functional(lambda x: ops.matmul(x, ops.ones((4, 3))))),
    (numpy.Einsum, a_little, lambda: functional(lambda x: ops.einsum("btf,fg->btg", x, ops.ones((4, 3))))),
    (layers.Reshape, a_little, lambda: functional(
        lambda x: layers.Reshape((-1, 4))(layers.Reshape((-1, 2, 2), name="guilty")(x)))),
]  # fmt: skip


def test_every_rule_is_among_them() -> None:
    """A new rule gets its sabotage."""
    assert {type(rules.RULES[kind]) for kind, _, _ in CASES} == {type(rule) for rule in rules.RULES.values()}


def found_out(model: Any, directory: Path, **options: Any) -> ConversionRefused:
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(model, directory / "artifact", **options)
    assert caught.value.reason is Obstacle.NOT_EXACT
    assert not list(directory.iterdir())
    return caught.value


def test_a_step_that_is_not_exact_leaves_the_window(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The model run whole needs no rule; the same step begun afresh now and then is no more exact."""
    monkeypatch.setitem(rules.RULES, layers.GRU, wrongly(rules.RULES[layers.GRU], forgetful))
    masked = models.sequential(layers.Masking(), layers.GRU(2), shape=(4, 3))
    error = found_out(masked, tmp_path)
    assert [one.options for one in error.advice if not isinstance(one, str)] == [{"mode": "window"}]
    assert error.report is not None


def wrongly(right: Any, wrong: Callable[..., Any]) -> Any:
    """A rule that is `right` in all but its step."""
    return type("Wrong", (type(right),), {"step": lambda self, *given: wrong(right, *given)})()


@pytest.mark.parametrize(("kind", "wrong", "make"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a_wrong_rule_is_found_out(
    kind: type,
    wrong: Callable[..., Any],
    make: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = make()
    monkeypatch.setitem(rules.RULES, kind, wrongly(rules.RULES[kind], wrong))
    error = found_out(model, tmp_path)
    if any(layer.name == "guilty" for layer in model.layers):
        assert error.layer == "guilty"


@pytest.mark.parametrize(("which", "wrong"), [("RULES_WHOLE", a_little), ("RULES_COLLECT", late)])
def test_so_is_what_stands_in_for_rules(
    which: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The layers after time is gone, and the rows that a Flatten collects."""
    model = models.sequential(layers.LSTM(2, return_sequences=True), layers.Flatten(), layers.Dense(1), shape=(4, 3))
    monkeypatch.setattr(graph, which, wrongly(getattr(graph, which), wrong))
    found_out(model, tmp_path, mode="tumbling")
