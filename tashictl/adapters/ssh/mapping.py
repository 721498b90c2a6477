"""Library exceptions to faults: one pure function."""

from __future__ import annotations

import errno
import socket

import paramiko
from paramiko.ssh_exception import IncompatiblePeer, PasswordRequiredException

from tashictl.adapters.ssh.faults import Down, Phase
from tashictl.model.script import Fault

# What paramiko raises: its own, sockets', and EOFError where a write fails.
LIBRARY = (paramiko.SSHException, OSError, EOFError)

_NO_ROUTE = {
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
    errno.EACCES,
    errno.EPERM,
}
_TIMEOUT = {
    Phase.RESOLVE: Fault.RESOLVE,
    Phase.TCP: Fault.TCP_TIMEOUT,
    Phase.BANNER: Fault.NO_BANNER,
    Phase.KEX: Fault.KEX,
}
_CUT = {
    Phase.RESOLVE: Fault.RESOLVE,
    Phase.TCP: Fault.NO_BANNER,
    Phase.BANNER: Fault.NO_BANNER,
    Phase.KEX: Fault.KEX,
    Phase.AUTH: Fault.AUTH,
}
_SSH = {
    Phase.TCP: Fault.NO_BANNER,
    Phase.BANNER: Fault.NO_BANNER,
    Phase.KEX: Fault.KEX,
    Phase.AUTH: Fault.AUTH,
    Phase.OPEN: Fault.EXEC,
    Phase.RUN: Fault.CUT,
}


def fault_of(error: BaseException, phase: Phase) -> Fault:
    """The fault that `error` means when it happens in `phase`."""
    if isinstance(error, Down):
        return error.fault
    if isinstance(error, socket.gaierror):
        return Fault.RESOLVE
    if isinstance(error, paramiko.AuthenticationException):
        timed_out = "timeout" in str(error).lower()
        return Fault.TIMEOUT if timed_out else Fault.AUTH
    if isinstance(error, PasswordRequiredException):
        return Fault.AUTH
    if isinstance(error, IncompatiblePeer):
        return Fault.KEX
    if isinstance(error, paramiko.ChannelException):
        return Fault.EXEC
    if isinstance(error, paramiko.SSHException):
        banner = "protocol banner" in str(error) or "protocol version" in str(error)
        return Fault.NO_BANNER if banner else _SSH.get(phase, Fault.CUT)
    return _fault_of_os(error, phase)


def _fault_of_os(error: BaseException, phase: Phase) -> Fault:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED or isinstance(error, ConnectionRefusedError):
        return Fault.REFUSED
    if isinstance(error, TimeoutError):
        return _TIMEOUT.get(phase, Fault.TIMEOUT)
    if number in _NO_ROUTE:
        return Fault.NO_ROUTE
    return _CUT.get(phase, Fault.CUT)


def detail_of(error: BaseException) -> str:
    """One line that says what the library said."""
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__


def down_of(error: BaseException, phase: Phase) -> Down:
    """The same as an error of ours; one that is ours already comes back as it is."""
    return error if isinstance(error, Down) else Down(fault_of(error, phase), detail_of(error))
