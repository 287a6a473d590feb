"""One history: an input, the settings it is read with, and what happens, move by move.

A history is data. `protocol.draw` makes one of a seed, `protocol.world` plays it, `protocol.shrink` makes it smaller
while it still shows the same, and `caught.json` keeps some. Each move brings the seed of its own choices (how many
records a poll returns, which process runs), so that a move can be left out without changing the others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from processor.stepping.sequence import SequenceRules

PARTITIONS: Final = (0, 1)

Record = tuple[int, int, bytes | None, bytes | None]  # partition, offset, key, value
Hit = tuple[str, int]  # a point of the code, and its how-maniest hit in the history


@dataclass(frozen=True, slots=True)
class Move:
    """Something that the scheduler does: see `protocol.moves`."""

    name: str
    seed: int


@dataclass(frozen=True, slots=True)
class Strike:
    """What hits a process at a point: it is killed, stopped, told of a new generation, or the call there fails."""

    kind: str  # kill, stop, move on, fail
    moves: int = 0  # of the history, that happen while it stands still
    is_silent: bool = False  # its heartbeats stop as well
    is_replaced: bool = False  # the others get all there is before it goes on


@dataclass(frozen=True, slots=True)
class History:
    """All that one history is made of. The rates are of each point, beside the strikes that are said."""

    rules: SequenceRules
    records: list[Record]
    probes: list[Record]  # asked in the end
    moves: list[Move]
    strikes: dict[Hit, Strike] = field(default_factory=dict)
    exactly_once: bool = True
    processes: int = 1
    slots: int = 8
    tick: float = 0.01  # seconds from one look at the clock to the next
    snapshot_interval: float = 0.3
    polled_at_once: int = 8
    restored_at_once: int = 100
    leaving_seconds: float = 10.0
    visible_at_first: int = 100  # records
    hands_over: str = "memory"  # before the probes: by what the states come there: memory, disks, changelog
    crash: float = 0.0
    stop: float = 0.0
    fail: float = 0.0
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Without what is as it would be anyway."""
        usual = History(SequenceRules(), [], [], [])
        plain: dict[str, Any] = {
            "rules": {name: value for name, value in asdict(self.rules).items() if value},
            "records": _plain(self.records),
            "probes": _plain(self.probes),
            "moves": [f"{move.name} {move.seed}" for move in self.moves],
            "strikes": [[*hit, *asdict(strike).values()] for hit, strike in self.strikes.items()],
        }
        others = [each.name for each in fields(self) if each.name not in plain]
        return plain | {name: getattr(self, name) for name in others if getattr(self, name) != getattr(usual, name)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> History:
        moves = [move.rsplit(" ", 1) for move in plain["moves"]]
        return cls(
            **plain
            | {
                "rules": SequenceRules(**plain["rules"]),
                "records": _records(plain["records"]),
                "probes": _records(plain["probes"]),
                "moves": [Move(name, int(seed)) for name, seed in moves],
                "strikes": {(point, hit): Strike(*rest) for point, hit, *rest in plain["strikes"]},
            }
        )


def _plain(records: list[Record]) -> list[list[Any]]:
    return [[p, offset, *(None if text is None else text.decode() for text in texts)] for p, offset, *texts in records]


def _records(plain: list[list[Any]]) -> list[Record]:
    return [
        (p, offset, None if key is None else key.encode(), None if value is None else value.encode())
        for p, offset, key, value in plain
    ]
