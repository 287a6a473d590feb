"""Every rule that looks fussy is one without which a history goes wrong. Here they are, each with its history.

A mutant whose histories catch it no more (a change of the code may turn a history into another one) gets new ones by
`PYTHONPATH=tests python -m protocol.search --mutant NAME --keep`.
"""

from __future__ import annotations

import pytest

from protocol import kept
from protocol.history import History
from protocol.mutants import MUTANTS
from protocol.search import failure_of

pytestmark = pytest.mark.usefixtures("abstract_outside")
CAUGHT = kept.load()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_rule_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    assert any(failure_of(history, mutant) for history in CAUGHT[name]), f"nothing misses the rule: {mutant.rule}"


@pytest.mark.parametrize("name", CAUGHT)
def test_what_catches_a_mutant_holds_without_it(name: str) -> None:
    for history in CAUGHT[name]:
        failure = failure_of(history)
        assert failure is None, f"{failure}\n" + "\n".join(failure.world.story)  # type: ignore[attr-defined]


def test_every_history_belongs_to_a_rule_and_reads_back_as_it_was_written() -> None:
    assert set(CAUGHT) == set(MUTANTS)
    for histories in CAUGHT.values():
        assert [History.from_json(history.to_json()) for history in histories] == histories
