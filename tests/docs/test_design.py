"""The pages of the design and of its rules name the tests and mutants that hold them: all of these exist."""

from __future__ import annotations

import re
from pathlib import Path

from protocol import rules
from protocol.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "design").glob("*.md"))}
DESIGN = "\n".join(PAGES.values())
SECTION = PAGES["README.md"].split("## Invariants")[1].split("\n## ")[0]
INVARIANTS = re.findall(r"^\| \d \| .+ \| (.+) \|$", SECTION, re.MULTILINE)


def test_every_test_that_the_design_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DESIGN)
    assert named
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), (path, test)


def test_every_invariant_names_tests_that_fail_without_it() -> None:
    assert len(INVARIANTS) == 7
    for row in INVARIANTS:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", row), row


def test_every_mutant_that_an_invariant_names_exists() -> None:
    named = [
        name
        for row in INVARIANTS
        for names in re.findall(r"test_a_broken_rule_is_caught` \((.+?)\)", row)
        for name in re.findall(r"`(\w+)`", names)
    ]
    assert named
    assert set(named) <= set(MUTANTS)


def test_the_page_of_rules_is_made_of_the_mutants_and_of_what_catches_them() -> None:
    assert rules.PAGE.read_text(encoding="utf-8") == rules.page(), "python -m protocol.rules writes it anew"
