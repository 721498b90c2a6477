"""Where a lab's server runs or its client stands: here, on a host, in a network of its own.

    HERE                                    # this machine, its loopback
    On(lab.host("h1"))                      # a host's processes, files and network; at each boot
    Net(post.pid)                           # the network of any process, the files of this machine
    with Space() as space:                  # a network of its own; empty but for the loopback
        space.add_bridge("lan")             # where others can plug in
        other.plug(space, "lan", mac="02:00:00:00:00:07")       # eth0 of the Space `other`
        space.run("ip addr", check=True)
        port = space.way_in(7911)           # 127.0.0.1:port here is 127.0.0.1:7911 there (TCP)

A Space has no name and its links go with it; it dies with the thread that made it.
"""

import os
import random
import secrets
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tashictl.adapters.demo import parts
from tests.live.lab.booted import DIES_WITH_US
from tests.live.lab.host import Host

_PORTS = range(20000, 32000)  # no outgoing connection gets one of these by chance
_LOOPBACK = "127.0.0.1"
_BRIDGE = "type bridge stp_state 0 forward_delay 0"


class Place:
    """This machine."""

    forks = False  # what runs here is a child of the process that was started

    @property
    def root(self) -> Path:
        """The place's root folder, as this process sees it."""
        return Path("/")

    @property
    def net_pid(self) -> int:
        """A process in the place's network namespace."""
        return os.getpid()

    def enter(self) -> list[str]:
        """Start of a command line that runs the rest there."""
        return []

    def path(self, path: Path) -> Path:
        """A path of the place, as this process sees it."""
        return self.root / path.relative_to("/")

    def run(
        self, command: str, *, text: str = "", timeout_s: float = 60.0, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs shell text there with `text` as its input; raises RuntimeError if `check`."""
        done = subprocess.run(
            [*self.enter(), "sh", "-c", command],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={"PATH": parts.SBIN, "HOME": "/root", "LC_ALL": "C"},
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{command}: rc {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def ip_batch(self, *lines: str) -> None:
        """Runs lines of `ip -batch` in the place's network; raises RuntimeError with its words."""
        enter = " ".join(_enter_net(self.net_pid))
        HERE.run(f"{enter} ip -batch -", text="".join(f"{line}\n" for line in lines), check=True)


HERE = Place()


class On(Place):
    """A lab's host; its pid namespace too, so that a pid in a file means there what it says."""

    forks = True

    def __init__(self, host: Host) -> None:
        self.host = host

    @property
    def root(self) -> Path:
        return self.host.root

    @property
    def net_pid(self) -> int:
        return self.host.pid

    def enter(self) -> list[str]:
        enter = ["nsenter", "--target", str(self.host.pid)]
        return [*enter, "--mount", "--uts", "--ipc", "--net", "--pid", "--"]


class Net(Place):
    """The network namespace of a process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @property
    def net_pid(self) -> int:
        return self._pid

    def enter(self) -> list[str]:
        return _enter_net(self._pid)


class Space(Net):
    """A network namespace of its own; see the module."""

    def __init__(self) -> None:
        hold = "ip link set lo up && echo up && exec sleep infinity"
        self._process = subprocess.Popen(
            [*DIES_WITH_US, str(os.getpid()), "unshare", "--net", "--", "sh", "-c", hold],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={"PATH": parts.SBIN},
        )
        super().__init__(self._process.pid)
        self._ways: list[subprocess.Popen[bytes]] = []
        self._plugs: list[tuple[Place, str]] = []
        assert self._process.stdout is not None
        with self._process.stdout as said:
            if not said.readline():
                raise RuntimeError("no network namespace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """All is gone; may be called twice."""
        self.unplug()
        for process in (*self._ways, self._process):
            process.kill()
            process.wait()

    def add_bridge(self, name: str) -> None:
        """A bridge that is up."""
        self.ip_batch(f"link add {name} {_BRIDGE}", f"link set {name} up")

    def plug(self, at: Place, bridge: str, *, mac: str = "", device: str = "eth0") -> None:
        """A cable from `device` here to a bridge of a place."""
        far = f"nl{secrets.token_hex(5)}"
        address = f"address {mac} " if mac else ""
        self.ip_batch(
            f"link add {device} {address}type veth peer name {far} netns {at.net_pid}",
            f"link set {device} up",
        )
        self._plugs.append((at, far))
        at.ip_batch(f"link set {far} master {bridge} up")

    def unplug(self) -> None:
        """No cables any more; the kernel would do so too, but later."""
        for at, far in self._plugs:
            if at.net_pid:  # not of a host that is down
                enter = " ".join(_enter_net(at.net_pid))
                HERE.run(f"{enter} ip link del {far}")
        self._plugs.clear()

    def way_in(self, port: int) -> int:
        """A port of this machine's 127.0.0.1 whose TCP connections come out at `port` there."""
        here = free_port()
        inner = f"{' '.join(self.enter())} socat STDIO TCP:{_LOOPBACK}:{port}"
        listen = f"TCP-LISTEN:{here},bind={_LOOPBACK},fork,reuseaddr,backlog=16"
        self._ways.append(
            subprocess.Popen(
                [*DIES_WITH_US, str(os.getpid()), "socat", listen, f'EXEC:"{inner}"'],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": parts.SBIN},
            )
        )
        await_listener(here, self._ways[-1])
        return here


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, by TCP or UDP."""
    while True:
        port = random.choice(_PORTS)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(type=kind) as probe:
                    probe.bind((_LOOPBACK, port))
        except OSError:
            continue
        return port


def _enter_net(pid: int) -> list[str]:
    return [] if pid == os.getpid() else ["nsenter", f"--net=/proc/{pid}/ns/net", "--"]


def await_listener(port: int, process: subprocess.Popen[bytes]) -> None:
    wanted = f"0100007F:{port:04X}"
    while process.poll() is None:
        lines = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        if any(line.split()[1] == wanted for line in lines):
            return
        time.sleep(0.005)
    raise RuntimeError(f"nothing listens on port {port}")
