"""Both kinds of producer as the processor's own code calls them, upon the abstract Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from processor.kafka.client import KafkaError
from protocol.abstract.client import Message, failure
from protocol.abstract.group import Refused
from protocol.abstract.kafka import Fenced

if TYPE_CHECKING:
    from protocol.abstract.log import Log
    from protocol.process import Process


class Producer:
    """What was produced reaches the broker at any time, in order, and by `flush` at the latest."""

    def __init__(self, process: Process, properties: dict[str, Any]) -> None:
        self._process, self._world = process, process.world
        self._name: str | None = properties.get("transactional.id")
        self._on_delivery: Any = properties.get("on_delivery")
        self._epoch = 0
        self._queue: list[tuple[Log, Any, Any, Any, Any]] = []
        self._is_fatal = self._is_abortable = False

    def __len__(self) -> int:
        return len(self._queue)

    def poll(self, timeout: float) -> None:
        pass

    def purge(self) -> None:
        self._queue = []

    # Messages --------------------------------------------------------------------------------------------------

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], partition: int) -> int:
        self._refuse()
        log = self._world.kafka.log(topic, partition)
        self._queue += [(log, message["key"], message["value"], None, None) for message in messages]
        self._deliver_some()
        return len(messages)

    def produce(
        self, topic: str, value: Any, key: Any, partition: int, headers: Any = None, on_delivery: Any = None
    ) -> None:
        self._refuse()
        self._queue.append((self._world.kafka.log(topic, partition), key, value, headers, on_delivery))
        self._deliver_some()

    def _deliver_some(self) -> None:
        if self._world.random.random() < 0.3:
            self._deliver(self._world.random.randrange(len(self._queue) + 1))
        self._process.at("produce")

    def _deliver(self, count: int) -> None:
        queue, self._queue = self._queue[:count], self._queue[count:]
        for log, key, value, headers, on_delivery in queue:
            error, offset = None, -1001
            if self._is_fatal or self._is_abortable:
                error = KafkaError(KafkaError._PURGE_QUEUE)
            elif self._name is None:
                offset = log.append(key, value, headers)
            else:
                try:
                    offset = self._world.kafka.produce((self._name, self._epoch), log, key, value, headers)
                except Fenced:
                    self._is_fatal, error = True, KafkaError(KafkaError._FENCED)
            if (report := on_delivery or self._on_delivery) is not None:
                report(error, Message(log.partition, offset, None))

    def flush(self, timeout: float) -> int:
        if self._name is not None and self._process.fails("flush"):
            self._is_abortable = True
        self._deliver(self._world.random.randrange(len(self._queue) + 1))
        self._process.at("flush")
        self._deliver(len(self._queue))
        return 0

    # Transactions ----------------------------------------------------------------------------------------------

    @property
    def _identity(self) -> tuple[str, int]:
        assert self._name is not None
        return self._name, self._epoch

    def _refuse(self) -> None:
        if self._is_fatal:
            raise failure(KafkaError._FENCED, fatal=True)
        if self._is_abortable:
            raise failure(KafkaError._STATE, abortable=True)

    def _fail(self, point: str, *, abortable: bool = True) -> None:
        self._process.at(point)
        if self._process.fails(point):
            self._is_abortable = abortable and self._world.random.random() < 0.5
            self._is_fatal = not self._is_abortable
        self._refuse()

    def init_transactions(self, timeout: float) -> None:
        self._process.at("init")
        assert self._name is not None
        self._epoch = self._world.kafka.init_producer(self._name)

    def begin_transaction(self) -> None:
        self._fail("begin", abortable=False)

    def send_offsets_to_transaction(self, offsets: list[Any], metadata: bytes, timeout: float) -> None:
        self._fail("offsets")
        try:
            wanted = {one.partition: one.offset for one in offsets}
            self._world.kafka.add_offsets(self._identity, wanted, metadata)
        except Refused as refusal:
            self._is_abortable = True
            raise failure(refusal.code, abortable=True) from None
        except Fenced:
            self._is_fatal = True
        self._refuse()

    def commit_transaction(self, timeout: float) -> None:
        """May fail with either outcome."""
        self._deliver(len(self._queue))
        self._fail("commit")
        self._end(commit=True)
        if self._process.fails("committed"):
            self._is_fatal = True
        self._process.at("committed")
        self._refuse()

    def abort_transaction(self, timeout: float) -> None:
        self._process.at("abort")
        if self._is_fatal:
            self._refuse()
        self._queue, self._is_abortable = [], False
        self._end(commit=False)

    def _end(self, *, commit: bool) -> None:
        try:
            self._world.kafka.end(self._identity, commit=commit)
        except Fenced:
            self._is_fatal = True
        self._refuse()
