"""Each refusal of `run` that a reset mends: provoked, read, done as its hint says; then the output is judged.

After `--rebuild` it goes on byte for byte as if nothing had happened; after the other ways it is what the rules and the
trained model say of the events that the states know.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from processor.dev.oracle import Rules
from processor.kafka.client import NewPartitions, TopicPartition
from recovery.house import PARTITIONS
from reset.conftest import fill
from reset.reset_house import KILLED, RULES, ResetHouse, from_offsets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.dev.process import ProcessorProcess
    from reset.reset_house import Published

START = dict.fromkeys(range(PARTITIONS), 0)
REBUILD, HERE = "`processor reset --rebuild`", "`processor reset --here`"


def killed_with_much_to_replay(house: ResetHouse) -> ProcessorProcess:
    process = house.process(state__snapshot_interval_seconds=60).start("commit.done=kill@4")
    assert process.wait_exit() == KILLED
    return process


def test_a_lost_changelog_is_made_again_by_a_rebuild_and_stores_elsewhere_are_not_trusted(
    house: ResetHouse, undisturbed: Published
) -> None:
    """`two` has a store of the lost changelog, and its mark lies below the new one's end: by its offset it would do."""
    one, two = house.process("one"), house.process("two")
    house.run_to_the_middle(one)
    shutil.copytree(house.state("one"), house.state("two"))
    known = house.changelog_ends()
    house.lose_changelog()

    line = house.refused(one, "but the store has read it up to", REBUILD)
    assert "'The changelog was lost' in docs/operations.md" in line["hint"]
    answer = house.do(one, "reset --rebuild")
    assert all(part["has_store"] for part in answer["partitions"])
    assert not list(house.state("one").glob("partition-*"))
    house.fill_changelog(known)
    house.processes.remove(one)
    two.start()
    house.finish()
    rebuilt = [line["partition"] for line in two.events() if line["event"] == "store.rebuilding"]
    assert sorted(rebuilt) == list(range(PARTITIONS))
    house.must_be(undisturbed, house.published())


def test_a_lost_changelog_and_lost_stores_are_made_again_by_a_rebuild(
    house: ResetHouse, undisturbed: Published
) -> None:
    process = house.process()
    house.run_to_the_middle(process)
    house.lose_changelog()
    house.lose_stores()
    house.refused(process, "but there is no state for it", REBUILD)
    house.do(process, "reset --rebuild")
    process.start()
    house.finish()
    house.must_be(undisturbed, house.published())


def test_or_the_group_goes_on_here_with_empty_states(house: ResetHouse, reset_truth: Any) -> None:
    process = house.process()
    house.run_to_the_middle(process)
    before, places = house.published(), house.committed()
    house.lose_changelog()
    house.lose_stores()
    house.refused(process, "but there is no state for it", HERE)
    answer = house.do(process, "reset --here")
    assert {part["partition"]: part["after"] for part in answer["partitions"]} == places
    process.start()
    house.finish()
    house.must_be_right(house.since(before), places, reset_truth, states_from=places)


def test_offsets_were_moved_on_and_back(house: ResetHouse, undisturbed: Published) -> None:
    process = house.process()
    house.run_to_the_middle(process)
    before, stood, ends = house.published(), house.committed(), house.ends()
    house.move({number: (offset + ends[number] + 1) // 2 for number, offset in stood.items()})
    line = house.refused(process, "The group stands at", REBUILD)
    assert "somebody moved the group on" in line["cause"].lower()
    back = {number: offset // 3 for number, offset in stood.items()}
    house.move(back)
    line = house.refused(process, "The group stands at", REBUILD)
    assert "somebody moved the group back" in line["cause"].lower()
    house.do(process, "reset --rebuild")
    process.start()
    house.finish()
    house.must_be(from_offsets(undisturbed, back), house.since(before))


def test_the_input_was_made_anew(house: ResetHouse, topic: Callable[..., str], reset_truth: Any) -> None:
    """And `--to-end`, on the way."""
    house.input = fill(house.kafka, topic("input", partitions=PARTITIONS), 2_000)
    process = house.process().start()
    house.finish()
    house.kafka.delete_topics(house.input)
    house.kafka.create_topic(house.input, partitions=PARTITIONS)
    fill(house.kafka, house.input, 3_000, seed=9)
    before = house.published()

    line = house.refused(process, "The input topic is not the one", "`processor reset --to-start`")
    assert "`processor reset --to-end`" in line["hint"]
    kept = house.reset(process, "--rebuild", "--yes")
    assert kept.returncode == 6, kept.stderr
    assert "is not one of this input topic" in kept.stderr
    assert "processor reset --to-start" in kept.stderr

    house.do(process, "reset --to-start")
    process.start()
    house.finish()
    house.must_be_right(house.since(before), START, reset_truth)

    fill(house.kafka, house.input, 500, seed=10)
    ends, before = house.ends(), house.published()
    answer = house.do(process, "reset --to-end")
    assert "are never answered" in answer["remarks"][0]
    assert house.committed() == ends
    fill(house.kafka, house.input, 2_000, seed=11)
    process.start()
    house.finish()
    house.must_be_right(house.since(before), ends, reset_truth, states_from=ends)


def test_the_input_has_more_partitions(house: ResetHouse, topic: Callable[..., str], reset_truth: Any) -> None:
    """A key that has moved begins afresh in its new partition; the others' states are those of all their events."""
    house.input = fill(house.kafka, topic("input", partitions=PARTITIONS), 2_000)
    process = house.process().start()
    house.finish()
    places, before = house.committed(), house.published()

    raise_partitions(house, house.input)
    line = house.refused(process, f"has {PARTITIONS} partitions", "kafka-topics.sh --alter", "ConfigError")
    assert f"--topic {house.output} --partitions {PARTITIONS + 1}" in line["hint"]
    raise_partitions(house, house.output, house.changelog)
    house.refused(process, f"The input has {PARTITIONS + 1} partitions; it had {PARTITIONS} when", REBUILD)
    fill(house.kafka, house.input, 3_000, seed=9, partitions=PARTITIONS + 1, first_time_ms=1_700_000_010_000)
    answer = house.do(process, "reset --rebuild")
    assert answer["partitions"][PARTITIONS]["after"] == 0
    process.start()
    house.finish()
    house.must_be_right(house.since(before), {**places, PARTITIONS: 0}, reset_truth)


def raise_partitions(house: ResetHouse, *topics: str) -> None:
    admin = house.kafka.admin()  # kept until the answers are there
    wanted = [NewPartitions(name, PARTITIONS + 1) for name in topics]
    for future in admin.create_partitions(wanted, operation_timeout=30).values():
        future.result()


def test_another_model_and_other_settings_in_the_middle_of_a_replay(
    house: ResetHouse, another_artifact: Path, another_truth: Any
) -> None:
    killed_with_much_to_replay(house)
    before, places = house.published(), house.committed()
    others = {"sequence__gap_seconds": 0, "state__snapshot_interval_seconds": 60}
    house.refused(house.process(**others), "The settings that decide states have changed", REBUILD)
    house.processes.clear()
    house.artifact = another_artifact
    process = house.process(**others)
    line = house.refused(process, "belong to the model", "`processor reset --rebuild`")
    assert "`processor reset --here`" in line["hint"]
    house.do(process, "reset --rebuild")
    process.start()
    house.finish()
    rules = Rules(inputs=RULES.inputs, idle_seconds=40, allowed_lateness_seconds=30)
    house.must_be_right(house.since(before), places, another_truth, rules=rules)


def test_the_input_lacks_what_is_to_be_replayed(house: ResetHouse, topic: Callable[..., str], reset_truth: Any) -> None:
    house.input = fill(house.kafka, topic("input", partitions=PARTITIONS))
    process = killed_with_much_to_replay(house)
    before, places = house.published(), house.committed()
    cut = [TopicPartition(house.input, number, max(1, offset // 2)) for number, offset in places.items()]
    admin = house.kafka.admin()  # kept until the answers are there
    for future in admin.delete_records(cut).values():
        future.result()
    house.refused(process, "but the input begins at", REBUILD)
    answer = house.do(process, "reset --rebuild")
    assert "came before is not in the states" in answer["remarks"][-1]
    process.start()
    house.finish()
    house.must_be_right(house.since(before), {n: max(1, place) for n, place in places.items()}, reset_truth)
