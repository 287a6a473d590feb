"""The lines of the page of questions and answers run, from the first to the last."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from model.quick import short_certificate

PAGE = (Path(__file__).parents[2] / "docs" / "faq.md").read_text(encoding="utf-8")
pytestmark = pytest.mark.conversions
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_every_answer_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer's lines, one after the other."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    with short_certificate():
        for block in BLOCKS:
            exec(compile(block, "docs/faq.md", "exec"), names)
    assert len(BLOCKS) > 8
