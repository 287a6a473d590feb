"""The stepper as people use it: bare arrays, dicts, mistakes, and states that they keep themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import processor
from model import graphs
from processor.errors import ConfigError, Incompatible
from processor.model.artifact import Parts, write_artifact
from processor.model.stepper import Stepper, load

if TYPE_CHECKING:
    from pathlib import Path

    Steppers = dict[str, Stepper]

PARTS = {
    "recurrent": graphs.recurrent,
    "tumbling": graphs.tumbling,
    "many": lambda: graphs.many_inputs(3),
    "tokens": graphs.tokens,
    "static": graphs.static,
}


@pytest.fixture(scope="module")
def steppers(tmp_path_factory: pytest.TempPathFactory) -> Steppers:
    directory = tmp_path_factory.mktemp("steppers")
    for name, parts in PARTS.items():
        write_artifact(directory / name, Parts(**parts()))
    return {name: load(directory / name) for name in PARTS}


@pytest.fixture
def recurrent(steppers: Steppers) -> Stepper:
    return steppers["recurrent"]


@pytest.fixture
def sequences() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(6, 7, 3)).astype(np.float32)


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def test_one_input_and_one_output_are_bare_arrays(recurrent: Stepper, sequences: np.ndarray) -> None:
    y, state = recurrent.step(sequences[:, 0], recurrent.initial_state(6))
    truth, h = graphs.elman(sequences[:, 0], np.zeros((6, 5)))
    np.testing.assert_allclose(y, truth, atol=1e-6)
    np.testing.assert_allclose(state, h, atol=1e-6)
    named, _ = recurrent.step({"x": sequences[:, 0]}, recurrent.initial_state(6))
    assert bits(named) == bits(y)


def test_several_are_dicts(steppers: Steppers) -> None:
    many = steppers["many"]
    outputs, state = many.step({f"x{i}": np.ones((2, 2), np.float32) for i in range(3)}, many.initial_state(2))
    assert {name: values.tolist() for name, values in outputs.items()} == {
        f"y{i}": [[i + 1.0] * 2] * 2 for i in range(3)
    }
    assert state.shape == (2, 0)


def test_running_whole_sequences_is_stepping_them(recurrent: Stepper, sequences: np.ndarray) -> None:
    answers = recurrent.run(sequences)
    assert answers.shape == (6, 7, 1)
    assert answers.dtype == np.float32
    state = recurrent.initial_state(6)
    for t in range(7):
        y, state = recurrent.step(sequences[:, t], state)
        assert bits(y) == bits(answers[:, t])


def test_running_several_outputs_and_starting_afresh_after_n(steppers: Steppers) -> None:
    outputs = steppers["tumbling"].run(np.ones((2, 6, 2)))
    assert outputs["count"].tolist() == [[1, 2, 3, 4, 1, 2]] * 2
    assert outputs["count"].dtype == np.int32
    assert outputs["total"][0, :, 1].tolist() == [1, 2, 3, 4, 1, 2]


@pytest.mark.parametrize("shape", [(0, 7, 3), (6, 0, 3), (0, 0, 3)])
def test_running_nothing_gives_nothing(recurrent: Stepper, shape: tuple[int, ...]) -> None:
    assert recurrent.run(np.zeros(shape)).shape == (*shape[:2], 1)


def test_states_got_set_and_given_to_other_rows(recurrent: Stepper, sequences: np.ndarray) -> None:
    same = np.tile(sequences[:1, 0], (6, 1))
    _, grown = recurrent.step(sequences[:, 1], recurrent.initial_state(6))
    first, after = recurrent.step(same, grown)
    assert len({bits(row) for row in first}) == 6  # (1) different states, different answers
    assert bits(recurrent.step(same, after)[0]) != bits(first)  # (2) without a reset they go on
    assert bits(recurrent.step(same, grown)[0]) == bits(first)  # (3) the state of (1) again: (1) again
    assert len({bits(row) for row in recurrent.step(same, recurrent.initial_state(6))[0]}) == 1  # (4) reset: all alike
    given, _ = recurrent.step(same, np.tile(grown[:1], (6, 1)))  # (5) row 0's state for all: row 0's answer for all
    assert {bits(row) for row in given} == {bits(first[0])}


def test_it_says_what_it_is(steppers: Steppers) -> None:
    tumbling = steppers["tumbling"]
    assert (tumbling.mode, tumbling.length) == ("tumbling", 4)
    assert [spec.name for spec in tumbling.inputs] == ["x"]
    assert [spec.shape for spec in tumbling.outputs] == [(2,), ()]
    assert tumbling.fingerprint == tumbling.artifact.fingerprint_hex
    assert tumbling.warm(tumbling.initial_state(2)).tolist() == [True, True]


def test_the_layout_finds_the_pieces_of_a_state(steppers: Steppers) -> None:
    tumbling = steppers["tumbling"]
    assert list(tumbling.layout) == ["sum#0", "steps", "tokens#0"]
    _, state = tumbling.step(np.array([[2, 3]]), tumbling.initial_state(1))
    pieces = {
        name: state[:, slot.columns].view(slot.dtype).reshape(-1, *slot.shape) for name, slot in tumbling.layout.items()
    }
    assert {name: piece.tolist() for name, piece in pieces.items()} == {
        "sum#0": [[2, 3]],
        "steps": [1],
        "tokens#0": [[-5, 2**30 + 1]],
    }


def test_numbers_of_other_types_and_lists_are_taken_where_they_say_the_same(recurrent: Stepper) -> None:
    state = recurrent.initial_state(1)
    truth = bits(recurrent.step(np.array([[1, 2, 3]], np.float32), state)[0])
    for features in (np.array([[1, 2, 3]]), np.array([[1.0, 2, 3]]), np.array([[1, 2, 3]], np.uint8), [[1, 2, 3]]):
        assert bits(recurrent.step(features, state)[0]) == truth


def test_tokens_come_as_a_row_or_a_column(steppers: Steppers) -> None:
    tokens = steppers["tokens"]
    for given in ([3, 4], [[3], [4]], np.array([3, 4], np.int64)):
        _, state = tokens.step(given, tokens.initial_state(2))
        assert state.view(np.int32).tolist() == [[3], [4]]
    assert tokens.run([[1, 2, 3]]).tolist() == tokens.run([[[1], [2], [3]]]).tolist() == [[[0], [1], [2]]]


def test_nothing_given_is_changed(recurrent: Stepper, sequences: np.ndarray) -> None:
    state = recurrent.initial_state(6)
    sequences.flags.writeable = state.flags.writeable = False
    recurrent.step(sequences[:, 0], state)
    recurrent.run(sequences)
    assert not state.any()


MISTAKES: dict[str, tuple[str, Any, str]] = {
    "too few features": ("recurrent", np.zeros((2, 2)), r"input 'x': expected shape \[2, 3\], given \[2, 2\]"),
    "a time axis": ("recurrent", np.zeros((2, 1, 3)), r"expected shape \[2, 3\], given \[2, 1, 3\]"),
    "one sample, not in a batch": ("recurrent", np.zeros(3), r"expected shape \[2, 3\], given \[3\]"),
    "a number": ("recurrent", 1.0, r"expected shape \[2, 3\], given \[\]"),
    "more rows than states": ("recurrent", np.zeros((3, 3)), r"expected shape \[2, 3\], given \[3, 3\]"),
    "one row for all": ("recurrent", np.zeros((1, 3)), r"expected shape \[2, 3\], given \[1, 3\]"),
    "booleans": ("recurrent", np.zeros((2, 3), bool), "input 'x': expected float32, given bool"),
    "text": ("recurrent", [["1", "2", "3"]] * 2, "expected float32, given <U1"),
    "complex numbers": ("recurrent", np.zeros((2, 3), complex), "expected float32, given complex128"),
    "objects": ("recurrent", np.array([[None] * 3] * 2), "expected float32, given object"),
    "too large": ("recurrent", np.full((2, 3), 1e39), "given float64 values that it cannot hold"),
    "fractions for tokens": ("tokens", np.array([1.5, 2]), "input 'token': expected int32, given float64"),
    "tokens beyond 32 bits": ("tokens", np.array([2**31, 0]), "expected int32, given int64 values that it cannot hold"),
    "another name": ("recurrent", {"z": np.zeros((2, 3))}, r"expected the inputs \['x'\], given \['z'\]"),
    "one name too many": (
        "recurrent",
        {"x": np.zeros((2, 3)), "z": np.zeros((2, 3))},
        r"missing \[\], unknown \['z'\]",
    ),
    "one name missing": (
        "many",
        {"x0": np.zeros((2, 2)), "x2": np.zeros((2, 2))},
        r"\['x0', 'x1', 'x2'\], given \['x0', 'x2'\] \(missing \['x1'\]",
    ),
    "an array for several": ("many", np.zeros((2, 2)), r"dict with the inputs \['x0', 'x1', 'x2'\], given ndarray"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_features_that_are_not_the_models(steppers: Steppers, what: str) -> None:
    name, features, says = MISTAKES[what]
    with pytest.raises(ValueError, match=says):
        steppers[name].step(features, steppers[name].initial_state(2))


@pytest.mark.parametrize(
    ("state", "given"),
    [
        (np.zeros((2, 4), np.float32), r"float32\[2, 4\]"),
        (np.zeros((2, 5)), r"float64\[2, 5\]"),  # its integers would not survive a cast
        (np.zeros(5, np.float32), r"float32\[5\]"),
        ([[0.0] * 5] * 2, "list"),
        (None, "NoneType"),
    ],
)
def test_states_that_are_not_the_models(recurrent: Stepper, state: Any, given: str) -> None:
    with pytest.raises(ValueError, match=rf"state: expected float32\[rows, 5\], given {given}"):
        recurrent.step(np.zeros((2, 3)), state)
    with pytest.raises(ValueError, match="state: expected"):
        recurrent.warm(state)


@pytest.mark.parametrize(
    ("sequences", "says"),
    [
        (np.zeros((2, 3)), r"input 'x': expected shape \[rows, T, 3\], given \[2, 3\]"),
        (np.zeros((2, 5, 4)), r"expected shape \[rows, T, 3\], given \[2, 5, 4\]"),
        (np.zeros((2, 5, 1, 3)), r"given \[2, 5, 1, 3\]"),
    ],
)
def test_sequences_that_are_not_the_models(recurrent: Stepper, sequences: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        recurrent.run(sequences)


def test_sequences_of_different_lengths_for_several_inputs(steppers: Steppers) -> None:
    given = {"x0": np.zeros((2, 5, 2)), "x1": np.zeros((2, 6, 2)), "x2": np.zeros((2, 5, 2))}
    with pytest.raises(ValueError, match=r"input 'x1': expected shape \[2, 5, 2\], given \[2, 6, 2\]"):
        steppers["many"].run(given)


def test_rows_cannot_be_negative(recurrent: Stepper) -> None:
    with pytest.raises(ValueError, match="rows is -1"):
        recurrent.initial_state(-1)


def test_loading_checks_the_golden_answers(tmp_path: Path) -> None:
    parts = graphs.recurrent()
    golden = parts["golden"]
    parts["golden"] = type(golden)(golden.features, {"y": golden.outputs["y"] + np.float32(1e-3)}, golden.state)
    write_artifact(tmp_path / "model", Parts(**parts))
    with pytest.raises(Incompatible, match="golden"):
        processor.load(tmp_path / "model")


def test_loading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no artifact"):
        processor.load(tmp_path / "nowhere")


def test_the_package_offers_what_it_lists_and_nothing_else() -> None:
    assert processor.load is load
    assert set(processor.__all__) <= set(dir(processor))
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = processor.lode


# --- static inputs

BIAS = np.array([[2, 3], [0, -1]], np.float32)


def test_a_static_input_is_taken_from_the_state_where_it_is_left_out(steppers: Steppers) -> None:
    stepper, x = steppers["static"], np.ones((2, 1), np.float32)
    first, state = stepper.step({"x": x, "bias": BIAS}, stepper.initial_state(2))
    left_out, after = stepper.step({"x": x}, state)
    repeated, same = stepper.step({"x": x, "bias": BIAS}, state)
    assert (np.asarray(first).tolist(), np.asarray(left_out).tolist()) == ([[7], [1]], [[14], [2]])
    assert (bits(np.asarray(left_out)), bits(after)) == (bits(np.asarray(repeated)), bits(same))
    assert stepper.slots(after)["bias.static"].tolist() == BIAS.tolist()


def test_a_static_input_is_wanted_where_a_state_holds_none(steppers: Steppers) -> None:
    stepper, x = steppers["static"], np.ones((2, 1), np.float32)
    _, state = stepper.step({"x": x, "bias": BIAS}, stepper.initial_state(2))
    state[1] = stepper.initial_state(1)
    with pytest.raises(ValueError, match="input 'bias' is static, and the state of row 1 holds no value of it"):
        stepper.step({"x": x}, state)
    with pytest.raises(ValueError, match="holds no value of it"):
        stepper.run({"x": np.ones((2, 5, 1), np.float32)})


def test_another_value_of_a_static_input_is_refused(steppers: Steppers) -> None:
    stepper, x = steppers["static"], np.ones((2, 1), np.float32)
    _, state = stepper.step({"x": x, "bias": BIAS}, stepper.initial_state(2))
    with pytest.raises(ValueError, match=r"input 'bias' is static: given \[-0\. -1\.\], and row 1 holds \[ 0\. -1\.\]"):
        stepper.step({"x": x, "bias": np.array([[2, 3], [-0.0, -1]], np.float32)}, state)
    state[1] = stepper.initial_state(1)  # a new sequence may have another
    stepper.step({"x": x, "bias": np.array([[2, 3], [5, 5]], np.float32)}, state)


def test_sequences_go_on_from_states_that_hold_the_static_input(steppers: Steppers) -> None:
    stepper, x = steppers["static"], np.arange(12, dtype=np.float32).reshape(2, 6, 1)
    whole = np.asarray(stepper.run({"x": x, "bias": BIAS}))
    head, state = stepper.advance({"x": x[:, :2], "bias": BIAS}, None)
    tail, _ = stepper.advance({"x": x[:, 2:]}, state)
    assert bits(np.concatenate([np.asarray(head), np.asarray(tail)], axis=1)) == bits(whole)
    with pytest.raises(ValueError, match="missing \\['x'\\]"):
        stepper.step({"bias": BIAS}, state)


def test_what_is_printed_of_a_stepper_says_what_it_steps(steppers: Steppers) -> None:
    for name, stepper in steppers.items():
        text = repr(stepper)
        assert text.startswith(f"<Stepper {stepper.fingerprint} {stepper.mode}"), name
        assert all(spec.name in text for spec in (*stepper.inputs, *stepper.outputs))
        assert len(text) < 400
        assert len(repr(stepper.artifact.golden)) < 200
