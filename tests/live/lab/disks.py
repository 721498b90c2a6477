"""What stands on a host's disk before its first boot, and what changed on it since."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.live.lab.wiring import Wiring

# Present on the workstation, absent on a host. Folders of the second group exist, but are empty.
_ABSENT = ("etc/qemu-ifup*", "etc/qemu-ifdown*", "var/lib/tashi", "srv/shared", "etc/tashi")
_EMPTY = ("root", "home", "var/log", "var/tmp", "etc/ssh", "etc/sudoers.d", "etc/cron.d")
_VOLATILE = ("var/log", "var/run", "var/lib/sudo", "run/utmp")
_USERS = {"ops": 6001, "noroot": 6002}

_SSHD_CONFIG = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
UsePAM no
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
Subsystem sftp /usr/lib/openssh/sftp-server
"""
_INITTAB = """\
::sysinit:/etc/lab/rc
::respawn:/etc/lab/sshd
"""
_SSHD_SCRIPT = """\
#!/bin/sh
while [ -e /run/lab-no-sshd ]; do sleep 0.05; done
exec /usr/sbin/sshd -D -E /var/log/sshd.log
"""
_RC = """\
#!/bin/sh
ip link set lo up
for i in $(seq 500); do
  [ -e /sys/class/net/mgmt0 ] && [ -e /sys/class/net/trunk0 ] && break
  sleep 0.01
done
ip -batch - <<LINKS
addr add {address}/24 dev mgmt0
link set mgmt0 up
link add vmbr type bridge stp_state 0 forward_delay 0
link set trunk0 master vmbr up
link set vmbr up
LINKS
"""


def furnish(wiring: Wiring, number: int, host_key: Path) -> None:
    """Writes a host's upper layer: users, keys, sshd, network; hides what is the workstation's."""
    upper = wiring.visible(wiring.disk(number) / "upper")
    name = f"h{number}"
    for pattern in _ABSENT:
        for lower in Path("/").glob(pattern):
            _hide(upper, lower)
    for place in _EMPTY:
        folder = _folder(upper, place)
        os.setxattr(folder, "trusted.overlay.opaque", b"y")
    _write(upper, "etc/hostname", f"{name}\n")
    _write(upper, "etc/hosts", f"127.0.0.1 localhost\n{wiring.address(number)} {name}\n")
    _write(upper, "etc/machine-id", hashlib.md5(f"{wiring.lab_id}{name}".encode()).hexdigest())
    _write_users(upper, wiring.client_key.with_suffix(".pub").read_text(encoding="utf-8"))
    _write(upper, "etc/ssh/sshd_config", _SSHD_CONFIG)
    _write(upper, "etc/ssh/ssh_host_ed25519_key", host_key.read_text(encoding="utf-8"), 0o600)
    _write(upper, "etc/inittab", _INITTAB)
    _write(upper, "etc/lab/sshd", _SSHD_SCRIPT, 0o755)
    _write(upper, "etc/lab/rc", _RC.format(address=wiring.address(number)), 0o755)


def _write_users(upper: Path, public_key: str) -> None:
    passwd = _lines("/etc/passwd")
    shadow = ["root:*:19000:0:99999:7:::"]
    shadow += [line for line in _lines("/etc/shadow") if not line.startswith("root:")]
    group = _lines("/etc/group")
    for name, uid in _USERS.items():
        passwd.append(f"{name}:x:{uid}:{uid}::/home/{name}:/bin/bash")
        shadow.append(f"{name}:*:19000:0:99999:7:::")
        group.append(f"{name}:x:{uid}:")
    _write(upper, "etc/passwd", "".join(f"{line}\n" for line in passwd))
    _write(upper, "etc/group", "".join(f"{line}\n" for line in group))
    _write(upper, "etc/shadow", "".join(f"{line}\n" for line in shadow), 0o600)
    _write(upper, "etc/sudoers.d/lab", "ops ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    for name, uid in {"root": 0, **_USERS}.items():
        home = "root" if uid == 0 else f"home/{name}"
        _write(upper, f"{home}/.ssh/authorized_keys", public_key, 0o600)
        # Blank, so that no login runs what the workstation's shell set-up does.
        for rc in (".bashrc", ".profile", ".bash_profile"):
            _write(upper, f"{home}/{rc}", "")
        (upper / home / ".ssh").chmod(0o700)
        (upper / home).chmod(0o700)
        for path in (upper / home, *(upper / home).rglob("*")):
            os.chown(path, uid, uid)


def _lines(path: str) -> list[str]:
    names = tuple(f"{name}:" for name in _USERS)
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith(names)]


def _folder(upper: Path, place: str) -> Path:
    """A folder of the upper layer, with the mode that the same folder has on this machine."""
    current = Path()
    for part in Path(place).parts:
        current /= part
        if not (upper / current).exists():
            (upper / current).mkdir()
            lower = Path("/") / current
            (upper / current).chmod(lower.stat().st_mode & 0o7777 if lower.is_dir() else 0o755)
    return upper / place


def _write(upper: Path, place: str, text: str, mode: int = 0o644) -> None:
    path = _folder(upper, str(Path(place).parent)) / Path(place).name
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _hide(upper: Path, lower: Path) -> None:
    """An overlay whiteout: the lower file does not exist on the host."""
    place = lower.relative_to("/")
    _folder(upper, str(place.parent))
    os.mknod(upper / place, stat.S_IFCHR, os.makedev(0, 0))


def snapshot(layers: dict[str, Path]) -> dict[str, tuple[int, str]]:
    """Path on the host -> (bytes, sha256) of all that the layers hold, volatile logs left out.

    `layers` maps a prefix on the host ("/" for the overlay's upper layer) to where it can be read.
    A folder counts as (0, "folder"), a removed file as (0, "removed"), a link as its target.
    """
    found: dict[str, tuple[int, str]] = {}
    for prefix, top in layers.items():
        if prefix != "/" and top.is_dir():
            found[prefix] = (0, "folder")
        for path in _walk(top):
            place = os.path.normpath(f"{prefix}/{path.relative_to(top)}").lstrip("/")
            if not any(place == bad or place.startswith(f"{bad}/") for bad in _VOLATILE):
                found[f"/{place}"] = _content(path)
    return found


def _walk(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            yield Path(folder) / name


def _content(path: Path) -> tuple[int, str]:
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        return 0, "folder"
    if stat.S_ISLNK(status.st_mode):
        return 0, f"link to {path.readlink()}"
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return 0, "removed"
    if not stat.S_ISREG(status.st_mode):
        return 0, f"special {stat.filemode(status.st_mode)[0]}"
    with path.open("rb") as handle:
        return status.st_size, hashlib.file_digest(handle, "sha256").hexdigest()
