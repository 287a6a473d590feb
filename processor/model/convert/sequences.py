"""The sequences of the certificate: random ones of different kinds, and those that the user gives."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processor.types import TensorSpec

ROWS: Final = 8
MOST_GIVEN: Final = 64
"""As many of the user's sequences are tried, spread evenly over all of them."""
_FORM: Final = "Examples are sequences [rows, samples, *sample shape], in an .npz file or a mapping by input name."


def random_sequences(spec: TensorSpec, length: int, seed: int = 0) -> NDArray[np.float32]:
    """[ROWS, length, *sample shape]: plain, small, large, uniform, all zeros, constant, sparse and alternating ones."""
    rng = np.random.default_rng(seed)
    sequences = rng.standard_normal((ROWS, length, *spec.shape))
    sequences[1] *= 0.1
    sequences[2] *= 3.0
    sequences[3] = rng.uniform(-1.0, 1.0, sequences[3].shape)
    sequences[4] = 0.0
    sequences[5] = sequences[5, :1]
    sequences[6] *= rng.random((length, *(1,) * len(spec.shape))) < 0.2
    sequences[7] = np.abs(sequences[7, :1]) * (-1.0) ** np.arange(length).reshape(-1, *(1,) * len(spec.shape))
    return sequences.astype(np.float32)


def given_sequences(examples: Any, spec: TensorSpec) -> NDArray[np.float32] | None:
    """The user's own sequences, [rows, samples, *sample shape], at most MOST_GIVEN of them.

    `examples` is an array, a mapping of input name -> array, or the path of an .npz (or .npy) file.

    Raises:
        ConfigError: they are not there, or not of the model's shape, or not finite.
    """
    if examples is None:
        return None
    try:
        array = np.asarray(_only(_read(examples), spec.name))
    except ValueError as error:
        raise ConfigError("The examples are no array.", "Their lengths differ.", _FORM) from error
    if array.dtype.kind not in "fiu" or array.ndim != 2 + len(spec.shape) or array.shape[2:] != spec.shape:
        wanted = ", ".join(["rows", "samples", *map(str, spec.shape)])
        raise ConfigError(
            f"The examples for the input {spec.name!r} are {array.dtype}{list(array.shape)}.",
            f"The model takes float32[{wanted}].",
            _FORM,
        )
    if 0 in array.shape or not np.isfinite(array).all():
        fact = "empty" if 0 in array.shape else "not all finite numbers"
        raise ConfigError(f"The examples for the input {spec.name!r} are {fact}.", "", _FORM)
    every = math.ceil(len(array) / MOST_GIVEN)
    return np.ascontiguousarray(array[::every], np.float32)


def _read(examples: Any) -> Any:
    if not isinstance(examples, str | os.PathLike):
        return examples
    path = Path(examples)
    if not path.is_file():
        raise ConfigError(f"There are no examples at {path}.", "There is no such file.", _FORM)
    try:
        content = np.load(path, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else dict(content)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"The examples in {path} cannot be read.", str(error), _FORM) from error


def _only(examples: Any, name: str) -> Any:
    if not isinstance(examples, Mapping):
        return examples
    if name in examples:
        return examples[name]
    if len(examples) == 1 and next(iter(examples)) in ("arr_0", "x", "X"):
        return next(iter(examples.values()))
    raise ConfigError(
        f"The examples have nothing for the input {name!r}.",
        f"Their names are {', '.join(map(repr, examples)) or 'none at all'}.",
        f"Save them by the input's name: numpy.savez('examples.npz', **{{{name!r}: sequences}}).",
    )
