"""What stops a start: it says what is wrong, why, and what to do, with the exit code of its class; no traceback."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import processor
from model.quick import short_certificate
from processor.trial.kafka import free_ports
from recovery.conftest import small_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.trial.process import ProcessorProcess
    from recovery.deployment import Deployment


def refusal(process: ProcessorProcess, exit_code: int, error: str) -> dict[str, Any]:
    """The one line in which the process says why it ended."""
    assert process.wait_exit() == exit_code, process.log()[-3000:]
    assert "Traceback" not in process.log()
    last = process.events()[-1]
    assert last["event"] == "failed"
    assert last["error"] == error
    assert last["fact"]
    assert last["hint"]
    return last


def test_a_setting_that_there_is_not(deployment: Deployment) -> None:
    process = deployment.process(processing__comit_interval_seconds=1).start()
    assert process.wait_exit() == 2
    assert "commit_interval_seconds" in process.log()
    assert "Traceback" not in process.log()


def test_a_missing_topic_names_the_command_that_makes_it(deployment: Deployment) -> None:
    process = deployment.process(create_topics=False).start()
    line = refusal(process, 2, "ConfigError")
    assert deployment.output in line["fact"] + line["cause"]
    assert "topics apply" in line["hint"]


def test_unequal_partition_counts(deployment: Deployment, topic: Callable[..., str]) -> None:
    output = topic("output", partitions=3)
    line = refusal(deployment.process(output__topic=output).start(), 2, "ConfigError")
    assert output in line["fact"]
    assert "3" in line["fact"] + line["cause"]


def test_a_compacted_input(deployment: Deployment, topic: Callable[..., str]) -> None:
    deployment.input = topic("input", config={"cleanup.policy": "compact"})
    line = refusal(deployment.process().start(), 2, "ConfigError")
    assert "compact" in line["fact"] + line["cause"]


def test_no_artifact(deployment: Deployment, tmp_path: Path) -> None:
    deployment.artifact = tmp_path / "nothing"
    line = refusal(deployment.process().start(), 2, "ConfigError")
    assert str(deployment.artifact) in line["fact"]


def test_a_damaged_artifact(deployment: Deployment, tmp_path: Path) -> None:
    deployment.artifact = shutil.copytree(deployment.artifact, tmp_path / "damaged")
    graph = deployment.artifact / "step.tflite"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00\x01")
    refusal(deployment.process().start(), 6, "Incompatible")


def test_the_states_of_another_model(deployment: Deployment, tmp_path: Path) -> None:
    process = deployment.process().start()
    deployment.wait_caught_up()
    assert process.sigterm() == 0
    other = small_model(every_step=False)
    other.set_weights([weight * 0.5 for weight in other.get_weights()])
    with short_certificate():
        processor.convert(other, tmp_path / "other")
    deployment.artifact = tmp_path / "other"
    line = refusal(deployment.process().start(), 6, "Incompatible")
    assert "model" in line["fact"]
    assert "group_id" in line["hint"] or "artifact" in line["hint"]


def test_no_broker(deployment: Deployment) -> None:
    process = deployment.process(kafka__bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}").start()
    line = refusal(process, 3, "Unavailable")
    assert "bootstrap_servers" in line["hint"]


def test_a_state_directory_in_use(deployment: Deployment) -> None:
    deployment.process("one").start().wait_event("listening")
    second = deployment.process("two", state__directory=deployment.state("one")).start()
    line = refusal(second, 2, "ConfigError")
    assert str(deployment.state("one")) in line["fact"]


def test_a_port_in_use(deployment: Deployment) -> None:
    first = deployment.process("one").start()
    port = first.wait_event("listening")["port"]
    line = refusal(deployment.process("two", http__listen=f"127.0.0.1:{port}").start(), 2, "ConfigError")
    assert str(port) in line["fact"]


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/status"])
def test_a_running_process_shows_itself(deployment: Deployment, path: str) -> None:
    process = deployment.process().start().wait_ready()
    deployment.wait_caught_up()
    body = process.get(path)
    assert body
    if path == "/status":
        assert {partition["phase"] for partition in json.loads(body)["partitions"].values()} == {"running"}
    if path == "/metrics":
        assert "processor_predictions_total" in body
