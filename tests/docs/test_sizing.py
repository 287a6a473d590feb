"""The page of sizes has the figures that were measured, and counts keys as the arena does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from processor.runtime.wiring import ARENA_SHARE
from processor.state.arena import slots_within

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
SPEEDS = {row["name"]: row for row in json.loads((ROOT / "docs" / "speed.json").read_text(encoding="utf-8"))["speed"]}
NAMES = {
    "10,000 keys, JSON": "10k keys, JSON",
    "10,000 keys, float32": "10k keys, float32",
    "1 million keys, JSON": "1M keys, JSON",
    "1 million keys, memory for a tenth": "1M keys, memory for a tenth",
    "10 million keys, JSON": "10M keys, JSON",
}


@pytest.mark.parametrize("words", [0, 96, 1_000])
def test_the_keys_in_memory_are_those_of_the_arena(words: int) -> None:
    found = re.search(r"state\.memory_mib \* (0\.\d+) \* 1,048,576 / \(4 \* words \+ (\d+)\)", PAGE)
    assert found
    share, overhead = float(found[1]), int(found[2])
    assert share == ARENA_SHARE
    memory = 1024 * 2**20
    assert memory * share / (4 * words + overhead) == pytest.approx(slots_within(int(memory * share), words), rel=0.05)


def test_the_loads_are_those_that_were_measured() -> None:
    rows = re.findall(r"^\| (1.+) \| (\d+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(NAMES)
    for name, cpu, rate in rows:
        measured = SPEEDS[NAMES[name]]
        assert float(cpu) == pytest.approx(measured["cpu_us"], abs=0.51)
        assert float(rate.replace(",", "")) == pytest.approx(measured["ours"], abs=600)
