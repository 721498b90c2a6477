"""A post: a machine's worth of network on one VLAN of a lab's segment, without a machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tashictl.adapters.demo import parts
from tests.live.lab import needs
from tests.live.lab.booted import DIES_WITH_US

_PROJECT = Path(__file__).resolve().parents[3]


class DhcpServer:
    """A DHCP server of a post."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def given(self, address: str) -> int:
        """How often it has given that address, or given it anew."""
        said = self._log.read_text(encoding="utf-8", errors="replace")
        return said.count(f"sending ACK to {address}\n")

    @contextmanager
    def silent(self) -> Iterator[None]:
        """It hears nothing meanwhile, and answers nothing of it afterwards."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


class Post:
    """`with Post(bridge, "x", 999, "10.99.9.1/24") as post:` speaks and listens on VLAN 999.

    `name` (at most 14 characters) starts the names of its links. Its network namespace is its own,
    or this process's unless `apart`. VLAN 0 is what has no tag. It dies with this process.
    """

    def __init__(
        self, bridge: str, name: str, vlan: int, cidr: str = "", *, apart: bool = True
    ) -> None:
        self.vlan = vlan
        self.address = cidr.partition("/")[0]
        self.device = "eth0" if apart else f"{name}i"
        words = [bridge, f"{name}o", self.device, str(vlan), "1" if apart else "0"]
        argv = [sys.executable, "-S", "-m", "tests.live.lab.access_port", *words]
        self._process = subprocess.Popen(
            [*DIES_WITH_US, str(os.getpid()), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=_PROJECT,
            env={"PATH": parts.SBIN, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._servers: list[subprocess.Popen[bytes]] = []
        assert self._process.stdout is not None
        with self._process.stdout as said:
            if not said.readline():
                raise RuntimeError(f"no port on {bridge} for VLAN {vlan}")
        if cidr:
            self.run(f"ip addr add {cidr} dev {self.device}", check=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """A process in its network namespace."""
        return self._process.pid

    def close(self) -> None:
        """The port is gone, with its servers; may be called twice."""
        for process in (*self._servers, self._process):
            process.kill()
            process.wait()

    def run(
        self, command: str, *, timeout_s: float = 60.0, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs shell text of this machine in its network; raises RuntimeError if `check`."""
        done = subprocess.run(
            [*self._enter(), "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={"PATH": parts.SBIN, "LC_ALL": "C"},
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"VLAN {self.vlan}: {command}: {done.stderr}")
        return done

    def reaches(self, address: str, *, size: int = 56, tries: int = 10) -> bool:
        """One of `tries` pings, one each second, of `size` bytes is answered."""
        ping = f"{needs.BUSYBOX} ping -q -c 1 -W 1 -s {size} {address}"
        return any(self.run(ping).returncode == 0 for _ in range(tries))

    def serve_dhcp(
        self,
        folder: Path,
        pool: tuple[str, str],
        *options: str,
        fixed: Mapping[str, str] | None = None,
    ) -> DhcpServer:
        """A DHCP server for addresses of `pool`; `options` are udhcpd's, as `router 10.1.2.3`.

        `fixed` is what a MAC is always given.
        """
        config = folder / f"udhcpd-{self.device}-{self.vlan}.conf"
        lines = [f"start {pool[0]}", f"end {pool[1]}", f"interface {self.device}"]
        lines += [f"lease_file {config}.leases", f"pidfile {config}.pid", "auto_time 5"]
        lines += [f"option {option}" for option in options]
        lines += [f"static_lease {mac} {address}" for mac, address in (fixed or {}).items()]
        config.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        Path(f"{config}.leases").touch()
        argv = [*self._enter(), str(needs.BUSYBOX), "udhcpd", "-f", str(config)]
        place = Path(f"{config}.log")
        with place.open("ab") as log:
            server = subprocess.Popen(
                [*DIES_WITH_US, str(os.getpid()), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._servers.append(server)
        return DhcpServer(server, place)

    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]
