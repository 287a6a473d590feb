"""The tables of speeds are what was measured."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.report import charts, growth, lines, markdown
from benchmarks.soak import CHARTS

ROOT = Path(__file__).parents[2]


def test_the_hour_is_that_of_its_looks() -> None:
    columns = json.loads((ROOT / "docs" / "soak.json").read_text(encoding="utf-8"))
    looks = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert growth(looks, "minutes", CHARTS) in (ROOT / "processor" / "DESIGN.md").read_text(encoding="utf-8")
    assert lines(looks, "minutes", CHARTS) == (ROOT / "docs" / "soak.svg").read_text(encoding="utf-8")


def test_tables_and_chart_are_those_of_the_results(tmp_path: Path) -> None:
    results = json.loads((ROOT / "docs" / "speed.json").read_text(encoding="utf-8"))
    assert markdown(results, only_goals=True) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert markdown(results) in (ROOT / "processor" / "DESIGN.md").read_text(encoding="utf-8")
    charts(results, tmp_path)
    assert (tmp_path / "speed.svg").read_text(encoding="utf-8") == (ROOT / "docs" / "speed.svg").read_text("utf-8")
