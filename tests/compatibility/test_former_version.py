"""Today's code goes on with what the former version's code left: `former/`, written by `make_former.py`.

Kafka gives a new topic an id of its own, which positions and stores name. Those ids alone are replaced.
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
from processor.state.position import Position
from processor.state.record import ORIGIN_KEY, POSITION_KEY
from processor.state.store import Store, StoreResources
from recovery.house import House, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from processor.dev.kafka import EmbeddedKafka

FORMER = Path(__file__).parent / "former"
Rows = list[tuple[bytes | None, bytes | None]]


def unpacked(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


@pytest.fixture
def house(
    kafka: EmbeddedKafka, topic: Callable[..., str], name: Callable[[str], str], tmp_path: Path
) -> Iterator[House]:
    source = topic("input", partitions=PARTITIONS, config={"retention.ms": "-1"})
    house = House(kafka, FORMER / "artifact", source, name("g"), tmp_path, dict(SETTINGS))
    yield house
    for process in house.processes:
        process.close()
    kafka.delete_topics(house.output, house.dead_letters, house.changelog)


def restore(house: House, name: str, *, with_store: bool) -> None:
    """Input, changelog, offsets and state directory as they were."""
    former = json.loads((FORMER / f"{name}.json").read_text())
    house.kafka.create_topic(house.changelog, partitions=PARTITIONS, config={"cleanup.policy": "compact"})
    write(house.kafka, house.input, events(0, EVENTS // 2))
    ids = topic_ids(house)
    fill_changelog(house, former["changelog"], ids[house.input])
    consumer = Consumer({"bootstrap.servers": house.kafka.bootstrap_servers, "group.id": house.name})
    places = [TopicPartition(house.input, int(number), place) for number, place in former["committed"].items()]
    consumer.commit(offsets=places, asynchronous=False)
    consumer.close()
    if with_store:
        with tarfile.open(FORMER / f"{name}.tar.xz") as archive:
            archive.extractall(house.state(), filter="data")
        for number in range(PARTITIONS):
            rename(house.state() / f"partition-{number}", ids[house.changelog], ids[house.input])


def topic_ids(house: House) -> dict[str, str]:
    settings = Settings.model_validate({"kafka": {"bootstrap_servers": house.kafka.bootstrap_servers}})
    with Admin(settings, 20.0) as admin:
        return {name: admin.describe_topic(name).topic_id for name in (house.input, house.changelog)}  # type: ignore[union-attr]


def fill_changelog(house: House, partitions: dict[str, list[Any]], input_id: str) -> None:
    """The same records at the same offsets: where one is missing, a transaction ended."""
    producer = Producer({"bootstrap.servers": house.kafka.bootstrap_servers, "transactional.id": f"{house.name}-fill"})
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
            if unpacked(key) == POSITION_KEY:
                record = replace(Position.from_bytes(record or b""), topic_id=input_id).to_bytes()
            producer.produce(house.changelog, record, unpacked(key), int(number))
            next_offset = offset + 1
        producer.commit_transaction(60)


def rename(path: Path, changelog_id: str, input_id: str) -> None:
    store = Store.open(path, StoreResources(2**20))
    position = store.position()
    assert position is not None
    store.write([(ORIGIN_KEY, changelog_id.encode())], [], store.mark(), replace(position, topic_id=input_id))
    store.close()


def predictions(house: House) -> dict[str, Rows]:
    return {str(n): [(one.key, one.value) for one in rows] for n, rows in house.published()[0].items()}


def former_predictions() -> dict[str, Rows]:
    document = json.loads((FORMER / "predictions.json").read_text())
    return {n: [(unpacked(key), unpacked(value)) for key, value in rows] for n, rows in document.items()}


@pytest.mark.parametrize(("left", "with_store"), [("stopped", True), ("killed", True), ("killed", False)])
def test_it_goes_on_as_the_former_version_would_have(house: House, left: str, with_store: bool) -> None:
    """Where something was left to replay it holds times in seconds, which the former version answered."""
    restore(house, left, with_store=with_store)
    process = house.process().start()
    write(house.kafka, house.input, events(EVENTS // 2, EVENTS))
    house.finish()
    replayed = [line["replayed_offsets"] for line in process.events() if line["event"] == "running"]
    assert replayed == [30 if left == "killed" else 0] * PARTITIONS
    half = {
        n: [row for row in rows if json.loads(row[1] or b"")["offset"] >= 60]
        for n, rows in former_predictions().items()
    }
    assert predictions(house) == half
    assert not any(house.published()[1].values()), "no dead letters"
