"""The settings as frozen values: every name, default, limit and line of documentation, each in this one place.

The docstring below a field is its documentation: `processor config schema` prints it. A section is checked field by
field here; relations between settings are checked by `processor.config.relations` when they are loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from processor.codec.formats import READABLE, WRITABLE

if TYPE_CHECKING:
    from collections.abc import Collection

FLUSH_BUDGET_SECONDS: Final = 5.0
"""How long the deliveries of one commit may take. A transaction must outlive a commit interval and this."""

DEFAULT_PROPERTIES: Final = {
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    "transaction.timeout.ms": 10_000,
    "max.poll.interval.ms": 300_000,
}
"""The timeouts that bound how long a takeover waits, unless the user sets others (milliseconds)."""

# Kafka's own limit. A topic's name becomes part of a file's name on the broker.
TOPIC_PATTERN: Final = r"^[A-Za-z0-9._-]{1,249}$"

# No duration is longer than the range of event times (8.64e15 ms on either side of the epoch) by any use.
MAX_SECONDS: Final = 1e12


class Allowed(NamedTuple):
    """What a setting accepts, in words, where its type and limits alone do not say it."""

    text: str


class Address(NamedTuple):
    """Where to listen: a host name or IP address (without brackets) and a port, 0 for a free one."""

    host: str
    port: int


def parse_address(text: str) -> Address:
    """`host:port` or `[ipv6]:port` as its two parts.

    Raises:
        ValueError: the text has another form, or the port is invalid.
    """
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    wrong_host = not bare or (":" in bare) != bracketed or any(sign in "[]/" or sign.isspace() for sign in bare)
    if not separator or wrong_host or not (port.isascii() and port.isdigit()):
        raise ValueError("not host:port")
    if int(port) > 65535:
        raise ValueError("no such port")
    return Address(bare, int(port))


def _listen(text: str) -> str:
    parse_address(text)
    return text


def _servers(text: str) -> str:
    if not all(server.strip() for server in text.split(",")):
        raise ValueError("an empty server name")
    return text


def _path(path: Path) -> Path:
    # pathlib reads the empty text as the working directory, which nobody means by it.
    if path.name == "" and not path.is_absolute() and str(path) == ".":
        raise ValueError("an empty path")
    return path


def _one_of(formats: Collection[str]) -> tuple[object, ...]:
    def known(name: str) -> str:
        if name not in formats:
            raise ValueError("no such format")
        return name

    return (
        AfterValidator(known),
        Field(json_schema_extra={"enum": list(formats)}),
        Allowed(f"one of {', '.join(formats)}"),
    )


Directory = Annotated[
    Path, Field(strict=False), AfterValidator(_path), Allowed("the path of a directory, not the working directory")
]
Topic = Annotated[
    str,
    Field(pattern=TOPIC_PATTERN),
    Allowed("a topic's name: 1 to 249 letters, digits, '.', '_' and '-'"),
]
TopicOrNone = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9._-]{0,249}$"),
    Allowed("a topic's name (1 to 249 letters, digits, '.', '_' and '-'), or empty for <group_id>-changelog"),
]
InputFormat = Annotated[str, *_one_of(READABLE)]
OutputFormat = Annotated[str, *_one_of(WRITABLE)]
Servers = Annotated[
    str, AfterValidator(_servers), Allowed("host:port of one broker, or of several with commas between")
]
GroupId = Annotated[str, Field(min_length=1), Allowed("text that is not empty")]
Listen = Annotated[
    str, AfterValidator(_listen), Allowed("host:port with a port from 0 (any free one) to 65535, as in 127.0.0.1:9108")
]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
PositiveSeconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]
Property = str | bool | int | float
Properties = dict[str, Property]


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


class Section(BaseModel):
    """What all sections share: frozen, no unknown names, no conversions between types, documented by docstrings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class ModelSettings(Section):
    """The trained model that is served."""

    artifact: Directory = Field(default="artifacts/model", validate_default=True)
    """Directory that `processor convert` wrote."""


class KafkaSettings(Section):
    """The brokers, the consumer group, and any property of the Kafka clients."""

    bootstrap_servers: Servers = "localhost:9092"
    """Brokers to ask first, as host:port, with commas between."""
    group_id: GroupId = "processor"
    """Consumer group; the name of the changelog topic and the transactional ids begin with it."""
    group_instance_id: str = ""
    """Static membership when set: a restart gets its partitions back at once, a member that leaves for good holds them for a session timeout."""  # noqa: E501
    properties: Properties = Field(default_factory=dict)
    """Any librdkafka property for both clients (security, ...)."""
    consumer: Properties = Field(default_factory=dict)
    """Any librdkafka property for the consumer alone."""
    producer: Properties = Field(default_factory=dict)
    """Any librdkafka property for the producer alone."""

    @property
    def consumer_protocol(self) -> bool:
        """True under `group.protocol=consumer`, where the broker alone sets what the group's timeouts are."""
        return str({**self.properties, **self.consumer}.get("group.protocol", "classic")).lower() == "consumer"

    def milliseconds(self, name: str) -> int:
        """The number in force of one of DEFAULT_PROPERTIES.

        Raises:
            ValueError: the user's value is no whole number.
        """
        own = self.producer if name == "transaction.timeout.ms" else self.consumer
        return int(str({**DEFAULT_PROPERTIES, **self.properties, **own}[name]))


class InputSettings(Section):
    """The topic of sample events."""

    topic: Topic = "samples"
    """Topic that the events are read from; its cleanup policy must not be `compact`."""
    format: InputFormat = "json"
    """How an event is written: as JSON, or as packed numbers (schemas/README.md has the bytes)."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group that has no offsets yet begins."""


class OutputSettings(Section):
    """The topic of predictions."""

    topic: Topic = "probabilities"
    """Topic that the predictions are written to; it has as many partitions as the input topic."""
    format: OutputFormat = "json"
    """How a prediction is written: as JSON, or as packed numbers (schemas/README.md has the bytes)."""


class DeadLetterSettings(Section):
    """The topic of events that could not be used."""

    topic: Topic = "samples-dead-letter"
    """Topic that bad events are copied to, with the reason in their headers."""


class ProcessingSettings(Section):
    """Guarantee, commits and how long to wait for what."""

    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """What a crash may do to the output: nothing, or repeat some predictions with the same bytes."""
    commit_interval_seconds: PositiveSeconds = 0.1
    """Seconds between commits: the greatest part of a prediction's latency."""
    shutdown_seconds: Seconds = 25.0
    """Seconds from SIGTERM to the exit, in which all dirty records are written as far as the time goes."""
    unavailable_seconds: Seconds = 300.0
    """Seconds that a broker may be away before the process exits for a restart."""
    accept_gap: bool = False
    """Go on although the input no longer holds all that a replay needs; what is missing is counted."""


class StateSettings(Section):
    """Where the keys' states are kept, and how often they are written."""

    directory: Directory = Field(default="state", validate_default=True)
    """Directory of this process alone (locked); it also keeps the process' own id."""
    changelog_topic: TopicOrNone = ""
    """Compacted topic of the states' records; empty: <group_id>-changelog."""
    snapshot_interval_seconds: Seconds = 10.0
    """Seconds after which a changed state is written; 0: with every commit."""
    memory_mib: int = Field(default=1024, ge=8)
    """Memory for arena, index and RocksDB's caches of all partitions together, without the Kafka client's queues (MiB)."""  # noqa: E501


class SequenceSettings(Section):
    """When a key's state starts afresh, beyond what the artifact's mode sets, and which times are plausible."""

    gap_seconds: Seconds = 0.0
    """Start afresh after this much event time since the key's last event; 0: off."""
    idle_seconds: Seconds = 0.0
    """Forget keys that were unseen for longer than this, in event time; 0: off."""
    max_ahead_seconds: Seconds = 86_400.0
    """An event whose time is later than its record's timestamp by more than this is bad; 0: off."""
    max_behind_seconds: Seconds = 946_728_000.0
    """An event whose time is earlier than its record's timestamp by more than this is bad: 30 years, so that a time in seconds is found; 0: off."""  # noqa: E501
    allowed_lateness_seconds: Seconds = 0.0
    """Events older than the stream time by more than this go to the dead-letter topic; 0: any lateness is accepted."""

    @property
    def gap_ms(self) -> int:
        """`gap_seconds` in milliseconds; 0: off."""
        return _milliseconds(self.gap_seconds)

    @property
    def idle_ms(self) -> int:
        """`idle_seconds` in milliseconds; 0: off."""
        return _milliseconds(self.idle_seconds)

    @property
    def max_ahead_ms(self) -> int:
        """`max_ahead_seconds` in milliseconds; 0: off."""
        return _milliseconds(self.max_ahead_seconds)

    @property
    def max_behind_ms(self) -> int:
        """`max_behind_seconds` in milliseconds; 0: off."""
        return _milliseconds(self.max_behind_seconds)

    @property
    def allowed_lateness_ms(self) -> int:
        """`allowed_lateness_seconds` in milliseconds; 0: off."""
        return _milliseconds(self.allowed_lateness_seconds)


class HttpSettings(Section):
    """The operator's window: /metrics /healthz /readyz /status."""

    listen: Listen = "127.0.0.1:9108"
    """Address to listen on, as host:port; port 0: a free one, which is logged."""

    @property
    def address(self) -> Address:
        """`listen` as host and port."""
        return parse_address(self.listen)


class LogSettings(Section):
    """What is logged, and how it looks."""

    format: Literal["auto", "console", "json"] = "auto"
    """`console` for people, `json` for one JSON object a line; `auto`: console on a terminal, else JSON."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important level that is logged."""


class Settings(Section):
    """Settings of the sequence processor."""

    model: ModelSettings = Field(default_factory=ModelSettings)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    input: InputSettings = Field(default_factory=InputSettings)
    output: OutputSettings = Field(default_factory=OutputSettings)
    dead_letter: DeadLetterSettings = Field(default_factory=DeadLetterSettings)
    processing: ProcessingSettings = Field(default_factory=ProcessingSettings)
    state: StateSettings = Field(default_factory=StateSettings)
    sequence: SequenceSettings = Field(default_factory=SequenceSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @property
    def changelog_topic(self) -> str:
        """The changelog topic in force: the given one, or `<group_id>-changelog`."""
        return self.state.changelog_topic or f"{self.kafka.group_id}-changelog"

    @property
    def exactly_once(self) -> bool:
        """True when outputs, changelog records and offsets share a transaction."""
        return self.processing.guarantee == "exactly_once"

    @property
    def transaction_timeout_seconds(self) -> float:
        """After this long the broker ends an open transaction."""
        return self.kafka.milliseconds("transaction.timeout.ms") / 1000

    @property
    def session_timeout_seconds(self) -> float:
        """After this long without a heartbeat a member's partitions go to others (classic protocol)."""
        return self.kafka.milliseconds("session.timeout.ms") / 1000
