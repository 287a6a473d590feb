"""The flush queue against a plain model: `replay_from` never lies beyond the first event that a record lacks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processor.state.flush_queue import CLEAN, FlushQueue
from processor.types import Cursor

SLOTS = 12  # slot s belongs to partition s % 2
INTERVAL = 5.0


@dataclass
class Model:
    """What the flush queue must never contradict: each dirty slot, and the first offset that its record lacks."""

    flush_queue: FlushQueue
    now: float = 0.0
    offsets: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    lacking: dict[int, int] = field(default_factory=dict)

    def step(self, slots: set[int]) -> None:
        for slot in sorted(slots):
            partition = slot % 2
            self.lacking.setdefault(slot, self.offsets[partition])
            self.offsets[partition] += 1
        self.flush_queue.join(np.array(sorted(slots), np.int32))

    def commit(self, written: np.ndarray) -> None:
        for slot in written.tolist():
            del self.lacking[slot]
        for partition, offset in self.offsets.items():
            replay = self.flush_queue.replay_from(partition, Cursor(offset), written)
            lacking = [first for slot, first in self.lacking.items() if slot % 2 == partition]
            assert replay.offset <= min([offset, *lacking])
            if not lacking:
                assert replay.offset == offset
        self.flush_queue.written(written)
        self.flush_queue.turn(self.now, {partition: Cursor(offset) for partition, offset in self.offsets.items()})
        assert {slot for slot in range(SLOTS) if self.flush_queue.bucket_of[slot] != CLEAN} == set(self.lacking)
        assert self.flush_queue.dirty_count == len(self.lacking)


def new_model() -> Model:
    model = Model(FlushQueue(np.arange(SLOTS, dtype=np.int32) % 2, 0.0))
    for partition in (0, 1):
        model.flush_queue.stamp(partition, Cursor(0))
    return model


actions = st.lists(
    st.one_of(
        st.sets(st.integers(0, SLOTS - 1), min_size=1),
        st.sampled_from(["due", "share", "oldest", "all of 0"]),
        st.floats(0, 4),
    ),
    max_size=40,
)


@given(actions)
def test_replay_from_never_passes_what_a_record_lacks(history: list[set[int] | str | float]) -> None:
    model = new_model()
    for action in history:
        if isinstance(action, set):
            model.step(action)
        elif isinstance(action, float):
            model.now += action
        elif action == "due":
            model.commit(model.flush_queue.fallen_due(model.now, INTERVAL))
        elif action == "share":
            model.commit(model.flush_queue.fallen_due(model.now, INTERVAL, 2))
        elif action == "oldest":
            model.commit(model.flush_queue.oldest(3))
        else:
            model.commit(model.flush_queue.of_partitions({0}))


def test_a_snapshot_interval_of_zero_writes_what_each_commit_dirtied() -> None:
    model = new_model()
    model.step({1, 2, 3})
    assert sorted(model.flush_queue.fallen_due(model.now, 0.0).tolist()) == [1, 2, 3]


def test_keys_that_became_dirty_together_are_written_a_share_at_a_time() -> None:
    model = new_model()
    model.step({1, 2, 3, 4, 5})
    model.now = 1.0
    model.commit(model.flush_queue.fallen_due(model.now, INTERVAL, 2))
    model.step({6})
    model.commit(model.flush_queue.fallen_due(model.now, INTERVAL, 2))
    assert sorted(model.lacking) == [5, 6]
    model.commit(model.flush_queue.fallen_due(model.now, INTERVAL, 2))  # of the next bucket, too
    assert not model.lacking


def test_what_has_fallen_due_is_written_whole_however_small_the_share() -> None:
    model = new_model()
    model.step({1, 2, 3})
    model.now = INTERVAL
    assert sorted(model.flush_queue.fallen_due(model.now, INTERVAL, 1).tolist()) == [1, 2, 3]


def test_a_slot_stays_in_the_bucket_in_which_it_became_dirty() -> None:
    model = new_model()
    model.step({4})
    model.now = 1.0
    model.commit(np.empty(0, np.int32))
    model.step({4, 6})
    model.now = 5.0
    assert model.flush_queue.fallen_due(model.now, INTERVAL).tolist() == [4]


def test_a_dropped_partition_leaves_nothing_behind() -> None:
    model = new_model()
    model.step({0, 1, 2})
    model.flush_queue.drop(0)
    assert model.flush_queue.of_partitions({0, 1}).tolist() == [1]
    model.flush_queue.stamp(0, Cursor(100, 7))
    model.flush_queue.join(np.array([2], np.int32))
    assert model.flush_queue.replay_from(0, Cursor(101, 8), np.empty(0, np.int32)) == Cursor(100, 7)


def test_a_freed_slot_counts_once_in_the_bucket_that_it_joins_again() -> None:
    partition_of = np.zeros(4, np.int32)
    flush_queue = FlushQueue(partition_of, 0.0)
    flush_queue.stamp(0, Cursor(0))
    flush_queue.join(np.array([1, 2], np.int32))
    flush_queue.drop(0)
    partition_of[:] = 1  # the slots were freed, and given to keys of another partition
    flush_queue.stamp(1, Cursor(50))
    flush_queue.join(np.array([2, 3], np.int32))
    assert sorted(flush_queue.of_partitions({1}).tolist()) == [2, 3]
    assert flush_queue.dirty_count == 2
    flush_queue.written(np.array([2, 3], np.int32))
    assert flush_queue.dirty_count == 0
