"""A Debian 12 with systemd as a bootable disk: built once a month by debootstrap, then cached.

Kept in the cache beside the disk: its kernel and initrd, and the root folder it was made from (for
a look into the packages by chroot; nobody may write there).
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tashictl.adapters.demo import parts
from tests.live.lab import guest, needs

SUITE = "bookworm"
DISK_BYTES = 4 << 30  # sparse
PACKAGES = (
    *("systemd-sysv", "dbus", "libpam-systemd", "udev", "openssh-server", "sudo"),
    *("ifupdown", "iproute2", "bridge-utils", "isc-dhcp-client", "procps", "util-linux"),
    *("vlan", "net-tools", "iputils-ping", "iputils-arping", "dnsmasq-base", "socat", "tcpdump"),
    *("qemu-system-x86", "qemu-utils", "linux-image-cloud-amd64", "cloud-init"),
    "python3-cffi-backend",  # which cloud-init wants by other names, that debootstrap cannot solve
)
TOOLS = {
    "debootstrap": "debootstrap",
    "mke2fs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "unshare": "util-linux",
}
# Users and their ids; `ops` may sudo without a password, `noroot` may not.
USERS = {"ops": 6001, "noroot": 6002}
_UNUSED_DAYS = 45
_SUPERFLUOUS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale")
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer"),
    *("e2scrub_all.timer", "e2scrub_reap.service", "getty@tty1.service"),
    "ifupdown-pre.service",  # waits 5 s and more for devices, of which the kernel has all
)

_FILES = {
    # What is of one host only (keys, name, networks) comes on a second disk, as a tar: once, before
    # systemd looks at anything, so that what is changed later is kept over a reboot.
    "sbin/lab-init": """\
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ ! -e /etc/.lab-seeded ]; then
  tar -x --no-overwrite-dir -f /dev/vdb -C / && sync && : >/etc/.lab-seeded
  sync
fi
exec /sbin/init "$@"
""",
    "etc/systemd/logind.conf.d/lab.conf": "[Login]\nKillUserProcesses=yes\nUserStopDelaySec=0\n",
    "etc/ssh/sshd_config.d/lab.conf": """\
HostKey /etc/ssh/ssh_host_ed25519_key
UseDNS no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
""",
    "etc/network/interfaces": """\
auto lo
iface lo inet loopback
auto eth0
iface eth0 inet static
  address 10.0.2.15/24
  gateway 10.0.2.2
auto vmbr
iface vmbr inet manual
  bridge_ports none
  bridge_stp off
  bridge_fd 0
""",
    # See eye.py: a shell on a line that is no network.
    "sbin/lab-eye": """\
#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec 3<>/dev/virtio-ports/lab.eye
while read -r number line <&3; do
  text=$(printf %s "$line" | base64 -d)
  answer=$(sh -c "$text" </dev/null 2>&1 3>&-; printf '\\n%s' "$?")
  printf '%s %s\\n' "$number" "$(printf %s "$answer" | base64 -w0)" >&3
done
""",
    "etc/systemd/system/lab-eye.service": """\
[Unit]
Description=The lab looks in
StartLimitIntervalSec=0
[Service]
ExecStart=/sbin/lab-eye
Restart=always
RestartSec=1
KillMode=process
[Install]
WantedBy=multi-user.target
""",
}


@dataclass(frozen=True, slots=True)
class Image:
    """What was built, all in one folder of the cache."""

    folder: Path

    @property
    def disk(self) -> Path:
        """A raw ext4 without a partition table: the base of overlays, never written."""
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        """The kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The initial file system."""
        return self.folder / "initrd.img"

    @property
    def root(self) -> Path:
        """The root folder, to be read only."""
        return self.folder / "root"


def missing() -> list[tuple[str, str]]:
    """Pairs (part, Debian package or empty) that building and booting lack."""
    lacking = [(tool, package) for tool, package in TOOLS.items() if parts.which(tool) is None]
    return lacking if os.geteuid() == 0 else [("root", ""), *lacking]


def build(cache_dir: Path | None = None) -> Image:
    """The image, built (in 1 to 2 minutes) unless the cache has one of this recipe and month.

    A second builder waits for the first one. What a killed builder left is removed by the next.
    Raises needs.MissingPartError with all that is missing.
    """
    cache = cache_dir or guest.default_cache()
    needs.require(missing())
    cache.mkdir(parents=True, exist_ok=True)
    final = cache / f"booted-{_digest()}"
    with _alone(cache):
        if not final.exists():
            for old in cache.glob("booted-*"):
                if old.name.startswith("booted-build-") or _is_old(old):
                    shutil.rmtree(old, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix="booted-build-", dir=cache))
            try:
                _build_into(work)
                work.chmod(0o755)
                work.rename(final)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        os.utime(final)
    return Image(final)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    with (cache / "booted.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_old(folder: Path) -> bool:
    return folder.stat().st_mtime < time.time() - _UNUSED_DAYS * 86400


def _digest() -> str:
    digest = hashlib.sha256(time.strftime("%Y-%m", time.gmtime()).encode())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()[:16]


def _build_into(work: Path) -> None:
    root = work / "root"
    # In namespaces of their own: its mounts and processes go when it or we go.
    spaces = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"]
    spaces += ["--kill-child=KILL", "--propagation", "private", "--"]
    include = f"--include={','.join(PACKAGES)}"
    _tool(*spaces, "debootstrap", "--variant=minbase", include, SUITE, root, *_mirror())
    _furnish(root)
    for name, place in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        shutil.copyfile(next((root / "boot").glob(place)), work / name)
    disk = work / "disk.raw"
    with disk.open("wb") as handle:
        handle.truncate(DISK_BYTES)
    _tool("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1", "-d", root, disk)


def _mirror() -> list[str]:
    """Where this machine itself gets that suite from; empty for debootstrap's own default."""
    wanted = ("--format", "$(REPO_URI)", f"Codename: {SUITE}", "Component: main")
    try:
        asked = subprocess.run(
            ["apt-get", "indextargets", *wanted], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return asked.stdout.split()[:1]


def _furnish(root: Path) -> None:
    for place in _SUPERFLUOUS:
        shutil.rmtree(root / place)
        (root / place).mkdir()
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for place, text in _FILES.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text, encoding="utf-8")
    pam = root / "etc/pam.d/sshd"
    lines = pam.read_text(encoding="utf-8").splitlines(keepends=True)
    # Each costs a login some tenths of a second on a machine in software.
    kept = [line for line in lines if "pam_motd" not in line and "pam_mail" not in line]
    pam.write_text("".join(kept), encoding="utf-8")
    for unit in _MASKED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    for name, number in USERS.items():
        _tool("chroot", root, "useradd", "-m", "-s", "/bin/bash", "-u", number, name)
    sudo = root / "etc/sudoers.d/lab"
    sudo.write_text("ops ALL=(ALL) NOPASSWD: ALL\n", encoding="utf-8")
    sudo.chmod(0o440)
    for program in ("sbin/lab-init", "sbin/lab-eye"):
        (root / program).chmod(0o755)
    _tool("chroot", root, "systemctl", "enable", "lab-eye.service")


def _tool(*words: object) -> None:
    """Runs a tool; raises RuntimeError with its last words when it failed."""
    argv = [str(word) for word in words]
    env = {**os.environ, "PATH": parts.SBIN, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=env,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: rc {done.returncode}: {done.stdout[-2000:]}")
