"""The certificate's long run and its random predictions are cut short here: of the hundreds of conversions, a few show
all of them (`shipped_defaults`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model.quick import short_certificate
from processor.model.convert import budget, properties

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONG_RUN, _DEFAULT = properties.LONG_RUN, budget.DEFAULT


@pytest.fixture(scope="session", autouse=True)
def shorter_long_run() -> Iterator[None]:
    with short_certificate():
        yield


@pytest.fixture
def shipped_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate as a user gets it."""
    monkeypatch.setattr(properties, "LONG_RUN", _LONG_RUN)
    monkeypatch.setattr(budget, "DEFAULT", _DEFAULT)
