"""Ctrl-C and SIGTERM: the work stops at once, and the exit code says by which signal, whatever else happens."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

PATIENCE = 2.0  # seconds after the first signal in which further ones are the same wish, sent twice
RAISED_AGAIN = 0.05  # seconds until a signal that Python swallowed is raised again


class Interruption:
    """The signal that stops this process.

    The first signal raises KeyboardInterrupt in the main thread, so that a calibration saves its checkpoint. One more
    within two seconds changes nothing; a later one ends the process without waiting for the checkpoint.

    Attributes:
        number: The number of the first signal; 0 before it.
    """

    def __init__(self) -> None:
        self.number = 0
        self._when = 0.0
        self._swallowed = False

    @property
    def exit_code(self) -> int:
        """The exit code of a process that a signal stopped: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.number or signal.SIGINT)

    def listen(self) -> None:
        """Handle SIGTERM, and SIGINT unless the parent wants it ignored, as for a script's job in the background."""
        signal.signal(signal.SIGTERM, self._receive)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._receive)
        sys.unraisablehook = self._not_raised

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._swallowed:
            self._swallowed = False
        elif not self.number:
            self.number, self._when = number, time.monotonic()
        elif time.monotonic() - self._when < PATIENCE:
            return
        else:
            os._exit(self.exit_code)
        raise KeyboardInterrupt

    def _not_raised(self, unraisable: Any) -> None:
        """Raise the interruption again if it fell into code whose exceptions Python drops, such as a finalizer."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        again = threading.Timer(RAISED_AGAIN, self._raise_again)
        again.daemon = True
        again.start()

    def _raise_again(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        self._swallowed = True
        number = self.number or signal.SIGINT
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(main, number)
        else:  # on Windows, where handlers run in the main thread whoever raises
            signal.raise_signal(number)
