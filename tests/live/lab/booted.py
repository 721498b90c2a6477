"""A lab host that is a whole machine: a Debian with systemd of its own, booted by QEMU (TCG).

It boots in 20 to 30 s. Unless its `station` says otherwise it has one bridge, `vmbr`, and is
reached through a port of 127.0.0.1 that QEMU forwards to its sshd. Users: root, ops (may sudo
without a password), noroot (may not); one key opens all of them. logind ends what a login leaves
behind (KillUserProcesses=yes).
"""

import base64
import contextlib
import io
import os
import secrets
import socket
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.live.lab import booted_image
from tests.live.lab.booted_image import USERS, Image
from tests.live.lab.eye import EYE, Eye, Monitor
from tests.live.lab.host import fingerprint, make_key, public_key
from tests.live.lab.station import Link, Station, forwarded

BOOT_TIMEOUT_S = 400.0
_OFF_TIMEOUT_S = 300.0
_ASK_TIMEOUT_S = 60.0
# A busy machine loses timer ticks: without no_timer_check a kernel may then refuse to boot.
COMMAND_LINE = (
    "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off fsck.mode=skip quiet "
    "no_timer_check init=/sbin/lab-init"
)
# While it boots and while it goes down, nobody but root may log in.
_BOOT_ID = "while [ -e /run/nologin ]; do sleep 0.2; done; cat /proc/sys/kernel/random/boot_id"

# An owner that died before the wish was uttered is noticed by its absence: $0 is who it was.
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"']


class Booted:
    """`with Booted(folder) as host:` is a host that answers; keys and logs lie in `folder`.

    Its disk is an overlay that outlives reboots and power cuts, not `close`: it is a file without a
    name. QEMU dies with the thread that started it, so nothing is left when that is killed.
    `drives` are more (read-only, raw) disks, from /dev/vdc on; cloud-init sleeps unless
    `cloud_init`; `size` is its memory in MiB and its cores.
    """

    def __init__(
        self,
        directory: Path,
        *,
        image: Image | None = None,
        drives: Sequence[Path] = (),
        cloud_init: bool = False,
        size: tuple[int, int] = (1024, 2),
        station: Station | None = None,
    ) -> None:
        self.directory = directory
        self.key = directory / "id_ed25519"
        self.station = station or forwarded()
        self.name = self.station.name
        self.address = self.station.address
        self.port = self.station.port
        self._image = image or booted_image.build()
        self._drives = tuple(drives)
        self._command_line = COMMAND_LINE + ("" if cloud_init else " cloud-init=disabled")
        self._size = size
        self._host_key = directory / "host_key"
        self._qemu: subprocess.Popen[bytes] | None = None
        self._eye, self._monitor = Eye(), Monitor()
        self._make_keys()
        self._write_known_hosts()
        self._write_seed()
        self._disk = self._new_disk()

    def __enter__(self) -> Self:
        try:
            self.start()
            self.await_ssh()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # names and keys

    @property
    def host_key_fingerprint(self) -> str:
        """The host key's fingerprint as `SHA256:…`."""
        return fingerprint(public_key(self._host_key))

    @property
    def ssh_argv(self) -> list[str]:
        """Start of a command line of the system's ssh; append `user@address` and a command."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(self.key),
            # A host that is gone says no goodbye where it has an address of its own.
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "12",
            "UserKnownHostsFile": str(self.directory / "known_hosts"),
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-p", str(self.port), *flags]

    # power

    @property
    def up(self) -> bool:
        """The machine is switched on."""
        return self._qemu is not None and self._qemu.poll() is None

    @property
    def pid(self) -> int:
        """Its QEMU; raises RuntimeError when it is off."""
        if self._qemu is None or not self.up:
            raise RuntimeError(f"{self.name} is off: {self.serial_log()[-1000:]}")
        return self._qemu.pid

    def start(self) -> None:
        """Switches it on; see await_ssh."""
        if self.up:
            raise RuntimeError(f"{self.name} is on")
        for old in (self._eye, self._monitor):
            old.close()
        self._eye, self._monitor = lines = Eye(), Monitor()
        with (self.directory / "qemu.log").open("ab") as log:
            self._qemu = subprocess.Popen(
                [*DIES_WITH_US, str(os.getpid()), *self._argv()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._disk, *(line.theirs.fileno() for line in lines)),
            )
        for line in lines:
            line.handed_over()

    def await_ssh(self, timeout_s: float = BOOT_TIMEOUT_S, but: str = "") -> str:
        """Its boot id, as soon as all may log in and it is not `but`; TimeoutError otherwise."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            _ = self.pid  # raises when QEMU has ended
            if self._greets():
                found = self._ask_boot_id()
                if found not in ("", but):
                    return found
            time.sleep(0.2)
        raise TimeoutError(f"{self.name}: no SSH within {timeout_s} s: {self.serial_log()[-2000:]}")

    def await_greeting(self, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Returns when sshd greets; enough for a host of which the boot is over."""
        deadline_s = time.monotonic() + timeout_s
        while not self._greets():
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{self.name}: no SSH within {timeout_s} s")

    def reboot(self) -> None:
        """An orderly reboot by systemd; returns when it answers again."""
        before = self.await_ssh()
        self.run("systemctl reboot")
        self.await_ssh(but=before)

    def power_cut(self) -> None:
        """The power is gone at once; what it had written is still on its disk."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()

    def switch_off(self) -> None:
        """The power is gone, but QEMU writes down all that it knows, as of `remember`."""
        with contextlib.suppress(EOFError, ConnectionError):
            self._monitor.human("quit")
        if self._qemu is not None:
            self._qemu.wait(_OFF_TIMEOUT_S)

    def poweroff(self) -> None:
        """An orderly shutdown by systemd; returns when it is off."""
        self.run("systemctl poweroff")
        assert self._qemu is not None
        self._qemu.wait(_OFF_TIMEOUT_S)

    def close(self) -> None:
        """Off, and its disk is gone; may be called twice."""
        self.power_cut()
        for line in (self._eye, self._monitor):
            line.close()
        if self._disk >= 0:
            os.close(self._disk)
            self._disk = -1

    def remember(self, name: str = "remembered") -> None:
        """Keeps all of its present state, memory and disk, for `recall`; takes some seconds."""
        self._monitor.human(f"savevm {name}")

    def recall(self, name: str = "remembered") -> None:
        """All is as it was at `remember`, but for the clock, which is set anew; 2 to 5 s.

        A host that is off is switched on. Connections to it are dead.
        """
        # By a new QEMU: in one that goes on, the time stamp counter does not go back, and all that
        # the host waits for would be over at once.
        if self.up:
            self.switch_off()
        self.start()
        self._monitor.human(f"loadvm {name}")
        self.look(f"date -u -s @{time.time():.3f}")

    # cables

    def pull_cable(self, card: int = 0) -> None:
        """Pulls the cable of eth<card>, which sees it, until `plug_cable`."""
        self._monitor.human(f"set_link n{card} off")

    def plug_cable(self, card: int = 0) -> None:
        """Ends `pull_cable`."""
        self._monitor.human(f"set_link n{card} on")

    # inside

    def run(
        self, command: str, *, user: str = "root", timeout_s: float = 180.0, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Runs shell text on the host over SSH; raises RuntimeError if `check` and it failed."""
        done = subprocess.run(
            [*self.ssh_argv, f"{user}@{self.address}", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {command}: rc {done.returncode}: {done.stderr}")
        return done

    def look(self, command: str, *, timeout_s: float = 180.0, check: bool = True) -> str:
        """Runs shell text as root without any network; gives its output, standard error in it.

        Works while it cannot be reached, and waits for a host that boots. Raises RuntimeError if
        `check` and it failed.
        """
        done = self._eye.run(command, timeout_s)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {command}: rc {done.returncode}: {done.stdout}")
        return done.stdout

    def boot_id(self) -> str:
        """Of its present boot; needs no network."""
        return self.look("cat /proc/sys/kernel/random/boot_id").strip()

    def write(self, files: Mapping[str, str]) -> None:
        """Writes files (path without the first / -> text, or a Link) without any network."""
        for place, text in files.items():
            self.look(f"mkdir -p /{Path(place).parent}")
            if isinstance(text, Link):
                self.look(f"ln -sfn {text} /{place}")
            else:
                encoded = base64.b64encode(text.encode()).decode()
                self.look(f"echo {encoded} | base64 -d >/{place}.new && mv /{place}.new /{place}")

    def serial_log(self) -> str:
        """What it wrote on its console since it was made."""
        path = self.directory / "serial.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # helpers

    def _argv(self) -> list[str]:
        memory_mib, cores = self._size
        image = self._image
        file = "file.driver=file,file.filename"
        disks = [f"qcow2,{file}=/proc/self/fd/{self._disk},cache.no-flush=on"]
        more = (self.directory / "seed.tar", *self._drives)
        disks += [f"raw,read-only=on,{file}={path}" for path in more]
        argv = ["qemu-system-x86_64", "-machine", "pc", "-accel", "tcg,thread=multi,tb-size=256"]
        argv += ["-smp", str(cores), "-m", str(memory_mib)]
        argv += ["-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
        argv += ["-append", self._command_line]
        for number, disk in enumerate(disks):
            argv += ["-blockdev", f"driver={disk.replace(',', f',node-name=d{number},', 1)}"]
            argv += ["-device", f"virtio-blk-pci,drive=d{number}"]
        for number, card in enumerate(self.station.cards):
            argv += card.argv(number)
        argv += ["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
        argv += ["-chardev", f"socket,id=eye,fd={self._eye.theirs.fileno()}"]
        argv += ["-device", f"virtserialport,chardev=eye,name={EYE}"]
        argv += ["-chardev", f"socket,id=monitor,fd={self._monitor.theirs.fileno()}"]
        argv += ["-mon", "chardev=monitor,mode=control"]
        serial = f"file,id=s0,path={self.directory}/serial.log,append=on"
        return [*argv, "-chardev", serial, "-serial", "chardev:s0"]

    def _make_keys(self) -> None:
        for path in (self.key, self._host_key):
            make_key(path)

    def _new_disk(self) -> int:
        """An overlay that has no name any more; its descriptor."""
        path = self.directory / "disk.qcow2"
        base = ("-F", "raw", "-b", str(self._image.disk))
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", *base, str(path)]
        subprocess.run(argv, check=True, capture_output=True)
        return self._unnamed(path)

    @staticmethod
    def _unnamed(path: Path) -> int:
        disk = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        path.unlink()
        return disk

    def _write_seed(self) -> None:
        """What this host alone has, as a tar that it reads from its second disk."""
        own = self._host_key.read_text(encoding="utf-8")
        allowed = public_key(self.key) + "\n"
        texts = {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": f"127.0.0.1 localhost {self.name}\n",
            # Addresses of bridges and names for DHCP come from it: it must not be the image's.
            "etc/machine-id": f"{secrets.token_hex(16)}\n",
            **self.station.files,
        }
        with tarfile.open(self.directory / "seed.tar", "w") as tar:
            for place, text in texts.items():
                _add(tar, place, text, 0, 0o644)
            _add(tar, "etc/ssh/ssh_host_ed25519_key", own, 0, 0o600)
            for name, number in {"root": 0, **USERS}.items():
                home = "root" if number == 0 else f"home/{name}"
                _add(tar, f"{home}/.ssh", None, number, 0o700)
                _add(tar, f"{home}/.ssh/authorized_keys", allowed, number, 0o600)

    def _write_known_hosts(self) -> None:
        where = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        line = f"{where} {public_key(self._host_key)}\n"
        (self.directory / "known_hosts").write_text(line, encoding="utf-8")

    def _ask_boot_id(self) -> str:
        """By SSH; empty while nobody may log in, and from a host that went down meanwhile."""
        try:
            return self.run(_BOOT_ID, timeout_s=_ASK_TIMEOUT_S).stdout.strip()
        except subprocess.TimeoutExpired:
            return ""

    def _greets(self) -> bool:
        # QEMU accepts before the host does: only a greeting proves that sshd is there.
        try:
            with socket.create_connection((self.address, self.port), timeout=5) as connection:
                connection.settimeout(5)
                return connection.recv(8).startswith(b"SSH-")
        except OSError:
            return False


def _add(tar: tarfile.TarFile, place: str, text: str | None, owner: int, mode: int) -> None:
    entry = tarfile.TarInfo(place)
    entry.uid = entry.gid = owner
    entry.mode = mode
    if text is None or isinstance(text, Link):
        entry.type = tarfile.DIRTYPE if text is None else tarfile.SYMTYPE
        entry.linkname = text or ""
        tar.addfile(entry)
        return
    data = text.encode()
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
