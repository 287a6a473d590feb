"""What a load writes into an event: the features of a sample as JSON, and values with a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import orjson

from processor.types import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FAR_AHEAD_MS: Final = 4_102_444_800_000  # the year 2100

BAD_REASONS: Final = (
    Reason.NO_KEY,
    Reason.UNDECODABLE,
    Reason.WRONG_TYPE,
    Reason.MISSING_FEATURES,
    Reason.UNKNOWN_INPUT,
    Reason.WRONG_SHAPE,
    Reason.NOT_FINITE,
    Reason.TIME_AHEAD,
    Reason.TIME_BEHIND,
)
"""What a bad event of a load can be. (`late` comes by its share; the others depend on the model or on limits.)"""


class Input(NamedTuple):
    """One input of a model: one sample's shape, for tokens how many there are (0: numbers), whether it is static."""

    name: str
    shape: tuple[int, ...]
    tokens: int = 0
    static: bool = False


def feature_texts(rng: np.random.Generator, count: int, inputs: Sequence[Input]) -> list[bytes]:
    """The features of `count` samples as JSON: bare for one input, by name for several. Static inputs are left out."""
    if len(inputs) == 1:
        return _texts(_drawn(rng, count, inputs[0]))
    return [b"{%b}" % text for text in _by_name(rng, count, [one for one in inputs if not one.static])]


def static_texts(rng: np.random.Generator, count: int, inputs: Sequence[Input]) -> list[bytes]:
    """What `count` sequences have of static inputs, for `with_static`."""
    return _by_name(rng, count, [one for one in inputs if one.static])


def with_static(text: bytes, static: bytes) -> bytes:
    """Features by name, and the static inputs among them."""
    return b"%b,%b}" % (text[:-1], static)


def _by_name(rng: np.random.Generator, count: int, inputs: Sequence[Input]) -> list[bytes]:
    """The fields of an object, without its brackets."""
    columns = [_texts(_drawn(rng, count, one)) for one in inputs]
    names = [orjson.dumps(one.name) for one in inputs]
    return [b",".join(b"%b:%b" % pair for pair in zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _drawn(rng: np.random.Generator, count: int, one: Input) -> NDArray[np.float32] | NDArray[np.int64]:
    """Tokens, or normal numbers of three decimals, which read back as the same float32."""
    if one.tokens:
        return rng.integers(one.tokens, size=(count, *one.shape))
    return np.round(rng.standard_normal((count, *one.shape)), 3).astype(np.float32)


def _texts(column: NDArray[np.float32] | NDArray[np.int64]) -> list[bytes]:
    if column.ndim == 2 and column.shape[1]:
        whole = orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)
        return [b"[%b]" % part for part in whole[2:-2].split(b"],[")]
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in column]


def bad_value(reason: Reason, draw: float, text: bytes, when: int, shape: tuple[int, ...]) -> bytes:
    """A value with one fault, of the several that a reason stands for."""
    rest = b'"time":%d}' % when
    good = b'{"features":%b,%b' % (text, rest)

    def filled(number: bytes) -> bytes:
        for size in reversed(shape):
            number = b"[" + b",".join([number] * size) + b"]"
        return number

    ways = {
        Reason.NO_KEY: [good],
        Reason.UNDECODABLE: [b"", good[:-1], good + b"x", good.replace(b'"time"', b'"\xff"'), b'{"features":NaN}'],
        Reason.WRONG_TYPE: [
            b'{"features":"text",' + rest,
            b'{"features":%b,%b' % (filled(b"true"), rest),
            b'{"features":%b,"time":"%d"}' % (text, when),
            b'{"features":%b,"sequence":1.5,%b' % (text, rest),
            b'{"features":%b,"start":1,%b' % (text, rest),
            b'{"features":%b,"time":8640000000000001}' % text,
            b"[%b]" % good,
        ],
        Reason.MISSING_FEATURES: [b"{" + rest, b'{"features":null,' + rest],
        Reason.UNKNOWN_INPUT: [b'{"features":{"nobody":%b},%b' % (text, rest)],
        Reason.WRONG_SHAPE: [b'{"features":[%b,%b],%b' % (text, text, rest), b'{"features":[],' + rest],
        Reason.NOT_FINITE: [b'{"features":%b,%b' % (filled(b"1e39"), rest)],
        Reason.TIME_AHEAD: [b'{"features":%b,"time":%d}' % (text, _FAR_AHEAD_MS)],
        Reason.TIME_BEHIND: [b'{"features":%b,"time":%d}' % (text, when // 1000)],  # in seconds
    }[reason]
    return ways[int(draw * len(ways))]
