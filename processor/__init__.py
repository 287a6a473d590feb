"""Steps trained Keras sequence models one sample at a time, per key: the library's names.

They are looked up when they are used: importing the package imports neither TensorFlow nor LiteRT nor Kafka's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from processor.version import __version__

if TYPE_CHECKING:
    from processor.model.convert import ConversionRefused, convert, export_pytorch, verify
    from processor.model.states import load_states, save_states
    from processor.model.stepper import load

__all__ = [
    "ConversionRefused",
    "__version__",
    "convert",
    "export_pytorch",
    "load",
    "load_states",
    "save_states",
    "verify",
]

_HOMES = {
    "ConversionRefused": "processor.model.convert",
    "convert": "processor.model.convert",
    "export_pytorch": "processor.model.convert",
    "load": "processor.model.stepper",
    "load_states": "processor.model.states",
    "save_states": "processor.model.states",
    "verify": "processor.model.convert",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
