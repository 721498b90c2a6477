"""One host of a lab: its names and keys, its outside eye, and the faults it can be given."""

import base64
import hashlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.live.lab import boot, disks
from tests.live.lab.wiring import Wiring

_QEMU = "/usr/bin/qemu-system-x86_64"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FAULT_TIMEOUT_S = 10.0
BROKEN_QEMU = "qemu-system-x86_64: broken by the lab"


class Host:
    """A host. Its disk outlives `kill` and `start`; /run, /tmp and all processes do not.

    Every fault stays until its counterpart is called; `heal` ends them all.
    """

    def __init__(self, wiring: Wiring, number: int) -> None:
        self.name = f"h{number}"
        self.number = number
        self.address = wiring.address(number)
        self.pid = 0
        self._wiring = wiring
        self._holder: subprocess.Popen[bytes] | None = None
        self._key_file = wiring.directory / f"h{number}_host_key"
        make_key(self._key_file)

    def furnish(self) -> None:
        """Writes the disk's first content."""
        disks.furnish(self._wiring, self.number, self._key_file)

    def adopt(self, holder: subprocess.Popen[bytes], pid: int) -> None:
        """Takes over the processes that `boot.boot` made."""
        self._holder, self.pid = holder, pid

    # names and keys

    @property
    def host_pubkey(self) -> str:
        """The host key as `ssh-ed25519 BASE64`, without a comment."""
        return public_key(self._key_file)

    @property
    def host_key_fingerprint(self) -> str:
        """The host key's fingerprint as `SHA256:…`, unpadded, as ssh-keygen prints it."""
        return fingerprint(self.host_pubkey)

    # the outside eye

    @property
    def root(self) -> Path:
        """The running host's root folder, as this process can read and write it.

        Absolute links in it lead to this machine's files: use `run` where links matter.
        """
        return Path(f"/proc/{self._live_pid()}/root")

    @property
    def up(self) -> bool:
        """The host runs."""
        return self._holder is not None and self._holder.poll() is None

    def run(
        self, command: str, *, timeout_s: float = 30.0, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs shell text as root on the host, without SSH; raises RuntimeError if `check`."""
        enter = ["nsenter", "--target", str(self._live_pid())]
        enter += ["--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        done = subprocess.run(
            [*enter, "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={"PATH": _PATH, "HOME": "/root", "LC_ALL": "C"},
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {command}: rc {done.returncode}: {done.stderr}")
        return done

    def processes(self) -> list[int]:
        """Pids, in our namespace, of the host's processes."""
        space = _link(Path(f"/proc/{self._live_pid()}/ns/pid"))
        entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [int(entry.name) for entry in entries if _link(entry / "ns/pid") == space]

    def snapshot(self) -> dict[str, tuple[int, str]]:
        """Path -> (bytes, sha256) of all that differs from a bare machine; see disks.snapshot.

        Works on a dead host too; /run/tashi and /tmp are seen only while it is up.
        """
        disk = self._wiring.visible(self._wiring.disk(self.number))
        layers = {"/": disk / "upper"}
        small = disk.with_name(f"{disk.name}-tashi")
        if small.exists():
            layers["/var/lib/tashi"] = small / "data"
        if self.up:
            layers |= {"/run/tashi": self.root / "run/tashi", "/tmp": self.root / "tmp"}
        return disks.snapshot(layers)

    # power

    def kill(self) -> None:
        """Power cut: SIGKILL to the first process, with it all others, and the cables."""
        if self._holder is None:
            return
        if self.up:
            os.kill(self.pid, signal.SIGKILL)
        self._holder.wait()
        boot.unplug(self._wiring, self.number)
        self._holder, self.pid = None, 0

    def start(self) -> None:
        """Boots a killed host from the same disk, with an empty /run and a new boot id."""
        if self.up:
            raise RuntimeError(f"{self.name} is up")
        self.kill()
        self.adopt(*boot.boot(self._wiring, [self.number])[self.number])

    def reboot(self) -> None:
        """Power cut and start."""
        self.kill()
        self.start()

    # network

    def pause_network(self) -> None:
        """Pulls the management cable: packets vanish, connections hang."""
        boot.ip_batch([f"link set {self._wiring.mgmt_link(self.number)} down"])

    def resume_network(self) -> None:
        """Plugs the management cable in again."""
        boot.ip_batch([f"link set {self._wiring.mgmt_link(self.number)} up"])

    # sshd

    def stop_sshd_silently(self) -> None:
        """sshd is frozen: the kernel still accepts connections, nobody ever speaks on them.

        Sessions that exist go on.
        """
        os.kill(self._sshd_pid(), signal.SIGSTOP)

    def resume_sshd(self) -> None:
        """Ends the silence."""
        os.kill(self._sshd_pid(), signal.SIGCONT)

    def stop_sshd(self) -> None:
        """No sshd: connections are refused; sessions that exist go on."""
        (self.root / "run/lab-no-sshd").touch()
        os.kill(self._sshd_pid(), signal.SIGKILL)
        self._await_port(open_wanted=False)

    def start_sshd(self) -> None:
        """Ends stop_sshd."""
        (self.root / "run/lab-no-sshd").unlink(missing_ok=True)
        self._await_port(open_wanted=True)

    def cut_sessions(self) -> int:
        """Kills every SSH session's sshd (not what it has started); gives how many processes."""
        listener, killed = self._sshd_pid(), 0
        for pid in self.processes():
            if pid != listener and _exe(pid) == "/usr/sbin/sshd":
                os.kill(pid, signal.SIGKILL)
                killed += 1
        return killed

    def change_host_key(self) -> None:
        """The host has a new host key; known_hosts files that were written before are stale."""
        make_key(self._key_file)
        (self.root / "etc/ssh/ssh_host_ed25519_key").write_bytes(self._key_file.read_bytes())
        os.kill(self._sshd_pid(), signal.SIGHUP)
        deadline = time.monotonic() + _FAULT_TIMEOUT_S
        while self.host_pubkey not in self._scan_key():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not show its new key")

    def refuse_key(self) -> None:
        """Nobody's key is accepted any more."""
        self.run("for f in /root/.ssh /home/*/.ssh; do mv $f/authorized_keys $f/away; done")

    def accept_key(self) -> None:
        """Ends refuse_key."""
        self.run("for f in /root/.ssh /home/*/.ssh; do mv $f/away $f/authorized_keys; done")

    # QEMU

    def remove_qemu(self) -> None:
        """No qemu-system-x86_64 on the host; those that run go on."""
        self.run(f"[ -e {_QEMU}.away ] || mv {_QEMU} {_QEMU}.away; rm -f {_QEMU}", check=True)

    def break_qemu(self) -> None:
        """qemu-system-x86_64 says BROKEN_QEMU on stderr and exits 1, whatever it is asked."""
        self.remove_qemu()
        broken = self.root / _QEMU.lstrip("/")
        broken.write_text(f"#!/bin/sh\necho '{BROKEN_QEMU}' >&2\nexit 1\n", encoding="utf-8")
        broken.chmod(0o755)

    def restore_qemu(self) -> None:
        """Ends remove_qemu and break_qemu."""
        self.run(f"[ ! -e {_QEMU}.away ] || mv -f {_QEMU}.away {_QEMU}", check=True)

    # disk

    def fill_disk(self, leave_bytes: int = 0) -> None:
        """Fills the file system of /var/lib/tashi from below: no file appears on the host."""
        filler = self._filler()
        free = os.statvfs(filler.parent)
        size = free.f_bavail * free.f_frsize - leave_bytes
        if size <= 0:
            return
        with filler.open("ab") as handle:
            start = handle.tell()
            os.posix_fallocate(handle.fileno(), start, size)

    def free_disk(self) -> None:
        """Ends fill_disk."""
        self._filler().unlink(missing_ok=True)

    # all of it

    def heal(self) -> None:
        """Ends every fault (a changed host key stays) and boots the host if it is dead."""
        self.free_disk()
        if not self.up:
            self.start()
        self.resume_network()
        self.run("rm -f /run/lab-no-sshd; kill -CONT $(cat /run/sshd.pid)")
        self.run(
            "for f in /root/.ssh /home/*/.ssh; do [ ! -e $f/away ] || "
            "mv $f/away $f/authorized_keys; done"
        )
        self.restore_qemu()
        self._await_port(open_wanted=True)

    def wipe(self) -> None:
        """Removes all of tashictl's: QEMUs, links named tashi*, folders, /etc/qemu-ifup*."""
        self.run(
            "for p in /proc/[0-9]*; do case $(readlink $p/exe) in *qemu-system*) "
            "kill -KILL ${p#/proc/};; esac; done"
        )
        self.run("for l in /sys/class/net/tashi*; do [ ! -e $l ] || ip link del ${l##*/}; done")
        self.run(
            "rm -rf /run/tashi /var/lib/tashi/* /var/lib/tashi/.[!.]* /etc/qemu-ifup*; "
            "rmdir /var/lib/tashi 2>/dev/null || true"
        )

    # helpers

    def _live_pid(self) -> int:
        if not self.up:
            raise RuntimeError(f"{self.name} is down")
        return self.pid

    def _filler(self) -> Path:
        disk = self._wiring.visible(self._wiring.disk(self.number))
        small = disk.with_name(f"{disk.name}-tashi")
        return (small if small.exists() else disk) / "filler"

    def _sshd_pid(self) -> int:
        """Pid, in our namespace, of the sshd that listens: a child of init."""
        deadline = time.monotonic() + _FAULT_TIMEOUT_S
        while time.monotonic() < deadline:
            for pid in boot.children(self._live_pid()):
                if _exe(pid) == "/usr/sbin/sshd":
                    return pid
            time.sleep(0.01)
        raise RuntimeError(f"{self.name} has no sshd")

    def _scan_key(self) -> str:
        argv = ["ssh-keyscan", "-T", "2", "-t", "ed25519", self.address]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    def _await_port(self, *, open_wanted: bool) -> None:
        deadline = time.monotonic() + _FAULT_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection((self.address, 22), timeout=1).close()
                is_open = True
            except OSError:
                is_open = False
            if is_open == open_wanted:
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self.name}: port 22 is not {'open' if open_wanted else 'closed'}")


def make_key(path: Path) -> None:
    """A new ed25519 key pair without a passphrase at `path` and `path`.pub."""
    path.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(argv, check=True, capture_output=True)


def public_key(path: Path) -> str:
    """The public half of the key at `path` as `ssh-ed25519 BASE64`, without a comment."""
    return " ".join(path.with_suffix(".pub").read_text(encoding="utf-8").split()[:2])


def fingerprint(public: str) -> str:
    """A public key's fingerprint as `SHA256:…`, unpadded, as ssh-keygen prints it."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _exe(pid: int) -> str:
    return _link(Path(f"/proc/{pid}/exe"))


def _link(path: Path) -> str:
    """Where a link leads, empty when it is gone."""
    try:
        return str(path.readlink())
    except OSError:
        return ""
