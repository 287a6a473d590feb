"""`config show` and `config schema`, and what every command does with wrong settings."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from processor.cli import app
from processor.cli.settings import toml_key, toml_value
from processor.config import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def call(*arguments: str, environ: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), env=environ or {})


def test_show_prints_toml_that_means_the_same(tmp_path: Path) -> None:
    settings = ["--set", 'kafka.group_instance_id=a"b\\c\t\x7f', "--set", "kafka.properties.security.protocol=SSL"]
    result = call("config", "show", *settings, "--set", "processing.accept_gap=true")
    assert result.exit_code == 0
    again = tmp_path / "again.toml"
    again.write_text(result.stdout, encoding="utf-8")
    loaded = load_settings(again, {}, ["model.artifact=artifacts/model", "state.directory=state"])
    expected = load_settings(None, {}, [*settings[1::2], "processing.accept_gap=true"])
    assert loaded.settings == expected.settings


def test_show_says_where_each_came_from() -> None:
    result = call("config", "show", "--set", "log.level=debug", environ={"PROCESSOR_INPUT__TOPIC": "t"})
    found = {line.split("=")[0].strip(): line for line in result.stdout.splitlines() if "=" in line}
    assert found["level"].split() == ["level", "=", '"debug"', "#", "--set"]
    assert found["memory_mib"].split() == ["memory_mib", "=", "1024", "#", "default"]
    assert '"t"' in result.stdout
    assert "# environment" in result.stdout


def test_show_as_json() -> None:
    secret = {"PROCESSOR_KAFKA__PROPERTIES__SASL_PASSWORD": "hunter2"}
    result = call("config", "show", "--json", environ=secret)
    document = json.loads(result.stdout)
    assert document["file"] is None
    assert document["settings"]["state.memory_mib"] == {"value": 1024, "origin": "default"}
    masked = document["settings"]["kafka.properties.sasl.password"]
    assert masked == {"value": "********", "origin": "environment"}
    assert "hunter2" not in call("config", "show", environ=secret).stdout


def test_schema_is_a_json_schema_that_the_defaults_keep() -> None:
    schema = json.loads(call("config", "schema").stdout)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(tomllib.loads(call("config", "show").stdout))


@pytest.mark.parametrize(
    "command", [["run"], ["check"], ["topics", "plan"], ["topics", "apply"], ["config", "show"]], ids=" ".join
)
def test_wrong_settings_end_every_command_with_2_and_without_a_traceback(command: list[str]) -> None:
    result = call(*command, "--set", "state.memory_mb=8")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "error There is no setting 'state.memory_mb'.\nIt comes from --set.\nhint Did you mean state.memory_mib?\n"
    )


def test_a_file_that_is_not_there() -> None:
    result = call("config", "show", "-c", "nowhere.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error The settings' file nowhere.toml does not exist.")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_written_as_toml_reads_it(text: str) -> None:
    assert tomllib.loads(f"{toml_key(text)} = {toml_value(text)}") == {text: text}


@given(st.one_of(st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)))
def test_any_number_is_written_as_toml_reads_it(value: float) -> None:
    assert tomllib.loads(f"v = {toml_value(value)}") == {"v": value}
