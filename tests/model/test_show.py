"""What `info` says."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rich.console import Console

from model.example import parts
from processor.model.artifact import Parts, load_artifact, write_artifact
from processor.model.show import describe, render

if TYPE_CHECKING:
    from pathlib import Path


def page(directory: Path, width: int = 120) -> str:
    text = io.StringIO()
    render(load_artifact(directory), Console(file=text, width=width))
    return " ".join(text.getvalue().split())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "model", Parts(**parts()))
    return tmp_path / "model"


def test_a_program_gets_all_of_it_as_json(directory: Path) -> None:
    artifact = load_artifact(directory)
    about = json.loads(json.dumps(describe(artifact), allow_nan=False))
    assert about["fingerprint"] == artifact.fingerprint_hex
    assert about["model"] == artifact.model_id
    assert (about["mode"], about["length"], about["tile"], about["parameters"]) == ("tumbling", 7, 64, 3 * 128)
    assert about["inputs"][1] == {"name": "token", "shape": [], "dtype": "int32", "static": True}
    assert about["state"]["slots"][0] == {
        "name": "encoder/lstm_1#0.h",
        "shape": [2, 3],
        "dtype": "float32",
        "columns": [0, 6],
    }
    assert (about["state"]["words"], about["state"]["bytes"], about["state"]["starts_as_zeros"]) == (10, 40, False)
    assert about["certificate"]["errors"] == {"dense": 1.25e-7}
    assert about["golden"] == {"sequences": 2, "samples": 4}
    assert about["size_bytes"]["step.tflite"] == 2048


def test_people_get_it_as_a_page(directory: Path) -> None:
    text = page(directory)
    for said in (
        load_artifact(directory).fingerprint_hex,
        "mode tumbling 7, exact at the last step only",
        "inputs ../odd name float32(3), token int32() static",
        "10 float32 values (40 bytes) per key",
        "encoder/lstm_1#0.h (2, 3) float32 0:6",
        "steps () int32 7:8",
        "lstm_1 LSTM recurrent",
        "lstm_1 kernel (3, 128) 384",
        "errors / dense 1.2e-07",
        "lstm_1: time_major was dropped",
        "keras 3.15.1",
        "always 64",
    ):
        assert said in text


def test_names_are_printed_and_not_obeyed(tmp_path: Path) -> None:
    layers = [{"name": "[red]lstm[/red]", "class": "LSTM", "rule": "recurrent"}]
    write_artifact(tmp_path / "model", Parts(**parts(layers=layers)))
    assert "[red]lstm[/red]" in page(tmp_path / "model")


def test_findings_of_a_certificate_are_a_line_each(tmp_path: Path) -> None:
    checks = [
        {"name": "causality", "passed": True, "detail": "samples from 33 on changed", "error": None},
        {"name": "every prefix", "passed": False, "detail": "after sample 1", "error": 6e-8},
    ]
    certificate = {
        "checks": checks,
        "growth": {"dense": [[1, 1e-8], [16, 3e-8]], "head": [[t, 0.5] for t in range(1, 101)]},
        "remarks": [],
    }
    write_artifact(tmp_path / "model", Parts(**parts(certificate=certificate)))
    text = page(tmp_path / "model")
    assert "checks / causality passed; samples from 33 on changed" in text
    assert "checks / every prefix FAILED; error 6e-08; after sample 1" in text
    assert "growth / dense 1: 1e-08, 16: 3e-08" in text
    curve = text.partition("growth / head ")[2].partition(" repairs ")[0]  # its ends are there, and it is short
    assert curve.startswith("1: 0.5, ")
    assert curve.endswith("100: 0.5")
    assert curve.count(":") < 12
    assert "remarks" not in text


def test_weights_go_by_their_own_names(tmp_path: Path) -> None:
    weight = {"layer": "lstm", "name": "sequential/lstm/lstm_cell/recurrent_kernel", "shape": [32, 128]}
    write_artifact(tmp_path / "model", Parts(**parts(weights=[weight])))
    assert "lstm recurrent_kernel (32, 128) 4,096" in page(tmp_path / "model")


def test_what_is_not_there_has_no_heading(tmp_path: Path) -> None:
    bare = parts(repairs=[], layers=[], initial_state=np.zeros(10, np.float32), tile=None)
    write_artifact(tmp_path / "model", Parts(**bare))
    text = page(tmp_path / "model")
    assert "repairs" not in text
    assert "layers" not in text
    assert "starts as zeros" in text
    assert "any number" in text
