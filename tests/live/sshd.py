"""A throw-away sshd on a loopback port, and hosts that are ill in known ways."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
StrictModes no
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 200
# The caller's own ~/.bashrc is no part of the test, and may be slow.
SetEnv HOME={folder} {env}
"""


def make_key(path: Path) -> Path:
    """A new ed25519 key pair; the path of its private half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[1]) == pid:
                    found.append(int(folder.name))
    return found


class Sshd:
    """A running sshd; `extra` is added to its config, `env` to what its commands get."""

    def __init__(self, folder: Path, extra: str = "", env: str = "") -> None:
        folder.mkdir(exist_ok=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.identity = make_key(folder / "login")
        make_key(folder / "host")
        (folder / "authorized").write_text((folder / "login.pub").read_text())
        config = _CONFIG.format(port=self.port, folder=folder, env=env)
        (folder / "config").write_text(config + extra)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")], stderr=log
            )
        self._await()

    def _await(self) -> None:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        raise RuntimeError(self._log.read_text())

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace")

    def kill_connections(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to every process that serves a connection."""
        for child in children(self.process.pid):
            for grandchild in children(child):
                with contextlib.suppress(OSError):
                    os.kill(grandchild, number)
            with contextlib.suppress(OSError):
                os.kill(child, number)

    def stop(self) -> None:
        """End it and its connections."""
        self.kill_connections()
        self.process.kill()
        self.process.wait()


class Sick:
    """Ports that misbehave, each in its way, until closed."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def refused(self) -> int:
        """Nobody listens."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        return port

    def black_hole(self) -> int:
        """SYNs are dropped: the backlog is full."""
        server = self._listen(0)
        port: int = server.getsockname()[1]
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            self._sockets.append(client)
        return port

    def silent(self) -> int:
        """The kernel accepts, nobody speaks."""
        port: int = self._listen(100).getsockname()[1]
        return port

    def speaking(self, data: bytes, again_s: float | None = None) -> int:
        """Everyone who connects gets `data` at once, and with `again_s` again and again."""
        server = self._listen(100)
        threading.Thread(target=self._speak, args=(server, data, again_s), daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    def _speak(self, server: socket.socket, data: bytes, again_s: float | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                self._sockets.append(client)
                client.sendall(data)
                while again_s is not None:
                    time.sleep(again_s)
                    try:
                        client.sendall(data)
                    except OSError:
                        break

    def _listen(self, backlog: int) -> socket.socket:
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        self._sockets.append(server)
        return server

    def close(self) -> None:
        """Heal them by removal."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@contextlib.contextmanager
def echo_socket(path: Path) -> Iterator[Path]:
    """A unix socket that sends back what it gets."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(10)

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):
                client.sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
