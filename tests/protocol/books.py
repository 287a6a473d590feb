"""Histories of the bookkeeping, as bytes: one of a seed, or of Hypothesis, and many of them.

    PYTHONPATH=tests python -m protocol.books --count 100000

What fails is told with its seed and its bytes.
"""

from __future__ import annotations

import argparse
import sys
import time
from random import Random
from typing import Final

from protocol.bookkeeping import KEYS, Books

LONGEST: Final = 40  # bytes


def play(history: bytes) -> None:
    """The first byte: slots, and how old a bucket falls due; each other one: a move.

    Raises:
        Violation: the promise is broken. Or whatever the processor's own code raised.
    """
    first = history[0] if history else 0
    books = Books((1, 2, 4, 8)[first % 4], 2.0 * (first // 4 % 4))
    for byte in history[1:]:
        _act(books, byte % 16, byte // 16)
    books.finish()


def _act(books: Books, kind: int, choice: int) -> None:
    number, which = choice % 2, choice // 2
    if kind < 8:
        books.input[number].append((KEYS[which % 4], 0 if kind == 7 else 1 + len(books.input[number])))
        books.turn(number, 1)
    elif kind < 10:
        books.turn(number, 1 + which % 4)
    elif kind < 12:
        books.now += which
        books.commit(books.arena.flush_queue.fallen_due(books.now, books.interval, number))
    elif kind == 12:
        books.commit(books.arena.flush_queue.oldest(which), ("done", "aborted", "killed")[choice % 3])
    elif kind == 13:
        books.leave(number, in_peace=which % 2 == 0)
    elif kind == 14:
        books.rewind()
    else:
        books.start()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m protocol.books", description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--count", type=int, default=10_000, help="seeds")
    options = parser.parse_args()
    began = time.process_time()
    for seed in range(options.first, options.first + options.count):
        try:
            play(drawn(seed))
        except Exception:
            print(f"seed {seed}: {drawn(seed).hex()}")
            raise
    print(f"{options.count} histories, {options.count / (time.process_time() - began):.0f} a second of computing")
    return 0


def drawn(seed: int) -> bytes:
    random = Random(seed)
    return random.randbytes(random.randrange(1, LONGEST))


if __name__ == "__main__":
    sys.exit(main())
