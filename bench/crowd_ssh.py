"""A crowd of hosts on loopback addresses, each with sshd, key login and a canned answer.

Sixteen addresses share an sshd (it takes no more); nothing listens outside 127.0.0.0/8. All hosts
are one machine, so what a real host does at its own cost would be counted as the controller's wall
time: a script that `Answers` knows is answered from a file, after as long as it takes on a real
host, and `true` through the same few processes. Whatever else arrives is run.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tashictl.model.host import HostConfig
from tests.live.sshd import children, make_key

_PER_SSHD = 16  # sshd's MAX_LISTEN_SOCKS
_CONFIG = """
Port {port}
{listen}
HostKey {folder}/host
AuthorizedKeysFile {folder}/login.pub
StrictModes no
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 1000
LogLevel ERROR
SetEnv HOME={folder}
Subsystem sftp internal-sftp
ForceCommand {folder}/answer
"""

# The same processes for the floor and for a known script: cat, date, sleep, sed.
_ANSWER = """#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
  "exec timeout "*" /bin/sh -s") ;;
  *) exec /bin/sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
set -- $SSH_CONNECTION
s=$(cat)
nl='
'
case $s in
  true) f=/dev/null w=0 n=0 ;;
  *"{mark}"*) [ -s {folder}/answers/"$3" ] || exec /bin/sh -c "$s"
    f={folder}/answers/$3; w={wait_s}; n=${{s#*"$nl"N=}}; n=${{n%%"$nl"*}} ;;
  *) exec /bin/sh -c "$s" ;;
esac
now=$(date +%s)
sleep "$w"
exec sed "s/@NONCE@/$n/;s/@NOW@/$now/" "$f"
"""


class Answers(Struct, frozen=True, kw_only=True):
    """How a script is known (`mark`, a word without quotes) and how long a host works on it.

    The answer itself lies in a file per address, where ``@NONCE@`` and ``@NOW@`` (seconds since
    1970) stand for what a real host would put there.
    """

    mark: str
    wait_s: float


class Crowd:
    """Running sshds for `count` hosts, which are named n1, n2 …; their answers can be put later."""

    def __init__(self, folder: Path, count: int, answers: Answers) -> None:
        self.folder = folder
        self._sshds: list[subprocess.Popen[bytes]] = []
        Path("/run/sshd").mkdir(exist_ok=True)
        (folder / "answers").mkdir(parents=True)
        self._identity = make_key(folder / "login")
        make_key(folder / "host")
        script = folder / "answer"
        quoted = shlex.quote(str(folder))
        script.write_text(
            _ANSWER.format(mark=answers.mark, wait_s=f"{answers.wait_s:.3f}", folder=quoted)
        )
        script.chmod(0o755)
        self.hosts = self._listed(count)

    @property
    def known_hosts(self) -> str:
        """The lines that make the crowd trusted."""
        key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        return "".join(f"{host.name} {key}\n" for host in self.hosts)

    def answer(self, host: HostConfig, text: bytes) -> None:
        """What a host is to answer from now on."""
        (self.folder / "answers" / host.address).write_bytes(text)

    def start(self) -> None:
        """Start the sshds and wait until each greets; raises RuntimeError with what they said."""
        for begin in range(0, len(self.hosts), _PER_SSHD):
            self._start(begin, self.hosts[begin : begin + _PER_SSHD])
        for host in self.hosts[_PER_SSHD - 1 :: _PER_SSHD] or self.hosts[-1:]:
            self._await(host)
        self._await(self.hosts[-1])

    def stop(self) -> None:
        """End the sshds and what they serve."""
        for sshd in self._sshds:
            for child in children(sshd.pid):
                with contextlib.suppress(OSError):
                    os.kill(child, signal.SIGTERM)
            sshd.kill()
            sshd.wait()

    def _listed(self, count: int) -> tuple[HostConfig, ...]:
        with socket.create_server(("127.77.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        return tuple(
            HostConfig(
                name=f"n{number + 1}",
                address=f"127.77.{number // 250}.{number % 250 + 1}",
                user=getpass.getuser(),
                port=port,
                identity_file=str(self._identity),
            )
            for number in range(count)
        )

    def _start(self, begin: int, hosts: Sequence[HostConfig]) -> None:
        listen = "\n".join(f"ListenAddress {host.address}" for host in hosts)
        config = self.folder / f"config.{begin}"
        config.write_text(_CONFIG.format(port=hosts[0].port, listen=listen, folder=self.folder))
        with (self.folder / "log").open("ab") as log:
            argv = ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
            self._sshds.append(subprocess.Popen(argv, stderr=log))

    def _await(self, host: HostConfig) -> None:
        for _ in range(200):
            with (
                contextlib.suppress(OSError),
                socket.create_connection((host.address, host.port), 5) as line,
            ):
                if line.recv(1):
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())


@contextlib.contextmanager
def crowd(folder: Path, count: int, answers: Answers) -> Iterator[Crowd]:
    """A crowd that is there for a block, below `folder`."""
    made = Crowd(folder, count, answers)
    try:
        made.start()
        yield made
    finally:
        made.stop()
