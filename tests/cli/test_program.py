"""The program as such: its help, what it imports, and how failures end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from processor import errors
from processor.cli import app
from processor.cli.failing import RefusingGroup
from processor.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ["convert", "verify", "info", "run", "check", "topics", "config", "demo", "kafka", "reset"]
ERRORS = [
    (errors.ConfigError, 2),
    (errors.Unavailable, 3),
    (errors.OwnershipLost, 4),
    (errors.StateCorrupt, 5),
    (errors.Incompatible, 6),
]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def failing(error: BaseException) -> typer.Typer:
    """A program whose one command, in a group inside the group, raises `error`."""
    program = typer.Typer(cls=RefusingGroup, pretty_exceptions_enable=False)
    inner = typer.Typer()

    @inner.command("do")
    def do() -> None:
        raise error

    program.add_typer(inner, name="now")
    return program


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.stdout


@pytest.mark.parametrize(
    "command", [*COMMANDS, "topics plan", "topics apply", "config show", "config schema"], ids=lambda text: text
)
def test_every_command_has_a_help(command: str) -> None:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_version_and_module_are_the_same_program() -> None:
    ran = subprocess.run([sys.executable, "-m", "processor", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"processor {__version__}\n"


def test_the_help_imports_none_of_the_heavy_libraries() -> None:
    code = """
import sys
from processor.cli import app
try:
    app(["--help"])
except SystemExit:
    heavy = ["numpy", "pydantic", "confluent_kafka", "rocksdict", "ai_edge_litert", "structlog", "tensorflow", "keras"]
    print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""
    assert python(code).stderr == "[]\n"


def test_run_never_imports_tensorflow(tmp_path: Path) -> None:
    """It comes as far as the artifact that is not there, with all of the service imported."""
    code = """
import sys
from processor.cli import app
try:
    app(["run", "--set", "kafka.bootstrap_servers=127.0.0.1:1", "--set", "processing.unavailable_seconds=0.1",
         "--set", f"model.artifact={sys.argv[1]}/none", "--set", f"state.directory={sys.argv[1]}/state"])
except SystemExit as end:
    heavy = [name for name in ("tensorflow", "keras", "h5py", "jgo", "processor.trial") if name in sys.modules]
    print(heavy, "processor.runtime.loop" in sys.modules)
"""
    assert python(code, str(tmp_path)).stdout == "[] True\n"


def test_usage_errors_end_with_2() -> None:
    for arguments in (
        ["nonsense"],
        ["run", "--nonsense"],
        ["convert"],
        ["convert", "m", "--mode", "sliding"],
        ["config", "x"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, arguments
        assert "Traceback" not in result.output


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_error_has_its_exit_code_and_is_told_without_a_traceback(error: type, code: int) -> None:
    program = failing(error("The fact [bold].", "The cause.", "The hint."))
    result = CliRunner().invoke(program, ["now", "do"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == "error The fact [bold].\nThe cause.\nhint The hint.\n"


def test_what_an_error_does_not_say_leaves_no_empty_line() -> None:
    assert CliRunner().invoke(failing(errors.Unavailable("Away.")), ["now", "do"]).stderr == "error Away.\n"


def test_every_class_of_errors_has_an_exit_code_of_its_own() -> None:
    codes = {cls.exit_code for cls in errors.ProcessorError.__subclasses__() if cls.__module__ == "processor.errors"}
    assert codes == {2, 3, 4, 5, 6}


def test_a_bug_keeps_its_traceback_and_ends_with_1() -> None:
    code = """
import typer
from processor.cli.failing import RefusingGroup
app = typer.Typer(cls=RefusingGroup, pretty_exceptions_enable=False)
@app.callback()
def group(): pass
@app.command()
def do(): raise RuntimeError("a bug")
app(["do"])
"""
    ran = python(code)
    assert ran.returncode == 1
    assert ran.stderr.startswith("Traceback")
    assert ran.stderr.endswith("RuntimeError: a bug\n")


def test_ctrl_c_ends_quietly_with_130() -> None:
    result = CliRunner().invoke(failing(KeyboardInterrupt()), ["now", "do"])
    assert (result.exit_code, result.output.strip()) == (130, "")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_failed_run_tells_programs_in_json_and_people_in_words(tmp_path: Path, form: str) -> None:
    settings = ["model.artifact=nowhere", "kafka.bootstrap_servers=127.0.0.1:1", f"log.format={form}"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "processor", "run", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    if form == "console":
        assert ran.stderr.startswith("error nowhere is no artifact.\n")
        return
    line = json.loads(ran.stderr)
    assert (line["event"], line["level"], line["exit_code"]) == ("failed", "error", 2)
    assert (line["error"], line["fact"]) == ("ConfigError", "nowhere is no artifact.")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("kafka.producer.max.request.size=1", "message.max.bytes"),
        ("kafka.consumer.fetch.max.bytes=lots", "fetch.max.bytes"),
    ],
)
@pytest.mark.parametrize("command", ["run", "run --create-topics", "check", "topics apply", "reset --here --yes"])
def test_a_property_that_no_client_takes_is_a_wrong_setting(
    command: str, setting: str, words: str, artifact: Path, tmp_path: Path
) -> None:
    """No broker is asked: there is none at this address."""
    settings = [setting, f"model.artifact={artifact}", "kafka.bootstrap_servers=127.0.0.1:1", "log.format=console"]
    settings.append(f"state.directory={tmp_path / 'state'}")
    arguments = [part for one in settings for part in ("--set", one)]
    result = CliRunner().invoke(app, [*command.split(), *arguments])
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert setting.partition(".")[0] in result.output


@pytest.mark.parametrize("command", ["info nowhere", "topics plan", "check", "reset --here", "config show"])
def test_failures_of_commands_with_json_are_json(command: str) -> None:
    wrong = [] if command.startswith("info") else ["--set", "no.such=1"]
    result = CliRunner().invoke(app, [*command.split(), "--json", *wrong])
    told = json.loads(result.stderr)
    assert (result.exit_code, told["exit_code"], told["error"]) == (2, 2, "ConfigError")
    assert told["fact"]
    assert result.stdout == ""


def test_shells_can_complete_it() -> None:
    assert "_PROCESSOR_COMPLETE" in CliRunner().invoke(app, ["--show-completion", "bash"], prog_name="processor").stdout


def test_ctrl_c_at_a_question_ends_with_130_and_says_that_nothing_was_changed() -> None:
    code = """
import typer
from processor.cli.resetting import _ask
app = typer.Typer()
@app.callback()
def group(): pass
@app.command()
def do(): _ask(None, False)
app(["do"])
"""
    human, terminal = os.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-c", code], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert asking.stderr is not None
    assert asking.stderr.read(6) == "Do it?"
    asking.send_signal(signal.SIGINT)
    _, said = asking.communicate(timeout=60)
    os.close(human)
    os.close(terminal)
    assert asking.returncode == 130
    assert "Nothing was changed." in said
