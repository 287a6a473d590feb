"""Comparing two topics: each kind of difference is found, counted and named, and nothing else is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.trial.reader import Record, compare, source_of


def prediction(offset: int, *, source: int | None = None, probability: float = 0.5, partition: int = 0) -> Record:
    """A prediction at `offset` of the output, which answers the input record `source`."""
    source = offset if source is None else source
    value = json.dumps({"probability": probability, "partition": partition, "offset": source}).encode()
    return Record(offset, b"key", value, (), 1000 + offset)


FIVE = {0: [prediction(number) for number in range(5)], 1: [prediction(0, partition=1)]}


def test_equal_topics_have_no_difference_wherever_and_whenever_they_were_written() -> None:
    moved = {0: [record._replace(offset=record.offset * 2, timestamp=7) for record in FIVE[0]], 1: FIVE[1]}
    report = compare(FIVE, moved)
    assert report
    assert report.compared == 6
    assert str(report) == "0 lost, 0 doubled, 0 differing"


def test_a_lost_record_is_one_finding() -> None:
    report = compare(FIVE, {0: FIVE[0][:2] + FIVE[0][3:], 1: FIVE[1]})
    assert report.summary == "1 lost, 0 doubled, 0 differing"
    assert "input 0:2" in report.differences[0]
    assert not report


def test_a_lost_partition_is_lost() -> None:
    assert compare(FIVE, {0: FIVE[0]}).lost == 1


def test_a_repeat_with_the_same_bytes_is_doubled_and_nothing_else() -> None:
    again = [*FIVE[0][:4], *FIVE[0][2:]]
    assert compare(FIVE, {0: again, 1: FIVE[1]}).summary == "0 lost, 2 doubled, 0 differing"


def test_a_repeat_with_other_bytes_differs_too() -> None:
    again = [*FIVE[0], prediction(5, source=2, probability=0.25)]
    assert compare(FIVE, {0: again, 1: FIVE[1]}).summary == "0 lost, 1 doubled, 1 differing"


def test_another_value_key_or_header_differs() -> None:
    first, *rest = FIVE[0]
    for other in (
        prediction(0, probability=0.50001),
        first._replace(key=b"other"),
        first._replace(headers=(("name", b"value"),)),
    ):
        report = compare(FIVE, {0: [other, *rest], 1: FIVE[1]})
        assert report.summary == "0 lost, 0 doubled, 1 differing"
        assert "expected" in str(report)
        assert "found" in str(report)


def test_a_record_that_nobody_expects_differs() -> None:
    assert compare(FIVE, {0: [*FIVE[0], prediction(5)], 1: FIVE[1]}).summary == "0 lost, 0 doubled, 1 differing"


def test_another_order_differs() -> None:
    one, two, *rest = FIVE[0]
    report = compare(FIVE, {0: [two, one, *rest], 1: FIVE[1]})
    assert report.summary == "0 lost, 0 doubled, 2 differing"
    assert "out of order" in report.differences[0]


def test_a_record_in_another_partition_is_lost_here_and_unexpected_there() -> None:
    report = compare(FIVE, {0: FIVE[0][:4], 1: [*FIVE[1], FIVE[0][4]]})
    assert (report.lost, report.doubled, report.differing) == (1, 0, 1)


def test_records_that_answer_nothing_are_told_apart_by_their_bytes() -> None:
    plain = {0: [Record(0, b"k", b"a"), Record(1, b"k", b"b"), Record(2, b"k", b"a")]}
    assert compare(plain, plain)
    assert compare(plain, {0: plain[0][:2]}).summary == "1 lost, 0 doubled, 0 differing"


def test_a_dead_letter_says_in_its_headers_what_it_answers() -> None:
    headers = (("processor.partition", b"3"), ("processor.offset", b"17"))
    assert source_of(Record(0, None, b"\xff", headers)) == (3, 17)
    assert source_of(Record(0, None, b'{"partition": 1}')) is None
    assert source_of(Record(0, None, None)) is None


@pytest.mark.parametrize("repeats", [False, True])
@given(data=st.data())
def test_what_was_taken_away_and_repeated_is_counted(repeats: bool, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 30))
    whole = [prediction(number) for number in range(size)]
    gone = data.draw(st.sets(st.integers(0, size - 1)))
    kept = [record for record in whole if record.offset not in gone]
    again = data.draw(st.lists(st.sampled_from(kept), max_size=5)) if repeats and kept else []
    report = compare({0: whole}, {0: kept + again})
    assert (report.lost, report.doubled, report.differing) == (len(gone), len(again), 0)
