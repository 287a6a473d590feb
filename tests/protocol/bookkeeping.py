"""The bookkeeping alone: flush queue, arena, snapshots, records, checkpoints and the table of phases, on dictionaries.

Where `protocol.world` plays the whole loop, this plays what a commit keeps and a way back finds, several times as fast.
Its histories are in `protocol.books`. What a restore brings is a dictionary: at the end of it a store has all of its
changelog. Checked at every commit: no record lacks an event below `replay_from`, the stream time belongs to it, and the
flush queue counts what was stepped since; after every slice: what is dirty is in memory. In the end
records and predictions are what one pass over the input leaves.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from processor.recovery.identity import Identity
from processor.recovery.partition import Move, Partition, Phase
from processor.recovery.snapshots import Snapshots
from processor.state.arena import Arena
from processor.state.checkpoint import Checkpoint
from processor.state.record import CHECKPOINT_KEY, decode_records, state_key
from processor.types import NO_TIME, Cursor
from protocol.undisturbed import Violation

KEYS: Final = (b"a", b"b", b"c", b"d")
_NUMBERS: Final = (0, 1)
_INITIAL: Final = np.array([3.0], np.float32)
_FINGERPRINT: Final = 7
_IDENTITY: Final = Identity("topic-id", _FINGERPRINT, 1)

Event = tuple[bytes, int]  # key, number; 0 ends the key's sequence
State = tuple[int, int, float]  # offset, steps, word


class _NeverSweeps:
    """Deletions are a matter of the whole protocol."""

    def next_partition(self, _partitions: Any) -> None:
        return None


class Source:
    """A partition's records, as its store has them once it is restored."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return list(map(self.records.get, keys))


class Books:
    """One process at a time with two partitions, and what survives it: input, records and answers."""

    def __init__(self, slots: int, interval: float) -> None:
        self.slots, self.interval = slots, interval
        self.now = 0.0
        self.input: dict[int, list[Event]] = {number: [] for number in _NUMBERS}
        self.sources = {number: Source() for number in _NUMBERS}
        self.answers: dict[int, list[float]] = {number: [] for number in _NUMBERS}
        self.start()

    def start(self) -> None:
        """A new process, which holds nothing yet; so much for the old one."""
        self.arena = Arena(self.slots, _INITIAL, _FINGERPRINT, self.now)
        sweeper: Any = _NeverSweeps()
        self.snapshots = Snapshots(self.arena, _IDENTITY, "", sweeper)
        self.partitions: dict[int, Partition] = {}
        self.produced: dict[int, list[float]] = {number: [] for number in _NUMBERS}
        self.dirty: set[tuple[int, bytes]] = set()

    # The way back ----------------------------------------------------------------------------------------------

    def enter(self, number: int) -> None:
        """The whole way back of a partition, up to its replay."""
        partition = self.partitions.get(number)
        if partition is None:
            partition = self.partitions[number] = Partition(number)
            partition.move(Move.OPENED)
        records = self.sources[number].records
        if CHECKPOINT_KEY not in records:  # of a new group, before its first event
            (first,) = self.snapshots.first([partition])
            records[CHECKPOINT_KEY] = first.checkpoint.to_bytes()
        partition.persisted = checkpoint = Checkpoint.from_bytes(records[CHECKPOINT_KEY])
        partition.cursor = Cursor(checkpoint.replay_from, checkpoint.stream_time)
        partition.publish_from = checkpoint.committed
        self.arena.attach(number, self.sources[number])
        self.arena.flush_queue.stamp(number, partition.cursor)
        partition.move(Move.LOCATED)
        self._see_replay(partition)

    def rewind(self) -> None:
        """What was produced is dropped, and every partition takes the way back."""
        self.produced = {number: [] for number in _NUMBERS}
        for number, partition in self.partitions.items():
            self._forget(number)
            partition.move(Move.REWOUND)
        for number in self.partitions:
            self.enter(number)

    def leave(self, number: int, *, in_peace: bool) -> None:
        if number not in self.partitions:
            return
        if in_peace:
            self.commit(self.arena.flush_queue.of_partitions({number}))
        else:
            self.rewind()
        self._forget(number)
        self.partitions.pop(number).move(Move.LEFT)

    def _forget(self, number: int) -> None:
        self.arena.drop(number)
        self.dirty = {(owner, key) for owner, key in self.dirty if owner != number}

    def _see_replay(self, partition: Partition) -> None:
        if partition.phase is Phase.REPLAYING and partition.cursor.offset >= partition.publish_from:
            partition.move(Move.CAUGHT_UP)

    # Steps -----------------------------------------------------------------------------------------------------

    def turn(self, number: int, most: int) -> None:
        """Steps up to `most` events of a partition; one that is not here comes."""
        partition = self.partitions.get(number)
        if partition is None:
            return self.enter(number)
        offset = partition.cursor.offset
        # No more than there are slots: of keys that are here one would keep the room that the first key needs.
        events = self.input[number][offset : offset + min(most, self.slots)]
        if not events:
            return None
        self.arena.open_slice()
        slots = self.arena.admit(number, [key for key, _ in events]).tolist()
        if not slots:  # all are dirty
            return self.commit(self.arena.flush_queue.oldest(1))
        self._step_slice(partition, events, slots)
        for owner, key in self.dirty:
            if not self.arena.is_dirty(owner, key):
                raise Violation(f"{key!r} of partition {owner} was stepped, and is neither written nor in memory")
        return None

    def _step_slice(self, partition: Partition, events: list[Event], slots: list[int]) -> None:
        """The first events, as many as there are slots."""
        number, offset = partition.number, partition.cursor.offset
        stepped = {}
        for slot, (key, x) in zip(slots, events, strict=False):
            if offset > self.arena.offset[slot]:
                word = self._step(slot, offset, x)
                stepped[slot] = key
                if offset >= partition.publish_from:
                    self.produced[number].append(word)
            offset += 1
        if stepped:
            self.arena.flush_queue.join(np.fromiter(stepped, np.int32, len(stepped)))
            self.dirty.update((number, key) for key in stepped.values())
        partition.cursor = Cursor(offset, _stream_time(offset))
        self._see_replay(partition)

    def _step(self, slot: int, offset: int, x: int) -> float:
        arena = self.arena
        _, steps, word = _after((0, int(arena.steps[slot]), float(arena.words[slot, 0])), offset, x)
        arena.offset[slot], arena.steps[slot], arena.words[slot, 0] = offset, steps, word
        return word

    # Commits ---------------------------------------------------------------------------------------------------

    def commit(self, slots: Any, end: str = "done") -> None:
        """end: done; aborted, so that all is rewound; or killed once Kafka has it."""
        held = [partition for partition in self.partitions.values() if partition.takes_events]
        snapshots = self.snapshots.of(held, slots)
        if end == "aborted":
            return self.rewind()
        for snapshot in snapshots:
            number = snapshot.partition.number
            self.sources[number].records.update([*snapshot.puts, (CHECKPOINT_KEY, snapshot.checkpoint.to_bytes())])
            snapshot.partition.persisted = snapshot.checkpoint
            self.answers[number] += self.produced[number]
            self.produced[number] = []
            self.dirty.difference_update([(number, key[1:]) for key, _ in snapshot.puts])
            self._check_checkpoint(number, snapshot.checkpoint)
        if end == "killed":
            return self.start()
        if snapshots:
            self.snapshots.clean(held, slots, self.now)
        if (count := self.arena.flush_queue.dirty_count) != len(self.dirty):
            raise Violation(f"the flush queue has {count} dirty slots, and {len(self.dirty)} keys were stepped since")
        return None

    def _check_checkpoint(self, number: int, checkpoint: Checkpoint) -> None:
        records = self.sources[number].records
        for offset, (key, _) in enumerate(self.input[number][: checkpoint.replay_from]):
            record = records.get(state_key(key), b"")
            reflected = int.from_bytes(record[8:16], "little", signed=True) if record else -1
            if reflected < offset:
                raise Violation(f"{checkpoint} is beyond event {offset} of partition {number}")
        if checkpoint.stream_time != _stream_time(checkpoint.replay_from):
            raise Violation(f"{checkpoint} has another stream time")

    # The end ---------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Steps all there is, commits it, and compares."""
        for number, events in self.input.items():
            for _ in range(3 * len(events) + 3):
                self.turn(number, len(events))
                if self.partitions[number].cursor.offset == len(events):
                    break
        self.commit(self.arena.flush_queue.of_partitions(set(_NUMBERS)))
        for number in _NUMBERS:
            states, answers = _undisturbed(self.input[number])
            if self.answers[number] != answers:
                raise Violation(f"partition {number} has the answers {self.answers[number]}, wanted {answers}")
            if (found := self._states(number)) != states:
                raise Violation(f"partition {number} is left with {found}, wanted {states}")

    def _states(self, number: int) -> dict[bytes, State]:
        records = {key[1:]: value for key, value in self.sources[number].records.items() if key != CHECKPOINT_KEY}
        rows = decode_records(list(records.values()), 1, _FINGERPRINT)
        words = np.where(rows.empty, _INITIAL, rows.words[:, 0])
        columns = (rows.offset.tolist(), rows.steps.tolist(), words.tolist())
        return dict(zip(records, zip(*columns, strict=True), strict=True))


def _after(state: State, offset: int, x: int) -> State:
    """What an event leaves: each of a sequence, and their order, show in the word."""
    if x == 0:
        return offset, 0, float(_INITIAL[0])
    return offset, state[1] + 1, (state[2] * 5 + x) % 9973


def _undisturbed(events: list[Event]) -> tuple[dict[bytes, State], list[float]]:
    states: dict[bytes, State] = {}
    answers = []
    for offset, (key, x) in enumerate(events):
        states[key] = _after(states.get(key, (-1, 0, float(_INITIAL[0]))), offset, x)
        answers.append(states[key][2])
    return states, answers


def _stream_time(offset: int) -> int:
    """Before the event at an offset: the events' times rise by three."""
    return 3 * (offset - 1) if offset else NO_TIME
