"""The pipeline against the oracle: random events, in whatever polls, slices, and arenas that are too small.

The real pipeline, arena, flush_queue and records; a dictionary for each store. However the events were cut, what was
published is what the oracle says, record by record and in order, every total is the sum of its key's own sequence, and
the states end in the same bytes. What may go wrong on the way is in `tests/protocol`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from processor.recovery.partition import Partition, Phase
from processor.state.arena import Arena
from processor.state.record import encode_records, state_key
from processor.stepping.pipeline import Pipeline
from processor.stepping.sequence import SequenceRules
from processor.trial.oracle import InputRecord, Rules, expected
from processor.types import NO_TIME
from stepping.toy import ARTIFACT, FINGERPRINT, WITH_FACTOR, bare, batch, event, new_arena, new_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PARTITIONS = (0, 1)
INPUTS = 40
INTERVAL = 3.0


@dataclass
class Disk:
    """A partition's store."""

    records: dict[bytes, bytes] = field(default_factory=dict)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.records.get(key) for key in keys]


@dataclass
class Run:
    """One pass over an input, and what it published."""

    input: dict[int, list[InputRecord]]
    rules: SequenceRules
    slots: int
    artifact: Any = field(default_factory=lambda: ARTIFACT)
    now: float = 0.0
    predictions: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=lambda: {p: [] for p in PARTITIONS})
    dead_letters: dict[int, list[Any]] = field(default_factory=lambda: {p: [] for p in PARTITIONS})
    disks: dict[int, Disk] = field(default_factory=lambda: {p: Disk() for p in PARTITIONS})
    arena: Arena = field(init=False)
    pipeline: Pipeline = field(init=False)
    partitions: dict[int, Partition] = field(init=False)

    def __post_init__(self) -> None:
        self.arena = new_arena(self.slots, self.now, self.artifact)
        self.pipeline = new_pipeline(self.arena, self.rules, artifact=self.artifact)
        self.partitions = {number: Partition(number) for number in PARTITIONS}
        for number, partition in self.partitions.items():
            partition.phase = Phase.RUNNING
            self.arena.attach(number, self.disks[number])
            self.arena.flush_queue.stamp(number, partition.cursor)

    def poll(self, most: int, slice_rows: int) -> None:
        records = [
            (number, record.offset, record.key, record.value)
            for number in PARTITIONS
            for record in self.input[number]
            if record.offset >= self.partitions[number].cursor.offset
        ]
        taken = sorted(records, key=lambda record: (record[1], record[0]))[:most]
        if not taken:
            return
        work = self.pipeline.decode(batch(sorted(taken, key=lambda record: record[0])), self.partitions)
        while len(work):
            produced = self.pipeline.step(work, self.partitions, slice_rows)
            if not produced.events:
                self.commit(self.arena.flush_queue.oldest(max(1, self.slots // 4)))
            for number, keys, values in produced.predictions:
                self.predictions[number] += zip(keys, values, strict=True)
            for number, bad, letter in produced.dead_letters:
                self.dead_letters[number].append((bad.reason, letter.key, letter.value))

    def commit(self, slots: Any) -> None:
        owners = self.arena.partition_of[slots]
        for number in PARTITIONS:
            mine = slots[owners == number]
            keys = [state_key(key) for key in self.arena.keys_of(mine)]
            values = encode_records(self.arena.records_of(mine), FINGERPRINT)
            self.disks[number].records.update(zip(keys, values, strict=True))
        self.arena.flush_queue.written(slots)
        self.arena.flush_queue.turn(self.now, {n: partition.cursor for n, partition in self.partitions.items()})

    def finish(self) -> None:
        while any(self.partitions[n].cursor.offset < len(self.input[n]) for n in PARTITIONS):
            self.poll(1000, 1000)
        self.commit(self.arena.flush_queue.of_partitions(set(PARTITIONS)))


KEYS = [b"a", b"b", b"c", b"", b"\xff\x00"]
BAD = [b"", b"{}", b"[1]", b'{"features": ["x"]}']


def draw_value(random: Random, when: int, static: bool) -> bytes | None:
    kind = random.random()
    if kind < 0.05:
        return None
    if kind < 0.1:
        return random.choice(BAD)
    x = 3e38 if kind < 0.15 else random.randrange(-100, 100)  # two of the first are more than float32 holds
    fields: dict[str, Any] = {"time": when + random.randrange(-8, 4)}
    if random.random() < 0.4:
        fields["sequence"] = random.randrange(when + 1) if random.random() < 0.4 else when + random.randrange(-4, 2)
    if random.random() < 0.15:
        fields[random.choice(["start", "end"])] = random.random() < 0.8
    if not static:
        return event(x, **fields)
    factor = random.choice([None, None, 2, 2, 2, -1, -0.0])
    return bare(x, **fields) if factor is None else event(x, factor, **fields)


def draw_input(random: Random, static: bool = False) -> dict[int, list[InputRecord]]:
    """Up to 60 records; time goes on by about 2 with each, so that gaps, idle keys and late events are all there."""
    records: list[tuple[int, bytes | None, bytes | None]] = []
    when = 0
    for _ in range(random.randrange(61)):
        when += random.choice([0, 1, 1, 2, 2, 15] if random.random() < 0.5 else [1])
        key = None if random.random() < 0.02 else random.choice(KEYS)
        records.append((random.choice(PARTITIONS), key, draw_value(random, when, static)))
    return number(records)


def draw_rules(random: Random) -> SequenceRules:
    return SequenceRules(
        gap_ms=random.choice([0, 0, 5]),
        idle_ms=random.choice([0, 0, 12]),
        allowed_lateness_ms=random.choice([0, 0, 5]),
        length=random.choice([0, 0, 3]),
    )


def draw_cuts(random: Random) -> list[tuple[Any, ...]]:
    cuts: list[tuple[Any, ...]] = []
    for _ in range(random.randrange(30)):
        kind = random.random()
        if kind < 0.5:
            cuts.append(("poll", random.randrange(1, 9), random.randrange(1, 6)))
        elif kind < 0.9:
            cuts.append(("due", random.random() * 2))
        else:
            cuts.append(("early",))
    return cuts


def number(records: Sequence[tuple[int, bytes | None, bytes | None]]) -> dict[int, list[InputRecord]]:
    by_partition: dict[int, list[InputRecord]] = {partition: [] for partition in PARTITIONS}
    for partition, key, value in records:
        offset = len(by_partition[partition])
        by_partition[partition].append(InputRecord(offset, 0, key, value))
    return by_partition


def play(run: Run, cuts: list[tuple[Any, ...]]) -> None:
    for cut, *arguments in cuts:
        if cut == "poll":
            run.poll(*arguments)
        elif cut == "due":
            run.now += arguments[0]
            run.commit(run.arena.flush_queue.fallen_due(run.now, INTERVAL))
        else:
            run.commit(run.arena.flush_queue.oldest(2))
    run.finish()


def total_of(samples: list[Any]) -> np.float32:
    total = np.float32(0)
    with np.errstate(over="ignore"):
        for sample in samples:
            factor = np.float32(sample.features.get("factor", [1])[0])
            total = np.float32(total + np.float32(sample.features["x"][0]) * factor)
    return total


def check(run: Run) -> None:
    inputs = run.artifact.inputs
    oracle_rules = Rules(
        inputs={spec.name: spec.shape for spec in inputs},
        static=frozenset(spec.name for spec in inputs if spec.static),
        length=run.rules.length,
        gap_seconds=run.rules.gap_ms / 1000,
        idle_seconds=run.rules.idle_ms / 1000,
        allowed_lateness_seconds=run.rules.allowed_lateness_ms / 1000,
        max_ahead_seconds=0,
    )
    wanted = expected(run.input, oracle_rules, lambda sequence: bool(np.isfinite(total_of(sequence))))
    for partition in PARTITIONS:
        found = [(key, json.loads(value)) for key, value in run.predictions[partition]]
        assert [(key, value["offset"], value["step"], value["time"]) for key, value in found] == [
            (prediction.key, prediction.offset, prediction.step, prediction.time)
            for prediction in wanted.predictions[partition]
        ]
        for (_, value), prediction in zip(found, wanted.predictions[partition], strict=True):
            samples = wanted.sequences[partition, prediction.key][prediction.sequence][: prediction.step]
            assert np.float32(value["probability"]) == total_of(samples)
        assert run.dead_letters[partition] == [
            (letter.reason, letter.key, letter.value) for letter in wanted.dead_letters[partition]
        ]


@pytest.mark.parametrize("artifact", [ARTIFACT, WITH_FACTOR], ids=["sum", "static"])
@pytest.mark.parametrize("block", range(5))
def test_however_events_are_cut_the_output_is_the_oracles(block: int, artifact: Any) -> None:
    for seed in range(block * INPUTS, (block + 1) * INPUTS):
        random = Random(seed)
        records = draw_input(random, artifact is WITH_FACTOR)
        rules, cuts = draw_rules(random), draw_cuts(random)
        small, whole = Run(records, rules, random.randrange(1, 7), artifact), Run(records, rules, 99, artifact)
        play(small, cuts)
        play(whole, [])
        with show(seed, cuts):
            check(small)
            check(whole)
            assert small.disks == whole.disks


@contextmanager
def show(seed: int, cuts: list[tuple[Any, ...]]) -> Iterator[None]:
    """Names the seed and the cuts of a failure."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"seed {seed}: {cuts}")
        raise


@pytest.mark.parametrize("late_by", [0, 10, 11])
def test_lateness_is_measured_from_the_stream_time_before_the_event(late_by: int) -> None:
    records = [(0, b"a", event(1, time=50)), (0, b"a", event(1, time=50 - late_by))]
    run = Run(number(records), SequenceRules(allowed_lateness_ms=10), 4)
    run.finish()
    assert len(run.predictions[0]) == (1 if late_by > 10 else 2)
    check(run)


def test_an_unknown_stream_has_no_time() -> None:
    run = Run(number([(0, b"a", event(1, time=-(2**53) + 1))]), SequenceRules(idle_ms=1, allowed_lateness_ms=1), 4)
    assert run.partitions[0].cursor.stream_time == NO_TIME
    run.finish()
    check(run)


def answered(*values: bytes | None, rules: SequenceRules | None = None) -> tuple[dict[int, float], dict[bytes, str]]:
    """One key's predictions by offset, and the reasons of its dead letters by value; checked by the oracle."""
    run = Run(number([(0, b"a", value) for value in values]), rules or SequenceRules(), 4, WITH_FACTOR)
    run.finish()
    check(run)
    told = [json.loads(value) for _, value in run.predictions[0]]
    return (
        {one["offset"]: one["probability"] for one in told},
        {value: str(reason) for reason, _, value in run.dead_letters[0]},
    )


def test_a_static_input_holds_until_the_state_is_empty() -> None:
    wrong = event(3, 5)
    totals, letters = answered(event(1, 2), bare(2), event(3, 2), wrong, bare(4, end=True), event(1, 5))
    assert totals == {0: 2, 1: 6, 2: 12, 4: 20, 5: 5}
    assert letters == {wrong: "wrong_static"}


@pytest.mark.parametrize(
    ("before", "afresh", "rules"),
    [
        ([event(1, 2, end=True)], bare(1), SequenceRules()),
        ([event(1, 2)], bare(1, start=True), SequenceRules()),
        ([event(1, 2), None], bare(1), SequenceRules()),
        ([event(1, 2, time=5)], bare(1, time=16), SequenceRules(gap_ms=10)),
        ([event(1, 2, time=5)], bare(1, time=16), SequenceRules(idle_ms=10)),
        ([event(1, 2), bare(1)], bare(1, time=3), SequenceRules(length=2)),
        ([], bare(1), SequenceRules()),
    ],
)
def test_a_sequence_that_begins_wants_its_static_input(
    before: list[bytes | None], afresh: bytes, rules: SequenceRules
) -> None:
    _, letters = answered(*before, afresh, rules=rules)
    assert letters == {afresh: "wrong_static"}


def test_an_event_with_a_wrong_static_input_leaves_its_state_and_moves_the_stream_time() -> None:
    late = bare(1, time=5)
    wrong, start = event(1, 3, time=20), bare(1, time=9, start=True)
    totals, letters = answered(
        event(1, 2, time=0), start, bare(1, time=9), wrong, late, bare(1, time=11),
        rules=SequenceRules(allowed_lateness_ms=10),
    )  # fmt: skip
    assert totals == {0: 2, 2: 4, 5: 6}
    assert letters == {start: "wrong_static", wrong: "wrong_static", late: "late"}


def test_a_duplicate_is_dropped_whatever_static_input_it_brings() -> None:
    totals, letters = answered(event(1, 2, sequence=1), event(1, 3, sequence=1), bare(1, sequence=2))
    assert (totals, letters) == ({0: 2, 2: 4}, {})
