"""What must hold between settings that are each right by themselves, librdkafka's properties among them."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from processor.config.clients import REFUSED, REFUSED_UNDER_CONSUMER_PROTOCOL
from processor.config.problems import Problem
from processor.config.settings import DEFAULT_PROPERTIES, FLUSH_BUDGET_SECONDS, TOPIC_PATTERN, Property, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def relations(settings: Settings) -> list[Problem]:
    """Every relation that does not hold."""
    problems = [*_refused_properties(settings), *_topics(settings), *_wrong_numbers(settings)]
    # What compares numbers can only be asked when they are numbers.
    return problems or [*_transaction(settings), *_session(settings)]


def _tables(settings: Settings) -> Mapping[str, Mapping[str, Property]]:
    kafka = settings.kafka
    return {"kafka.properties": kafka.properties, "kafka.consumer": kafka.consumer, "kafka.producer": kafka.producer}


def _refused_properties(settings: Settings) -> Iterator[Problem]:
    for table, properties in _tables(settings).items():
        for name in properties:
            if name in REFUSED:
                yield Problem(f"{table} sets {name}, which the processor sets itself.", REFUSED[name], "Leave it out.")
            elif settings.kafka.consumer_protocol and name in REFUSED_UNDER_CONSUMER_PROTOCOL:
                yield Problem(
                    f"{table} sets {name} together with group.protocol=consumer.",
                    "Under that protocol the broker decides it, and the client refuses it.",
                    "Leave it out, and set it for the group on the broker.",
                )


def _topics(settings: Settings) -> Iterator[Problem]:
    changelog = settings.changelog_topic
    if not re.fullmatch(TOPIC_PATTERN, changelog):
        yield Problem(
            f"The changelog topic's name would be {changelog!r}, which is none.",
            f"It is made of kafka.group_id = {settings.kafka.group_id!r}.",
            "Set state.changelog_topic.",
        )
    uses: dict[str, list[str]] = defaultdict(list)
    uses[settings.input.topic].append("input.topic")
    uses[settings.output.topic].append("output.topic")
    uses[settings.dead_letter.topic].append("dead_letter.topic")
    uses[changelog].append("state.changelog_topic")
    for topic, names in uses.items():
        if topic in (".", ".."):
            yield Problem(f"{names[0]} is {topic!r}.", "Kafka allows no topic of that name.")
        if len(names) > 1:
            yield Problem(
                f"{' and '.join(names)} are all {topic!r}."
                if len(names) > 2
                else f"{' and '.join(names)} are {topic!r}.",
                "The processor would read or compact away what it writes itself.",
                "Give each its own topic.",
            )


def _wrong_numbers(settings: Settings) -> Iterator[Problem]:
    for table, properties in _tables(settings).items():
        for name in DEFAULT_PROPERTIES:
            if name in properties and not re.fullmatch(r"\d{1,10}", str(properties[name])):
                yield Problem(
                    f"{table} sets {name} to {properties[name]!r}.", "It must be a whole number of milliseconds."
                )


def _transaction(settings: Settings) -> Iterator[Problem]:
    needed = settings.processing.commit_interval_seconds + FLUSH_BUDGET_SECONDS
    timeout = settings.transaction_timeout_seconds
    if settings.exactly_once and timeout <= needed:
        yield Problem(
            f"transaction.timeout.ms is {timeout * 1000:.0f}, and a transaction may last {needed * 1000:.0f} ms.",
            f"It is open for processing.commit_interval_seconds ({settings.processing.commit_interval_seconds:g} s), "
            f"and its deliveries may take {FLUSH_BUDGET_SECONDS:g} s: the broker would end it first.",
            "Lower processing.commit_interval_seconds or raise transaction.timeout.ms in [kafka.producer].",
        )


def _session(settings: Settings) -> Iterator[Problem]:
    kafka = settings.kafka
    if kafka.consumer_protocol:
        return
    session, heartbeat = kafka.milliseconds("session.timeout.ms"), kafka.milliseconds("heartbeat.interval.ms")
    if session <= heartbeat:
        yield Problem(
            f"session.timeout.ms is {session}, heartbeat.interval.ms is {heartbeat}.",
            "A member would be taken for dead between two of its heartbeats.",
            "Make the heartbeat's interval a third of the session's timeout or less.",
        )
    poll = kafka.milliseconds("max.poll.interval.ms")
    if poll < session:
        yield Problem(
            f"max.poll.interval.ms is {poll}, session.timeout.ms is {session}.",
            "The client refuses a poll interval below the session's timeout.",
            "Raise max.poll.interval.ms.",
        )
