"""Sound that a detector of voices takes for speech: a second of silence, a second of it, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import lfilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
_WIDTHS = (60, 90, 120)


def speech(seconds: float, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """The sound [samples] in float32, and where somebody speaks, by sample.

    Pulses of a voice of 100 to 150 Hz through the resonances of a vowel, another one every 150 ms, in four syllables a
    second.
    """
    rng, t = np.random.default_rng(seed), np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.8 * t) + 8 * np.sin(2 * np.pi * 2.3 * t)
    source = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0) + 0.02 * rng.standard_normal(len(t))
    sound, length = np.zeros_like(t), int(0.15 * RATE)
    for start in range(0, len(t), length):
        part = source[start : start + length]
        for resonance, width in zip(_VOWELS[rng.integers(len(_VOWELS))], _WIDTHS, strict=True):
            r = np.exp(-np.pi * width / RATE)
            part = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * resonance / RATE), r * r], part)
        sound[start : start + length] = part
    sound *= np.clip(np.sin(2 * np.pi * 4 * t) + 0.5, 0, 1)
    speaks = np.floor(t) % 2 == 1
    noise = 0.0005 * rng.standard_normal(len(t))
    return (0.5 * sound / np.abs(sound).max() * speaks + noise).astype(np.float32), speaks
