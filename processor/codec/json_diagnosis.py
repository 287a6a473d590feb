"""Why the value of a JSON event is bad: its reason, and a detail that shows a human what was given, and where.

This is the slow and talkative twin of `json_events`: it sees only values that the fast decoder refused or had doubts
about, reads them with the standard library, and looks for the first fault in one settled order:
undecodable; not an object; `features` (absent, unknown inputs, absent inputs, then the numbers in reading order);
`time`; `sequence`; `start`; `end`. Where a field occurs twice every occurrence must be right (the last one counts).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from processor.codec.float32_layout import EXTRAS, words
from processor.codec.framing import foreign
from processor.codec.times import GREATEST_TIME, other_unit
from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.types import TensorSpec

DEEPEST: Final = 64
"""How deep a value may be nested. Without a limit of our own, how deep an event may be would depend on how much of the
interpreter's stack its caller had used up: the same event could be good in one run and bad in its replay."""

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)
TIMES = (-GREATEST_TIME, GREATEST_TIME)

_SHOWN = 40  # characters of what was given that a detail repeats
_DETAIL = 300  # characters of a detail
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)  # the end is optional, so that no input is read twice
_POSITION = re.compile(r"\(byte (\d+)\)$")  # in msgspec's message about a text that is no JSON
_BYTES_SHOWN = 12  # bytes
_syntax = msgspec.json.Decoder(msgspec.Raw).decode


class _Integer(str):
    """A JSON number without fraction and exponent, as its digits: it may be too long for any conversion."""

    __slots__ = ()


class _Decimal(str):
    """Any other JSON number, as it was written."""

    __slots__ = ()


class _Fault(Exception):
    """The first fault found; carries it out of the walk through a value."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.bad = BadEvent(reason, detail[:_DETAIL].encode("ascii", "backslashreplace").decode("ascii"))


def nesting(value: bytes) -> int:
    """How deep the brackets of a JSON text are nested, those inside of strings not counted. Linear in its length.

    A text with too few brackets for DEEPEST, as almost all are, is not looked at closely: its brackets are counted.
    """
    if (brackets := value.count(b"[") + value.count(b"{")) <= DEEPEST:
        return brackets
    codes = np.frombuffer(_STRINGS.sub(b"", value), np.uint8)
    # '[' and '{', ']' and '}' are the same but for one bit.
    depth = np.cumsum(((codes & 0xDF) == 0x5B).astype(np.int64) - ((codes & 0xDF) == 0x5D))
    return int(depth.max(initial=0))


class Diagnosis:
    """Checks single values for a model with these inputs."""

    def __init__(self, inputs: Sequence[TensorSpec]) -> None:
        self._inputs = {spec.name: spec for spec in inputs}
        bare = words(inputs).itemsize
        self._float32_sizes = (bare, bare + EXTRAS.itemsize)

    def __call__(self, value: bytes) -> BadEvent | None:
        """Why `value` is bad, or None when nothing is wrong with it."""
        try:
            self._check_form(value)
            self._check_event(_parse(value))
        except _Fault as fault:
            return fault.bad
        return None

    def _check_form(self, value: bytes) -> None:
        """Bytes that are no JSON at all. (Before brackets are counted: here, they may be any bytes.)"""
        known = foreign(value)
        if known is None:
            return
        packed = f', or set input.format = "float32": {len(value)} bytes would fit it'
        fits = len(value) in self._float32_sizes
        raise _Fault(Reason.UNDECODABLE, f"not JSON: {known}{packed if fits else ''}")

    def _check_event(self, event: Any) -> None:
        if type(event) is not tuple:
            twice = _encoded_twice(event) if type(event) is str else ""
            raise _Fault(Reason.WRONG_TYPE, f"the event is {_shown(event)}, and an object is wanted{twice}")
        given: dict[str, list[Any]] = {}
        for name, field in event:
            given.setdefault(name, []).append(field)
        if "features" not in given:
            raise _Fault(Reason.MISSING_FEATURES, "the event has no field 'features'")
        for features in given["features"]:
            self._check_features(features)
        for name, limits in (("time", TIMES), ("sequence", INT64)):
            for field in given.get(name, ()):
                if field is not None:
                    _check_integer(field, limits, name)
        for name in ("start", "end"):
            for field in given.get(name, ()):
                if field is not None and type(field) is not bool:
                    raise _Fault(Reason.WRONG_TYPE, f"{name}: {_shown(field)} where true or false is wanted")

    def _check_features(self, features: Any) -> None:
        if features is None:
            raise _Fault(Reason.MISSING_FEATURES, "features is null")
        if type(features) is tuple:
            self._check_inputs(features)
        elif len(self._inputs) == 1:
            (spec,) = self._inputs.values()
            _check_tensor(features, spec.shape, spec.dtype, "features")
        else:
            detail = f"features: {_shown(features)} where an object with the inputs {self._names()} is wanted"
            raise _Fault(Reason.WRONG_TYPE, detail)

    def _check_inputs(self, inputs: tuple[tuple[str, Any], ...]) -> None:
        for name, _ in inputs:
            if name not in self._inputs:
                detail = f"features: the model has no input {_shown(name)[5:]}; its inputs are {self._names()}"
                raise _Fault(Reason.UNKNOWN_INPUT, detail)
        named = {name for name, tensor in inputs}
        for name, spec in self._inputs.items():
            if spec.static:  # the key's state decides whether it may be left out
                continue
            if name not in named or (name, None) in inputs:
                what = "null" if name in named else "absent"
                raise _Fault(Reason.MISSING_FEATURES, f"features: the input {_shown(name)[5:]} is {what}")
        for name, tensor in inputs:
            spec = self._inputs[name]
            if tensor is None and spec.static:
                continue
            _check_tensor(tensor, spec.shape, spec.dtype, f"features.{name}")

    def _names(self) -> str:
        return ", ".join(self._inputs)


def _parse(value: bytes) -> Any:
    """The value with its numbers as they were written, objects as tuples of (name, value), arrays as lists."""
    if not value:
        raise _Fault(Reason.UNDECODABLE, "the value is empty")
    if (depth := nesting(value)) > DEEPEST:
        raise _Fault(Reason.UNDECODABLE, f"nested {depth} deep, and {DEEPEST} is the limit")
    try:
        text = value.decode()
        _syntax(value)  # stricter than the standard library, which takes NaN and halves of surrogate pairs
        return json.loads(text, object_pairs_hook=tuple, parse_int=_Integer, parse_float=_Decimal)
    except UnicodeDecodeError as error:
        detail = f"not UTF-8: byte 0x{value[error.start]:02x} at {error.start} ({error.reason})"
        raise _Fault(Reason.UNDECODABLE, detail) from None
    except ValueError as error:
        raise _Fault(Reason.UNDECODABLE, _with_position(str(error), value)) from None


def _with_position(message: str, value: bytes) -> str:
    """The parser's words, and what stands where it stopped."""
    found = _POSITION.search(message)
    if found is None or (at := int(found[1])) >= len(value):
        return message
    return f"{message}: {value[at : at + _BYTES_SHOWN].decode(errors='replace')!a}"


def _encoded_twice(text: str) -> str:
    if text.lstrip()[:1] == "{":
        return ": it holds JSON, so it was encoded twice"
    known = foreign(text.encode(errors="replace"))
    return f": it holds {known}" if known and known.startswith("JSON in base64") else ""


def _check_tensor(given: Any, shape: tuple[int, ...], dtype: str, path: str) -> None:
    """Numbers nested as in `shape`. The recursion is as deep as the model's shape, whatever was given."""
    if type(given) is not list and not isinstance(given, (_Integer, _Decimal)):
        raise _Fault(Reason.WRONG_TYPE, f"{path}: {_shown(given)} where {_wanted(shape)} is wanted")
    if (type(given) is list) != bool(shape) or (shape and len(given) != shape[0]):
        raise _Fault(Reason.WRONG_SHAPE, f"{path}: {_shown(given)} where {_wanted(shape)} is wanted")
    if shape:
        for index, item in enumerate(given):
            _check_tensor(item, shape[1:], dtype, f"{path}[{index}]")
    elif dtype == "int32":
        _check_token(given, path)
    elif not _fits_float32(given):
        raise _Fault(Reason.NOT_FINITE, f"{path}: {_shown(given)} is more than a float32 can hold")


def _fits_float32(number: Any) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.float32(float(number))))


def _check_integer(given: Any, limits: tuple[int, int], path: str) -> None:
    least, greatest = limits
    if not isinstance(given, _Integer):
        unit = " of milliseconds" if limits is TIMES else ""
        raise _Fault(Reason.WRONG_TYPE, f"{path}: {_shown(given)} where an integer{unit} is wanted")
    # 20 characters hold every integer of 64 bits; longer ones are never converted, which would take quadratic time.
    if len(given) > 20 or not least <= int(given) <= greatest:
        hint = other_unit(int(given)) if limits is TIMES and len(given) <= 20 else ""
        raise _out_of(limits, given, path, hint)


def _out_of(limits: tuple[int, int], given: Any, path: str, hint: str = "") -> _Fault:
    return _Fault(Reason.WRONG_TYPE, f"{path}: {_shown(given)} is not within {limits[0]} to {limits[1]}{hint}")


def _check_token(given: Any, path: str) -> None:
    """An integer of 32 bits, which may be written with a fraction of zeros: 3.0."""
    if not isinstance(given, _Decimal) or not (number := float(given)).is_integer():
        _check_integer(given, INT32, path)
    elif not INT32[0] <= number <= INT32[1]:
        raise _out_of(INT32, given, path)


def _wanted(shape: tuple[int, ...]) -> str:
    if not shape:
        return "a number"
    items = "number" if len(shape) == 1 else "list"
    return f"a list of {shape[0]} {items}{'s' if shape[0] > 1 else ''}"


def _shown(given: Any) -> str:
    """What was given, in a few words."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, (_Integer, _Decimal)):
        return given if len(given) <= _SHOWN else f"{given[:_SHOWN]}... ({len(given)} characters)"
    if isinstance(given, str):
        return f"text {json.dumps(given[:_SHOWN])}{'...' if len(given) > _SHOWN else ''}"
    if isinstance(given, list):
        return f"a list of {len(given)}"
    return "an object"
