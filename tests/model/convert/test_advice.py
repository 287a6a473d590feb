"""What refusals advise: every call or command goes through the trial that `offers` makes, and none stands in prose."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import processor.model.convert
from processor.model.convert.refusal import MOST_SAID, ConversionRefused, Obstacle, in_its_words
from processor.model.convert.remedies import Again

ROOT = Path(processor.model.convert.__file__).parent
COMMANDS = ("processor convert", "--mode", "--tolerance", "--time-axis", "--length", "mode=", "neither in carry")
FRAGMENTS = {
    " samples: --mode tumbling --length ",  # an option to add to the command that was typed, whatever the model
    "Give the number of samples: --mode ",
    " --length N (in Python",
}


def refusals() -> list[tuple[str, int, ast.Call]]:
    """Every place that makes a refusal or an obstacle: (file, line, call)."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if isinstance(node, ast.Call) and name in ("ConversionRefused", "InTheWay", "ConfigError", "Again"):
                found.append((str(path.relative_to(ROOT)), node.lineno, node))
    return found


def texts(node: ast.AST) -> list[str]:
    return [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def test_no_refusal_writes_a_command_by_hand() -> None:
    """A command in prose is neither tried on the model nor does it keep the user's options: `Again` does both."""
    assert len(refusals()) > 50
    wrong = [
        (file, line, text)
        for file, line, call in refusals()
        for text in texts(call)
        if any(word in text for word in COMMANDS) and not any(text.startswith(known) for known in FRAGMENTS)
    ]
    wrong += [
        (str(path.relative_to(ROOT)), node.lineno, text)
        for path in sorted(ROOT.rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign)  # the remedies that several rules share
        for text in texts(node)
        if any(word in text for word in COMMANDS)
    ]
    assert wrong == []


def test_every_call_that_is_advised_names_a_mode_or_a_tolerance() -> None:
    """The two that are known to work: a mode is tried, a tolerance is above the errors that were found."""
    made = [(file, call) for file, _, call in refusals() if call.func.id == "Again"]  # type: ignore[attr-defined]
    assert {file for file, _ in made} <= {"modes.py", "offers.py", "conversion.py", "report.py"}
    assert made


@pytest.mark.parametrize("obstacle", Obstacle)
def test_every_obstacle_is_explained(obstacle: Obstacle) -> None:
    refusal = ConversionRefused(
        "It.", layer="it", reason=obstacle, remedies=["Do.", Again({"mode": "window"}, "Or so")]
    )
    assert refusal.cause.endswith(".")
    assert refusal.remedies == ("Do.", "Or so: processor.convert(model, directory, mode='window')")
    refusal.type_as(lambda again: f"typed {again.options['mode']}")
    assert refusal.hint == "Do. Or: Or so: typed window"


def test_all_that_keras_says_is_repeated_within_bounds() -> None:
    assert (
        in_its_words(ValueError("First line.\n\n  The cause is\n  in the last"))
        == "First line. The cause is in the last."
    )
    assert in_its_words(KeyError()) == "KeyError."
    assert len(in_its_words(ValueError("x " * 10_000))) < MOST_SAID + 10
