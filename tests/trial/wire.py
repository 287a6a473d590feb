"""As much of Kafka's wire protocol as it takes to disturb it: whose request a frame is, and where its answer says how
it went. https://kafka.apache.org/protocol has the messages.

A frame is its length (4 bytes) and its payload. Nothing here decodes a message as a whole: an error code is two bytes
at a place that the API and its version tell.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SIZE_BYTES: Final = 4

APIS: Final = {
    0: "Produce",
    1: "Fetch",
    2: "ListOffsets",
    3: "Metadata",
    8: "OffsetCommit",
    9: "OffsetFetch",
    10: "FindCoordinator",
    11: "JoinGroup",
    12: "Heartbeat",
    13: "LeaveGroup",
    14: "SyncGroup",
    18: "ApiVersions",
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    25: "AddOffsetsToTxn",
    26: "EndTxn",
    28: "TxnOffsetCommit",
    60: "DescribeCluster",
    68: "ConsumerGroupHeartbeat",
}
"""Request key -> name, of what the processor's clients send; any other is named by its number."""

_FIRST_FLEXIBLE: Final = {
    "Produce": 9,
    "Fetch": 12,
    "ListOffsets": 6,
    "OffsetCommit": 8,
    "OffsetFetch": 6,
    "JoinGroup": 6,
    "Heartbeat": 4,
    "SyncGroup": 4,
    "InitProducerId": 2,
    "AddPartitionsToTxn": 3,
    "AddOffsetsToTxn": 3,
    "EndTxn": 3,
    "TxnOffsetCommit": 3,
    "ConsumerGroupHeartbeat": 0,
}
"""From this version on lengths are compact, and an answer's header ends in tagged fields (KIP-482)."""

REFUSABLE: Final = {"Heartbeat": 0, "AddOffsetsToTxn": 0, "EndTxn": 0, "InitProducerId": 8 + 2}
"""APIs whose answer says little more than how it went -> the bytes of the rest, up to version 4."""

_ARRAY, _STRING = "array", "string"
_Steps = tuple[int | str, ...]


class Request(NamedTuple):
    """What the header of a request says."""

    api: str
    version: int
    correlation: int


def request_of(payload: bytes) -> Request:
    """Whose request a frame's payload is."""
    key, version = (int.from_bytes(payload[at : at + 2], signed=True) for at in (0, 2))
    return Request(APIS.get(key, str(key)), version, correlation_of(payload[4:]))


def correlation_of(payload: bytes) -> int:
    """The number that an answer's payload begins with, which is its request's."""
    return int.from_bytes(payload[:4], signed=True)


def with_error(request: Request, answer: bytes, code: int) -> bytes | None:
    """The answer (a frame's payload) with this error code: its own, or that of its first partition.

    None where it has no such place: it names no partition, or the API is none that is known here.
    """
    steps = _way_to_the_error(request)
    if steps is None:
        return None
    flexible = _is_flexible(request)
    at = 4 + flexible  # the header: the correlation, and no tagged fields
    for step in steps:
        end = at + step if isinstance(step, int) else _over(step, answer, at, flexible)
        if end is None:
            return None
        at = end
    return answer[:at] + code.to_bytes(2, signed=True) + answer[at + 2 :]


def refusal(request: Request, code: int) -> bytes:
    """The answer (a frame's payload) of a broker that did nothing but refuse, for the APIs in REFUSABLE."""
    tags = b"\0" if _is_flexible(request) else b""
    throttle, nothing = bytes(4), b"\xff" * REFUSABLE[request.api]
    body = throttle + code.to_bytes(2, signed=True) + nothing + tags
    return request.correlation.to_bytes(4, signed=True) + tags + body


def _is_flexible(request: Request) -> bool:
    return request.version >= _FIRST_FLEXIBLE.get(request.api, 1 << 15)


def _way_to_the_error(request: Request) -> _Steps | None:
    """What lies between header and error code: bytes to skip, strings, arrays of which the first item counts."""
    version = request.version
    throttle = 4
    in_topic = _ARRAY, _STRING, _ARRAY, 4  # name; the partition's number
    match request.api:
        case "Produce":
            return (_ARRAY, 16, _ARRAY, 4) if version >= 13 else in_topic
        case "Fetch" if version >= 7:
            session = 2 + 4
            return throttle + session, _ARRAY, 16 if version >= 13 else _STRING, _ARRAY, 4
        case "ListOffsets" | "OffsetCommit" | "TxnOffsetCommit" | "AddPartitionsToTxn":
            return throttle, *in_topic
        case "OffsetFetch" if version >= 3:
            group = (_ARRAY, _STRING) if version >= 8 else ()
            offset, epoch = 8, 4 if version >= 5 else 0
            return throttle, *group, *in_topic, offset, epoch, _STRING  # metadata
        case "JoinGroup" | "SyncGroup" | "Heartbeat" | "InitProducerId" | "AddOffsetsToTxn" | "EndTxn":
            return (throttle,)
        case "ConsumerGroupHeartbeat":
            return (throttle,)
    return None


def _over(step: str, answer: bytes, at: int, flexible: bool) -> int | None:
    """Where the first item of an array begins, or a string is over; None for an array without items."""
    if flexible:
        length, at = _varint(answer, at)
        length -= 1  # 0 is null
    else:
        size = 4 if step == _ARRAY else 2
        length, at = int.from_bytes(answer[at : at + size], signed=True), at + size
    if step == _ARRAY:
        return at if length > 0 else None
    return at + max(0, length)


def _varint(answer: bytes, at: int) -> tuple[int, int]:
    """An unsigned number, seven bits a byte, and where it ends."""
    number = shift = 0
    while True:
        byte = answer[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
