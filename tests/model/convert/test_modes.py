"""The modes: what each answers, when it is warm, and what its state holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import processor
from model import models
from processor.codec import event_decoder, prediction_encoder
from processor.config.settings import InputSettings, OutputSettings
from processor.model.artifact import load_artifact
from processor.model.engine import Engine
from processor.recovery.partition import Partition
from processor.state.arena import Arena
from processor.stepping.pipeline import Pipeline
from processor.stepping.publishing import Limits, Publisher
from processor.stepping.sequence import SequenceRules
from processor.types import Batch, Cursor

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5


def warmth(stepper: Any, x: Any) -> tuple[np.ndarray, list[bool]]:
    """The answers after every sample, and whether the first row's were the trained model's own."""
    state, answers, warm = stepper.initial_state(len(x)), [], []
    for t in range(x.shape[1]):
        answer, state = stepper.step(x[:, t], state)
        answers.append(answer)
        warm.append(bool(stepper.warm(state)[0]))
    return np.stack(answers, axis=1), warm


def two_ways(length: int | None = 5) -> Any:
    """A model that needs the future, with an output for each sample and one at the end."""
    x = keras.Input((length, 3), name="x")
    both = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
    attended = layers.MultiHeadAttention(1, 2)(both, both)
    return models.lively(keras.Model(x, [layers.Dense(2)(attended), layers.LSTM(2)(attended)]))


def test_tumbling_collects_time(tmp_path: Path) -> None:
    """A probability at every sample, and the trained model's own at the 7th, and the 14th."""
    model, x = models.flattened_model(), models.sequences(4, 14)
    report = processor.convert(model, tmp_path / "a", mode="tumbling")
    stepper = processor.load(tmp_path / "a")
    answers, warm = warmth(stepper, x)
    assert warm == ([False] * 6 + [True]) * 2
    assert np.isfinite(answers).all()
    for start in (0, 7):
        np.testing.assert_allclose(answers[:, start + 6], model(x[:, start : start + 7]), atol=TOLERANCE)
    assert "flatten.rows#0.rows" in [slot.name for slot in report.layout]
    assert not stepper.artifact.exact_prefix
    # What Flatten has not got yet are zeros: the trained model's layers after it, on such rows.
    inner = keras.Model(model.inputs, model.get_layer("flatten").input)
    rows = np.asarray(inner(x[:, :7])).copy()
    rows[:, 3:] = 0
    np.testing.assert_allclose(answers[:, 2], model.layers[-1](rows.reshape(4, -1)), atol=TOLERANCE)


def test_window_slides(tmp_path: Path) -> None:
    """Once 7 samples have come, every answer is the trained model's own to the last 7."""
    model, x = models.flattened_model(), models.sequences(4, 10)
    report = processor.convert(model, tmp_path / "a", mode="window")
    answers, warm = warmth(processor.load(tmp_path / "a"), x)
    assert warm == [False] * 6 + [True] * 4
    for t in range(7, 11):
        np.testing.assert_allclose(answers[:, t - 1], model(x[:, t - 7 : t]), atol=TOLERANCE)
    padded = np.concatenate([np.zeros((4, 4, 3), np.float32), x[:, :3]], axis=1)
    np.testing.assert_allclose(answers[:, 2], model(padded), atol=TOLERANCE)
    assert [(slot.name, slot.shape) for slot in report.layout] == [("samples.last", (6, 3)), ("steps", ())]


@pytest.mark.parametrize("mode", ["tumbling", "window"])
def test_models_that_need_the_future(mode: str, tmp_path: Path) -> None:
    model, x = two_ways(), models.sequences(3, 11)
    processor.convert(model, tmp_path / "a", mode=mode)
    stepper = processor.load(tmp_path / "a")
    got = list(stepper.run(x).values())
    for t in (5, 10) if mode == "tumbling" else (5, 6, 9):
        newest, last = (np.asarray(y) for y in model(x[:, t - 5 : t]))
        np.testing.assert_allclose(got[0][:, t - 1], newest[:, -1], atol=TOLERANCE)
        np.testing.assert_allclose(got[1][:, t - 1], last, atol=TOLERANCE)
    if mode == "tumbling":  # before its end, with zeros for the samples still to come, the newest row
        early = np.concatenate([x[:, :2], np.zeros((3, 3, 3), np.float32)], axis=1)
        np.testing.assert_allclose(got[0][:, 1], np.asarray(model(early)[0])[:, 1], atol=TOLERANCE)


@pytest.mark.parametrize("mode", ["window", "tumbling"])
def test_masks_of_sequences_that_are_read_both_ways(mode: str, tmp_path: Path) -> None:
    """The backward half reads the mask backwards, too, and says zeros where a sample is missing."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(7, 3, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    x = layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True), merge_mode="sum")(x)
    x = layers.GRU(2, return_sequences=True, go_backwards=True, zero_output_for_mask=True)(x)
    model = models.lively(keras.Model(tokens, layers.Dense(2)(x)))
    processor.convert(model, tmp_path / "a", mode=mode, length=4)
    values = np.random.default_rng(6).integers(0, 7, (6, 8)).astype(np.int32)
    values[0, ::2], values[1, :3], values[2, 5:], values[3] = 0, 0, 0, 0
    got = np.asarray(processor.load(tmp_path / "a").run(values))
    for t in (4, 5, 6, 8) if mode == "window" else (4, 8):
        np.testing.assert_allclose(got[:, t - 1], np.asarray(model(values[:, t - 4 : t]))[:, -1], atol=TOLERANCE)


def test_every_interpreter_of_a_window_says_the_same_from_its_second_call_on(tmp_path: Path) -> None:
    """With XNNPACK some did not, of two layers: shapes that are computed as the graph runs move tensors under it."""
    both_ways = [layers.Bidirectional(layers.LSTM(4, return_sequences=more)) for more in (True, False)]
    processor.convert(models.sequential(*both_ways, layers.Dense(2), shape=(6, 3)), tmp_path, mode="window")
    artifact, x = load_artifact(tmp_path), np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)
    said = set()
    for _ in range(40):
        engine = Engine(artifact)
        outputs, state = engine.step({artifact.inputs[0].name: x}, engine.initial_state(len(x)))
        said.add(b"".join(values.tobytes() for values in outputs.values()) + state.tobytes())
    assert len(said) == 1
    interpreter = Interpreter(model_content=artifact.step_graph)
    assert "SHAPE" not in {operation["op_name"] for operation in interpreter._get_ops_details()}


def test_a_window_of_masked_tokens(tmp_path: Path) -> None:
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    embedded = layers.Embedding(9, 3, mask_zero=True)(tokens)
    model = models.lively(keras.Model(tokens, layers.Dense(2)(layers.Bidirectional(layers.LSTM(2))(embedded))))
    report = processor.convert(model, tmp_path / "a", mode="window", length=4)
    assert [(slot.dtype, slot.shape) for slot in report.layout] == [("int32", (3,)), ("int32", ())]
    x = np.random.default_rng(3).integers(0, 9, (5, 8)).astype(np.int32)
    stepper = processor.load(tmp_path / "a")
    got = np.asarray(stepper.run(x))
    for t in range(4, 9):
        np.testing.assert_allclose(got[:, t - 1], model(x[:, t - 4 : t]), atol=TOLERANCE)
    strange, _ = stepper.step(np.array([8, 9, -1], np.int32), stepper.initial_state(3))
    assert np.isfinite(strange).all(axis=1).tolist() == [True, False, False]


def test_a_window_of_several_inputs_and_a_static_one(tmp_path: Path) -> None:
    a, b, place = keras.Input((None, 2), name="a"), keras.Input((None, 3), name="b"), keras.Input((2,), name="place")
    joined = layers.Bidirectional(layers.SimpleRNN(3))(layers.Concatenate()([a, b]))
    model = models.lively(keras.Model([a, b, place], layers.Dense(1)(layers.Concatenate()([joined, place]))))
    processor.convert(model, tmp_path / "a", mode="window", length=3)
    x = {"a": models.sequences(2, 5, 2), "b": models.sequences(2, 5), "place": models.sequences(2, 2, 1)[..., 0]}
    got = np.asarray(processor.load(tmp_path / "a").run(x))
    for t in (3, 5):
        truth = model([x["a"][:, t - 3 : t], x["b"][:, t - 3 : t], x["place"]])
        np.testing.assert_allclose(got[:, t - 1], truth, atol=TOLERANCE)


class NoRecords:
    """A store of a partition that nothing was ever written to."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [None] * len(keys)


def test_the_processor_answers_by_windows(tmp_path: Path) -> None:
    """Through the service's own pipeline: events in, predictions out, each with `warm` as it is."""
    model = models.sequential(layers.Bidirectional(layers.GRU(3)), layers.Dense(1), shape=(4, 3))
    processor.convert(model, tmp_path / "a", mode="window")
    artifact = load_artifact(tmp_path / "a")
    arena = Arena(8, artifact.initial_state, artifact.fingerprint, 0.0)
    arena.attach(0, NoRecords())
    arena.flush_queue.stamp(0, Cursor(0))
    pipeline = Pipeline(
        artifact,
        Engine(artifact),
        arena,
        event_decoder(InputSettings(), artifact.inputs, max_ahead_ms=0, largest_key=1000),
        Publisher(prediction_encoder(OutputSettings(), artifact.outputs, artifact.model_id), "samples", Limits()),
        SequenceRules(),
    )
    x = models.sequences(2, 7)
    keys = [b"a", b"b"]
    events = [
        (key, json.dumps({"features": x[k, t].tolist()}).encode()) for t in range(7) for k, key in enumerate(keys)
    ]
    events[6] = (b"a", b'{"features": [NaN, 1, 2]}')  # bad: it leaves no trace
    partition = Partition(0)
    got: dict[bytes, list[dict[str, Any]]] = {key: [] for key in keys}
    for start in range(0, len(events), 5):
        part = events[start : start + 5]
        columns = Batch(
            np.zeros(len(part), np.int32),
            np.arange(start, start + len(part)),
            np.zeros(len(part), np.int64),
            [key for key, _ in part],
            [value for _, value in part],
        )
        work = pipeline.decode(columns, {0: partition})
        while len(work):
            for _, some, values in pipeline.step(work, {0: partition}, 100).predictions:
                for key, value in zip(some, values, strict=True):
                    got[key].append(json.loads(value))
    assert [said["warm"] for said in got[b"a"]] == [False] * 3 + [True] * 3
    assert [said["step"] for said in got[b"b"]] == [1, 2, 3, 4, 5, 6, 7]
    good = np.delete(x[0], 3, axis=0)
    for k, samples in ((b"a", good), (b"b", x[1])):
        for t in range(4, len(samples) + 1):
            truth = float(np.asarray(model(samples[None, t - 4 : t]))[0, 0])
            assert abs(got[k][t - 1]["probability"] - truth) < TOLERANCE
