"""What people asked for, scenario by scenario, in the library.

PyTorch is in test_pytorch.py, questions are in docs/faq.md, and a takeover needs a running processor.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers

import processor
from model import models
from processor.errors import ConfigError
from processor.model.stepper import Stepper

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def two_lstms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Two LSTMs, and their stepper."""
    chain = [layers.LSTM(5, return_sequences=True, name="lower"), layers.LSTM(2, name="upper"), layers.Dense(1)]
    model, place = models.sequential(*chain), tmp_path_factory.mktemp("two_lstms") / "artifact"
    processor.convert(model, place)
    return model, processor.load(place)


def test_a_stream_of_100_samples(tmp_path: Path) -> None:
    """11,009 parameters; trained on 100 samples, a probability after every sample, the model's own at the 100th.

    (Windows of 7, the refusal of `carry` and `window`: tests/model/convert/test_modes.py.)
    """
    model, x = models.flattened_model(100, 16), models.sequences(2, 100, 16)
    assert model.count_params() == 11_009
    processor.convert(model, tmp_path / "a", mode="tumbling")
    answers = np.asarray(processor.load(tmp_path / "a").run(x))
    assert answers.shape == (2, 100, 1)
    np.testing.assert_allclose(answers[:, 99], model(x), atol=TOLERANCE)


def test_stepping_chunks_and_the_whole(two_lstms: tuple[Any, Any]) -> None:
    model, stepper = two_lstms
    x = models.sequences(3, 7)
    whole = stepper.run(x)
    np.testing.assert_allclose(whole, models.on_every_prefix(model, x), atol=TOLERANCE)
    for cuts in ([2, 5], [1, 2, 3, 4, 5, 6], [6], []):
        state, parts = None, []
        for part in np.split(x, cuts, axis=1):
            answers, state = stepper.advance(part, state)
            parts.append(answers)
        assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()


@pytest.mark.parametrize("ending", [".npz", ".h5"])
def test_states_saved_and_loaded(two_lstms: tuple[Any, Any], ending: str, tmp_path: Path) -> None:
    """One steps five samples; its states go into another, which then says the same."""
    _, stepper = two_lstms
    x = models.sequences(3, 9)
    _, state = stepper.advance(x[:, :5], None)
    goes_on, _ = stepper.advance(x[:, 5:], state)
    for keys in (["a", "b", "c/d"], [b"\x00\xff", b"", b"x"]):
        processor.save_states(tmp_path / f"s{ending}", stepper, keys, state)
        other = processor.load(stepper.artifact.directory)
        found, states = processor.load_states(tmp_path / f"s{ending}", other)
        assert found == keys
        assert states.tobytes() == state.tobytes()
        assert other.advance(x[:, 5:], states)[0].tobytes() == goes_on.tobytes()


class TestRefusedStates:
    def test_states_of_another_model(self, two_lstms: tuple[Any, Any], tmp_path: Path) -> None:
        _, stepper = two_lstms
        slots = stepper.slots(stepper.initial_state(1))
        np.savez(
            tmp_path / "s.npz",
            keys=np.array([b"61"]),
            keys_are_text=np.array(True),
            **{f"slot/{name}": value for name, value in slots.items() if name != "upper#0.c"},
            **{"slot/other#0.h": np.zeros((1, 2), np.float32)},
        )
        with pytest.raises(ConfigError, match="do not fit") as caught:
            processor.load_states(tmp_path / "s.npz", stepper)
        assert "upper#0.c: nothing in the file" in caught.value.cause
        assert "other#0.h: not in the artifact" in caught.value.cause

    @pytest.mark.parametrize("ending", [".npz", ".h5"])
    def test_states_of_the_same_layout_and_other_weights(
        self, two_lstms: tuple[Any, Any], ending: str, tmp_path: Path
    ) -> None:
        """One more epoch: every slot fits, and the numbers mean something else."""
        _, stepper = two_lstms
        artifact = stepper.artifact
        former = Stepper(dataclasses.replace(artifact, fingerprint=artifact.fingerprint ^ 1))
        path = tmp_path / f"s{ending}"
        _, states = stepper.advance(models.sequences(2, 3), None)
        processor.save_states(path, former, ["a", "b"], states)
        with pytest.raises(ConfigError, match="another model") as caught:
            processor.load_states(path, stepper)
        assert former.fingerprint in caught.value.cause
        assert stepper.fingerprint in caught.value.cause
        assert "other_model=True" in caught.value.hint
        keys, found = processor.load_states(path, stepper, other_model=True)
        assert (keys, found.tobytes()) == (["a", "b"], states.tobytes())

    def test_a_file_that_names_no_model(self, two_lstms: tuple[Any, Any], tmp_path: Path) -> None:
        """As it was written before there were fingerprints in it."""
        _, stepper = two_lstms
        processor.save_states(tmp_path / "s.npz", stepper, ["a"], stepper.initial_state(1))
        with np.load(tmp_path / "s.npz") as content:
            np.savez(tmp_path / "old.npz", **{name: content[name] for name in content if name != "fingerprint"})
        with pytest.raises(ConfigError, match="does not name the model") as caught:
            processor.load_states(tmp_path / "old.npz", stepper)
        assert stepper.fingerprint in caught.value.cause
        keys, _ = processor.load_states(tmp_path / "old.npz", stepper, other_model=True)
        assert keys == ["a"]

    @pytest.mark.parametrize("name", ["s.npz", "s.h5"])
    @pytest.mark.parametrize("content", [None, b"", b"no file of states"])
    def test_no_states(self, two_lstms: tuple[Any, Any], name: str, content: bytes | None, tmp_path: Path) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match="states"):
            processor.load_states(tmp_path / name, two_lstms[1])

    def test_arguments(self, two_lstms: tuple[Any, Any], tmp_path: Path) -> None:
        stepper = two_lstms[1]
        with pytest.raises(ConfigError, match="no name"):
            processor.save_states(tmp_path / "s.json", stepper, ["a"], stepper.initial_state(1))
        with pytest.raises(ValueError, match="1 keys"):
            processor.save_states(tmp_path / "s.npz", stepper, ["a"], stepper.initial_state(2))
        with pytest.raises(ValueError, match="no slot 'x'"):
            stepper.with_slots(stepper.initial_state(1), {"x": 1.0})
        with pytest.raises(ValueError, match="expected shape"):
            stepper.with_slots(stepper.initial_state(2), {"lower#0.h": np.zeros((3, 5))})
        with pytest.raises(ValueError, match="1 states for 2 sequences"):
            stepper.advance(models.sequences(2, 3), stepper.initial_state(1))


def test_trained_stateful_served_with_any_batch(tmp_path: Path) -> None:
    model = models.stateful_model()
    model.save(tmp_path / "model.h5")
    report = processor.convert(tmp_path / "model.h5", tmp_path / "a")
    shapes = [(weight["name"], weight["shape"]) for weight in report.weights[:3]]
    assert [shape for _, shape in shapes] == [[3, 128], [32, 128], [128]]
    x = models.sequences(20, 7)
    truth = np.asarray(model(x))
    answers = np.asarray(processor.load(tmp_path / "a").run(x))
    np.testing.assert_allclose(answers[:, 6], truth, atol=TOLERANCE)
    assert processor.load(tmp_path / "a").run(x[:3]).tobytes() == answers[:3].tobytes()


def test_padding_with_zeros(two_lstms: tuple[Any, Any]) -> None:
    """What people fall back on is another question: six samples that never were. (benchmarks.stepping has its cost.)"""
    model, stepper = two_lstms
    x = models.sequences(4, 1)
    padded = np.concatenate([np.zeros((4, 6, 3), np.float32), x], axis=1)
    stepped = np.asarray(stepper.run(x))[:, 0]
    np.testing.assert_allclose(stepped, model(x), atol=TOLERANCE)
    assert np.abs(stepped - np.asarray(model(padded))).max() > 1e-3


def test_as_a_model_that_cannot_be_walked(tmp_path: Path) -> None:
    """Its code takes tensors apart by TensorFlow: it says so, and names the way out (test_convert_graphs goes it)."""

    class Bands(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="bands")
            self.shared = layers.LSTM(3, return_sequences=True)

        def call(self, x: Any) -> Any:
            import tensorflow as tf

            return tf.concat([self.shared(band) for band in tf.unstack(x, axis=1)], axis=-1)

    model = Bands()
    model(np.zeros((1, 3, 5, 4), np.float32))
    with pytest.raises(processor.ConversionRefused) as caught:
        processor.convert(model, tmp_path / "a")
    assert (caught.value.layer, caught.value.reason) == ("bands", "no_graph")
    assert any("initial_state() and step(features, state)" in remedy for remedy in caught.value.remedies)


def test_one_lstm_shared_by_parallel_streams(tmp_path: Path) -> None:
    """Bands on axis 1, time on axis 2: 50 samples at once are 25 and 25, for every band."""
    x = keras.Input((3, None, 4), name="bands")
    shared = layers.LSTM(3, return_sequences=True, name="shared")
    model = models.lively(keras.Model(x, layers.Concatenate()([shared(x[:, band]) for band in range(3)])))
    report = processor.convert(model, tmp_path / "a")
    assert [slot.name for slot in report.layout][::2] == ["shared#0.h", "shared#1.h", "shared#2.h"]
    values = models.sequences(2, 50, 3, 4)
    stepper = processor.load(tmp_path / "a")
    first, state = stepper.advance(values[:, :25], None)
    second, _ = stepper.advance(values[:, 25:], state)
    truth = np.asarray(model(np.moveaxis(values, 1, 2)))
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), truth, atol=TOLERANCE)
    # The states of the bands are their own: band 1's are those of band 1 alone.
    alone = np.array(values[:, :25])
    alone[:, :, [0, 2]] = 0
    held = stepper.slots(stepper.advance(alone, None)[1])
    np.testing.assert_array_equal(held["shared#1.h"], stepper.slots(state)["shared#1.h"])


def test_get_and_set_hidden_states(tmp_path: Path) -> None:
    """Six rows with the same input."""
    model = models.sequential(layers.LSTM(16, name="memory"), layers.Dense(3, activation="softmax"))
    processor.convert(model, tmp_path / "a")
    stepper = processor.load(tmp_path / "a")
    x = np.repeat(models.sequences(1, 1)[:, 0], 6, axis=0)
    given = np.random.default_rng(2).normal(size=(2, 6, 16)).astype(np.float32)
    names = ("memory#0.h", "memory#0.c")
    begun = stepper.with_slots(stepper.initial_state(6), dict(zip(names, given, strict=True)))
    one, after = stepper.step(x, begun)
    assert len(np.unique(np.asarray(one), axis=0)) == 6  # (1) different states, different answers
    two, _ = stepper.step(x, after)
    assert not np.allclose(one, two)  # (2) again, without a reset
    three, _ = stepper.step(x, begun)
    assert np.array_equal(three, one)  # (3) the states of (1) again
    four, _ = stepper.step(x, stepper.initial_state(6))
    assert len(np.unique(np.asarray(four), axis=0)) == 1  # (4) reset: all rows equal
    held = stepper.slots(begun)
    row = stepper.with_slots(begun, {name: held[name][0] for name in names})
    five, _ = stepper.step(x, row)
    assert np.array_equal(five, np.repeat(np.asarray(one)[:1], 6, axis=0))  # (5) the state of row 0 for all


def test_burn_in(two_lstms: tuple[Any, Any]) -> None:
    """A stale state forgets: the longer the burn-in from recorded samples, the nearer to the sequence's own."""
    _, stepper = two_lstms
    x = models.sequences(4, 60)
    truth, own = stepper.advance(x, None)
    far = [np.abs(stepper.advance(x[:, 60 - n :], None)[1] - own).max() for n in (5, 20, 60)]
    assert far[0] > far[1] > far[2] == 0
    assert np.asarray(truth).shape == (4, 60, 1)
