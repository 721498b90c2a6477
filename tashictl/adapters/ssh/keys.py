"""Logging in with keys: files first when the inventory names one, else the agent and the files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.auth_strategy import AuthSource, AuthStrategy
from paramiko.pkey import UnknownKeyType

from tashictl.adapters.ssh.config import Route
from tashictl.adapters.ssh.faults import Down
from tashictl.model.script import Fault

_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")


class OneAtATime(paramiko.Agent):
    """The SSH agent, asked by one thread at a time: paramiko would mix up the answers."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        super().__init__()

    def _send_message(self, msg: object) -> object:
        with self._turn:
            return super()._send_message(msg)  # type: ignore[misc]


class KeyRing:
    """Private keys of this process, each file read once; thread-safe.

    Keys with a passphrase are used through the agent; a hardware-backed key (``sk-…``) in the
    agent is passed over, since paramiko cannot use it (paramiko#2299).
    """

    def __init__(self, home: Path | None = None) -> None:
        self._home = home if home is not None else Path.home() / ".ssh"
        self._lock = threading.Lock()
        self._files: dict[tuple[str, int], paramiko.PKey | str] = {}
        self._agent: paramiko.Agent | None = None

    def keys_for(self, route: Route) -> Iterator[tuple[str, paramiko.PKey | str]]:
        """Names and keys to try, best first; a text in place of a key says why it is unusable."""
        files = route.identities
        if not files and not route.only:
            paths = [self._home / name for name in _DEFAULTS]
            files = tuple(str(path) for path in paths if path.exists())
        if route.agent:
            yield from self._agent_keys(route, files)
        for name in files:
            yield name, self._load(Path(name).expanduser())

    def _agent_keys(
        self, route: Route, files: tuple[str, ...]
    ) -> Iterator[tuple[str, paramiko.PKey | str]]:
        wanted = {blob for name in files if (blob := _public_blob(Path(name).expanduser()))}
        with self._lock:
            if self._agent is None:
                try:
                    self._agent = OneAtATime()
                except (paramiko.SSHException, OSError):
                    return
            held = self._agent.get_keys()
        usable = [key for key in held if not key.get_name().startswith("sk-")]
        named = [key for key in usable if _text_of(key) in wanted]
        rest = [] if route.only else [key for key in usable if key not in named]
        for key in (*named, *rest):
            yield f"{key.comment or key.get_name()} (agent)", key

    def _load(self, path: Path) -> paramiko.PKey | str:
        try:
            stamp = (str(path), path.stat().st_mtime_ns)
        except OSError as error:
            return error.strerror or str(error)
        with self._lock:
            if stamp not in self._files:
                self._files[stamp] = _read_key(path)
            return self._files[stamp]


def _read_key(path: Path) -> paramiko.PKey | str:
    try:
        return paramiko.PKey.from_path(path)
    except (paramiko.PasswordRequiredException, TypeError):
        return "has a passphrase: add it to the agent"
    except UnknownKeyType:
        return "is of a kind that paramiko does not know"
    except (paramiko.SSHException, UnsupportedAlgorithm, ValueError, OSError) as error:
        return f"cannot be read: {error}"


def _text_of(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def _public_blob(path: Path) -> str | None:
    try:
        fields = path.with_name(path.name + ".pub").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return None
    return " ".join(fields[:2])


class KeyLogin(AuthStrategy):
    """One login over one transport, by public key only; for SSHClient's `auth_strategy`."""

    def __init__(self, route: Route, ring: KeyRing) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._route = route
        self._ring = ring

    def get_sources(self) -> Iterator[AuthSource]:
        """None in paramiko's sense: `authenticate` goes over the keys itself."""
        return iter(())

    def authenticate(self, transport: paramiko.Transport) -> list[str]:  # type: ignore[override]
        """Try the keys in turn; raises Down(AUTH) that lists what was tried."""
        tried = []
        for name, key in self._ring.keys_for(self._route):
            if isinstance(key, str):
                tried.append(f"{name} {key}")
                continue
            try:
                more = transport.auth_publickey(self._route.user, key)
            except paramiko.AuthenticationException as error:
                if not transport.is_active() or "timeout" in str(error).lower():
                    raise
                tried.append(f"{name}: refused")
                continue
            if more:
                raise Down(Fault.AUTH, f"the host asks for more than a key: {', '.join(more)}")
            return []
        said = "; ".join(tried) or "there is no key to try"
        raise Down(Fault.AUTH, f"user {self._route.user}: {said}")
