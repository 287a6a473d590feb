"""Slow tests of one kind take turns: a run of the suite has some of them, `make test-all` has all.

`@pytest.mark.rotated(keep=2)` on a test with many parameters lets two of them run, drawn by the seed; with `kind="..."`
the tests that share the name take turns. The seed is the commit, so that a rerun has the same tests; the environment
variable PROCESSOR_TEST_SEED is another one. Nothing is left out unless pytest gets `--rotate`, as `make test` gives it.
"""

from __future__ import annotations

import os
import subprocess
import zlib
from collections import defaultdict
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rotate", action="store_true", help="of each kind of slow test, run those that the seed draws")


def pytest_report_header(config: pytest.Config) -> str | None:
    if not config.getoption("rotate"):
        return None
    return f"rotation: seed {seed()} (PROCESSOR_TEST_SEED={seed()} repeats it); `make test-all` leaves no test out"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("rotate"):
        return
    kinds: dict[str, list[pytest.Item]] = defaultdict(list)
    keep: dict[str, int] = {}
    for item in items:
        if (mark := item.get_closest_marker("rotated")) is not None:
            kind = mark.kwargs.get("kind") or item.nodeid.split("[")[0]
            kinds[kind].append(item)
            keep[kind] = mark.kwargs.get("keep", 1)
    drawn = seed()
    left_out = {item for kind, some in kinds.items() for item in _others(f"{drawn} {kind}", some, keep[kind])}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def seed() -> str:
    """PROCESSOR_TEST_SEED; else the commit; else, where there is no repository, 0."""
    if given := os.environ.get("PROCESSOR_TEST_SEED"):
        return given
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    try:
        asked = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return "0"
    return asked.stdout.strip() or "0"


def _others(drawn: str, items: list[pytest.Item], keep: int) -> list[pytest.Item]:
    """Those that do not run: each kind is drawn by itself, whatever else there is."""
    return sorted(items, key=lambda item: zlib.crc32(f"{drawn} {item.nodeid}".encode()))[keep:]
