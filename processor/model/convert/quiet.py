"""TensorFlow and Keras, imported and run without their chatter.

Must come before their first import: both read the environment then.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING

from processor.errors import ConfigError
from processor.extras import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator


def prepare() -> None:
    """Imports Keras on TensorFlow, silently.

    Raises:
        MissingExtra: they are not installed.
        ConfigError: Keras was imported before with another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with silence():
        try:
            import keras
            import tensorflow as tf
        except ImportError as error:
            raise MissingExtra("The converter needs Keras and TensorFlow.", "convert", error) from error
        tf.get_logger().setLevel(logging.ERROR)
    if keras.backend.backend() != "tensorflow":
        raise ConfigError(
            f"Keras runs on the backend {keras.backend.backend()!r} in this process.",
            "The converter needs TensorFlow's.",
            "Set KERAS_BACKEND=tensorflow before Keras is imported.",
        )


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing that Python or C++ code writes to the standard error inside is seen. It is not lost when that fails."""
    with warnings.catch_warnings(), tempfile.TemporaryFile() as said:
        warnings.simplefilter("ignore")
        sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error to silence
            yield
            return
        try:
            os.dup2(said.fileno(), 2)
            yield
        except BaseException as error:
            said.seek(0)
            error.add_note(said.read()[-2000:].decode(errors="replace"))
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
