"""`check`, `topics plan` and `topics apply`, against a real broker and against none."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from processor.cli import app
from processor.log import kafka_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typer.testing import Result

    from processor.trial.kafka import EmbeddedKafka


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    yield
    kafka_logger().setLevel(logging.NOTSET)


@pytest.fixture
def settings(kafka: EmbeddedKafka, name: Callable[[str], str], artifact: Path, tmp_path: Path) -> Iterator[Path]:
    """A file of settings whose topics are not there."""
    topics = [name(what) for what in ("in", "out", "dead", "log")]
    file = tmp_path / "processor.toml"
    file.write_text(
        f'[model]\nartifact = "{artifact}"\n'
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\ngroup_id = "{name("group")}"\n'
        f'[input]\ntopic = "{topics[0]}"\n[output]\ntopic = "{topics[1]}"\n[dead_letter]\ntopic = "{topics[2]}"\n'
        f'[state]\nchangelog_topic = "{topics[3]}"\n'
    )
    yield file
    call("topics", "apply", file)  # so that there is something to delete
    kafka.delete_topics(*topics)


def call(*arguments: Any) -> Result:
    *command, file = arguments
    return CliRunner().invoke(app, [*command, "-c", str(file)])


def actions(result: Result) -> list[str]:
    return [topic["action"] for topic in json.loads(result.stdout)["topics"]]


def test_from_a_refused_check_to_a_ready_one(settings: Path) -> None:
    result = call("check", settings)
    assert result.exit_code == 2
    assert "topics apply" in result.stdout
    assert actions(call("topics", "plan", "--json", settings)) == ["make"] * 4
    assert actions(call("topics", "plan", "--json", settings)) == ["make"] * 4  # planning has made nothing

    made = call("topics", "apply", "--partitions", "3", "--json", settings)
    assert (made.exit_code, actions(made)) == (0, ["made"] * 4)
    assert {topic["there"]["partitions"] for topic in json.loads(made.stdout)["topics"]} == {3}

    assert actions(call("topics", "plan", "--json", settings)) == ["keep"] * 4
    assert "keep" in call("topics", "plan", settings).stdout
    result = call("check", "--json", settings)
    document = json.loads(result.stdout)
    assert (result.exit_code, document["exit_code"]) == (0, 0)
    assert not [finding for finding in document["findings"] if finding["verdict"] == "error"]
    assert call("check", settings).exit_code == 0


def test_topics_that_only_a_human_can_mend(settings: Path, kafka: EmbeddedKafka) -> None:
    topics = {
        topic["role"]: topic["name"]
        for topic in json.loads(call("topics", "plan", "--json", settings).stdout)["topics"]
    }
    kafka.create_topic(topics["input"], partitions=2)
    kafka.create_topic(topics["output"], partitions=3)
    for command in (["topics", "plan"], ["topics", "apply"], ["check"]):
        result = call(*command, settings)
        assert result.exit_code == 2, command
        assert "2" in result.stdout


def test_without_a_broker_it_is_unavailable_and_says_so_once(artifact: Path, tmp_path: Path) -> None:
    file = tmp_path / "processor.toml"
    file.write_text(f'[model]\nartifact = "{artifact}"\n[kafka]\nbootstrap_servers = "127.0.0.1:1"\n')
    result = call("check", "--json", file)
    findings = {finding["name"]: finding["verdict"] for finding in json.loads(result.stdout)["findings"]}
    assert (result.exit_code, findings["broker"], findings["artifact"]) == (3, "error", "ok")
    assert result.stderr == ""
