"""Topics that change while the processor runs: it ends soon, publishes nothing wrong, and its remedy works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from processor.kafka.client import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from recovery.deployment import PARTITIONS, wait_until
from reset.conftest import fill
from reset.test_after_refusals import HERE, REBUILD, START, raise_partitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.trial.process import ProcessorProcess
    from reset.reset_deployment import Published, ResetDeployment

SOON_SECONDS = 20  # it takes 2 to 8; processing.unavailable_seconds is 60
REVIEWED_SECONDS = 75  # what a start would refuse is asked every 30


@pytest.fixture
def running(deployment: ResetDeployment, topic: Callable[..., str]) -> ProcessorProcess:
    """A process that has answered all of a short input of its own."""
    deployment.input = fill(deployment.kafka, topic("input", partitions=PARTITIONS), 1_500)
    process = deployment.process().start()
    deployment.wait_caught_up()
    return process


def ended(
    process: ProcessorProcess, code: int, fact: str, *hints: str, seconds: float = SOON_SECONDS
) -> dict[str, Any]:
    assert process.wait_exit(seconds) == code, process.log()[-3000:]
    assert "Traceback" not in process.log()
    line = process.events()[-1]
    assert fact in line["fact"], line
    assert all(hint in line["hint"] for hint in hints), line
    return line


def recreate(deployment: ResetDeployment, name: str) -> None:
    deployment.kafka.delete_topics(name)
    deployment.kafka.create_topic(name, partitions=PARTITIONS)


def test_the_input_is_recreated(deployment: ResetDeployment, running: ProcessorProcess, reset_truth: Any) -> None:
    """With more events than it had: they lie at the offsets that the process reads on from."""
    wait_until(lambda: deployment.committed() == deployment.ends(), "not all of it was committed")
    before = deployment.published()
    recreate(deployment, deployment.input)
    fill(deployment.kafka, deployment.input, 3_000, seed=9)
    ended(running, 6, "was deleted and recreated", "`processor reset --to-start`", "`processor reset --to-end`")
    assert deployment.published() == before
    deployment.do(running, "reset --to-start")
    running.start()
    deployment.finish()
    deployment.must_be_right(deployment.since(before), START, reset_truth)


def test_the_input_gets_more_partitions(deployment: ResetDeployment, running: ProcessorProcess) -> None:
    raise_partitions(deployment, deployment.input)
    line = ended(running, 6, f"has {PARTITIONS + 1} partitions; it had {PARTITIONS} at the start", REBUILD)
    assert f"Give {deployment.output} and {deployment.changelog} as many partitions" in line["hint"]
    raise_partitions(deployment, deployment.output, deployment.changelog)
    deployment.do(running, "reset --rebuild")
    running.start()
    deployment.finish()


def test_the_changelog_is_deleted(deployment: ResetDeployment, undisturbed: Published) -> None:
    process = deployment.process().start()
    deployment.wait_caught_up()
    deployment.kafka.delete_topics(deployment.changelog)
    ended(process, 6, "The changelog topic", "`processor topics apply`", REBUILD, HERE)
    deployment.kafka.create_topic(deployment.changelog, partitions=PARTITIONS, config={"cleanup.policy": "compact"})
    deployment.do(process, "reset --rebuild")
    process.start()
    deployment.finish()
    deployment.must_be(undisturbed, deployment.published())


def test_the_output_is_recreated_and_the_input_becomes_compacted(
    deployment: ResetDeployment, running: ProcessorProcess
) -> None:
    """The first is a loss that a human should know of. The second is what the next start refuses: it ends in peace."""
    recreate(deployment, deployment.output)
    ended(running, 6, "The output topic", "Start again")
    running.start().wait_ready()

    set_policy(deployment, "compact")
    ended(running, 2, "is compacted", "cleanup.policy", seconds=REVIEWED_SECONDS)
    set_policy(deployment, "delete")
    running.start().wait_ready()
    assert {line["replayed_offsets"] for line in running.events() if line["event"] == "running"} == {0}


def set_policy(deployment: ResetDeployment, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    admin = deployment.kafka.admin()  # kept until the answer is there
    asked = [ConfigResource(ResourceType.TOPIC, deployment.input, incremental_configs=[entry])]
    for future in admin.incremental_alter_configs(asked).values():
        future.result()
