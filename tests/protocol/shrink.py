"""Makes a history smaller while it still shows the same: fewer moves, records and strikes, plainer settings."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from protocol.history import History, Move

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from protocol.world import World

_PLAINER: Final[dict[str, tuple[Any, ...]]] = {
    "processes": (1, 2),
    "slots": (8,),
    "tick": (0.001, 0.01),
    "snapshot_interval": (0.0, 0.3),
    "polled_at_once": (8,),
    "restored_at_once": (100,),
    "leaving_seconds": (10.0,),
    "visible_at_first": (100, 0),
    "hands_over": ("memory", "disks"),
}


def made_explicit(history: History, world: World) -> History:
    """The same history, with what struck by chance said."""
    return replace(history, strikes=dict(world.struck), crash=0.0, stop=0.0, fail=0.0)


def shrink(history: History, shows: Callable[[History], bool], seconds: float) -> History:
    """The smallest history that was found within `seconds` of computing for which `shows` is still true."""
    deadline = time.process_time() + seconds

    def is_wanted(candidate: History) -> bool:
        return time.process_time() < deadline and shows(candidate)

    smaller, before = history, None
    while smaller != before and time.process_time() < deadline:
        before = smaller
        for name in ("moves", "records", "probes", "strikes"):
            smaller = _with_fewer(smaller, name, is_wanted)
        for change in _plainer(smaller):
            if change(smaller) != smaller and is_wanted(change(smaller)):
                smaller = change(smaller)
    return smaller


def _with_fewer(history: History, name: str, is_wanted: Callable[[History], bool]) -> History:
    """Leaves out halves, then quarters, and so on down to single ones."""
    size = len(getattr(history, name))
    while size:
        start = 0
        while start < len(getattr(history, name)):
            items = list(getattr(history, name))
            kept = items[:start] + items[start + size :]
            given: Any = {hit: history.strikes[hit] for hit in kept} if name == "strikes" else kept
            candidate = replace(history, **{name: given})
            if is_wanted(candidate):
                history = candidate
            else:
                start += size
        size //= 2
    return history


def _plainer(history: History) -> Iterator[Callable[[History], History]]:
    """Changes of a single thing."""
    for name, values in _PLAINER.items():
        yield from (partial(_set, name=name, value=value) for value in values if value != getattr(history, name))
    for name in ("gap_ms", "idle_ms", "allowed_lateness_ms", "length"):
        yield partial(_without_rule, name=name)
    for at in range(len(history.moves)):
        yield partial(_plain_move, at=at)


def _set(history: History, name: str, value: Any) -> History:
    return replace(history, **{name: value})


def _without_rule(history: History, name: str) -> History:
    return replace(history, rules=replace(history.rules, **{name: 0}))


def _plain_move(history: History, at: int) -> History:
    moves = list(history.moves)
    moves[at] = Move(moves[at].name, 0)
    return replace(history, moves=moves)
