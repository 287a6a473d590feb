"""The command itself: whom it refuses, what it shows, what it asks, and that it can be cut short anywhere."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from processor import failpoints
from processor.cli import app
from recovery.deployment import PARTITIONS, wait_until
from reset.reset_deployment import KILLED, SLOWLY

if TYPE_CHECKING:
    from reset.reset_deployment import Published, ResetDeployment

UNFINISHED = "A reset was begun and has not ended"
AGAIN = "the same `processor reset` again"
START = dict.fromkeys(range(PARTITIONS), 0)
KILLED_AT = {
    "exactly_once": ["reset.held", "reset.begun", "reset.wiped", "reset.emptying", "reset.emptied"],
    "at_least_once": ["reset.offsets"],
}


@pytest.mark.parametrize("arguments", [[], ["--here", "--rebuild"], ["--to-start", "--to-end"]])
def test_it_goes_one_way_at_a_time(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["reset", *arguments, "--yes"])
    assert result.exit_code == 2
    assert "--to-start, --to-end, --here, --rebuild" in result.output.replace("\n", " ")


def test_a_group_with_members_is_refused_and_they_are_named(deployment: ResetDeployment) -> None:
    deployment.static = True
    process = deployment.process().start(SLOWLY)
    process.wait_event("assigned")
    done = deployment.reset(process, "--to-start", "--yes")
    assert done.returncode == 2
    assert f"The group {deployment.name} is not empty." in done.stderr
    assert f"Its members: {deployment.name}-one (" in done.stderr, "by their own names, and their hosts"
    assert process.running


def test_what_is_not_there_is_refused(deployment: ResetDeployment) -> None:
    process = deployment.process()
    missing = deployment.reset(process, "--to-start", "--yes")
    assert missing.returncode == 2
    assert f"The topic {deployment.output} is not there." in missing.stderr
    assert "processor topics apply" in missing.stderr
    for name, policy in (
        (deployment.output, "delete"),
        (deployment.dead_letters, "delete"),
        (deployment.changelog, "compact"),
    ):
        deployment.kafka.create_topic(name, partitions=PARTITIONS, config={"cleanup.policy": policy})
    unknown = deployment.reset(process, "--to-start", "--yes")
    assert unknown.returncode == 2
    assert f"The group {deployment.name} is not known" in unknown.stderr
    assert "kafka.group_id" in unknown.stderr
    assert "processor config show" in unknown.stderr
    assert not deployment.state().exists()


def test_it_shows_asks_and_answers_all_of_the_input_again(deployment: ResetDeployment, undisturbed: Published) -> None:
    process = deployment.process()
    deployment.run_to_the_middle(process)
    places, before = deployment.committed(), deployment.published()

    nobody = deployment.reset(process, "--to-start", "--json")
    assert nobody.returncode == 2
    assert "--yes" in nobody.stderr
    plan = json.loads(nobody.stdout)
    assert not plan["done"]
    rows = [(part["partition"], part["committed"], part["after"], part["has_store"]) for part in plan["partitions"]]
    assert rows == [(number, places[number], 0, True) for number in range(PARTITIONS)]
    assert all(part["changelog_offsets"] > 0 for part in plan["partitions"])

    deployment.expire()
    no = deployment.reset(process, "--to-start", answer="n")
    assert no.returncode == 2
    assert "committed now" in no.stdout
    assert "The group has no offsets: they have expired" in no.stdout
    assert "Do it?" in no.stderr
    assert "Nothing was changed." in no.stderr
    assert deployment.committed() != START
    assert list(deployment.state().glob("partition-*"))

    yes = deployment.reset(process, "--to-start", answer="y")
    assert yes.returncode == 0, yes.stderr
    assert "states emptied" in yes.stdout
    assert " 0 states emptied" not in yes.stdout
    assert deployment.committed() == START
    assert deployment.do(process, "reset --to-start")["emptied"] == 0, "what a reset has done, it finds done"

    process.start()
    deployment.finish()
    later = deployment.since(before)
    deployment.must_be(undisturbed, later)


def test_a_dry_run_shows_what_it_would_do_and_changes_nothing(deployment: ResetDeployment) -> None:
    process = deployment.process()
    deployment.run_to_the_middle(process)

    def standing() -> tuple[object, ...]:
        stores = {path: path.stat().st_mtime_ns for path in deployment.state().glob("partition-*/**/*")}
        ends = deployment.changelog_ends(), deployment.changelog_ends(stable=True)
        return deployment.committed(), ends, deployment.published(), stores, deployment.members()

    before = standing()
    shown = deployment.reset(process, "--to-start", "--dry-run", answer="y")
    assert shown.returncode == 0, shown.stderr
    assert "committed now" in shown.stdout
    assert "Do it?" not in shown.stderr
    described = deployment.reset(process, "--rebuild", "--dry-run", "--json")
    assert described.returncode == 0, described.stderr
    plan = json.loads(described.stdout)
    assert not plan["done"]
    assert {part["partition"]: part["after"] for part in plan["partitions"]} == deployment.committed()
    assert standing() == before


@pytest.mark.parametrize("guarantee", list(KILLED_AT))
def test_killed_anywhere_it_is_typed_again(deployment: ResetDeployment, undisturbed: Published, guarantee: str) -> None:
    """Between its first and its last commit `run` refuses; before and after, it runs. The offsets have expired, too."""
    deployment.settings["processing.guarantee"] = guarantee
    process = deployment.process()
    deployment.run_to_the_middle(process)
    places = deployment.committed()
    deployment.expire()
    for point in KILLED_AT[guarantee]:
        killed = deployment.reset(process, "--rebuild", "--yes", armed=f"{point}=kill")
        assert killed.returncode == KILLED, point + killed.stderr
        if point in ("reset.begun", "reset.emptied", "reset.offsets"):
            deployment.refused(process, UNFINISHED, AGAIN)
        deployment.wait_empty()
    killed = deployment.reset(process, "--rebuild", "--yes", armed="reset.done=kill")
    assert killed.returncode == KILLED, killed.stderr
    assert deployment.committed() == places, "a reset takes the checkpoints' word for offsets that have expired"
    process.start()
    deployment.finish()
    deployment.must_equal(undisturbed)


def test_every_failpoint_of_a_reset_is_killed_at() -> None:
    killed_at = {point for points in KILLED_AT.values() for point in points}
    assert {"reset.done", *killed_at} == set(failpoints.RESET)


def test_a_process_that_starts_while_a_reset_stands_still_refuses_and_ends_it(
    deployment: ResetDeployment, undisturbed: Published
) -> None:
    """The reset is stopped for longer than its session: it comes back as a zombie, and can change nothing more."""
    process = deployment.process()
    deployment.run_to_the_middle(process)
    ends = deployment.changelog_ends(stable=True)
    resetting = deployment.start_reset(process, "--rebuild", "--yes", armed="reset.begun=sleep:2")
    # Stopped inside of its first transaction it would have done nothing: the brokers would abort that.
    wait_until(
        lambda: deployment.changelog_ends(stable=True) != ends or resetting.poll() is not None,
        "the reset did not begin",
    )
    resetting.send_signal(signal.SIGSTOP)
    other = deployment.process("other")
    deployment.refused(other, UNFINISHED, AGAIN)
    deployment.processes.remove(other)
    resetting.send_signal(signal.SIGCONT)
    _, said = resetting.communicate(timeout=60)
    assert resetting.returncode in (3, 4), said
    assert "it starts over" in said
    deployment.do(process, "reset --rebuild")
    process.start()
    deployment.finish()
    deployment.must_equal(undisturbed)
