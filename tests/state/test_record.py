"""Records and checkpoints: the documented bytes, every bit back, and a refusal of everything else."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.errors import Incompatible, ProcessorError, StateCorrupt
from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import (
    FLAG_EMPTY,
    FLAG_SEQUENCE,
    HEADER_BYTES,
    Records,
    decode_records,
    encode_records,
    state_key,
)

FINGERPRINT = 0xFEDC_BA98_7654_3210
COLUMNS = ("steps", "offset", "time", "sequence", "has_sequence", "empty")
CHECKPOINT = Checkpoint(41, -(2**63), 97, "fXl2dGVzdC10b3BpYy1pZA", FINGERPRINT, 2**64 - 1)


def records_of(seed: int, rows: int, words: int, empty_share: float = 0.3) -> Records:
    """Random records, with any bits whatever in their words."""
    rng = np.random.default_rng(seed)
    has_sequence = rng.random(rows) < 0.5
    empty = rng.random(rows) < empty_share
    bits = rng.integers(0, 2**32, (rows, words), np.uint32)
    bits[empty] = 0
    return Records(
        steps=rng.integers(0, 2**32, rows, np.uint32),
        offset=rng.integers(0, 2**63 - 1, rows),
        time=rng.integers(-(2**63), 2**63 - 1, rows),
        sequence=np.where(has_sequence, rng.integers(-(2**63), 2**63 - 1, rows), 0),
        has_sequence=has_sequence,
        words=bits.view(np.float32),
        empty=empty,
    )


def assert_same(left: Records, right: Records) -> None:
    for name in COLUMNS:
        a, b = getattr(left, name), getattr(right, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)
    np.testing.assert_array_equal(left.words.view(np.uint32), right.words.view(np.uint32))


def one(**changes: Any) -> Records:
    record = Records(
        steps=np.array([3], np.uint32),
        offset=np.array([5], np.int64),
        time=np.array([1_700_000_000_000], np.int64),
        sequence=np.array([-9], np.int64),
        has_sequence=np.array([True]),
        words=np.array([[1.5, -2.0]], np.float32),
        empty=np.array([False]),
    )
    return replace(record, **changes)


def test_the_bytes_are_the_documented_ones() -> None:
    head = struct.pack("<BBHIqqqQ", 1, FLAG_SEQUENCE, 0, 3, 5, 1_700_000_000_000, -9, FINGERPRINT)
    tail = struct.pack("<I2f", 2, 1.5, -2.0)
    crc = struct.pack("<I", zlib.crc32(head + tail))
    assert encode_records(one(), FINGERPRINT) == [head + crc + tail]
    assert len(head + crc) + 4 == HEADER_BYTES == 48


def test_an_empty_record_is_a_header_and_keeps_what_outlives_a_sequence() -> None:
    hollow = one(empty=np.array([True]), words=np.zeros((1, 2), np.float32))
    (value,) = encode_records(hollow, FINGERPRINT)
    assert len(value) == HEADER_BYTES
    assert value[1] == FLAG_SEQUENCE | FLAG_EMPTY
    assert value[44:48] == b"\0\0\0\0"
    assert_same(decode_records([value], 2, FINGERPRINT), hollow)


def test_words_of_an_empty_record_are_not_written() -> None:
    (value,) = encode_records(one(empty=np.array([True])), FINGERPRINT)
    assert not decode_records([value], 2, FINGERPRINT).words.any()


def test_a_sequence_number_that_is_none_is_not_written() -> None:
    (value,) = encode_records(one(has_sequence=np.array([False])), FINGERPRINT)
    decoded = decode_records([value], 2, FINGERPRINT)
    assert decoded.sequence.tolist() == [0]
    assert decoded.has_sequence.tolist() == [False]


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 9), st.sampled_from([0.0, 0.3, 1.0]))
def test_every_bit_comes_back(seed: int, rows: int, words: int, empty_share: float) -> None:
    records = records_of(seed, rows, words, empty_share)
    values = encode_records(records, FINGERPRINT)
    assert [len(value) for value in values] == [HEADER_BYTES + (0 if e else 4 * words) for e in records.empty]
    assert_same(decode_records(values, words, FINGERPRINT), records)


def test_more_records_than_one_block_holds() -> None:
    records = records_of(1, 5000, 96, 0.1)
    values = encode_records(records, FINGERPRINT)
    assert_same(decode_records(values, 96, FINGERPRINT), records)
    alone = [
        replace(records, **{name: getattr(records, name)[i : i + 1] for name in (*COLUMNS, "words")}) for i in (0, 4999)
    ]
    assert [encode_records(record, FINGERPRINT)[0] for record in alone] == [values[0], values[-1]]


def test_signalling_nans_and_integers_are_bits() -> None:
    bits = np.array([[0x7FA0_0001, 0xFFFF_FFFF, 0x8000_0000, 7]], np.uint32)
    (value,) = encode_records(one(words=bits.view(np.float32)), FINGERPRINT)
    assert decode_records([value], 4, FINGERPRINT).words.view(np.uint32).tolist() == bits.tolist()


def test_columns_that_are_views_are_encoded_alike() -> None:
    wide = np.arange(12, dtype=np.float32).reshape(2, 6)
    strided = one(words=wide[1:, ::3])
    assert encode_records(strided, FINGERPRINT) == encode_records(one(words=wide[1:, ::3].copy()), FINGERPRINT)


def test_decoded_columns_may_be_written_to() -> None:
    decoded = decode_records(encode_records(records_of(2, 4, 3), FINGERPRINT), 3, FINGERPRINT)
    for name in (*COLUMNS, "words"):
        assert getattr(decoded, name).flags.writeable, name
        assert getattr(decoded, name).flags.c_contiguous, name


def test_a_state_without_words_still_tells_empty_from_running() -> None:
    records = records_of(5, 20, 0)
    assert_same(decode_records(encode_records(records, FINGERPRINT), 0, FINGERPRINT), records)


@pytest.mark.parametrize("empty", [False, True])
def test_every_flipped_bit_is_refused(empty: bool) -> None:
    good = encode_records(records_of(3, 3, 2, 0.0), FINGERPRINT)
    (victim,) = encode_records(one(empty=np.array([empty])), FINGERPRINT)
    for bit in range(8 * len(victim)):
        flipped = bytearray(victim)
        flipped[bit // 8] ^= 1 << bit % 8
        # A flip in the first byte may look like a format still to come; all others are corruption.
        with pytest.raises(ProcessorError) as refused:
            decode_records([*good, bytes(flipped)], 2, FINGERPRINT)
        newer = flipped[0] > 1
        assert type(refused.value) is (Incompatible if newer else StateCorrupt), bit


@pytest.mark.parametrize("cut", [0, 1, 47, 48, 52, 55])
def test_a_torn_record_is_corrupt(cut: int) -> None:
    (value,) = encode_records(one(), FINGERPRINT)
    with pytest.raises(StateCorrupt):
        decode_records([value[:cut]], 2, FINGERPRINT)


def test_a_record_with_bytes_to_spare_is_corrupt() -> None:
    (value,) = encode_records(one(), FINGERPRINT)
    with pytest.raises(StateCorrupt):
        decode_records([value + b"\0\0\0\0"], 2, FINGERPRINT)


@pytest.mark.parametrize("words", [2, 3])
def test_another_model_is_incompatible_whatever_its_size(words: int) -> None:
    values = encode_records(one(), FINGERPRINT)
    with pytest.raises(Incompatible, match="fedcba9876543210") as refused:
        decode_records(values, words, 1)
    assert refused.value.hint


def test_a_newer_format_is_incompatible() -> None:
    (value,) = encode_records(one(), FINGERPRINT)
    with pytest.raises(Incompatible, match="format 2"):
        decode_records([b"\x02" + value[1:]], 2, FINGERPRINT)


def test_the_model_s_own_fingerprint_with_another_size_is_corrupt() -> None:
    with pytest.raises(StateCorrupt):
        decode_records(encode_records(one(), FINGERPRINT), 3, FINGERPRINT)


def test_no_records_are_no_records() -> None:
    records = decode_records([], 5, FINGERPRINT)
    assert len(records) == 0
    assert records.words.shape == (0, 5)
    assert encode_records(records, FINGERPRINT) == []


def test_keys_cannot_meet() -> None:
    assert state_key(b"") != state_key(b"\x00") != b"\x00"


@settings(deadline=None)
@given(
    st.builds(
        Checkpoint,
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(-(2**63), 2**63 - 1),
        st.text(st.characters(codec="utf-8"), max_size=40),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
        st.integers(0, 2**16 - 1),
        st.booleans(),
    )
)
def test_a_checkpoint_comes_back(checkpoint: Checkpoint) -> None:
    assert Checkpoint.from_bytes(checkpoint.to_bytes()) == checkpoint


@settings(deadline=None)
@given(st.builds(LocalCheckpoint, st.integers(0, 2**63 - 1), st.none() | st.integers(0, 2**63 - 1)))
def test_a_mark_comes_back(local: LocalCheckpoint) -> None:
    assert LocalCheckpoint.from_bytes(local.to_bytes()) == local


def test_a_checkpoint_with_a_flag_that_this_version_does_not_know_is_refused() -> None:
    body = bytearray(CHECKPOINT.to_bytes()[:-4])
    body[1] = 0x02
    with pytest.raises(StateCorrupt, match="flags"):
        Checkpoint.from_bytes(bytes(body) + struct.pack("<I", zlib.crc32(body)))


@pytest.mark.parametrize("sealed", [CHECKPOINT, LocalCheckpoint(7, 9), LocalCheckpoint(7, None)])
def test_flipped_and_torn_positions_and_marks_are_refused(sealed: Checkpoint | LocalCheckpoint) -> None:
    value = sealed.to_bytes()
    for bit in range(8 * len(value)):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Incompatible if flipped[0] > 1 else StateCorrupt):
            type(sealed).from_bytes(bytes(flipped))
    for cut in range(len(value)):
        with pytest.raises(StateCorrupt):
            type(sealed).from_bytes(value[:cut])
