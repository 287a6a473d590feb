"""One input partition as this process holds it: its phase of life, and its cursor in the input.

The life cycle is the table `MOVES`; a missing cell raises. Invariants:

- `cursor` is the offset of the next event to step. Every event below it (and at or above the store's `replay_from`) is
  in the arena or in the store.
- `seen_end` is an offset below which every event was stepped: the client has read up to there, and what lies between
  the last event and it is markers and aborted records. `cursor` follows it (`pass_end`).
- `publish_from` is the group's committed offset, as the last recovery asked for it: events below it are
  replayed without publishing. What a commit sends is `committable`, never below it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from processor.types import Cursor

if TYPE_CHECKING:
    from processor.state.checkpoint import Checkpoint
    from processor.state.store import Store


class Phase(StrEnum):
    ASSIGNED = "assigned"  # given to this process; its store is not open yet
    RESTORING = "restoring"  # the store is brought to the end of the changelog
    REPLAYING = "replaying"  # input below the committed offset is stepped again, without publishing
    RUNNING = "running"
    CLOSED = "closed"


class Move(StrEnum):
    OPENED = "opened"  # the store is open
    LOCATED = "located"  # the store is complete, the committed offset is known, the input was sought
    CAUGHT_UP = "caught_up"  # the replay has reached the committed offset
    REWOUND = "rewound"  # a commit failed: recovery starts again
    LEFT = "left"  # revoked, lost, or the process ends


MOVES: Final[dict[Phase, dict[Move, Phase]]] = {
    Phase.ASSIGNED: {Move.OPENED: Phase.RESTORING, Move.REWOUND: Phase.ASSIGNED, Move.LEFT: Phase.CLOSED},
    Phase.RESTORING: {Move.LOCATED: Phase.REPLAYING, Move.REWOUND: Phase.RESTORING, Move.LEFT: Phase.CLOSED},
    Phase.REPLAYING: {Move.CAUGHT_UP: Phase.RUNNING, Move.REWOUND: Phase.RESTORING, Move.LEFT: Phase.CLOSED},
    Phase.RUNNING: {Move.REWOUND: Phase.RESTORING, Move.LEFT: Phase.CLOSED},
    Phase.CLOSED: {},
}


class IllegalMove(RuntimeError):
    """A move that the table does not have: a bug."""


class Partition:
    """An assigned partition. The loop's thread alone touches it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.phase = Phase.ASSIGNED
        self.store: Store | None = None
        self.cursor = Cursor(0)
        self.publish_from = 0
        self.seen_end = 0
        self.under_former_rules = False  # the former version left something to replay: see `resume_point`
        self.rebuilt = 0  # times that its store was found corrupt and wiped
        self.persisted: Checkpoint | None = None  # the newest checkpoint that store and changelog hold

    def move(self, move: Move) -> None:
        """Takes `move`.

        Raises:
            IllegalMove: the table has no such move from this phase.
        """
        try:
            self.phase = MOVES[self.phase][move]
        except KeyError:
            raise IllegalMove(f"partition {self.number}: no move {move!r} from {self.phase!r}") from None
        if move is Move.REWOUND:
            self.seen_end = 0  # what was read before is read again

    def pass_end(self) -> None:
        """Moves the cursor past the markers and aborted records that lie behind the last event.

        No event brings that about, so the stream time stays.
        """
        if self.seen_end > self.cursor.offset:
            self.cursor = Cursor(self.seen_end, self.cursor.stream_time)

    @property
    def takes_events(self) -> bool:
        return self.phase in (Phase.REPLAYING, Phase.RUNNING)

    @property
    def committable(self) -> int:
        """The input offset that a commit sends: during a replay still the old one."""
        return max(self.publish_from, self.cursor.offset)

    @property
    def open_store(self) -> Store:
        """The store, which every phase from RESTORING on has."""
        assert self.store is not None, f"partition {self.number} has no open store in phase {self.phase}"
        return self.store
