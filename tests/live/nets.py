"""Hosts whose network is changed back and forth, and what must be left of a change: nothing."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.live.lab import cluster as clusters
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

WINDOW_S = 20  # the shortest that net apply takes
# Going back itself, on a machine that does much else besides.
PATIENCE_S = 120.0
APPLY = ("net", "apply", "-y", "--settle", "1", "--revert-after")

# What the kernel has and what lies under /etc, without what comes and goes by itself.
_PICTURE = r"""
for d in /sys/class/net/*; do n=${d##*/}; m=$(readlink $d/master)
  echo "$n $(cat $d/mtu) ${m##*/} $(($(cat $d/flags) & 1))"; done
ip -4 -o addr | awk '{print $2, $4}'
ip -4 route | sed 's/ linkdown//'
ip -6 route show default
"""
_FILES = r"""
find /etc/network /etc/systemd/network /etc/qemu-if* -type f ! -name '*.tashi-new' 2>/dev/null \
  | sort | while read -r f; do echo "$(stat -c %a "$f") $f"; cat "$f"; done
"""
_LEFT = r"""
ls -d /run/tashi/net/pending /run/tashi/net/.new 2>/dev/null
find /etc -name '*.tashi-new' 2>/dev/null
for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline | grep '^sh .*/net/[a-z]*/[a-z]*[.]sh'
done 2>/dev/null  # of a process that ends meanwhile
# A unit that has ended keeps its name for as long as a DHCP client lives that it has started.
! [ -d /run/systemd/system ] || systemctl list-units --all --plain --no-legend 'tashi-net-*' \
  | awk '!($3 == "inactive" && $4 == "dead")'
"""


class Shell(Protocol):
    """A host as somebody at its console sees it."""

    def __call__(self, command: str) -> str:
        """Runs shell text as root; gives what it printed."""


def state(shell: Shell) -> str:
    """Links, addresses, routes and files of a host, to be compared with."""
    return shell(_PICTURE + _FILES)


def left(shell: Shell) -> str:
    """What there is still of a change in flight."""
    return shell(_LEFT).strip()


def until(condition: Callable[[], object], patience_s: float = PATIENCE_S) -> bool:
    """Whether it holds in time."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.3)
    return True


def pending(tashictl: Tashictl, host: str) -> dict[str, Any]:
    """What `net list --pending` tells of a host; empty when it tells nothing."""
    found = tashictl.run("net", "list", "--pending", host, "-o", "json").json()
    return dict(found[0]) if found else {}


class Site:
    """One host of a lab with a cluster of its own; its network `lan` moves between two bridges."""

    def __init__(self, lab: Lab, host: Host, folder: Path, argv: Sequence[str]) -> None:
        self.host = host
        home = folder / f"home-{host.name}"
        home.mkdir()
        self.tashictl = Tashictl(argv, folder / host.name, home)
        self.tashictl.run("init", str(self.tashictl.cluster))
        self._inventory = clusters.write_inventory(self.tashictl.cluster, lab)
        clusters.add_host(self.tashictl, host)
        self.text = self._inventory.read_text(encoding="utf-8")
        self.bridge = "vmbr"

    def shell(self, command: str) -> str:
        """On the host, without SSH."""
        return self.host.run(command, timeout_s=60).stdout

    def want(self, bridge: str) -> None:
        """The network `lan` is to be on this bridge."""
        self.bridge = bridge
        text = self.text.replace("bridge: vmbr", f"bridge: {bridge}")
        self._inventory.write_text(text, encoding="utf-8")

    def add(self, network: str) -> None:
        """One more network, a line of YAML, until `want` is called."""
        with self._inventory.open("a", encoding="utf-8") as inventory:
            inventory.write(network)

    def turn(self) -> None:
        """The network is to be on the other bridge than now."""
        self.want("vmb2" if self.bridge != "vmb2" else "vmb1")

    def apply(self, *more: str, env: dict[str, str] | None = None, window_s: int = 20) -> Result:
        """`net apply`."""
        argv = (*APPLY, str(window_s), self.host.name, *more)
        return self.tashictl.run(*argv, check=False, env=env)

    def differs(self) -> int:
        """The exit code of `net diff`: 0, or 9 where it does."""
        return self.tashictl.run("net", "diff", self.host.name, check=False).rc

    def pending(self) -> dict[str, Any]:
        """See `pending`."""
        return pending(self.tashictl, self.host.name)

    def settle(self) -> None:
        """Begins anew: nothing in flight, the host as its inventory says."""
        if self.pending().get("active"):
            self.tashictl.run("net", "rollback", self.host.name, check=False)
        assert until(lambda: not left(self.shell)), left(self.shell)
        done = self.apply()
        assert done.rc == 0, str(done)
        assert until(lambda: not left(self.shell)), left(self.shell)
