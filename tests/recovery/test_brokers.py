"""Brokers die, stall, come back and move their leaders; the output is an undisturbed run's.

Each cluster here is of this file alone: nobody may touch the one that the other tests share. An outage is slow to make,
so that several groups go through the same one, and the tests take turns (tests/rotation.py).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from processor.trial.kafka import EmbeddedKafka
from processor.trial.reader import read_topic
from recovery.conftest import SETTINGS
from recovery.deployment import PARTITIONS, Deployment, Fed, copy_topic, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from processor.trial.reader import Topic

    Reference = tuple[Topic, Topic]
    Houses = Callable[..., Deployment]

# A broker that was killed can come back only when the controller has given up its former life.
QUICK = {"broker.heartbeat.interval.ms": "300", "broker.session.timeout.ms": "3000"}
SHORT = {"processing.commit_interval_seconds": 0.005}  # many commits, so that there are some left after each fault
SESSION_SECONDS = 2
UNAVAILABLE, OWNERSHIP_LOST = 3, 4


@pytest.fixture(scope="module")
def one_broker(
    kafka: EmbeddedKafka, input_topic: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedKafka]:
    directory = tmp_path_factory.mktemp("one-broker")
    with EmbeddedKafka(directory, separate_controller=True, properties=QUICK) as cluster:
        copy_topic(kafka, cluster, input_topic)
        yield cluster
        cluster.kill_all()  # nobody wants its data


@pytest.fixture(scope="module")
def three_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """Every topic has three replicas, and two of them must have a record."""
    directory = tmp_path_factory.mktemp("three-brokers")
    with EmbeddedKafka(directory, brokers=3, properties=QUICK, heap_mib=320) as cluster:
        yield cluster
        cluster.kill_all()


@pytest.fixture
def deployments(artifact: Path, input_topic: str, name: Callable[[str], str], tmp_path: Path) -> Iterator[Houses]:
    """Groups of this test's own over the common input."""
    built: list[Deployment] = []

    def build(cluster: EmbeddedKafka, what: str, *, static: bool = False) -> Deployment:
        settings = {**SETTINGS, **SHORT}
        built.append(Deployment(cluster, artifact, input_topic, name(what), tmp_path / what, settings, static))
        return built[-1]

    yield build
    for deployment in built:
        for process in deployment.processes:
            process.close()


def bring_to(*points: tuple[Deployment, str]) -> None:
    """One process in each deployment, at its point of its fourth commit."""
    for deployment, point in points:
        deployment.processes[0].start(deployment.hold(point, 4))
    for deployment, _ in points:
        deployment.processes[0].wait_event("failpoint")


def release(*points: tuple[Deployment, str]) -> None:
    for deployment, point in points:
        deployment.release(point)


@pytest.mark.rotated(keep=2, kind="outages of brokers")
def test_the_broker_is_killed_and_started_again_while_events_are_stepped_and_in_the_middle_of_commits(
    one_broker: EmbeddedKafka, deployments: Houses, reference: Reference
) -> None:
    held = [(deployments(one_broker, point), point) for point in ("commit.done", "commit.flushed")]
    held.append((deployments(one_broker, "static", static=True), "commit.offsets"))
    for deployment, _ in held:
        deployment.process()
    bring_to(*held)
    one_broker.kill()
    release(*held)
    one_broker.restart()
    for deployment, _ in held:
        # A client's call may hang through it. And a group that lost a static member by its broker's death may take it
        # for a second one of that name.
        deployment.finish(UNAVAILABLE, *([OWNERSHIP_LOST] if deployment.static else []))
        deployment.must_equal(reference)


@pytest.mark.rotated(keep=2, kind="outages of brokers")
def test_a_broker_away_for_longer_than_the_budget_ends_the_process_for_a_restart(
    one_broker: EmbeddedKafka, deployments: Houses, reference: Reference
) -> None:
    """The budget of every wait, or that of a shutdown where somebody wants it to end."""
    waiting, stopped = deployments(one_broker, "waiting"), deployments(one_broker, "stopped")
    waiting.process(processing__unavailable_seconds=4)
    stopped.process(processing__shutdown_seconds=1)
    held = [(waiting, "commit.offsets"), (stopped, "commit.produced")]
    bring_to(*held)
    one_broker.kill()
    release(*held)
    assert stopped.processes[0].sigterm() == 3
    last = stopped.processes[0].events()[-1]
    assert (last["event"], last["what"]) == ("hung", "the shutdown"), last
    assert waiting.processes[0].wait_exit() == 3
    last = waiting.processes[0].events()[-1]
    assert (last["event"], last["error"]) == ("failed", "Unavailable"), last
    assert last["fact"]
    assert last["hint"]
    one_broker.restart()
    for deployment, _ in held:
        # The other budget, since a broker may need longer than that to be itself again.
        deployment.processes.clear()
        deployment.process().start()
    for deployment, _ in held:
        deployment.finish()
        deployment.must_equal(reference)


@pytest.mark.rotated(keep=2, kind="outages of brokers")
def test_the_broker_is_paused_for_less_than_a_session_and_for_more(
    one_broker: EmbeddedKafka, deployments: Houses, reference: Reference
) -> None:
    deployment = deployments(one_broker, "paused")
    process = deployment.process().start(
        ";".join([deployment.hold("commit.committed", 6), deployment.hold("commit.offsets", 9)])
    )
    for times, (point, seconds) in enumerate((("commit.committed", 0.5), ("commit.offsets", 1.2)), start=1):
        process.wait_event("failpoint", times=times)
        one_broker.pause()
        deployment.release(point)
        time.sleep(seconds * SESSION_SECONDS)
        one_broker.resume()
    deployment.finish()
    deployment.must_equal(reference)


@pytest.mark.rotated(keep=2, kind="outages of brokers")
def test_a_broker_that_hangs_shows_within_seconds_and_the_budget_is_kept(
    one_broker: EmbeddedKafka, deployments: Houses
) -> None:
    """It takes connections and answers nothing, while there is nothing to do. 2 and 15 seconds: a slow machine's."""
    deployment = deployments(one_broker, "hanging")
    process = deployment.process(processing__unavailable_seconds=8).start().wait_ready()
    deployment.wait_caught_up()
    one_broker.pause()
    try:
        began = time.monotonic()
        process.wait_event("kafka.away")
        assert not process.is_ready()
        assert process.wait_exit() == UNAVAILABLE
        assert 8 - 2 < time.monotonic() - began < 8 + 15
    finally:
        one_broker.resume()
    last = process.events()[-1]
    assert (last["event"], last["error"]) == ("failed", "Unavailable"), last
    assert "No Kafka broker answered" in last["fact"]


def wait_in_sync(cluster: EmbeddedKafka) -> None:
    """Returns when no partition lacks a replica: only then the next broker may go."""
    admin = cluster.admin()

    def is_in_sync() -> bool:
        topics = admin.list_topics(timeout=10).topics.values()
        partitions = [partition for topic in topics for partition in topic.partitions.values()]
        return all(len(partition.isrs) == len(partition.replicas) for partition in partitions)

    wait_until(is_in_sync, "replicas are missing")


@pytest.mark.rotated(keep=2, kind="outages of brokers")
def test_one_of_three_brokers_is_down_and_leaders_move(
    kafka: EmbeddedKafka, three_brokers: EmbeddedKafka, deployments: Houses, reference: Reference
) -> None:
    """One is killed, one is shut down and hands its leaders over: each while events come, and more come without it.

    A client's call may hang through a leader's death for longer than the watchdog lets it: then the process is started
    again, as its exit code asks for.
    """
    deployment = deployments(three_brokers, "three")
    fed = Fed(deployment, read_topic(kafka.bootstrap_servers, deployment.input))
    deployment.input = three_brokers.create_topic(f"{deployment.name}-input", partitions=PARTITIONS)
    fed.feed(6)
    deployment.process().start("commit.done=sleep:0.05").wait_ready()
    for number, goes in ((1, three_brokers.kill), (2, three_brokers.stop_broker)):
        fed.feed(6)
        goes(number)
        fed.feed(6)
        deployment.wait_caught_up(UNAVAILABLE)
        three_brokers.restart(number)
        wait_in_sync(three_brokers)
    fed.must_equal(reference, UNAVAILABLE)
