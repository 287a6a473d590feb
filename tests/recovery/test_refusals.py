"""What stops a start: it says what is wrong, why, and what to do, with the exit code of its class; no traceback."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import processor
from processor.dev.kafka import free_ports
from recovery.conftest import small_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.dev.process import ProcessorProcess
    from recovery.house import House


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


def test_a_setting_that_there_is_not(house: House) -> None:
    process = house.process(processing__comit_interval_seconds=1).start()
    assert process.wait_exit() == 2
    assert "commit_interval_seconds" in process.log()
    assert "Traceback" not in process.log()


def test_a_missing_topic_names_the_command_that_makes_it(house: House) -> None:
    process = house.process(create_topics=False).start()
    line = refusal(process, 2, "ConfigError")
    assert house.output in line["fact"] + line["cause"]
    assert "topics apply" in line["hint"]


def test_unequal_partition_counts(house: House, topic: Callable[..., str]) -> None:
    output = topic("output", partitions=3)
    line = refusal(house.process(output__topic=output).start(), 2, "ConfigError")
    assert output in line["fact"]
    assert "3" in line["fact"] + line["cause"]


def test_a_compacted_input(house: House, topic: Callable[..., str]) -> None:
    house.input = topic("input", config={"cleanup.policy": "compact"})
    line = refusal(house.process().start(), 2, "ConfigError")
    assert "compact" in line["fact"] + line["cause"]


def test_no_artifact(house: House, tmp_path: Path) -> None:
    house.artifact = tmp_path / "nothing"
    line = refusal(house.process().start(), 2, "ConfigError")
    assert str(house.artifact) in line["fact"]


def test_a_damaged_artifact(house: House, tmp_path: Path) -> None:
    house.artifact = shutil.copytree(house.artifact, tmp_path / "damaged")
    graph = house.artifact / "step.tflite"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\x00\x01")
    refusal(house.process().start(), 6, "Incompatible")


def test_the_states_of_another_model(house: House, tmp_path: Path) -> None:
    process = house.process().start()
    house.wait_caught_up()
    assert process.sigterm() == 0
    other = small_model(every_step=False)
    other.set_weights([weight * 0.5 for weight in other.get_weights()])
    processor.convert(other, tmp_path / "other")
    house.artifact = tmp_path / "other"
    line = refusal(house.process().start(), 6, "Incompatible")
    assert "model" in line["fact"]
    assert "group_id" in line["hint"] or "artifact" in line["hint"]


def test_no_broker(house: House) -> None:
    process = house.process(kafka__bootstrap_servers=f"127.0.0.1:{free_ports(1)[0]}").start()
    line = refusal(process, 3, "Unavailable")
    assert "bootstrap_servers" in line["hint"]


def test_a_state_directory_in_use(house: House) -> None:
    house.process("one").start().wait_event("listening")
    second = house.process("two", state__directory=house.state("one")).start()
    line = refusal(second, 2, "ConfigError")
    assert str(house.state("one")) in line["fact"]


def test_a_port_in_use(house: House) -> None:
    first = house.process("one").start()
    port = first.wait_event("listening")["port"]
    line = refusal(house.process("two", http__listen=f"127.0.0.1:{port}").start(), 2, "ConfigError")
    assert str(port) in line["fact"]


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/status"])
def test_a_running_process_shows_itself(house: House, path: str) -> None:
    process = house.process().start().wait_ready()
    house.wait_caught_up()
    body = process.get(path)
    assert body
    if path == "/status":
        assert {partition["phase"] for partition in json.loads(body)["partitions"].values()} == {"running"}
    if path == "/metrics":
        assert "processor_predictions_total" in body
