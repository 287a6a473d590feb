"""One input, one undisturbed run of it that the trained model has confirmed, and a deployment for each test."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf
from keras import layers

import processor
from model.models import sequential  # first: it quietens TensorFlow
from model.quick import short_certificate
from processor.trial.checker import check_published, input_records, truth_of_sequences
from processor.trial.load import everything, produce
from processor.trial.oracle import Rules, expected
from processor.trial.reader import read_topic
from recovery.deployment import PARTITIONS, Deployment, Fed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka
    from processor.trial.reader import Topic

EVENTS = 24_000
SETTINGS = {"sequence.allowed_lateness_seconds": 30, "sequence.gap_seconds": 20, "sequence.idle_seconds": 40}


def small_model(*, every_step: bool) -> Any:
    """LSTM, LeakyReLU, LSTM, LeakyReLU, Dense(1, sigmoid) on 3 features: as it is served, or answering at each step."""
    return sequential(
        layers.LSTM(12, return_sequences=True),
        layers.LeakyReLU(),
        layers.LSTM(8, return_sequences=every_step),
        layers.LeakyReLU(),
        layers.Dense(1, activation="sigmoid"),
    )


@pytest.fixture(scope="session")
def truth() -> Callable[[Any], Any]:
    """The trained model on whole sequences: {input: [rows, T, 3]} -> [rows, T, 1]."""
    model = small_model(every_step=True)
    compiled = tf.function(model, reduce_retracing=True)
    return lambda features: compiled(features["samples"], training=False).numpy()


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifacts") / "artifact"
    with short_certificate():
        processor.convert(small_model(every_step=False), directory)
    return directory


@pytest.fixture(scope="session")
def worker() -> str:
    """What tells the names of one test process from those of another, at the same broker."""
    return f"-{os.environ['PYTEST_XDIST_WORKER']}" if "PYTEST_XDIST_WORKER" in os.environ else ""


@pytest.fixture(scope="session")
def input_topic(kafka: EmbeddedKafka, worker: str) -> str:
    """Everything that the rules speak of, for a few hundred keys."""
    topic = kafka.create_topic(f"recovery-input{worker}", partitions=PARTITIONS)
    load = everything(seed=7, events=EVENTS, keys=400, partitions=PARTITIONS, step_ms=5)
    produce(kafka.bootstrap_servers, topic, load)
    return topic


@pytest.fixture(scope="session")
def reference(
    kafka: EmbeddedKafka,
    artifact: Path,
    truth: Any,
    input_topic: str,
    worker: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Topic, Topic]:
    """What an undisturbed run publishes: judged by the oracle's rules, and by the trained model on whole sequences."""
    directory = tmp_path_factory.mktemp("undisturbed")
    deployment = Deployment(kafka, artifact, input_topic, f"undisturbed{worker}", directory, dict(SETTINGS))
    deployment.process().start()
    deployment.finish()
    predictions, dead_letters = deployment.published()
    rules = Rules(inputs={"samples": (3,)}, gap_seconds=20, idle_seconds=40, allowed_lateness_seconds=30)
    wanted = expected(input_records(read_topic(kafka.bootstrap_servers, input_topic)), rules)
    verdict = check_published(wanted, predictions, dead_letters, truth_of_sequences(wanted, truth))
    assert verdict, str(verdict)
    assert verdict.compared == sum(map(len, predictions.values())) > EVENTS // 2
    assert verdict.duplicates > 100
    assert sum(map(len, dead_letters.values())) > 100
    return predictions, dead_letters


@pytest.fixture
def deployment(
    kafka: EmbeddedKafka, artifact: Path, input_topic: str, name: Callable[[str], str], tmp_path: Path
) -> Iterator[Deployment]:
    """A group of this test's own over the common input."""
    deployment = Deployment(kafka, artifact, input_topic, name("g"), tmp_path, dict(SETTINGS))
    yield deployment
    for process in deployment.processes:
        process.close()
    kafka.delete_topics(deployment.output, deployment.dead_letters, deployment.changelog)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture
def fed(deployment: Deployment, topic: Callable[..., str]) -> Fed:
    """This test's own input, which becomes what the common input is, bit by bit."""
    fed = Fed(deployment, read_topic(deployment.kafka.bootstrap_servers, deployment.input))
    deployment.input = topic("input", partitions=PARTITIONS)
    return fed
