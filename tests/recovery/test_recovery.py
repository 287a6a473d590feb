"""One way back from everything: crash, abort, rebalance, lost disk. Each story ends in an undisturbed run's bytes.

`commit.done=sleep:0.05` slows a process down, so that it is in the middle of its work when something happens to it.
"""

from __future__ import annotations

import shutil
import signal
import time
from random import Random
from typing import TYPE_CHECKING

import pytest

from processor.trial.load import Load, produce
from recovery.deployment import PARTITIONS, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.kafka import EmbeddedKafka
    from processor.trial.process import ProcessorProcess
    from processor.trial.reader import Topic

    Reference = tuple[Topic, Topic]

KILLED = -signal.SIGKILL
SLOWLY = "commit.done=sleep:0.05"


def replayed(process: ProcessorProcess) -> int:
    return sum(line["replayed_offsets"] for line in process.events() if line.get("event") == "running")


def restored(process: ProcessorProcess) -> int:
    return sum(line["records"] for line in process.events() if line.get("event") == "restored")


def test_killed_at_random_moments_again_and_again(deployment: Deployment, reference: Reference) -> None:
    random = Random(11)
    process = deployment.process()
    for _ in range(5):
        process.start(SLOWLY).wait_event("running")
        time.sleep(random.random() * 0.6)
        process.sigkill()
    process.start()
    deployment.finish()
    deployment.must_equal(reference)


def test_the_disk_is_lost(deployment: Deployment, reference: Reference) -> None:
    process = deployment.process().start(f"{SLOWLY};commit.committed=kill@12")
    assert process.wait_exit() == KILLED
    shutil.rmtree(deployment.state())
    process.start()
    deployment.finish()
    assert restored(process) > 0
    deployment.must_equal(reference)


def test_the_disk_is_damaged(deployment: Deployment, reference: Reference) -> None:
    process = deployment.process().start(SLOWLY)
    process.wait_event("running")
    time.sleep(0.4)
    assert process.sigterm() == 0
    for table in deployment.state().rglob("*.sst"):
        table.write_bytes(bytes(byte ^ 0x5A for byte in table.read_bytes()))
    process.start()
    deployment.finish()
    assert restored(process) > 0
    deployment.must_equal(reference)


def test_the_disk_is_damaged_where_only_a_compaction_looks(deployment: Deployment, reference: Reference) -> None:
    """Restores and commits fail then, at whatever they write first, and so does the closing of the store."""
    process = deployment.process()
    for _ in range(4):  # each leaves a table, and the fifth opening of the stores puts four together
        process.start(SLOWLY)
        process.wait_event("running")
        time.sleep(0.4)
        assert process.sigterm() == 0
    tables = [table for table in deployment.state().rglob("*.sst") if table.stat().st_size > 4000]
    for table in tables:
        content = bytearray(table.read_bytes())
        content[2000] ^= 1
        table.write_bytes(content)
    process.start()
    deployment.finish()
    assert any(line["event"] == "store.corrupt" for line in process.events())
    deployment.must_equal(reference)


@pytest.mark.parametrize("point", ["commit.flushed", "commit.offsets"])
def test_a_transaction_that_the_broker_ended_is_stepped_again(
    deployment: Deployment, reference: Reference, point: str
) -> None:
    """The broker aborts it while the process sleeps: memory is ahead of what is committed, and has to go back."""
    process = deployment.process().start(f"{point}=sleep:8@6")
    deployment.finish()
    events = [line["event"] for line in process.events()]
    assert "commit.failed" in events
    assert "rewound" in events
    deployment.must_equal(reference)


def test_a_process_that_was_stopped_past_its_session_commits_nothing_more(
    deployment: Deployment, reference: Reference
) -> None:
    """A zombie: when it goes on, another has its partitions. Whatever it still holds must not be published."""
    one = deployment.process("one").start(SLOWLY)
    two = deployment.process("two").start(SLOWLY)
    one.wait_event("running")
    two.wait_event("running")
    one.pause()
    time.sleep(5)
    one.resume()
    deployment.finish()
    deployment.must_equal(reference)


def test_a_process_that_was_overtaken_during_its_restore_takes_nothing_for_a_humans_fault(
    deployment: Deployment, reference: Reference
) -> None:
    """Stopped between its restore and its question for the committed offset: the two do not belong together then."""
    one = deployment.process("one").start("assign.restored=sleep:1@1")
    one.wait_event("restored")
    one.pause()
    two = deployment.process("two").start(SLOWLY)
    two.wait_event("running", times=PARTITIONS)
    time.sleep(0.5)  # for some commits of the other one
    one.resume()
    one.wait_event("overtaken")
    deployment.finish()
    deployment.must_equal(reference)


def test_a_bug_in_a_commit_ends_the_process_and_nothing_else(deployment: Deployment, reference: Reference) -> None:
    process = deployment.process().start("commit.snapshot=raise@5")
    assert process.wait_exit() == 1
    process.start()
    deployment.finish()
    deployment.must_equal(reference)


def test_after_a_clean_stop_nothing_is_restored_and_nothing_replayed(
    deployment: Deployment, reference: Reference
) -> None:
    process = deployment.process().start(SLOWLY)
    process.wait_event("running")
    time.sleep(0.3)
    assert process.sigterm() == 0
    process.start().wait_ready()
    assert (restored(process), replayed(process)) == (0, 0)
    deployment.finish()
    deployment.must_equal(reference)


def test_a_killed_process_is_replaced_by_another(deployment: Deployment, reference: Reference) -> None:
    one, two = deployment.process("one").start(SLOWLY), deployment.process("two").start(SLOWLY)
    one.wait_ready()
    two.wait_ready()
    one.sigkill()
    deployment.wait_caught_up()
    assert [line["held"] for line in two.events() if line.get("event") == "assigned"][-1] == [0, 1, 2, 3]
    deployment.finish()
    deployment.must_equal(reference)


def test_partitions_are_handed_over_in_peace(deployment: Deployment, reference: Reference) -> None:
    """The group moves on while commits are under way, and nobody loses a commit, or has anything to replay, by that."""
    deployment.static = False
    one = deployment.process("one").start(SLOWLY)
    one.wait_event("running")
    two = deployment.process("two").start(SLOWLY)
    two.wait_event("running")
    assert one.sigterm() == 0
    deployment.finish()
    for process in (one, two):
        events = [line["event"] for line in process.events()]
        assert "revoked" in events
        assert "rewound" not in events, process.log()
        assert replayed(process) == 0, process.log()
    deployment.must_equal(reference)


@pytest.mark.parametrize("point", ["commit.flushed", "commit.offsets", "commit.committed", "commit.partly_stored"])
def test_at_least_once_repeats_with_the_same_bytes_and_loses_nothing(
    deployment: Deployment, reference: Reference, point: str
) -> None:
    deployment.settings["processing.guarantee"] = "at_least_once"
    process = deployment.process().start(f"{point}=kill@5")
    assert process.wait_exit() == KILLED
    process.start()
    deployment.finish()
    for wanted, found in zip(reference, deployment.published(), strict=True):
        for partition, records in wanted.items():
            once = {record.content: None for record in found.get(partition, [])}
            assert list(once) == [record.content for record in records]


def test_an_arena_far_too_small_for_its_keys_gives_the_same_bytes(
    kafka: EmbeddedKafka, artifact: Path, tmp_path: Path, name: Callable[[str], str], topic: Callable[..., str]
) -> None:
    source = topic("input", partitions=2)
    produce(kafka.bootstrap_servers, source, Load(seed=3, events=120_000, keys=60_000, partitions=2))
    published = []
    for memory_mib in (8, 512):
        deployment = Deployment(kafka, artifact, source, name(f"memory-{memory_mib}"), tmp_path / str(memory_mib))
        deployment.settings["state.memory_mib"] = memory_mib
        process = deployment.process().start()
        deployment.wait_caught_up()
        keys = next(line for line in (process.get("/metrics") or "").splitlines() if line.startswith("processor_keys "))
        assert (float(keys.split()[1]) < 30_000) == (memory_mib == 8)
        deployment.finish()
        published.append(deployment)
    small, large = published
    small.must_equal(large.published())
