"""Lab hosts that lack what `host setup` brings: without a program, with an apt-get of our own."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.live.lab.host import Host

TOOL = "/usr/bin/qemu-img"  # of package qemu-utils
_OWN = "/usr/local/bin"
# What is not ours to put back: the copies that useradd keeps, and its counts of subordinate ids.
_KEPT_BY_USERADD = (
    *("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/gshadow"),
    *("/etc/.pwd.lock", "/etc/subuid", "/etc/subgid", "/etc/subuid-", "/etc/subgid-"),
)

# Brings what was taken away, as apt-get would; what it is asked is kept.
WORKS = f"""#!/bin/sh
echo "$*" >>/tmp/apt.log
case " $* " in *" install "*) [ ! -e {TOOL}.away ] || mv {TOOL}.away {TOOL};; esac
"""
FAILS = """#!/bin/sh
echo 'Reading package lists...'; echo 'E: the mirror is on fire' >&2; exit 100
"""
HANGS = "#!/bin/sh\necho 'Reading package lists...'\nsleep 600\n"


@contextmanager
def bare(*hosts: Host) -> Iterator[None]:
    """Hosts without `TOOL` and with an apt-get that brings it; all is as it was behind it."""
    for host in hosts:
        host.run(f"mv {TOOL} {TOOL}.away", check=True)
        program(host, "apt-get", WORKS)
    try:
        yield
    finally:
        for host in hosts:
            host.heal()
            host.wipe()
            host.run(
                f"[ ! -e {TOOL}.away ] || mv -f {TOOL}.away {TOOL}; "
                f"rm -f {_OWN}/apt-get {_OWN}/visudo /tmp/apt.log /etc/sudoers.d/tashictl "
                "/etc/modules-load.d/tashictl.conf; userdel tashi-qemu; "
                "[ ! -e /etc/sudoers.d/lab.away ] || mv /etc/sudoers.d/lab.away /etc/sudoers.d/lab"
            )


def program(host: Host, name: str, text: str) -> None:
    """A program of ours, found before the system's."""
    path = host.root / _OWN.lstrip("/") / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def asked(host: Host) -> list[str]:
    """What apt-get was asked to install."""
    log = host.root / "tmp/apt.log"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line.rpartition(" -- ")[2] for line in lines if " install " in line]


def disk(host: Host) -> dict[str, tuple[int, str]]:
    """All on the host's disk but the packages and what useradd keeps for itself."""
    left_out = (*_KEPT_BY_USERADD, "/var/lib", "/tmp/apt.log", TOOL, f"{TOOL}.away")
    return {path: what for path, what in host.snapshot().items() if path not in left_out}
