"""SIGINT, SIGTERM and SIGHUP for a command that starts processes: the first one ends it, none disturbs its end."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from rich.console import Console

_NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Interrupts:
    """What was heard, and whether anything still is."""

    received: int | None = None  # the number of the signal that ended the command
    ending: bool = False  # set while everything is being ended: a Ctrl-C would leave processes and files behind

    def hear(self, number: int, _: FrameType | None) -> None:
        """A signal handler.

        Raises:
            KeyboardInterrupt: at the first signal, unless the command is at its end anyway.
        """
        if self.received is None and not self.ending:
            self.received = number
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Raises KeyboardInterrupt at the first of the signals.

    From then on all of them are ignored, up to the end of the process: one that came in the last moments of an orderly
    end would turn its exit code into a death by a signal.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    former = {number: signal.signal(number, interrupts.hear) for number in _NUMBERS}
    try:
        yield interrupts
    finally:
        for number, handler in former.items():
            signal.signal(number, handler if interrupts.received is None else signal.SIG_IGN)


def played(console: Console, play: Callable[[Interrupts], int]) -> int:
    """The exit code of `play`; 128 + the signal's number where one of the signals ended it, which is printed."""
    with interruptible() as interrupts:
        try:
            return play(interrupts)
        except KeyboardInterrupt:
            console.print("\nInterrupted: everything that was started has been ended.", highlight=False)
            return 128 + (interrupts.received or signal.SIGINT)
