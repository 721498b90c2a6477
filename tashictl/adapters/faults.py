"""Fault points for tests: ``TASHICTL_FAULT=<Step>:before|sent|after:kill|cut|stop[:n]``.

`before`: the step's batch is journalled and not sent; `sent`: the host began it; `after`: it was
answered and nothing of that was written down. `n` is the n-th time that the point is reached.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping

from tashictl.errors import InvalidRequest

VARIABLE = "TASHICTL_FAULT"
MOMENTS = ("before", "sent", "after")
ACTIONS = ("kill", "cut", "stop")


class NoFaults:
    """The usual: nothing happens."""

    @property
    def split_at(self) -> str | None:
        """No step stands alone."""
        return None

    def reached(self, step: str, moment: str, cut: Callable[[], None]) -> None:
        """Go on."""


class FaultPoint:
    """One fault, from the environment."""

    def __init__(self, step: str, moment: str, action: str, nth: int) -> None:
        self._step = step
        self._moment = moment
        self._action = action
        self._left = nth
        self._turn = threading.Lock()

    @property
    def split_at(self) -> str | None:
        """The step that must stand in a batch of its own, so that the moment is exact."""
        return self._step

    def reached(self, step: str, moment: str, cut: Callable[[], None]) -> None:
        """Do what was asked for when its moment has come."""
        if (step, moment) != (self._step, self._moment):
            return
        with self._turn:
            self._left -= 1
            if self._left != 0:
                return
        if self._action == "cut":
            cut()
        else:
            os.kill(os.getpid(), signal.SIGKILL if self._action == "kill" else signal.SIGSTOP)


def from_environment(environ: Mapping[str, str]) -> NoFaults | FaultPoint:
    """The fault that TASHICTL_FAULT asks for; raises InvalidRequest for one that is malformed."""
    text = environ.get(VARIABLE, "")
    if not text:
        return NoFaults()
    parts = text.split(":")
    step, moment, action, nth = [*parts, "1", "", "", ""][:4] if len(parts) < 5 else [""] * 4
    if moment not in MOMENTS or action not in ACTIONS or not nth.isdecimal():
        raise InvalidRequest(
            "E-FAULT",
            f"{VARIABLE}={text!r} is no fault point",
            hint="<Step>:before|sent|after:kill|cut|stop[:n]",
        )
    return FaultPoint(step, moment, action, int(nth))
