"""Dead letters: the bad event's own bytes, and headers with the reason and the record that it came from.

A dead letter must always fit its topic: one that does not would stop the partition for good. So what is longer than the
topic takes is cut, the least valuable first: the detail, then the key, and the value only if all else was not enough.
The detail names what was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from processor.errors import ConfigError

if TYPE_CHECKING:
    from processor.types import BadEvent

SMALLEST_LIMIT: Final = 1024
"""Bytes that a dead-letter topic must take at the least: the headers need a few hundred with the longest topic name."""

# Kafka's record batch (KIP-98, "message format v2"): 61 bytes for the batch; for its only record the length (up to 5),
# attributes (1), timestamp and offset deltas (2), the lengths of key and value (5 each) and the count of headers (1).
_BATCH_BYTES = 61 + 5 + 1 + 2 + 5 + 5 + 1
_HEADER_BYTES = 1 + 5  # the lengths of a header's name and value
_ELLIPSIS = b"..."


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record for the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


def dead_letter(
    key: bytes | None, value: bytes | None, bad: BadEvent, *, topic: str, partition: int, offset: int, limit: int
) -> DeadLetter:
    """The dead letter of the record at `partition`, `offset` of the input `topic`.

    limit: the most bytes that a record of the dead-letter topic may have, Kafka's own overhead included
    (`max.message.bytes`); nothing is cut below it. Raises ConfigError when it is below SMALLEST_LIMIT.
    """
    if limit < SMALLEST_LIMIT:
        raise ConfigError(
            f"The dead-letter topic takes records of at most {limit} bytes",
            f"A dead letter needs {SMALLEST_LIMIT} for its headers alone.",
            "Raise the topic's max.message.bytes.",
        )
    headers = [
        ("processor.reason", _ascii(bad.reason)),
        ("processor.detail", _ascii(bad.detail)),
        ("processor.topic", _ascii(topic)),
        ("processor.partition", b"%d" % partition),
        ("processor.offset", b"%d" % offset),
    ]
    if record_bytes(key, value, headers) <= limit:
        return DeadLetter(key, value, headers)
    return _cut(key, value, headers, limit)


def record_bytes(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> int:
    """The size of a record in a batch of its own, at most: what a topic's limit is compared with."""
    named = sum(len(name) + len(content) + _HEADER_BYTES for name, content in headers)
    return _BATCH_BYTES + len(key or b"") + len(value or b"") + named


def _cut(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], limit: int) -> DeadLetter:
    detail = headers[1][1]
    keys, values = len(key or b""), len(value or b"")
    # What key, value and detail may have together.
    room = limit - record_bytes(None, None, headers) + len(detail)
    if keys + values <= room:
        return _letter(key, value, headers, _shortened(detail, room - keys - values))
    # From here on the detail names what was cut. The header `processor.reason` still has the reason.
    note = b"cut: key of %d bytes" % keys
    if keys and values + len(note) <= room:
        return _letter((key or b"")[: room - values - len(note)], value, headers, note)
    note = b"%b, value of %d bytes" % (note, values) if keys else b"cut: value of %d bytes" % values
    return _letter(key and b"", (value or b"")[: room - len(note)], headers, note)


def _letter(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], detail: bytes) -> DeadLetter:
    return DeadLetter(key, value, [headers[0], ("processor.detail", detail), *headers[2:]])


def _shortened(detail: bytes, length: int) -> bytes:
    """The first `length` bytes of a detail, with an ellipsis where there is room for one."""
    if len(detail) <= length:
        return detail
    return detail[: length - len(_ELLIPSIS)] + _ELLIPSIS if length >= len(_ELLIPSIS) else detail[:length]


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")
