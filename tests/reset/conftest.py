"""One input and one undisturbed run of it; a deployment for each test. As in tests/recovery, with a shorter input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

import processor
from model.quick import short_certificate
from processor.trial.load import everything, produce
from recovery.conftest import SETTINGS, small_model
from recovery.deployment import PARTITIONS
from reset.reset_deployment import ResetDeployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka
    from reset.reset_deployment import Published

EVENTS = 14_000
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")  # several test processes share one broker


def asked(model: Any) -> Callable[[Any], Any]:
    """A trained model on whole sequences: {input: [rows, T, 3]} -> [rows, T, 1]."""
    compiled = tf.function(model, reduce_retracing=True)
    return lambda features: compiled(features["samples"], training=False).numpy()


def another_model(*, every_step: bool) -> Any:
    model = small_model(every_step=every_step)
    model.set_weights([weight * 0.5 for weight in model.get_weights()])
    return model


@pytest.fixture(scope="session")
def reset_truth() -> Callable[[Any], Any]:
    return asked(small_model(every_step=True))


@pytest.fixture(scope="session")
def another_truth() -> Callable[[Any], Any]:
    return asked(another_model(every_step=True))


@pytest.fixture(scope="session")
def reset_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reset-artifacts") / "model"
    with short_certificate():
        processor.convert(small_model(every_step=False), directory)
    return directory


@pytest.fixture(scope="session")
def another_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("reset-artifacts") / "another"
    with short_certificate():
        processor.convert(another_model(every_step=False), directory)
    return directory


def fill(kafka: EmbeddedKafka, topic: str, events: int = EVENTS, *, seed: int = 8, **load: int) -> str:
    """load: more of `processor.trial.load.Load`."""
    fields = {"keys": 300, "partitions": PARTITIONS, "step_ms": 5, **load}
    produce(kafka.bootstrap_servers, topic, everything(seed=seed, events=events, **fields))
    return topic


@pytest.fixture(scope="session")
def reset_input(kafka: EmbeddedKafka) -> str:
    return fill(kafka, kafka.create_topic(f"reset-input-{WORKER}", partitions=PARTITIONS))


@pytest.fixture(scope="session")
def undisturbed(
    kafka: EmbeddedKafka,
    reset_artifact: Path,
    reset_input: str,
    reset_truth: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Published:
    directory = tmp_path_factory.mktemp("reset-undisturbed")
    deployment = ResetDeployment(
        kafka, reset_artifact, reset_input, f"reset-undisturbed-{WORKER}", directory, dict(SETTINGS)
    )
    deployment.process().start()
    deployment.finish()
    deployment.must_be_right(deployment.published(), dict.fromkeys(range(PARTITIONS), 0), reset_truth)
    return deployment.published()


@pytest.fixture
def deployment(
    kafka: EmbeddedKafka, reset_artifact: Path, reset_input: str, name: Callable[[str], str], tmp_path: Path
) -> Iterator[ResetDeployment]:
    deployment = ResetDeployment(kafka, reset_artifact, reset_input, name("g"), tmp_path, dict(SETTINGS))
    yield deployment
    deployment.close()
