"""The tables of speeds are what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import Line, charts, growth, headlines, lines, markdown
from benchmarks.rig import rate_of
from benchmarks.soak import CHARTS

ROOT = Path(__file__).parents[2]
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


def test_the_hour_is_that_of_its_looks() -> None:
    columns = json.loads((ROOT / "docs" / "soak.json").read_text(encoding="utf-8"))
    looks = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert growth(looks, "minutes", CHARTS) in PERFORMANCE
    assert lines(looks, "minutes", CHARTS) == (ROOT / "docs" / "soak.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [1, 5, 6, 7])
def test_a_short_run_has_a_beginning_and_an_end_as_well(count: int) -> None:
    rows = [{"minutes": float(number), "files": 10.0 + number} for number in range(count)]
    assert f" {9 + count} |" in growth(rows, "minutes", [Line("files", "open files")]).splitlines()[-1]


def test_tables_and_chart_are_those_of_the_results(tmp_path: Path) -> None:
    results = json.loads((ROOT / "docs" / "speed.json").read_text(encoding="utf-8"))
    assert headlines(results) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert markdown(results) in PERFORMANCE
    charts(results, tmp_path)
    assert (tmp_path / "speed.svg").read_text(encoding="utf-8") == (ROOT / "docs" / "speed.svg").read_text("utf-8")


def test_a_run_that_is_too_short_has_no_rate() -> None:
    with pytest.raises(RuntimeError, match="too few for a rate"):
        rate_of([(0.0, 0), (0.1, 20_000)], 0.25)
    assert rate_of([(0.0, 0), (1.0, 50), (3.0, 250)], 0.2) == 100
