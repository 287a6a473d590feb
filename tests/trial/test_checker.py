"""What was published is judged by the oracle and by a model: here a sum, whose answers are known by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from processor.trial.checker import check_published, truth_of_prefixes, truth_of_sequences
from processor.trial.load import everything
from processor.trial.oracle import InputRecord, Rules, expected
from processor.trial.reader import Record, compare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processor.trial.oracle import Expected
    from processor.trial.reader import Topic


def running_sum(features: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """[rows, T, 1]"""
    return np.cumsum(features["x"].sum(axis=2), axis=1)[..., None]


def last_sum(features: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """[rows, 1]"""
    return running_sum(features)[:, -1]


@pytest.fixture(scope="module")
def wanted() -> Expected:
    load = everything(events=1500, keys=12, partitions=2)
    lanes: dict[int, list[InputRecord]] = {0: [], 1: []}
    for event in load:
        lane = lanes[event.partition]
        lane.append(InputRecord(len(lane), 1_800_000_000_000, event.key, event.value))
    return expected(lanes, Rules({"x": (3,)}, length=20, allowed_lateness_seconds=20))


def published(wanted: Expected) -> tuple[Topic, Topic]:
    """What a processor without a fault would have written; the dead letters in one partition, interleaved."""
    sums = {}
    for sequences in wanted.sequences.values():
        for sequence in sequences:
            total = 0.0
            for sample in sequence:
                total += sum(sample.features["x"])
                sums[sample.partition, sample.offset] = total
    predictions: Topic = {}
    for number, answers in wanted.predictions.items():
        predictions[number] = [
            Record(at, one.key, json.dumps(_value(one, sums[one.partition, one.offset])).encode())
            for at, one in enumerate(answers)
        ]
    letters = sorted(
        (one for answers in wanted.dead_letters.values() for one in answers),
        key=lambda one: (one.offset, one.partition),
    )
    headers = [
        (
            ("processor.reason", one.reason.encode()),
            ("processor.partition", b"%d" % one.partition),
            ("processor.offset", b"%d" % one.offset),
        )
        for one in letters
    ]
    return predictions, {0: [Record(at, one.key, one.value, headers[at]) for at, one in enumerate(letters)]}


def _value(one: Any, probability: float) -> dict[str, Any]:
    return {
        "probability": probability,
        "step": one.step,
        "time": one.time,
        "partition": one.partition,
        "offset": one.offset,
    }


def changed(record: Record, **fields: Any) -> Record:
    return record._replace(value=json.dumps({**json.loads(record.value or b""), **fields}).encode())


def test_both_ways_to_ask_the_model_agree_and_cover_every_prediction(wanted: Expected) -> None:
    whole, prefixes = truth_of_sequences(wanted, running_sum, rows=7), truth_of_prefixes(wanted, last_sum)
    assert whole.keys() == prefixes.keys()
    assert whole.keys() == {(one.partition, one.offset) for answers in wanted.predictions.values() for one in answers}
    assert all(np.allclose(whole[source], prefixes[source], atol=1e-5) for source in whole)


def test_what_is_right_is_found_right(wanted: Expected) -> None:
    predictions, letters = published(wanted)
    verdict = check_published(wanted, predictions, letters, truth_of_sequences(wanted, running_sum))
    assert verdict, str(verdict)
    assert verdict.greatest_error < 1e-5
    assert verdict.compared == verdict.predictions.compared == sum(map(len, predictions.values()))
    assert verdict.dead_letters.compared == len(letters[0]) > 10
    assert compare(predictions, predictions)


def test_every_fault_of_a_prediction_is_found(wanted: Expected) -> None:
    predictions, letters = published(wanted)
    truth = truth_of_sequences(wanted, running_sum)
    one, two, *rest = predictions[0]
    faults = {
        "a wrong step": ([changed(one, step=99), two, *rest], "0 lost, 0 doubled, 1 differing"),
        "a wrong time": ([changed(one, time=0), two, *rest], "0 lost, 0 doubled, 1 differing"),
        "a wrong key": ([one._replace(key=b"?"), two, *rest], "0 lost, 0 doubled, 1 differing"),
        "one lost": ([two, *rest], "1 lost, 0 doubled, 0 differing"),
        "one doubled": ([one, two, *rest, one], "0 lost, 1 doubled, 0 differing"),
        "another order": ([two, one, *rest], "0 lost, 0 doubled, 1 differing"),
        "an answer to nothing": ([one, two, *rest, changed(one, offset=10**6)], "0 lost, 0 doubled, 1 differing"),
        "a wrong probability": ([changed(one, probability=123.0), two, *rest], "0 lost, 0 doubled, 1 differing"),
        "not a number": ([changed(one, probability=None), two, *rest], "0 lost, 0 doubled, 1 differing"),
        "too many numbers": ([changed(one, probability=[1, 2]), two, *rest], "0 lost, 0 doubled, 1 differing"),
    }
    for what, (records, summary) in faults.items():
        verdict = check_published(wanted, {**predictions, 0: records}, letters, truth)
        assert not verdict, what
        assert verdict.predictions.summary == summary, (what, str(verdict))


def test_a_prediction_in_the_wrong_partition_is_lost_in_its_own(wanted: Expected) -> None:
    predictions, letters = published(wanted)
    moved = {0: predictions[0][1:], 1: [*predictions[1], predictions[0][0]]}
    assert check_published(wanted, moved, letters).predictions.summary == "1 lost, 0 doubled, 1 differing"


def test_every_fault_of_a_dead_letter_is_found(wanted: Expected) -> None:
    predictions, letters = published(wanted)
    one, *rest = letters[0]
    other_reason = (("processor.reason", b"late?"), *one.headers[1:])
    for records, summary in (
        (rest, "1 lost, 0 doubled, 0 differing"),
        ([one, *rest, one], "0 lost, 1 doubled, 0 differing"),
        ([one._replace(value=b"changed"), *rest], "0 lost, 0 doubled, 1 differing"),
        ([one._replace(headers=other_reason), *rest], "0 lost, 0 doubled, 1 differing"),
        ([*rest, one], "0 lost, 0 doubled, 1 differing"),
    ):
        verdict = check_published(wanted, predictions, {0: records})
        assert not verdict
        assert verdict.dead_letters.summary == summary


def test_what_is_printed_is_compared_as_the_float32_that_it_says(wanted: Expected) -> None:
    """With no tolerance at all: the shortest digits of a float32 are no double that equals it."""
    predictions, letters = published(wanted)
    truth = {source: np.float32([0.1]) for source in truth_of_sequences(wanted, running_sum)}
    exact = {number: [changed(one, probability=0.1) for one in lane] for number, lane in predictions.items()}
    assert check_published(wanted, exact, letters, truth, tolerance=0.0)
    exact[0][3] = changed(exact[0][3], probability=float(np.nextafter(np.float32(0.1), np.float32(1))))
    assert check_published(wanted, exact, letters, truth, tolerance=0.0).predictions.differing == 1


def test_several_outputs_are_compared_by_name(wanted: Expected) -> None:
    predictions, letters = published(wanted)
    truth = {
        source: {"a": np.float32([0.5]), "b": np.float32([1, 2])} for source in truth_of_sequences(wanted, running_sum)
    }
    answers = {"a": 0.5, "b": [1.0, 2.0]}
    right = {number: [changed(one, probability=answers) for one in lane] for number, lane in predictions.items()}
    assert check_published(wanted, right, letters, truth)
    one, two, three, *rest = right[0]
    wrong = [{"a": 0.5, "b": [1.0, 2.5]}, {"a": 0.5}, 0.5]
    faulty = [changed(record, probability=value) for record, value in zip((one, two, three), wrong, strict=True)]
    assert check_published(wanted, {**right, 0: [*faulty, *rest]}, letters, truth).predictions.differing == 3


def test_a_model_is_asked_with_one_value_of_a_static_input_for_each_sequence() -> None:
    def event(x: float, factor: float | None = None) -> bytes:
        return json.dumps({"features": {"x": [x]} if factor is None else {"x": [x], "factor": [factor]}}).encode()

    def product(features: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        return running_sum(features) * features["factor"][:, None]

    values = [event(1, 2), event(2), event(3, 2)]
    lane = [InputRecord(offset, 1, b"k", value) for offset, value in enumerate(values)]
    told = expected({0: lane}, Rules({"factor": (1,), "x": (1,)}, static=frozenset({"factor"})))
    for truth in (
        truth_of_sequences(told, product),
        truth_of_prefixes(told, lambda features: product(features)[:, -1]),
    ):
        assert {source: float(np.ravel(answer)[0]) for source, answer in truth.items()} == {
            (0, 0): 2.0,
            (0, 1): 6.0,
            (0, 2): 12.0,
        }
