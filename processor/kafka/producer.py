"""Producers: the transactional one of `exactly_once`, and the idempotent one of `at_least_once`.

A producer is disposable. After an abort the same one goes on; after a fatal error (fenced, or a transaction that the
broker timed out, which look alike) a new one is made, and its `init_transactions` ends what the old one left behind.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from processor.errors import OwnershipLost, Unavailable
from processor.kafka.client import KafkaError, KafkaException, Producer
from processor.kafka.retry import CommitFailed, GenerationChanged, is_retriable, repeat
from processor.log import kafka_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from processor.kafka.client import Message, TopicPartition

T = TypeVar("T")

_MOST_QUEUED: Final = 1_000_000
"""Below the client's own limit: a full queue would refuse one message and take the next, out of order."""

_MOST_REPLACED: Final = 5


@contextmanager
def _unmasked() -> Iterator[None]:
    """Raises the client's fatal error as itself.

    The client sets it in the middle of serving call-backs and serves on: the next call-back fails on an exception that
    it has not raised, and what arrives here is a SystemError with the fatal error for its cause.
    """
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KafkaException):
            raise error.__cause__ from None
        raise


class _Queue:
    """What both kinds of producer share: messages go in, batch-wise and in order."""

    def __init__(self, properties: Mapping[str, Any], budget_seconds: float) -> None:
        self._properties = dict(properties)
        self._budget = budget_seconds
        self._producer = Producer(self._properties, logger=kafka_logger())

    def _make_room(self, messages: int) -> None:
        deadline = time.monotonic() + self._budget
        while len(self._producer) + messages > _MOST_QUEUED and len(self._producer):
            with _unmasked():
                self._producer.poll(0.05)
            if time.monotonic() > deadline:
                raise Unavailable(
                    "The producer's queue did not drain.",
                    f"{len(self._producer)} messages wait for a broker since {self._budget:.0f} s.",
                    "Nothing is lost: start again once the brokers are back.",
                )

    def _send(self, topic: str, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        self._make_room(len(keys))
        messages = [{"key": key, "value": value} for key, value in zip(keys, values, strict=True)]
        if self._producer.produce_batch(topic, messages, partition=partition) != len(messages):
            raise KafkaException(next(message["_error"] for message in messages if "_error" in message))

    def _send_one(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    ) -> None:
        self._make_room(1)
        extra = {} if headers is None else {"headers": headers}
        if on_delivery is not None:
            extra["on_delivery"] = on_delivery  # type: ignore[assignment]
        self._producer.produce(topic, value=value, key=key, partition=partition, **extra)

    def poll(self) -> None:
        """Serves callbacks that are waiting."""
        with _unmasked():
            self._producer.poll(0)

    def flush(self) -> None:
        """Waits until everything is delivered or has failed.

        Raises:
            Unavailable: that took longer than the budget.
            KafkaException: the client has failed for good.
        """
        with _unmasked():
            waiting = self._producer.flush(self._budget)
        if waiting:
            raise Unavailable(
                f"Messages were not delivered within {self._budget:.0f} s.",
                "The brokers are down, or not to be reached from here.",
                "Nothing is lost: start again once they are back.",
            )


class TransactionalProducer(_Queue):
    """Everything sent between two commits is one transaction, begun with its first message.

    Every method but `replace` and `abort` raises CommitFailed when the transaction cannot go on.
    """

    def __init__(self, properties: Mapping[str, Any], budget_seconds: float) -> None:
        super().__init__(properties, budget_seconds)
        self.is_open = False
        self._sent: list[Callable[[], None]] = []  # in the open transaction, to be sent again where it has to be
        self._has_failed = False  # since it was made, or since the last abort
        self._replaced = 0  # times in a row, without a commit between
        self._init()

    def _init(self) -> None:
        """Ends a former life's transaction, and fences it.

        Raises:
            Unavailable: no coordinator within the budget.
        """
        try:
            repeat(lambda: self._producer.init_transactions(10), self._budget)
        except KafkaException as error:
            raise Unavailable(
                "The producer could not start its transactions.",
                error.args[0].str(),
                "See that the brokers are up and that transactional.id may be used (ACL on TransactionalId).",
            ) from None

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What the client refuses in here ends the transaction. A send is never repeated: half of it may be queued."""
        try:
            with _unmasked():
                yield
        except KafkaException as error:
            if is_retriable(error):
                raise Unavailable(
                    f"A transaction could not be ended within {self._budget:.0f} s.",
                    error.args[0].str(),
                    "Nothing is lost: start again once the brokers are back.",
                ) from None
            self._has_failed = True
            raise CommitFailed(error.args[0].str(), error.args[0].code()) from None

    def _guard(self, call: Callable[[], T]) -> T:
        with self._failing():
            return repeat(call, self._budget)

    def begin(self) -> None:
        """Begins a transaction if none is open."""
        if not self.is_open:
            self._guard(self._producer.begin_transaction)
            self.is_open = True

    def send(self, topic: str, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Sends messages to one partition, in order."""
        self._remember(lambda: self._send(topic, partition, keys, values))

    def send_one(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    ) -> None:
        """Sends one message, with headers or with a call-back for its delivery."""
        self._remember(lambda: self._send_one(topic, partition, key, value, headers, on_delivery))

    def _remember(self, send: Callable[[], None]) -> None:
        self.begin()
        with self._failing():
            send()
        self._sent.append(send)

    def flush(self) -> None:
        """Waits until everything is delivered or has failed."""
        with self._failing():
            super().flush()

    @property
    def sent(self) -> int:
        """How many sends the open transaction holds."""
        return len(self._sent)

    def send_again(self, first: int) -> None:
        """Aborts the open transaction, and sends the `first` of its sends anew, into another one."""
        again = self._sent[:first]
        self.abort()
        for send in again:
            self._remember(send)

    def send_offsets(self, offsets: list[TopicPartition], group_metadata: Any) -> None:
        """Puts consumed offsets into the transaction. The broker refuses those of a former generation.

        Raises:
            GenerationChanged: it did. The transaction can only be aborted, and what it held be sent again.
        """
        self.begin()
        try:
            with self._failing():
                repeat(lambda: self._producer.send_offsets_to_transaction(offsets, group_metadata, 10), self._budget)
        except CommitFailed as error:
            if error.code == KafkaError.ILLEGAL_GENERATION:
                raise GenerationChanged(str(error)) from None
            raise

    def commit(self) -> None:
        """Commits. When this raises, the outcome may be either."""
        self._guard(lambda: self._producer.commit_transaction(10))
        self.is_open = False
        self._sent = []
        self._replaced = 0

    def abort(self) -> None:
        """Aborts the open transaction, if there is one; replaces the producer where it cannot even do that.

        A producer that could not begin one has failed for good, too: kept, it would fail every commit from here on.
        """
        self._sent = []
        if not self.is_open and not self._has_failed:
            return
        try:
            with _unmasked():
                repeat(lambda: self._producer.abort_transaction(10), self._budget)
        except KafkaException:
            self.replace()
        self.is_open = self._has_failed = False

    def replace(self) -> None:
        """A new producer in the place of a failed one.

        Raises:
            OwnershipLost: this happens again and again, as it does where two processes fence each other in turn.
        """
        self._replaced += 1
        if self._replaced > _MOST_REPLACED:
            raise OwnershipLost(
                f"The producer was fenced {_MOST_REPLACED} times in a row.",
                f"Another process seems to use the same transactional id ({self._properties['transactional.id']}).",
                "Give each process a state.directory of its own; do not copy one that is in use.",
            )
        self._producer.purge()
        self._producer = Producer(self._properties, logger=kafka_logger())
        self.is_open = self._has_failed = False
        self._init()


class IdempotentProducer(_Queue):
    """Messages of `at_least_once`: no transaction. An error of a delivery is raised by `flush`."""

    def __init__(self, properties: Mapping[str, Any], budget_seconds: float) -> None:
        super().__init__({**properties, "on_delivery": self._delivered}, budget_seconds)
        self._failed: str | None = None

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None and self._failed is None:
            self._failed = error.str()

    def send(self, topic: str, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Sends messages to one partition, in order."""
        self._send(topic, partition, keys, values)

    def send_one(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
        on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
    ) -> None:
        """Sends one message, with headers or with a call-back for its delivery."""
        self._send_one(topic, partition, key, value, headers, on_delivery)

    def flush(self) -> None:
        """Waits until everything is delivered.

        Raises:
            Unavailable: something was not.
        """
        try:
            super().flush()
        except KafkaException as error:
            self._failed = error.args[0].str()
        if self._failed is not None:
            raise Unavailable("A message was not delivered.", self._failed, "Nothing is lost: start again.")
