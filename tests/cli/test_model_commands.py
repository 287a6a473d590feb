"""`convert`, `verify` and `info`, on real models."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
from typer.testing import CliRunner

from processor.cli import app
from processor.model.artifact import MANIFEST, load_artifact

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_convert_writes_an_artifact_and_reports(model: Path, tmp_path: Path) -> None:
    result = call("convert", model, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "lstm#0.h" in result.stdout
    assert "greatest error" in result.stdout
    written = load_artifact(tmp_path / "out")
    assert written.fingerprint_hex in result.stdout
    assert (written.mode, written.length) == ("carry", None)


def test_convert_as_json_with_every_option(model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", samples=np.ones((2, 7, 3), np.float32))
    options = ["--mode", "tumbling", "--length", 7, "--tolerance", 1e-4, "--json"]
    result = call("convert", model, "-o", tmp_path / "out", "--examples", tmp_path / "own.npz", *options)
    report = json.loads(result.stdout)
    assert (result.exit_code, report["mode"], report["length"], report["tolerance"]) == (0, "tumbling", 7, 1e-4)
    assert report["fingerprint"] == load_artifact(tmp_path / "out").fingerprint_hex
    assert report["passed"] is True


def test_a_refused_model_is_told_with_its_layer_and_remedies(flattened: Path, tmp_path: Path) -> None:
    result = call("convert", flattened, "-o", tmp_path / "out", "--mode", "carry")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "flatten" in result.stderr
    assert "collects_time" in result.stderr
    assert "What to do" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_refusal_as_json(flattened: Path, tmp_path: Path) -> None:
    result = call("convert", flattened, "-o", tmp_path / "out", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["refused"], document["layer"]) == (2, True, "flatten")
    assert document["remedies"]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    result = call("convert", tmp_path / "none.keras", "-o", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.keras" in result.stderr


def test_verify_says_yes_to_the_right_model_and_no_to_another(model: Path, artifact: Path, tmp_path: Path) -> None:
    assert "Exact" in call("verify", artifact, "--model", model).stdout
    result = call("verify", artifact, "--model", model, "--json")
    assert (result.exit_code, json.loads(result.stdout)["passed"]) == (0, True)

    import keras

    other = keras.models.load_model(model)
    other.set_weights([weight * 1.5 for weight in other.get_weights()])
    other.save(tmp_path / "other.keras")
    result = call("verify", artifact, "--model", tmp_path / "other.keras", "--json")
    assert (result.exit_code, json.loads(result.stdout)["passed"]) == (6, False)
    assert result.stderr.startswith("error ")


def test_info_for_people_and_programs(artifact: Path) -> None:
    fingerprint = load_artifact(artifact).fingerprint_hex
    result = call("info", artifact)
    assert result.exit_code == 0
    assert fingerprint in result.stdout
    assert "lstm#0.h" in result.stdout
    assert json.loads(call("info", artifact, "--json").stdout)["fingerprint"] == fingerprint


def test_info_of_a_damaged_artifact_and_of_none(artifact: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(artifact, tmp_path / "damaged")
    with (damaged / "step.tflite").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff\xff\xff\xff")
    assert (damaged / MANIFEST).exists()
    result = call("info", damaged)
    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr.startswith("error ")
    assert call("info", tmp_path / "none").exit_code == 2


def test_without_the_extra_convert_names_what_to_install(model: Path, artifact: Path, tmp_path: Path) -> None:
    """An environment that has only the service's dependencies: their import fails as it does there."""
    missing = "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'h5py']))"
    code = f"{missing}; from processor.cli import main; main()"
    for arguments in (["convert", model, "-o", tmp_path / "out"], ["verify", artifact, "--model", model]):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "pip install 'sequence-processor[convert]'" in ran.stderr
        assert "Traceback" not in ran.stderr
    command = [sys.executable, "-c", code, "info", str(artifact)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
