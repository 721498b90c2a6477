"""One connection to one host: from a socket to a login with a verified host key."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Iterator

import fabric
import paramiko
from paramiko.channel import Channel

from tashictl.adapters.ssh.config import Route
from tashictl.adapters.ssh.faults import Down, Phase, left_s
from tashictl.adapters.ssh.hostkeys import HostKeyStore, host_key
from tashictl.adapters.ssh.keys import KeyLogin, KeyRing
from tashictl.adapters.ssh.line import Line
from tashictl.adapters.ssh.mapping import LIBRARY, down_of
from tashictl.adapters.ssh.transport import Wire, start_command
from tashictl.adapters.ssh.watchdog import Watchdog
from tashictl.model.script import Fault, HostKey

# sshd's MaxSessions is 10; two are left for those who look over our shoulder.
_SESSIONS = 8
_KEEPALIVE_S = 15
# A call that is still out this long after its deadline is stuck below the deadline's reach.
_GRACE_S = 0.2
_CLOSE_S = 1.0
# A refused session is asked for again after this, and for that long when no other is in use.
_AGAIN_S = 0.05
_PATIENCE_S = 1.0

_RSA = ("rsa-sha2-512", "rsa-sha2-256")


class Doorman(paramiko.MissingHostKeyPolicy):
    """Judges every host key by our store alone; SSHClient knows no key itself and must ask."""

    def __init__(self, name: str, store: HostKeyStore) -> None:
        self._name = name
        self._store = store
        self.known = store.key_of(name)

    def missing_host_key(
        self,
        client: paramiko.SSHClient,  # noqa: ARG002 - paramiko's signature
        hostname: str,  # noqa: ARG002
        key: paramiko.PKey,
    ) -> None:
        """Return only for a trusted key; raises Down otherwise, before anything was sent."""
        offered = host_key(key.get_name(), key.asbytes())
        shown = f"the host shows {offered.algorithm} {offered.fingerprint}"
        if self._store.is_revoked(self._name, offered):
            raise Down(Fault.HOSTKEY_CHANGED, f"{shown}, which is marked @revoked")
        if not self.known:
            raise Down(Fault.HOSTKEY_UNKNOWN, shown)
        if offered not in self.known:
            trusted = ", ".join(f"{k.algorithm} {k.fingerprint}" for k in self.known)
            raise Down(Fault.HOSTKEY_CHANGED, f"{shown}, trusted is {trusted}")


class _NoKeys(paramiko.HostKeys):
    """No keys; paramiko's own table makes a class for each question, which is a ring."""

    def lookup(self, hostname: str) -> None:
        """Nothing."""


class StrictClient(paramiko.SSHClient):
    """An SSHClient whose policy cannot be changed and that trusts no key of its own."""

    def __init__(self, doorman: Doorman) -> None:
        super().__init__()
        self._system_host_keys = self._host_keys = _NoKeys()
        super().set_missing_host_key_policy(doorman)

    def set_missing_host_key_policy(self, policy: object) -> None:
        """Keep the doorman, whoever asks for another (fabric's Connection wants AutoAddPolicy)."""

    def load_system_host_keys(self, filename: object = None) -> None:
        """Load nothing: only the cluster's own store counts."""

    def load_host_keys(self, filename: object) -> None:
        """Load nothing: only the cluster's own store counts."""


class Link:
    """A logged-in connection; thread-safe. `users` counts the channels that are in use."""

    def __init__(self, route: Route, wire: Wire, line: Line, watchdog: Watchdog) -> None:
        self.route = route
        self.wire = wire
        self.watchdog = watchdog
        self.used_s = time.monotonic()
        self._line = line
        self._sessions = threading.BoundedSemaphore(_SESSIONS)
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    def alive(self) -> bool:
        """Whether nothing is known against the connection."""
        return not self._retired and self.wire.is_active()

    @property
    def in_use(self) -> bool:
        """Whether a channel is open."""
        return self._users > 0

    @contextlib.contextmanager
    def session(
        self, command: str, deadline_s: float, window: int | None = None
    ) -> Iterator[Channel]:
        """A channel with `command` started on it by `deadline_s`, which bounds nothing later.

        Raises Down before anything was fed to the command.
        """
        if not self._sessions.acquire(timeout=left_s(deadline_s)):
            raise Down(Fault.TIMEOUT, f"{_SESSIONS} commands are running there already")
        try:
            with contextlib.ExitStack() as stack:
                channel = self._session_channel(stack, deadline_s, window)
                try:
                    with self.guard(deadline_s):
                        start_command(self.wire, channel, command, deadline_s)
                except LIBRARY as error:
                    raise down_of(error, Phase.RUN) from error
                yield channel
        finally:
            self._sessions.release()

    def _session_channel(
        self, stack: contextlib.ExitStack, deadline_s: float, window: int | None
    ) -> Channel:
        """A session; one that is refused is asked for again while others are still ending.

        sshd counts a session until it has seen its end, which is later than we have.
        """
        patient_s = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return stack.enter_context(self._channel("session", (), deadline_s, window))
            except Down as down:
                now = time.monotonic()
                busy = self._users > 0 and now + _AGAIN_S < deadline_s
                if down.fault is not Fault.EXEC or not (busy or now < patient_s):
                    raise
            time.sleep(_AGAIN_S)

    def socket_channel(
        self, unix_path: str, deadline_s: float
    ) -> contextlib.AbstractContextManager[Channel]:
        """A channel to a unix socket (OpenSSH's PROTOCOL, 2.4); raises Down(EXEC) when refused."""
        return self._channel("direct-streamlocal@openssh.com", (unix_path, "", 0), deadline_s, None)

    def tcp_channel(
        self, address: str, port: int, deadline_s: float
    ) -> contextlib.AbstractContextManager[Channel]:
        """A channel to a TCP port (RFC 4254, 7.2); raises Down(EXEC) when it is refused."""
        words = (address, port, "127.0.0.1", 0)
        return self._channel("direct-tcpip", words, deadline_s, None)

    def guard(self, deadline_s: float) -> contextlib.AbstractContextManager[None]:
        """Cut the connection if the block outlives the deadline (a write to a full socket can)."""
        return self.watchdog.guard(deadline_s + _GRACE_S, self.wire.expire)

    def retire(self) -> None:
        """Close the connection, or leave that to its last user."""
        with self._lock:
            self._retired = True
            idle = self._users == 0
        if idle:
            self.close()

    def close(self) -> None:
        """Close the connection now."""
        self.wire.close()
        self._line.close()

    @contextlib.contextmanager
    def _channel(
        self, kind: str, words: tuple[str | int, ...], deadline_s: float, window: int | None
    ) -> Iterator[Channel]:
        with self._in_use():
            try:
                with self.guard(deadline_s):
                    channel = self.wire.open_plain(kind, words, deadline_s, window)
            except LIBRARY as error:
                raise down_of(error, Phase.OPEN) from error
            try:
                yield channel
            finally:
                with self.guard(time.monotonic() + _CLOSE_S), contextlib.suppress(*LIBRARY):
                    channel.close()

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self.used_s = time.monotonic()
                last = self._retired and self._users == 0
            if last:
                self.close()


def log_in(
    line: Line,
    route: Route,
    ring: KeyRing,
    store: HostKeyStore,
    watchdog: Watchdog,
    deadline_s: float,
) -> Link:
    """Verify the host key and log in over a connected line; raises Down, and closes the line."""
    doorman = Doorman(route.name, store)
    wires: list[Wire] = []
    factory = functools.partial(_make_wire, wires, _algorithms(doorman.known))
    try:
        left = left_s(deadline_s)
        connection = fabric.Connection(
            host=route.address,
            user=route.user,
            port=route.port,
            config=_plain_config(),
            gateway=False,
            forward_agent=False,
            connect_kwargs={
                "sock": line.sock,
                "timeout": left,
                "banner_timeout": left,
                "auth_timeout": left,
                "transport_factory": factory,
                "auth_strategy": KeyLogin(route, ring),
            },
        )
        connection.client = StrictClient(doorman)
        with _deadlines(wires, line, watchdog, deadline_s):
            connection.open()
        wires[0].set_keepalive(_KEEPALIVE_S)
        return Link(route, wires[0], line, watchdog)
    except (*LIBRARY, Down) as error:
        _abandon(wires, line)
        raise _down(error, wires) from error
    except BaseException:
        _abandon(wires, line)
        raise


def fetch_host_key(line: Line, watchdog: Watchdog, deadline_s: float) -> HostKey:
    """The key that the host proves to hold, without a login; raises Down. The line is closed."""
    wires: list[Wire] = []
    try:
        wire = _make_wire(wires, (), line.sock)
        left = left_s(deadline_s)
        wire.banner_timeout = wire.handshake_timeout = left
        with _deadlines(wires, line, watchdog, deadline_s):
            wire.start_client(timeout=left)
        key = wire.get_remote_server_key()
        return host_key(key.get_name(), key.asbytes())
    except (*LIBRARY, Down) as error:
        raise _down(error, wires) from error
    finally:
        _abandon(wires, line)


def _make_wire(wires: list[Wire], algorithms: tuple[str, ...], sock: object, **_: object) -> Wire:
    wire = Wire(sock, algorithms)  # type: ignore[arg-type]
    wires.append(wire)
    return wire


def _algorithms(known: tuple[HostKey, ...]) -> tuple[str, ...]:
    """What to ask the host for first, so that it shows a key that we can compare."""
    names: list[str] = []
    for key in known:
        names.extend(_RSA if key.algorithm == "ssh-rsa" else (key.algorithm,))
    return tuple(names)


def _plain_config() -> fabric.Config:
    """Nothing of fabric's own configuration applies: its files are Python code or ssh_config.

    A new one each time: a Config changes while it is read, which two threads must not share.
    """
    return fabric.Config(
        lazy=True, ssh_config=paramiko.SSHConfig(), overrides={"load_ssh_configs": False}
    )


@contextlib.contextmanager
def _deadlines(
    wires: list[Wire], line: Line, watchdog: Watchdog, deadline_s: float
) -> Iterator[None]:
    """Cut what is being opened when a deadline passes: that of the banner, and that of it all."""

    def expire() -> None:
        for wire in wires:
            wire.expire()

    def expire_ungreeted() -> None:
        for wire in wires:
            if not wire.remote_version:
                wire.expire()

    greet_by_s = line.greet_by_s if line.greet_by_s is not None else deadline_s
    with (
        watchdog.guard(deadline_s, expire),
        watchdog.guard(min(greet_by_s, deadline_s), expire_ungreeted),
    ):
        yield


def _abandon(wires: list[Wire], line: Line) -> None:
    for wire in wires:
        wire.close()
    line.close()


def _down(error: BaseException, wires: list[Wire]) -> Down:
    if isinstance(error, Down):
        return error
    phase = _phase_of(wires[0]) if wires else Phase.TCP
    if wires and wires[0].expired:
        return down_of(TimeoutError("no answer within the time limit"), phase)
    return down_of(error, phase)


def _phase_of(wire: Wire) -> Phase:
    if not wire.remote_version:
        return Phase.BANNER
    return Phase.AUTH if wire.initial_kex_done else Phase.KEX
