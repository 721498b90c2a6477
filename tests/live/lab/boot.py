"""Raising hosts: their namespaces, their cables, and the wait for their sshd."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tests.live.lab import traces
from tests.live.lab.wiring import Wiring

HOSTINIT = Path(__file__).parent / "hostinit.sh"
START_TIMEOUT_S = 20.0
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def boot(wiring: Wiring, numbers: Sequence[int]) -> dict[int, tuple[subprocess.Popen[bytes], int]]:
    """Raises hosts together; gives for each the process that holds it and the pid of its init.

    Raises RuntimeError, with the host's own words, when one is not up within START_TIMEOUT_S.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    holders = {number: _spawn(wiring, number) for number in numbers}
    try:
        inits = {number: _init_of(wiring, number, holders[number], deadline) for number in numbers}
        cables = [line for number in numbers for line in _cables(wiring, number, inits[number])]
        ip_batch(cables)
        for number in numbers:
            _await_sshd(wiring, number, inits[number], deadline)
    except BaseException:
        for number, holder in holders.items():
            _abandon(wiring, number, holder)
        raise
    return {number: (holders[number], inits[number]) for number in numbers}


def _abandon(wiring: Wiring, number: int, holder: subprocess.Popen[bytes]) -> None:
    for unshare in children(holder.pid):
        # It takes the host's first process with it (--kill-child).
        os.kill(unshare, signal.SIGKILL)
    holder.kill()
    holder.wait()
    unplug(wiring, number)


def ip_batch(lines: Sequence[str]) -> None:
    """Runs lines of `ip -batch`; raises RuntimeError with what ip said."""
    text = "".join(f"{line}\n" for line in lines)
    argv = ["ip", "-batch", "-"]
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip -batch: {done.stderr.strip()} in:\n{text}")


def unplug(wiring: Wiring, number: int) -> None:
    """Removes a dead host's cables: the kernel does so too, but seconds later."""
    for name in (wiring.mgmt_link(number), wiring.vm_link(number)):
        subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


def _spawn(wiring: Wiring, number: int) -> subprocess.Popen[bytes]:
    keeper = str(wiring.keeper)
    enter = ["nsenter", "--target", keeper, "--mount", "--pid", "--"]
    unshare = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--net", "--propagation", "private"]
    unshare += ["--fork", "--kill-child=KILL", "--"]
    mark = traces.mark(wiring.lab_id)
    shared = str(wiring.shared or "")
    init = ["sh", str(HOSTINIT), mark, f"h{number}", str(wiring.disk(number)), shared]
    with (wiring.directory / f"h{number}.log").open("ab") as log:
        return subprocess.Popen(
            [*enter, *unshare, *init],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={"PATH": _PATH, "HOME": "/root"},
        )


def _init_of(wiring: Wiring, number: int, holder: subprocess.Popen[bytes], deadline: float) -> int:
    """Pid, in our namespace, of the host's first process: nsenter > unshare > init."""
    while time.monotonic() < deadline and holder.poll() is None:
        for child in children(holder.pid):
            for grandchild in children(child):
                return grandchild
        time.sleep(0.002)
    raise RuntimeError(f"host h{number} did not start: {_last_words(wiring, number)}")


def children(pid: int) -> list[int]:
    """Pids of a process's children, none when it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _cables(wiring: Wiring, number: int, pid: int) -> list[str]:
    # The same addresses at each boot, as real cards have: neighbour tables remember them.
    mgmt, vm = wiring.mgmt_link(number), wiring.vm_link(number)
    mgmt_mac, vm_mac = wiring.mac(1, number), wiring.mac(2, number)
    return [
        f"link add {mgmt} type veth peer name mgmt0 address {mgmt_mac} netns {pid}",
        f"link set {mgmt} master {wiring.mgmt_bridge} up",
        f"link add {vm} type veth peer name trunk0 address {vm_mac} netns {pid}",
        f"link set {vm} master {wiring.vm_bridge} up",
    ]


def _await_sshd(wiring: Wiring, number: int, pid: int, deadline: float) -> None:
    """Returns when the host's sshd has greeted; raises RuntimeError after the deadline."""
    while time.monotonic() < deadline:
        try:
            # Not earlier: what is sent before the host's card is up is sent again 1 s later.
            if _listens(pid):
                where = (wiring.address(number), 22)
                with socket.create_connection(where, timeout=2) as connection:
                    if connection.recv(8).startswith(b"SSH-"):
                        return
        except OSError:
            pass
        time.sleep(0.005)
    raise RuntimeError(f"host h{number} has no sshd: {_last_words(wiring, number)}")


def _listens(pid: int) -> bool:
    """Something listens on port 22 in the network namespace of a process."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    listening = "0A"
    return any(line.split()[1:4:2] == ["00000000:0016", listening] for line in lines)


def _last_words(wiring: Wiring, number: int) -> str:
    log = wiring.directory / f"h{number}.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    sshd = wiring.visible(wiring.disk(number) / "upper/var/log/sshd.log")
    text += sshd.read_text(encoding="utf-8", errors="replace") if sshd.exists() else ""
    return text[-2000:].strip() or "it said nothing"
