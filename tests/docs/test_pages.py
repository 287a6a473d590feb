"""The pages say what the code says: links, paths, metrics, exit codes, refusals, settings, failpoints, layers."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import test_layers
from processor import errors, failpoints, metrics
from processor.cli import app
from processor.config.loading import load_settings
from processor.config.settings import Settings
from processor.model.artifact.layout import Mode
from processor.state.record import HEADER_BYTES
from processor.trial.jars import COORDINATES
from processor.trial.torture.schedule import TABLE
from processor.types import Reason

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md", "schemas/README.md")
]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text(encoding="utf-8")
DESIGN = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "design").glob("*.md")))
COMMANDS = [
    line.split("#")[0].strip()
    for page in PAGES
    for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
]


def runtime_sources() -> Iterator[Path]:
    """The modules of the service: without the converter and what is for development."""
    for path in sorted((ROOT / "processor").rglob("*.py")):
        if not {"convert", "trial"} & set(path.parts):
            yield path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_path_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    for path in re.findall(r"`((?:processor|tests|docs|schemas|deploy)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path


def test_the_design_names_its_modules_as_they_are_called() -> None:
    """Short names in the design stand below processor/."""
    performance = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"`([\w/]+\.py)`", DESIGN + performance)):
        assert list((ROOT / "processor").rglob(name)) or (ROOT / name).exists(), name


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("processor ")])
def test_every_command_that_is_shown_exists_with_its_options(command: str) -> None:
    result = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
    assert result.exit_code == 0, result.output


def test_every_command_that_is_mentioned_exists() -> None:
    names = set()
    for page in PAGES:
        names |= set(re.findall(r"`processor ((?:config |topics )?[a-z]+)", page.read_text(encoding="utf-8")))
    assert {"convert", "info", "topics apply"} <= names
    for name in names:
        assert CliRunner().invoke(app, [*name.split(), "--help"]).exit_code == 0, name


def test_every_metric_is_in_the_table_with_what_to_do() -> None:
    rows = []
    for spec in (*metrics.TABLE, *metrics.SUPERVISOR_TABLE):
        name = metrics.PREFIX + spec.name + (f"{{{spec.label}}}" if spec.label else "")
        rows.append(f"| `{name}` | {spec.type} | {spec.help} | {spec.advice} |")
    assert re.findall(rf"^\| `{metrics.PREFIX}.*\|$", OPERATIONS, re.MULTILINE) == rows


def test_every_metric_that_is_mentioned_is_one() -> None:
    names = {metrics.PREFIX + spec.name for spec in (*metrics.TABLE, *metrics.SUPERVISOR_TABLE)}
    for page in PAGES:
        mentioned = set(re.findall(rf"`({metrics.PREFIX}[a-z_]+)", page.read_text(encoding="utf-8")))
        assert mentioned <= names, page


def test_every_exit_code_has_its_row() -> None:
    classes = {kind.exit_code: kind.__name__ for kind in errors.ProcessorError.__subclasses__()}
    rows = re.findall(r"^\| (\d) \| (?:`(\w+)`)? ?\|", OPERATIONS, re.MULTILINE)
    assert {int(code): name for code, name in rows} == {0: "", 1: "", **classes}


def facts_of(*kinds: str) -> Iterator[tuple[str, str, int]]:
    """What the service says where it raises one of these: kind, the longest piece of fixed text, exit code."""
    for path in runtime_sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds and node.args:
                fact = node.args[0]
                pieces = [part for part in ast.walk(fact) if isinstance(part, ast.Constant)]
                texts = [part.value for part in pieces if isinstance(part.value, str)]
                if texts:
                    yield node.func.id, max(texts, key=len).strip(), getattr(errors, node.func.id).exit_code


REFUSALS = sorted(set(facts_of("Incompatible", "Unavailable", "OwnershipLost", "StateCorrupt")))


@pytest.mark.parametrize(("kind", "text", "code"), REFUSALS)
def test_every_refusal_is_explained_under_its_exit_code(kind: str, text: str, code: int) -> None:
    rows = [line for line in OPERATIONS.splitlines() if line.startswith("| ") and text in line]
    assert any(f" | {code} | " in row for row in rows), f"{kind}: {text}"


def test_every_place_in_the_pages_that_a_hint_names_is_there() -> None:
    for path in runtime_sources():
        for title, page in re.findall(r"'([A-Z][\w ]+)' in (docs/\w+\.md)", path.read_text(encoding="utf-8")):
            assert f"# {title}\n" in (ROOT / page).read_text(encoding="utf-8"), title


def log_lines() -> set[str]:
    logged: set[str] = set()
    for path in runtime_sources():
        text = path.read_text(encoding="utf-8")
        logged |= set(re.findall(r'(?:_LOG|get_logger\(\))\.(?:info|warning|error)\("([a-z_.]+)"', text))
    return logged


def test_every_log_line_is_listed() -> None:
    logged = log_lines()
    assert len(logged) > 20
    section = OPERATIONS[OPERATIONS.index("The log has one line") : OPERATIONS.index("## Metrics")]
    rows = re.findall(r"^\| (`[a-z_.]+`(?:, `[a-z_.]+`)*) \|", section, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(.+?)`", row)} == logged


def test_every_setting_of_sequences_and_every_reason_is_explained() -> None:
    section: Any = Settings.model_fields["sequence"].annotation
    for name, field in section.model_fields.items():
        assert re.search(rf"^\| `{name}` \| {field.default:.10g}\b", SEMANTICS, re.MULTILINE), name
    assert re.findall(r"^\| `(\w+)` \| (?:has|is|lacks|names|holds|reserved)\b", SEMANTICS, re.MULTILINE) == list(
        Reason
    )
    assert {"carry", "tumbling"} < set(Mode.__args__)  # type: ignore[attr-defined]


def test_every_setting_that_is_mentioned_is_one() -> None:
    sections = {name: set(section.annotation.model_fields) for name, section in Settings.model_fields.items()}  # type: ignore[union-attr]
    others = log_lines() | {"model.fit", "model.keras", "sequence.py"}
    for page in PAGES:
        for section, name in re.findall(r"`\[?(\w+)\.(\w+)\b", page.read_text(encoding="utf-8")):
            if section in sections and f"{section}.{name}" not in others:
                assert name in sections[section], f"{page}: {section}.{name}"


TABLES = [
    (page.name, block)
    for page in PAGES
    for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize(("page", "block"), TABLES)
def test_every_table_of_settings_that_is_shown_is_accepted(page: str, block: str, tmp_path: Path) -> None:
    path = tmp_path / "processor.toml"
    path.write_text(block, encoding="utf-8")
    assert load_settings(path, {}, []).file == path


def test_every_variable_that_is_shown_is_accepted() -> None:
    found = {name for page in PAGES for name in re.findall(r"\b(PROCESSOR_[A-Z_]+__[A-Z_]+)=", page.read_text("utf-8"))}
    assert "PROCESSOR_KAFKA__PROPERTIES__SASL_PASSWORD" in found
    for name in found:
        assert "environment" in load_settings(None, {name: "text"}, []).origins.values(), name


def test_the_tested_broker_is_the_one_that_is_named() -> None:
    (version,) = (name.split(":")[2] for name in COORDINATES if name.startswith("org.apache.kafka:"))
    assert f"Apache Kafka {version}," in (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")


def test_every_fault_of_the_kill_matrix_is_in_its_table() -> None:
    page = (ROOT / "docs" / "torture.md").read_text(encoding="utf-8")
    table = page[page.index("## What is done") : page.index("## Three checks")]
    assert dict(re.findall(r"^\| `([a-z][\w-]+)` \| (.*?) \|", table, re.MULTILINE)) == TABLE


def test_every_story_of_a_fault_is_told_by_a_test() -> None:
    rows = [line for line in (ROOT / "docs" / "faults.md").read_text(encoding="utf-8").splitlines() if "`test_" in line]
    tests = re.compile(r"^def (test_\w+)", re.MULTILINE)
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in tests.findall(path.read_text("utf-8"))}
    named = {name for row in rows for name in re.findall(r"`(test_\w+)`", row)}
    assert named - there == set()
    assert all(re.fullmatch(r"\| [^|]+ \| [^|]+ \| [^|]*`test_\w+`[^|]* \|", row) for row in rows)
    # And every story of these files has its row.
    files = [
        "bad_input",
        "brokers",
        "commits",
        "groups",
        "inputs",
        "membership",
        "protocol_faults",
        "recovery",
        "stores",
    ]
    told = [ROOT / "tests" / "recovery" / f"test_{name}.py" for name in files]
    assert {name for path in told for name in tests.findall(path.read_text("utf-8"))} <= named


def test_the_design_has_every_failpoint_and_the_bytes_of_a_record() -> None:
    assert set(re.findall(r"`((?:commit|assign|revoke|reset)\.[a-z_]+)`", DESIGN)) >= set(failpoints.NAMES)
    assert f"a header of {HEADER_BYTES} bytes" in DESIGN
    modules = [ROOT / "processor" / "state" / name for name in ("record.py", "checkpoint.py")]
    written = "".join(module.read_text(encoding="utf-8") for module in modules)
    blocks = re.findall(r"```\n(u8 format .*?)```", DESIGN, re.DOTALL)
    assert len(blocks) == 2, "a record's, and a checkpoint's"
    assert all(line in written for block in blocks for line in block.splitlines())


def test_the_design_shows_the_layers_that_are_tested() -> None:
    (block,) = re.findall(r"```\n(cli\b.*?)```", DESIGN, re.DOTALL)
    rows = [re.split(r"\s{2,}", line)[0].split(" | ") for line in block.splitlines() if line]
    shown = ([name.removeprefix("processor.") for name in row] for row in test_layers.LAYERS)
    assert rows[:-1] == [row for row in shown if row != ["__main__"]]
    assert rows[-1] == [test_layers.CONVERTER.removeprefix("processor.")]


def test_nothing_names_who_wrote_it_or_where_packages_come_from() -> None:
    words = re.compile(r"/(?:root|home|work)/|artifactory|pythonhosted|\bpypi\.", re.IGNORECASE)
    for page in [*PAGES, ROOT / "Dockerfile", ROOT / "Makefile", ROOT / "pyproject.toml"]:
        assert not words.search(page.read_text(encoding="utf-8").replace("/work --workdir /work", "")), page
