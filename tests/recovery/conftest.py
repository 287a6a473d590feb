"""One input, one undisturbed run of it that the trained model has confirmed, and a house for each test."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from model.models import s2_model

import processor
from processor.dev.load import everything, produce
from processor.dev.oracle import Rules, expected
from processor.dev.reader import read_topic
from processor.dev.truth import input_records, judge, truth_of_sequences
from recovery.house import PARTITIONS, House

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from processor.dev.kafka import EmbeddedKafka
    from processor.dev.reader import Topic

EVENTS = 24_000
SETTINGS = {"sequence.allowed_lateness_seconds": 30, "sequence.gap_seconds": 20, "sequence.idle_seconds": 40}


@pytest.fixture(scope="session")
def trained() -> Any:
    """S2's model: LSTM, LeakyReLU, LSTM, LeakyReLU, Dense(1, sigmoid) on 3 features."""
    return s2_model()


@pytest.fixture(scope="session")
def artifact(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifacts") / "s2"
    processor.convert(trained, directory)
    return directory


@pytest.fixture(scope="session")
def input_topic(kafka: EmbeddedKafka) -> str:
    """Everything that the rules speak of, for a few hundred keys."""
    topic = kafka.create_topic("recovery-input", partitions=PARTITIONS)
    load = everything(seed=7, events=EVENTS, keys=400, partitions=PARTITIONS, step_ms=5)
    produce(kafka.bootstrap_servers, topic, load)
    return topic


@pytest.fixture(scope="session")
def reference(
    kafka: EmbeddedKafka, artifact: Path, trained: Any, input_topic: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Topic, Topic]:
    """What an undisturbed run publishes: judged by the oracle's rules, and by the trained model on whole sequences."""
    house = House(kafka, artifact, input_topic, "undisturbed", tmp_path_factory.mktemp("undisturbed"), dict(SETTINGS))
    house.process().start()
    house.finish()
    predictions, dead_letters = house.published()
    rules = Rules(inputs={"features": (3,)}, gap_seconds=20, idle_seconds=40, allowed_lateness_seconds=30)
    wanted = expected(input_records(read_topic(kafka.bootstrap_servers, input_topic)), rules)
    verdict = judge(wanted, predictions, dead_letters, truth_of_sequences(wanted, trained))
    assert verdict, str(verdict)
    assert verdict.compared == sum(map(len, predictions.values())) > EVENTS // 2
    assert verdict.duplicates > 100
    assert sum(map(len, dead_letters.values())) > 100
    return predictions, dead_letters


@pytest.fixture
def house(
    kafka: EmbeddedKafka, artifact: Path, input_topic: str, name: Callable[[str], str], tmp_path: Path
) -> Iterator[House]:
    """A group of this test's own over the common input."""
    house = House(kafka, artifact, input_topic, name("g"), tmp_path, dict(SETTINGS))
    yield house
    for process in house.processes:
        process.close()
    kafka.delete_topics(house.output, house.dead_letters, house.changelog)
    shutil.rmtree(tmp_path, ignore_errors=True)
