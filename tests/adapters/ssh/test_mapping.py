"""Library exceptions to faults."""

import errno
import socket

import paramiko
import pytest

from tashictl.adapters.ssh.faults import _HINTS, Down, Phase, error_of
from tashictl.adapters.ssh.mapping import detail_of, down_of, fault_of
from tashictl.errors import NotPermitted, Unreachable
from tashictl.model.script import Fault

CASES = [
    (socket.gaierror(-2, "Name or service not known"), Phase.RESOLVE, Fault.RESOLVE),
    (ConnectionRefusedError(errno.ECONNREFUSED, "x"), Phase.TCP, Fault.REFUSED),
    (OSError(errno.ECONNREFUSED, "x"), Phase.TCP, Fault.REFUSED),
    (OSError(errno.EHOSTUNREACH, "x"), Phase.TCP, Fault.NO_ROUTE),
    (OSError(errno.ENETUNREACH, "x"), Phase.TCP, Fault.NO_ROUTE),
    (OSError(errno.ETIMEDOUT, "x"), Phase.TCP, Fault.TCP_TIMEOUT),
    (TimeoutError(), Phase.TCP, Fault.TCP_TIMEOUT),
    (TimeoutError(), Phase.RESOLVE, Fault.RESOLVE),
    (TimeoutError(), Phase.BANNER, Fault.NO_BANNER),
    (TimeoutError(), Phase.KEX, Fault.KEX),
    (TimeoutError(), Phase.AUTH, Fault.TIMEOUT),
    (TimeoutError(), Phase.RUN, Fault.TIMEOUT),
    (ConnectionResetError(errno.ECONNRESET, "x"), Phase.BANNER, Fault.NO_BANNER),
    (EOFError(), Phase.KEX, Fault.KEX),
    (EOFError(), Phase.AUTH, Fault.AUTH),
    (EOFError(), Phase.RUN, Fault.CUT),
    (BrokenPipeError(), Phase.RUN, Fault.CUT),
    (paramiko.AuthenticationException("Authentication failed."), Phase.AUTH, Fault.AUTH),
    (paramiko.AuthenticationException("Authentication timeout."), Phase.AUTH, Fault.TIMEOUT),
    (paramiko.PasswordRequiredException("x"), Phase.AUTH, Fault.AUTH),
    (paramiko.BadAuthenticationType("x", ["password"]), Phase.AUTH, Fault.AUTH),
    (paramiko.ChannelException(2, "x"), Phase.OPEN, Fault.EXEC),
    (paramiko.SSHException("Error reading SSH protocol banner"), Phase.KEX, Fault.NO_BANNER),
    (paramiko.SSHException("Incompatible ssh peer"), Phase.KEX, Fault.KEX),
    (paramiko.SSHException("x"), Phase.RUN, Fault.CUT),
    (Down(Fault.HOSTKEY_CHANGED, "x"), Phase.AUTH, Fault.HOSTKEY_CHANGED),
]


@pytest.mark.parametrize(("error", "phase", "fault"), CASES)
def test_every_exception_has_its_fault(error: Exception, phase: Phase, fault: Fault) -> None:
    assert fault_of(error, phase) is fault


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize(
    "error", [OSError(), EOFError(), TimeoutError(), paramiko.SSHException(), ValueError()]
)
def test_no_exception_is_without_a_fault(error: Exception, phase: Phase) -> None:
    assert isinstance(fault_of(error, phase), Fault)


def test_every_fault_has_a_next_step() -> None:
    assert set(_HINTS) == set(Fault)


def test_a_detail_is_one_short_line() -> None:
    assert detail_of(OSError("a\n  b\tc" + "x" * 1000)) == ("a b c" + "x" * 1000)[:300]
    assert detail_of(EOFError()) == "EOFError"


def test_an_error_of_ours_passes_unchanged() -> None:
    down = Down(Fault.AUTH, "x")
    assert down_of(down, Phase.RUN) is down


def test_a_changed_key_is_not_permitted_and_all_else_unreachable() -> None:
    assert isinstance(error_of(Down(Fault.HOSTKEY_CHANGED, "x"), "h1"), NotPermitted)
    for fault in set(Fault) - {Fault.HOSTKEY_CHANGED}:
        error = error_of(Down(fault, "why"), "h1")
        assert isinstance(error, Unreachable)
        assert (error.host, error.cause) == ("h1", "why")
        assert error.code.startswith("E-")
