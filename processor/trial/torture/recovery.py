"""How long a recovery takes: from the moment of a fault until every partition has predictions for what came later.

"Later" is known by offsets: an event at or beyond the input's end as it was when it happened. A partition's predictions
come in the order of its events: one for such an event comes after those for all before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from processor.kafka.client import Message
    from processor.trial.torture.schedule import Round

_RARE: Final = 20  # a partition with this many times fewer events than its share shows nothing about time


class _Source(msgspec.Struct, gc=False):
    """The input record of a prediction."""

    partition: int
    offset: int


_decode = msgspec.json.Decoder(_Source).decode


@dataclass(slots=True)
class Answered:
    """How far the predictions have come, by partition: the greatest input offset that has a prediction."""

    offsets: dict[int, int] = field(default_factory=dict)
    predictions: int = 0

    def take(self, messages: Iterable[Message]) -> None:
        """Counts predictions; the checks at the end find what is no prediction."""
        for message in messages:
            try:
                source = _decode(message.value() or b"")
            except msgspec.MsgspecError:
                continue
            self.predictions += 1
            self.offsets[source.partition] = max(source.offset, self.offsets.get(source.partition, -1))

    def lag(self, ends: Mapping[int, int]) -> int:
        """Events below the ends that have no prediction yet, as far as predictions show."""
        return sum(max(0, end - 1 - self.offsets.get(number, -1)) for number, end in busy(ends).items())


def busy(ends: Mapping[int, int]) -> dict[int, int]:
    """The partitions that have their share of the events, more or less: one with few is late however it fares."""
    least = sum(ends.values()) / (_RARE * len(ends)) if ends else 0
    return {number: end for number, end in ends.items() if end > least}


@dataclass(slots=True)
class Recovery:
    """One round as it goes. `ends`: the input's, when it happened; `at`: monotonic seconds of that moment."""

    round: Round
    at: float | None = None
    ends: dict[int, int] = field(default_factory=dict)
    seconds: float | None = None  # until every partition had predictions for what came later
    settled_seconds: float | None = None  # until all processes ran again, without a lag
    remarks: list[str] = field(default_factory=list)

    def strike(self, at: float, ends: Mapping[int, int]) -> None:
        """It happens now; if something happened before in this round, that was but the preparation."""
        self.at, self.ends, self.seconds = at, busy(ends), None

    def see(self, answered: Answered, now: float) -> None:
        """Looks how far the recovery has come."""
        if self.at is None or self.seconds is not None:
            return
        if all(answered.offsets.get(number, -1) >= end for number, end in self.ends.items()):
            self.seconds = now - self.at


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: how often it happened, and the median and longest recovery in seconds."""

    fault: str
    times: int
    median: float
    longest: float


def rows(recoveries: Iterable[Recovery], order: Iterable[str]) -> list[Row]:
    """One row for each fault that came, in the given order."""
    by_name: dict[str, list[float]] = {}
    for recovery in recoveries:
        if recovery.seconds is not None:
            by_name.setdefault(recovery.round.fault, []).append(recovery.seconds)
    found = [(name, by_name[name]) for name in order if name in by_name]
    return [Row(name, len(seconds), median(seconds), max(seconds)) for name, seconds in found]
