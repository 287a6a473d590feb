"""The rules that topics must keep, as pure functions over facts.

Each returns findings: what is refused at the start, with its remedy, and what is only worth a warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from processor.config import producer_properties
from processor.kafka.records import RECORD_OVERHEAD_BYTES
from processor.preflight.findings import Finding, error
from processor.state.record import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processor.config import Settings
    from processor.kafka.admin import TopicFacts

Role = Literal["input", "output", "dead_letter", "changelog"]

SETTINGS: Final[dict[Role, str]] = {
    "input": "input.topic",
    "output": "output.topic",
    "dead_letter": "dead_letter.topic",
    "changelog": "state.changelog_topic",
}
"""The setting that names the topic of each role."""

NEEDED_RIGHTS: Final[dict[Role, frozenset[str]]] = {
    "input": frozenset({"READ"}),
    "output": frozenset({"WRITE"}),
    "dead_letter": frozenset({"WRITE"}),
    "changelog": frozenset({"READ", "WRITE"}),
}

_CLIENT_MESSAGE_BYTES: Final = 1_000_000  # librdkafka's default of message.max.bytes
_KEY_ROOM_BYTES: Final = 256
_SHORT_RETENTION_MS: Final = 3_600_000
_SHORT_TOMBSTONES_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class FoundTopics:
    """The four topics as they are; None for one that is not there."""

    input: TopicFacts | None
    output: TopicFacts | None
    dead_letter: TopicFacts | None
    changelog: TopicFacts | None

    def of(self, role: Role) -> TopicFacts | None:
        facts: TopicFacts | None = getattr(self, role)
        return facts


def topic_names(settings: Settings) -> dict[Role, str]:
    """Role -> name of its topic."""
    return {
        "input": settings.input.topic,
        "output": settings.output.topic,
        "dead_letter": settings.dead_letter.topic,
        "changelog": settings.changelog_topic,
    }


def topic_findings(settings: Settings, found: FoundTopics, words: int | None) -> list[Finding]:
    """All findings about the topics. words: of one state; None where the artifact is not to be had."""
    return [
        *_existence(settings, found),
        *_partition_counts(found),
        *_input_policy(settings, found),
        *_input_retention(settings, found),
        *_changelog_policy(found),
        *_other_policies(found),
        *_record_size(settings, found, words),
        *_replicas(found),
        *_rights(found),
    ]


def _existence(settings: Settings, found: FoundTopics) -> Iterator[Finding]:
    for role, name in topic_names(settings).items():
        facts = found.of(role)
        if facts is None:
            yield error(
                f"{role} topic",
                f"The topic {name} is not there.",
                f"{SETTINGS[role]} names it.",
                "`processor topics plan` shows what is needed, `processor topics apply` makes it.",
                name,
            )
        else:
            partitions = f"{facts.partitions} partition{'' if facts.partitions == 1 else 's'}"
            yield Finding(f"{role} topic", "ok", f"{name}: {partitions}.", topic=name)


def _partition_counts(found: FoundTopics) -> Iterator[Finding]:
    if found.input is None:
        return
    for role in ("output", "changelog"):
        facts = found.output if role == "output" else found.changelog
        if facts is not None and facts.partitions != found.input.partitions:
            wanted = found.input.partitions
            more = f"kafka-topics.sh --alter --topic {facts.name} --partitions {wanted}"
            remedy = more if facts.partitions < wanted else f"Recreate {facts.name} with {wanted} partitions"
            yield error(
                "partition counts",
                f"The {role} topic {facts.name} has {facts.partitions} partitions, "
                f"and the input topic {found.input.name} has {wanted}.",
                "A key's state and its predictions lie in the partition of the same number as its events.",
                f"{remedy}, or name another topic in {SETTINGS['output' if role == 'output' else 'changelog']}.",
                facts.name,
            )


def _input_policy(settings: Settings, found: FoundTopics) -> Iterator[Finding]:
    if found.input is None or "compact" not in found.input.cleanup_policy:
        return
    if settings.state.snapshot_interval_seconds > 0:
        yield error(
            "input policy",
            f"The input topic {found.input.name} is compacted.",
            "Compaction removes events that a replay after a crash would have to step again.",
            "Use a topic with cleanup.policy=delete, or set state.snapshot_interval_seconds = 0, "
            "so that every commit writes the states it changed.",
            found.input.name,
        )
    else:
        yield Finding(
            "input policy",
            "ok",
            f"{found.input.name} is compacted, and every commit writes what it changed.",
            topic=found.input.name,
        )


def _input_retention(settings: Settings, found: FoundTopics) -> Iterator[Finding]:
    facts = found.input
    if facts is None or "delete" not in facts.cleanup_policy or facts.retention_ms < 0:
        return
    seconds, interval = facts.retention_ms / 1000, settings.state.snapshot_interval_seconds
    if seconds <= interval:
        fact = f"The input topic {facts.name} keeps events for {seconds:g} s, the snapshot interval is {interval:g} s."
        cause = "A restart replays the events since the oldest state that is not written yet: they would be gone."
        hint = "Raise the topic's retention.ms, or lower state.snapshot_interval_seconds."
        if settings.processing.accept_gap:
            yield Finding("input retention", "warning", fact, cause, hint, topic=facts.name)
        else:
            yield error("input retention", fact, cause, hint, facts.name)
    elif facts.retention_ms < _SHORT_RETENTION_MS:
        yield Finding(
            "input retention",
            "warning",
            f"The input topic {facts.name} keeps events for {seconds:g} s only.",
            "After a longer stop the events in between are gone, and the start is refused.",
            "Raise the topic's retention.ms.",
            topic=facts.name,
        )


def _changelog_policy(found: FoundTopics) -> Iterator[Finding]:
    facts = found.changelog
    if facts is None:
        return
    forever = facts.retention_ms < 0 and facts.retention_bytes < 0
    if "compact" not in facts.cleanup_policy or ("delete" in facts.cleanup_policy and not forever):
        policy = ",".join(sorted(facts.cleanup_policy))
        yield error(
            "changelog policy",
            f"The changelog topic {facts.name} has cleanup.policy={policy}.",
            "It would delete the states of keys that have not been seen for a while.",
            f"kafka-configs.sh --alter --entity-type topics --entity-name {facts.name} "
            "--add-config cleanup.policy=compact",
            facts.name,
        )
    if facts.delete_retention_ms < _SHORT_TOMBSTONES_MS:
        yield Finding(
            "changelog tombstones",
            "warning",
            f"The changelog topic {facts.name} has delete.retention.ms={facts.delete_retention_ms}.",
            "A store that was closed for longer is rebuilt from nothing, and a restore that takes longer starts over.",
            "Kafka's default is 86400000, a day.",
            topic=facts.name,
        )


def _other_policies(found: FoundTopics) -> Iterator[Finding]:
    for facts, what in ((found.output, "predictions"), (found.dead_letter, "dead letters")):
        if facts is not None and "compact" in facts.cleanup_policy:
            yield Finding(
                "cleanup policy",
                "warning",
                f"The topic {facts.name} is compacted.",
                f"In the end it keeps the last of each key's {what} only.",
                "Use cleanup.policy=delete, unless that is what is wanted.",
                topic=facts.name,
            )


def client_message_bytes(settings: Settings) -> int:
    """The largest message that the producer takes."""
    given = str(producer_properties(settings, "-").get("message.max.bytes", _CLIENT_MESSAGE_BYTES))
    return int(given) if given.isdecimal() else _CLIENT_MESSAGE_BYTES  # the producer itself refuses what is no number


def record_bytes(words: int) -> int:
    """The most that one state's record costs in the changelog, without its key."""
    return HEADER_BYTES + 4 * words + RECORD_OVERHEAD_BYTES


def _record_size(settings: Settings, found: FoundTopics, words: int | None) -> Iterator[Finding]:
    if found.changelog is None or words is None:
        return
    topic, needed = found.changelog, record_bytes(words)
    takers = {
        f"The changelog topic {topic.name} takes": (topic.max_message_bytes, "Raise the topic's max.message.bytes"),
        "The Kafka client sends": (client_message_bytes(settings), "Raise message.max.bytes in [kafka.producer]"),
    }
    for taker, (most, remedy) in takers.items():
        room = most - needed
        if room < _KEY_ROOM_BYTES:
            fact = f"A state's record has {needed} bytes without its key. {taker} up to {most}."
            cause = f"The model's state has {words} words of 4 bytes, the record's header {HEADER_BYTES} bytes."
            hint = f"{remedy} to {needed + 64 * 1024} or more."
            if room < 0:
                yield error("record size", fact, cause, hint, topic.name)
            else:
                late = f"{cause} Events with keys longer than {room} bytes go to the dead-letter topic."
                yield Finding("record size", "warning", fact, late, hint, topic=topic.name)


def _replicas(found: FoundTopics) -> Iterator[Finding]:
    for facts in (found.output, found.dead_letter, found.changelog):
        if facts is not None and facts.min_insync_replicas > facts.replicas:
            least = facts.min_insync_replicas
            yield error(
                "replicas",
                f"The topic {facts.name} has {facts.replicas} replicas and min.insync.replicas={least}.",
                "No write that all replicas must confirm can ever succeed.",
                "Lower min.insync.replicas, or give the topic more replicas.",
                facts.name,
            )


def _rights(found: FoundTopics) -> Iterator[Finding]:
    for role, needed in NEEDED_RIGHTS.items():
        facts = found.of(role)
        # A broker that does not report rights may still grant them.
        if facts is None or not facts.operations:
            continue
        missing = sorted(needed - facts.operations)
        if missing:
            yield error(
                "rights",
                f"This client lacks the right to {' and '.join(missing)} the topic {facts.name}.",
                "An ACL of the brokers says so.",
                f"kafka-acls.sh --add --allow-principal User:... --operation {missing[0].title()} --topic {facts.name}",
                facts.name,
            )
