"""The long run of each certificate is cut short here: of the hundreds of conversions, a few show all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from processor.model.convert import properties

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def shorter_long_run() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(properties, "LONG_RUN", properties.SEQUENCE)
        yield
