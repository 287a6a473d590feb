"""Static inputs: given with a sequence's first sample, kept in the state, in every mode and whatever remembers else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import processor
from model import models
from processor.model.convert import machine

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5
SAMPLES = models.sequences(3, 6)
PLACES = models.sequences(3, 2, 1)[..., 0]
KINDS = np.array([[0], [4], [2]], np.int32)


def model_of_place_and_kind(length: int | None = None) -> Any:
    """Numbers that begin a state, and tokens that are looked up."""
    x, place = keras.Input((length, 3), name="x"), keras.Input((2,), name="place")
    kind = keras.Input((1,), dtype="int32", name="kind")
    begun = [layers.Dense(4)(place), layers.Dense(4)(place)]
    known = layers.Concatenate()(
        [layers.LSTM(4)(x, initial_state=begun), layers.Flatten()(layers.Embedding(5, 3)(kind))]
    )
    return models.lively(keras.Model([x, place, kind], layers.Dense(1)(known)))


@pytest.mark.parametrize(("mode", "length"), [("carry", None), ("tumbling", 4), ("window", 3)])
def test_a_static_input_has_a_slot_and_may_be_left_out(mode: str, length: int | None, tmp_path: Path) -> None:
    model = model_of_place_and_kind()
    report = processor.convert(model, tmp_path / "a", mode=mode, length=length)
    stepper = processor.load(tmp_path / "a")
    slots = {name: (slot.shape, slot.dtype) for name, slot in stepper.layout.items()}
    assert slots["place.static"] == ((2,), "float32")
    assert slots["kind.static"] == ((1,), "int32")
    assert slots["static"] == ((), "int32")
    checks = {check["name"]: check for check in report.certificate["checks"]}
    assert checks["static inputs"]["passed"]
    assert checks["every state slot changes the output"]["passed"]
    assert [layer["slots"] for layer in report.layers[:2]] == [["place.static"], ["kind.static"]]

    count = 4 if mode == "tumbling" else 6
    first, state = stepper.step({"x": SAMPLES[:, 0], "place": PLACES, "kind": KINDS}, stepper.initial_state(3))
    answers = [np.asarray(first)]
    for t in range(1, count):
        answer, state = stepper.step({"x": SAMPLES[:, t]}, state)
        answers.append(np.asarray(answer))
    for t in range(3 if mode == "window" else 1, count + 1):
        start = t - 3 if mode == "window" else 0
        truth = model([SAMPLES[:, start:t], PLACES, KINDS])
        np.testing.assert_allclose(answers[t - 1], truth, atol=TOLERANCE)
    if mode == "tumbling":  # the N-th sample was the last of its sequence
        assert state.tobytes() == stepper.initial_state(3).tobytes()
        with pytest.raises(ValueError, match="holds no value"):
            stepper.step({"x": SAMPLES[:, 4]}, state)


def test_a_state_of_nothing_but_a_static_input(tmp_path: Path) -> None:
    x, place = keras.Input((None, 3), name="x"), keras.Input((2,), name="place")
    mixed = layers.Dense(2)(x) * layers.Dense(2)(place)[:, None]
    model = models.lively(keras.Model([x, place], layers.Dense(1)(mixed)))
    processor.convert(model, tmp_path / "a")
    stepper = processor.load(tmp_path / "a")
    assert list(stepper.layout) == ["place.static", "static"]
    _, state = stepper.step({"x": SAMPLES[:, 0], "place": PLACES}, stepper.initial_state(3))
    answers, _ = stepper.advance({"x": SAMPLES}, state)
    np.testing.assert_allclose(answers, model([SAMPLES, PLACES]), atol=TOLERANCE)


def test_a_static_input_that_the_model_does_not_use_is_kept_like_any_other(tmp_path: Path) -> None:
    x, place = keras.Input((None, 3), name="x"), keras.Input((2,), name="place")
    model = models.lively(keras.Model([x, place], layers.Dense(1)(layers.LSTM(3)(x))))
    report = processor.convert(model, tmp_path / "a")
    assert "every state slot changes the output" in [check["name"] for check in report.certificate["checks"]]
    _, state = processor.load(tmp_path / "a").step(
        {"x": SAMPLES[:, 0], "place": PLACES}, processor.load(tmp_path / "a").initial_state(3)
    )
    assert processor.load(tmp_path / "a").slots(state)["place.static"].tolist() == PLACES.tolist()


def test_a_step_that_takes_the_newest_value_of_a_static_input_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgets(self: machine.Keeping, features: Any, state: Any) -> Any:
        outputs, after = self.machine.answer(features, state[: len(self.machine.pieces)])
        return outputs, [*after, *(features[place] for place in self.places), tf.maximum(state[-1], 1)]

    monkeypatch.setattr(machine.Keeping, "answer", forgets)
    with pytest.raises(processor.ConversionRefused, match="other values with sample 2 change its answer"):
        processor.convert(model_of_place_and_kind(), tmp_path / "a")


@pytest.mark.parametrize(("mode", "length"), [("carry", None), ("tumbling", 4), ("window", 1)])
def test_a_static_token_that_there_is_none_of_gives_no_number(mode: str, length: int | None, tmp_path: Path) -> None:
    """And the engine does not stop at it: one such event must not end the service."""
    processor.convert(model_of_place_and_kind(), tmp_path / "a", mode=mode, length=length)
    stepper = processor.load(tmp_path / "a")
    strange = np.array([[0], [5], [-1]], np.int32)
    answers, _ = stepper.step({"x": SAMPLES[:, 0], "place": PLACES, "kind": strange}, stepper.initial_state(3))
    assert np.isfinite(answers).ravel().tolist() == [True, False, False]


class Declared(keras.Model):
    """Its code cannot be followed, so it says itself how it is stepped; it knows nothing of what is kept for it."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.memory, self.chance = layers.LSTM(3), layers.Dense(1)

    def call(self, given: Any) -> Any:
        import tensorflow as tf

        return self.chance(tf.concat([self.memory(given[0]), given[1]], axis=-1))

    def initial_state(self) -> dict[str, Any]:
        return {"h": np.zeros(3), "c": np.zeros(3)}

    def step(self, features: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        y, (h, c) = self.memory.cell(features[0], [state["h"], state["c"]])
        return self.chance(ops.concatenate([y, features[1]], axis=-1)), {"h": h, "c": c}


def test_a_declared_step_is_given_the_static_input_with_every_sample(tmp_path: Path) -> None:
    model = Declared()
    model([SAMPLES, PLACES])
    report = processor.convert(models.lively(model), tmp_path / "a")
    assert [layer["slots"] for layer in report.layers] == [["input_1.static"], ["own.h", "own.c"]]
    stepper = processor.load(tmp_path / "a")
    first, second = (spec.name for spec in stepper.inputs)
    _, state = stepper.step({first: SAMPLES[:, 0], second: PLACES}, stepper.initial_state(3))
    answers, _ = stepper.advance({first: SAMPLES[:, 1:]}, state)
    np.testing.assert_allclose(np.asarray(answers)[:, -1], model([SAMPLES, PLACES]), atol=TOLERANCE)


def joined(length: int) -> Any:
    """A static input repeated for each sample, as it is and behind a layer; and the last sample by its number."""
    x, static = keras.Input((length, 2), name="x"), keras.Input((3,), name="static")
    y = layers.Concatenate()([x, layers.RepeatVector(length)(static)])
    y = layers.LSTM(3, return_sequences=True)(y)
    y = y + layers.RepeatVector(length)(layers.Dense(3, activation="tanh")(static))
    y = layers.GRU(3, return_sequences=True)(y)
    return models.lively(keras.Model([x, static], layers.Dense(1)(y[:, length - 1])))


def test_a_static_input_that_is_repeated_for_each_sample(tmp_path: Path) -> None:
    report = processor.convert(joined(5), tmp_path / "a")
    assert [spec.static for spec in report.inputs] == [False, True]
    x, static = models.sequences(3, 7, 2), models.sequences(3, 3, 1)[..., 0]
    got = np.asarray(processor.load(tmp_path / "a").run({"x": x, "static": static}))
    for t in (1, 2, 5, 7):
        np.testing.assert_allclose(got[:, t - 1], joined(t)([x[:, :t], static]), atol=TOLERANCE)
