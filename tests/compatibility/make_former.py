"""Writes `former/`: what this checkout's code leaves behind, for the code that comes after it to go on with.

    PYTHONPATH=tests python -m compatibility.make_former

To be run on the commit *before* one that changes a format of state, changelog, artifact, or the settings' hash. The
files say what a group had when it was stopped with SIGTERM (`stopped`) and when it was killed with much left to replay
(`killed`): the changelog with its offsets, the group's offsets, the state directory; and what the same code went on to
publish (`predictions.json`).
"""

from __future__ import annotations

import base64
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import processor
from processor.trial.kafka import EmbeddedKafka
from processor.trial.reader import Record, Topic, committed_offsets, read_topic
from recovery.deployment import Deployment, wait_until, write

HERE = Path(__file__).parent / "former"
PARTITIONS = 2
KEYS = 10
EVENTS = 240
FIRST_TIME = 1_700_000_000_000
SETTINGS = {"sequence.gap_seconds": 20}  # the late events of `seconds` are answered


def event(number: int) -> Record:
    """A JSON event; those of the key `seconds`, which come early only, have times that are none in milliseconds."""
    key = f"key-{number % KEYS}".encode()
    time = FIRST_TIME + 1000 * number
    value: dict[str, Any] = {"features": [round((number * 7 % 23) / 23 - 0.5, 3), number % 3, -0.25], "time": time}
    if number % 12 == 5 and number < EVENTS // 2:
        key, value["time"] = b"seconds", time // 1000
    if number % 31 == 30:
        value["start"] = True
    if number % 5 == 0:
        value["sequence"] = number
    return Record(0, key, json.dumps(value).encode(), timestamp=time)


def events(first: int, stop: int) -> Topic:
    """Events `first` to `stop` by partition."""
    topic: Topic = {number: [] for number in range(PARTITIONS)}
    for number in range(first, stop):
        record = event(number)
        topic[sum(record.key or b"") % PARTITIONS].append(record)
    return topic


def dumped(topic: Topic) -> dict[str, list[Any]]:
    """Partition -> [offset, key, value] of each record, bytes in base64."""

    def text(value: bytes | None) -> str | None:
        return None if value is None else base64.b64encode(value).decode()

    return {str(n): [[one.offset, text(one.key), text(one.value)] for one in records] for n, records in topic.items()}


def places(deployment: Deployment) -> dict[int, int]:
    """The group's offsets."""
    return committed_offsets(deployment.kafka.bootstrap_servers, deployment.name, deployment.input, range(PARTITIONS))


def leave(deployment: Deployment, name: str) -> None:
    """Writes what the group `deployment` has."""
    servers = deployment.kafka.bootstrap_servers
    document = {"committed": places(deployment), "changelog": dumped(read_topic(servers, deployment.changelog))}
    (HERE / f"{name}.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")
    with tarfile.open(HERE / f"{name}.tar.xz", "w:xz") as archive:
        for path in sorted(deployment.state().rglob("*")):
            if path.is_file() and not path.name.startswith(("LOCK", "lock", "LOG", "OPTIONS")):
                archive.add(path, str(path.relative_to(deployment.state())))


def run(deployment: Deployment, name: str) -> Topic:
    """Half of the events before it is stopped, the rest after. Returns its predictions."""
    quarter = EVENTS // 4
    deployment.process().start()
    write(deployment.kafka, deployment.input, events(0, quarter))
    deployment.finish()
    write(deployment.kafka, deployment.input, events(quarter, 2 * quarter))
    if name == "killed":
        deployment.processes.clear()
        deployment.process(state__snapshot_interval_seconds=3600)
    process = deployment.processes[0].start()
    deployment.wait_caught_up()
    wait_until(lambda: places(deployment) == deployment.ends(), "not committed")
    process.sigkill() if name == "killed" else process.sigterm()
    leave(deployment, name)
    process.start()
    write(deployment.kafka, deployment.input, events(2 * quarter, EVENTS))
    deployment.finish()
    return deployment.published()[0]


def main() -> None:
    """Makes all of it."""
    from keras import layers

    from model.models import sequential  # first: it quietens TensorFlow

    HERE.mkdir(exist_ok=True)
    model = sequential(layers.LSTM(4), layers.Dense(1, activation="sigmoid"))
    processor.convert(model, HERE / "artifact")
    with tempfile.TemporaryDirectory() as directory, EmbeddedKafka(Path(directory) / "kafka") as kafka:
        published = []
        for name in ("stopped", "killed"):
            topic = kafka.create_topic(f"{name}-input", partitions=PARTITIONS, config={"retention.ms": "-1"})
            deployment = Deployment(kafka, HERE / "artifact", topic, name, Path(directory) / name, dict(SETTINGS))
            published.append(dumped(run(deployment, name)))
        values = [{n: [row[1:] for row in rows] for n, rows in one.items()} for one in published]
        assert values[0] == values[1]
        (HERE / "predictions.json").write_text(json.dumps(values[0], separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
