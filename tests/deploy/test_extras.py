"""The wheel with each of its extras, and nothing else: what is there works, and what is missing is named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.conftest import Environment
from deploy.recipe import ROOT, ImageBuilder

pytestmark = pytest.mark.conversions  # one of the environments has TensorFlow
Made = Callable[[str], Environment]
HINT = "Type: pip install 'sequence-processor[{}]'"
LIBRARY = """
import sys, processor
stepper = processor.load(sys.argv[1])
probabilities, state = stepper.step([[0.2, 1.4, -0.3], [0.7, 0.1, 0.9]], stepper.initial_state(rows=2))
print(probabilities.shape)
"""
MISSING = """
import processor
for call in (lambda: processor.convert("model.keras", "new"), lambda: processor.export_pytorch(None, "new.npz")):
    try:
        call()
    except processor.ProcessorError as error:
        print(error.hint)
"""


@pytest.fixture(scope="module")
def made(images: ImageBuilder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """`made("service")` -> an environment with the wheel and that extra; `made("")`: with the wheel alone."""
    (wheel,) = (images.build("wheel") / "wheels").glob("*.whl")
    folder = tmp_path_factory.mktemp("extras")

    def make(extra: str) -> Environment:
        place = folder / (extra or "none")
        if not place.exists():
            uv = Path(sys.executable).with_name("uv")
            wanted = f"{wheel}[{extra}]" if extra else str(wheel)
            steps: list[list[str | Path]] = [
                ["venv", "--python", sys.executable, place],
                ["pip", "install", "--python", place / "bin/python", wanted, "-c", ROOT / "requirements.lock"],
            ]
            for arguments in steps:
                done = subprocess.run([uv, *arguments], cwd=folder, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
        return Environment(place)

    yield make
    shutil.rmtree(folder)


def refusal(environment: Environment, directory: Path, *command: str | Path) -> str:
    done = environment.run(environment.program, *command, directory=directory, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_wheel_alone_is_the_library(made: Made, artifact: Path, tmp_path: Path) -> None:
    bare = made("")
    assert bare.run(bare.python, "-c", LIBRARY, artifact, directory=tmp_path).stdout == "(2, 1)\n"
    hints = bare.run(bare.python, "-c", MISSING, directory=tmp_path).stdout
    assert hints.splitlines() == [HINT.format("convert"), HINT.format("torch")]
    assert HINT.format("service") in refusal(bare, tmp_path, "run")
    assert HINT.format("convert") in refusal(bare, tmp_path, "convert", "model.keras")


def test_service_prepares_and_runs_and_names_what_the_others_need(made: Made, artifact: Path, tmp_path: Path) -> None:
    service = made("service")
    assert "probability" in service.run(service.program, "info", artifact, directory=tmp_path).stdout
    assert "bootstrap_servers" in service.run(service.program, "config", "show", directory=tmp_path).stdout
    nowhere = ["--set", "kafka.bootstrap_servers=127.0.0.1:1", "--set", f"model.artifact={artifact}"]
    done = service.run(service.program, "check", *nowhere, directory=tmp_path, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    (tmp_path / "model.keras").touch()
    assert HINT.format("convert") in refusal(service, tmp_path, "convert", "model.keras", "-o", "new")
    for command in (["kafka"], ["demo"], ["torture", "--artifact", str(artifact)]):
        assert HINT.format("trial") in refusal(service, tmp_path, *command)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_convert_converts_and_names_what_a_service_needs(made: Made, tmp_path: Path) -> None:
    from model.models import fixed_model

    fixed_model().save(tmp_path / "model.keras")
    converter = made("convert")
    converter.run(converter.program, "convert", "model.keras", "-o", "artifact", directory=tmp_path)
    converter.run(converter.program, "info", "artifact", directory=tmp_path)
    assert HINT.format("service") in refusal(converter, tmp_path, "run", "--set", "model.artifact=artifact")


def test_trial_has_the_embedded_kafka_and_the_service(made: Made, tmp_path: Path) -> None:
    trial = made("trial")
    parts = "processor.trial.kafka_server, processor.trial.torture, processor.runtime.service"
    code = f"import {parts}; processor.trial.kafka_server.require_installed()"
    trial.run(trial.python, "-c", code, directory=tmp_path)
    for command in ("kafka", "torture", "demo"):
        assert "Usage" in trial.run(trial.program, command, "--help", directory=tmp_path).stdout
