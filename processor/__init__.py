"""Steps trained Keras sequence models one sample at a time, per key: the library's public names.

Everything in `__all__` is public and follows semantic versioning; every other module and name is private.
A name is imported when it is used: importing the package imports neither NumPy, TensorFlow, LiteRT nor Kafka's client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from processor.version import __version__

if TYPE_CHECKING:
    from processor.errors import (
        ConfigError,
        Incompatible,
        OwnershipLost,
        ProcessorError,
        StateCorrupt,
        Unavailable,
    )
    from processor.extras import MissingExtra
    from processor.model.artifact import Artifact, Golden, OtherModel, Slot
    from processor.model.convert import (
        ConversionRefused,
        NotThisModel,
        Obstacle,
        Report,
        convert,
        export_pytorch,
        verify,
    )
    from processor.model.convert.remedies import Again
    from processor.model.convert.rules import Call, Flow, InTheWay, Piece, Rule, rule_for
    from processor.model.states import load_states, save_states
    from processor.model.stepper import Stepper, load
    from processor.types import TensorSpec

__all__ = [
    "Again",
    "Artifact",
    "Call",
    "ConfigError",
    "ConversionRefused",
    "Flow",
    "Golden",
    "InTheWay",
    "Incompatible",
    "MissingExtra",
    "NotThisModel",
    "Obstacle",
    "OtherModel",
    "OwnershipLost",
    "Piece",
    "ProcessorError",
    "Report",
    "Rule",
    "Slot",
    "StateCorrupt",
    "Stepper",
    "TensorSpec",
    "Unavailable",
    "__version__",
    "convert",
    "export_pytorch",
    "load",
    "load_states",
    "rule_for",
    "save_states",
    "verify",
]

_NAMES_OF: Final[dict[str, tuple[str, ...]]] = {
    "processor.errors": (
        "ConfigError",
        "Incompatible",
        "OwnershipLost",
        "ProcessorError",
        "StateCorrupt",
        "Unavailable",
    ),
    "processor.extras": ("MissingExtra",),
    "processor.model.artifact": ("Artifact", "Golden", "OtherModel", "Slot"),
    "processor.model.convert": (
        "Call",
        "ConversionRefused",
        "Flow",
        "InTheWay",
        "NotThisModel",
        "Obstacle",
        "Piece",
        "Report",
        "Rule",
        "convert",
        "export_pytorch",
        "rule_for",
        "verify",
    ),
    "processor.model.convert.remedies": ("Again",),
    "processor.model.states": ("load_states", "save_states"),
    "processor.model.stepper": ("Stepper", "load"),
    "processor.types": ("TensorSpec",),
}
_MODULE_OF: Final = {name: module for module, names in _NAMES_OF.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
