"""The oracle, by cases written by hand: one for each rule of what an event does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from processor.trial.oracle import Expected, InputRecord, Rules, Sample, expected
from processor.types import Reason

NOW = 1_000_000_000
ONE = {"x": (1,)}


def event(time: int | None = None, *, x: float = 1.0, **fields: Any) -> dict[str, Any]:
    return {"features": [x], **({} if time is None else {"time": time}), **fields}


def run(
    events: Sequence[tuple[bytes | None, Any]], is_finite: Any = None, timestamp: int = NOW, **settings: Any
) -> Expected:
    """One partition, number 3: (key, event as an object, as raw bytes or None) at the offsets 0, 1, 2, ..."""
    records = [
        InputRecord(offset, timestamp, key, json.dumps(value).encode() if isinstance(value, dict | list) else value)
        for offset, (key, value) in enumerate(events)
    ]
    return expected({3: records}, Rules(**{"inputs": ONE, **settings}), is_finite)


def steps(result: Expected) -> dict[int, int]:
    """offset -> step, of what is predicted."""
    return {one.offset: one.step for one in result.predictions[3]}


def reasons(result: Expected) -> dict[int, Reason]:
    return {one.offset: one.reason for one in result.dead_letters[3]}


def sequences(result: Expected, key: bytes = b"k") -> list[list[int]]:
    """The offsets of each sequence of a key."""
    return [[sample.offset for sample in sequence] for sequence in result.sequences[3, key]]


def test_every_good_event_is_answered_with_its_key_time_and_step() -> None:
    result = run([(b"a", event(5, x=0.5)), (b"b", event(6)), (b"a", event(7, x=0.25)), (b"", event(8))])
    assert [(one.key, one.time, one.step, one.sequence) for one in result.predictions[3]] == [
        (b"a", 5, 1, 0),
        (b"b", 6, 1, 0),
        (b"a", 7, 2, 0),
        (b"", 8, 1, 0),
    ]
    assert result.sequences[3, b"a"] == [[Sample({"x": [0.5]}, 3, 0), Sample({"x": [0.25]}, 3, 2)]]


def test_partitions_know_nothing_of_each_other() -> None:
    record = InputRecord(0, NOW, b"a", b'{"features":[1]}')
    result = expected({0: [record], 1: [record]}, Rules(ONE))
    assert [one.step for number in (0, 1) for one in result.predictions[number]] == [1, 1]


def test_the_time_defaults_to_the_record_s_timestamp() -> None:
    assert run([(b"k", event())], timestamp=77).predictions[3][0].time == 77


# 1. Bad, or null


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", Reason.UNDECODABLE),
        (b"{", Reason.UNDECODABLE),
        (b'{"features":[1]} x', Reason.UNDECODABLE),
        (b'{"features":[NaN]}', Reason.UNDECODABLE),
        (b'{"features":[1],"\xff":1}', Reason.UNDECODABLE),
        (b"\xef\xbb\xbf{}", Reason.UNDECODABLE),
        (b'{"features":[1],"x":' + b"[" * 64 + b"]" * 64 + b"}", Reason.UNDECODABLE),
        (b'{"features":[1],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Reason.UNDECODABLE),
        (b"[1]", Reason.WRONG_TYPE),
        (b'"text"', Reason.WRONG_TYPE),
        (b"{}", Reason.MISSING_FEATURES),
        (b'{"features":null}', Reason.MISSING_FEATURES),
        (b'{"features":{}}', Reason.MISSING_FEATURES),
        (b'{"features":{"x":null}}', Reason.MISSING_FEATURES),
        (b'{"features":{"x":[1],"y":[1]}}', Reason.UNKNOWN_INPUT),
        (b'{"features":1}', Reason.WRONG_SHAPE),
        (b'{"features":[]}', Reason.WRONG_SHAPE),
        (b'{"features":[1,2]}', Reason.WRONG_SHAPE),
        (b'{"features":[[1]]}', Reason.WRONG_SHAPE),
        (b'{"features":"1"}', Reason.WRONG_TYPE),
        (b'{"features":["1"]}', Reason.WRONG_TYPE),
        (b'{"features":[true]}', Reason.WRONG_TYPE),
        (b'{"features":[null]}', Reason.WRONG_TYPE),
        (b'{"features":[1e39]}', Reason.NOT_FINITE),
        (b'{"features":[1e999]}', Reason.NOT_FINITE),
        (b'{"features":[' + b"9" * 5000 + b"]}", Reason.NOT_FINITE),
        (b'{"features":[1],"time":1.0}', Reason.WRONG_TYPE),
        (b'{"features":[1],"time":true}', Reason.WRONG_TYPE),
        (b'{"features":[1],"time":8640000000000001}', Reason.WRONG_TYPE),
        (b'{"features":[1],"sequence":"1"}', Reason.WRONG_TYPE),
        (b'{"features":[1],"sequence":9223372036854775808}', Reason.WRONG_TYPE),
        (b'{"features":[1],"sequence":' + b"9" * 5000 + b"}", Reason.WRONG_TYPE),
        (b'{"features":[1],"start":1}', Reason.WRONG_TYPE),
        (b'{"features":[1],"end":"no"}', Reason.WRONG_TYPE),
    ],
)
def test_a_bad_value_goes_to_the_dead_letters_untouched_and_changes_nothing(value: bytes, reason: Reason) -> None:
    result = run([(b"k", event(5)), (b"k", value), (b"k", event(6))])
    (letter,) = result.dead_letters[3]
    assert (letter.key, letter.value, letter.offset, letter.reason) == (b"k", value, 1, reason)
    assert steps(result) == {0: 1, 2: 2}


@pytest.mark.parametrize(
    "value",
    [
        b'{"features":{"x":[1]}}',
        b' {"features" : [1e-60], "time":null, "sequence":null,"start":null,"end":null}\n',
        b'{"features":[1],"other":{"features":"x"}}',
        b'{"features":[1],"x":' + b"[" * 63 + b"]" * 63 + b"}",
        b'{"features":[3.4028235677973362e+38],"time":-8640000000000000,"sequence":-9223372036854775808}',
    ],
)
def test_what_is_unusual_but_good_is_answered(value: bytes) -> None:
    assert steps(run([(b"k", value)], max_behind_seconds=0)) == {0: 1}


def test_several_inputs_are_named_and_tokens_are_integers() -> None:
    rules: dict[str, Any] = {"inputs": {"x": (), "word": (2,)}, "tokens": frozenset({"word"})}
    result = run(
        [
            (b"k", b'{"features":{"x":0.1,"word":[1,-2147483648]}}'),
            (b"k", b'{"features":{"x":0.1,"word":[1,2147483648]}}'),
            (b"k", b'{"features":{"x":0.1,"word":[1.0,2]}}'),
            (b"k", b'{"features":{"x":0.1}}'),
            (b"k", b'{"features":[1]}'),
        ],
        **rules,
    )
    assert result.sequences[3, b"k"][0][0].features == {"x": 0.10000000149011612, "word": [1, -2147483648]}
    assert list(reasons(result).values()) == [
        Reason.WRONG_TYPE,
        Reason.WRONG_TYPE,
        Reason.MISSING_FEATURES,
        Reason.WRONG_TYPE,
    ]


def test_no_key_is_bad_and_an_empty_one_is_a_key() -> None:
    result = run([(None, event()), (None, None), (b"", event()), (b"long", event())], largest_key=3)
    assert reasons(result) == {0: Reason.NO_KEY, 1: Reason.NO_KEY, 3: Reason.TOO_LARGE}
    assert steps(result) == {2: 1}


def test_a_time_far_ahead_of_the_record_is_bad_and_does_not_move_the_stream_time() -> None:
    result = run(
        [(b"a", event(NOW + 10_000)), (b"a", event(NOW + 10_001)), (b"k", event(NOW))],
        max_ahead_seconds=10,
        allowed_lateness_seconds=10,
    )
    assert reasons(result) == {1: Reason.TIME_AHEAD}
    assert steps(run([(b"k", event(NOW + 10**12))], max_ahead_seconds=0)) == {0: 1}
    assert steps(run([(b"k", event(NOW + 10**12))], timestamp=-1)) == {0: 1}


def test_a_time_far_behind_the_record_is_bad() -> None:
    result = run([(b"a", event(NOW - 10_000)), (b"a", event(NOW - 10_001))], max_behind_seconds=10)
    assert reasons(result) == {1: Reason.TIME_BEHIND}
    now = 1_764_410_000_000
    assert reasons(run([(b"k", event(now // 1000))], timestamp=now)) == {0: Reason.TIME_BEHIND}
    assert steps(run([(b"k", event(now // 1000))], timestamp=now, max_behind_seconds=0)) == {0: 1}
    assert steps(run([(b"k", event(now // 1000))], timestamp=-1)) == {0: 1}


def test_a_null_value_forgets_state_time_and_sequence_number() -> None:
    result = run(
        [(b"k", event(5, sequence=9)), (b"k", None), (b"k", event(6, sequence=1)), (b"other", None)], gap_seconds=1
    )
    assert steps(result) == {0: 1, 2: 1}
    assert sequences(result) == [[0], [2]]
    assert (result.forgotten, result.duplicates) == (2, 0)


# 2. Late


def test_an_event_behind_the_stream_time_by_more_than_allowed_is_late() -> None:
    result = run(
        [(b"a", event(50_000)), (b"k", event(40_000)), (b"k", event(39_999)), (b"k", event(45_000))],
        allowed_lateness_seconds=10,
    )
    assert reasons(result) == {2: Reason.LATE}
    assert steps(result) == {0: 1, 1: 1, 3: 2}


def test_any_lateness_goes_when_none_is_set() -> None:
    assert steps(run([(b"a", event(10**9)), (b"k", event(0))])) == {0: 1, 1: 1}


def test_duplicates_and_steps_that_were_not_finite_move_the_stream_time_too() -> None:
    def finite(samples: list[Sample]) -> bool:
        return samples[-1].features["x"] != [7.0]

    for mover in (event(90_000, sequence=1), event(90_000, x=7.0)):
        result = run(
            [(b"k", event(10_000, sequence=1)), (b"k", mover), (b"b", event(79_999)), (b"b", event(80_000))],
            finite,
            allowed_lateness_seconds=10,
        )
        assert reasons(result)[2] is Reason.LATE
        assert 3 in steps(result)


# 3. Idle


def test_a_key_unseen_for_longer_than_idle_is_forgotten_with_its_sequence_number() -> None:
    events = [(b"k", event(1000, sequence=5)), (b"k", event(11_000, sequence=6)), (b"k", event(21_001, sequence=1))]
    result = run(events, idle_seconds=10)
    assert steps(result) == {0: 1, 1: 2, 2: 1}
    assert result.duplicates == 0


def test_the_stream_time_makes_a_key_idle_though_its_own_event_is_old() -> None:
    result = run(
        [(b"k", event(1000, sequence=5)), (b"other", event(20_000)), (b"k", event(2000, sequence=5))], idle_seconds=10
    )
    assert steps(result) == {0: 1, 1: 1, 2: 1}


def test_idle_counts_from_the_greatest_time_of_the_running_sequence_or_the_last_one() -> None:
    for fields in ({}, {"end": True}):
        events = [(b"k", event(9000)), (b"k", event(1000, sequence=5, **fields)), (b"k", event(19_000, sequence=5))]
        assert run(events, idle_seconds=10).duplicates == 1
        events[-1] = (b"k", event(19_001, sequence=5))
        assert run(events, idle_seconds=10).duplicates == 0


# 4. Duplicates


def test_a_sequence_number_at_or_below_the_last_is_dropped_and_changes_nothing_of_its_key() -> None:
    result = run(
        [
            (b"k", event(1000, sequence=5)),
            (b"k", event(9000, sequence=5, end=True)),
            (b"k", event(9000, sequence=4, start=True)),
            (b"k", event(2000)),
            (b"k", event(2500, sequence=6)),
        ],
        gap_seconds=2,
    )
    assert result.duplicates == 2
    assert steps(result) == {0: 1, 3: 2, 4: 3}


def test_the_last_sequence_number_outlives_markers_gaps_and_n() -> None:
    for settings, fields in (({}, {"end": True}), ({"length": 1}, {}), ({"gap_seconds": 1}, {})):
        events = [(b"k", event(0, sequence=5, **fields)), (b"k", event(9000)), (b"k", event(9000, sequence=5))]
        assert run(events, **settings).duplicates == 1
    started = [(b"k", event(0, sequence=5)), (b"k", event(1, start=True)), (b"k", event(2, sequence=5))]
    assert run(started).duplicates == 1


# 5. Afresh


def test_a_gap_starts_afresh() -> None:
    result = run([(b"k", event(0)), (b"k", event(1000)), (b"k", event(2001)), (b"k", event(3001))], gap_seconds=1)
    assert sequences(result) == [[0, 1], [2, 3]]


def test_the_gap_is_measured_from_the_greatest_time_of_the_running_sequence_alone() -> None:
    result = run(
        [
            (b"k", event(5000)),
            (b"k", event(1000)),
            (b"k", event(6000)),  # 1 s after 5000, though 5 s after the event before it
            (b"k", event(2000, start=True)),  # the key's time is 2000 now: the new sequence has no other
            (b"k", event(3500)),
        ],
        gap_seconds=1,
    )
    assert sequences(result) == [[0, 1, 2], [3], [4]]


def test_start_starts_afresh_before_its_sample() -> None:
    assert sequences(run([(b"k", event(0)), (b"k", event(1, start=True)), (b"k", event(2))])) == [[0], [1, 2]]


# 6. Step, end, N


def test_after_end_and_after_the_nth_step_the_state_is_empty() -> None:
    events = [(b"k", event(number, end=number == 2)) for number in range(8)]
    assert sequences(run(events)) == [[0, 1, 2], [3, 4, 5, 6, 7]]
    assert sequences(run(events, length=2)) == [[0, 1], [2], [3, 4], [5, 6], [7]]


def test_a_step_that_is_not_finite_leaves_the_key_as_it_was() -> None:
    seen: list[list[int]] = []

    def finite(samples: list[Sample]) -> bool:
        seen.append([sample.offset for sample in samples])
        return samples[-1].features["x"] != [7.0]

    result = run(
        [
            (b"k", event(0, sequence=1)),
            (b"k", event(500, x=7.0, sequence=9, start=True)),
            (b"k", event(900, x=7.0, end=True)),
            (b"k", event(1000, sequence=2)),
            (b"k", event(2000, x=7.0)),
            (b"k", event(2001)),
        ],
        finite,
        gap_seconds=1,
    )
    assert reasons(result) == {1: Reason.NOT_FINITE, 2: Reason.NOT_FINITE, 4: Reason.NOT_FINITE}
    assert sequences(result) == [[0, 3], [5]]
    assert seen == [[0], [1], [0, 2], [0, 3], [0, 3, 4], [5]]


# Static inputs


def told(x: float, factor: Any = None, **fields: Any) -> tuple[bytes, dict[str, Any]]:
    features = {"x": [x]} if factor is None else {"x": [x], "factor": factor}
    return b"k", {"features": features, **fields}


def with_factor(*events: Any, **settings: Any) -> Expected:
    return run(list(events), inputs={"factor": (), "x": (1,)}, static=frozenset({"factor"}), **settings)


def test_a_static_input_holds_for_all_of_its_sequence() -> None:
    result = with_factor(told(1, 2), told(2), told(3, 2.0), told(4, end=True), told(5, 7))
    assert steps(result) == {0: 1, 1: 2, 2: 3, 3: 4, 4: 1}
    assert [[sample.features["factor"] for sample in one] for one in result.sequences[3, b"k"]] == [[2.0] * 4, [7.0]]
    assert list(result.sequences[3, b"k"][0][1].features) == ["factor", "x"], "in the order of the inputs"


def test_another_value_of_a_static_input_changes_nothing_but_the_stream_time() -> None:
    result = with_factor(
        told(1, 2, time=0),
        told(2, 3, time=20_000),
        told(3, time=9_999),
        told(4, time=10_000),
        allowed_lateness_seconds=10,
    )
    assert reasons(result) == {1: Reason.WRONG_STATIC, 2: Reason.LATE}
    assert steps(result) == {0: 1, 3: 2}


def test_negative_zero_is_another_value_than_zero() -> None:
    assert reasons(with_factor(told(1, 0.0), told(1, -0.0), told(1, 0))) == {1: Reason.WRONG_STATIC}


@pytest.mark.parametrize(
    "before",
    [[], [told(1, 2, end=True)], [told(1, 2), (b"k", None)], [told(1, 2, time=0)], [told(1, 2), told(1), told(1)]],
    ids=["new", "end", "null", "gap", "N"],
)
def test_a_sequence_begins_with_its_static_input(before: list[Any]) -> None:
    result = with_factor(*before, told(1, time=NOW), told(1, 5, time=NOW), gap_seconds=10, length=3)
    assert reasons(result) == {len(before): Reason.WRONG_STATIC}
    assert steps(result)[len(before) + 1] == 1


def test_a_start_without_the_static_input_starts_nothing() -> None:
    result = with_factor(told(1, 2), told(2, start=True), told(3))
    assert (reasons(result), steps(result)) == ({1: Reason.WRONG_STATIC}, {0: 1, 2: 2})


def test_a_static_input_that_is_there_must_be_as_said() -> None:
    result = with_factor(told(1, [2]), told(1, "2"), (b"k", {"features": {"factor": 2}}), (b"k", {"features": [1]}))
    kinds = [Reason.WRONG_SHAPE, Reason.WRONG_TYPE, Reason.MISSING_FEATURES, Reason.WRONG_TYPE]
    assert list(reasons(result).values()) == kinds
