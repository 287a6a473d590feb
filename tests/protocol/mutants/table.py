"""The table of mutants: rules that look fussy, each broken on purpose in the real code.

A mutant is what stands in the cursor of some of the processor's own names while a history is played. The histories that
catch them are in `caught.json`; `tests/protocol/test_mutants.py` plays them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

Mutation = dict[str, Any]  # `module.[Class.]name` -> what stands in its place


@dataclass(frozen=True, slots=True)
class Mutant:
    """`theme` and `exactly_once`: of histories that catch it."""

    name: str
    rule: str
    theme: str
    exactly_once: bool
    breaks: Callable[[], Mutation]


MUTANTS: Final[dict[str, Mutant]] = {}


def mutant(
    rule: str, theme: str, *, exactly_once: bool = True
) -> Callable[[Callable[[], Mutation]], Callable[[], Mutation]]:
    """Enters a mutant into the table: the rule that it breaks, and what histories that catch it are about."""

    def enter(breaks: Callable[[], Mutation]) -> Callable[[], Mutation]:
        MUTANTS[breaks.__name__] = Mutant(breaks.__name__, rule, theme, exactly_once, breaks)
        return breaks

    return enter
