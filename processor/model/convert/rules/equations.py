"""Equations of sums of products, as einsum takes them: where time lies in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from processor.model.convert.refusal import Obstacle
from processor.model.convert.rules.base import InTheWay

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLACES: Final = "0123456789"
"""The names of axes that an equation leaves out (`...`), counted from the right."""


def time_by_equation(equation: str, ranks: Sequence[int], times: Sequence[int | None]) -> int:
    """The axis of time in the answer of `bti,ij->btj`.

    ranks: of the operands, in the order of the equation; times: the axis of time in each (None: it has none).

    Raises:
        InTheWay: the equation sums over time, or multiplies samples by each other or by numbers of their own.
    """
    given, _, answer = equation.replace(" ", "").partition("->")
    terms = [_spelt_out(term, rank) for term, rank in zip(given.split(","), ranks, strict=True)]
    longest = max((len(term) - len(raw.replace("...", "")) for term, raw in zip(terms, given.split(","), strict=True)))
    answer = answer.replace("...", _PLACES[:longest][::-1])
    labels = {term[time] for term, time in zip(terms, times, strict=True) if time is not None}
    others = "".join(term for term, time in zip(terms, times, strict=True) if time is None)
    if len(labels) != 1:
        raise InTheWay(Obstacle.NEEDS_FUTURE, f"Its equation {equation!r} multiplies samples by each other.")
    (label,) = labels
    if label in others or answer.count(label) != 1 or any(term.count(label) > 1 for term in terms):
        raise InTheWay(Obstacle.COLLECTS_TIME, f"Its equation {equation!r} does not leave time alone.")
    return answer.index(label)


def _spelt_out(term: str, rank: int) -> str:
    """A term with a name for each of its axes."""
    left_out = rank - len(term.replace("...", ""))
    return term.replace("...", _PLACES[:left_out][::-1])
