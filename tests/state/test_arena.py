"""The arena: a cache that never changes an answer, never evicts what is dirty or in use, and has limits."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from processor.errors import StateCorrupt
from processor.state.arena import Arena, slots_within
from processor.state.record import encode_records, state_key
from processor.types import Cursor
from stepping.toy import FINGERPRINT, new_arena


@dataclass
class Source:
    records: dict[bytes, bytes] = field(default_factory=dict)
    reads: list[bytes] = field(default_factory=list)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        self.reads += keys
        return [self.records.get(key) for key in keys]


def arena_with(slots: int, source: Source) -> Arena:
    arena = new_arena(slots)
    arena.attach(0, source)
    arena.flush_queue.stamp(0, Cursor(0))
    return arena


def admit(arena: Arena, *keys: bytes) -> list[int]:
    arena.open_slice()
    slots: list[int] = arena.admit(0, list(keys)).tolist()
    return slots


def write(arena: Arena, source: Source, slots: np.ndarray) -> None:
    records = encode_records(arena.records_of(slots), FINGERPRINT)
    source.records.update(zip(map(state_key, arena.keys_of(slots)), records, strict=True))
    arena.flush_queue.written(slots)


def test_a_key_has_one_slot_and_is_read_once() -> None:
    source = Source()
    arena = arena_with(4, source)
    first, second, third = admit(arena, b"a", b"b", b"a")
    assert first == third != second
    assert admit(arena, b"b") == [second]
    assert source.reads == [state_key(b"a"), state_key(b"b")]
    assert (arena.hits, arena.misses, len(arena)) == (1 + 0, 2, 2)


def test_the_prefix_ends_before_the_first_key_without_room() -> None:
    arena = arena_with(2, Source())
    slots = admit(arena, b"a", b"b", b"a", b"c", b"b")
    assert len(slots) == 3
    assert len(set(slots)) == 2


def test_what_is_dirty_stays_and_what_is_clean_makes_room() -> None:
    source = Source()
    arena = arena_with(2, source)
    dirty, _ = admit(arena, b"a", b"b")
    arena.steps[dirty] = 3
    arena.flush_queue.join(np.array([dirty], np.int32))
    assert len(admit(arena, b"c", b"d")) == 1
    assert arena.keys_of(np.array([dirty], np.int32)) == [b"a"]
    assert arena.is_dirty(0, b"a")
    assert admit(arena, b"a") == [dirty]


def test_an_evicted_key_comes_back_as_it_was() -> None:
    source = Source()
    arena = arena_with(1, source)
    (slot,) = admit(arena, b"a")
    arena.words[slot] = [1.5, -2.5]
    arena.steps[slot], arena.offset[slot], arena.time[slot] = 4, 17, 99
    arena.sequence[slot], arena.has_sequence[slot] = 12, True
    slots = np.array([slot], np.int32)
    arena.flush_queue.join(slots)
    write(arena, source, slots)
    admit(arena, b"b")
    assert arena.steps[0] == 0
    assert arena.words[0].tolist() == arena.initial_state.tolist()
    assert not arena.has_sequence[0]
    (slot,) = admit(arena, b"a")
    assert arena.words[slot].tolist() == [1.5, -2.5]
    assert (arena.steps[slot], arena.offset[slot], arena.time[slot], arena.sequence[slot]) == (4, 17, 99, 12)
    assert arena.has_sequence[slot]


def test_the_least_recently_used_goes_first() -> None:
    arena = arena_with(3, Source())
    admit(arena, b"a")
    admit(arena, b"b")
    admit(arena, b"c")
    admit(arena, b"a")
    admit(arena, b"d")
    known = {key for key in (b"a", b"b", b"c", b"d") if key in arena._index[0]}
    assert known == {b"a", b"c", b"d"}


def test_long_keys_cost_slots_and_not_memory() -> None:
    arena = arena_with(1000, Source())
    long = [bytes([n]) * 1_000_000 for n in range(10)]
    assert len(admit(arena, *long)) == 4  # the limit is 4 MiB here
    assert len(admit(arena, *long[4:])) == 4
    assert len(arena) == 4
    assert len(admit(arena, *[b"%d" % n for n in range(900)])) == 900


def test_a_dropped_partition_gives_all_its_slots_back() -> None:
    arena = arena_with(3, Source())
    slots = admit(arena, b"a", b"b")
    arena.flush_queue.join(np.array(slots, np.int32))
    arena.drop(0)
    assert len(arena) == 0
    assert arena.flush_queue.dirty_count == 0
    arena.attach(0, Source())
    assert len(admit(arena, b"x", b"y", b"z")) == 3


def test_a_corrupt_record_names_its_partition_and_leaks_no_slot() -> None:
    arena = arena_with(3, Source({state_key(b"a"): b"no record at all"}))
    with pytest.raises(StateCorrupt) as raised:
        admit(arena, b"a", b"b")
    assert raised.value.partition == 0
    arena.drop(0)
    assert len(arena) == 0


def test_there_are_slots_for_any_memory_and_any_model() -> None:
    assert slots_within(8 * 2**20, 96) > 10_000
    assert slots_within(8 * 2**20, 10_000_000) == 16
