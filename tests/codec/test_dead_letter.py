"""Dead letters: the original bytes, headers that say why, and always small enough for their topic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.codec import dead_letter
from processor.codec.dead_letter import SMALLEST_LIMIT, DeadLetter, record_bytes
from processor.errors import ConfigError
from processor.types import BadEvent, Reason

BAD = BadEvent(Reason.WRONG_SHAPE, "features: a list of 2 where a list of 3 numbers is wanted")


def letter(key: bytes | None, value: bytes | None, bad: BadEvent = BAD, limit: int = 1_048_588) -> DeadLetter:
    return dead_letter(key, value, bad, topic="samples", partition=3, offset=17, limit=limit)


def test_a_dead_letter_has_its_event_s_bytes_and_says_why_and_whence() -> None:
    dead = letter(b"\xff\x00key", b"\xfe value")
    assert (dead.key, dead.value) == (b"\xff\x00key", b"\xfe value")
    assert dead.headers == [
        ("processor.reason", b"wrong_shape"),
        ("processor.detail", b"features: a list of 2 where a list of 3 numbers is wanted"),
        ("processor.topic", b"samples"),
        ("processor.partition", b"3"),
        ("processor.offset", b"17"),
    ]


@pytest.mark.parametrize("key", [None, b"", b"key"])
@pytest.mark.parametrize("value", [None, b"", b"value"])
def test_null_and_empty_stay_what_they_are(key: bytes | None, value: bytes | None) -> None:
    dead = letter(key, value)
    assert (dead.key, dead.value) == (key, value)


def test_headers_are_ascii_whatever_the_detail() -> None:
    dead = letter(b"k", b"v", BadEvent(Reason.UNKNOWN_INPUT, "no input \u00e9\U0001f600\n"))
    assert dict(dead.headers)["processor.detail"] == b"no input \\xe9\\U0001f600\n"


def test_the_detail_is_cut_first_then_the_key_and_the_value_last() -> None:
    key, value = b"k" * 500, b"v" * 2000
    whole = record_bytes(key, value, letter(key, value).headers)

    fits = letter(key, value, limit=whole)
    assert fits == letter(key, value)

    shorter = letter(key, value, limit=whole - 1)
    assert (shorter.key, shorter.value) == (key, value)
    assert dict(shorter.headers)["processor.detail"] == b"features: a list of 2 where a list of 3 numbers is wa..."

    without_detail = whole - len(BAD.detail)
    assert dict(letter(key, value, limit=without_detail).headers)["processor.detail"] == b""

    no_room = letter(key, value, limit=without_detail - 1)
    note = b"cut: key of 500 bytes"
    assert dict(no_room.headers)["processor.detail"] == note
    assert (no_room.key, no_room.value) == (key[: 500 - len(note) - 1], value)

    hopeless = letter(key, value, limit=1500)
    assert hopeless.key == b""
    assert hopeless.value is not None
    assert 500 < len(hopeless.value) < 1500
    assert value.startswith(hopeless.value)
    assert dict(hopeless.headers)["processor.detail"] == b"cut: key of 500 bytes, value of 2000 bytes"


def test_a_value_too_large_without_a_key() -> None:
    dead = letter(None, b"v" * 5000, limit=2000)
    assert dead.key is None
    assert dict(dead.headers)["processor.detail"] == b"cut: value of 5000 bytes"
    assert record_bytes(dead.key, dead.value, dead.headers) == 2000


blobs = st.one_of(st.none(), st.integers(0, 6000).map(lambda n: b"x" * n))


@given(
    blobs,
    blobs,
    st.text(max_size=400),
    st.sampled_from(Reason),
    st.sampled_from(["t", "t" * 249]),
    st.integers(SMALLEST_LIMIT, 8000),
)
def test_a_dead_letter_always_fits_and_is_never_cut_without_need(
    key: bytes | None, value: bytes | None, detail: str, reason: Reason, topic: str, limit: int
) -> None:
    bad = BadEvent(reason, detail)
    dead = dead_letter(key, value, bad, topic=topic, partition=2**31 - 1, offset=2**63 - 1, limit=limit)
    whole = dead_letter(key, value, bad, topic=topic, partition=2**31 - 1, offset=2**63 - 1, limit=10**9)
    assert record_bytes(dead.key, dead.value, dead.headers) <= limit
    assert (record_bytes(key, value, whole.headers) <= limit) == (dead == whole)
    assert dead.headers[0] == ("processor.reason", reason.encode())
    assert dead.headers[2:] == whole.headers[2:]
    assert (dead.key is None, dead.value is None) == (key is None, value is None)
    if dead.value != value:
        assert not dead.key, "the value goes last"


def varint(number: int) -> int:
    """Bytes of a zigzag varint of a number that is not negative."""
    return max(1, -(-(2 * number).bit_length() // 7))


@given(blobs, blobs, st.integers(0, 400))
def test_the_size_is_that_of_kafka_s_record_format_or_a_little_more(
    key: bytes | None, value: bytes | None, detail: int
) -> None:
    headers = letter(key, value, BadEvent(Reason.LATE, "d" * detail), limit=10**9).headers
    body = 1 + 1 + 1 + varint(len(headers))  # attributes, timestamp delta, offset delta
    body += sum(varint(len(blob or b"")) + len(blob or b"") for blob in (key, value))
    body += sum(varint(len(name)) + len(name) + varint(len(content)) + len(content) for name, content in headers)
    assert 0 <= record_bytes(key, value, headers) - (61 + varint(body) + body) <= 40


def test_a_topic_too_small_for_the_headers_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 1023 bytes"):
        letter(b"k", b"v", limit=SMALLEST_LIMIT - 1)
