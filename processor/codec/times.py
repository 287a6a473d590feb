"""What an event's time may be: within the range of dates, and near enough to the timestamp of its Kafka record.

It is checked against the record alone, so that a replay decides as the first run did. A time in another unit than
milliseconds lies decades away from its record: the reason's detail names the unit that fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from processor.types import Batch, BoolArray, Int64Array

GREATEST_TIME: Final = 8_640_000_000_000_000
"""ms before or after the epoch: the range of ECMAScript's Date (ECMA-262, 21.4.1.1), some 270,000 years."""

_YEAR_MS: Final = 365.25 * 86_400_000
_NEAR_MS: Final = 30 * _YEAR_MS  # of what fits: historical data may be that old
_NANOSECONDS: Final = range(631_152_000 * 10**9, 4_102_444_800 * 10**9)  # from 1990 to 2100
_IN_MILLISECONDS: Final[Mapping[str, Callable[[int], int]]] = {
    "seconds": lambda time: time * 1000,
    "microseconds": lambda time: time // 1000,
    "nanoseconds": lambda time: time // 1_000_000,
}


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How far an event's time may lie from its record's timestamp, in milliseconds; 0: any distance goes."""

    ahead_ms: int = 0
    behind_ms: int = 0

    def unfit(
        self, batch: Batch, time: Int64Array, sample: BoolArray, without_behind: frozenset[int]
    ) -> dict[int, BadEvent]:
        """Row -> why its time is bad, of the rows that are samples.

        without_behind: partitions in which a time may be any distance behind.
        """
        # A value's own time was checked by its format, so what is out of range here came from the record.
        beyond = sample & ((time > GREATEST_TIME) | (time < -GREATEST_TIME))
        unfit = {
            row: BadEvent(
                Reason.WRONG_TYPE, f"no time, and the record's timestamp {time[row]} is beyond +-{GREATEST_TIME} ms"
            )
            for row in beyond.nonzero()[0].tolist()
        }
        # A record without a timestamp (-1) gives nothing to compare with.
        compared = sample & (batch.timestamps >= 0)
        if self.ahead_ms:
            rows = compared & (time - self.ahead_ms > batch.timestamps)
            unfit = dict(_far(rows, time, batch, "ahead of", Reason.TIME_AHEAD, self.ahead_ms)) | unfit
        if self.behind_ms:
            rows = compared & (time + self.behind_ms < batch.timestamps)
            if without_behind and rows.any():
                rows &= ~np.isin(batch.partitions, list(without_behind))
            unfit = dict(_far(rows, time, batch, "before", Reason.TIME_BEHIND, self.behind_ms)) | unfit
        return unfit


def _far(
    rows: BoolArray, time: Int64Array, batch: Batch, where: str, reason: Reason, limit: int
) -> Iterator[tuple[int, BadEvent]]:
    for row in rows.nonzero()[0].tolist():
        given, stamp = int(time[row]), int(batch.timestamps[row])
        detail = (
            f"time {given} is {abs(given - stamp)} ms {where} the record's timestamp {stamp}, "
            f"and at most {limit} ms are allowed{other_unit(given, stamp)}"
        )
        yield row, BadEvent(reason, detail)


def other_unit(time: int, timestamp: int | None = None) -> str:
    """The unit that a time looks like, as the end of a sentence; empty where none but milliseconds fits.

    timestamp: of the record, ms; without one, a time beyond the range of dates still shows its unit.
    """
    if timestamp is None:
        unit = "nanoseconds" if time in _NANOSECONDS else None
    else:
        distances = {unit: abs(convert(time) - timestamp) for unit, convert in _IN_MILLISECONDS.items()}
        unit = min(distances, key=distances.__getitem__)
        if distances[unit] > _NEAR_MS or distances[unit] >= abs(time - timestamp):
            unit = None
    return f"; it looks like {unit}, and times are in milliseconds" if unit else ""
