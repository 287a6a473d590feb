"""Commits that do not come through: a twin fences them, or a topic refuses them.

That a broker ends a transaction by itself, and that a process wakes after its session, is in test_recovery; brokers
that are away are in test_brokers; commits that fail while partitions leave are in test_groups.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from processor.kafka.client import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from recovery.deployment import Deployment, wait_until

if TYPE_CHECKING:
    from processor.trial.reader import Topic

    Reference = tuple[Topic, Topic]

OWNERSHIP_LOST, UNAVAILABLE = 4, 3
TOO_LITTLE = 120  # bytes: for a checkpoint, but not for a transaction's markers


def test_a_twin_with_the_same_transactional_id_costs_nothing(deployment: Deployment, reference: Reference) -> None:
    """Somebody copied a state directory. The two fence each other, until somebody sees it or one has had enough."""
    deployment.static = False
    deployment.settings["processing.commit_interval_seconds"] = 0.005
    one = deployment.process("one").start(deployment.hold("commit.done", 3))
    one.wait_event("failpoint")
    deployment.state("two").mkdir()
    shutil.copy(deployment.state("one") / "process-id", deployment.state("two") / "process-id")
    two = deployment.process("two").start()
    two.wait_event("listening")
    deployment.release("commit.done")
    wait_until(lambda: any(line["event"] == "commit.failed" for line in one.events() + two.events()), "nobody failed")
    assert two.sigterm() in (0, OWNERSHIP_LOST), two.log()[-3000:]
    deployment.finish_alone("one", OWNERSHIP_LOST)
    deployment.must_equal(reference)


def limit(deployment: Deployment, most_bytes: int | None) -> None:
    """Somebody lowers what the changelog takes, or takes that back."""
    operation = AlterConfigOpType.DELETE if most_bytes is None else AlterConfigOpType.SET
    entry = ConfigEntry("max.message.bytes", str(most_bytes or ""), incremental_operation=operation)
    admin = deployment.kafka.admin()  # kept until the answer is there
    asked = [ConfigResource(ResourceType.TOPIC, deployment.changelog, incremental_configs=[entry])]
    for future in admin.incremental_alter_configs(asked).values():
        future.result()


def test_commits_that_a_topic_refuses_are_tried_again_within_a_budget(
    deployment: Deployment, reference: Reference
) -> None:
    process = deployment.process(processing__unavailable_seconds=4).start(deployment.hold("commit.committed", 4))
    process.wait_event("failpoint")
    limit(deployment, TOO_LITTLE)
    deployment.release("commit.committed")
    assert process.wait_exit() == UNAVAILABLE, process.log()[-3000:]
    line = process.events()[-1]
    assert (line["event"], line["error"]) == ("failed", "Unavailable")
    assert "No commit has come through" in line["fact"]
    assert "Nothing is lost" in line["hint"]
    limit(deployment, None)

    deployment.processes.clear()
    process = deployment.process().start(deployment.hold("commit.done", 3))
    process.wait_event("failpoint")
    limit(deployment, TOO_LITTLE)
    deployment.release("commit.done")
    process.wait_event("commit.failed", times=3)
    limit(deployment, None)
    deployment.finish()
    deployment.must_equal(reference)
