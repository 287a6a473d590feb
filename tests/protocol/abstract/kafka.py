"""An abstract Kafka, in memory: what a broker promises, and all of the disorder that it allows.

A transaction is decided at once, and its markers reach each log and the group's offsets one by one, when the scheduler
says so. Invariants:

- A producer's epoch fences whatever had the same transactional id before it. `init_producer`, and the next transaction
  of the same producer, wait until the last one's markers are all there.
- The group's offsets are stable once no transaction holds them.

`tests/protocol/test_contract.py` holds all of it against the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.abstract.group import Group
from protocol.abstract.log import Log, Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protocol.abstract.log import Header


class Fenced(Exception):
    """A newer producer has the transactional id, or the coordinator has timed the transaction out."""


class Kafka:
    """Logs, transactions and one group."""

    def __init__(self, partitions: int) -> None:
        self.logs: dict[tuple[str, int], Log] = {}
        self.group = Group(partitions)
        self.input_id = 0  # another one once the input was recreated
        self.transactions: list[Transaction] = []  # those that are not complete
        self._epochs: dict[str, int] = {}

    def log(self, topic: str, partition: int) -> Log:
        found = self.logs.get((topic, partition))
        if found is None:
            found = self.logs[topic, partition] = Log(topic, partition)
        return found

    # Transactions ---------------------------------------------------------------------------------------------

    def init_producer(self, transactional_id: str) -> int:
        self._epochs[transactional_id] = self._epochs.get(transactional_id, 0) + 1
        self._finish(transactional_id)
        return self._epochs[transactional_id]

    def _finish(self, transactional_id: str) -> None:
        for transaction in [t for t in self.transactions if t.transactional_id == transactional_id]:
            if transaction.state == "open":
                transaction.state = "aborted"
            if transaction in self.transactions:
                self.deliver_markers(transaction)

    def _current(self, transactional_id: str, epoch: int) -> Transaction:
        """The open transaction, begun where there is none; the last one's markers are waited for."""
        if self._epochs.get(transactional_id) != epoch:
            raise Fenced
        for transaction in self.transactions:
            if transaction.transactional_id == transactional_id and transaction.state == "open":
                return transaction
        self._finish(transactional_id)
        self.transactions.append(Transaction(transactional_id))
        return self.transactions[-1]

    def produce(
        self,
        producer: tuple[str, int],
        log: Log,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header] | None,
    ) -> int:
        transaction = self._current(*producer)
        if id(transaction) not in log.open:
            log.open[id(transaction)] = log.end
            transaction.pending.append(log)
        return log.append(key, value, headers, transaction)

    def add_offsets(self, producer: tuple[str, int], offsets: dict[int, int], metadata: bytes) -> None:
        transaction = self._current(*producer)
        self.group.check(metadata)
        transaction.offsets.update(offsets)
        transaction.holds_offsets = True

    def end(self, producer: tuple[str, int], *, commit: bool) -> None:
        transaction = self._current(*producer)
        transaction.state = "committed" if commit else "aborted"
        if transaction.is_complete:
            self.transactions.remove(transaction)

    def time_out(self, transaction: Transaction) -> None:
        """The coordinator aborts a transaction that was open for too long, and fences its producer."""
        if transaction.state == "open":
            self._epochs[transaction.transactional_id] += 1
            transaction.state = "aborted"
            if transaction.is_complete:
                self.transactions.remove(transaction)

    def deliver_markers(self, transaction: Transaction, only: int | None = None) -> None:
        """All markers of a decided transaction, or that of one partition: of a log, or of the group's offsets."""
        partitions = len(transaction.pending) + transaction.holds_offsets
        chosen: Iterable[int] = range(partitions) if only is None else [only % max(1, partitions)]
        logs = list(transaction.pending)
        for one in chosen:
            if one < len(logs):
                log = logs[one]
                log.append(None, None, None, transaction, is_marker=True)
                del log.open[id(transaction)]
                transaction.pending.remove(log)
            elif transaction.holds_offsets:
                transaction.holds_offsets = False
                if transaction.state == "committed":
                    self.group.offsets.update(transaction.offsets)
        if transaction.is_complete:
            self.transactions.remove(transaction)

    def decided(self) -> list[Transaction]:
        """Transactions that are decided and lack markers."""
        return [transaction for transaction in self.transactions if transaction.state != "open"]

    # Offsets --------------------------------------------------------------------------------------------------

    def is_stable(self, partition: int) -> bool:
        return all(not t.holds_offsets or partition not in t.offsets for t in self.transactions)

    def commit_offsets(self, offsets: dict[int, int], metadata: bytes) -> None:
        """Outside of transactions."""
        self.group.check(metadata)
        self.group.offsets.update(offsets)
