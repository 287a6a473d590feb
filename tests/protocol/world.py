"""The world in which a history happens: a broker, processes with their disks, two clocks, and a scheduler.

Each point of a process asks the world whether it lives on. A process that is stopped in the middle of a call lets the
history go on inside of that call, and goes on itself some moves later. `play` is the whole of it: the moves, the end
(nothing more goes wrong, all is handed over, each key is asked once more), and the check.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

from protocol.abstract.client import INPUT
from protocol.abstract.disk import Disk
from protocol.abstract.kafka import Kafka
from protocol.draw import draw_strike
from protocol.ending import finish, take_over
from protocol.history import PARTITIONS, History, Hit, Strike
from protocol.moves import MOVES
from protocol.stand_ins import inside, replaced
from protocol.undisturbed import Truth, check, undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protocol.history import Record
    from protocol.process import Process

_DEEPEST = 2  # processes that are stopped inside of each other's calls


class World:
    """One history in the making."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.kafka = Kafka(len(PARTITIONS))
        self.now = 0.0
        self.now_ms = 1_000_000
        self.random = Random(history.seed)  # of the move in hand
        self.process: Process | None = None  # that runs just now
        self.disks = [Disk() for _ in range(history.processes)]
        self.processes: list[Process | None] = [None] * history.processes
        self.twins: list[Process] = []
        self.last_owners: dict[int, Disk] = {}
        self.wanted = dict.fromkeys(PARTITIONS, 0)  # the group's offset once all is through
        self.unread = list(history.records)  # that are not in the input yet
        self.is_calm = False
        self.story: list[str] = []
        self.struck: dict[Hit, Strike] = {}  # by strikes that were said, and by chance
        self._chance = Random(history.seed) if history.crash or history.stop or history.fail else None
        self._moves = iter(history.moves)
        self._hits: dict[str, int] = {}
        self._depth = 0
        self._following = {
            (p, record[1]): following[1]
            for p in PARTITIONS
            for record, following in pairwise(r for r in [*history.records, *history.probes] if r[0] == p)
        }
        for partition in PARTITIONS:
            self.kafka.log(INPUT, partition)

    # What processes ask ---------------------------------------------------------------------------------------

    def clock(self) -> float:
        self.now += self.history.tick
        return self.now

    @contextmanager
    def running(self, process: Process) -> Iterator[None]:
        before, self.process = self.process, process
        try:
            yield
        finally:
            self.process = before

    def note(self, *what: Any) -> None:
        """Goes on with the story."""
        self.story.append("  " * self._depth + " ".join(map(str, what)))

    def interrupt(self, process: Process, point: str) -> None:
        """Whatever happens to a process at a point."""
        strike = self._strike(point, self.history.crash, "kill", self.history.stop, "stop")
        if strike is None:
            return
        if strike.kind == "kill":
            self.note(process.name, "is killed at", point)
            process.die()
        elif strike.kind == "stop" and self._depth < _DEEPEST:
            self._stop(process, point, strike)
        elif strike.kind == "move on":  # somebody joins
            self.note("the group has a new generation while", process.name, "is at", point)
            self.kafka.group.rebalance({})

    def fails(self, process: Process, point: str) -> bool:
        """Whether a call fails."""
        strike = self._strike(f"the call of {point}", self.history.fail, "fail")
        if strike is not None:
            self.note("the call of", point, "fails,", process.name)
        return strike is not None

    def _strike(self, point: str, rate: float, kind: str, rate2: float = 0.0, kind2: str = "") -> Strike | None:
        if self.is_calm:
            return None
        self._hits[point] = hit = self._hits.get(point, 0) + 1
        strike = self.history.strikes.get((point, hit))
        if strike is None and self._chance is not None:
            drawn = self._chance.random()
            if drawn < rate + rate2:
                strike = draw_strike(self._chance, kind if drawn < rate else kind2)
        if strike is not None:
            self.struck[point, hit] = strike
        return strike

    def _stop(self, process: Process, point: str, strike: Strike) -> None:
        """Others go on while this one stands still, and it may find itself replaced when it wakes."""
        self.note(process.name, "stands still at", point)
        process.is_stopped = True
        if process.member is not None and strike.is_silent:
            process.member.answers = False
        before = self.random
        self._depth += 1
        for _ in range(strike.moves):
            self.act()
        self.random = before
        if strike.is_replaced:
            take_over(self)
        self._depth -= 1
        process.is_stopped = False
        if process.is_alive and process.member is not None:
            process.member.answers = True
            if process.member.is_known:
                process.member.generation = self.kafka.group.generation
            else:
                process.member.has_heard = self.random.random() < 0.5
        self.note(process.name, "goes on" if process.is_alive else "never goes on")

    # What the scheduler does ----------------------------------------------------------------------------------

    def act(self) -> bool:
        """The next move. False: there are no more."""
        move = next(self._moves, None)
        if move is None:
            return False
        self.now += 0.02
        self.now_ms += 20
        self.random = Random(move.seed)
        MOVES[move.name](self)
        return True

    def append(self, record: Record) -> None:
        """To the input."""
        partition, offset, key, value = record
        log = self.kafka.log(INPUT, partition)
        log.end = offset
        log.append(key, value)
        if self.random.random() < 0.5:  # markers may lie behind the last record
            log.end = self._following.get((partition, offset), log.end + 2)
        self.wanted[partition] = log.end
        self.note("input", *record)

    def everybody(self) -> list[Process]:
        """Who is alive."""
        return [process for process in [*self.processes, *self.twins] if process is not None and process.is_alive]

    def some_running(self) -> Process | None:
        running = [process for process in self.everybody() if not process.is_stopped]
        return self.random.choice(running) if running else None


def play(history: History, mutation: dict[str, Any] | None = None, truth: Truth | None = None) -> World:
    """Plays a history to its end, and checks it. `mutation`: what stands in the cursor of the processor's own names.

    Raises:
        Violation: the promise is broken. Or whatever the processor's own code raised. The story is in its notes.
    """
    wanted = truth or undisturbed(history)
    world = World(history)
    with inside(world), replaced(mutation or {}):
        try:
            for _ in range(min(history.visible_at_first, len(world.unread))):
                world.append(world.unread.pop(0))
            while world.act():
                pass
            finish(world)
            check(world, wanted)
        except BaseException as error:
            error.world = world  # type: ignore[attr-defined]
            raise
    return world
