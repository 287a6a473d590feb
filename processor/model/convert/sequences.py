"""The sequences of the certificate: random ones of different kinds, and those that the user gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import ConfigError
from processor.model.convert.files import read_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processor.model.convert.interface import Interface, ModelInput
    from processor.types import Features

ROWS: Final = 8
MOST_GIVEN: Final = 64
"""As many of the user's sequences are tried, spread evenly over all of them."""
FARTHEST: Final = 1e12
"""The extreme inputs' scale. (Beyond, the squares in a normalization have no number; numbers below 1e-37 are
zeros to TensorFlow, and not to LiteRT.)"""
_MOST_TOKENS: Final = 4
"""How many tokens are tried of an input whose vocabulary is unknown."""
_FORM: Final = "Examples are sequences [rows, samples, *sample shape], in an .npz file or a mapping by input name."


@dataclass(frozen=True, eq=False)
class Sequences:
    """Whole sequences for all inputs: [R, T, *sample shape] by name, [R, *shape] for what never changes in one."""

    interface: Interface
    values: dict[str, NDArray[Any]]

    @property
    def rows(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def length(self) -> int:
        name = next(entry.spec.name for entry in self.interface.entries if entry.time is not None)
        return int(self.values[name].shape[1])

    def at(self, t: int) -> Features:
        """One sample of each row, as the engine takes it."""
        return {
            entry.spec.name: self.values[entry.spec.name] if entry.time is None else self.values[entry.spec.name][:, t]
            for entry in self.interface.entries
        }

    def part(self, start: int, stop: int) -> Sequences:
        """The samples from `start` up to `stop`."""
        return Sequences(
            self.interface,
            {
                entry.spec.name: self.values[entry.spec.name]
                if entry.time is None
                else self.values[entry.spec.name][:, start:stop]
                for entry in self.interface.entries
            },
        )

    def chosen(self, rows: Any) -> Sequences:
        """Some of the rows."""
        return Sequences(self.interface, {name: values[rows] for name, values in self.values.items()})

    def then(self, other: Sequences, middle: int) -> Sequences:
        """These samples up to `middle`, and the other's from there on."""
        values = dict(self.values)
        for entry in self.interface.entries:
            if entry.time is not None:
                name = entry.spec.name
                values[name] = np.concatenate([values[name][:, :middle], other.values[name][:, middle:]], axis=1)
        return Sequences(self.interface, values)

    def whole(self) -> list[NDArray[Any]]:
        """As the trained model takes them: with time where it lies in each input."""
        return [
            self.values[entry.spec.name]
            if entry.time is None
            else np.moveaxis(self.values[entry.spec.name], 1, entry.time)
            for entry in self.interface.entries
        ]

    def of_shape(self, rows: int, length: int) -> Sequences:
        """Repeated and cut to that many rows and samples."""
        found = {}
        for entry in self.interface.entries:
            values = self.values[entry.spec.name]
            sizes = (rows,) if entry.time is None else (rows, length)
            repeats = [-(-want // have) for want, have in zip(sizes, values.shape, strict=False)]
            tiled = np.tile(values, (*repeats, *(1,) * (values.ndim - len(repeats))))
            found[entry.spec.name] = tiled[:rows] if entry.time is None else tiled[:rows, :length]
        return Sequences(self.interface, found)


def random_sequences(interface: Interface, length: int, seed: int = 0) -> Sequences:
    """ROWS sequences of each input, of different kinds; tokens within the vocabulary, and missing samples where the
    model knows such."""
    rng = np.random.default_rng(seed)
    values = {}
    for entry in interface.entries:
        steps = 1 if entry.time is None else length
        numbers = _tokens(entry, steps, rng) if entry.spec.dtype == "int32" else _numbers(entry, steps, rng)
        values[entry.spec.name] = numbers[:, 0] if entry.time is None else numbers
    return Sequences(interface, values)


def plain_sequences(interface: Interface, length: int, rows: int, seed: int) -> Sequences:
    """Any number of sequences, as a model may see them: normal numbers, of a third of the size in each second row;
    tokens drawn alike from the vocabulary; one sample of ten missing where the model knows such."""
    rng = np.random.default_rng(seed)
    values: dict[str, NDArray[Any]] = {}
    for entry in interface.entries:
        shape = (rows, *([] if entry.time is None else [length]), *entry.spec.shape)
        if entry.spec.dtype == "int32":
            values[entry.spec.name] = rng.integers(0, entry.vocabulary or _MOST_TOKENS, shape, np.int32)
            continue
        numbers = rng.standard_normal(shape, np.float32)
        numbers[::2] *= np.float32(1 / 3)
        numbers = _within_vocabulary(numbers, entry)
        if entry.missing is not None and entry.time is not None:
            numbers[rng.random((rows, length)) < 0.1] = entry.missing
        values[entry.spec.name] = numbers
    return Sequences(interface, values)


def extreme_sequences(interface: Interface, length: int) -> Sequences:
    """The same with numbers from hardly any to FARTHEST; tokens as they are."""
    plain = random_sequences(interface, length, 9)
    scales = np.array([1e2, 1e4, 1e6, FARTHEST, 1e-20, 1e-30, 1e4, 1e2], np.float32)
    values = {}
    for entry in interface.entries:
        numbers = plain.values[entry.spec.name]
        if entry.spec.dtype == "float32" and entry.vocabulary is None:
            numbers = numbers * scales.reshape(-1, *(1,) * (numbers.ndim - 1))
            if entry.time is not None:
                numbers[0, : length // 2] = 0.0  # a jump out of silence
        values[entry.spec.name] = numbers
    return Sequences(interface, values)


def _numbers(entry: ModelInput, length: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Plain, small, large, uniform, all zeros, constant, sparse and alternating ones."""
    shape = entry.spec.shape
    ones = (1,) * len(shape)
    sequences = rng.standard_normal((ROWS, length, *shape))
    sequences[1] *= 0.1
    sequences[2] *= 3.0
    sequences[3] = rng.uniform(-1.0, 1.0, sequences[3].shape)
    sequences[4] = 0.0
    sequences[5] = sequences[5, :1]
    sequences[6] *= rng.random((length, *ones)) < 0.2
    sequences[7] = np.abs(sequences[7, :1]) * (-1.0) ** np.arange(length).reshape(-1, *ones)
    sequences = _within_vocabulary(sequences, entry)
    if entry.missing is not None:
        # Missing here and there, at the beginning, at the end, and for a long time; row 4 is missing all along.
        gone = rng.random((ROWS, length)) < 0.3
        gone[0], gone[1, : min(3, length - 1)], gone[3, 1 : length // 2] = False, True, True
        gone[4] = True
        sequences[gone] = entry.missing
    return sequences.astype(np.float32)


def _within_vocabulary(numbers: NDArray[Any], entry: ModelInput) -> NDArray[Any]:
    """Numbers of which some are looked up, which leaves out their fractions."""
    if entry.vocabulary is None:
        return numbers
    most = np.nextafter(np.float32(entry.vocabulary), np.float32(0))
    within: NDArray[Any] = np.minimum(np.abs(numbers) % entry.vocabulary, most)
    return within


def _tokens(entry: ModelInput, length: int, rng: np.random.Generator) -> NDArray[np.int32]:
    most = entry.vocabulary or _MOST_TOKENS
    tokens = rng.integers(0, most, (ROWS, length, *entry.spec.shape))
    tokens[4] = 0
    tokens[5] = most - 1
    tokens[6] *= rng.random(tokens[6].shape) < 0.5
    tokens[7, : length // 2] = 0
    return tokens.astype(np.int32)


def given_sequences(examples: Any, interface: Interface) -> Sequences | None:
    """The user's own sequences, at most MOST_GIVEN of them.

    `examples` is an array, a mapping of input name -> array, or the path of an .npz (or .npy) file.

    Raises:
        ConfigError: they are not there, or not of the model's shape, or not finite.
    """
    if examples is None:
        return None
    sequences = all_sequences(read_arrays(examples, _FORM), interface)
    return sequences.chosen(slice(None, None, math.ceil(sequences.rows / MOST_GIVEN)))


def all_sequences(content: Any, interface: Interface) -> Sequences:
    """All of the user's sequences, checked. `content`: an array, or a mapping of input name -> array.

    Raises:
        ConfigError: they are not of the model's shape, or not finite.
    """
    values = {entry.spec.name: _fitting(content, entry, len(interface.entries)) for entry in interface.entries}
    timed = [values[entry.spec.name] for entry in interface.entries if entry.time is not None]
    if len({len(some) for some in values.values()}) > 1 or len({some.shape[1] for some in timed}) > 1:
        raise ConfigError("The examples of the inputs are of different sizes.", "", _FORM)
    return Sequences(interface, values)


def _fitting(content: Any, entry: ModelInput, inputs: int) -> NDArray[Any]:
    spec = entry.spec
    try:
        array = np.asarray(_only(content, spec.name, inputs))
    except ValueError as error:
        raise ConfigError("The examples are no array.", "Their lengths differ.", _FORM) from error
    leading = 1 if entry.time is None else 2
    if spec.dtype == "int32" and array.ndim == leading + 1 and array.shape[-1] == 1 and not spec.shape:
        array = array[..., 0]
    if array.dtype.kind not in "fiu" or array.ndim != leading + len(spec.shape) or array.shape[leading:] != spec.shape:
        wanted = ", ".join([*("rows", "samples")[:leading], *map(str, spec.shape)])
        raise ConfigError(
            f"The examples for the input {spec.name!r} are {array.dtype}{list(array.shape)}.",
            f"The model takes {spec.dtype}[{wanted}].",
            _FORM,
        )
    if 0 in array.shape or not np.isfinite(array).all():
        fact = "empty" if 0 in array.shape else "not all finite numbers"
        raise ConfigError(f"The examples for the input {spec.name!r} are {fact}.", "", _FORM)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = np.ascontiguousarray(array, spec.dtype)
    if spec.dtype == "int32" and (cast != array).any():
        wrong = array[cast != array].flat[0]
        raise ConfigError(
            f"The examples for the input {spec.name!r} are not all tokens.", f"{wrong} is no integer of 32 bits.", _FORM
        )
    return cast


def _only(examples: Any, name: str, inputs: int) -> Any:
    if not isinstance(examples, Mapping):
        if inputs > 1:
            raise ConfigError(
                "The examples are one array for several inputs.", f"There is nothing for {name!r}.", _FORM
            )
        return examples
    if name in examples:
        return examples[name]
    others = [key for key in examples if key not in ("labels", "y", "Y")]
    if inputs == 1 and len(others) == 1 and others[0] in ("arr_0", "x", "X"):
        return examples[others[0]]
    raise ConfigError(
        f"The examples have nothing for the input {name!r}.",
        f"Their names are {', '.join(map(repr, examples)) or 'none at all'}.",
        f"Save them by the input's name: numpy.savez('examples.npz', **{{{name!r}: sequences}}).",
    )
