"""Members come, go, are killed and come back, under both protocols of consumer groups; commits fail while partitions
leave, and shutdowns take too long. Each story ends in an undisturbed run's bytes.

That a process is killed in its restore, its replay or while partitions leave is in test_failpoints.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from processor.trial.load import Load, produce
from recovery.deployment import CONSUMER_PROTOCOL, Deployment, Fed, wait_until
from recovery.test_commits import TOO_LITTLE, limit
from recovery.test_recovery import replayed

if TYPE_CHECKING:
    from processor.trial.kafka import EmbeddedKafka
    from processor.trial.process import ProcessorProcess
    from processor.trial.reader import Topic

    Reference = tuple[Topic, Topic]

BOTH = pytest.mark.parametrize("protocol", ["classic", "consumer"])
KILLED, UNAVAILABLE = -signal.SIGKILL, 3
SLOWLY = "commit.done=sleep:0.05"


def under(deployment: Deployment, protocol: str) -> Deployment:
    if protocol == "consumer":
        deployment.properties = CONSUMER_PROTOCOL
    return deployment


@BOTH
def test_members_join_and_leave_all_the_time(fed: Fed, reference: Reference, protocol: str) -> None:
    """Each comes or goes as soon as the one before it has had its effect: in peace, or killed."""
    deployment = under(fed.deployment, protocol)
    deployment.static = False
    one, two, three = (deployment.process(name) for name in ("one", "two", "three"))

    def comes(process: ProcessorProcess) -> None:
        process.start(SLOWLY).wait_event("running")
        fed.feed(8)

    def goes(process: ProcessorProcess) -> None:
        fed.feed(8)
        assert process.sigterm() == 0, process.log()[-3000:]

    fed.feed(8)
    comes(one)
    comes(two)
    two.sigkill()
    comes(three)
    goes(one)
    comes(two)
    goes(three)
    fed.must_equal(reference)


@BOTH
def test_static_members_are_restarted_one_after_the_other(fed: Fed, reference: Reference, protocol: str) -> None:
    """In peace, and killed. Their partitions wait for them."""
    deployment = under(fed.deployment, protocol)
    fed.feed(4)
    one, two = deployment.process("one").start(SLOWLY), deployment.process("two").start(SLOWLY)
    one.wait_ready()
    two.wait_ready()
    fed.feed(4)
    one.sigkill()
    restart(one)
    fed.feed(4)
    assert two.sigterm() == 0, two.log()[-3000:]
    restart(two)
    fed.must_equal(reference)


def restart(process: ProcessorProcess) -> None:
    """As a supervisor does: again, while the group takes the new process for a second one of its former life's name."""

    def is_back() -> bool:
        if not process.running:
            assert process.exit_code in (0, KILLED, UNAVAILABLE), process.log()[-3000:]
            process.start(SLOWLY)
        return process.is_ready()

    wait_until(is_back, "the member did not come back")


def test_a_commit_fails_while_partitions_leave(deployment: Deployment, reference: Reference) -> None:
    """Nothing of theirs is committed then, and the next owner replays; those that stay take the way back, too."""
    deployment.static = False
    deployment.settings["state.snapshot_interval_seconds"] = 60  # so that there is always something to write
    one = deployment.process("one").start(f"{SLOWLY};{deployment.hold('revoke.started', 1)}")
    one.wait_event("running", times=4)
    two = deployment.process("two").start()
    one.wait_event("failpoint")
    limit(deployment, TOO_LITTLE)
    deployment.release("revoke.started")
    one.wait_event("commit.failed")
    limit(deployment, None)
    two.wait_event("running", times=2)  # which of the two had been stepped when they left is chance
    assert "rewound" in [line["event"] for line in one.events()]
    assert replayed(two) > 0
    deployment.finish()
    deployment.must_equal(reference)


def test_a_shutdown_that_hangs_ends_by_itself(deployment: Deployment, reference: Reference) -> None:
    process = deployment.process(processing__shutdown_seconds=1).start(
        f"{SLOWLY};{deployment.hold('revoke.started', 1)}"
    )
    process.wait_event("running")
    assert process.sigterm() == UNAVAILABLE
    line = process.events()[-1]
    assert (line["event"], line["what"]) == ("hung", "the shutdown")
    assert "rebalances.revoked" in line["at"]
    assert "Nothing is lost" in line["hint"]
    deployment.finish_alone()
    deployment.must_equal(reference)


def test_what_a_shutdown_has_no_time_to_write_is_replayed(
    kafka: EmbeddedKafka, artifact: Path, tmp_path: Path, name: Callable[[str], str], topic: Callable[..., str]
) -> None:
    """More keys than one commit of a shutdown takes, and no time for a second one."""
    source = topic("input", partitions=1)
    produce(kafka.bootstrap_servers, source, Load(seed=5, events=30_000, keys=60_000, partitions=1))
    settings = {"state.snapshot_interval_seconds": 60}
    undisturbed = Deployment(kafka, artifact, source, name("undisturbed"), tmp_path / "undisturbed", settings)
    late = Deployment(kafka, artifact, source, name("late"), tmp_path / "late", settings)
    undisturbed.process().start()
    process = late.process(processing__shutdown_seconds=1).start("revoke.started=sleep:1.1@1")
    wait_until(lambda: sum(late.places().values()) > 20_000, "nothing was stepped")
    code = process.sigterm()  # on a busy machine even the first one may take too long: then the watchdog ends it
    last_words = {line["event"] for line in process.events()}
    assert (code, "leaving.late" in last_words) == (0, True) or (code, "hung" in last_words) == (UNAVAILABLE, True)
    late.processes.clear()
    process = late.process().start()
    late.finish()
    assert replayed(process) > 0
    undisturbed.finish()
    late.must_equal(undisturbed.published())
