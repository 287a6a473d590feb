"""The abstract Kafka is in the cursor of the real one for tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.stand_ins import OUTSIDE, replaced


@pytest.fixture(scope="module")
def abstract_outside() -> Iterator[None]:
    with replaced(OUTSIDE):
        yield
