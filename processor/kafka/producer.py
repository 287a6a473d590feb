"""Producers: the transactional one of `exactly_once`, and the idempotent one of `at_least_once`.

A producer is disposable. Whatever fails, a new one is made, and its `init_transactions` ends what the old one left
behind. The client can abort and go on, and does so where only the group has moved on. But after a
broker's death it has been seen to hang in the transaction after such an abort, and to wait for its coordinator for
minutes while a new client got its reply at once.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from processor.errors import OwnershipLost, Unavailable
from processor.kafka.client import KafkaError, KafkaException, Producer
from processor.kafka.retry import CommitFailed, GenerationChanged, repeat
from processor.log import kafka_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from processor.kafka.client import Message, TopicPartition

T = TypeVar("T")

_MOST_QUEUED: Final = 1_000_000
"""Below the client's own limit: a full queue would refuse one message and take the next, out of order."""

_MOST_FENCED: Final = 5
_CALL_SECONDS: Final = 5.0  # of one try; the client goes on with the same call when it is made again
_HEED_SECONDS: Final = 0.5


@contextmanager
def _unmasked() -> Iterator[None]:
    """Raises the client's fatal error as itself.

    The client sets it in the middle of serving call-backs and serves on: the next call-back fails on an exception that
    it has not raised, and what arrives here is a SystemError with the fatal error for its cause, or with none.
    """
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KafkaException):
            raise error.__cause__ from None
        raise KafkaException(KafkaError(KafkaError._FATAL, str(error))) from error


class _Queue:
    """What both kinds of producer share: messages go in, batch-wise and in order."""

    def __init__(
        self, properties: Mapping[str, Any], budget_seconds: float, heed: Callable[[], None] = lambda: None
    ) -> None:
        """heed: is called again and again while something is waited for, and raises where that is of no use."""
        self._properties = dict(properties)
        self._budget, self._heed = budget_seconds, heed
        self._producer = Producer(self._properties, logger=kafka_logger())

    def _make_room(self, messages: int) -> None:
        deadline = time.monotonic() + self._budget
        while len(self._producer) + messages > _MOST_QUEUED and len(self._producer):
            with _unmasked():
                self._producer.poll(0.05)
            self._heed()
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

    def flush(self) -> None:
        """Waits until everything is delivered or has failed.

        Raises:
            Unavailable: that took longer than the budget.
            KafkaException: the client has failed for good.
        """
        deadline = time.monotonic() + self._budget
        while True:
            with _unmasked():
                waiting = self._producer.flush(min(_HEED_SECONDS, self._budget))
            if not waiting or time.monotonic() > deadline:
                break
            self._heed()
        if waiting:
            raise Unavailable(
                f"Messages were not delivered within {self._budget:.0f} s.",
                "The brokers are down, or not to be reached from here.",
                "Nothing is lost: start again once they are back.",
            )


class TransactionalProducer(_Queue):
    """Everything sent between two commits is one transaction, begun with its first message.

    Every method but `drop` raises CommitFailed when the transaction cannot go on.
    """

    def __init__(
        self, properties: Mapping[str, Any], budget_seconds: float, heed: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(properties, budget_seconds, heed)
        self.is_open = False
        self._sent: list[Callable[[], None]] = []  # in the open transaction, to be sent again where it has to be
        self._has_failed = self._is_fenced = False  # since it was made
        # A transaction that has no end by then was ended by the broker: only a new producer can tell how.
        self._timeout = int(properties.get("transaction.timeout.ms", 60_000)) / 1000
        self._fenced_at: deque[float] = deque(maxlen=_MOST_FENCED)
        self._called_at: float | None = None
        self._init()

    def call_age(self) -> float:
        """Seconds since a call of the client began that has not returned; 0 outside of one. For another thread."""
        began = self._called_at
        return 0.0 if began is None else time.monotonic() - began

    def _call(self, call: Callable[[], T], budget_seconds: float) -> T:
        def one() -> T:
            self._heed()
            self._called_at = time.monotonic()
            try:
                return call()
            finally:
                self._called_at = None

        return repeat(one, budget_seconds)

    def _init(self) -> None:
        """Ends a former life's transaction, and fences it.

        Raises:
            Unavailable: no coordinator within the budget.
        """
        try:
            self._call(lambda: self._producer.init_transactions(_CALL_SECONDS), self._budget)
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
            self._has_failed = True
            self._is_fenced = error.args[0].code() == KafkaError._FENCED
            raise CommitFailed(error.args[0].str(), error.args[0].code()) from None

    def _guard(self, call: Callable[[], T]) -> T:
        with self._failing():
            return self._call(call, self._timeout)

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

    @property
    def sent(self) -> int:
        """How many sends the open transaction holds."""
        return len(self._sent)

    def send_again(self, first: int) -> None:
        """Aborts the open transaction, and sends the `first` of its sends again, in another one."""
        again, self._sent = self._sent[:first], []
        self._guard(lambda: self._producer.abort_transaction(_CALL_SECONDS))
        self.is_open = self._has_failed = False
        for send in again:
            self._remember(send)

    def send_offsets(self, offsets: list[TopicPartition], group_metadata: Any) -> None:
        """Puts consumed offsets into the transaction. The broker refuses those of a former generation.

        Raises:
            GenerationChanged: it did. The transaction can only be aborted, and what it held be sent again.
        """
        self.begin()
        try:
            self._guard(lambda: self._producer.send_offsets_to_transaction(offsets, group_metadata, _CALL_SECONDS))
        except CommitFailed as error:
            if error.code == KafkaError.ILLEGAL_GENERATION:
                raise GenerationChanged(str(error)) from None
            raise

    def failed(self, reason: str) -> CommitFailed:
        """What to raise where a delivery failed: the producer is not to be trusted any more."""
        self._has_failed = True
        return CommitFailed(reason)

    def flush(self) -> None:
        """Waits until everything is delivered or has failed. Raises Unavailable as well."""
        with self._failing():  # a fatal error comes out of whatever call is next
            super().flush()

    def commit(self) -> None:
        """Commits. When this raises, the outcome may be either."""
        self._guard(lambda: self._producer.commit_transaction(_CALL_SECONDS))
        self.is_open = False
        self._sent = []

    def abandon(self) -> None:
        """Aborts the open transaction where that is easy: it would hold back readers. The process ends behind it."""
        if self.is_open and not self._has_failed:
            with suppress(KafkaException, SystemError):
                self._producer.abort_transaction(_CALL_SECONDS)

    def drop(self) -> None:
        """Gives up the open transaction, and the producer with it; does nothing where none is open and none failed.

        Raises:
            OwnershipLost: it was fenced again and again, as it happens where two processes fence each other in turn.
            Unavailable: no coordinator within the budget.
        """
        self._sent = []
        if not self.is_open and not self._has_failed:
            return
        if self._is_fenced:
            self._see_duel(time.monotonic())
        self._producer.purge()
        self._producer = Producer(self._properties, logger=kafka_logger())
        self.is_open = self._has_failed = self._is_fenced = False
        self._init()

    def _see_duel(self, now: float) -> None:
        """A transaction that timed out looks like one of a twin's making; but it takes its time.

        Commits in between say nothing: twins let each other through now and then.
        """
        if len(self._fenced_at) == _MOST_FENCED and now - self._fenced_at[0] < (_MOST_FENCED - 1) * self._timeout:
            raise OwnershipLost(
                f"The producer was fenced {_MOST_FENCED + 1} times within {now - self._fenced_at[0]:.0f} s.",
                f"Another process seems to use the same transactional id ({self._properties['transactional.id']}).",
                "Give each process a state.directory of its own; do not copy one that is in use.",
            )
        self._fenced_at.append(now)


class IdempotentProducer(_Queue):
    """Messages of `at_least_once`: no transaction. An error of a delivery is raised by `flush`."""

    def __init__(
        self, properties: Mapping[str, Any], budget_seconds: float, heed: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__({**properties, "on_delivery": self._delivered}, budget_seconds, heed)
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
