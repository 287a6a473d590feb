"""Everything that can be wrong before a start: the same code reports it (`check`) and refuses it (`run`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from processor.errors import ProcessorError
from processor.kafka.admin import Admin
from processor.kafka.properties import refusal, without_effect
from processor.log import get_logger
from processor.model.artifact import load_artifact, state_size
from processor.preflight.checkpoints import states_finding
from processor.preflight.checks import FoundTopics, client_message_bytes, topic_findings
from processor.preflight.findings import Finding, exit_code, render
from processor.preflight.machine import disk_finding, held_findings
from processor.preflight.sample import DEFAULT_SAMPLE, sample_findings
from processor.preflight.topics import (
    BUDGET_SECONDS,
    DEFAULT_PARTITIONS,
    PlannedTopic,
    TopicPlan,
    apply_topics,
    describe,
    plan_topics,
)

if TYPE_CHECKING:
    from processor.config import Settings
    from processor.kafka.admin import TopicFacts
    from processor.model.artifact import Artifact

__all__ = [
    "DEFAULT_PARTITIONS",
    "DEFAULT_SAMPLE",
    "Finding",
    "PlannedTopic",
    "TopicPlan",
    "Topology",
    "apply_topics",
    "check",
    "exit_code",
    "plan_topics",
    "render",
    "require",
]

_LOG = get_logger()


@dataclass(frozen=True, slots=True)
class Topology:
    """The four topics as they stand, all of them there and right.

    `max_message_bytes` of those that are written to is the least of what topic and producer take.
    """

    input: TopicFacts
    output: TopicFacts
    dead_letter: TopicFacts
    changelog: TopicFacts


def require(settings: Settings) -> Topology:
    """What `run` asks for before anything else. Warnings are logged.

    Raises:
        ConfigError, Incompatible, Unavailable: the first error that `check` would tell.
    """
    if refused := refusal(settings):
        raise refused
    artifact = load_artifact(settings.model.artifact)
    with Admin(settings, BUDGET_SECONDS) as admin:
        found = describe(settings, admin)
    for finding in [
        *_without_effect(settings),
        *topic_findings(settings, found, artifact.words),
        disk_finding(settings),
    ]:
        if finding.verdict == "error":
            raise finding.to_error()
        if finding.verdict == "warning":
            _LOG.warning("preflight", check=finding.name, fact=finding.fact, cause=finding.cause, hint=finding.hint)
    return _topology(settings, found)


def _topology(settings: Settings, found: FoundTopics) -> Topology:
    most = client_message_bytes(settings)
    written = (_capped(found.of(role), most) for role in ("output", "dead_letter", "changelog"))
    return Topology(_there(found.input), *written)


def _capped(facts: TopicFacts | None, most: int) -> TopicFacts:
    return replace(_there(facts), max_message_bytes=min(_there(facts).max_message_bytes, most))


def _there(facts: TopicFacts | None) -> TopicFacts:
    assert facts is not None, "a missing topic is an error, and was raised"
    return facts


def check(settings: Settings, sample: int = 0) -> list[Finding]:
    """Checks everything, and goes on after an error, to report all problems at once. Changes nothing.

    sample: how many of the input's newest events to look at.
    """
    group = f"group {settings.kafka.group_id}, {settings.processing.guarantee}"
    findings = [Finding("settings", "ok", f"Understood: {group}."), *_without_effect(settings)]
    artifact, found = _artifact(settings)
    findings += found
    if refused := refusal(settings):
        findings.append(Finding.of("clients", refused))
    else:
        findings += _topics(settings, artifact, sample)
    return [*findings, disk_finding(settings), *held_findings(settings)]


def _artifact(settings: Settings) -> tuple[Artifact | None, list[Finding]]:
    from processor.model.engine import Engine  # LiteRT: half a second that `topics plan` need not wait for

    try:
        artifact = load_artifact(settings.model.artifact)
    except ProcessorError as refused:
        return None, [Finding.of("artifact", refused)]
    fact = f"{settings.model.artifact}: model {artifact.model_id}, {artifact.mode}, {state_size(artifact.words)}."
    findings = [Finding("artifact", "ok", fact)]
    try:
        Engine(artifact).check_golden()
    except ProcessorError as refused:
        return artifact, [*findings, Finding.of("golden vectors", refused)]
    return artifact, [
        *findings,
        Finding("golden vectors", "ok", "They come out on this machine as on the converter's."),
    ]


def _without_effect(settings: Settings) -> list[Finding]:
    return [Finding("clients", "warning", *problem) for problem in without_effect(settings)]


def _topics(settings: Settings, artifact: Artifact | None, sample: int) -> list[Finding]:
    """The brokers, the topics, and where these are right the group's states."""
    try:
        with Admin(settings, BUDGET_SECONDS) as admin:
            found = describe(settings, admin)
            members = admin.group_members(settings.kafka.group_id)
            joined = f"the group has {len(members)} members now" if members else "nobody is in the group"
            findings = [Finding("broker", "ok", f"{settings.kafka.bootstrap_servers} answers; {joined}.")]
            findings += topic_findings(settings, found, artifact.words if artifact else None)
            if artifact is not None and not any(finding.verdict == "error" for finding in findings):
                facts = _topology(settings, found)
                findings.append(
                    states_finding(settings, artifact, facts, admin, BUDGET_SECONDS, is_running=bool(members))
                )
            if sample and artifact is not None and found.input is not None:
                count = found.input.partitions
                findings += sample_findings(settings, artifact, count, admin, sample, BUDGET_SECONDS)
    except ProcessorError as refused:
        return [Finding.of("broker", refused)]
    return findings
