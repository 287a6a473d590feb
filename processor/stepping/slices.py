"""A slice is a range of a batch: as many of its next rows as are stepped at once, and the keys' slots in the arena.

A batch is ordered by partition, so a slice is an offset prefix of what is left of each partition. Invariants:

- Rows of a slice count from its own first row. Nothing here or behind it counts rows of the batch.
- Every row below a partition's cursor is in a slice. The cursor moves when the slice is cut.
- A slice ends before the first key that has no room in the arena. Without any room it is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from processor.stepping.sequence import late, stream_times
from processor.types import BadEvent, Cursor, Kind, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.recovery.partition import Partition
    from processor.state.arena import Arena
    from processor.stepping.sequence import SequenceRules
    from processor.types import Batch, Events, Int32Array, Int64Array, Rows


class Segment(NamedTuple):
    """Rows of one partition."""

    partition: int
    start: int
    stop: int  # the row after the last


@dataclass(slots=True)
class Work:
    """A decoded batch, and how many of its rows are in slices already."""

    batch: Batch
    events: Events
    segments: list[Segment]
    done: int = 0

    def __len__(self) -> int:
        return len(self.batch) - self.done

    def next(self, most_rows: int) -> list[Segment]:
        """The segments of the next rows, at most `most_rows`."""
        first, stop = self.done, min(len(self.batch), self.done + most_rows)
        return [
            Segment(number, max(start, first), min(end, stop))
            for number, start, end in self.segments
            if start < stop and end > first
        ]


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows that are stepped at once, as aligned columns."""

    batch: Batch
    events: Events
    segments: list[Segment]
    slots: Int32Array  # [n], of each row's key in the arena; -1: the row is not stepped
    stream_time: Int64Array  # [n], ms, before each row
    late: dict[int, BadEvent]  # row -> why

    def __len__(self) -> int:
        return len(self.batch)


class _Part(NamedTuple):
    """What a slice takes of one segment of a batch."""

    slots: Int32Array  # [n]
    times: Int64Array  # [n + 1], the stream time before each row, and after the last
    late: Rows  # among the n rows


class Slicer:
    """Cuts slices, and asks the arena for the slots of their keys."""

    def __init__(self, arena: Arena, rules: SequenceRules) -> None:
        self._arena, self._rules = arena, rules

    def cut(self, work: Work, partitions: Mapping[int, Partition], most_rows: int) -> Slice:
        """The next slice of `work`, of at most `most_rows` rows. Moves the partitions' cursors over it."""
        self._arena.open_slice()
        first = work.done
        segments: list[Segment] = []
        parts: list[_Part] = []
        for wanted in work.next(min(most_rows, self._arena.size)):
            partition = partitions[wanted.partition]
            part = self._admit(work, wanted, partition.cursor.stream_time)
            taken = wanted.start + len(part.slots)
            if taken > wanted.start:
                parts.append(part)
                segments.append(Segment(wanted.partition, wanted.start - first, taken - first))
                partition.cursor = Cursor(int(work.batch.offsets[taken - 1]) + 1, int(part.times[-1]))
                work.done = taken
            if taken < wanted.stop:
                break  # the arena is full
        return _joined(work.batch.range(first, work.done), work.events.range(first, work.done), segments, parts)

    def _admit(self, work: Work, segment: Segment, stream_time: int) -> _Part:
        """Slots for the rows of a segment, up to the first key that has no room."""
        number, start, stop = segment
        events = work.events
        times = stream_times(events, start, stop, stream_time)
        is_late = late(self._rules, events, start, stop, times[:-1])
        stepped = np.flatnonzero((events.kind[start:stop] != Kind.BAD) & ~is_late)
        admitted = self._arena.admit(number, _keys_of(work.batch, start, stop, stepped))
        taken = stop - start if len(admitted) == len(stepped) else int(stepped[len(admitted)])
        slots = np.full(taken, -1, np.int32)
        slots[stepped[: len(admitted)]] = admitted
        return _Part(slots, times[: taken + 1], np.flatnonzero(is_late[:taken]))


def _joined(batch: Batch, events: Events, segments: list[Segment], parts: list[_Part]) -> Slice:
    bad: dict[int, BadEvent] = {}
    for segment, part in zip(segments, parts, strict=True):
        for row in part.late.tolist():
            bad[segment.start + row] = _late(int(events.time[segment.start + row]), int(part.times[row]))
    return Slice(
        batch=batch,
        events=events,
        segments=segments,
        slots=np.concatenate([np.empty(0, np.int32), *(part.slots for part in parts)]),
        stream_time=np.concatenate([np.empty(0, np.int64), *(part.times[:-1] for part in parts)]),
        late=bad,
    )


def _keys_of(batch: Batch, start: int, stop: int, stepped: Rows) -> list[bytes]:
    """The keys of the rows `stepped` of `start:stop`, nearly always all. A record without a key is never stepped."""
    keys = cast("list[bytes]", batch.keys)
    return keys[start:stop] if len(stepped) == stop - start else [keys[start + row] for row in stepped.tolist()]


def _late(time: int, stream_time: int) -> BadEvent:
    detail = f"its time {time} is {stream_time - time} ms before the stream time {stream_time}"
    return BadEvent(Reason.LATE, detail)
