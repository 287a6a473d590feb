"""Questions to the brokers about topics, offsets and groups; and the making of topics.

Every question is asked again, while a repetition can mend its failure, within a budget; then it raises Unavailable with
the client's own last words about the connection. What a human must mend (credentials, ACLs) is a ConfigError at once.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from processor.config import admin_properties
from processor.errors import ConfigError, ProcessorError, Unavailable
from processor.kafka.client import (
    AdminClient,
    ConfigResource,
    IsolationLevel,
    KafkaError,
    KafkaException,
    NewTopic,
    OffsetSpec,
    ResourceType,
    TopicCollection,
    TopicPartition,
)
from processor.kafka.properties import refusal
from processor.kafka.retry import MENDED_BY_TIME
from processor.log import kafka_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from processor.config import Settings

T = TypeVar("T")

_FIRST_ATTEMPT_SECONDS: Final = 1.0  # short: only between attempts is it heard why a connection failed
_LONGEST_ATTEMPT_SECONDS: Final = 8.0
_PAUSE_SECONDS: Final = 0.1
_NOT_ALLOWED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What there is of a topic, and the settings of it that matter here. -1 stands for "without limit"."""

    name: str
    topic_id: str  # as Kafka prints it; a recreated topic of the same name has another one
    partitions: int
    replicas: int
    cleanup_policy: frozenset[str]  # of "compact", "delete"
    max_message_bytes: int
    retention_ms: int
    retention_bytes: int  # of one partition
    delete_retention_ms: int
    min_insync_replicas: int
    operations: frozenset[str]  # names of what this client may do with the topic ("READ", "WRITE", ...)


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """Which topic of its name it is, and its number of partitions."""

    topic_id: str
    partitions: int


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that is to be made. `config` goes over the broker's defaults."""

    name: str
    partitions: int
    config: Mapping[str, str]


class Admin:
    """An admin client that asks again. Used by one thread; a context manager."""

    def __init__(
        self, settings: Settings, budget_seconds: float | None = None, heed: Callable[[], None] = lambda: None
    ) -> None:
        """Connects to nobody yet.

        budget_seconds: how long a question may take in all; default `processing.unavailable_seconds`. heed: is called
            between two attempts, and raises where going on is of no use.

        Raises:
            ConfigError: librdkafka does not take the properties.
        """
        self._servers = settings.kafka.bootstrap_servers
        self._budget = settings.processing.unavailable_seconds if budget_seconds is None else budget_seconds
        self._heed = heed
        self._said: KafkaError | None = None
        try:
            self._client = AdminClient({**admin_properties(settings), "error_cb": self._hear}, logger=kafka_logger())
        except (KafkaException, ValueError, TypeError) as error:
            generic = ConfigError("The Kafka client refuses its properties.", str(error), "See [kafka.properties].")
            raise refusal(settings) or generic from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.poll(0)

    def describe_topics(self, names: Iterable[str]) -> dict[str, TopicFacts | None]:
        """Facts of each topic, None for one that is not there.

        Raises:
            Unavailable: no broker answered within the budget. ConfigError: this client may not ask.
        """
        return {name: self.describe_topic(name) for name in names}

    def describe_topic(self, name: str) -> TopicFacts | None:
        """As `describe_topics`, of one."""
        try:
            return self._ask(f"describe the topic {name}", lambda seconds: self._describe(name, seconds))
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise

    def topic_identities(self, names: Sequence[str], seconds: float) -> dict[str, TopicIdentity | None]:
        """Which topics there are, None for one that is not there. Asks once, and takes `seconds` at the most.

        Raises:
            KafkaException: no broker answered, or this client may not ask.
        """
        found: dict[str, TopicIdentity | None] = {}
        answers = self._client.describe_topics(TopicCollection(list(names)), request_timeout=seconds)
        for name, answer in answers.items():
            try:
                topic = answer.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                found[name] = None
            else:
                found[name] = TopicIdentity(str(topic.topic_id), len(topic.partitions))
        return found

    def _describe(self, name: str, seconds: float) -> TopicFacts:
        timeout: dict[str, Any] = {"request_timeout": seconds}
        asked = self._client.describe_topics(TopicCollection([name]), include_authorized_operations=True, **timeout)
        resource = ConfigResource(ResourceType.TOPIC, name)
        configs = self._client.describe_configs([resource], **timeout)
        topic = asked[name].result()
        config = {key: entry.value for key, entry in configs[resource].result().items()}
        return TopicFacts(
            name=name,
            topic_id=str(topic.topic_id),
            partitions=len(topic.partitions),
            replicas=min((len(partition.replicas) for partition in topic.partitions), default=0),
            cleanup_policy=frozenset(part.strip() for part in config["cleanup.policy"].split(",")),
            max_message_bytes=int(config["max.message.bytes"]),
            retention_ms=int(config["retention.ms"]),
            retention_bytes=int(config["retention.bytes"]),
            delete_retention_ms=int(config["delete.retention.ms"]),
            min_insync_replicas=int(config["min.insync.replicas"]),
            operations=frozenset(operation.name for operation in topic.authorized_operations or ()),
        )

    def high_watermarks(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Partition -> the offset behind its last record, open transactions' records included.

        Raises:
            Unavailable: as for `describe_topics`. ConfigError: the topic or the partition is not there.
        """
        return self._offsets(topic, partitions, OffsetSpec.latest())

    def low_watermarks(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Partition -> the offset of the first record that there still may be. Raises as `high_watermarks`."""
        return self._offsets(topic, partitions, OffsetSpec.earliest())

    def _offsets(self, topic: str, partitions: Iterable[int], spec: OffsetSpec) -> dict[int, int]:
        wanted = {TopicPartition(topic, partition): spec for partition in partitions}
        if not wanted:
            return {}

        def ask(seconds: float) -> dict[int, int]:
            # The other level would give the last stable offset, below which an open transaction's records are missing.
            answers = self._client.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=seconds
            )
            return answered({asked.partition: answer.result().offset for asked, answer in answers.items()})

        try:
            return self._ask(f"ask for the offsets of {topic}", ask)
        except KafkaException as error:
            said = error.args[0].str()
            raise ConfigError(
                f"The offsets of the topic {topic} cannot be had.", said, "Is the topic there?"
            ) from error

    def create_topics(self, specs: Iterable[TopicSpec]) -> None:
        """Makes the topics that are not there, with the broker's default replication, and waits for their leaders.

        Raises:
            ConfigError: the broker refuses one. Unavailable: as for `describe_topics`.
        """
        for spec in specs:
            self._create_topic(spec)

    def _create_topic(self, spec: TopicSpec) -> None:
        topic = NewTopic(spec.name, spec.partitions, replication_factor=-1, config=dict(spec.config))
        try:
            self._ask(f"create the topic {spec.name}", lambda seconds: self._create(topic, seconds))
            self._ask(f"find the leaders of {spec.name}", lambda seconds: self._led(spec, seconds))
        except KafkaException as error:
            hint = (
                "A broker's policy may ask for other settings. Create the topic by hand: see `processor topics plan`."
            )
            raise ConfigError(f"The topic {spec.name} was not created.", error.args[0].str(), hint) from error

    def _create(self, topic: NewTopic, seconds: float) -> None:
        try:
            self._client.create_topics([topic], request_timeout=seconds, operation_timeout=seconds)[
                topic.topic
            ].result()
        except KafkaException as error:
            # Made by another process, or by an attempt of ours whose answer was lost.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _led(self, spec: TopicSpec, seconds: float) -> None:
        # Asked by name: the client's own memory of a topic that was missing a moment ago lives for half a minute.
        found = self._client.list_topics(spec.name, timeout=seconds).topics[spec.name].partitions
        if len(found) != spec.partitions or any(partition.leader < 0 for partition in found.values()):
            raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))

    def group_members(self, group_id: str) -> list[str]:
        """`client id (host)` of each member of a group; none where there is no such group.

        Raises:
            Unavailable, ConfigError: as for `describe_topics`.
        """

        def ask(seconds: float) -> list[str]:
            try:
                group = self._client.describe_consumer_groups([group_id], request_timeout=seconds)[group_id].result()
            except KafkaException as error:
                if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                    return []
                raise
            return sorted(f"{member.client_id} ({member.host})" for member in group.members)

        return self._ask(f"describe the group {group_id}", ask)

    def _hear(self, error: KafkaError) -> None:
        # The first words of a failed connection say why; what follows is only that all brokers are down.
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self._said is None:
            self._said = error

    def _ask(self, what: str, call: Callable[[float], T]) -> T:
        """The answer. A KafkaException that time does not mend goes to the caller, who knows what it means."""
        deadline = time.monotonic() + self._budget
        self._said = None
        attempt = _FIRST_ATTEMPT_SECONDS
        while True:
            self._heed()
            left = deadline - time.monotonic()
            try:
                return call(min(attempt, max(left, _PAUSE_SECONDS)))
            except KafkaException as error:
                self._client.poll(0)  # brings the client's messages about the connection
                refusal = self._refusal(what, error.args[0])
                if isinstance(refusal, ConfigError):
                    raise refusal from error
                if refusal is None:
                    raise
                if time.monotonic() + _PAUSE_SECONDS >= deadline:
                    raise refusal from error
                self._look_again(min(attempt, max(deadline - time.monotonic(), _PAUSE_SECONDS)))
                time.sleep(_PAUSE_SECONDS)
                attempt = min(2 * attempt, _LONGEST_ATTEMPT_SECONDS)

    def _look_again(self, seconds: float) -> None:
        """Makes the client forget what it knew of the topics.

        After a broker's death it goes on asking with the leaders and their epochs that it remembers, for many minutes,
        although the answer is that they are old.
        """
        with contextlib.suppress(KafkaException):
            self._client.list_topics(timeout=seconds)

    def _refusal(self, what: str, error: KafkaError) -> ProcessorError | None:
        """The error for the operator; None where the fault lies in the question itself."""
        said = self._said or error
        if error.code() in _NOT_ALLOWED or said.code() in _NOT_ALLOWED:
            return ConfigError(
                f"The brokers at {self._servers} do not let this client {what}.",
                (error if error.code() in _NOT_ALLOWED else said).str(),
                "Check the credentials in [kafka.properties] and the ACLs of their user.",
            )
        if error.code() in MENDED_BY_TIME:
            return Unavailable(
                f"The brokers at {self._servers} could not be asked to {what} within {self._budget:.0f} s.",
                said.str(),
                "Is kafka.bootstrap_servers right, and is the broker up?",
            )
        return None


def answered(offsets: dict[int, int]) -> dict[int, int]:
    """Partition -> offset, of an admin client's `list_offsets`.

    Where the connection to a partition's leader broke, or its time was over, the client gives no error: the partition
    has an offset that is not one. Raises KafkaException then, with an error that a repetition may mend.
    """
    if any(offset < 0 for offset in offsets.values()):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))
    return offsets
