"""Events: what is read out of a good one, why a bad one is bad, and what is told to the human who looks at it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from codec.reference import GREATEST_TIME, THREE, batch, row_of
from processor.codec import event_decoder
from processor.config import load_settings
from processor.config.settings import InputSettings
from processor.errors import ConfigError
from processor.types import BadEvent, Events, Kind, Reason, TensorSpec

NOW = 1_700_000_000_000
SEVERAL = [TensorSpec("ecg", (2, 2)), TensorSpec("token", (), "int32")]


def decode(*values: bytes | None, inputs: list[TensorSpec] = THREE, max_ahead_ms: int = 0) -> Events:
    return event_decoder(InputSettings(), inputs, max_ahead_ms=max_ahead_ms).decode(batch(list(values)))


def bad(value: bytes, inputs: list[TensorSpec] = THREE) -> BadEvent:
    events = decode(value, inputs=inputs)
    assert events.kind.tolist() == [Kind.BAD]
    return events.bad[0]


def test_every_field_of_an_event_is_read() -> None:
    events = decode(
        b'{"features":[1,2.5,-3e-2],"time":1699999999999,"sequence":7,"start":true,"end":true}',
        b'{"end":false,"features":{"samples":[4,5,6]},"sequence":-9223372036854775808}',
        b' {"features" : [7,8,9], "time":null, "sequence":null, "start":null, "end":null, "other":{"a":[1]}}\n',
    )
    np.testing.assert_array_equal(
        events.features["samples"], np.array([[1, 2.5, -0.03], [4, 5, 6], [7, 8, 9]], np.float32)
    )
    assert events.features["samples"].dtype == np.float32
    assert events.kind.tolist() == [Kind.SAMPLE] * 3
    assert events.time.tolist() == [1_699_999_999_999, NOW, NOW]
    assert events.sequence.tolist() == [7, -(2**63), 0]
    assert events.has_sequence.tolist() == [True, True, False]
    assert events.start.tolist() == [True, False, False]
    assert events.end.tolist() == [True, False, False]
    assert events.bad == {}


@pytest.mark.parametrize(
    ("shape", "features", "numbers"),
    [
        ((), b"4", 4),
        ((), b'{"x":4.5}', 4.5),
        ((1,), b"[4]", [4]),
        ((2, 3), b"[[1,2,3],[4,5,6]]", [[1, 2, 3], [4, 5, 6]]),
        ((2, 1, 2), b"[[[1,2]],[[3,4]]]", [[[1, 2]], [[3, 4]]]),
        ((300,), b"[%b]" % b",".join(b"%d" % n for n in range(300)), list(range(300))),
    ],
)
def test_features_are_nested_as_one_sample(shape: tuple[int, ...], features: bytes, numbers: object) -> None:
    column = decode(b'{"features":%b}' % features, inputs=[TensorSpec("x", shape)]).features["x"]
    np.testing.assert_array_equal(column, np.array([numbers], np.float32))
    assert column.shape == (1, *shape)


def test_several_inputs_come_by_name_in_any_order() -> None:
    events = decode(
        b'{"features":{"token":16777217,"ecg":[[1,2],[3,4]]}}',
        b'{"features":{"ecg":[[5,6],[7,8]],"token":-2147483648}}',
        inputs=SEVERAL,
    )
    assert events.features["ecg"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    # As float32 it would be another token.
    assert events.features["token"].dtype == np.int32
    assert events.features["token"].tolist() == [16777217, -(2**31)]
    floats = decode(b'{"features":{"ecg":[[1,2],[3,4]],"token":3.0}}', inputs=SEVERAL)
    assert floats.features["token"].tolist() == [3]


U, T, F, I, S, N = (  # noqa: E741
    Reason.UNDECODABLE,
    Reason.WRONG_TYPE,
    Reason.MISSING_FEATURES,
    Reason.UNKNOWN_INPUT,
    Reason.WRONG_SHAPE,
    Reason.NOT_FINITE,
)


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"", U, "the value is empty"),
        (b"{", U, "truncated"),
        (b'{"features":[1,2,3]} x', U, "trailing characters"),
        (b'{"features":[1,2,3]}{"features":[1,2,3]}', U, "trailing characters"),
        (b'{"features":[1,NaN,3]}', U, "byte 15"),
        (b'{"features":[1,2,3],"x":"\xff"}', U, "not UTF-8: byte 0xff at 25"),
        (b'{"features":[1,2,3],"x":%b%b}' % (b"[" * 64, b"]" * 64), U, "nested 65 deep, and 64 is the limit"),
        (b"[" * 1_000_000, U, "nested 1000000 deep, and 64 is the limit"),
        (b"[1,2,3]", T, "the event is a list of 3, and an object is wanted"),
        (b"null", T, "the event is null"),
        (b'{"feature":[1,2,3]}', F, "no field 'features'"),
        (b'{"features":null}', F, "features is null"),
        (b'{"features":{}}', F, 'the input "samples" is absent'),
        (b'{"features":{"samples":null}}', F, 'the input "samples" is null'),
        (b'{"features":{"smaples":[1,2,3]}}', I, 'no input "smaples"; its inputs are samples'),
        (b'{"features":[1,2]}', S, "features: a list of 2 where a list of 3 numbers is wanted"),
        (b'{"features":5}', S, "features: 5 where a list of 3 numbers is wanted"),
        (b'{"features":[1,[2],3]}', S, "features[1]: a list of 1 where a number is wanted"),
        (b'{"features":[1,"2",3]}', T, 'features[1]: text "2" where a number is wanted'),
        (b'{"features":[1,2,true]}', T, "features[2]: true where a number is wanted"),
        (b'{"features":[1,null,3]}', T, "features[1]: null where a number is wanted"),
        (b'{"features":{"samples":["\xc3\xa9",2,3]}}', T, 'features.samples[0]: text "\\u00e9" where'),
        (b'{"features":"AAAA"}', T, 'features: text "AAAA" where a list of 3 numbers is wanted'),
        (b'{"features":[1,2,1e39]}', N, "features[2]: 1e39 is more than a float32 can hold"),
        (b'{"features":[1,2,-1e999]}', N, "features[2]: -1e999 is more"),
        (b'{"features":[%b,2,3]}' % (b"9" * 9000), N, "(9000 characters) is more"),
        (b'{"features":[1,2,3],"time":1.0}', T, "time: 1.0 where an integer of milliseconds is wanted"),
        (
            b'{"features":[1,2,3],"time":"2024-01-01"}',
            T,
            'time: text "2024-01-01" where an integer of milliseconds is wanted',
        ),
        (b'{"features":[1,2,3],"time":8640000000000001}', T, "time: 8640000000000001 is not within -86400"),
        (b'{"features":[1,2,3],"time":true}', T, "time: true where an integer of milliseconds is wanted"),
        (b'{"features":[1,2,3],"sequence":9223372036854775808}', T, "sequence: 9223372036854775808 is not within"),
        (b'{"features":[1,2,3],"sequence":%b}' % (b"9" * 100_000), T, "(100000 characters) is not within"),
        (b'{"features":[1,2,3],"start":1}', T, "start: 1 where true or false is wanted"),
        (b'{"features":[1,2,3],"end":"yes"}', T, 'end: text "yes" where true or false is wanted'),
        (b'{"features":[1,2,3],"end":{}}', T, "end: an object where"),
    ],
)
def test_a_bad_event_says_why_and_where(value: bytes, reason: Reason, detail: str) -> None:
    why = bad(value)
    assert why.reason == reason
    assert detail in why.detail
    assert why.detail.isascii()
    assert len(why.detail) <= 300


@pytest.mark.parametrize(
    ("features", "reason", "detail"),
    [
        (b"[[1,2],[3,4]]", T, "a list of 2 where an object with the inputs ecg, token is wanted"),
        (b'{"ecg":[[1,2],[3,4]]}', F, 'the input "token" is absent'),
        (b'{"ecg":[[1,2],[3,4]],"token":1,"tokens":1}', I, 'no input "tokens"; its inputs are ecg, token'),
        (b'{"ecg":[[1,2],[3,4,5]],"token":1}', S, "features.ecg[1]: a list of 3 where a list of 2 numbers"),
        (b'{"ecg":[1,2,3,4],"token":1}', S, "features.ecg: a list of 4 where a list of 2 lists"),
        (b'{"ecg":[[1,2],[3,1e39]],"token":1}', N, "features.ecg[1][1]: 1e39"),
        (b'{"ecg":[[1,2],[3,4]],"token":1.5}', T, "features.token: 1.5 where an integer is wanted"),
        (b'{"ecg":[[1,2],[3,4]],"token":4e9}', T, "features.token: 4e9 is not within -2147483648 to 2147483647"),
        (b'{"ecg":[[1,2],[3,4]],"token":2147483648}', T, "features.token: 2147483648 is not within -2147483648"),
        (b'{"ecg":[[1,2],[3,4]],"token":[1]}', S, "features.token: a list of 1 where a number is wanted"),
    ],
)
def test_a_bad_event_of_several_inputs_says_why_and_where(features: bytes, reason: Reason, detail: str) -> None:
    why = bad(b'{"features":%b}' % features, SEVERAL)
    assert why.reason == reason
    assert detail in why.detail


STATIC = [TensorSpec("weight", (1,), static=True), *THREE, TensorSpec("kind", (), "int32", static=True)]


def test_a_static_input_may_be_there_or_not() -> None:
    events = decode(
        b'{"features":{"samples":[1,2,3],"weight":[70.5],"kind":3}}',
        b'{"features":{"samples":[4,5,6],"weight":null}}',
        None,
        b'{"features":{"kind":4,"samples":[7,8,9]}}',
        inputs=STATIC,
    )
    assert events.kind.tolist() == [Kind.SAMPLE, Kind.SAMPLE, Kind.FORGET, Kind.SAMPLE]
    assert {name: column.tolist() for name, column in events.given.items()} == {
        "weight": [True, False, False, False],
        "kind": [True, False, False, True],
    }
    assert events.features["weight"].tolist() == [[70.5], [0], [0], [0]]
    assert events.features["kind"].tolist() == [3, 0, 0, 4]
    assert events.features["weight"].dtype == np.float32
    assert events.features["kind"].dtype == np.int32
    assert decode(b'{"features":[1,2,3]}').given == {}, "a model without static inputs"


@pytest.mark.parametrize(
    ("features", "reason", "detail"),
    [
        (b'{"weight":[1],"kind":1}', F, 'the input "samples" is absent'),
        (b"[1,2,3]", T, "an object with the inputs weight, samples, kind is wanted"),
        (b'{"samples":[1,2,3],"weight":1}', S, "features.weight: 1 where a list of 1 number is wanted"),
        (b'{"samples":[1,2,3],"weight":[null]}', T, "features.weight[0]: null"),
        (b'{"samples":[1,2,3],"weight":[1e39]}', N, "features.weight[0]: 1e39 is more than"),
        (b'{"samples":[1,2,3],"kind":1.5}', T, "features.kind: 1.5 where an integer is wanted"),
        (b'{"samples":[1,2,3],"sex":1}', I, 'no input "sex"; its inputs are weight, samples, kind'),
    ],
)
def test_a_static_input_that_is_there_is_judged_like_any_other(features: bytes, reason: Reason, detail: str) -> None:
    why = bad(b'{"features":%b}' % features, STATIC)
    assert why.reason == reason
    assert detail in why.detail


def test_an_event_whose_time_is_no_good_brings_no_static_input() -> None:
    value = b'{"features":{"samples":[1,2,3],"weight":[1],"kind":1},"time":%d}'
    events = decode(value % (NOW + 101), value % NOW, inputs=STATIC, max_ahead_ms=100)
    assert [column.tolist() for column in events.given.values()] == [[False, True]] * 2


def test_float32_ends_where_rounding_ends() -> None:
    events = decode(b'{"features":[3.4028235677973362e38,-3.4028235677973362e38,1e-60]}')
    most = np.finfo(np.float32).max
    assert events.features["samples"].tolist() == [[most, -most, 0]]
    assert bad(b'{"features":[0,3.4028235677973366e38,0]}').reason == Reason.NOT_FINITE


def test_of_a_field_that_comes_twice_the_last_counts_and_each_must_be_right() -> None:
    events = decode(b'{"features":[1,2,3],"time":1,"features":[4,5,6],"time":2,"start":true,"start":null}')
    assert (events.features["samples"].tolist(), events.time.tolist()) == ([[4, 5, 6]], [2])
    assert events.start.tolist() == [False]
    assert bad(b'{"features":[1],"features":[4,5,6]}').reason == Reason.WRONG_SHAPE
    assert bad(b'{"features":[4,5,6],"time":"1","time":1}').reason == Reason.WRONG_TYPE


def test_keys_and_null_values() -> None:
    good = b'{"features":[1,2,3]}'
    decoder = event_decoder(InputSettings(), THREE, max_ahead_ms=0, largest_key=4)
    events = decoder.decode(
        batch([good, None, good, None, good, None, good], [b"", b"", None, None, b"12345", b"12345", b"1234"])
    )
    kinds = [Kind.SAMPLE, Kind.FORGET, Kind.BAD, Kind.BAD, Kind.BAD, Kind.BAD, Kind.SAMPLE]
    assert events.kind.tolist() == kinds
    reasons = {2: Reason.NO_KEY, 3: Reason.NO_KEY, 4: Reason.TOO_LARGE, 5: Reason.TOO_LARGE}
    assert {row: why.reason for row, why in events.bad.items()} == reasons
    assert events.bad[4].detail == "the key has 5 bytes, and the largest key that a state can be stored under has 4"


def test_without_a_limit_a_key_may_be_long() -> None:
    decoder = event_decoder(InputSettings(), THREE, max_ahead_ms=0)
    assert decoder.decode(batch([b'{"features":[1,2,3]}'], [b"k" * 100_000])).bad == {}


def test_a_time_too_far_ahead_of_its_record_is_bad() -> None:
    values = [b'{"features":[1,2,3],"time":%d,"sequence":5,"start":true}' % time for time in (NOW + 100, NOW + 101, 0)]
    events = decode(*values, max_ahead_ms=100)
    assert events.kind.tolist() == [Kind.SAMPLE, Kind.BAD, Kind.SAMPLE]
    assert events.bad[1].reason == Reason.TIME_AHEAD
    assert f"time {NOW + 101} is 101 ms ahead of the record's timestamp {NOW}" in events.bad[1].detail
    assert row_of(events, 1)["features"] == row_of(decode(b"x"), 0)["features"], "a bad row is blank"
    assert (events.time[1], events.sequence[1], events.start[1]) == (0, 0, False)
    assert decode(*values).bad == {}, "0 is off"


def test_a_record_without_a_timestamp_is_never_behind() -> None:
    decoder = event_decoder(InputSettings(), THREE, max_ahead_ms=1)
    good: list[bytes | None] = [b'{"features":[1,2,3],"time":5000}', b'{"features":[1,2,3]}']
    events = decoder.decode(batch(good, timestamps=[-1, -1]))
    assert events.bad == {}
    assert events.time.tolist() == [5000, -1]


def test_a_record_s_timestamp_is_a_time_like_any_other() -> None:
    decoder = event_decoder(InputSettings(), THREE, max_ahead_ms=1000)
    stamps = [GREATEST_TIME, GREATEST_TIME + 1, 2**63 - 1, -(2**63), GREATEST_TIME + 1]
    values = [b'{"features":[1,2,3]}'] * 4 + [b'{"features":[1,2,3],"time":1}']
    events = decoder.decode(batch(list(values), timestamps=stamps))
    assert {row: why.reason for row, why in events.bad.items()} == dict.fromkeys((1, 2, 3), Reason.WRONG_TYPE)
    assert events.time.tolist() == [GREATEST_TIME, 0, 0, 0, 1]
    assert f"the record's timestamp {GREATEST_TIME + 1} is beyond" in events.bad[1].detail


def test_bad_rows_anywhere_leave_the_good_ones_alone() -> None:
    good = [b'{"features":[%d,0,0],"sequence":%d,"time":%d}' % (n, n, n) for n in range(1000)]
    mixed: list[bytes | None] = [b"{" if n % 7 == 0 else None if n % 11 == 0 else good[n] for n in range(1000)]
    events = decode(*mixed)
    for row in range(1000):
        kind = Kind.BAD if row % 7 == 0 else Kind.FORGET if row % 11 == 0 else Kind.SAMPLE
        number = row if kind == Kind.SAMPLE else 0
        assert events.kind[row] == kind
        assert (events.features["samples"][row, 0], events.sequence[row], events.time[row]) == (number,) * 3
        assert events.has_sequence[row] == (kind == Kind.SAMPLE)
    assert list(events.bad) == list(range(0, 1000, 7)), "in the order of the rows"


def test_both_forms_of_one_input_in_one_batch() -> None:
    forms = [b'{"features":[%d,2,3]}', b'{"features":{"samples":[%d,2,3]}}', b'{"features":{"sample":[%d,2,3]}}']
    events = decode(*(forms[(n // 3) % 3 if n < 50 else n % 3] % n for n in range(100)))
    for row in range(100):
        unknown = ((row // 3) % 3 if row < 50 else row % 3) == 2
        assert events.features["samples"][row, 0] == (0 if unknown else row)
        assert (row in events.bad) == unknown


def test_an_empty_batch_and_one_with_nothing_but_null() -> None:
    assert len(decode().kind) == 0
    assert decode().features["samples"].shape == (0, 3)
    assert decode(None, None).kind.tolist() == [Kind.FORGET] * 2
    assert decode(b"", b"").features["samples"].tolist() == [[0, 0, 0]] * 2


def test_a_deep_event_is_judged_alike_however_much_stack_its_caller_has_used() -> None:
    deep = [b'{"features":[1,2,3],"x":%b%b}' % (b"[" * depth, b"]" * depth) for depth in (63, 64, 300, 900)]

    def under(frames: int) -> list[int]:
        return decode(*deep).kind.tolist() if frames == 0 else under(frames - 1)

    assert under(0) == [Kind.SAMPLE, Kind.BAD, Kind.BAD, Kind.BAD]
    assert under(sys.getrecursionlimit() // 2) == under(0)


def test_a_full_stack_is_never_the_event_s_fault() -> None:
    decoder = event_decoder(InputSettings(), THREE, max_ahead_ms=0)
    deep = batch([b'{"features":[1,2,3],"x":%b%b}' % (b"[" * 63, b"]" * 63)])
    good = decoder.decode(deep)

    def under(frames: int) -> Events:
        return decoder.decode(deep) if frames == 0 else under(frames - 1)

    for frames in range(sys.getrecursionlimit() // 2, sys.getrecursionlimit()):
        try:
            events = under(frames)
        except RecursionError:
            continue
        assert row_of(events, 0) == row_of(good, 0)


def test_brackets_in_text_and_beside_each_other_are_not_deep() -> None:
    wide = b"[" + b",".join([b"[]"] * 5000) + b"]"
    events = decode(
        b'{"features":[1,2,3],"x":"%b"}' % (b"[" * 5000),
        b'{"features":[1,2,3],"x":"\\"%b"}' % (b"{[" * 5000),
        b'{"features":[1,2,3],"x":%b}' % wide,
    )
    assert events.bad == {}


@pytest.mark.parametrize(
    "value",
    [
        b'"' + b'\\"' * 500_000,
        b'"' * 1_000_001,
        b'{"features":[1,2,3],"x":"' + b"\\\\" * 500_000 + b'"',
        b'{"x":' * 200_000,
        b'{"features":[' + b"1," * 500_000,
        b'{"features":' + b"-" * 1_000_000,
    ],
)
def test_hostile_megabytes_are_read_in_linear_time(value: bytes) -> None:
    # Quadratic time would be hours.
    assert bad(value).reason == Reason.UNDECODABLE


def test_refusals_before_the_start() -> None:
    with pytest.raises(ConfigError, match=r"input\.format is 'jason', .*\nIt must be one of json, float32\."):
        load_settings(None, {}, ["input.format=jason"])
    with pytest.raises(ConfigError, match="it has none"):
        event_decoder(InputSettings(), [], max_ahead_ms=0)
