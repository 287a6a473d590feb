"""Plays many histories, in all of the processor's ways, or looks for one that catches a mutant.

    PYTHONPATH=tests python -m protocol.search --count 100000          # of the code as it is: each must hold
    PYTHONPATH=tests python -m protocol.search --mutant NAME --keep    # one that catches it, kept in caught.json
    PYTHONPATH=tests python -m protocol.search --mutant all --keep     # where one is missing or catches no more

What fails is told with its seed and theme, made smaller, with its story.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from random import Random
from typing import TYPE_CHECKING, Final

from protocol import kept, rules
from protocol.draw import draw
from protocol.mutants import MUTANTS
from protocol.shrink import made_explicit, shrink
from protocol.stand_ins import OUTSIDE, replaced
from protocol.themes import THEMES
from protocol.undisturbed import Violation
from protocol.vary import vary
from protocol.world import play

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from protocol.history import History
    from protocol.mutants import Mutant

KEPT_EACH: Final = 2
"""Histories of a mutant that are kept: a change of the code may turn one of them into another."""
_CHUNK: Final = 50
_VARIED: Final = 300


def first_failure(
    seeds: Iterable[int], theme: str | None, exactly_once: bool | None, mutant: Mutant | None
) -> tuple[int, History, str] | None:
    """The first of the seeds whose history fails: the seed, the history with all its strikes said, and the failure."""
    with replaced(OUTSIDE):
        for seed in seeds:
            history = draw(seed, theme, exactly_once)
            failure = failure_of(history, mutant)
            if failure is not None:
                return seed, made_explicit(history, failure.world), describe(failure)  # type: ignore[attr-defined]
    return None


def failure_of(history: History, mutant: Mutant | None = None) -> BaseException | None:
    """What playing the history raises. The outside world must be replaced."""
    mutation = mutant.breaks() if mutant else {}
    with replaced(mutation):
        pass  # a name that is not there any more must not look like something that was caught
    try:
        play(history, mutation)
    except Exception as error:
        return error
    return None


def describe(failure: BaseException) -> str:
    return f"{type(failure).__name__}: {failure}"


def shrunk(history: History, mutant: Mutant | None, seconds: float) -> History:
    """A smaller history that fails with the mutant, and holds without it."""

    def shows(candidate: History) -> bool:
        failure = failure_of(candidate, mutant)
        return isinstance(failure, (Violation, type(wanted))) and (mutant is None or failure_of(candidate) is None)

    with replaced(OUTSIDE):
        wanted = failure_of(history, mutant)
        return shrink(history, shows, seconds)


def story_of(history: History, mutant: Mutant | None = None) -> str:
    """What happens in a history that fails."""
    with replaced(OUTSIDE):
        failure = failure_of(history, mutant)
    if failure is None:
        return "it holds"
    return "\n".join([*failure.world.story, describe(failure)])  # type: ignore[attr-defined]


def search(first: int, count: int, theme: str | None, jobs: int) -> Iterator[tuple[int, History, str]]:
    """The failures among `count` seeds from `first` on, as far as the first of each chunk of them."""
    chunks = [range(start, min(start + _CHUNK, first + count)) for start in range(first, first + count, _CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        for found in pool.map(first_failure, chunks, repeat(theme), repeat(None), repeat(None)):
            if found is not None:
                yield found


def catches(history: History, mutant: Mutant) -> bool:
    """Whether the history fails with the mutant. The outside world must be replaced."""
    return failure_of(history, mutant) is not None


def find(name: str, options: argparse.Namespace) -> list[History]:
    """The histories that catch a mutant: those that are kept and still do, and what is missing of them.

    What is missing is first looked for near those that were kept.
    """
    mutant, former = MUTANTS[name], kept.load().get(name, [])
    with replaced(OUTSIDE):
        found = [history for history in former if catches(history, mutant)]
        for seed in range(_VARIED if former else 0):
            if len(found) >= options.each:
                break
            random = Random(seed)
            near = vary(random.choice(former), random)
            if catches(near, mutant) and failure_of(near) is None:
                found.append(near)
                print(f"{name}: variation {seed}", flush=True)
    seeds = iter(range(options.first, options.first + options.count))
    theme = options.theme or mutant.theme
    while len(found) < options.each:
        failing = first_failure(seeds, theme, mutant.exactly_once, mutant)
        if failing is None:
            print(f"{name}: {len(found)} caught by {options.count} histories of {theme}", flush=True)
            break
        seed, history, failure = failing
        small = shrunk(history, mutant, options.shrink)
        with replaced(OUTSIDE):
            if failure_of(small) is None:
                found.append(small)
        print(f"{name}: seed {seed} of {theme}; {len(small.moves)} moves; {failure.splitlines()[0]}", flush=True)
    return found


def keep(names: list[str], options: argparse.Namespace) -> bool:
    """Keeps the histories that catch these mutants. Whether each has one."""
    is_complete = True
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, found in zip(names, pool.map(find, names, repeat(options)), strict=True):
            is_complete &= bool(found)
            if options.keep:
                kept.save({**kept.load(), name: found})
                rules.PAGE.write_text(rules.page(), encoding="utf-8")
    return is_complete


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m protocol.search", description=__doc__.splitlines()[0])
    parser.add_argument("--mutant", choices=[*MUTANTS, "all"], nargs="+", help="look for what catches them")
    parser.add_argument("--keep", action="store_true", help="keep what was found in caught.json")
    parser.add_argument("--each", type=int, default=KEPT_EACH, help="histories to keep of a mutant")
    parser.add_argument("--theme", choices=list(THEMES), help="of the histories; drawn where it is not given")
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--count", type=int, default=5_000, help="seeds")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--shrink", type=float, default=30, help="seconds of computing for making a history smaller")
    options = parser.parse_args()
    if options.mutant:
        return 0 if keep(list(MUTANTS) if "all" in options.mutant else options.mutant, options) else 1
    began, failures = time.monotonic(), 0
    for seed, history, failure in search(options.first, options.count, options.theme, options.jobs):
        failures += 1
        print(f"seed {seed}, theme {options.theme}: {failure}")
        small = shrunk(history, None, options.shrink)
        print(json.dumps(small.to_json()), story_of(small), sep="\n", flush=True)
    rate = options.count / (time.monotonic() - began)
    print(f"{options.count} histories from {options.first} on, {rate:.0f} a second, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
