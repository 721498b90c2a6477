"""An sshd with a Remote that trusts it, and small words for the tests."""

from __future__ import annotations

import time
from pathlib import Path

from tashictl.adapters.ssh.hostkeys import HostKeyStore
from tashictl.adapters.ssh.remote import SshRemote
from tashictl.model.host import HostConfig
from tashictl.model.script import Reply, Script
from tests.live.sshd import Sshd

MIB = 1 << 20


def script(text: str, timeout_s: int = 20) -> Script:
    return Script(text=text, nonce="0" * 16, changing=True, timeout_s=timeout_s)


def within(seconds: float) -> float:
    return time.monotonic() + seconds


class Site:
    """An sshd, a store that trusts it as `h1`, and a Remote."""

    def __init__(self, folder: Path, extra: str = "", env: str = "") -> None:
        self.sshd = Sshd(folder / "sshd", extra, env)
        self.store = HostKeyStore(folder / "known_hosts")
        self.remote = SshRemote(folder / "known_hosts", connect_timeout_s=2)
        self.host = self.named("h1")
        self.key = self.remote.host_key(self.host, within(5))
        self.store.trust("h1", self.key)

    def named(self, name: str, port: int | None = None) -> HostConfig:
        return HostConfig(
            name=name,
            address="127.0.0.1",
            port=port or self.sshd.port,
            identity_file=str(self.sshd.identity),
        )

    def run(self, text: str, seconds: float = 10) -> Reply:
        return self.remote.run(self.host, script(text), within(seconds))

    def close(self) -> None:
        self.remote.close()
        self.sshd.stop()
