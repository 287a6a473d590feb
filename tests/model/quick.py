"""A certificate that is cut short: its long run and its random predictions, for tests in which it is not the point.

`python -m model.quick ARGUMENTS` is the program with it, for tests that start one (PYTHONPATH: tests).
"""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def short_certificate() -> Iterator[None]:
    from processor.model.convert.quiet import prepare

    prepare()
    from processor.model.convert import budget, properties

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(properties, "LONG_RUN", properties.SEQUENCE)
        patch.setattr(budget, "DEFAULT", dataclasses.replace(budget.DEFAULT, sequences=64))
        yield


if __name__ == "__main__":
    from processor.cli import main

    with short_certificate():
        main()
