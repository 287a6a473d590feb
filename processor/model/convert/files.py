"""Arrays that the user hands over: in memory, or in a NumPy file."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from processor.errors import ConfigError


def read_arrays(given: Any, form: str) -> Any:
    """What was given as it is, or what the file of that path holds: an array, or a dict of arrays. No code is run.

    Raises:
        ConfigError: there is no such file, or it holds no arrays; `form` describes what is wanted.
    """
    if not isinstance(given, str | os.PathLike):
        return given
    path = Path(given)
    if not path.is_file():
        raise ConfigError(f"There are no examples at {path}.", "There is no such file.", form)
    try:
        content = np.load(path, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else dict(content)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"The examples in {path} cannot be read.", str(error), form) from error
