"""The Kafka clients' configurations: ours by default, the user's over them, and those that nobody may change.

In rising precedence: our defaults, `[kafka.properties]`, then `[kafka.consumer]` or `[kafka.producer]`. The properties
in REFUSED carry the promise of the whole program: a user's value for one of them is an error, not a choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from processor.config.settings import DEFAULT_PROPERTIES, Property, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

ClientProperties = dict[str, Property]

_SETTING = "It has a setting of its own: {}."
_COMMITS = "Offsets are committed together with what they produced, by the processor alone."
_COMMITTED = "Reading what was not committed would answer events that never happened."
_IDEMPOTENT = "Without the idempotent producer a retried message could appear twice or out of order."
_RESET = "A silent jump of the input's place under live states would skip or repeat events; `input.start` sets where a new group begins."  # noqa: E501

REFUSED: Final[Mapping[str, str]] = {
    "bootstrap.servers": _SETTING.format("kafka.bootstrap_servers"),
    "metadata.broker.list": _SETTING.format("kafka.bootstrap_servers"),
    "group.id": _SETTING.format("kafka.group_id"),
    "group.instance.id": _SETTING.format("kafka.group_instance_id"),
    "transactional.id": "It is made of the group's id and the instance's, or is the id in the state directory.",
    "enable.auto.commit": _COMMITS,
    "auto.commit.enable": _COMMITS,
    "enable.auto.offset.store": _COMMITS,
    "isolation.level": _COMMITTED,
    "auto.offset.reset": _RESET,
    "enable.partition.eof": "These events mark the end of the changelog.",
    "enable.idempotence": _IDEMPOTENT,
    "acks": _IDEMPOTENT,
    "request.required.acks": _IDEMPOTENT,
    "delivery.report.only.error": "The delivery report of a checkpoint record carries its offset in the changelog.",
    "partition.assignment.strategy": "Partitions come and go one by one (cooperative-sticky), and the others go on.",
}
"""Property -> why no user may set it."""

REFUSED_UNDER_CONSUMER_PROTOCOL: Final = ("session.timeout.ms", "heartbeat.interval.ms")
"""What the broker alone decides under `group.protocol=consumer`; the client refuses them there."""


def _lingering_ms(settings: Settings) -> int:
    """A part of the commit interval: what lingers is flushed by every commit anyway."""
    return max(1, min(20, round(settings.processing.commit_interval_seconds * 1000 / 20)))


def _common(settings: Settings) -> ClientProperties:
    return {
        "bootstrap.servers": settings.kafka.bootstrap_servers,
        "client.id": settings.kafka.group_instance_id or settings.kafka.group_id,
    }


def _membership(settings: Settings) -> ClientProperties:
    static = {"group.instance.id": settings.kafka.group_instance_id} if settings.kafka.group_instance_id else {}
    if settings.kafka.consumer_protocol:
        return {**static}
    return {
        **static,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": DEFAULT_PROPERTIES["session.timeout.ms"],
        "heartbeat.interval.ms": DEFAULT_PROPERTIES["heartbeat.interval.ms"],
    }


def _reading(settings: Settings) -> ClientProperties:
    return {
        **_common(settings),
        "group.id": settings.kafka.group_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        # Large fetches and long local queues are what lets one consumer keep up with a whole broker; the short back-off
        # is there because the default of a second stalls the input each time the local queue was full.
        "queued.min.messages": 200_000,
        "queued.max.messages.kbytes": 65_536,
        "fetch.message.max.bytes": 4 * 2**20,
        "fetch.queue.backoff.ms": 10,
        # A partition that is added waits for the fetch that is under way, and that one waits for this long where the
        # others have nothing new.
        "fetch.wait.max.ms": 100,
    }


def _over(ours: ClientProperties, *users: Mapping[str, Property]) -> ClientProperties:
    merged = dict(ours)
    for properties in users:
        merged.update(properties)
    # librdkafka's own spelling of booleans; Python's `True` is not one of its words.
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in merged.items()}


def consumer_properties(settings: Settings) -> ClientProperties:
    """The input consumer's configuration: a member of the group that commits nothing by itself.

    Raises nothing; load_settings has refused every property that would break what the processor promises.
    """
    kafka = settings.kafka
    return _over({**_reading(settings), **_membership(settings)}, kafka.properties, kafka.consumer)


def reader_properties(settings: Settings) -> ClientProperties:
    """Configuration of a consumer that is assigned by hand (the changelog's) and never joins the group."""
    kafka = settings.kafka
    # A restore is over when it has seen the end of each partition: it asks often, and not for long.
    merged = _over({**_reading(settings), "fetch.wait.max.ms": 10}, kafka.properties, kafka.consumer)
    for name in (*REFUSED_UNDER_CONSUMER_PROTOCOL, "group.protocol"):
        merged.pop(name, None)
    return merged


def producer_properties(settings: Settings, transactional_id: str) -> ClientProperties:
    """The producer's configuration: idempotent, and transactional under `exactly_once`.

    transactional_id: stable over the restarts of this process; not used under `at_least_once`.
    """
    ours: ClientProperties = {
        **_common(settings),
        "enable.idempotence": True,
        "linger.ms": _lingering_ms(settings),
        "batch.size": 2**20,
        # A transaction larger than the default of 100,000 messages would meet a full queue again and again.
        "queue.buffering.max.messages": 2_000_000,
        # The queue is bounded by the commits, and a record by its topic: the client's own limits would come first.
        "queue.buffering.max.kbytes": 2_147_483_647,
        "message.max.bytes": 100_000_000,
        "compression.type": "none",
    }
    if settings.exactly_once:
        ours["transactional.id"] = transactional_id
        ours["transaction.timeout.ms"] = DEFAULT_PROPERTIES["transaction.timeout.ms"]
    return _over(ours, settings.kafka.properties, settings.kafka.producer)


def admin_properties(settings: Settings) -> ClientProperties:
    """The admin client's configuration: the brokers, and what is set for both clients (security, ...)."""
    return _over(_common(settings), settings.kafka.properties)
