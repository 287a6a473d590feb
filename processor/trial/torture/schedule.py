"""What is done, and in which order: decided by the seed alone, before anything runs.

The faults come as cards of a deck that is shuffled again whenever it is used up, so that each is met about as often
as any other (those with many failpoints twice as often); what belongs to a round (which process, when, which failpoint)
is drawn from a generator of that round's own. So a schedule is a prefix of any longer one of the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from processor.errors import ConfigError
from processor.failpoints import ASSIGN, COMMIT, REVOKE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TABLE: Final = {
    "kill": "SIGKILL at any moment",
    "kill-all": "SIGKILL of all processes at once",
    "kill-in-commit": "SIGKILL in the middle of a commit",
    "kill-in-recovery": "SIGKILL of all, and once more during the recovery",
    "kill-in-restore": "SIGKILL of all, a disk lost, and once more during the restore",
    "kill-in-replay": "SIGKILL of all, and once more during the replay",
    "kill-while-leaving": "SIGKILL while partitions leave",
    "disk-deleted": "SIGKILL, and the disk is gone",
    "disk-damaged": "a file of a store is damaged while the process is down",
    "old-disk": "SIGKILL, and an old copy of the disk is put back",
    "stop-and-go": "SIGSTOP past the session, then SIGCONT",
    "restart": "SIGTERM, and a new start",
    "join-and-leave": "another process joins and leaves",
    "transaction-timeout": "a transaction is left open until the broker ends it",
    "broker-killed": "SIGKILL of the broker, and a new start",
    "broker-paused": "SIGSTOP of the broker, then SIGCONT",
}
"""Fault -> what it is, for people."""

BEGINNING: Final = "assign.started"
"""The failpoint that a group passes once in its life: it is killed there before the first round."""

DECK: Final = (*TABLE, "kill-in-commit", "kill-in-recovery")

_RECOVERY: Final = tuple(name for name in ASSIGN if name not in (BEGINNING, "assign.restoring", "assign.replaying"))
_POINTS: Final = {
    "kill-in-commit": COMMIT,
    "kill-in-recovery": _RECOVERY,
    "kill-in-restore": ("assign.restoring",),
    "kill-in-replay": ("assign.replaying",),
    "kill-while-leaving": REVOKE,
    "transaction-timeout": ("commit.flushed", "commit.offsets", "commit.produced"),
}
_MOST_HITS: Final = {"kill-in-commit": 25, "transaction-timeout": 10}  # of a failpoint that is passed again and again
_SEEDS: Final = 1 << 32
_FORMER: Final = {"kill-in-recovery": "kill-on-the-way-back"}
"""Fault -> its former name: a seed draws for ever what it drew when its summary was published."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round. What a fault has no use for is drawn all the same, and ignored.

    process: which of the processes, from 0. after_seconds: of undisturbed work before it. share: 0 to 1, of whatever
    takes time in it. point, hit: a failpoint, "" where the fault has none. graceful: whether what has a choice is
    done by SIGTERM (or another's joining) rather than SIGKILL. seed: for what depends on the files that are found.
    """

    number: int
    fault: str
    process: int
    after_seconds: float
    share: float
    point: str
    hit: int
    graceful: bool
    seed: int

    @property
    def text(self) -> str:
        """The fault, for people."""
        at = f" at {self.point}" if self.point else ""
        return f"{TABLE[self.fault]}{at}"


def schedule(seed: int, rounds: int, processes: int, only: Sequence[str] = ()) -> list[Round]:
    """The rounds of a seed. only: the faults to choose from, all where it is empty.

    Raises:
        ConfigError: there is no such fault.
    """
    unknown = [name for name in only if name not in TABLE]
    if unknown:
        raise ConfigError(f"There is no fault {unknown[0]!r}.", "", f"There are {', '.join(TABLE)}.")
    # The former word for faults, too.
    deck = _deck(f"{seed} afflictions", [name for name in DECK if not only or name in only])
    points = {name: _deck(f"{seed} {_FORMER.get(name, name)}", names) for name, names in _POINTS.items()}
    drawn = []
    for number in range(1, rounds + 1):
        fault, random = next(deck), Random(f"{seed} {number}")
        drawn.append(
            Round(
                number=number,
                fault=fault,
                process=random.randrange(processes),
                after_seconds=round(random.uniform(0.2, 2.0), 2),
                share=random.random(),
                point=next(points[fault]) if fault in points else "",
                hit=random.randint(1, _MOST_HITS.get(fault, 1)),
                graceful=random.random() < 0.5,
                seed=random.randrange(_SEEDS),
            )
        )
    return drawn


def _deck(seed: str, cards: Sequence[str]) -> Iterator[str]:
    """The cards without end: all of them in a random order, then again in another one."""
    random = Random(seed)
    while True:
        yield from random.sample(cards, len(cards))
