"""Topics that change while the processor runs: it ends soon, publishes nothing wrong, and its remedy works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from processor.kafka.client import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from recovery.house import PARTITIONS, wait_until
from reset.conftest import fill
from reset.test_reset_after_refusals import HERE, REBUILD, START, raise_partitions

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.dev.process import ProcessorProcess
    from reset.reset_house import Published, ResetHouse

SOON_SECONDS = 20  # it takes 2 to 8; processing.unavailable_seconds is 60
REVIEWED_SECONDS = 75  # what a start would refuse is asked every 30


@pytest.fixture
def running(house: ResetHouse, topic: Callable[..., str]) -> ProcessorProcess:
    """A process that has answered all of a short input of its own."""
    house.input = fill(house.kafka, topic("input", partitions=PARTITIONS), 1_500)
    process = house.process().start()
    house.wait_caught_up()
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


def recreate(house: ResetHouse, name: str) -> None:
    house.kafka.delete_topics(name)
    house.kafka.create_topic(name, partitions=PARTITIONS)


def test_the_input_is_recreated(house: ResetHouse, running: ProcessorProcess, reset_truth: Any) -> None:
    """With more events than it had: they lie at the offsets that the process reads on from."""
    wait_until(lambda: house.committed() == house.ends(), "not all of it was committed")
    before = house.published()
    recreate(house, house.input)
    fill(house.kafka, house.input, 3_000, seed=9)
    ended(running, 6, "was deleted and recreated", "`processor reset --to-start`", "`processor reset --to-end`")
    assert house.published() == before
    house.do(running, "reset --to-start")
    running.start()
    house.finish()
    house.must_be_right(house.since(before), START, reset_truth)


def test_the_input_gets_more_partitions(house: ResetHouse, running: ProcessorProcess) -> None:
    raise_partitions(house, house.input)
    line = ended(running, 6, f"has {PARTITIONS + 1} partitions; it had {PARTITIONS} at the start", REBUILD)
    assert f"Give {house.output} and {house.changelog} as many partitions" in line["hint"]
    raise_partitions(house, house.output, house.changelog)
    house.do(running, "reset --rebuild")
    running.start()
    house.finish()


def test_the_changelog_is_deleted(house: ResetHouse, undisturbed: Published) -> None:
    process = house.process().start()
    house.wait_caught_up()
    house.kafka.delete_topics(house.changelog)
    ended(process, 6, "The changelog topic", "`processor topics apply`", REBUILD, HERE)
    house.kafka.create_topic(house.changelog, partitions=PARTITIONS, config={"cleanup.policy": "compact"})
    house.do(process, "reset --rebuild")
    process.start()
    house.finish()
    house.must_be(undisturbed, house.published())


def test_the_output_is_recreated_and_the_input_becomes_compacted(house: ResetHouse, running: ProcessorProcess) -> None:
    """The first is a loss that a human should know of. The second is what the next start refuses: it ends in peace."""
    recreate(house, house.output)
    ended(running, 6, "The output topic", "Start again")
    running.start().wait_ready()

    set_policy(house, "compact")
    ended(running, 2, "is compacted", "cleanup.policy", seconds=REVIEWED_SECONDS)
    set_policy(house, "delete")
    running.start().wait_ready()
    assert {line["replayed_offsets"] for line in running.events() if line["event"] == "running"} == {0}


def set_policy(house: ResetHouse, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    admin = house.kafka.admin()  # kept until the answer is there
    asked = [ConfigResource(ResourceType.TOPIC, house.input, incremental_configs=[entry])]
    for future in admin.incremental_alter_configs(asked).values():
        future.result()
