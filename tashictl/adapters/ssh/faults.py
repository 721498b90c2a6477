"""The one error of this sub-room, and what each fault means to an operator."""

from __future__ import annotations

import time
from enum import Enum, auto

from tashictl.errors import NotPermitted, TashiError, Unreachable
from tashictl.model.script import Fault

_HINTS = {
    Fault.RESOLVE: "check the host's address in the inventory and the resolver",
    Fault.REFUSED: "check that sshd runs there and that the port is right",
    Fault.NO_ROUTE: "check the network between here and the host",
    Fault.TCP_TIMEOUT: "check that the host is up and that no firewall drops the connection",
    Fault.NO_BANNER: "check that the port is that of sshd, and that sshd is not overloaded",
    Fault.KEX: "check that sshd offers an algorithm of today (OpenSSH 7.4 or later does)",
    Fault.HOSTKEY_UNKNOWN: "compare the fingerprint on the host, then trust it: host trust",
    Fault.HOSTKEY_CHANGED: "find out why; if the host was reinstalled: host rekey",
    Fault.AUTH: "check user and identity_file, and that the public key is on the host",
    Fault.EXEC: "check the login user's shell and sshd's limits (MaxSessions, ForceCommand)",
    Fault.TIMEOUT: "check the load of the host, or allow more time",
    Fault.CUT: "check the host; what was sent may still take effect there",
    Fault.SUDO: "allow the login user to run sudo without a password, or set become: false",
}


class Phase(Enum):
    """How far a connection had come when something happened."""

    RESOLVE = auto()
    TCP = auto()
    BANNER = auto()
    KEX = auto()
    AUTH = auto()
    OPEN = auto()
    RUN = auto()


class Down(Unreachable):
    """A host did not answer, or only in part; `fault` says why, `detail` is the library's word."""

    def __init__(self, fault: Fault, detail: str, host: str | None = None) -> None:
        super().__init__(
            "E-" + fault.name.replace("_", "-"),
            fault.value,
            cause=detail,
            hint=_HINTS[fault],
            host=host,
        )
        self.fault = fault
        self.detail = detail


def error_of(down: Down, host: str) -> TashiError:
    """The error that operations see: a changed host key is NotPermitted, all else Unreachable."""
    if down.fault is Fault.HOSTKEY_CHANGED:
        return NotPermitted(down.code, down.what, cause=down.cause, hint=down.hint, host=host)
    return Down(down.fault, down.detail, host)


def left_s(deadline_s: float) -> float:
    """Seconds until an absolute monotonic deadline; raises Down(TIMEOUT) when it has passed."""
    left = deadline_s - time.monotonic()
    if left <= 0:
        raise Down(Fault.TIMEOUT, "the time limit was over")
    return left
