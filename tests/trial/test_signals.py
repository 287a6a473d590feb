"""The first signal ends a command, and nothing disturbs its end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from processor.trial.signals import interruptible

_PROGRAM = """
import signal, sys
from processor.trial.signals import interruptible
with interruptible() as interrupts:
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        signal.raise_signal(signal.SIGINT)
signal.raise_signal(signal.SIGINT)  # behind the block, as late as can be
sys.exit(128 + interrupts.received)
"""


def test_a_second_signal_changes_nothing_up_to_the_very_end() -> None:
    assert subprocess.run([sys.executable, "-c", _PROGRAM], check=False).returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nothing_ends_an_end(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible() as interrupts:
        interrupts.ending = True
        signal.raise_signal(number)
        assert interrupts.received is None
    assert signal.getsignal(number) is before
