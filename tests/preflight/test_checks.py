"""The rules that topics must keep: each is broken alone, and told with its remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from processor.config import Settings
from processor.errors import ConfigError, Unavailable
from processor.kafka.admin import TopicFacts
from processor.preflight import Finding, exit_code, render
from processor.preflight.checks import FoundTopics, record_bytes, topic_findings

DAY_MS = 86_400_000
EVERYTHING = frozenset({"READ", "WRITE", "DESCRIBE"})


def topic(name: str, *policy: str) -> TopicFacts:
    return TopicFacts(
        name=name,
        topic_id=f"id-of-{name}",
        partitions=4,
        replicas=3,
        cleanup_policy=frozenset(policy or ["delete"]),
        max_message_bytes=1_048_588,
        retention_ms=7 * DAY_MS,
        retention_bytes=-1,
        delete_retention_ms=DAY_MS,
        min_insync_replicas=2,
        operations=EVERYTHING,
    )


GOOD = FoundTopics(
    topic("samples"), topic("probabilities"), topic("samples-dead-letter"), topic("p-changelog", "compact")
)


def settings(**sections: Any) -> Settings:
    return Settings.model_validate({"kafka": {"group_id": "p"}, **sections})


def told(found: FoundTopics, words: int | None = 96, **sections: Any) -> list[tuple[str, str, str]]:
    """(check, verdict, topic) of all that is not as it should be."""
    findings = topic_findings(settings(**sections), found, words)
    for finding in findings:
        assert finding.fact
        assert (finding.error is not None) == (finding.verdict == "error")
        if finding.verdict != "ok":
            assert finding.hint, finding
            assert finding.topic in finding.fact or finding.name == "record size"
    return [(f.name, f.verdict, f.topic) for f in findings if f.verdict != "ok"]


def changed(role: str, **changes: Any) -> FoundTopics:
    facts = getattr(GOOD, role)
    return replace(GOOD, **{role: replace(facts, **changes)})


def test_good_topics_are_good() -> None:
    assert told(GOOD) == []
    assert told(GOOD, words=None) == []


@pytest.mark.parametrize("role", ["input", "output", "dead_letter", "changelog"])
def test_a_missing_topic_names_the_command_that_makes_it(role: str) -> None:
    name = getattr(GOOD, role).name
    findings = topic_findings(settings(), replace(GOOD, **{role: None}), 96)
    (missing,) = [finding for finding in findings if finding.verdict != "ok"]
    assert missing.error is ConfigError
    assert name in missing.fact
    assert "topics apply" in missing.hint


@pytest.mark.parametrize("role", ["output", "changelog"])
@pytest.mark.parametrize("partitions", [3, 5])
def test_partition_counts_must_be_equal(role: str, partitions: int) -> None:
    name, found = getattr(GOOD, role).name, changed(role, partitions=partitions)
    assert told(found) == [("partition counts", "error", name)]
    (wrong,) = [finding for finding in topic_findings(settings(), found, 96) if finding.verdict == "error"]
    # A recreated changelog is a lost one: only where it has too many is there no other way.
    assert ("--alter" in wrong.hint) == (partitions < 4)
    assert ("Recreate" in wrong.hint) == (partitions > 4)


def test_the_dead_letter_topic_may_have_any_count() -> None:
    assert told(changed("dead_letter", partitions=1)) == []


@pytest.mark.parametrize("policy", [{"compact"}, {"compact", "delete"}])
def test_a_compacted_input_is_refused_unless_every_commit_writes(policy: set[str]) -> None:
    found = changed("input", cleanup_policy=frozenset(policy))
    assert told(found) == [("input policy", "error", "samples")]
    assert told(found, state={"snapshot_interval_seconds": 0}) == []


def test_retention_against_the_snapshot_interval() -> None:
    found = changed("input", retention_ms=10_000)
    assert told(found) == [("input retention", "error", "samples")]
    assert told(found, processing={"accept_gap": True}) == [("input retention", "warning", "samples")]
    assert told(found, state={"snapshot_interval_seconds": 9.0}) == [("input retention", "warning", "samples")]
    assert told(changed("input", retention_ms=DAY_MS)) == []
    assert told(changed("input", retention_ms=-1)) == []
    compacted = changed("input", retention_ms=1, cleanup_policy=frozenset({"compact"}))
    assert told(compacted, state={"snapshot_interval_seconds": 0}) == []


@pytest.mark.parametrize(
    ("policy", "retention", "wrong"),
    [
        ({"delete"}, {}, True),
        ({"compact", "delete"}, {}, True),
        ({"compact", "delete"}, {"retention_ms": -1, "retention_bytes": 5}, True),
        ({"compact", "delete"}, {"retention_ms": -1, "retention_bytes": -1}, False),
        ({"compact"}, {"retention_ms": 1, "retention_bytes": 1}, False),
    ],
)
def test_the_changelog_must_never_forget(policy: set[str], retention: dict[str, int], wrong: bool) -> None:
    found = changed("changelog", cleanup_policy=frozenset(policy), **retention)
    assert told(found) == ([("changelog policy", "error", "p-changelog")] if wrong else [])


def test_short_tombstones_are_a_warning() -> None:
    assert told(changed("changelog", delete_retention_ms=1000)) == [("changelog tombstones", "warning", "p-changelog")]


@pytest.mark.parametrize("role", ["output", "dead_letter"])
def test_a_compacted_output_is_a_warning(role: str) -> None:
    found = changed(role, cleanup_policy=frozenset({"compact"}))
    assert told(found) == [("cleanup policy", "warning", getattr(GOOD, role).name)]


def test_records_must_fit_the_changelog() -> None:
    most = record_bytes(96)
    assert most > 48 + 4 * 96
    for room, verdicts in ((-1, ["error"]), (0, ["warning"]), (255, ["warning"]), (256, [])):
        found = changed("changelog", max_message_bytes=most + room)
        assert [verdict for _, verdict, _ in told(found)] == verdicts, room
    assert told(changed("changelog", max_message_bytes=100), words=None) == []


def test_records_must_fit_the_client_too() -> None:
    words = 250_000
    found = changed("changelog", max_message_bytes=3_000_000)
    assert told(found, words) == []
    assert told(found, words, kafka={"group_id": "p", "producer": {"message.max.bytes": 2_000_000}}) == []
    assert told(found, words, kafka={"group_id": "p", "producer": {"message.max.bytes": 1_000_000}}) == [
        ("record size", "error", "p-changelog")
    ]
    assert told(found, 96, kafka={"group_id": "p", "properties": {"message.max.bytes": "400"}}) != []


@pytest.mark.parametrize("role", ["output", "dead_letter", "changelog"])
def test_more_insync_replicas_than_replicas(role: str) -> None:
    found = changed(role, replicas=1)
    assert told(found) == [("replicas", "error", getattr(GOOD, role).name)]


@pytest.mark.parametrize(
    ("role", "operations", "wrong"),
    [
        ("input", {"DESCRIBE"}, True),
        ("input", {"READ"}, False),
        ("output", {"READ"}, True),
        ("output", {"WRITE"}, False),
        ("dead_letter", {"READ"}, True),
        ("changelog", {"READ"}, True),
        ("changelog", {"WRITE"}, True),
        ("changelog", set(), False),  # the broker says nothing
    ],
)
def test_rights(role: str, operations: set[str], wrong: bool) -> None:
    found = changed(role, operations=frozenset(operations))
    assert told(found) == ([("rights", "error", getattr(GOOD, role).name)] if wrong else [])


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = replace(changed("changelog", partitions=1, cleanup_policy=frozenset({"delete"})), output=None)
    checks = {name for name, _, _ in told(found)}
    assert checks == {"output topic", "partition counts", "changelog policy"}


# Findings -----------------------------------------------------------------------------------------------------

FINE = Finding("a", "ok", "All is well.")
SO_SO = Finding("b", "warning", "Not so well.", "A cause.", "A hint.")
BAD = Finding("c", "error", "[red]Away.", "A cause.", "A hint.", Unavailable)
WORSE = Finding("d", "error", "Wrong.", "", "", ConfigError)


def test_the_exit_code_is_the_first_error_s() -> None:
    assert exit_code([FINE, SO_SO]) == 0
    assert exit_code([FINE, BAD, WORSE]) == 3
    assert exit_code([FINE, WORSE, BAD]) == 2


def test_a_finding_is_the_error_that_it_stands_for() -> None:
    refused = BAD.to_error()
    assert type(refused) is Unavailable
    assert (refused.fact, refused.cause, refused.hint) == ("[red]Away.", "A cause.", "A hint.")
    assert Finding.of("x", refused).to_error().args == refused.args
    assert BAD.to_dict()["exit_code"] == 3
    assert SO_SO.to_dict()["exit_code"] is None


@pytest.mark.parametrize(
    ("findings", "end"),
    [([FINE], "Ready."), ([FINE, SO_SO], "Ready, with 1 warning."), ([BAD, SO_SO, WORSE], "2 errors")],
)
def test_a_report_shows_every_word_and_ends_with_what_it_comes_to(findings: list[Finding], end: str) -> None:
    console = Console(record=True, width=60, file=None, quiet=False)
    with console.capture() as capture:
        render(findings, console)
    text = capture.get()
    for finding in findings:
        for words in (finding.name, finding.fact, finding.cause, finding.hint):
            assert words in text
    assert text.strip().splitlines()[-1].startswith(end)
