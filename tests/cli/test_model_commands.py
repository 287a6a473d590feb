"""`convert`, `verify` and `info`, on real models."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from model.quick import short_certificate
from processor.cli import app
from processor.model.artifact import MANIFEST, load_artifact

if TYPE_CHECKING:
    from typer.testing import Result

pytestmark = pytest.mark.conversions


@pytest.fixture(scope="module", autouse=True)
def shorter_certificate() -> Iterator[None]:
    with short_certificate():
        yield


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


def test_commands_to_type_keep_the_options_and_work(flattened: Path, tmp_path: Path) -> None:
    """Quoted for a shell, and typed as they are: the mode that is offered is one that works."""
    spaced = tmp_path / "my model's.keras"
    shutil.copyfile(flattened, spaced)
    options = ["-o", tmp_path / "o ut", "--tolerance", "2e-5", "--report", tmp_path / "r.html", "--json"]
    document = json.loads(call("convert", spaced, *options).stdout)
    commands = [remedy for remedy in document["remedies"] if remedy.startswith("processor convert ")]
    assert len(commands) == 2
    for command, mode in zip(commands, ("tumbling", "window"), strict=True):
        program, *arguments = shlex.split(command)
        assert program == "processor"
        result = call(*arguments)
        written = load_artifact(tmp_path / "o ut")
        assert (result.exit_code, written.mode, written.tolerance) == (0, mode, 2e-5)
        assert json.loads(result.stdout)["passed"] is True  # --json was kept
        assert (tmp_path / "r.html").exists()


def test_verify_offers_convert_commands(model: Path, artifact: Path) -> None:
    report = json.loads(call("verify", artifact, "--model", model, "--json").stdout)
    assert report["trained_length"] == 7
    assert [one["command"] for one in report["offers"]] == [
        shlex.join(["processor", "convert", str(model), "-o", str(artifact), "--mode", mode, "--json"])
        for mode in ("tumbling", "window")
    ]


def test_the_artifact_of_another_model_is_not_replaced_without_a_word(
    model: Path, flattened: Path, artifact: Path, tmp_path: Path
) -> None:
    place = shutil.copytree(artifact, tmp_path / "out")
    before = load_artifact(place).fingerprint_hex
    result = call("convert", flattened, "-o", place, "--mode", "window")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "another model" in result.stderr
    assert before in result.stderr
    assert "--force" in result.stderr
    assert load_artifact(place).fingerprint_hex == before
    assert call("convert", flattened, "-o", place, "--mode", "window", "--force").exit_code == 0
    assert load_artifact(place).mode == "window"
    # The same model in another mode is not another model.
    assert call("convert", flattened, "-o", place, "--mode", "tumbling").exit_code == 0


WITHOUT_TENSORFLOW = """
import json, sys
sys.modules["tensorflow"] = None
from typer.testing import CliRunner
from processor.cli import app
for command in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, command)
    print(json.dumps([result.exit_code, result.stdout, result.stderr]))
"""
"""Several commands, in one process that cannot import TensorFlow."""


def test_places_are_looked_at_before_tensorflow_is_loaded(model: Path, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    (tmp_path / "file").write_text("mine")
    cases = [
        (["convert", model, "-o", tmp_path / "file" / "out"], "cannot be written"),
        (["convert", model, "-o", tmp_path / "other"], "is not just an artifact"),
        (["convert", model, "-o", "/proc/x"], "cannot be written"),
        (["convert", model, "-o", tmp_path / "out", "--report", tmp_path / "none" / "r.html"], "report cannot be"),
        (["convert", model, "-o", tmp_path / "out", "--report", tmp_path / "other"], "report cannot be"),
        (["convert", model, "-o", tmp_path / "out", "--report", tmp_path / "out" / "r.html"], "report cannot be"),
        (["verify", artifact, "--model", model, "--report", tmp_path / "none" / "r.html"], "report cannot be"),
    ]
    commands = [[*map(str, arguments), "--json"] for arguments, _ in cases]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    for (_, words), line in zip(cases, ran.stdout.splitlines(), strict=True):
        code, printed, told = json.loads(line)
        failure = json.loads(told)
        assert (code, failure["exit_code"], printed) == (2, 2, "")
        assert words in failure["fact"] + failure["cause"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "other"]


def test_a_failure_is_json_where_json_was_asked_for(tmp_path: Path) -> None:
    for arguments, code in (
        (["info", tmp_path / "none", "--json"], 2),
        (["convert", tmp_path / "none.keras", "-o", tmp_path / "out", "--json"], 2),
        (["convert", "m.keras", "--mode", "sliding", "--json"], 2),
        (["check", "--set", "model.artifact=1", "--set", "nonsense", "--json"], 2),
    ):
        result = call(*arguments)
        failure = json.loads(result.stderr)
        assert (result.exit_code, failure["exit_code"]) == (code, code)
        assert failure["fact"]


def test_a_reader_that_goes_away_is_no_error(artifact: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m processor info {artifact} | head -1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_nothing_is_cut_where_no_terminal_is(artifact: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "processor", "info", str(artifact)], capture_output=True, text=True, check=True
    )
    assert any("later" in line or "worst:" in line for line in ran.stdout.splitlines())
    detail = next(check["detail"] for check in load_artifact(artifact).certificate["checks"] if check["detail"])
    assert detail in ran.stdout


def test_a_locale_without_signs_gets_plain_ones(model: Path, artifact: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "model.quick", "verify", str(artifact), "--model", str(model)],
        capture_output=True,
        check=True,
        env={"PATH": "", "LANG": "C", "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert ran.stderr == b""
    assert ran.stdout.isascii()
    assert b"ok every prefix" in ran.stdout
    assert b"\\u" not in ran.stdout


def test_ctrl_c_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    """As soon as the work begins, and while the artifact is being made."""
    for stage in ("loading TensorFlow", "every prefix"):
        code = f"""
import os, signal, sys
from processor.model import convert
real = convert.convert
def interrupted(*given, progress, **options):
    def tell(stage, part):
        if stage == {stage!r}:
            os.kill(os.getpid(), signal.SIGINT)
    return real(*given, progress=tell, **options)
convert.convert = interrupted
from processor.cli import main
main()
"""
        command = [sys.executable, "-c", code, "convert", str(model), "-o", str(tmp_path / "out" / "model")]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (130, ""), stage
        assert "Traceback" not in ran.stderr
        assert list(tmp_path.iterdir()) == []
