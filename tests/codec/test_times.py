"""What an event's time may be, beside its record's timestamp: the same in every format, and the unit that was meant."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from codec.reference import THREE, batch
from processor.codec import event_decoder
from processor.config.settings import InputSettings
from processor.types import BadEvent, Kind, Reason

NOW = 1_764_410_000_000  # 29 November 2025
YEAR = 31_557_600_000
BEHIND = 30 * YEAR
AHEAD = 86_400_000


def as_json(time: int) -> bytes:
    return b'{"features":[1,2,3],"time":%d}' % time


def packed(time: int) -> bytes:
    return struct.pack("<3f qq I", 1, 2, 3, time, 0, 1)


FORMATS = pytest.mark.parametrize(("name", "write"), [("json", as_json), ("float32", packed)])


def judged(name: str, values: list[bytes], stamp: int = NOW, without: Any = frozenset()) -> dict[int, BadEvent]:
    decoder = event_decoder(InputSettings(format=name), THREE, max_ahead_ms=AHEAD, max_behind_ms=BEHIND)
    events = decoder.decode(batch(list(values), timestamps=[stamp] * len(values)), without)
    assert [row for row in range(len(values)) if events.kind[row] == Kind.BAD] == list(events.bad)
    return events.bad


@FORMATS
def test_a_time_too_far_behind_its_record_is_bad(name: str, write: Any) -> None:
    bad = judged(name, [write(NOW - BEHIND), write(NOW - BEHIND - 1), write(0), write(-NOW), write(NOW)])
    assert {row: why.reason for row, why in bad.items()} == dict.fromkeys((1, 2, 3), Reason.TIME_BEHIND)
    assert bad[1].detail == (
        f"time {NOW - BEHIND - 1} is {BEHIND + 1} ms before the record's timestamp {NOW}, "
        f"and at most {BEHIND} ms are allowed"
    )


@FORMATS
@pytest.mark.parametrize(
    ("time", "reason", "unit"),
    [
        (NOW // 1000, Reason.TIME_BEHIND, "seconds"),
        (NOW // 1000 - 10 * YEAR // 1000, Reason.TIME_BEHIND, "seconds"),
        (NOW * 1000, Reason.TIME_AHEAD, "microseconds"),
        (NOW * 1_000_000, Reason.WRONG_TYPE, "nanoseconds"),
        (NOW + 2 * AHEAD, Reason.TIME_AHEAD, None),
        (NOW + 20 * YEAR, Reason.TIME_AHEAD, None),
        (NOW - 40 * YEAR, Reason.TIME_BEHIND, None),
        (0, Reason.TIME_BEHIND, None),
        (86_400, Reason.TIME_BEHIND, None),
        (2**63 - 1, Reason.WRONG_TYPE, None),
    ],
)
def test_the_detail_names_the_unit_that_fits(
    name: str, write: Any, time: int, reason: Reason, unit: str | None
) -> None:
    (why,) = judged(name, [write(time)]).values()
    assert why.reason == reason
    hint = f"; it looks like {unit}, and times are in milliseconds" if unit else ""
    assert why.detail.endswith(hint)
    assert ("looks like" in why.detail) == bool(unit)


@FORMATS
def test_without_a_timestamp_or_a_time_there_is_nothing_to_compare(name: str, write: Any) -> None:
    assert judged(name, [write(5)], stamp=-1) == {}
    bare = {"json": b'{"features":[1,2,3]}', "float32": struct.pack("<3f", 1, 2, 3)}[name]
    assert judged(name, [bare], stamp=5) == {}, "the record's own timestamp is the time, whatever it is"


@FORMATS
def test_0_is_off_and_a_partition_may_be_left_out(name: str, write: Any) -> None:
    off = event_decoder(InputSettings(format=name), THREE, max_ahead_ms=0).decode(batch([write(5)], timestamps=[NOW]))
    assert off.bad == {}
    decoder = event_decoder(InputSettings(format=name), THREE, max_ahead_ms=0, max_behind_ms=BEHIND)
    two = batch([write(5), write(5)], timestamps=[NOW, NOW])
    two.partitions[:] = [3, 4]
    assert list(decoder.decode(two, frozenset({3})).bad) == [1]
    assert np.array_equal(decoder.decode(two, frozenset({3, 4})).time, [5, 5])


def test_a_fraction_of_seconds_is_told_the_unit() -> None:
    (why,) = judged("json", [b'{"features":[1,2,3],"time":1764410000.25}']).values()
    assert why == BadEvent(Reason.WRONG_TYPE, "time: 1764410000.25 where an integer of milliseconds is wanted")
