"""Reading events from JSON: batches at a time, without a line of Python per good event.

Values are decoded into msgspec Structs whose types define an event, inside of one call for the whole batch;
the columns are then drawn out of the Structs by iterators written in C. Only what that refuses, and what it cannot see
(numbers beyond float32, broken UTF-8 in ignored fields, bottomless nesting), is looked at event by event, by
`json_diagnosis`. A batch in which every event is bad still takes time linear in its bytes.
"""

from __future__ import annotations

import math
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import numpy as np

from processor.codec.events import Values
from processor.codec.json_diagnosis import DEEPEST, INT32, INT64, TIMES, Diagnosis, nesting
from processor.types import BadEvent, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from processor.types import BoolArray, Int64Array, TensorSpec

_DETAIL: Final = 300  # characters
_LONGEST_TUPLE: Final = 256
"""Tuples of a fixed length decode faster than lists, but msgspec keeps a type for each of their items."""


class JsonValueDecoder:
    """Decodes JSON values for a model with these inputs. Pure: it keeps nothing of a batch."""

    def __init__(self, inputs: Sequence[TensorSpec]) -> None:
        self._inputs = tuple(inputs)
        self._diagnose = Diagnosis(inputs)
        named = msgspec.defstruct(
            "Inputs",
            [_field(f"input_{rank}", spec) for rank, spec in enumerate(inputs)],
            rename={f"input_{rank}": spec.name for rank, spec in enumerate(inputs)},
            forbid_unknown_fields=True,
            kw_only=True,  # so that the optional ones may come first
            gc=False,
        )
        self._named_event = _event_type("NamedEvent", named)
        self._parse_named = msgspec.json.Decoder(self._named_event).decode
        self._single = len(self._inputs) == 1
        # The inputs' brackets, and one each for the event and the object of inputs, if it has to be one.
        self._least_brackets = sum(_brackets(spec) for spec in inputs if not spec.static)
        self._least_brackets += 1 if self._single else 2
        bare_event = _event_type("Event", _tensor_type(inputs[0])) if self._single else self._named_event
        self._parse: Callable[[bytes], Any] = msgspec.json.Decoder(bare_event).decode

    def decode(self, values: Sequence[bytes]) -> Values:
        """The columns of `values`, aligned with them."""
        events, rows, bad = self._read(values)
        texts = values if len(rows) == len(values) else [values[row] for row in rows.tolist()]
        features, given, finite = self._features(events)
        good = np.ones(len(events), np.bool_)
        for at in sorted({*(~finite).nonzero()[0].tolist(), *self._broken_unseen(texts)}):
            why = self._diagnose(texts[at])
            if why:
                good[at] = False
                bad[int(rows[at])] = why
        time, has_time = _integers(list(map(attrgetter("time"), events)))
        sequence, has_sequence = _integers(list(map(attrgetter("sequence"), events)))
        start = _flags(list(map(attrgetter("start"), events)))
        end = _flags(list(map(attrgetter("end"), events)))

        def spread(column: NDArray[Any]) -> NDArray[Any]:
            if not bad:
                return column
            wide: NDArray[Any] = np.zeros((len(values), *column.shape[1:]), column.dtype)
            wide[rows[good]] = column[good]
            return wide

        return Values(
            features={name: spread(column) for name, column in features.items()},
            time=spread(time),
            has_time=spread(has_time),
            sequence=spread(sequence),
            has_sequence=spread(has_sequence),
            start=spread(start),
            end=spread(end),
            bad=bad,
            given={name: spread(column) for name, column in given.items()},
        )

    def _read(self, values: Sequence[bytes]) -> tuple[list[Any], NDArray[np.intp], dict[int, BadEvent]]:
        """The Structs of the values that can be read, their rows, and why the others can't be.

        With one input, an event may give its numbers bare or by name. The form that was met last is tried first: this
        decides how fast a value is read, never what it is read as.
        """
        parse, other = self._parse, self._parse_named
        events: list[Any] = []
        bad: dict[int, BadEvent] = {}
        rest = iter(values)
        while True:
            try:
                events.extend(map(parse, rest))  # what was read before an error stays in the list
                break
            except (ValueError, RecursionError) as error:
                row = len(events) + len(bad)
                if self._single:
                    try:
                        events.append(other(values[row]))
                    except (ValueError, RecursionError):
                        pass
                    else:
                        parse, other = other, parse
                        continue
                bad[row] = self._diagnose(values[row]) or _unexplained(error)
        rows = np.arange(len(values))
        return events, np.delete(rows, list(bad)) if bad else rows, bad

    def _features(self, events: list[Any]) -> tuple[dict[str, NDArray[Any]], dict[str, BoolArray], BoolArray]:
        """The inputs as columns, which events bring each static one, and which have numbers finite as float32 alone."""
        features: list[Any] = list(map(attrgetter("features"), events))
        if self._single and self._named_event in set(map(type, events)):
            features = [
                one.input_0 if type(event) is self._named_event else one
                for event, one in zip(events, features, strict=True)
            ]
        columns, given = {}, {}
        finite = np.ones(len(events), np.bool_)
        for rank, spec in enumerate(self._inputs):
            tensors = features if self._single else map(attrgetter(f"input_{rank}"), features)
            if spec.static:
                column, given[spec.name] = _optional_tensors(list(tensors), spec)
            else:
                column = _tensors(tensors, spec, len(events))
            columns[spec.name] = column
            if column.dtype == np.float32 and not np.isfinite(column).all():
                finite &= np.isfinite(column).reshape(len(events), -1).all(axis=1)
        return columns, given, finite

    def _broken_unseen(self, texts: Sequence[bytes]) -> Iterator[int]:
        """Which of the texts that could be read are broken where nobody looked: in the fields that are ignored."""
        joined = b"".join(texts)
        if not joined.isascii():
            yield from (at for at, text in enumerate(texts) if not _is_utf8(text))
        # '[' and '{' differ in one bit. Only brackets beyond those that every event needs can be deep.
        opening = (np.frombuffer(joined, np.uint8) & 0xDF) == 0x5B
        allowed = DEEPEST - 1
        if np.count_nonzero(opening) - len(texts) * self._least_brackets > allowed:
            lengths = np.fromiter(map(len, texts), np.intp, len(texts))
            counts = np.add.reduceat(opening, np.cumsum(lengths) - lengths, dtype=np.intp)
            many = np.flatnonzero(counts - self._least_brackets > allowed).tolist()
            yield from (at for at in many if nesting(texts[at]) > DEEPEST)


def _unexplained(error: Exception) -> BadEvent:
    """For a value that msgspec refuses and the standard library finds nothing wrong with; none such is known."""
    if isinstance(error, RecursionError):
        raise error  # The value is not deep, so it is our caller's stack that is full: not the event's fault.
    return BadEvent(Reason.UNDECODABLE, ascii(str(error))[:_DETAIL])


def _event_type(name: str, features: Any) -> Any:
    """The Struct of an event. An absent optional field and `null` are the same."""
    time = Annotated[int, msgspec.Meta(ge=TIMES[0], le=TIMES[1])]
    sequence = Annotated[int, msgspec.Meta(ge=INT64[0], le=INT64[1])]
    return msgspec.defstruct(
        name,
        [
            ("features", features),
            ("time", time | None, None),
            ("sequence", sequence | None, None),
            ("start", bool | None, None),
            ("end", bool | None, None),
        ],
        gc=False,  # Nothing in an event can refer back to it.
    )


def _tensor_type(spec: TensorSpec) -> Any:
    """The type of one input's numbers, nested as the sample's shape."""
    tensor: Any = float
    if spec.dtype == "int32":
        whole = msgspec.Meta(ge=INT32[0], le=INT32[1])
        # Many write a token as they write every number: 3.0.
        tensor = Annotated[int, whole] | Annotated[float, whole, msgspec.Meta(multiple_of=1)]
    for size in reversed(spec.shape):
        if size <= _LONGEST_TUPLE:
            tensor = tuple[(tensor,) * size]  # type: ignore[misc]
        else:
            tensor = Annotated[list[tensor], msgspec.Meta(min_length=size, max_length=size)]
    return tensor


def _field(name: str, spec: TensorSpec) -> Any:
    """The field of one input; a static one may be absent, or null."""
    return (name, _tensor_type(spec) | None, None) if spec.static else (name, _tensor_type(spec))


def _brackets(spec: TensorSpec) -> int:
    """How many lists it takes to write a sample of this shape."""
    return sum(math.prod(spec.shape[:depth]) for depth in range(len(spec.shape)))


def _tensors(tensors: Iterable[Any], spec: TensorSpec, n: int) -> NDArray[Any]:
    """Nested numbers as one array [n, *shape]; a number beyond float32 becomes an infinity."""
    for _ in spec.shape:
        tensors = chain.from_iterable(tensors)
    with np.errstate(over="ignore"):
        flat = np.fromiter(tensors, np.dtype(spec.dtype), n * math.prod(spec.shape))
    return flat.reshape(n, *spec.shape)


def _optional_tensors(tensors: list[Any], spec: TensorSpec) -> tuple[NDArray[Any], BoolArray]:
    """The same where some are absent: zeros instead, and which are there."""
    given = np.fromiter((tensor is not None for tensor in tensors), np.bool_, len(tensors))
    column = np.zeros((len(tensors), *spec.shape), spec.dtype)
    present = [tensor for tensor in tensors if tensor is not None]
    column[given] = _tensors(present, spec, len(present))
    return column, given


def _integers(fields: list[int | None]) -> tuple[Int64Array, BoolArray]:
    """An optional integer field as a column, and which rows have it."""
    n = len(fields)
    try:
        return np.fromiter(fields, np.int64, n), np.ones(n, np.bool_)
    except TypeError:  # None among them
        if not any(fields) and fields.count(None) == n:
            return np.zeros(n, np.int64), np.zeros(n, np.bool_)
    present = np.fromiter((field is not None for field in fields), np.bool_, n)
    column = np.zeros(n, np.int64)
    column[present] = [field for field in fields if field is not None]
    return column, present


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _flags(fields: list[bool | None]) -> BoolArray:
    """An optional truth value as a column: absent is False."""
    if not any(fields):
        return np.zeros(len(fields), np.bool_)
    return np.fromiter(map(bool, fields), np.bool_, len(fields))
