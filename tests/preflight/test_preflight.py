"""Planned, made and checked against a real broker: `check` tells all, `require` refuses the first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from processor.config import Settings
from processor.errors import ConfigError, Incompatible, Unavailable
from processor.preflight import apply_topics, check, exit_code, plan_topics, require

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from processor.preflight import Finding, TopicPlan
    from processor.trial.kafka import EmbeddedKafka


def actions(plan: TopicPlan) -> dict[str, str]:
    return {topic.role: topic.action for topic in plan.topics}


def counts(plan: TopicPlan) -> dict[str, int]:
    return {topic.role: topic.partitions for topic in plan.topics}


def problems(settings: Settings) -> list[Finding]:
    return [finding for finding in check(settings) if finding.verdict != "ok"]


def create(kafka: EmbeddedKafka, name: str, partitions: int, **config: str) -> str:
    config = {key.replace("_", "."): value for key, value in config.items()}
    return kafka.create_topic(name, partitions=partitions, config=config)


def test_from_nothing_to_ready(make: Callable[..., Settings]) -> None:
    settings = make()
    plan = plan_topics(settings, partitions=3)
    assert actions(plan) == dict.fromkeys(("input", "output", "dead_letter", "changelog"), "make")
    assert counts(plan) == dict.fromkeys(("input", "output", "dead_letter", "changelog"), 3)
    with pytest.raises(ConfigError, match="is not there") as refused:
        require(settings)
    assert "topics apply" in refused.value.hint
    assert exit_code(check(settings)) == 2

    made = apply_topics(settings, partitions=3)
    assert actions(made) == dict.fromkeys(("input", "output", "dead_letter", "changelog"), "made")
    again = apply_topics(settings, partitions=9)
    assert actions(again) == dict.fromkeys(("input", "output", "dead_letter", "changelog"), "keep")
    assert problems(settings) == []
    topology = require(settings)
    assert [topology.input.partitions, topology.changelog.partitions] == [3, 3]
    assert topology.changelog.cleanup_policy == {"compact"}
    assert topology.changelog.name == f"{settings.kafka.group_id}-changelog"
    assert not settings.state.directory.exists()  # a check makes nothing


def test_what_is_there_settles_the_count(make: Callable[..., Settings], kafka: EmbeddedKafka) -> None:
    settings = make()
    create(kafka, settings.input.topic, 2)
    assert counts(plan_topics(settings)) == {"input": 2, "output": 2, "dead_letter": 2, "changelog": 2}
    other = make(input={"topic": settings.input.topic + "-2"}, output={"topic": settings.output.topic + "-2"})
    create(kafka, other.output.topic, 5)
    assert counts(plan_topics(other))["input"] == 5


def test_topics_of_others_are_accepted_where_they_are_right(
    make: Callable[..., Settings], kafka: EmbeddedKafka
) -> None:
    settings = make()
    create(kafka, settings.input.topic, 2, retention_ms="-1")
    create(kafka, settings.output.topic, 2, max_message_bytes="3000000")
    create(kafka, settings.dead_letter.topic, 1, max_message_bytes="5000")
    create(kafka, settings.changelog_topic, 2, cleanup_policy="compact", delete_retention_ms="1000000")
    topology = require(settings)
    assert set(actions(apply_topics(settings)).values()) == {"keep"}
    assert topology.dead_letter.partitions == 1
    assert topology.changelog.delete_retention_ms == 1_000_000
    assert len(topology.input.topic_id) == 22
    assert topology.dead_letter.max_message_bytes == 5000
    assert topology.output.max_message_bytes == 3_000_000
    # What may be written is the least of what the topic and the client take.
    modest = make(kafka={**settings.kafka.model_dump(), "producer": {"message.max.bytes": 2_000_000}})
    assert require(modest).output.max_message_bytes == 2_000_000


def test_wrong_topics_are_refused_and_left_alone(make: Callable[..., Settings], kafka: EmbeddedKafka) -> None:
    settings = make()
    create(kafka, settings.input.topic, 2, cleanup_policy="compact")
    create(kafka, settings.output.topic, 3)
    create(kafka, settings.changelog_topic, 2)
    plan = apply_topics(settings)
    assert actions(plan) == {"input": "wrong", "output": "wrong", "dead_letter": "made", "changelog": "wrong"}
    errors = [finding for finding in problems(settings) if finding.verdict == "error"]
    assert {finding.name for finding in errors} == {"input policy", "partition counts", "changelog policy"}
    with pytest.raises(ConfigError):
        require(settings)


def test_a_state_that_the_changelog_does_not_take(make: Callable[..., Settings], kafka: EmbeddedKafka) -> None:
    settings = make()
    create(kafka, settings.changelog_topic, 4, cleanup_policy="compact", max_message_bytes="150")
    apply_topics(settings)
    with pytest.raises(ConfigError, match="bytes without its key"):
        require(settings)


def test_a_broker_that_is_away_is_one_finding_among_the_others(
    make: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.preflight.BUDGET_SECONDS", 0.5)
    settings = make(kafka={"bootstrap_servers": "127.0.0.1:1"})
    findings = check(settings)
    assert [(f.name, f.error) for f in findings if f.verdict == "error"] == [("broker", Unavailable)]
    assert {"artifact", "golden vectors", "disk"} <= {f.name for f in findings if f.verdict == "ok"}
    assert exit_code(findings) == 3
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        require(settings)


def test_a_missing_and_a_damaged_artifact(make: Callable[..., Settings], small_artifact: Path, tmp_path: Path) -> None:
    apply_topics(make())
    absent = make(model={"artifact": tmp_path / "absent"})
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in small_artifact.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    graph = bytearray((damaged / "step.tflite").read_bytes())
    graph[len(graph) // 2] ^= 1
    (damaged / "step.tflite").write_bytes(graph)
    for settings, error in ((absent, ConfigError), (make(model={"artifact": damaged}), Incompatible)):
        (finding,) = problems(settings)
        assert (finding.name, finding.error) == ("artifact", error)
        with pytest.raises(error):
            require(settings)
        plan_topics(settings)  # the topics can be planned without it


def test_a_state_directory_that_cannot_be(make: Callable[..., Settings], tmp_path: Path) -> None:
    apply_topics(make())
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        (finding,) = problems(make(state={"directory": directory}))
        assert (finding.name, finding.error) == ("disk", ConfigError)
        with pytest.raises(ConfigError, match="state directory"):
            require(make(state={"directory": directory}))


def test_plans_and_findings_are_for_programs_and_people(make: Callable[..., Settings], kafka: EmbeddedKafka) -> None:
    settings = make()
    create(kafka, settings.input.topic, 2)
    create(kafka, settings.output.topic, 3)
    plan = plan_topics(settings)
    document = json.loads(json.dumps(plan.to_dict()))
    by_role = {entry["role"]: entry for entry in document["topics"]}
    assert by_role["changelog"]["needed"]["config"]["cleanup.policy"] == "compact"
    assert by_role["changelog"]["there"] is None
    assert by_role["output"]["there"]["partitions"] == 3
    assert by_role["output"]["needed"]["partitions"] == 2
    assert by_role["output"]["differences"][0]["exit_code"] == 2
    assert json.dumps([finding.to_dict() for finding in check(settings)])
    console = Console(width=200)
    with console.capture() as capture:
        plan.render(console)
    for word in (settings.input.topic, settings.changelog_topic, "cleanup.policy=compact", "wrong", "topics apply"):
        assert word in capture.get()


def test_a_group_with_members_is_told(make: Callable[..., Settings], kafka: EmbeddedKafka) -> None:
    settings = make()
    apply_topics(settings)
    (broker,) = [finding for finding in check(settings) if finding.name == "broker"]
    assert "nobody" in broker.fact


def test_a_little_disk(make: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own answer is replaced: a full disk cannot be had without one."""
    import shutil

    apply_topics(make())
    usage = shutil.disk_usage("/")
    for free, verdict, error in ((2**20, "error", Unavailable), (2**29, "warning", None), (2**40, "ok", None)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _path, free=free: usage._replace(free=free))
        (disk,) = [finding for finding in check(make()) if finding.name == "disk"]
        assert (disk.verdict, disk.error) == (verdict, error)
