"""Killed at every named point of the commit, the assignment and the revocation: the output is as if nothing had been.

A real SIGKILL, a real process, a real broker. Each point is hit at least once while events are in flight.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from processor import failpoints

if TYPE_CHECKING:
    from processor.trial.reader import Topic
    from recovery.deployment import Deployment

KILLED = -signal.SIGKILL
FIRST_START = ("assign.assigned", "assign.opened", "assign.restored", "assign.started", "assign.located")
SECOND_START = tuple(point for point in failpoints.ASSIGN if point != "assign.started")


@pytest.mark.parametrize("hit", [1, 4])
@pytest.mark.parametrize("point", failpoints.COMMIT)
def test_killed_in_a_commit(deployment: Deployment, reference: tuple[Topic, Topic], point: str, hit: int) -> None:
    process = deployment.process().start(f"{point}=kill@{hit}")
    assert process.wait_exit() == KILLED, process.log()[-3000:]
    process.start()
    deployment.finish()
    deployment.must_equal(reference)


@pytest.mark.parametrize("point", FIRST_START)
def test_killed_while_a_new_group_begins(deployment: Deployment, reference: tuple[Topic, Topic], point: str) -> None:
    process = deployment.process().start(f"{point}=kill")
    assert process.wait_exit() == KILLED, process.log()[-3000:]
    process.start()
    deployment.finish()
    deployment.must_equal(reference)


@pytest.mark.parametrize("point", SECOND_START)
def test_killed_in_a_recovery(deployment: Deployment, reference: tuple[Topic, Topic], point: str) -> None:
    """The first crash leaves something to restore (its disk is behind) and to replay; the second comes on the way."""
    process = deployment.process().start("commit.committed=kill@5")
    assert process.wait_exit() == KILLED, process.log()[-3000:]
    process.start(f"{point}=kill")
    assert process.wait_exit() == KILLED, process.log()[-3000:]
    process.start()
    deployment.finish()
    deployment.must_equal(reference)


@pytest.mark.parametrize("point", failpoints.REVOKE)
def test_killed_while_partitions_leave(deployment: Deployment, reference: tuple[Topic, Topic], point: str) -> None:
    first = deployment.process("one").start(f"{point}=kill")
    first.wait_event("running")
    second = deployment.process("two").start()  # its joining takes partitions away from the first
    assert first.wait_exit() == KILLED
    second.wait_ready()
    deployment.finish()
    deployment.must_equal(reference)


def test_every_failpoint_has_its_test() -> None:
    """Those of a reset are in tests/reset, with a test of this kind."""
    covered = {*failpoints.COMMIT, *FIRST_START, *SECOND_START, *failpoints.REVOKE}
    assert covered == set(failpoints.NAMES) - set(failpoints.RESET)
