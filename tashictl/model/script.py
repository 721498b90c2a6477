"""What travels to a host, and what comes back."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from tashictl.model.steps import Fence, Guard, Step


class Script(Struct, frozen=True, kw_only=True):
    """POSIX sh text for ``/bin/sh -s``, framed by a nonce that no output can know.

    `changing` False marks it read-only (the only kind that a dry run lets through). `timeout_s` is
    the deadline on the host itself. `steps` and `fence` (or `guard`) are what the text was made
    from: the simulated world carries these out instead of the text.
    """

    text: str
    nonce: str
    changing: bool
    timeout_s: int
    steps: tuple[Step, ...] = ()
    fence: Fence | None = None
    guard: Guard | None = None


class Fault(Enum):
    """Why a host gave no answer, or only a part of one."""

    RESOLVE = "the name does not resolve"
    REFUSED = "connection refused"
    NO_ROUTE = "no route to host"
    TCP_TIMEOUT = "no answer to the TCP connection"
    NO_BANNER = "connected, but no SSH banner"
    KEX = "the SSH key exchange failed"
    HOSTKEY_UNKNOWN = "the host key is not known"
    HOSTKEY_CHANGED = "the host key has changed"
    AUTH = "the login was refused"
    EXEC = "the command could not be started"
    TIMEOUT = "no answer within the time limit"
    CUT = "the connection was cut"
    SUDO = "sudo asks for a password"


class Reply(Struct, frozen=True, kw_only=True):
    """What came back of one script.

    `rc` is None when no exit status arrived. `sent` False means that nothing of the script left
    this machine, so nothing was done; with `sent` True and a fault, everything may have been done.
    """

    rc: int | None = None
    out: bytes = b""
    err: bytes = b""
    fault: Fault | None = None
    detail: str = ""
    sent: bool = False
    seconds: float = 0.0


class HostKey(Struct, frozen=True, kw_only=True):
    """A host's public key: `algorithm` like ``ssh-ed25519``, `fingerprint` like ``SHA256:…``."""

    algorithm: str
    base64: str
    fingerprint: str


class SweepStats(Struct, frozen=True, kw_only=True):
    """How a round over many hosts went; `seconds` is wall time."""

    answered: int
    failed: int
    seconds: float
