"""Histories that are like another one: a change of the code turns a kept history into another, and one near it is left.

Rare histories are found so in dozens of tries, where seeds drawn afresh take thousands.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from protocol.history import History, Move

if TYPE_CHECKING:
    from random import Random

_MORE: Final = ("turn", "turn", "append", "kill", "terminate", "start")


def vary(history: History, random: Random) -> History:
    """Some moves choose differently, some come on top, some strikes hit sooner or later, clocks run at another pace."""
    moves = list(history.moves)
    for _ in range(random.randrange(4) if moves else 0):
        index = random.randrange(len(moves))
        moves[index] = Move(moves[index].name, random.randrange(1000))
    for _ in range(random.randrange(4)):
        moves.insert(random.randrange(len(moves) + 1), Move(random.choice(_MORE), random.randrange(1000)))
    return replace(
        history,
        moves=moves,
        strikes={
            (point, max(1, hit + random.choice((-1, 0, 0, 0, 1)))): strike
            for (point, hit), strike in history.strikes.items()
        },
        tick=random.choice((history.tick, 0.001, 0.01, 0.03)),
        seed=random.randrange(1_000_000),
    )
