"""Debian's own programs read what is rendered: ifquery and ifup, and networkd, in its root folder.

Nothing is booted: they run in namespaces of their own over a copy-on-write of the root, with a
veth pair for eth0. This kernel may have no VLANs; what needs them is in test_net_render.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tashictl.planning.net.files import files
from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs
from tests.planning.net.cases import LAB, SAME, TEMPLATES, applied, layout
from tests.planning.net.test_ifupdown import CASES, OVERLAY, STATIC
from tests.planning.net.test_ifupdown import OWN as INTERFACES_TEXT
from tests.planning.net.test_networkd import OWN as NETWORK_TEXT

INTERFACES = "/etc/network/interfaces"
WIRED = "/etc/systemd/network/20-wired.network"
THERE = {INTERFACES: INTERFACES_TEXT, WIRED: NETWORK_TEXT}
# In a container, which a read-only /sys tells, networkd waits for no udev.
ENTER = """\
set -e
mount -t tmpfs none "$2"; mkdir "$2/up" "$2/work" "$2/root"
mount -t overlay none -o "lowerdir=$1,upperdir=$2/up,workdir=$2/work" "$2/root"
cp -r "$3/." "$2/root/"
mount -t proc none "$2/root/proc"; mount -t sysfs -o ro none "$2/root/sys"
mount --bind /dev "$2/root/dev"; mkdir -p "$2/root/run/network" "$2/root/run/systemd/netif"
ip link set lo up; ip link add eth0 type veth peer name far; ip link set far up
exec chroot "$2/root" sh -c "$4"
"""
NETWORKD = """\
SYSTEMD_LOG_LEVEL=info SYSTEMD_LOG_TARGET=console /lib/systemd/systemd-networkd & pid=$!
n=0; until ip -4 -br addr show vmbr 2>/dev/null | grep -q 192.0.2.7 || [ $n = 300 ]; do
  n=$((n+1)); sleep 0.1; done
ip -br addr; ip route; bridge link; kill $pid; wait
"""
Inside = Callable[[dict[str, str], str], str]


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    """Runs a shell command in Debian's root with files written over it; gives all it said."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    root = booted_image.build().root

    def run(texts: dict[str, str], command: str) -> str:
        for path, text in texts.items():
            place = tmp_path / "files" / path.removeprefix("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        (tmp_path / "mount").mkdir(exist_ok=True)
        places = [root, tmp_path / "mount", tmp_path / "files"]
        done = subprocess.run(
            ["unshare", "-mnpf", "sh", "-c", ENTER, "sh", *map(str, places), command],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout + done.stderr

    return run


def _after(style: str, case: str, there: dict[str, str] | None) -> dict[str, str]:
    return applied(there or {}, files(layout(*CASES[case], style=style), TEMPLATES, there))


@pytest.mark.parametrize("there", [None, THERE], ids=["fresh", "there"])
@pytest.mark.parametrize(
    ("style", "case"),
    [*(("ifupdown", case) for case in CASES), ("legacy", "lan"), ("legacy", "two-vlans")],
)
def test_ifupdown_reads_all_of_it_and_would_bring_it_up(
    inside: Inside, style: str, case: str, there: dict[str, str] | None
) -> None:
    command = "ifquery --list --allow=auto; echo ==; ifup -n -a >/dev/null 2>&1; echo rc $?"
    command += "; ifup -n -a 2>&1 | grep interfaces"

    said = inside(_after(style, case, there), command)

    listed, _, rest = said.partition("==\n")
    networks = layout(*CASES[case]).bridges
    assert set(networks) < set(listed.split())
    assert rest == "rc 0\n"  # no file is complained of


def test_ifupdown_gives_the_bridge_what_the_uplink_had(inside: Inside) -> None:
    there = {INTERFACES: INTERFACES_TEXT.replace("\tup ethtool -K eth0 tso off\n", "")}
    after = applied(there, files(layout(SAME), TEMPLATES, there))

    macs = "echo macs $(cd /sys/class/net; sort -u eth0/address vmbr/address | wc -l)"
    said = inside(after, f"ifup eth0 vmbr; ip -br addr; ip route; bridge link; {macs}")

    assert "192.0.2.7/24" in next(line for line in said.splitlines() if line.startswith("vmbr"))
    assert "default via 192.0.2.1 dev vmbr" in said
    assert "198.51.100.0/24 via 192.0.2.9 dev vmbr" in said
    assert "master vmbr" in said
    assert "macs 1\n" in said


def test_networkd_gives_the_bridge_what_the_uplink_had_and_knows_every_key(inside: Inside) -> None:
    there = {WIRED: NETWORK_TEXT}
    plan = layout(SAME, OVERLAY, style="networkd")

    said = inside(applied(there, files(plan, TEMPLATES, there)), NETWORKD)

    assert "Unknown key" not in said
    assert "ignoring" not in said.lower()
    assert "default via 192.0.2.1 dev vmbr proto static" in said
    assert "198.51.100.0/24 via 192.0.2.9 dev vmbr" in said
    assert "master vmbr " in said


@pytest.mark.parametrize("case", CASES)
def test_networkd_knows_every_key_that_is_written(inside: Inside, case: str) -> None:
    said = inside(_after("networkd", case, None), NETWORKD.replace("$n = 300", "$n = 10"))

    assert "Enumeration completed" in said
    assert "Unknown key" not in said
    assert "invalid" not in said.lower()


def test_a_key_that_networkd_does_not_know_would_be_seen(inside: Inside) -> None:
    texts = _after("networkd", "two-vlans", None)
    path = next(p for p in texts if p.endswith("vmbr.999.network"))
    texts[path] += "Nonsense=1\n"

    assert "Unknown key 'Nonsense'" in inside(texts, NETWORKD.replace("$n = 300", "$n = 10"))


def test_a_drop_in_is_read_beside_the_operators_own_file(inside: Inside) -> None:
    there = {WIRED: NETWORK_TEXT}
    texts = applied(there, files(layout(LAB, STATIC, style="networkd"), TEMPLATES, there))

    said = inside(texts, NETWORKD.replace("$n = 300", "$n = 10"))

    assert f"eth0: Configuring with {WIRED}" in said
    assert "Unknown key" not in said
