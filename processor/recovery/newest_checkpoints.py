"""Reading the changelog from outside of a restore: in slices, and the newest checkpoint of each partition.

Always up to a high watermark that was asked for before: an open transaction below it is waited for, within a budget.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from processor.errors import Incompatible, Unavailable
from processor.state.record import CHECKPOINT_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from processor.recovery.changelog import ChangelogReader, Tail

_SLICE: Final = 5_000  # records at once
_WAIT_SECONDS: Final = 0.1
_NEAR_THE_END: Final = 2_000
"""Offsets. A commit writes a partition's checkpoint after its records, so the newest is nearly always near the end."""


def newest_checkpoints(
    reader: ChangelogReader, lows: Mapping[int, int], ends: Mapping[int, int], budget_seconds: float
) -> dict[int, bytes]:
    """Partition -> the record of its newest checkpoint; without those that have none.

    lows, ends: of the changelog's partitions.

    Raises:
        Unavailable: the end was not reached within the budget.
    """
    checkpoints: dict[int, bytes] = {}
    for number, end in ends.items():
        near = max(lows[number], end - _NEAR_THE_END)
        for start, stop in ((near, end), (lows[number], near)):
            newest: bytes | None = None
            for tail in read_slices(reader, number, start, stop, budget_seconds):
                newest = tail.values.get(CHECKPOINT_KEY, newest)
            if newest is not None:
                checkpoints[number] = newest
                break
    return checkpoints


def read_slices(reader: ChangelogReader, number: int, start: int, end: int, budget_seconds: float) -> Iterator[Tail]:
    """Slices of a partition from `start` up to `end`; an empty one where nothing came for a moment.

    Raises:
        As `newest_checkpoints`; and Incompatible: records were deleted while they were read.
    """
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
