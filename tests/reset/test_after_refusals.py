"""Each refusal of `run` that a reset mends: provoked, read, done as its hint says; then the output is judged.

After `--rebuild` it goes on byte for byte as if nothing had happened; after the other ways it is what the rules and the
trained model say of the events that the states know.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from processor.kafka.client import NewPartitions, TopicPartition
from processor.trial.oracle import Rules
from recovery.deployment import PARTITIONS
from reset.conftest import fill
from reset.reset_deployment import KILLED, RULES, ResetDeployment, from_offsets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.process import ProcessorProcess
    from reset.reset_deployment import Published

START = dict.fromkeys(range(PARTITIONS), 0)
REBUILD, HERE = "`processor reset --rebuild`", "`processor reset --here`"


def killed_with_much_to_replay(deployment: ResetDeployment) -> ProcessorProcess:
    process = deployment.process(state__snapshot_interval_seconds=60).start("commit.done=kill@4")
    assert process.wait_exit() == KILLED
    return process


def test_a_lost_changelog_is_recreated_by_a_rebuild_and_stores_elsewhere_are_not_trusted(
    deployment: ResetDeployment, undisturbed: Published
) -> None:
    """`two` has a store of the lost changelog, and its mark lies below the new one's end: by its offset it would do."""
    one, two = deployment.process("one"), deployment.process("two")
    deployment.run_to_the_middle(one)
    shutil.copytree(deployment.state("one"), deployment.state("two"))
    known = deployment.changelog_ends()
    deployment.lose_changelog()

    line = deployment.refused(one, "but the store has read it up to", REBUILD)
    assert "'The changelog was lost' in docs/operations.md" in line["hint"]
    answer = deployment.do(one, "reset --rebuild")
    assert all(part["has_store"] for part in answer["partitions"])
    assert not list(deployment.state("one").glob("partition-*"))
    deployment.fill_changelog(known)
    deployment.processes.remove(one)
    two.start()
    deployment.finish()
    rebuilt = [line["partition"] for line in two.events() if line["event"] == "store.rebuilding"]
    assert sorted(rebuilt) == list(range(PARTITIONS))
    deployment.must_be(undisturbed, deployment.published())


def test_a_lost_changelog_and_lost_stores_are_recreated_by_a_rebuild(
    deployment: ResetDeployment, undisturbed: Published
) -> None:
    process = deployment.process()
    deployment.run_to_the_middle(process)
    deployment.lose_changelog()
    deployment.lose_stores()
    deployment.refused(process, "but there is no state for it", REBUILD)
    deployment.do(process, "reset --rebuild")
    process.start()
    deployment.finish()
    deployment.must_be(undisturbed, deployment.published())


def test_or_the_group_goes_on_here_with_empty_states(deployment: ResetDeployment, reset_truth: Any) -> None:
    process = deployment.process()
    deployment.run_to_the_middle(process)
    before, places = deployment.published(), deployment.committed()
    deployment.lose_changelog()
    deployment.lose_stores()
    deployment.refused(process, "but there is no state for it", HERE)
    answer = deployment.do(process, "reset --here")
    assert {part["partition"]: part["after"] for part in answer["partitions"]} == places
    process.start()
    deployment.finish()
    deployment.must_be_right(deployment.since(before), places, reset_truth, states_from=places)


def test_offsets_were_moved_on_and_back(deployment: ResetDeployment, undisturbed: Published) -> None:
    process = deployment.process()
    deployment.run_to_the_middle(process)
    before, stood, ends = deployment.published(), deployment.committed(), deployment.ends()
    deployment.move({number: (offset + ends[number] + 1) // 2 for number, offset in stood.items()})
    line = deployment.refused(process, "The group stands at", REBUILD)
    assert "somebody moved the group on" in line["cause"].lower()
    back = {number: offset // 3 for number, offset in stood.items()}
    deployment.move(back)
    line = deployment.refused(process, "The group stands at", REBUILD)
    assert "somebody moved the group back" in line["cause"].lower()
    deployment.do(process, "reset --rebuild")
    process.start()
    deployment.finish()
    deployment.must_be(from_offsets(undisturbed, back), deployment.since(before))


def test_the_input_was_recreated(deployment: ResetDeployment, topic: Callable[..., str], reset_truth: Any) -> None:
    """And `--to-end`, on the way."""
    deployment.input = fill(deployment.kafka, topic("input", partitions=PARTITIONS), 2_000)
    process = deployment.process().start()
    deployment.finish()
    deployment.kafka.delete_topics(deployment.input)
    deployment.kafka.create_topic(deployment.input, partitions=PARTITIONS)
    fill(deployment.kafka, deployment.input, 3_000, seed=9)
    before = deployment.published()

    line = deployment.refused(process, "The input topic is not the one", "`processor reset --to-start`")
    assert "`processor reset --to-end`" in line["hint"]
    kept = deployment.reset(process, "--rebuild", "--yes")
    assert kept.returncode == 6, kept.stderr
    assert "is not one of this input topic" in kept.stderr
    assert "processor reset --to-start" in kept.stderr

    deployment.do(process, "reset --to-start")
    process.start()
    deployment.finish()
    deployment.must_be_right(deployment.since(before), START, reset_truth)

    fill(deployment.kafka, deployment.input, 500, seed=10)
    ends, before = deployment.ends(), deployment.published()
    answer = deployment.do(process, "reset --to-end")
    assert "never get a prediction" in answer["remarks"][0]
    assert deployment.committed() == ends
    fill(deployment.kafka, deployment.input, 2_000, seed=11)
    process.start()
    deployment.finish()
    deployment.must_be_right(deployment.since(before), ends, reset_truth, states_from=ends)


def test_the_input_has_more_partitions(
    deployment: ResetDeployment, topic: Callable[..., str], reset_truth: Any
) -> None:
    """A key that has moved begins afresh in its new partition; the others' states are those of all their events."""
    deployment.input = fill(deployment.kafka, topic("input", partitions=PARTITIONS), 2_000)
    process = deployment.process().start()
    deployment.finish()
    places, before = deployment.committed(), deployment.published()

    raise_partitions(deployment, deployment.input)
    line = deployment.refused(process, f"has {PARTITIONS} partitions", "kafka-topics.sh --alter", "ConfigError")
    assert f"--topic {deployment.output} --partitions {PARTITIONS + 1}" in line["hint"]
    raise_partitions(deployment, deployment.output, deployment.changelog)
    deployment.refused(process, f"The input has {PARTITIONS + 1} partitions; it had {PARTITIONS} when", REBUILD)
    fill(deployment.kafka, deployment.input, 3_000, seed=9, partitions=PARTITIONS + 1, first_time_ms=1_700_000_010_000)
    answer = deployment.do(process, "reset --rebuild")
    assert answer["partitions"][PARTITIONS]["after"] == 0
    process.start()
    deployment.finish()
    deployment.must_be_right(deployment.since(before), {**places, PARTITIONS: 0}, reset_truth)


def raise_partitions(deployment: ResetDeployment, *topics: str) -> None:
    admin = deployment.kafka.admin()  # kept until the answers are there
    wanted = [NewPartitions(name, PARTITIONS + 1) for name in topics]
    for future in admin.create_partitions(wanted, operation_timeout=30).values():
        future.result()


def test_another_model_and_other_settings_in_the_middle_of_a_replay(
    deployment: ResetDeployment, another_artifact: Path, another_truth: Any
) -> None:
    killed_with_much_to_replay(deployment)
    before, places = deployment.published(), deployment.committed()
    others: dict[str, Any] = {"sequence__gap_seconds": 0, "state__snapshot_interval_seconds": 60}
    deployment.refused(deployment.process(**others), "The settings that decide states have changed", REBUILD)
    deployment.processes.clear()
    deployment.artifact = another_artifact
    process = deployment.process(**others)
    line = deployment.refused(process, "belong to the model", "`processor reset --rebuild`")
    assert "`processor reset --here`" in line["hint"]
    deployment.do(process, "reset --rebuild")
    process.start()
    deployment.finish()
    rules = Rules(inputs=RULES.inputs, idle_seconds=40, allowed_lateness_seconds=30)
    deployment.must_be_right(deployment.since(before), places, another_truth, rules=rules)


def test_the_input_lacks_what_is_to_be_replayed(
    deployment: ResetDeployment, topic: Callable[..., str], reset_truth: Any
) -> None:
    deployment.input = fill(deployment.kafka, topic("input", partitions=PARTITIONS))
    process = killed_with_much_to_replay(deployment)
    before, places = deployment.published(), deployment.committed()
    cut = [TopicPartition(deployment.input, number, max(1, offset // 2)) for number, offset in places.items()]
    admin = deployment.kafka.admin()  # kept until the answers are there
    for future in admin.delete_records(cut).values():
        future.result()
    deployment.refused(process, "but the input begins at", REBUILD)
    answer = deployment.do(process, "reset --rebuild")
    assert "came before is not in the states" in answer["remarks"][-1]
    process.start()
    deployment.finish()
    deployment.must_be_right(deployment.since(before), {n: max(1, place) for n, place in places.items()}, reset_truth)
