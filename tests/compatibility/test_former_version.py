"""Today's code goes on with what the former version's code left: `former/`, written by `make_former.py`.

Kafka gives a new topic an id of its own, which checkpoints and stores name. Those ids alone are replaced.
"""

from __future__ import annotations

import base64
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compatibility.make_former import EVENTS, PARTITIONS, SETTINGS, events
from processor.config import Settings
from processor.kafka.admin import Admin
from processor.kafka.client import Consumer, Producer, TopicPartition
from processor.state.checkpoint import Checkpoint
from processor.state.record import CHECKPOINT_KEY, ORIGIN_KEY
from processor.state.store import Store, StoreResources
from recovery.deployment import Deployment, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processor.trial.kafka import EmbeddedKafka

FORMER = Path(__file__).parent / "former"
Rows = list[tuple[bytes | None, bytes | None]]


def unpacked(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


@pytest.fixture
def deployment(
    kafka: EmbeddedKafka, topic: Callable[..., str], name: Callable[[str], str], tmp_path: Path
) -> Iterator[Deployment]:
    source = topic("input", partitions=PARTITIONS, config={"retention.ms": "-1"})
    deployment = Deployment(kafka, FORMER / "artifact", source, name("g"), tmp_path, dict(SETTINGS))
    yield deployment
    for process in deployment.processes:
        process.close()
    kafka.delete_topics(deployment.output, deployment.dead_letters, deployment.changelog)


def restore(deployment: Deployment, name: str, *, with_store: bool) -> None:
    """Input, changelog, offsets and state directory as they were."""
    former = json.loads((FORMER / f"{name}.json").read_text())
    deployment.kafka.create_topic(deployment.changelog, partitions=PARTITIONS, config={"cleanup.policy": "compact"})
    write(deployment.kafka, deployment.input, events(0, EVENTS // 2))
    ids = topic_ids(deployment)
    fill_changelog(deployment, former["changelog"], ids[deployment.input])
    consumer = Consumer({"bootstrap.servers": deployment.kafka.bootstrap_servers, "group.id": deployment.name})
    places = [TopicPartition(deployment.input, int(number), place) for number, place in former["committed"].items()]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()
    if with_store:
        with tarfile.open(FORMER / f"{name}.tar.xz") as archive:
            archive.extractall(deployment.state(), filter="data")
        for number in range(PARTITIONS):
            rename(deployment.state() / f"partition-{number}", ids[deployment.changelog], ids[deployment.input])


def topic_ids(deployment: Deployment) -> dict[str, str]:
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": deployment.kafka.bootstrap_servers}})
    with Admin(settings, 20.0) as admin:
        return {name: admin.describe_topic(name).topic_id for name in (deployment.input, deployment.changelog)}  # type: ignore[union-attr]


def fill_changelog(deployment: Deployment, partitions: dict[str, list[Any]], input_id: str) -> None:
    """The same records at the same offsets: where one is missing, a transaction ended."""
    producer = Producer(
        {"bootstrap.servers": deployment.kafka.bootstrap_servers, "transactional.id": f"{deployment.name}-fill"}
    )
    producer.init_transactions(60)
    for number, rows in partitions.items():
        next_offset = 0
        producer.begin_transaction()
        for offset, key, value in rows:
            assert offset - next_offset in (0, 1)
            if offset > next_offset:
                producer.commit_transaction(60)
                producer.begin_transaction()
            record = unpacked(value)
            if unpacked(key) == CHECKPOINT_KEY:
                record = replace(Checkpoint.from_bytes(record or b""), topic_id=input_id).to_bytes()
            producer.produce(deployment.changelog, record, unpacked(key), int(number))
            next_offset = offset + 1
        producer.commit_transaction(60)


def rename(path: Path, changelog_id: str, input_id: str) -> None:
    store = Store.open(path, StoreResources(2**20))
    checkpoint = store.checkpoint()
    assert checkpoint is not None
    store.write(
        [(ORIGIN_KEY, changelog_id.encode())], [], store.local_checkpoint(), replace(checkpoint, topic_id=input_id)
    )
    store.close()


def predictions(deployment: Deployment) -> dict[str, Rows]:
    return {str(n): [(one.key, one.value) for one in rows] for n, rows in deployment.published()[0].items()}


def former_predictions() -> dict[str, Rows]:
    document = json.loads((FORMER / "predictions.json").read_text())
    return {n: [(unpacked(key), unpacked(value)) for key, value in rows] for n, rows in document.items()}


@pytest.mark.parametrize(("left", "with_store"), [("stopped", True), ("killed", True), ("killed", False)])
def test_it_goes_on_as_the_former_version_would_have(deployment: Deployment, left: str, with_store: bool) -> None:
    """Where something was left to replay it holds times in seconds, which the former version answered."""
    restore(deployment, left, with_store=with_store)
    process = deployment.process().start()
    write(deployment.kafka, deployment.input, events(EVENTS // 2, EVENTS))
    deployment.finish()
    replayed = [line["replayed_offsets"] for line in process.events() if line["event"] == "running"]
    assert replayed == [30 if left == "killed" else 0] * PARTITIONS
    half = {
        n: [row for row in rows if json.loads(row[1] or b"")["offset"] >= 60]
        for n, rows in former_predictions().items()
    }
    assert predictions(deployment) == half
    assert not any(deployment.published()[1].values()), "no dead letters"
