"""Every mode and kind of input through the running processor, killed on the way: what a state holds is as durable in
a window's ring of samples, or in a count, as in an LSTM's own memory."""

from __future__ import annotations

import json
import shutil
import time
from random import Random
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers

import processor
from model import models
from model.quick import short_certificate
from processor.trial.checker import check_published, input_records, truth_of_prefixes
from processor.trial.load import Event, everything, produce, send
from processor.trial.oracle import Expected, Rules, expected
from processor.trial.reader import read_topic
from processor.trial.samples import Input
from processor.types import Reason
from recovery.conftest import SETTINGS
from recovery.deployment import PARTITIONS, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka
    from processor.trial.oracle import Sample

    Topics = Callable[..., str]
    Names = Callable[[str], str]

SLOWLY = "commit.done=sleep:0.05"
LENGTH = 5
RULES: dict[str, Any] = {"gap_seconds": 20.0, "idle_seconds": 40.0, "allowed_lateness_seconds": 30.0}


def values(samples: list[Sample]) -> dict[str, np.ndarray[Any, Any]]:
    """One sequence as the stepper takes it: [1, T, *sample shape] by input."""
    names = samples[0].features
    found = {name: np.array([[sample.features[name] for sample in samples]]) for name in names}
    return {name: v.astype(np.float32) if v.dtype.kind == "f" else v for name, v in found.items()}


def must_say_what_the_stepper_says(deployment: Deployment, artifact: Path, wanted: Expected) -> None:
    """Every prediction, to the bit, and `warm` with it: the whole sequences through the library, undisturbed."""
    stepper = processor.load(artifact)
    said = {(v["partition"], v["offset"]): v for some in deployment.published()[0].values() for r in some
            if (v := json.loads(r.value or b"{}"))}  # fmt: skip
    assert sum(map(len, wanted.predictions.values())) == len(said)
    for sequences in wanted.sequences.values():
        for sequence in sequences:
            state = stepper.initial_state(1)
            for sample in sequence:
                answers, state = stepper.step({n: v[:, 0] for n, v in values([sample]).items()}, state)
                prediction = said[sample.partition, sample.offset]
                by_name = answers if isinstance(answers, dict) else {"": answers}
                for name, answer in by_name.items():
                    told = prediction["probability"][name] if name else prediction["probability"]
                    assert np.ravel(np.asarray(told, np.float32)).tobytes() == np.ravel(answer).tobytes()
                assert prediction["warm"] == bool(stepper.warm(state)[0])


def killed_and_finished(deployment: Deployment, times: int) -> None:
    """Killed at random moments, the disk lost once, and then left to finish."""
    random, process = Random(times), deployment.process()
    for turn in range(times):
        process.start(SLOWLY).wait_event("running")
        time.sleep(random.random() * 0.4)
        process.sigkill()
        if turn == 1:
            shutil.rmtree(deployment.state())
    process.start()
    deployment.finish()


@pytest.mark.parametrize("mode", ["window", "tumbling"])
def test_a_model_with_flatten_killed_again_and_again(
    mode: str, kafka: EmbeddedKafka, topic: Topics, name: Names, tmp_path: Path
) -> None:
    """In production. `window`: the last samples are in the key's state; `tumbling`: the rows so far, and a count."""
    chain = [layers.LSTM(6, return_sequences=True), layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    model = models.sequential(*chain, shape=(LENGTH, 3))
    artifact = tmp_path / "artifact"
    with short_certificate():
        processor.convert(model, artifact, mode=mode)
    source = topic("input", partitions=PARTITIONS)
    produce(kafka.bootstrap_servers, source, everything(seed=9, events=4000, keys=60, partitions=PARTITIONS, step_ms=5))
    deployment = Deployment(kafka, artifact, source, name("g"), tmp_path, dict(SETTINGS))
    killed_and_finished(deployment, 3)

    rules = Rules(inputs={"samples": (3,)}, length=LENGTH if mode == "tumbling" else 0, **RULES)
    wanted = expected(input_records(read_topic(kafka.bootstrap_servers, source)), rules)
    truth = {}
    whole = [
        (sequence[end - LENGTH : end], sequence[end - 1])
        for sequences in wanted.sequences.values()
        for sequence in sequences
        for end in range(LENGTH, len(sequence) + 1)
    ]
    answers = model.predict_on_batch(np.concatenate([values(samples)["samples"] for samples, _ in whole]))
    for (_, last), answer in zip(whole, answers, strict=True):
        truth[last.partition, last.offset] = answer
    verdict = check_published(wanted, *deployment.published(), truth)
    assert verdict, str(verdict)
    assert verdict.compared > 300
    must_say_what_the_stepper_says(deployment, artifact, wanted)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model of tokens, images and numbers with two heads, and its artifact."""
    word, image, numbers = (
        keras.Input((None,), dtype="int32", name="word"),
        keras.Input((None, 4, 4, 1), name="image"),
        keras.Input((None, 3), name="numbers"),
    )
    seen = layers.TimeDistributed(layers.Flatten())(layers.ConvLSTM2D(2, 2, return_sequences=True)(image))
    joined = layers.Concatenate()([layers.Embedding(7, 2)(word), seen, layers.GRU(3, return_sequences=True)(numbers)])
    memory = layers.LSTM(4)(joined)
    heads = {"chance": layers.Dense(1, "sigmoid")(memory), "kind": layers.Dense(3, "softmax")(memory)}
    model = models.lively(keras.Model({"word": word, "image": image, "numbers": numbers}, heads))
    artifact = tmp_path_factory.mktemp("mixed") / "artifact"
    with short_certificate():
        processor.convert(model, artifact)
    return model, artifact


@pytest.mark.parametrize("format", ["json", "float32"])
def test_tokens_images_and_numbers_in_one_event(
    format: str, mixed: tuple[Any, Path], kafka: EmbeddedKafka, topic: Topics, name: Names, tmp_path: Path
) -> None:
    """Several inputs, each by its name, and several outputs; killed half-way, and the disk lost."""
    (model, artifact), rng, keys, steps = mixed, np.random.default_rng(4), 5, 12
    words = rng.integers(0, 7, (keys, steps)).astype("<i4")
    images = rng.normal(size=(keys, steps, 4, 4, 1)).astype("<f4")
    series = rng.normal(size=(keys, steps, 3)).astype("<f4")

    def encoded(key: int, step: int, token: int) -> bytes:
        if format == "float32":  # in the artifact's order, which is that of the names
            return images[key, step].tobytes() + series[key, step].tobytes() + np.int32(token).tobytes()
        features = {"word": token, "image": images[key, step].tolist(), "numbers": series[key, step].tolist()}
        return json.dumps({"features": features}).encode()

    order = [(key, step) for step in range(steps) for key in range(keys)]
    events = [Event(0, b"%d" % key, encoded(key, step, int(words[key, step]))) for key, step in order]
    events.insert(7, Event(0, b"1", encoded(1, 0, 99)))  # no such word: its answer is no number, and its key stays
    source = topic("input", partitions=1)
    send(kafka.bootstrap_servers, source, events[:31])
    deployment = Deployment(kafka, artifact, source, name("g"), tmp_path, {"input.format": format})
    process = deployment.process().start()
    deployment.wait_caught_up()
    process.sigkill()
    shutil.rmtree(deployment.state())
    send(kafka.bootstrap_servers, source, events[31:])
    process.start()
    deployment.finish()

    predictions, dead_letters = deployment.published()
    assert [dict(letter.headers)["processor.reason"] for letter in dead_letters[0]] == [b"not_finite"]
    said = [json.loads(record.value or b"{}") for record in predictions[0]]
    assert [one["offset"] for one in said] == [offset for offset in range(len(events)) if offset != 7]
    answers = processor.load(artifact).run({"word": words, "image": images, "numbers": series})
    truth = model({"word": words, "image": images, "numbers": series})
    assert isinstance(answers, dict)
    for (key, step), one in zip(order, said, strict=True):
        assert list(one["probability"]) == ["chance", "kind"]
        for output, told in one["probability"].items():
            assert np.ravel(np.asarray(told, np.float32)).tobytes() == answers[output][key, step].tobytes()
            if step == steps - 1:
                np.testing.assert_allclose(np.ravel(told), np.asarray(truth[output])[key], atol=1e-5)


@pytest.mark.parametrize("mode", ["carry", "tumbling"])
def test_a_static_input_killed_again_and_again(
    mode: str, kafka: EmbeddedKafka, topic: Topics, name: Names, tmp_path: Path
) -> None:
    """Half of the events leave it out, so what they are answered stands in the states alone; some bring another one,
    and are dead letters in every life."""
    x, place = keras.Input((None, 3), name="x"), keras.Input((2,), name="place")
    begun = [layers.Dense(6)(place), layers.Dense(6)(place)]
    memory = layers.LSTM(6)(x, initial_state=begun)
    chance = layers.Dense(1, activation="sigmoid")(layers.Concatenate()([memory, place]))
    model = models.lively(keras.Model([x, place], chance))
    artifact = tmp_path / "artifact"
    with short_certificate():
        processor.convert(model, artifact, mode=mode, length=LENGTH if mode == "tumbling" else None)
    source = topic("input", partitions=PARTITIONS)
    inputs = (Input("x", (3,)), Input("place", (2,), static=True))
    load = everything(seed=11, events=4000, keys=60, inputs=inputs, partitions=PARTITIONS, step_ms=5)
    produce(kafka.bootstrap_servers, source, load)
    deployment = Deployment(kafka, artifact, source, name("g"), tmp_path, dict(SETTINGS))
    killed_and_finished(deployment, 3)

    rules = Rules(
        inputs={"x": (3,), "place": (2,)},
        static=frozenset({"place"}),
        length=LENGTH if mode == "tumbling" else 0,
        **RULES,
    )
    wanted = expected(input_records(read_topic(kafka.bootstrap_servers, source)), rules)
    verdict = check_published(wanted, *deployment.published(), truth_of_prefixes(wanted, model.predict_on_batch))
    assert verdict, str(verdict)
    assert verdict.compared > 1500
    assert sum(one.reason == Reason.WRONG_STATIC for some in wanted.dead_letters.values() for one in some) > 50
    must_say_what_the_stepper_says(deployment, artifact, wanted)
