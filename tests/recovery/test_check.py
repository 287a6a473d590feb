"""`check` finds what `run` would refuse, with the same words, and disturbs nobody: not even a group that runs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from model.graphs import recurrent
from processor.model.artifact import Parts, write_artifact
from processor.trial.process import ProcessorProcess
from recovery.deployment import PARTITIONS, Deployment

if TYPE_CHECKING:
    from collections.abc import Callable


def checked(process: ProcessorProcess) -> dict[str, Any]:
    """What `processor check --json` says with the settings of a process; its findings by name."""
    command = [
        sys.executable,
        "-m",
        "processor",
        "check",
        "--json",
        "-c",
        str(process.log_path.parent / "processor.toml"),
    ]
    for name, value in process._overrides.items():
        command += ["--set", f"{name}={value}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"], done.stderr
    return {"exit_code": done.returncode, **{finding["name"]: finding for finding in document["findings"]}}


def checked_alone(process: ProcessorProcess) -> dict[str, Any]:
    """The same once nobody is in the group: a static member stays in it until its session is over."""
    return next(found for _ in range(60) if "The group runs" not in (found := checked(process))["states"]["fact"])


def must_agree(deployment: Deployment, name: str, **overrides: Any) -> dict[str, Any]:
    """`check` refuses what `run` refuses: the same fact, hint and exit code. Returns the finding."""
    process = deployment.process(**overrides)
    found = checked(process)
    code = process.start().wait_exit()
    line = process.events()[-1]
    deployment.processes.remove(process)
    assert found["exit_code"] == code == line["exit_code"], (found, line)
    assert (found[name]["error"], found[name]["hint"]) == (line["error"], line["hint"])
    finding: dict[str, Any] = found[name]
    # Which partition is found first is the loop's own affair.
    assert finding["fact"].split()[:3] == line["fact"].split()[:3]
    return finding


def test_from_a_new_group_to_one_that_runs_and_one_that_was_stopped(deployment: Deployment) -> None:
    process = deployment.process().start()
    deployment.wait_caught_up()
    running = checked(process)
    assert running["states"]["verdict"] == "ok", running
    assert running["exit_code"] == 2, "its directory and its port are taken, by itself"
    assert "is in use" in running["state directory"]["fact"]
    before = process.get("/status")
    deployment.finish()
    assert "rewound" not in process.log()
    assert "generation_changed" not in process.log()
    assert before
    stopped = checked_alone(process)
    assert stopped["exit_code"] == 0
    assert "0 offsets are left to replay" in stopped["states"]["fact"]


def test_a_port_that_is_taken(deployment: Deployment) -> None:
    port = deployment.process("one").start().wait_event("listening")["port"]
    finding = must_agree_beside(deployment, f"127.0.0.1:{port}")
    assert str(port) in finding["fact"]


def must_agree_beside(deployment: Deployment, listen: str) -> dict[str, Any]:
    process = deployment.process("two", http__listen=listen)
    found = checked(process)
    assert found["exit_code"] == 2
    assert process.start().wait_exit() == 2
    line = process.events()[-1]
    assert [found["http"][key] for key in ("fact", "cause", "hint")] == [line[key] for key in ("fact", "cause", "hint")]
    finding: dict[str, Any] = found["http"]
    return finding


def test_what_does_not_belong_together(deployment: Deployment, topic: Callable[..., str]) -> None:
    """States of another model; other settings in the middle of a replay; an input that was recreated; lost states."""
    process = deployment.process().start()
    deployment.finish()
    deployment.processes.clear()

    ours, other = deployment.artifact, deployment.directory / "other"
    write_artifact(other, Parts(**recurrent()))
    deployment.artifact = other
    finding = must_agree(deployment, "states")
    assert "belong to the model" in finding["fact"]
    assert f"Partitions {', '.join(map(str, range(1, PARTITIONS)))} are refused, too." in finding["cause"]
    deployment.artifact = ours

    place = topic("elsewhere", partitions=PARTITIONS)
    deployment.input, given = place, deployment.input
    assert "The input topic is not the one" in must_agree(deployment, "states")["fact"]
    deployment.input = given

    deployment.kafka.delete_topics(deployment.changelog)
    deployment.kafka.create_topic(deployment.changelog, partitions=PARTITIONS, config={"cleanup.policy": "compact"})
    assert "but there is no state for it" in checked_alone(process)["states"]["fact"]


@pytest.mark.parametrize("directory", ["/proc/processor", "/dev/null/state"])
def test_a_place_that_holds_no_files_is_not_full(deployment: Deployment, directory: str) -> None:
    finding = must_agree(deployment, "disk", state__directory=directory)
    assert "cannot be used" in finding["fact"]
    assert "full" not in finding["fact"] + finding["cause"]
