"""Reading the changelog for a reset: its newest positions, and the keys of its states.

Always up to a high watermark that was asked for before: an open transaction below it is waited for, within a budget.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from processor.errors import Incompatible, StateCorrupt, Unavailable
from processor.state.position import Position
from processor.state.record import POSITION_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from processor.state.changelog import ChangelogReader, Tail

_SLICE: Final = 5_000  # records at once
_WAIT_SECONDS: Final = 0.1
_NEAR_THE_END: Final = 2_000
"""Offsets: a commit writes a partition's position after its records, so the newest is nearly always among the last."""


def newest_positions(
    reader: ChangelogReader, lows: Mapping[int, int], ends: Mapping[int, int], budget_seconds: float
) -> dict[int, Position]:
    """Partition -> its newest position; without those that have none, or none that this version can read.

    lows, ends: of the changelog's partitions.

    Raises:
        Unavailable: the end was not reached within the budget.
    """
    positions: dict[int, Position] = {}
    for number, end in ends.items():
        near = max(lows[number], end - _NEAR_THE_END)
        for start, stop in ((near, end), (lows[number], near)):
            newest: bytes | None = None
            for tail in _read(reader, number, start, stop, budget_seconds):
                newest = tail.values.get(POSITION_KEY, newest)
            if newest is not None:
                break
        if newest is not None:
            try:
                positions[number] = Position.from_bytes(newest)
            except (StateCorrupt, Incompatible):
                continue  # a reset is the remedy for it, and must not fail by it
    return positions


def keys_of_states(
    reader: ChangelogReader, number: int, low: int, end: int, budget_seconds: float, tell: Callable[[float], None]
) -> list[bytes]:
    """The keys of all records that are there, but for the position's, in the order of the changelog.

    tell: called between slices with the part that is done, 0 to 1.

    Raises:
        As `newest_positions`.
    """
    # A partition's keys are held at once: about 100 bytes each.
    there: dict[bytes, None] = {}
    for tail in _read(reader, number, low, end, budget_seconds):
        for key, value in tail.values.items():
            if value is None:
                there.pop(key, None)
            elif key != POSITION_KEY:
                there[key] = None
        tell(min(1.0, ((tail.next_offset or low) - low) / max(1, end - low)))
    return list(there)


def _read(reader: ChangelogReader, number: int, start: int, end: int, budget_seconds: float) -> Iterator[Tail]:
    """Slices from `start` up to `end`; an empty one where nothing came for a moment."""
    offset, moved_at = start, time.monotonic()
    if offset >= end:
        return
    reader.follow(number, offset)
    try:
        while offset < end:
            for tail in reader.read(_WAIT_SECONDS, _SLICE).values():
                if tail.missing is not None:
                    raise Incompatible(
                        f"Partition {number} of the changelog cannot be read from offset {offset} on.",
                        tail.missing,
                        "Type it again: the changelog has lost records in this moment.",
                    )
                if tail.next_offset is not None and tail.next_offset > offset:
                    offset, moved_at = tail.next_offset, time.monotonic()
                yield tail
            if time.monotonic() - moved_at > budget_seconds:
                raise Unavailable(
                    f"The changelog could not be read to its end within {budget_seconds:.0f} s.",
                    f"Partition {number} is read up to {offset}, and ends at {end}.",
                    "A transaction of a former owner may hang: see `kafka-transactions.sh find-hanging`.",
                )
    finally:
        reader.leave(number)
