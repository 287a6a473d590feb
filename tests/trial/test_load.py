"""A load is the same events each time, holds all that it promises, and reaches Kafka unchanged and in order."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import pytest

from processor.errors import Unavailable
from processor.kafka.client import Producer
from processor.trial.checker import input_records
from processor.trial.load import Event, Load, everything, partition_of, produce, send
from processor.trial.oracle import InputRecord, Rules, expected
from processor.trial.reader import compare, read_topic
from processor.trial.samples import BAD_REASONS, Input
from processor.types import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.trial.kafka import EmbeddedKafka

NOW = 1_800_000_000_000


def records(load: Load) -> dict[int, list[InputRecord]]:
    """The load as its topic would be read."""
    found: dict[int, list[InputRecord]] = {number: [] for number in range(load.partitions)}
    for event in load:
        lane = found[event.partition]
        lane.append(InputRecord(len(lane), NOW, event.key, event.value))
    return found


def test_the_same_seed_gives_the_same_events_and_another_one_others() -> None:
    load = everything(events=6000, keys=50)
    assert list(load) == list(load)
    assert list(load) != list(replace(load, seed=2))
    assert list(load)[:5000] == list(replace(load, events=5000))


def test_a_plain_load_has_good_events_alone_and_every_sample_is_its_own_float32() -> None:
    load = Load(events=5000, keys=20, partitions=3)
    result = expected(records(load), Rules({"x": (3,)}))
    assert sum(map(len, result.predictions.values())) == 5000
    assert not any(result.dead_letters.values())
    assert result.duplicates == 0
    for event in list(load)[:100]:
        assert event.key is not None
        assert event.partition == partition_of(event.key, 3)
        numbers = json.loads(event.value or b"")["features"]
        assert [float(str(np.float32(number))) for number in numbers] == numbers


@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_samples_have_the_shape_that_was_asked_for(shape: tuple[int, ...]) -> None:
    load = Load(events=10, shape=shape)
    assert [np.shape(json.loads(event.value or b"")["features"]) for event in load] == [shape] * 10


def test_several_inputs_go_by_name_and_tokens_are_integers_below_their_number() -> None:
    load = everything(events=4000, keys=20, inputs=(Input("text", (4,), tokens=7), Input("temperature", ())))
    rules = Rules({"text": (4,), "temperature": ()}, tokens=frozenset({"text"}))
    result = expected(records(load), rules)
    samples = [sample for sequences in result.sequences.values() for sequence in sequences for sample in sequence]
    assert len(samples) > 3000
    assert {token for sample in samples for token in sample.features["text"]} == set(range(7))
    assert {type(sample.features["temperature"]) for sample in samples} == {float}
    letters = {one.reason for rejected in result.dead_letters.values() for one in rejected}
    # Features without a name are of a wrong type, whatever else is wrong with them.
    assert letters == {*BAD_REASONS} - {Reason.WRONG_SHAPE, Reason.NOT_FINITE}


def test_static_inputs_are_left_out_repeated_and_now_and_then_others() -> None:
    place, numbers = Input("place", (2,), static=True), Input("x", (1,))
    load = everything(events=8000, keys=20, inputs=(place, numbers))
    result = expected(records(load), Rules({"place": (2,), "x": (1,)}, static=frozenset({"place"})))
    values = [event.value for event in load if event.value and b'"features":{"x"' in event.value]
    assert 0.4 < sum(b'"place"' not in value for value in values) / len(values) < 0.6
    letters = [one.reason for rejected in result.dead_letters.values() for one in rejected]
    assert letters.count(Reason.WRONG_STATIC) > 50
    assert sum(map(len, result.predictions.values())) > 5000
    bare = everything(events=8000, keys=20, inputs=(numbers, Input("y", ())))
    assert list(bare) == list(everything(events=8000, keys=20, inputs=bare.inputs, left_out_share=0.0, other_share=0.0))


def test_a_load_of_everything_has_each_reason_and_each_rule_in_it() -> None:
    load = everything(events=20_000, keys=100, gap_ms=60_000, late_ms=30_000)
    rules = Rules({"x": (3,)}, gap_seconds=20, idle_seconds=50, allowed_lateness_seconds=20)
    result = expected(records(load), rules)
    assert {one.reason for letters in result.dead_letters.values() for one in letters} == {*BAD_REASONS, Reason.LATE}
    assert result.duplicates > 50
    assert result.forgotten > 50
    values = [event.value for event in load if event.value]
    assert any(b',"start":true' in value for value in values)
    assert any(b',"end":true' in value for value in values)
    without_gaps = expected(records(load), replace(rules, gap_seconds=0, idle_seconds=0))
    assert sum(map(len, result.sequences.values())) > sum(map(len, without_gaps.sequences.values()))


def test_skew_makes_some_keys_frequent() -> None:
    def share_of_the_most_frequent(load: Load) -> float:
        keys = sorted(event.key or b"" for event in load)
        return max(len(list(group)) for _, group in groupby(keys)) / load.events

    assert share_of_the_most_frequent(Load(events=4000, skew=2)) > 10 * share_of_the_most_frequent(Load(events=4000))


def test_two_topics_fed_at_different_rates_are_equal_and_hold_the_load(
    kafka: EmbeddedKafka, topic: Callable[..., str]
) -> None:
    load = everything(events=4000, keys=50)
    fast, slow = topic("fast"), topic("slow")
    assert produce(kafka.bootstrap_servers, fast, load).events == 4000
    sent = produce(kafka.bootstrap_servers, slow, load, rate=8000)
    assert sent.seconds >= 0.4
    first, second = (read_topic(kafka.bootstrap_servers, name) for name in (fast, slow))
    report = compare(first, second)
    assert report, str(report)
    assert report.compared == 4000
    wanted = records(load)
    assert {number: [one[2:] for one in lane] for number, lane in input_records(first).items()} == {
        number: [one[2:] for one in lane] for number, lane in wanted.items()
    }
    assert input_records(second) == {
        number: [one._replace(timestamp=there.timestamp) for one, there in zip(lane, second[number], strict=True)]
        for number, lane in wanted.items()
    }


def test_keys_lie_where_kafka_s_own_partitioner_puts_them(kafka: EmbeddedKafka, topic: Callable[..., str]) -> None:
    made = topic(partitions=3)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    keys = [b"key-%d" % number for number in range(50)]
    for key in keys:
        producer.produce(made, b"", key)
    assert producer.flush(30) == 0
    read = read_topic(kafka.bootstrap_servers, made)
    assert {record.key: number for number in read for record in read[number]} == {
        key: partition_of(key, 3) for key in keys
    }


def test_a_load_ends_early_when_told_to(kafka: EmbeddedKafka, topic: Callable[..., str]) -> None:
    stop = threading.Event()
    sent = produce(
        kafka.bootstrap_servers, topic(), Load(events=1_000_000), rate=1000, stop=stop, on_batch=lambda _: stop.set()
    )
    assert 0 < sent.events < 1000


def test_null_and_empty_keys_and_values_stay_apart(kafka: EmbeddedKafka, topic: Callable[..., str]) -> None:
    made = topic(partitions=2)
    events = [Event(1, key, value) for key in (None, b"", b"k") for value in (None, b"", b"v")]
    send(kafka.bootstrap_servers, made, events)
    read = read_topic(kafka.bootstrap_servers, made)
    assert [(record.key, record.value) for record in read[1]] == [(event.key, event.value) for event in events]
    assert read[0] == []


def test_events_that_no_topic_takes_are_an_error(kafka: EmbeddedKafka, topic: Callable[..., str]) -> None:
    made = topic(partitions=1, config={"max.message.bytes": "1000"})
    with pytest.raises(Unavailable, match="events reached"):
        send(kafka.bootstrap_servers, made, [Event(0, b"k", b"\x00\x01" * 100_000)])
