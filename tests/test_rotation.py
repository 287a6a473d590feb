"""Slow tests of a kind take turns, by a seed that repeats them; without `--rotate` all run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rotation import seed

if TYPE_CHECKING:
    from collections.abc import Callable

    Ran = Callable[..., set[str]]

TESTS = """
import pytest

@pytest.mark.rotated(keep=2)
@pytest.mark.parametrize("story", "abcde")
def test_story(story): pass

@pytest.mark.rotated(kind="ends")
def test_end_of_one(): pass

@pytest.mark.rotated(kind="ends")
def test_end_of_another(): pass

def test_always(): pass
"""


@pytest.fixture
def ran(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Ran:
    """`ran("--rotate", seed="7")` -> the names of the tests that ran."""
    pytester.makeini("[pytest]\nmarkers = rotated")
    pytester.makepyfile(TESTS)

    def run(*options: str, seed: str = "") -> set[str]:
        monkeypatch.setenv("PROCESSOR_TEST_SEED", seed)
        result = pytester.inline_run("-p", "rotation", *options)
        passed, _, failed = result.listoutcomes()
        assert not failed
        return {report.nodeid.split("::")[1] for report in passed}

    return run


def test_each_kind_has_as_many_as_it_keeps_and_the_seed_repeats_them(ran: Ran) -> None:
    first = ran("--rotate", seed="7")
    assert first == ran("--rotate", seed="7")
    assert "test_always" in first
    assert len([name for name in first if "story" in name]) == 2
    assert len([name for name in first if "end_of" in name]) == 1


def test_every_test_has_its_turn(ran: Ran) -> None:
    assert len(set.union(*(ran("--rotate", seed=str(number)) for number in range(12)))) == 8


def test_nothing_is_left_out_where_nobody_asks_for_it(ran: Ran) -> None:
    assert len(ran(seed="7")) == 8


def test_the_seed_is_the_commit_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROCESSOR_TEST_SEED", raising=False)
    assert seed() == seed()
    monkeypatch.setenv("PROCESSOR_TEST_SEED", "7")
    assert seed() == "7"
