"""Inputs and offsets that are not what they were: expired, moved, compacted, cut short, written in transactions.

An input that was made anew or has more partitions, and a lost changelog, are in tests/reset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from processor.kafka.client import AlterConfigOpType, ConfigEntry, ConfigResource, Producer, ResourceType
from processor.kafka.client import TopicPartition as Cursor
from processor.trial.load import everything, send
from processor.trial.reader import read_topic, source_of
from recovery.conftest import SETTINGS
from recovery.deployment import PARTITIONS, wait_until
from reset.reset_deployment import KILLED, ResetDeployment

if TYPE_CHECKING:
    from processor.trial.kafka import EmbeddedKafka
    from processor.trial.load import Event
    from processor.trial.process import ProcessorProcess
    from processor.trial.reader import Topic

    Reference = tuple[Topic, Topic]

START = dict.fromkeys(range(PARTITIONS), 0)
WEEK_MS = 7 * 86_400_000


@pytest.fixture
def deployment(
    kafka: EmbeddedKafka, artifact: Path, input_topic: str, name: Callable[[str], str], tmp_path: Path
) -> Iterator[ResetDeployment]:
    deployment = ResetDeployment(kafka, artifact, input_topic, name("g"), tmp_path, dict(SETTINGS))
    yield deployment
    deployment.close()


def killed_with_much_to_replay(deployment: ResetDeployment) -> ProcessorProcess:
    process = deployment.process(state__snapshot_interval_seconds=60).start("commit.done=kill@6")
    assert process.wait_exit() == KILLED, process.log()[-3000:]
    return process


def events(count: int) -> list[Event]:
    return list(everything(seed=12, events=count, keys=60, partitions=PARTITIONS, step_ms=5))


def test_offsets_were_moved_and_are_set_again_and_then_expire(
    deployment: ResetDeployment, reference: Reference
) -> None:
    process = killed_with_much_to_replay(deployment)
    stood = deployment.committed()
    for moved in (-1, 1):
        deployment.move({number: offset + moved for number, offset in stood.items() if offset})
        line = deployment.refused(process, "The group stands at", "set the group's offset to")
        number = next(number for number in stood if f"in partition {number}," in line["fact"])
        assert f"set the group's offset to {stood[number]} again" in line["hint"]
    deployment.move(stood)
    deployment.expire()
    process.start()
    deployment.finish()
    deployment.must_equal(reference)


def test_a_gap_that_was_accepted_is_counted_and_the_rest_is_predicted_once(
    deployment: ResetDeployment, topic: Callable[..., str]
) -> None:
    deployment.input = topic("input", partitions=PARTITIONS)
    send(deployment.kafka.bootstrap_servers, deployment.input, events(12_000))
    process = killed_with_much_to_replay(deployment)
    places = deployment.committed()
    first = {number: max(1, offset // 2) for number, offset in places.items()}
    admin = deployment.kafka.admin()  # kept until the answers are there
    for future in admin.delete_records(
        [Cursor(deployment.input, number, offset) for number, offset in first.items()]
    ).values():
        future.result()
    deployment.refused(process, "but the input begins at", "processing.accept_gap = true")
    deployment.processes.clear()
    accepting = deployment.process(processing__accept_gap=True).start()
    deployment.wait_caught_up()
    missing = {line["partition"]: line["events"] for line in accepting.events() if line["event"] == "gap.accepted"}
    assert missing == first
    assert f"processor_gap_events_total {float(sum(first.values()))}" in (accepting.get("/metrics") or "")
    deployment.finish()
    predictions, dead_letters = deployment.published()
    for number, end in deployment.ends().items():
        answered = [source_of(record) for record in [*predictions[number], *dead_letters.get(number, [])]]
        assert len(set(answered)) == len(answered)
        offsets = [source[1] for source in map(source_of, predictions[number]) if source]
        assert offsets == sorted(offsets)
        assert offsets[-1] > end - 20


def configure(deployment: ResetDeployment, **config: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    admin = deployment.kafka.admin()  # kept until the answer is there
    asked = [ConfigResource(ResourceType.TOPIC, deployment.input, incremental_configs=entries)]
    for future in admin.incremental_alter_configs(asked).values():
        future.result()


def test_a_compacted_input_is_predicted_where_every_commit_writes_what_it_changed(
    deployment: ResetDeployment, topic: Callable[..., str], truth: Any
) -> None:
    """What is compacted away has been answered before, and is in the states. Otherwise such an input is refused."""
    compacted = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.001", "segment.ms": str(WEEK_MS)}
    deployment.input = topic("input", partitions=PARTITIONS, config=compacted)
    deployment.refused(deployment.process(), "is compacted", "state.snapshot_interval_seconds = 0", "ConfigError")
    deployment.processes.clear()
    servers = deployment.kafka.bootstrap_servers
    keyed = [event for event in events(6_000) if event.key is not None]  # such a topic takes no others
    send(servers, deployment.input, keyed[:3_000])
    process = deployment.process(state__snapshot_interval_seconds=0).start()
    deployment.wait_caught_up()
    known = read_topic(servers, deployment.input)
    ends = {number: some[-1].offset + 1 for number, some in known.items()}
    wait_until(
        lambda: deployment.committed() == ends, "not all of it was committed"
    )  # else it would have to be read again
    process.sigkill()

    # One event in each partition begins a new segment; the old one, all of it answered, is compacted.
    configure(deployment, segment_ms="100")
    first = {event.partition: event for event in reversed(keyed[3_000:])}
    send(servers, deployment.input, list(first.values()))
    configure(deployment, segment_ms=str(WEEK_MS))
    wait_until(
        lambda: all(len(some) < len(known[n]) for n, some in read_topic(servers, deployment.input).items()),
        "nothing was compacted",
    )
    begun = {id(event) for event in first.values()}
    send(servers, deployment.input, [event for event in keyed[3_000:] if id(event) not in begun])
    for number, some in read_topic(servers, deployment.input).items():
        known[number] += [record for record in some if record.offset > known[number][-1].offset]
    process.start()
    deployment.finish()
    deployment.must_be_right(deployment.published(), START, truth, inputs=known)


class Upstream:
    """Writes the input in transactions."""

    def __init__(self, deployment: ResetDeployment) -> None:
        self.deployment = deployment
        servers = deployment.kafka.bootstrap_servers
        self.producer = Producer({"bootstrap.servers": servers, "transactional.id": deployment.name, "log_level": 0})
        self.producer.init_transactions(30)

    def open(self, some: list[Event]) -> None:
        self.producer.begin_transaction()
        for event in some:
            self.producer.produce(self.deployment.input, event.value, event.key, event.partition)
        assert self.producer.flush(30) == 0

    def commit(self, some: list[Event]) -> None:
        self.open(some)
        self.producer.commit_transaction(30)

    def abort(self, some: list[Event]) -> None:
        self.open(some)
        self.producer.abort_transaction(30)


def test_of_an_input_in_transactions_only_what_was_committed_is_predicted(
    deployment: ResetDeployment, topic: Callable[..., str], truth: Any
) -> None:
    """Aborted events would change states; one transaction is open while the processor waits before it."""
    deployment.input = topic("input", partitions=PARTITIONS)
    upstream = Upstream(deployment)
    all_events = events(6_000)
    for start in range(0, 4_000, 500):
        upstream.abort(all_events[4_000:4_300])
        upstream.commit(all_events[start : start + 500])
    stable = read_topic(deployment.kafka.bootstrap_servers, deployment.input)
    upstream.open(all_events[4_000:4_300])
    process = deployment.process().start("commit.committed=kill@3")
    assert process.wait_exit() == KILLED, process.log()[-3000:]
    process.start()
    wait_until(
        lambda: all(deployment.places().get(n, -1) > some[-1].offset for n, some in stable.items()),
        "it did not get so far",
    )
    upstream.producer.abort_transaction(30)
    send(deployment.kafka.bootstrap_servers, deployment.input, all_events[4_000:])
    deployment.finish()
    deployment.must_be_right(deployment.published(), START, truth)


def test_a_group_that_has_processed_everything_starts_again_although_retention_has_emptied_the_input(
    deployment: ResetDeployment, topic: Callable[..., str]
) -> None:
    """Behind the last event lie markers and aborted records: place, offset and lag pass them, by one commit in all."""
    deployment.input = topic("input", partitions=PARTITIONS)
    upstream = Upstream(deployment)
    upstream.commit(events(400))
    process = deployment.process().start()
    wait_until(lambda: deployment.committed() == deployment.ends(), "the marker was not passed")
    upstream.abort(events(400))
    wait_until(lambda: deployment.committed() == deployment.ends(), "the aborted events were not passed")
    wait_until(lambda: metric(process, "lag_events") == 0, "the lag stays")
    commits = metric(process, 'commits_total{outcome="committed"}')
    time.sleep(1.5)  # longer than from one look for markers to the next
    assert metric(process, 'commits_total{outcome="committed"}') == commits
    assert process.sigterm() == 0

    admin = deployment.kafka.admin()  # kept until the answers are there
    for future in admin.delete_records([Cursor(deployment.input, *end) for end in deployment.ends().items()]).values():
        future.result()
    process.start().wait_ready()
    upstream.commit(events(400))
    deployment.finish()
    predictions, _ = deployment.published()
    for number, some in read_topic(deployment.kafka.bootstrap_servers, deployment.input).items():
        answered = {source[1] for source in map(source_of, predictions[number]) if source}
        assert answered & {record.offset for record in some}, "what came behind the restart was not answered"


def metric(process: ProcessorProcess, name: str) -> float:
    (line,) = (line for line in (process.get("/metrics") or "").splitlines() if line.startswith(f"processor_{name} "))
    return float(line.split()[-1])
