"""Restore: bringing a partition's store to the end of its changelog, in bounded slices.

Invariants:

- After each slice the store is a prefix of the changelog's tail, and its local checkpoint has its end.
- The store is complete once the prefix has reached `target`: the *high* watermark, asked for after the assignment. A
  former owner's transaction whose markers come late lies below it, and is waited for.
- `complete_as_of_ms` is renewed by a finished restore with the time at which it *began*, never by a slice of one. A
  store older than the changelog keeps tombstones is wiped: it would keep keys that were deleted meanwhile. One that
  has become older than that by the end of its restore starts over: compaction may have been faster.
- A store's first record names the changelog that it was made from. Offsets of a topic that was deleted mean nothing in
  one that was recreated, however far that has grown: such a store is wiped.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING

from processor.errors import Incompatible, ProcessorError, StateCorrupt
from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import CHECKPOINT_KEY, ORIGIN_KEY
from processor.state.store import Store

if TYPE_CHECKING:
    from processor.recovery.changelog import ChangelogReader, Tail
    from processor.state.store import StoreResources


def open_store(path: Path, resources: StoreResources, now_ms: int, tombstone_retention_ms: int) -> Store:
    """The store at `path`, ready for a restore: wiped where it cannot be trusted to lack what was deleted.

    Raises:
        StateCorrupt: its bytes are not what was written; wipe it and open it again.
        Unavailable: its lock is held, or the disk does not answer.
        Incompatible: a newer version wrote it.
    """
    store = Store.open(path, resources)
    try:
        local, checkpoint = store.local_checkpoint(), store.checkpoint()
    except ProcessorError:
        with suppress(ProcessorError):  # it holds the directory's lock, and whoever wipes it will open it again
            store.close()
        raise
    if local is None and checkpoint is None:
        return store
    known = local is not None and local.complete_as_of_ms is not None and checkpoint is not None
    if known and local and now_ms - (local.complete_as_of_ms or 0) <= tombstone_retention_ms:
        return store
    store.close()
    Store.wipe(path)
    return Store.open(path, resources)


class Restore:
    """One partition's restore, from the store's local checkpoint to `target`."""

    def __init__(
        self, partition: int, store: Store, reader: ChangelogReader, low: int, target: int, now_ms: int
    ) -> None:
        """low, target: the changelog partition's low and high watermark, asked for after the assignment.

        Raises:
            Incompatible: the store knows more of the changelog than there is of it.
            StateCorrupt: the store was made from another changelog; wipe it and open it again.
        """
        local = store.local_checkpoint()
        self.partition = partition
        self.target = target
        self.records = 0
        self._store, self._reader = store, reader
        self._began_ms = now_ms
        self._complete_as_of = local.complete_as_of_ms if local else None
        self.offset = local.changelog_offset if local else low
        origin = store.get_many([ORIGIN_KEY])[0]
        is_ours = origin == reader.topic_id.encode() or (origin is None and local is None)
        # An empty changelog is no reason to wipe what may be the last copy of the states: a human decides.
        if self.offset > target and (is_ours or low == target):
            raise _lost(partition, reader.topic, target, self.offset)
        if not is_ours:
            raise _of_another_changelog(store.path)
        if origin is None:
            store.write([(ORIGIN_KEY, reader.topic_id.encode())], [], local=None, checkpoint=None)
        self._first_offset = self.offset
        if self.offset < target:
            reader.follow(partition, max(self.offset, low))

    @property
    def is_complete(self) -> bool:
        return self.offset >= self.target

    @property
    def fraction(self) -> float:
        """How much of it is done, 0 to 1."""
        return (self.offset - self._first_offset) / max(1, self.target - self._first_offset)

    def take(self, tail: Tail) -> None:
        """Writes a slice of the changelog to the store, with the local checkpoint of how far it goes."""
        if tail.missing is not None:
            raise Incompatible(
                f"Partition {self.partition} of the changelog cannot be read from offset {self.offset} on.",
                tail.missing,
                "Delete this partition's store: it is rebuilt from the changelog's beginning. Where the changelog has "
                "lost records, `processor reset --rebuild` rebuilds the states from all of the input.",
            )
        if tail.next_offset is not None and tail.next_offset > self.offset:
            self.offset = tail.next_offset
            self._write(tail.values, self._complete_as_of)
            self.records += tail.records

    def has_expired(self, now_ms: int, tombstone_retention_ms: int) -> bool:
        """Whether deletions may have left the changelog before they were read: the store may hold what was deleted."""
        since = self._began_ms if self._complete_as_of is None else self._complete_as_of
        return now_ms - since > tombstone_retention_ms

    def finish(self) -> None:
        """Records in the store that it is complete as of the time at which this restore began."""
        self._reader.leave(self.partition)
        self._write({}, self._began_ms)

    def cancel(self) -> None:
        """Reads no more; what was written stays, as the prefix that it is."""
        self._reader.leave(self.partition)

    def _write(self, values: dict[bytes, bytes | None], complete_as_of_ms: int | None) -> None:
        checkpoint = values.pop(CHECKPOINT_KEY, None)
        self._store.write(
            puts=[(key, value) for key, value in values.items() if value is not None],
            deletes=[key for key, value in values.items() if value is None],
            local=LocalCheckpoint(self.offset, complete_as_of_ms),
            checkpoint=Checkpoint.from_bytes(checkpoint) if checkpoint is not None else None,
        )


def _lost(partition: int, topic: str, end: int, known: int) -> Incompatible:
    return Incompatible(
        f"Partition {partition} of the changelog {topic} ends at {end}, but the store has read it up to {known}.",
        "The changelog was recreated or has lost its end, or this state directory belongs to another cluster.",
        "`processor reset --rebuild` rebuilds the states from all of the input; see 'The changelog was lost' in "
        "docs/operations.md. If it is the store that does not belong here, delete the state directory.",
    )


def _of_another_changelog(path: Path) -> StateCorrupt:
    error = StateCorrupt(
        f"The store {path} was made from another changelog.",
        "The changelog was recreated since, or the state directory comes from elsewhere.",
        "Delete the partition's store: it is rebuilt from its changelog.",
    )
    error.path = path
    return error
