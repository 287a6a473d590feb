"""The topics that the settings need: what there is, what is to be made, and what differs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.table import Table
from rich.text import Text

from processor.errors import ProcessorError, Unavailable
from processor.kafka.admin import Admin, TopicSpec
from processor.kafka.properties import refusal
from processor.model.artifact import load_artifact
from processor.preflight.checks import SETTINGS, FoundTopics, Role, record_bytes, topic_findings, topic_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from processor.config import Settings
    from processor.kafka.admin import TopicFacts
    from processor.preflight.findings import Finding

BUDGET_SECONDS: Final = 10.0
"""How long a broker is waited for before a start. Who types a wrong address should not wait for long."""

DEFAULT_PARTITIONS: Final = 4
_KAFKA_MESSAGE_BYTES: Final = 1_048_588  # Kafka's own default of max.message.bytes
_KEY_ROOM_BYTES: Final = 64 * 1024

_CHANGELOG_CONFIG: Final = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted, and every restore reads the open one whole: smaller than Kafka's 1 GiB.
    "segment.bytes": str(100 * 2**20),
}


@dataclass(frozen=True, slots=True)
class PlannedTopic:
    """One topic: as it is needed, and how it stands."""

    role: Role
    name: str
    partitions: int  # needed; of a topic that is there and may have any count: its own
    config: Mapping[str, str]  # that it is made with
    facts: TopicFacts | None  # None: it is not there
    differences: tuple[Finding, ...]
    made: bool = False  # by `apply_topics`

    @property
    def action(self) -> Literal["make", "made", "keep", "wrong"]:
        """`wrong`: it is there, and a human has to mend it."""
        if self.facts is None:
            return "make"
        if any(finding.verdict == "error" for finding in self.differences):
            return "wrong"
        return "made" if self.made else "keep"

    def to_dict(self) -> dict[str, Any]:
        there = self.facts and {
            "partitions": self.facts.partitions,
            "replicas": self.facts.replicas,
            "topic_id": self.facts.topic_id,
            "cleanup.policy": ",".join(sorted(self.facts.cleanup_policy)),
            "max.message.bytes": self.facts.max_message_bytes,
            "retention.ms": self.facts.retention_ms,
            "retention.bytes": self.facts.retention_bytes,
            "delete.retention.ms": self.facts.delete_retention_ms,
            "min.insync.replicas": self.facts.min_insync_replicas,
        }
        return {
            "role": self.role,
            "setting": SETTINGS[self.role],
            "name": self.name,
            "action": self.action,
            "needed": {"partitions": self.partitions, "config": dict(self.config)},
            "there": there,
            "differences": [finding.to_dict() for finding in self.differences],
        }


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """The four topics, in the order in which events meet them."""

    topics: tuple[PlannedTopic, ...]

    @property
    def missing(self) -> tuple[PlannedTopic, ...]:
        return tuple(topic for topic in self.topics if topic.action == "make")

    @property
    def wrong(self) -> tuple[PlannedTopic, ...]:
        return tuple(topic for topic in self.topics if topic.action == "wrong")

    def to_dict(self) -> dict[str, Any]:
        return {"topics": [topic.to_dict() for topic in self.topics]}

    def render(self, console: Console) -> None:
        """Prints a table of the topics, and below it what differs."""
        table = Table("topic", "setting", "partitions", "made with", "action")
        styles = {"make": "yellow", "made": "green", "keep": "green", "wrong": "bold red"}
        for topic in self.topics:
            config = "\n".join(f"{name}={value}" for name, value in topic.config.items())
            partitions = str(topic.facts.partitions if topic.facts else topic.partitions)
            action = Text(topic.action, styles[topic.action])
            table.add_row(Text(topic.name), SETTINGS[topic.role], partitions, Text(config), action)
        console.print(table)
        for topic in self.topics:
            for finding in topic.differences:
                console.print(Text(finding.to_text(), "red" if finding.verdict == "error" else "yellow"))
        if self.missing:
            console.print("`processor topics apply` makes what is missing.")


def plan_topics(settings: Settings, partitions: int = DEFAULT_PARTITIONS) -> TopicPlan:
    """What is needed, and what differs from what there is. Changes nothing.

    partitions: of an input topic that is not there, where no other topic settles the count.

    Raises:
        Unavailable, ConfigError: no broker answers, or this client may not ask.
    """
    with Admin(settings, BUDGET_SECONDS) as admin:
        return _plan(settings, describe(settings, admin), partitions)


def apply_topics(settings: Settings, partitions: int = DEFAULT_PARTITIONS) -> TopicPlan:
    """Makes the topics that are missing, and leaves those that are there as they are. Returns how they stand then.

    Raises:
        ConfigError: the brokers refuse to make one, or a client cannot be made. Unavailable: as for `plan_topics`.
    """
    if refused := refusal(settings):
        raise refused
    with Admin(settings, BUDGET_SECONDS) as admin:
        plan = _plan(settings, describe(settings, admin), partitions)
        made = frozenset(topic.name for topic in plan.missing)
        if not made:
            return plan
        admin.create_topics(TopicSpec(topic.name, topic.partitions, topic.config) for topic in plan.missing)
        return _plan(settings, _settled(settings, admin), partitions, made)


def describe(settings: Settings, admin: Admin) -> FoundTopics:
    """The four topics as they are now. Raises Unavailable, ConfigError."""
    return FoundTopics(**{role: admin.describe_topic(name) for role, name in topic_names(settings).items()})


def _settled(settings: Settings, admin: Admin) -> FoundTopics:
    """The topics, once the brokers that are asked know the new ones too."""
    deadline = time.monotonic() + BUDGET_SECONDS
    while True:
        found = describe(settings, admin)
        names = [name for role, name in topic_names(settings).items() if found.of(role) is None]
        if not names:
            return found
        if time.monotonic() > deadline:
            raise Unavailable(f"The topics {', '.join(names)} were created, but cannot be seen.", "", "Try again.")
        time.sleep(0.05)


def _plan(settings: Settings, found: FoundTopics, partitions: int, made: frozenset[str] = frozenset()) -> TopicPlan:
    words = _words(settings)
    findings = topic_findings(settings, found, words)
    count = _partitions(found, partitions)
    topics = []
    for role, name in topic_names(settings).items():
        facts = found.of(role)
        differences = tuple(f for f in findings if facts and f.topic == name and f.verdict != "ok")
        needed = facts.partitions if facts and role in ("input", "dead_letter") else count
        topics.append(PlannedTopic(role, name, needed, _config(role, words), facts, differences, name in made))
    return TopicPlan(tuple(topics))


def _partitions(found: FoundTopics, default: int) -> int:
    """The count that input, output and changelog share: the input's, or that of what else is there already."""
    there = [facts for facts in (found.input, found.output, found.changelog) if facts]
    return there[0].partitions if there else default


def _config(role: Role, words: int | None) -> dict[str, str]:
    if role != "changelog":
        return {}
    largest = record_bytes(words or 0) + _KEY_ROOM_BYTES
    return _CHANGELOG_CONFIG | ({"max.message.bytes": str(largest)} if largest > _KAFKA_MESSAGE_BYTES else {})


def _words(settings: Settings) -> int | None:
    """The size of a state, where the artifact is there already: topics can be planned without it."""
    try:
        return load_artifact(settings.model.artifact).words
    except ProcessorError:
        return None
