"""The README and the tutorial run: commands in their order, events and predictions, lines of Python."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from processor.kafka.client import Producer
from processor.trial.kafka import EmbeddedKafka
from processor.trial.reader import read_topic

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
INSTALL, TWO_COMMANDS, KAFKA, OWN_MODEL = (
    block.splitlines() for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
)
EVENT, PREDICTION = re.findall(r"```json\n(.*?)\n```", README, re.DOTALL)
(LIBRARY,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
KEY = re.search(r"with the key `(.*?)`", README)[1]  # type: ignore[index]
TRAIN, *CLIENTS = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)


def test_it_is_one_screen() -> None:
    assert len(README.splitlines()) <= 100


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_every_extra_that_is_named_is_one(page: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {name for names in re.findall(r"\.\[([\w,]+)\]\"", text) for name in names.split(",")}
    named |= set(re.findall(r"\bextra `(\w+)`", text))
    assert named <= set(extras)
    if page == "README.md":
        assert len(INSTALL) == 1
        assert named


def test_the_tutorial_types_what_the_readme_types() -> None:
    typed = [line for block in re.findall(r"```console\n(.*?)```", TUTORIAL, re.DOTALL) for line in block.splitlines()]
    *install, _, _, _, _ = typed
    assert install[-1:] == INSTALL
    assert sorted(typed[len(install) :]) == sorted(KAFKA + OWN_MODEL)


@pytest.mark.parametrize("line", TWO_COMMANDS)
def test_the_two_commands_are_the_makefiles(line: str) -> None:
    # Under `make test`, the outer make would speak through the environment of the inner one.
    own = {variable: value for variable, value in os.environ.items() if not variable.startswith("MAKE")}
    done = subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(".venv/bin/")


@pytest.mark.parametrize(("example", "schema"), [(EVENT, "event"), (PREDICTION, "prediction")])
def test_the_examples_are_of_their_schemas(example: str, schema: str) -> None:
    text = (ROOT / "schemas" / f"{schema}.schema.json").read_text(encoding="utf-8")
    Draft202012Validator(json.loads(text)).validate(json.loads(example))


@pytest.fixture
def commands(kafka: EmbeddedKafka, name: Callable[[str], str], tmp_path: Path) -> dict[str, str]:
    """The environment of the README's reader, but for Kafka's address and the topics' names."""
    own = {variable: value for variable, value in os.environ.items() if not variable.startswith("PROCESSOR_")}
    return own | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PROCESSOR_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "PROCESSOR_KAFKA__GROUP_ID": name("group"),
        "PROCESSOR_INPUT__TOPIC": name("samples"),
        "PROCESSOR_OUTPUT__TOPIC": name("probabilities"),
        "PROCESSOR_DEAD_LETTER__TOPIC": name("dead"),
        "PROCESSOR_HTTP__LISTEN": "127.0.0.1:0",
    }


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the tutorial's reader has after the training: a session of Python, in the directory of model.keras."""
    monkeypatch.chdir(tmp_path)
    session: dict[str, Any] = {}
    exec(compile(TRAIN, "docs/tutorial.md", "exec"), session)
    return session


@pytest.fixture
def following(commands: dict[str, str], trained: dict[str, Any], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """All commands were typed; the last one runs."""
    *first, last = map(shlex.split, OWN_MODEL)
    for command in first:
        done = subprocess.run(command, cwd=tmp_path, env=commands, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(last, cwd=tmp_path, env=commands, stdout=log, stderr=log, text=True)
    yield running
    running.kill()
    running.wait()


def test_its_event_gets_its_prediction(
    following: subprocess.Popen[str],
    commands: dict[str, str],
    trained: dict[str, Any],
    kafka: EmbeddedKafka,
    tmp_path: Path,
) -> None:
    topic, output = commands["PROCESSOR_INPUT__TOPIC"], commands["PROCESSOR_OUTPUT__TOPIC"]
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    producer.produce(topic, key=KEY, value=EVENT)
    producer.flush(30)
    found: list[Any] = []
    deadline = time.monotonic() + 60
    while not found:
        assert following.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.1)
        found = [record for records in read_topic(kafka.bootstrap_servers, output).values() for record in records]
    (record,) = found
    shown, answer = json.loads(PREDICTION), json.loads(record.value)
    assert record.key.decode() == KEY
    assert list(answer) == list(shown)
    settled = ("step", "time", "offset", "warm")
    assert [answer[field] for field in settled] == [shown[field] for field in settled]
    assert {type(value) for value in answer.values()} == {type(value) for value in shown.values()}

    # The tutorial's reader sends and reads, and compares with Keras.
    for block in CLIENTS:
        own = block.replace("localhost:9092", kafka.bootstrap_servers)
        own = own.replace('"samples"', f'"{topic}"').replace('"probabilities"', f'"{output}"')
        exec(compile(own, "docs/tutorial.md", "exec"), trained)
    assert [prediction["step"] for prediction in trained["predictions"]] == [1, 2, 3]

    following.send_signal(signal.SIGTERM)
    assert following.wait(60) == 0

    exec(LIBRARY, trained)
    assert trained["probabilities"].shape == (2, 1)
    assert float(trained["probabilities"][0, 0]) == pytest.approx(answer["probability"], abs=1e-6)
