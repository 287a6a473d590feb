"""The bytes of a state: the same in the store and in the changelog. (Those of a checkpoint are in `checkpoint`.)

A record is a header of 48 bytes, little endian, and the words of the state:

    u8 format | u8 flags | u16 0 | u32 steps | i64 offset | i64 event_time_ms | i64 sequence
    | u64 fingerprint | u32 crc32 | u32 length | words[length]

`length` counts words of 4 bytes; the crc covers all but itself. Words are bits: float32 and int32 alike, and never
converted, so that what is read back is what was written, NaN payloads included. An *empty* record (a sequence has
ended) is the header only. Records travel as columns: nothing here is done per record that can be done per array.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from processor.errors import Incompatible, StateCorrupt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from processor.types import BoolArray, Float32Array, Int64Array

FORMAT: Final = 1
HEADER_BYTES: Final = 48
FLAG_SEQUENCE: Final = 0x01
"""The record has a sequence number. Without the flag the field is zero and means nothing."""
FLAG_EMPTY: Final = 0x02
"""The key's sequence has ended: no words follow. A flag of its own, because a model's state may have no words."""
_KNOWN_FLAGS: Final = FLAG_SEQUENCE | FLAG_EMPTY

_BLOCK_BYTES: Final = 128 * 1024
"""Records are encoded in blocks that a core's cache holds: each block's bytes are passed over five times."""

CHECKPOINT_KEY: Final = b"\x00"
STATE_TAG: Final = b"\x01"
LOCAL_CHECKPOINT_KEY: Final = b"\x02"
"""Of the store alone: the changelog never carries it."""
ORIGIN_KEY: Final = b"\x03"
"""Of the store alone: the id of the changelog topic that its records and its local checkpoint speak of."""

_HEADER: Final = struct.Struct("<BBHIqqqQII")
_BEFORE_CRC: Final = [
    ("format", "u1"),
    ("flags", "u1"),
    ("reserved", "<u2"),
    ("steps", "<u4"),
    ("offset", "<i8"),
    ("time", "<i8"),
    ("sequence", "<i8"),
    ("fingerprint", "<u8"),
]
_CRC_AT: Final = 40
CRC: Final = struct.Struct("<I")

_ANOTHER_MODEL_HINT: Final = (
    "Run the processor with the artifact that wrote these states, or make the states of this one from all of the "
    "input (`processor reset --rebuild`), or begin with empty ones (`processor reset --here`)."
)
_REBUILD_HINT: Final = "Delete the partition's store: it is rebuilt from its changelog."


def state_key(key: bytes) -> bytes:
    """The key of a state's record, in the store and in the changelog, for a Kafka key."""
    return STATE_TAG + key


def state_keys(keys: Iterable[bytes]) -> list[bytes]:
    """The same for many keys."""
    return list(map(STATE_TAG.__add__, keys))


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """States as they are stored, as aligned columns: row i of each belongs to record i.

    `sequence` counts where `has_sequence` is set. Rows of `words` are zeros where `empty` is set.
    """

    steps: NDArray[np.uint32]  # [n], samples since the key's state started
    offset: Int64Array  # [n], the input offset that the state reflects
    time: Int64Array  # [n], ms, the key's time
    sequence: Int64Array  # [n]
    has_sequence: BoolArray  # [n]
    words: Float32Array  # [n, D], bits of float32 or int32
    empty: BoolArray  # [n]

    def __len__(self) -> int:
        return len(self.offset)


def encode_records(records: Records, fingerprint: int) -> list[bytes]:
    """The bytes of each record: 48 + 4 D, or 48 where it is empty."""
    full = _encode(records, fingerprint, np.flatnonzero(~records.empty), records.words.shape[1])
    if len(full) == len(records):
        return full
    hollow = _encode(records, fingerprint, np.flatnonzero(records.empty), 0)
    rest_full, rest_hollow = iter(full), iter(hollow)
    return [next(rest_hollow if is_empty else rest_full) for is_empty in records.empty.tolist()]


def _encode(records: Records, fingerprint: int, rows: NDArray[np.intp], words: int) -> list[bytes]:
    """The bytes of the records at `rows`, all of `words` words each."""
    encoded: list[bytes] = []
    block = max(1, _BLOCK_BYTES // (HEADER_BYTES + 4 * words))
    for start in range(0, len(rows), block):
        encoded += _encode_block(records, fingerprint, rows[start : start + block], words)
    return encoded


def _encode_block(records: Records, fingerprint: int, rows: NDArray[np.intp], words: int) -> list[bytes]:
    body = np.zeros(len(rows), _body_type(words))
    has_sequence = records.has_sequence[rows]
    body["format"] = FORMAT
    body["flags"] = np.where(has_sequence, FLAG_SEQUENCE, 0) | np.where(records.empty[rows], FLAG_EMPTY, 0)
    body["steps"] = records.steps[rows]
    body["offset"] = records.offset[rows]
    body["time"] = records.time[rows]
    body["sequence"] = np.where(has_sequence, records.sequence[rows], 0)
    body["fingerprint"] = fingerprint
    body["length"] = words
    if words:
        body["words"] = records.words[rows].view(np.uint32)
    return _with_crc(body, words)


def _with_crc(body: NDArray[np.void], words: int) -> list[bytes]:
    """Puts each row's crc into its place. The body lacks the crc's field, so that one call covers a row."""
    size = HEADER_BYTES + 4 * words
    flat = _bytes(body)
    whole = np.empty((len(body), size), np.uint8)
    whole[:, :_CRC_AT] = flat[:, :_CRC_AT]
    whole[:, _CRC_AT : _CRC_AT + 4] = _crcs(body, size - 4).view(np.uint8).reshape(-1, 4)
    whole[:, _CRC_AT + 4 :] = flat[:, _CRC_AT:]
    return _rows(whole, size)


def decode_records(values: Sequence[bytes], words: int, fingerprint: int) -> Records:
    """The columns of records that were written for a state of `words` words by the model of `fingerprint`.

    Raises:
        StateCorrupt: some value is not what was written.
        Incompatible: some value was written by another model, or by a newer format.
    """
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    size = HEADER_BYTES + 4 * words
    for odd in np.flatnonzero((lengths != size) & (lengths != HEADER_BYTES))[:1].tolist():
        raise _refusal(values[odd], words, fingerprint)
    full = np.flatnonzero(lengths == size)
    if len(full) == len(values):
        return _columns(_decode(values, words, words, fingerprint), words)
    hollow = np.flatnonzero(lengths != size)
    body = np.zeros(len(values), _body_type(words))
    body[full] = _decode([values[i] for i in full.tolist()], words, words, fingerprint)
    short = _decode([values[i] for i in hollow.tolist()], 0, words, fingerprint)
    _bytes(body)[hollow, : HEADER_BYTES - CRC.size] = _bytes(short)  # the words stay zeros
    return _columns(body, words)


def _decode(values: Sequence[bytes], words: int, model_words: int, fingerprint: int) -> NDArray[np.void]:
    """The checked rows of values that are all of `words` words, without their crc."""
    size = HEADER_BYTES + 4 * words
    whole = np.frombuffer(b"".join(values), np.uint8).reshape(len(values), size)
    flat = np.empty((len(values), size - 4), np.uint8)
    flat[:, :_CRC_AT] = whole[:, :_CRC_AT]
    flat[:, _CRC_AT:] = whole[:, _CRC_AT + 4 :]
    body: NDArray[np.void] = flat.view(_body_type(words)).reshape(len(values))
    written = np.ascontiguousarray(whole[:, _CRC_AT : _CRC_AT + 4]).view("<u4").reshape(len(values))
    good = (body["format"] == FORMAT) & (body["flags"] & ~np.uint8(_KNOWN_FLAGS) == 0) & (body["reserved"] == 0)
    good &= (body["length"] == words) & (body["fingerprint"] == fingerprint)
    # Where a model's state has no words, the flag alone marks an empty record; elsewhere the length does, too.
    good &= (model_words == 0) | ((body["flags"] & FLAG_EMPTY != 0) == (words == 0))
    good &= _crcs(body, size - 4) == written
    for bad in np.flatnonzero(~good)[:1].tolist():
        raise _refusal(values[bad], model_words, fingerprint)
    return body


def _columns(body: NDArray[np.void], words: int) -> Records:
    """Fresh contiguous columns of decoded rows."""
    bits = np.ascontiguousarray(body["words"], np.uint32) if words else np.zeros((len(body), 0), np.uint32)
    return Records(
        steps=body["steps"].astype(np.uint32),
        offset=body["offset"].astype(np.int64),
        time=body["time"].astype(np.int64),
        sequence=body["sequence"].astype(np.int64),
        has_sequence=(body["flags"] & FLAG_SEQUENCE).astype(np.bool_),
        words=bits.view(np.float32),
        empty=(body["flags"] & FLAG_EMPTY).astype(np.bool_),
    )


@cache
def _body_type(words: int) -> np.dtype[np.void]:
    """A record without its crc, as one packed row."""
    tail: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [("length", "<u4")]
    if words:
        tail.append(("words", "<u4", (words,)))
    return np.dtype([*_BEFORE_CRC, *tail])


def _bytes(body: NDArray[np.void]) -> NDArray[np.uint8]:
    """The same memory, a row of bytes for each record."""
    return body.view(np.uint8).reshape(len(body), body.dtype.itemsize)


def _rows(matrix: NDArray[np.generic], size: int) -> list[bytes]:
    """Each row of a contiguous matrix as bytes."""
    rows: list[bytes] = matrix.view(f"V{size}").reshape(-1).tolist()
    return rows


def _crcs(body: NDArray[np.void], size: int) -> NDArray[np.uint32]:
    return np.fromiter(map(zlib.crc32, _rows(body, size)), np.dtype("<u4"), len(body))


def _refusal(value: bytes, words: int, fingerprint: int) -> Exception:
    """Why one record was refused: the slow path, which looks at it field by field."""
    if len(value) < HEADER_BYTES:
        return corrupt(f"it has {len(value)} bytes, and a header alone has {HEADER_BYTES}")
    form, flags, reserved, _, _, _, _, writer, crc, length = _HEADER.unpack_from(value)
    if form > FORMAT:
        return newer("record", form)
    if form != FORMAT or flags & ~_KNOWN_FLAGS or reserved:
        return corrupt("no version writes such first bytes")
    if len(value) != HEADER_BYTES + 4 * length:
        return corrupt(f"its header has the length {length} words, and it has {len(value)} bytes")
    if zlib.crc32(value[_CRC_AT + 4 :], zlib.crc32(value[:_CRC_AT])) != crc:
        return corrupt("its checksum does not hold")
    if writer != fingerprint:
        return another_model(writer, fingerprint)
    return corrupt(f"it has {length} words, and the model's state has {words}")


def another_model(writer: int, fingerprint: int) -> Incompatible:
    """The refusal of what another model wrote."""
    return Incompatible(
        f"The stored states belong to the model {writer:016x}, and the artifact is {fingerprint:016x}.",
        "A state means something to the model that made it, and to no other.",
        _ANOTHER_MODEL_HINT,
    )


def newer(what: str, form: int) -> Incompatible:
    """The refusal of what a later version wrote."""
    return Incompatible(
        f"A stored {what} has the format {form}, and this version knows formats up to {FORMAT}.",
        "A newer version of the processor wrote it.",
        "Run that version, or rebuild the states from all of the input: `processor reset --rebuild`.",
    )


def corrupt(cause: str, what: str = "state record") -> StateCorrupt:
    """Why stored bytes are not what was written."""
    return StateCorrupt(f"A {what} is corrupt: {cause}.", "", _REBUILD_HINT)
