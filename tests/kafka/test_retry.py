"""How long commits may fail, one after the other."""

from __future__ import annotations

import pytest

from processor.errors import Unavailable
from processor.kafka.retry import CommitFailed, Patience

ERROR = CommitFailed("no luck")


def test_a_few_that_fail_for_longer_than_the_budget_are_too_many() -> None:
    patience = Patience(10)
    for now in (100.0, 105.0, 110.0):
        patience.failed(ERROR, now)
    with pytest.raises(Unavailable, match="for 11 s") as told:
        patience.failed(ERROR, 111.0)
    assert "4 have failed" in told.value.cause
    assert "no luck" in told.value.cause


def test_one_that_comes_through_begins_anew() -> None:
    patience = Patience(10)
    for now in range(0, 100, 5):
        patience.failed(ERROR, now)
        patience.failed(ERROR, now + 4)
        patience.succeeded()


def test_two_with_a_long_way_back_between_them_are_not_many() -> None:
    patience = Patience(10)
    patience.failed(ERROR, 0.0)
    patience.failed(ERROR, 500.0)
    with pytest.raises(Unavailable):
        patience.failed(ERROR, 501.0)
