"""The arena: the states in memory, one row (slot) a key. A cache of the stores, plus what is dirty.

Invariants:

- A key of a partition has at most one slot, and `partition_of[slot]` is its partition (-1: the slot is free).
- A clean slot equals its record in the store, or the absence of one. A dirty slot is never evicted.
- `steps[slot] == 0` means that the key's state is empty; its words are then the artifact's initial state.
- A slot that was admitted for the slice in hand is not evicted during it.
- The bytes of all keys together have a limit of their own, so that long keys cost slots and not memory.

Which slots are in memory never changes a prediction: a key that was evicted comes back from its store as it was.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate, repeat
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np

from processor.errors import naming
from processor.state.flush_queue import CLEAN, FlushQueue
from processor.state.record import Records, decode_records, state_keys
from processor.types import NO_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.types import BoolArray, Float32Array, Int32Array, Int64Array

NO_OFFSET: Final = -1
_EVICTED_AT_ONCE: Final = 16  # a sixteenth of the slots: the search for the oldest is paid once for many
_SLOT_OVERHEAD_BYTES: Final = 216  # columns, dictionary entry and the key's own object
_KEY_BYTES: Final = 64  # a slot's share for the bytes of its key
_LEAST_KEY_BYTES: Final = 4 * 2**20  # room for some keys of any size that Kafka takes by default


class RecordSource(Protocol):
    """Where the record of a key that is not in memory comes from: a partition's store."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]: ...


def slots_within(memory_bytes: int, words: int) -> int:
    """How many slots of `words` words fit into `memory_bytes`, their index included; 16 at the least."""
    return max(16, memory_bytes // (4 * words + _SLOT_OVERHEAD_BYTES + _KEY_BYTES))


class Arena:
    """The states in memory, as columns over slots."""

    def __init__(self, slots: int, initial_state: Float32Array, fingerprint: int, now: float) -> None:
        """initial_state: float32[D], what an empty state holds; fingerprint: of the artifact; now: monotonic."""
        self.size = slots
        self.initial_state = initial_state
        self.words: Float32Array = np.empty((slots, len(initial_state)), np.float32)
        self.steps: Int64Array = np.zeros(slots, np.int64)
        self.offset: Int64Array = np.full(slots, NO_OFFSET, np.int64)
        self.time: Int64Array = np.full(slots, NO_TIME, np.int64)
        self.sequence: Int64Array = np.zeros(slots, np.int64)
        self.has_sequence: BoolArray = np.zeros(slots, np.bool_)
        self.partition_of: Int32Array = np.full(slots, -1, np.int32)
        self.flush_queue = FlushQueue(self.partition_of, now)
        self._fingerprint = fingerprint
        self._keys: list[bytes | None] = [None] * slots
        self._index: dict[int, dict[bytes, int]] = {}
        self._sources: dict[int, RecordSource] = {}
        self._used: Int64Array = np.zeros(slots, np.int64)  # the slice that used the slot last
        self._slice = 0
        self._free: list[int] = list(range(slots - 1, -1, -1))
        self._key_bytes = 0
        self._most_key_bytes = max(slots * _KEY_BYTES, _LEAST_KEY_BYTES)
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return self.size - len(self._free)

    def attach(self, partition: int, source: RecordSource) -> None:
        """From now on keys of the partition may be admitted; their records come from `source`."""
        self._sources[partition] = source
        self._index[partition] = {}

    def drop(self, partition: int) -> None:
        """Forgets all slots of a partition, dirty ones too."""
        slots = np.flatnonzero(self.partition_of == partition)
        self.flush_queue.drop(partition)
        self._index.pop(partition, None)
        self._sources.pop(partition, None)
        self.partition_of[slots] = -1
        for slot in slots.tolist():
            self._key_bytes -= len(self._keys[slot] or b"")
            self._keys[slot] = None
        self._free.extend(slots.tolist())

    def open_slice(self) -> None:
        """A new slice begins: what was admitted before may be evicted again."""
        self._slice += 1

    def admit(self, partition: int, keys: Sequence[bytes]) -> Int32Array:
        """Slots of a prefix of `keys`, read from the store where they are not in memory.

        The prefix ends before the first key for which there is no room: every other slot is dirty or of this slice.
        """
        index = self._index[partition]
        slots = np.fromiter(map(index.get, keys, repeat(-1)), np.int32, len(keys))
        missing = np.flatnonzero(slots < 0)
        self._used[slots[slots >= 0]] = self._slice
        self.hits += len(slots) - len(missing)
        if len(missing) == 0:
            return slots
        wanted = list(dict.fromkeys([keys[row] for row in missing.tolist()]))
        room = self._make_room(wanted)
        if room < len(wanted):
            refused = wanted[room]
            count = next(row for row in missing.tolist() if keys[row] == refused)
            wanted, slots, missing = wanted[:room], slots[:count], missing[missing < count]
        self.misses += len(wanted)
        self._load(partition, wanted)
        slots[missing] = np.fromiter((index[keys[row]] for row in missing.tolist()), np.int32, len(missing))
        return slots

    def _make_room(self, wanted: list[bytes]) -> int:
        """Evicts the slots that were used least recently until all of `wanted` fit; returns how many of them do."""
        lengths = list(map(len, wanted))
        while len(self._free) < len(wanted) or self._key_bytes + sum(lengths) > self._most_key_bytes:
            evictable = np.flatnonzero(
                (self.flush_queue.bucket_of == CLEAN) & (self.partition_of >= 0) & (self._used < self._slice)
            )
            if len(evictable) == 0:
                break
            count = min(len(evictable), max(len(wanted) - len(self._free), self.size // _EVICTED_AT_ONCE, 1))
            if count < len(evictable):
                evictable = evictable[np.argpartition(self._used[evictable], count)[:count]]
            self._evict(evictable.astype(np.int32))
        left = self._most_key_bytes - self._key_bytes
        fitting = bisect_right(list(accumulate(lengths)), left)
        return min(fitting, len(self._free))

    def _evict(self, slots: Int32Array) -> None:
        for slot, partition in zip(slots.tolist(), self.partition_of[slots].tolist(), strict=True):
            key = self._keys[slot]
            assert key is not None
            self._key_bytes -= len(key)
            del self._index[partition][key]
            self._keys[slot] = None
        self.partition_of[slots] = -1
        self._free.extend(slots.tolist())

    def _load(self, partition: int, keys: list[bytes]) -> None:
        """Gives each key a slot, and fills it with its record, or with an empty state where there is none."""
        taken = self._free[-len(keys) :]
        del self._free[-len(keys) :]
        slots = np.array(taken, np.int32)
        self.words[slots] = self.initial_state
        self.steps[slots] = 0
        self.offset[slots] = NO_OFFSET
        self.time[slots] = NO_TIME
        self.has_sequence[slots] = False
        self.partition_of[slots] = partition
        self._used[slots] = self._slice
        with naming(partition):
            values = self._sources[partition].get_many(state_keys(keys))
            found = [row for row, value in enumerate(values) if value is not None]
            if found:
                records = decode_records([value for value in values if value is not None], *self._shape)
                self._fill(slots[found], records)
        self._index[partition].update(zip(keys, taken, strict=True))
        for slot, key in zip(taken, keys, strict=True):
            self._keys[slot] = key
        self._key_bytes += sum(map(len, keys))

    @property
    def _shape(self) -> tuple[int, int]:
        return self.words.shape[1], self._fingerprint

    def _fill(self, slots: Int32Array, records: Records) -> None:
        full = ~records.empty
        self.words[slots[full]] = records.words[full]
        self.steps[slots] = records.steps
        self.offset[slots] = records.offset
        self.time[slots] = records.time
        self.sequence[slots] = records.sequence
        self.has_sequence[slots] = records.has_sequence

    def is_dirty(self, partition: int, key: bytes) -> bool:
        """Whether the key is in memory and has changed since its record was written."""
        slot = self._index[partition].get(key)
        return slot is not None and bool(self.flush_queue.bucket_of[slot] != CLEAN)

    def keys_of(self, slots: Int32Array) -> list[bytes]:
        """The keys of occupied slots."""
        return list(map(cast("list[bytes]", self._keys).__getitem__, slots.tolist()))

    def records_of(self, slots: Int32Array) -> Records:
        """The states of some slots as they would be stored now."""
        steps = self.steps[slots]
        return Records(
            steps=steps.astype(np.uint32),
            offset=self.offset[slots],
            time=self.time[slots],
            sequence=self.sequence[slots],
            has_sequence=self.has_sequence[slots],
            words=self.words[slots],
            empty=steps == 0,
        )
