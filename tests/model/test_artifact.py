"""Artifacts on the disk: whole or not there, and believed only after every byte was looked at."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from model.example import LAYOUT, parts
from processor.errors import ConfigError, Incompatible, ProcessorError
from processor.model.artifact import GOLDEN, MANIFEST, STEP_GRAPH, Golden, Parts, Slot, load_artifact, write_artifact
from processor.model.artifact.manifest import Manifest, fingerprint, seal
from processor.types import TensorSpec

if TYPE_CHECKING:
    from pathlib import Path

FILES = (MANIFEST, STEP_GRAPH, GOLDEN)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    target = tmp_path / "artifacts" / "model"
    write_artifact(target, Parts(**parts()))
    return target


def test_what_was_written_is_read(directory: Path) -> None:
    given, artifact = parts(), load_artifact(directory)
    for name in ("inputs", "outputs", "mode", "length", "layout", "layers", "weights", "versions", "repairs", "tile"):
        assert getattr(artifact, name) == given[name], name
    assert (artifact.step_graph, artifact.tolerance, artifact.exact_prefix) == (given["step_graph"], 1e-5, False)
    assert artifact.certificate == {"errors": {"dense": 1.25e-7}, "growth": [1e-8, 0.5], "ok": True}
    assert artifact.initial_state.tobytes() == given["initial_state"].tobytes()
    for kind in ("features", "outputs"):
        for name, values in getattr(given["golden"], kind).items():
            read = getattr(artifact.golden, kind)[name]
            assert (read.dtype, read.shape, read.tobytes()) == (values.dtype, values.shape, values.tobytes())
    assert artifact.golden.state.tobytes() == given["golden"].state.tobytes()
    assert (artifact.words, artifact.float_words, artifact.directory) == (10, 7, directory)
    assert artifact.slot("steps") == LAYOUT[2]
    assert artifact.slot("nobody") is None
    assert not artifact.initial_state.flags.writeable


def test_it_is_three_files_that_others_may_read(directory: Path) -> None:
    assert sorted(path.name for path in directory.iterdir()) == sorted(FILES)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o777 & ~mask
    json.loads((directory / MANIFEST).read_text(encoding="utf-8"))


def test_the_same_parts_are_the_same_bytes(directory: Path, tmp_path: Path) -> None:
    write_artifact(tmp_path / "again", Parts(**parts()))
    assert [(tmp_path / "again" / name).read_bytes() for name in FILES] == [
        (directory / name).read_bytes() for name in FILES
    ]


def test_a_model_without_a_state(tmp_path: Path) -> None:
    golden = Golden({"x": np.ones((1, 1, 2), "f4")}, {"y": np.ones((1, 1, 2), "f4")}, np.zeros((1, 0), "f4"))
    specs = {"inputs": (TensorSpec("x", (2,)),), "outputs": (TensorSpec("y", (2,)),), "golden": golden}
    carried = {"layout": (), "initial_state": np.zeros(0, "f4"), "mode": "carry", "length": None, "exact_prefix": True}
    assert write_artifact(tmp_path / "stateless", Parts(**parts(**specs, **carried))).words == 0


# --- the fingerprint


def test_fingerprint_is_eight_bytes_and_names_the_model(directory: Path) -> None:
    artifact = load_artifact(directory)
    assert re.fullmatch("[0-9a-f]{16}", artifact.fingerprint_hex)
    assert int(artifact.fingerprint_hex, 16) == artifact.fingerprint < 2**64
    assert artifact.model_id == artifact.fingerprint_hex[:8]


DECIDING: dict[str, dict[str, Any]] = {
    "step graph": {"step_graph": b"another"},
    "mode": {"mode": "window"},
    "length": {"length": 8},
    "prefix": {"exact_prefix": True},
    "initial state": {"initial_state": np.zeros(10, np.float32)},
    "slot's name": {"layout": (replace(LAYOUT[0], name="encoder/lstm_1#1.h"), *LAYOUT[1:])},
    "slot's shape": {"layout": (replace(LAYOUT[0], shape=(3, 2)), *LAYOUT[1:])},
    "output's name": {
        "outputs": (TensorSpec("head", (1,)),),
        "golden": Golden(parts()["golden"].features, {"head": np.ones((2, 4, 1), "f4")}, parts()["golden"].state),
    },
    "input's kind": {"inputs": (TensorSpec("../odd name", (3,)), TensorSpec("token", (), "int32"))},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "versions": {"versions": {"keras": "3.99"}},
    "certificate": {"certificate": {}},
    "repairs": {"repairs": []},
    "tolerance": {"tolerance": 1e-4},
    "layers": {"layers": []},
    "weights": {"weights": []},
    "tile": {"tile": None},
    "golden": {
        "golden": Golden(parts()["golden"].features, {"dense": np.ones((2, 4, 1), "f4")}, parts()["golden"].state)
    },
}


@pytest.mark.parametrize("what", DECIDING)
def test_what_decides_an_answer_decides_the_fingerprint(directory: Path, tmp_path: Path, what: str) -> None:
    other = write_artifact(tmp_path / "other", Parts(**parts(**DECIDING[what])))
    assert other.fingerprint != load_artifact(directory).fingerprint


@pytest.mark.parametrize("what", HARMLESS)
def test_what_decides_no_answer_does_not(directory: Path, tmp_path: Path, what: str) -> None:
    other = write_artifact(tmp_path / "other", Parts(**parts(**HARMLESS[what])))
    assert other.fingerprint == load_artifact(directory).fingerprint


# --- damage


def refused(directory: Path) -> ProcessorError:
    with pytest.raises((Incompatible, ConfigError)) as error:
        load_artifact(directory)
    assert str(directory) in error.value.fact
    assert error.value.cause
    assert error.value.hint
    return error.value


@pytest.mark.parametrize("bit", [0, 5, 7])
@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_found(directory: Path, name: str, bit: int) -> None:
    path = directory / name
    content = path.read_bytes()
    for place in [*range(0, len(content), max(1, len(content) // 97)), len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        refused(directory)
    path.write_bytes(content)
    load_artifact(directory)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_or_a_longer_file_is_found(directory: Path, name: str) -> None:
    path = directory / name
    content = path.read_bytes()
    for length in (0, 1, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(directory)
    path.write_bytes(content + b" ")
    assert isinstance(refused(directory), Incompatible)


def test_a_manifest_with_a_number_changed_by_hand_is_found(directory: Path) -> None:
    path = directory / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"tolerance": 0.00001', b'"tolerance": 0.10000'))
    assert "SHA-256" in refused(directory).cause


def test_files_of_two_artifacts_do_not_mix(directory: Path, tmp_path: Path) -> None:
    write_artifact(tmp_path / "other", Parts(**parts(step_graph=b"another graph")))
    (directory / STEP_GRAPH).write_bytes((tmp_path / "other" / STEP_GRAPH).read_bytes())
    error = refused(directory)
    assert isinstance(error, Incompatible)
    assert STEP_GRAPH in error.cause


def resealed(directory: Path, **changes: Any) -> None:
    """What somebody would have to do who changes a manifest on purpose: even that has to fit together."""
    path = directory / MANIFEST
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    for name, value in changes.items():
        setattr(manifest, name, value)
    if "fingerprint" not in changes:
        manifest.fingerprint = fingerprint(manifest, (directory / STEP_GRAPH).read_bytes())
    path.write_bytes(seal(manifest))


def test_the_fingerprint_is_computed_again(directory: Path) -> None:
    resealed(directory, fingerprint="0123456789abcdef")
    assert "fingerprint" in refused(directory).cause


@pytest.mark.parametrize(
    "changes",
    [
        {"layout": LAYOUT[1:]},
        {"layout": (LAYOUT[2], *LAYOUT[:2])},
        {"initial_state": "AAAA"},
        {"initial_state": "no base64!"},
        {"inputs": (TensorSpec("../odd name", (4,)), TensorSpec("token", (), "int32"))},
        {"outputs": (TensorSpec("dense", (1,)), TensorSpec("second", (1,)))},
        {"length": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_parts_that_contradict_each_other_are_refused_even_when_sealed(
    directory: Path, changes: dict[str, Any]
) -> None:
    resealed(directory, **changes)
    error = refused(directory)
    assert isinstance(error, Incompatible)
    assert "fit together" in error.cause


def test_a_newer_format_says_so_whatever_else_it_holds(directory: Path) -> None:
    (directory / MANIFEST).write_text('{"artifact": 2, "shape": "unknown", "sha256": 12}', encoding="utf-8")
    error = refused(directory)
    assert isinstance(error, Incompatible)
    assert "format 2" in error.fact
    assert "newer" in error.cause


@pytest.mark.parametrize("content", ["{}", '{"name": "a web page", "icons": []}', "[]", '{"artifact": "1"}'])
def test_another_programs_manifest_is_no_artifact(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content, encoding="utf-8")
    error = refused(tmp_path)
    assert isinstance(error, ConfigError)
    assert "processor convert" in error.hint


def test_no_directory_a_file_and_an_empty_directory_are_no_artifacts(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    expected = {"nowhere": "no such directory", "model.keras": "It is a file", "empty": f"no {MANIFEST}"}
    for name, says in expected.items():
        error = refused(tmp_path / name)
        assert isinstance(error, ConfigError)
        assert says in error.cause


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    error = refused(directory)
    assert isinstance(error, ConfigError)
    assert name in error.cause


# --- writing


def test_an_earlier_artifact_is_replaced_and_nothing_is_left_beside_it(directory: Path) -> None:
    write_artifact(directory, Parts(**parts(step_graph=b"the new one")))
    assert load_artifact(directory).step_graph == b"the new one"
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


def test_a_link_to_an_artifact_stays_a_link(directory: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(directory)
    write_artifact(link, Parts(**parts(step_graph=b"the new one")))
    assert link.is_symlink()
    assert load_artifact(directory).step_graph == b"the new one"


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_artifact(tmp_path / "empty", Parts(**parts()))
    load_artifact(tmp_path / "empty")


@pytest.mark.parametrize("what", ["a file", "a directory of other things", "an artifact and other things"])
def test_what_is_not_just_an_artifact_is_never_replaced(directory: Path, what: str) -> None:
    target = directory.parent / "precious"
    if what == "a file":
        target.write_text("mine", encoding="utf-8")
    elif what == "a directory of other things":
        target.mkdir()
        (target / "thesis.tex").write_text("mine", encoding="utf-8")
    else:
        directory.rename(target)
        (target / "notes.txt").write_text("mine", encoding="utf-8")
    before = sorted(target.rglob("*"))
    with pytest.raises(ConfigError, match="is not just an artifact") as error:
        write_artifact(target, Parts(**parts()))
    assert error.value.cause
    assert sorted(target.rglob("*")) == before
    assert not [path for path in directory.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("fails", ["writing", "renaming"])
def test_a_disk_that_refuses_leaves_the_earlier_artifact(
    directory: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    earlier = load_artifact(directory).fingerprint
    rename = type(directory).rename
    with monkeypatch.context() as patch:
        if fails == "writing":
            patch.setattr(os, "fsync", refuse)
        else:
            patch.setattr(type(directory), "rename", lambda a, b: refuse() if ".new-" in a.name else rename(a, b))
        with pytest.raises(ConfigError, match="cannot be written") as error:
            write_artifact(directory, Parts(**parts(step_graph=b"the new one")))
    assert "No space left" in error.value.cause
    assert load_artifact(directory).fingerprint == earlier
    assert [path.name for path in directory.parent.iterdir()] == ["model"]


def test_below_a_file_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_artifact(tmp_path / "file" / "model", Parts(**parts()))


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "a gap in the layout": {"layout": (replace(LAYOUT[0], shape=(5,), stop=5), *LAYOUT[1:])},
    "a slot of another size": {"layout": (replace(LAYOUT[0], shape=(2, 2)), *LAYOUT[1:])},
    "integers before floats": {
        "layout": (Slot("steps", (), "int32", 0, 1), Slot("h", (7,), "float32", 1, 8), *LAYOUT[3:])
    },
    "a slot's name twice": {"layout": (LAYOUT[0], replace(LAYOUT[1], name=LAYOUT[0].name), *LAYOUT[2:])},
    "a slot of another type": {"layout": (*LAYOUT[:2], replace(LAYOUT[2], dtype="int64"), *LAYOUT[3:])},
    "an initial state of another size": {"initial_state": np.zeros(7, np.float32)},
    "no input": {"inputs": (), "golden": replace(parts()["golden"], features={})},
    "an output's name twice": {"outputs": (TensorSpec("dense", (1,)), TensorSpec("dense", (1,)))},
    "carry with a length": {"mode": "carry", "exact_prefix": True},
    "tumbling without one": {"length": None},
    "tumbling after nothing": {"length": 0},
    "a prefix that is not counted": {"layout": (*LAYOUT[:2], replace(LAYOUT[2], name="count"), *LAYOUT[3:])},
    "a static input that is not kept": {"layout": (*LAYOUT[:3], replace(LAYOUT[3], name="token#0"), LAYOUT[4])},
    "a static input kept as another type": {
        "inputs": (TensorSpec("../odd name", (3,)), TensorSpec("token", (), static=True)),
        "golden": replace(
            parts()["golden"], features={**parts()["golden"].features, "token": np.ones((2, 4), np.float32)}
        ),
    },
    "static inputs, and no word for whether they are held": {"layout": (*LAYOUT[:4], replace(LAYOUT[4], name="held"))},
    "a tile of no rows": {"tile": 0},
    "golden features of another shape": {"inputs": (TensorSpec("../odd name", (2,)), TensorSpec("token", (), "int32"))},
    "golden states of another width": {"golden": replace(parts()["golden"], state=np.zeros((2, 9), "f4"))},
    "golden vectors of no sequence": {
        "golden": Golden(
            {"../odd name": np.zeros((0, 4, 3), "f4"), "token": np.zeros((0, 4), "i4")},
            {"dense": np.zeros((0, 4, 1), "f4")},
            np.zeros((0, 10), "f4"),
        )
    },
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_parts_that_do_not_fit_together_are_not_written(tmp_path: Path, what: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        write_artifact(tmp_path / "model", Parts(**parts(**CONTRADICTIONS[what])))
    assert not (tmp_path / "model").exists()
