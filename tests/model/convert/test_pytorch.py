"""PyTorch models, described by PyTorch itself (`make_pytorch_files.py`) with answers of its own, and converted
where there is no PyTorch. The same artifact, the same certificate, and PyTorch's own answers in it."""

from __future__ import annotations

import dataclasses
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import processor
from processor.errors import ConfigError
from processor.model.convert import ConversionRefused, NotThisModel, Obstacle, export_pytorch, verify
from processor.model.convert.pytorch.build import keras_model
from processor.model.convert.pytorch.description import Description

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = Path(__file__).parents[1] / "pytorch"
TOLERANCE = 1e-5


def answers_of(directory: Path, described: Description) -> list[np.ndarray[Any, Any]]:
    """What the artifact says to the sequences that PyTorch was asked about, output by output."""
    got = processor.load(directory).run(described.inputs)
    return list(got.values()) if isinstance(got, dict) else [got]


@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("lstm", ["memory_l0#0.h", "memory_l0#0.c", "memory_l1#0.h", "memory_l1#0.c"]),
        ("gru", ["gru_l0#0.h", "gru_l1#0.h"]),
        ("bands", [f"shared#{band}.{state}" for band in range(3) for state in "hc"]),
        (
            "words",
            [
                "rnn#0.h",
                "global_average_pooling1d#0.sum",
                "global_average_pooling1d#0.rest",
                "global_average_pooling1d#0.count",
            ],
        ),
        ("bare", ["gru#0.h"]),
    ],
)
def test_it_says_after_every_sample_what_pytorch_said(name: str, slots: list[str], tmp_path: Path) -> None:
    """batch_first either way, several layers, heads in nn.Sequential, one LSTM for several bands, tokens."""
    report = processor.convert(FILES / f"{name}.npz", tmp_path / "a")
    described = Description.read(FILES / f"{name}.npz")
    assert report.mode == "carry"
    # Keras numbers the layers of a process.
    assert [re.sub(r"_\d+#", "#", slot.name) for slot in report.layout] == slots
    for got, own in zip(answers_of(tmp_path / "a", described), described.answers, strict=True):
        np.testing.assert_allclose(got, own, atol=TOLERANCE)
    assert "PyTorch's own answers" in [check["name"] for check in report.certificate["checks"]]
    assert any("PyTorch 1." in line or "PyTorch 2." in line for line in report.repairs)


@pytest.mark.parametrize(
    "name",
    [
        "convolutions",
        "learned_start",
        "packed",
        "projected",
        "sizes_turned",
        "state_viewed",
        "states_of_both_ways",
        "step_by_step",
        "time_first",
        "time_in_the_batch",
        "two_cells",
        "two_loops",
    ],
)
def test_a_form_in_which_people_write_forward(name: str) -> None:
    """The Keras model that is made of it, after every number of samples. (`pytorch_forms.py` has the models.)"""
    described = Description.read(FILES / f"{name}.npz")
    model = keras_model(described, name)
    (own,) = described.answers
    (given,) = [node for node in described.nodes if node["op"] == "input"]
    x = described.inputs[given["name"]]
    for n in (1, 2, 9, 24):
        got = np.asarray(model(np.moveaxis(x[:, :n], 1, 1 + given["time"]))["output"])
        newest = got[:, -1] if got.ndim > own.ndim - 1 else got
        np.testing.assert_allclose(newest, own[:, described.lengths.index(n)], atol=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("convolutions", ["blocks_0_net_0#0.last", "blocks_1_net_0#0.last", "last#0.last"]),
        ("learned_start", ["lstm_l0#0.state_0", "lstm_l0#0.state_1", "lstm_l1#0.state_0", "lstm_l1#0.state_1"]),
        ("projected", ["lstm_l0#0.state_0", "lstm_l0#0.state_1", "lstm_l1#0.state_0", "lstm_l1#0.state_1"]),
        ("step_by_step", ["loop#0.state_0", "loop#0.state_1", "loop#0.state_2", "loop#0.state_3"]),
        ("two_loops", ["loop#0.state_0", "loop#0.state_1", "loop_1#0.state_0"]),
    ],
)
def test_a_form_is_stepped(name: str, slots: list[str], tmp_path: Path) -> None:
    """A loop over time is stepped as its body; what is carried from round to round is the state."""
    report = processor.convert(FILES / f"{name}.npz", tmp_path / "a")
    described = Description.read(FILES / f"{name}.npz")
    assert report.mode == "carry"
    assert [slot.name for slot in report.layout] == slots
    (got,), (own,) = answers_of(tmp_path / "a", described), described.answers
    np.testing.assert_allclose(got, own, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "mode", "length"), [("both_ways", "window", 6), ("flat", "tumbling", 7)])
def test_the_other_modes(name: str, mode: str, length: int, tmp_path: Path) -> None:
    """What needs the future, and what collects time, answers as PyTorch did once there are as many samples."""
    described = Description.read(FILES / f"{name}.npz")
    processor.convert(FILES / f"{name}.npz", tmp_path / "a", mode=mode, length=length)
    (got,), (own,) = answers_of(tmp_path / "a", described), described.answers
    np.testing.assert_allclose(got[:, length - 1], own[:, described.lengths.index(length)], atol=TOLERANCE)


def test_a_length_that_pytorch_was_never_asked_about(tmp_path: Path) -> None:
    report = processor.convert(FILES / "both_ways.npz", tmp_path / "a", mode="window", length=30)
    assert any("samples=30" in remark for remark in report.remarks)


def test_verify(tmp_path: Path) -> None:
    processor.convert(FILES / "bare.npz", tmp_path / "a")
    assert verify(tmp_path / "a", FILES / "bare.npz").passed
    described = Description.read(FILES / "bare.npz")
    described.weights["weight_hh_l0"][0, 0] += 0.1
    described.write(tmp_path / "other.npz")
    with pytest.raises(NotThisModel):
        verify(tmp_path / "a", tmp_path / "other.npz")


@pytest.mark.parametrize("wrong", ["weight_hh_l0", "bias_ih_l0"])
def test_a_model_that_does_not_say_what_pytorch_said_is_found_out(wrong: str, tmp_path: Path) -> None:
    """Were the gates in another order, say: the step and the Keras model would agree, and both be wrong."""
    described = Description.read(FILES / "bare.npz")
    described.weights[wrong] = np.roll(described.weights[wrong], 4, axis=0)
    described.write(tmp_path / "model.npz")
    error = refused(tmp_path / "model.npz")
    assert (error.reason, "PyTorch's own answers" in error.cause) == (Obstacle.NOT_EXACT, True)


def refused(path: Path) -> ConversionRefused:
    place = path.parent / "artifact"
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(path, place)
    assert not place.exists()
    return caught.value


def changed(change: Callable[[Description], None], directory: Path, name: str = "bare") -> Path:
    described = Description.read(FILES / f"{name}.npz")
    change(described)
    described.write(directory / "model.npz")
    return directory / "model.npz"


class TestWhatHasNoCounterpart:
    """Named, with the reason; nothing is guessed."""

    @pytest.mark.parametrize(
        ("change", "reason", "words"),
        [
            (lambda d: d.modules[""].update(kind="Conv3d"), Obstacle.NO_RULE, "Conv3d is not followed"),
            (lambda d: d.modules[""].update(kind="mine.GRU"), Obstacle.NO_RULE, "mine.GRU is not followed"),
            (lambda d: d.modules[""]["options"].update(batch_first=False), Obstacle.NO_RULE, "as their axis 1"),
            (lambda d: d.modules[""]["options"].update(proj_size=2), Obstacle.UNREADABLE, "weight_hh_l0"),
            (lambda d: d.nodes[2].update(name="cumsum"), Obstacle.NO_RULE, "cumsum is not followed"),
            (lambda d: d.nodes[1]["args"].append({"node": 0}), Obstacle.INITIAL_STATE, "another tensor"),
            (lambda d: d.weights.pop("weight_hh_l0"), Obstacle.UNREADABLE, "weight_hh_l0"),
            (lambda d: d.modules[""]["options"].update(hidden_size=10**9), Obstacle.UNREADABLE, "no PyTorch model"),
            (lambda d: d.modules[""]["options"].update(num_layers=10**9), Obstacle.UNREADABLE, "weight_hh_l1"),
            (lambda d: d.nodes[0].update(shape=[None, 10**9]), Obstacle.UNREADABLE, "another shape"),
            (lambda d: d.nodes[1]["args"][0].update(node=99), Obstacle.UNREADABLE, "no PyTorch model"),
            (lambda d: d.nodes.clear(), Obstacle.UNREADABLE, "no PyTorch model"),
            (lambda d: d.answers.clear(), Obstacle.UNREADABLE, "answers"),
        ],
    )  # fmt: skip
    def test_refused(self, change: Any, reason: Obstacle, words: str, tmp_path: Path) -> None:
        error = refused(changed(change, tmp_path))
        assert (error.reason, words in error.cause) == (reason, True), str(error)
        assert error.remedies


class TestStrangers:
    def test_files_of_pytorch_are_not_opened(self, tmp_path: Path) -> None:
        (tmp_path / "model.pt").write_bytes(b"PK")
        error = refused(tmp_path / "model.pt")
        assert error.reason is Obstacle.UNREADABLE
        assert any("export_pytorch" in remedy for remedy in error.remedies)

    def test_an_npz_of_something_else(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "model.npz", x=np.zeros(3))
        assert "no description" in refused(tmp_path / "model.npz").cause

    def test_pickled_objects_are_not_unpickled(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "model.npz", description=np.array([{"format": 1}], dtype=object))
        assert refused(tmp_path / "model.npz").reason is Obstacle.UNREADABLE

    def test_another_format(self, tmp_path: Path) -> None:
        told = np.frombuffer(json.dumps({"format": 2}).encode(), np.uint8)
        np.savez(tmp_path / "model.npz", description=told)
        assert "format" in refused(tmp_path / "model.npz").cause

    def test_more_than_memory_holds(self, tmp_path: Path) -> None:
        """A file of megabytes that would unpack into gigabytes is told by its table of contents."""
        with (
            zipfile.ZipFile(tmp_path / "model.npz", "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("description.npy", "w", force_zip64=True) as part,
        ):
            for _ in range(2100):
                part.write(bytes(1 << 20))
        assert "bytes" in refused(tmp_path / "model.npz").cause

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
    def test_truncated(self, share: float, tmp_path: Path) -> None:
        content = (FILES / "bare.npz").read_bytes()
        (tmp_path / "model.npz").write_bytes(content[: int(len(content) * share)])
        assert refused(tmp_path / "model.npz").reason is Obstacle.UNREADABLE


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = Description.read(FILES / "words.npz")
    one.write(tmp_path / "again.npz")
    other = Description.read(tmp_path / "again.npz")
    for field in dataclasses.fields(Description):
        mine, its = getattr(one, field.name), getattr(other, field.name)
        assert str(mine) == str(its)


def test_without_pytorch_the_file_is_named_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.pt"):
        export_pytorch(object(), tmp_path / "model.pt")
