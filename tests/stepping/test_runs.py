"""Runs: a hot key's events are stepped in one go, and nobody can tell from what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.recovery.partition import Partition
from processor.stepping.publishing import Produced
from processor.stepping.sequence import SequenceRules
from processor.types import Cursor
from stepping.toy import ARTIFACT, WITH_FACTOR, bare, batch, event, new_arena, new_pipeline

KEYS = [b"a", b"b", b"c"]


class NoStore:
    """A store in which nothing was ever written."""

    def get_many(self, keys: list[bytes]) -> list[None]:
        return [None] * len(keys)


def stepped(
    records: Sequence[tuple[bytes, bytes | None]], rules: SequenceRules, at_once: int, artifact: Any = ARTIFACT
) -> tuple[Any, Any, Any]:
    """What is published, the states afterwards, and the engine, with slices of `at_once` events."""
    arena = new_arena(500, artifact=artifact)  # a slice is no longer than the arena
    store: Any = NoStore()
    arena.attach(0, store)
    arena.flush_queue.stamp(0, Cursor(0))
    pipeline = new_pipeline(arena, rules, artifact=artifact)
    partitions = {0: Partition(0)}
    work = pipeline.decode(batch([(0, offset, key, value) for offset, (key, value) in enumerate(records)]), partitions)
    published: list[Any] = []
    while len(work):
        produced: Produced = pipeline.step(work, partitions, at_once)
        published += [pair for _, keys, values in produced.predictions for pair in zip(keys, values, strict=True)]
        published += [(letter.key, letter.value, letter.headers) for _, _, letter in produced.dead_letters]
    slots = arena.admit(0, sorted({key for key, _ in records}))
    kept = arena.records_of(slots)
    engine: Any = pipeline._engine
    return sorted(map(repr, published)), [repr(getattr(kept, name)) for name in kept.__slots__], engine


fields = st.fixed_dictionaries(
    {},
    optional={
        "time": st.integers(0, 40),
        "sequence": st.integers(0, 20),
        "start": st.booleans(),
        "end": st.booleans(),
    },
)
values = st.none() | st.builds(lambda x, more: event(x, **more), st.integers(-9, 9), fields) | st.just(b"bad")
ordinary = st.builds(event, st.integers(-9, 9))
records = st.lists(st.tuples(st.sampled_from(KEYS), ordinary | values), min_size=1, max_size=60)
rules = st.builds(
    SequenceRules,
    gap_ms=st.sampled_from([0, 15]),
    idle_ms=st.sampled_from([0, 25]),
    allowed_lateness_ms=st.sampled_from([0, 30]),
    length=st.sampled_from([0, 0, 5]),
)


@given(records, rules)
def test_in_one_go_or_one_by_one(told: list[tuple[bytes, bytes | None]], rules: SequenceRules) -> None:
    together, alone = stepped(told, rules, 1000), stepped(told, rules, 1)
    assert together[0] == alone[0]
    assert together[1] == alone[1]


factors = st.sampled_from([None, None, 2, 2, 2, 3])
usual = st.builds(lambda x, factor: bare(x) if factor is None else event(x, factor), st.integers(-9, 9), factors)
marked = st.builds(lambda x, more: event(x, 2, **more), st.integers(-9, 9), fields)
with_factor = st.lists(st.tuples(st.sampled_from(KEYS), usual | usual | marked | st.none()), min_size=1, max_size=60)


@given(with_factor, rules)
def test_static_inputs_in_one_go_or_one_by_one(told: list[tuple[bytes, bytes | None]], rules: SequenceRules) -> None:
    together, alone = stepped(told, rules, 1000, WITH_FACTOR), stepped(told, rules, 1, WITH_FACTOR)
    assert together[:2] == alone[:2]


def test_a_hot_key_that_repeats_its_static_input_or_leaves_it_out_is_stepped_as_a_run() -> None:
    told = [(b"a", event(1, 2)), *((b"a", bare(1) if n % 2 else event(1, 2)) for n in range(49))]
    assert stepped(told, SequenceRules(), 1000, WITH_FACTOR)[2].runs == [[1] * 50]


@pytest.mark.parametrize(("at", "value"), [(0, bare(1)), (20, event(1, 3)), (49, event(1, 3))])
def test_a_hot_key_with_a_wrong_static_input_is_left_to_the_waves(at: int, value: bytes) -> None:
    told: list[tuple[bytes, bytes | None]] = [(b"a", event(1, 2))] * 50
    told[at] = (b"a", value)
    together, alone = (stepped(told, SequenceRules(), at_once, WITH_FACTOR) for at_once in (1000, 1))
    assert together[2].runs == []
    assert together[:2] == alone[:2]


def numbered(count: int, **fields: Any) -> list[tuple[bytes, bytes | None]]:
    return [(b"a", event(1, time=10 * n, sequence=n, **fields)) for n in range(count)]


@pytest.mark.parametrize(
    "rules",
    [SequenceRules(), SequenceRules(gap_ms=10), SequenceRules(idle_ms=10), SequenceRules(allowed_lateness_ms=5)],
)
def test_a_hot_key_that_goes_on_is_stepped_as_a_run(rules: SequenceRules) -> None:
    assert stepped(numbered(50), rules, 1000)[2].runs == [[1] * 50]


@pytest.mark.parametrize(
    ("told", "rules"),
    [
        (numbered(50, end=True), SequenceRules()),
        (numbered(50, start=True), SequenceRules()),
        (numbered(50), SequenceRules(length=7)),
        (numbered(50), SequenceRules(gap_ms=9)),
        (numbered(50), SequenceRules(idle_ms=9)),
        ([*numbered(20), *numbered(20)], SequenceRules()),
        ([*numbered(20), (b"a", None), *numbered(20)], SequenceRules()),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_waves(
    told: list[tuple[bytes, bytes | None]], rules: SequenceRules
) -> None:
    assert stepped(told, rules, 1000)[2].runs == []


def test_one_key_out_of_the_ordinary_does_not_slow_the_others() -> None:
    told = [pair for record in numbered(50) for pair in (record, (b"b", record[1]), (b"c", event(1, end=True)))]
    assert stepped(told, SequenceRules(), 1000)[2].runs == [[2] * 50]


def test_an_answer_that_is_not_finite_is_found_in_the_middle_of_a_run() -> None:
    told = [*numbered(9), (b"a", event(3e38)), (b"a", event(3e38)), *((b"a", event(1)) for _ in range(9))]
    together, alone = stepped(told, SequenceRules(), 1000), stepped(told, SequenceRules(), 1)
    assert together[:2] == alone[:2]
    assert any("not_finite" in one for one in together[0])
