"""The bytes of a checkpoint (where a partition's persisted state stands) and of a store's local checkpoint."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from processor.state.record import CRC, FORMAT, corrupt, newer

_CHECKPOINT: Final = struct.Struct("<BBHqqqQQ")
_LOCAL_CHECKPOINT: Final = struct.Struct("<BBHqq")
_FLAG_RESETTING: Final = 0x01


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a partition's persisted state stands: one record of the changelog and of the store.

    No record reflects less than `replay_from`; `committed` is the input offset that the same commit sent to the group.

        u8 format | u8 flags | u16 partitions of the input (0: not known) | i64 replay_from | i64 stream_time_ms
        | i64 committed | u64 fingerprint | u64 settings_hash | the input topic's id as text | u32 crc32
    """

    replay_from: int  # input offset of the first event that some record may not reflect yet
    stream_time: int  # ms, the partition's stream time before the event at `replay_from`
    committed: int  # input offset
    topic_id: str  # of the input topic, as Kafka prints it; a recreated topic has another
    fingerprint: int  # u64, of the artifact
    settings_hash: int  # u64, of the settings that decide states
    partitions: int = 0  # of the input topic, up to 65,535; 0: not known
    resetting: bool = False  # a reset was begun and has not ended: some records may be emptied, and others not

    def to_bytes(self) -> bytes:
        numbers = (self.replay_from, self.stream_time, self.committed, self.fingerprint, self.settings_hash)
        flags = _FLAG_RESETTING if self.resetting else 0
        return _seal(_CHECKPOINT.pack(FORMAT, flags, self.partitions, *numbers) + self.topic_id.encode())

    @classmethod
    def from_bytes(cls, value: bytes) -> Checkpoint:
        """Raises StateCorrupt, or Incompatible for a newer format."""
        body = _unseal(value, _CHECKPOINT.size, "checkpoint")
        _, flags, partitions, *numbers = _CHECKPOINT.unpack_from(body)
        if flags & ~_FLAG_RESETTING:
            raise corrupt("no version writes such flags", "checkpoint")
        replay_from, stream_time, committed, fingerprint, settings_hash = numbers
        return cls(
            replay_from=replay_from,
            stream_time=stream_time,
            committed=committed,
            topic_id=body[_CHECKPOINT.size :].decode(),
            fingerprint=fingerprint,
            settings_hash=settings_hash,
            partitions=partitions,
            resetting=bool(flags & _FLAG_RESETTING),
        )


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """A checkpoint as the store knows it: with the changelog offset that a restore goes on from."""

    checkpoint: Checkpoint
    changelog_offset: int


@dataclass(frozen=True, slots=True)
class LocalCheckpoint:
    """What the store alone keeps: how far into the changelog it is, and how old a completeness it can claim."""

    changelog_offset: int  # the next changelog offset to read
    complete_as_of_ms: int | None  # wall clock, ms; None: no restore into this store has ever finished

    def to_bytes(self) -> bytes:
        known = self.complete_as_of_ms is not None
        return _seal(_LOCAL_CHECKPOINT.pack(FORMAT, int(known), 0, self.changelog_offset, self.complete_as_of_ms or 0))

    @classmethod
    def from_bytes(cls, value: bytes) -> LocalCheckpoint:
        """Raises StateCorrupt, or Incompatible for a newer format."""
        _, known, _, changelog_offset, complete_as_of_ms = _LOCAL_CHECKPOINT.unpack(
            _unseal(value, _LOCAL_CHECKPOINT.size, "local checkpoint", exact=True)
        )
        return cls(changelog_offset, complete_as_of_ms if known else None)


def _seal(body: bytes) -> bytes:
    return body + CRC.pack(zlib.crc32(body))


def _unseal(value: bytes, size: int, what: str, *, exact: bool = False) -> bytes:
    """The body of either checkpoint. The first byte is its format, and its crc stands at the end."""
    if value and value[0] > FORMAT:
        raise newer(what, value[0])
    body = value[: -CRC.size]
    if len(body) < size or (exact and len(body) != size) or body[0] != FORMAT:
        raise corrupt(f"it has {len(value)} bytes, or a format that was never written", what)
    if zlib.crc32(body) != CRC.unpack(value[-CRC.size :])[0]:
        raise corrupt("its checksum does not hold", what)
    return body
