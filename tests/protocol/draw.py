"""A history of a seed: the same seed, theme and guarantee give the same one."""

from __future__ import annotations

import json
from itertools import product
from random import Random
from typing import Any, Final

from processor.stepping.sequence import SequenceRules
from protocol.history import PARTITIONS, History, Hit, Move, Record, Strike
from protocol.themes import ALWAYS, POINTS, THEMES, Theme

KEYS: Final = (b"a", b"b", b"c")
BAD: Final = (b"", b"{}", b'{"features": ["x"]}')


def draw(seed: int, theme: str | None = None, exactly_once: bool | None = None) -> History:
    """theme: one of THEMES, None: any. exactly_once: None: most of the time."""
    return draw_by(Random(seed), theme, exactly_once, seed)


def draw_by(random: Random, theme: str | None, exactly_once: bool | None, seed: int) -> History:
    """As `draw`, by whatever draws; seed: of what is left to chance while the history is played."""
    if exactly_once is None:
        exactly_once = random.random() < 0.85
    about = THEMES[theme or random.choice(list(THEMES))]
    records, probes = _draw_input(random, about)
    return History(
        rules=SequenceRules(
            gap_ms=random.choice(about.gaps),
            idle_ms=random.choice(about.idles),
            allowed_lateness_ms=random.choice(about.latenesses),
            length=random.choice(about.lengths),
        ),
        records=records,
        probes=probes,
        moves=_draw_moves(random, about, exactly_once),
        strikes=_draw_strikes(random, about, exactly_once),
        exactly_once=exactly_once,
        processes=random.choice(about.processes),
        slots=random.choice(about.slots),
        tick=random.choice(about.ticks),
        snapshot_interval=random.choice(about.snapshot_intervals),
        polled_at_once=random.choice(about.polled_at_once),
        restored_at_once=random.choice(about.restored_at_once),
        leaving_seconds=random.choice((0.0, 0.1, 10.0)),
        visible_at_first=random.choice((0, 3, 100)),
        hands_over=random.choice(("memory", "disks", "changelog")),
        crash=random.choice(about.crash),
        stop=random.choice(about.stop) if exactly_once else 0.0,
        fail=random.choice(about.fail),
        seed=seed,
    )


def _draw_moves(random: Random, about: Theme, exactly_once: bool) -> list[Move]:
    weights = ALWAYS | about.weights
    if not exactly_once:  # nothing fences its changelog: who was stopped past its session is not for it
        weights = weights | {"end_session": 0.0}
        weights.pop("recreate", None)  # its answers are published before any look
    names = random.choices(list(weights), list(weights.values()), k=random.choice(about.moves))
    if random.random() < 0.8:  # all processes join at first
        names[:0] = ["start"] * max(about.processes) + ["rebalance"]
    return [Move(name, random.randrange(1000)) for name in names]


def _draw_strikes(random: Random, about: Theme, exactly_once: bool) -> dict[Hit, Strike]:
    """Some points are hit once in a history, others hundreds of times: here all have the same chance."""
    points = about.points if random.random() < 0.7 else POINTS
    kinds = about.kinds if exactly_once else ("kill",)
    return {
        (random.choice(points), random.choice(about.hits)): draw_strike(random, random.choice(kinds))
        for _ in range(random.choice(about.strikes))
    }


def draw_strike(random: Random, kind: str) -> Strike:
    if kind != "stop":
        return Strike(kind)
    return Strike(kind, random.randrange(1, 16), random.random() < 0.7, random.random() < 0.5)


def _draw_input(random: Random, about: Theme) -> tuple[list[Record], list[Record]]:
    """Time goes on by about 2 with each record, so that gaps, idle keys and late events are all there."""
    records: list[Record] = []
    offsets = dict.fromkeys(PARTITIONS, 0)
    keys, numbered = KEYS[: random.choice(about.keys)], random.choice(about.numbered)
    steady = random.random() < 0.5
    first = random.choice((0.5, 0.5, 0.9))  # of the events lie in the first partition
    when = 0

    def add(partition: int, key: bytes | None, value: bytes | None) -> None:
        records.append((partition, offsets[partition], key, value))
        # An offset without a record: a marker, or an aborted record, of those who wrote the input.
        offsets[partition] += 1 if random.random() < 0.9 else 2

    for _ in range(random.randrange(1, random.choice(about.records) + 1)):
        when += 1 if steady else random.choice((0, 1, 1, 2, 2, 15))
        key = None if random.random() < 0.02 else random.choice(keys)
        add(0 if random.random() < first else 1, key, _draw_value(random, when, numbered, about.endings))
    body = len(records)
    if random.random() < 0.5:  # what is left in the end is compared anyway
        for partition, key in product(PARTITIONS, keys):
            when += 1
            add(partition, key, event(7, time=when))
    return records[:body], records[body:]


def _draw_value(random: Random, when: int, numbered: float, endings: float) -> bytes | None:
    kind = random.random()
    if kind < 0.03:
        return random.choice(BAD)
    if kind < 0.03 + endings / 3:
        return None
    x = -1 if kind > 0.97 else random.randrange(100)  # an answer to -1 is not finite
    fields: dict[str, Any] = {"time": when + random.choice((0, 0, 0, -2, -4, -8, 3))}
    if random.random() < numbered:
        fields["sequence"] = when + random.choice((0, 0, -4, -2, 1))
    if random.random() < endings:
        fields["end" if random.random() < 0.7 else "start"] = True
    return event(x, **fields)


def event(x: int, **fields: Any) -> bytes:
    return json.dumps({"features": [x], **fields}).encode()
