"""What histories are about. What goes wrong once in a million histories of all things needs others of its kind."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from processor import failpoints

POINTS: Final = (
    *failpoints.COMMIT,
    *failpoints.ASSIGN,
    *failpoints.REVOKE,
    *("init", "begin", "produce", "flush", "metadata", "offsets", "commit", "committed", "abort", "consumer.commit"),
    *(
        "look",
        "low",
        "high",
        "changelog.poll",
        "committed?",
        "seek",
        "poll",
        "assign",
        "unassign",
        "close",
        "store.write",
    ),
)
"""Failpoints of the processor, and calls of the abstract client and disk."""

_COMMITS: Final = (*failpoints.COMMIT, "offsets", "commit", "committed", "metadata", "flush", "produce")
_RESTORES: Final = ("assign.restoring", "changelog.poll", "assign.opened", "committed?", "low")

ALWAYS: Final = {"turn": 14.0, "append": 2.0, "start": 2.0, "rebalance": 1.0}
"""The moves of every history, with their weights."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Of each choice one is drawn."""

    weights: dict[str, float] = field(default_factory=dict)  # of moves, beside those of every history
    crash: tuple[float, ...] = (0.0, 0.005, 0.02)
    stop: tuple[float, ...] = (0.0,)
    fail: tuple[float, ...] = (0.0,)
    processes: tuple[int, ...] = (1, 2)
    strikes: tuple[int, ...] = (0, 1, 2)
    kinds: tuple[str, ...] = ("kill",)
    points: tuple[str, ...] = POINTS
    hits: tuple[int, ...] = (1, 1, 2, 3, 5)
    restored_at_once: tuple[int, ...] = (2, 100)
    lengths: tuple[int, ...] = (0, 3)
    numbered: tuple[float, ...] = (0.0, 0.3)
    slots: tuple[int, ...] = (1, 2, 8)
    idles: tuple[int, ...] = (0, 0, 12)
    latenesses: tuple[int, ...] = (0, 0, 5)
    gaps: tuple[int, ...] = (0, 0, 5)
    keys: tuple[int, ...] = (2, 3)
    records: tuple[int, ...] = (6, 12, 18)
    snapshot_intervals: tuple[float, ...] = (0.0, 0.3, 0.6, 1.5)
    polled_at_once: tuple[int, ...] = (1, 2, 3, 8)
    ticks: tuple[float, ...] = (0.001, 0.01, 0.03)
    moves: tuple[int, ...] = (15, 30, 60)
    endings: float = 0.2


_TIMES: Final = Theme(
    {"kill": 0.5, "terminate": 0.3},
    crash=(0.01, 0.03),
    processes=(1,),
    slots=(2, 8),
    idles=(12, 12, 0),
    latenesses=(0, 5),
    numbered=(0.3, 0.6),
    records=(12, 18, 24),
    snapshot_intervals=(0.3, 0.6),
)

_RESTORED: Final = Theme(
    {"leap": 1.5, "spoil": 3, "kill": 1, "terminate": 1, "rebalance": 2},
    crash=(0.0,),
    processes=(2,),
    strikes=(0,),
    restored_at_once=(1,),
    lengths=(0,),
    numbered=(0.0,),
    idles=(0,),
    gaps=(0,),
    records=(12, 18),
    snapshot_intervals=(0.0,),
    polled_at_once=(3, 8),
    ticks=(0.03,),
    moves=(60, 100),
    endings=0.9,
)

THEMES: Final = {
    "crashes": Theme({"kill": 1, "terminate": 0.5}, crash=(0.01, 0.03), processes=(1,), slots=(2, 8)),
    "replays": Theme(
        {"kill": 0.5, "terminate": 0.3},
        crash=(0.01, 0.03),
        processes=(1,),
        slots=(2, 8),
        lengths=(3,),
        idles=(0,),
        gaps=(0,),
        numbered=(0.0,),
        records=(12, 18, 24),
        snapshot_intervals=(0.3, 0.6),
        polled_at_once=(1, 2, 3),
        ticks=(0.01, 0.03),
    ),
    "times": _TIMES,
    "late events": replace(
        _TIMES,
        weights={"kill": 2, "terminate": 1.5},
        idles=(0,),
        latenesses=(5,),
        gaps=(0,),
        lengths=(0,),
        polled_at_once=(1, 2),
        moves=(60,),
    ),
    "sweeps": replace(
        _TIMES,
        weights={"kill": 2, "terminate": 0.5},
        moves=(60,),
        slots=(8,),
        lengths=(3, 0),
        numbered=(0.0, 0.9),
        keys=(2,),
        records=(18, 24),
        snapshot_intervals=(0.6, 1.5),
        polled_at_once=(1, 2),
        ticks=(0.03,),
    ),
    "aborts": Theme(
        {"time_out": 1, "terminate": 1, "rebalance": 3},
        fail=(0.1, 0.2, 0.3),
        crash=(0.0, 0.01),
        slots=(2, 8),
        processes=(1, 2, 2),
        snapshot_intervals=(0.3, 1.5),
    ),
    "hand-overs": Theme(
        {"rebalance": 14},
        crash=(0.0,),
        fail=(0.3,),
        processes=(2,),
        strikes=(0,),
        slots=(8,),
        records=(24, 36),
        polled_at_once=(3,),
        ticks=(0.001,),
        moves=(60, 90),
    ),
    "zombies": Theme(
        {"end_session": 0.5, "marker": 1, "time_out": 0.5, "twin": 0.5},
        crash=(0.0,),
        stop=(0.0, 0.02),
        processes=(2, 3),
        strikes=(2, 4),
        kinds=("stop", "stop", "move on"),
        points=_COMMITS,
        moves=(30, 60, 90),
    ),
    "markers": Theme(
        {"marker": 1, "kill": 1, "terminate": 1, "compact": 1, "rebalance": 2}, processes=(2, 3), lengths=(0,)
    ),
    "births": Theme(
        {"rebalance": 3, "kill": 0.3, "terminate": 0.3},
        crash=(0.0,),
        processes=(1,),
        strikes=(1, 2),
        points=("assign.started", "commit.committed", "metadata", "poll"),
        hits=(1, 2, 2, 3),
        records=(12, 18),
        polled_at_once=(1, 2, 3),
        ticks=(0.001, 0.01),
    ),
    "restores": _RESTORED,
    "broken restores": replace(
        _RESTORED, weights={"leap": 3, "spoil": 2, "kill": 1.5, "terminate": 1.5, "rebalance": 4, "compact": 1}
    ),
    "stopped restores": replace(
        _RESTORED,
        weights={"leap": 3, "spoil": 1, "kill": 1, "terminate": 1, "rebalance": 2},
        strikes=(1, 2),
        kinds=("stop",),
        points=("changelog.poll", "assign.restoring", "assign.opened"),
        hits=(1, 2, 3, 4, 5, 6),
    ),
    "disks": Theme(
        {"leap": 1.5, "spoil": 3, "compact": 1, "kill": 1, "terminate": 1, "rebalance": 2},
        stop=(0.0, 0.01),
        kinds=("stop", "kill"),
        processes=(2,),
        points=_RESTORES,
        restored_at_once=(1, 2),
        lengths=(0,),
        numbered=(0.0,),
        gaps=(0,),
        keys=(2,),
        snapshot_intervals=(0.0, 0.3),
        moves=(60, 100),
        endings=0.4,
    ),
    "hot keys": Theme(
        {"kill": 0.5, "terminate": 0.3},
        crash=(0.01, 0.03),
        processes=(1,),
        slots=(8,),
        lengths=(0,),
        idles=(0,),
        gaps=(0,),
        numbered=(0.0,),
        keys=(1, 2),
        records=(12, 18, 24),
        snapshot_intervals=(0.3, 0.6),
        ticks=(0.01, 0.03),
        endings=0.0,
    ),
    "ends": Theme(
        {"hold": 3, "release": 2, "kill": 0.5, "terminate": 0.5, "rebalance": 2},
        crash=(0.0, 0.01),
        fail=(0.0, 0.1),
        slots=(2, 8),
        records=(12, 18),
        snapshot_intervals=(0.0, 0.3, 1.5),
        ticks=(0.03, 0.1),
        moves=(60, 90),
    ),
    "recreated": Theme(
        {"recreate": 1, "kill": 0.3, "terminate": 0.3, "rebalance": 1},
        crash=(0.0, 0.01),
        fail=(0.0, 0.1),
        records=(12, 18),
        moves=(30, 60),
    ),
    "everything": Theme(
        dict.fromkeys(
            ("twin", "kill", "terminate", "end_session", "marker", "time_out", "compact", "spoil", "expire"), 1.0
        )
        | {"leap": 0.3, "hold": 0.5, "release": 0.5},
        stop=(0.0, 0.01),
        kinds=("stop", "kill", "move on"),
        fail=(0.0, 0.1),
        processes=(2, 3),
        restored_at_once=(1, 2, 100),
        moves=(15, 30, 60, 90),
    ),
}
