"""A booted host of style networkd whose addresses are by DHCP: leases come, move and come back.

Its only card is reached by a lease, and carries a VLAN with a DHCP server of its own. What each
test leaves is what the next begins with.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs, netconfigs
from tests.live.lab.booted import Booted
from tests.live.lab.nethosts import NetHosts, plug_guest
from tests.live.lab.patient import Patient
from tests.live.lab.post import Post
from tests.live.lab.runner import Result
from tests.live.nets import APPLY, left, state, until

OK = 0
RED = "10.99.9.50"
GUEST = "10.99.9.101"
LONG_S = 1200  # nothing goes back by itself, however busy the machine is
LOG = "cat /run/tashi/net/last/log; journalctl -u systemd-networkd | tail -n 30"
NETWORKS = """\
networks:
  - {id: 1, name: red, vlan: 999, bridge: vmbr.999, host_address: dhcp, default: true}
"""
LAN = "  - {id: 2, name: lan, bridge: vmbr}\n"


@dataclass
class Site:
    """The host, its cluster, and who is on the VLAN."""

    nets: NetHosts
    tashictl: Patient
    red: Post

    @property
    def host(self) -> Booted:
        """The only one."""
        return self.nets.hosts[0]

    def shell(self, command: str) -> str:
        """As at its console."""
        return self.host.look(command, check=False)

    def want(self, networks: str) -> None:
        """The inventory says so."""
        text = self.nets.inventory("ops", "uplink: eth0, style: networkd") + networks
        place = self.tashictl.cluster / "inventory" / "lab.yaml"
        place.write_text(text, encoding="utf-8")

    def apply(self, *more: str) -> Result:
        """`net apply`."""
        return self.tashictl.run(*APPLY, str(LONG_S), *more, check=False, timeout=900)

    def differs(self) -> int:
        """The exit code of `net diff`."""
        return self.tashictl.run("net", "diff", check=False, timeout=300).rc

    def lease(self, device: str) -> tuple[str, str]:
        """Address and client identifier of the lease that networkd has for an interface.

        The address is on it, for a time.
        """
        index = f"$(cat /sys/class/net/{device}/ifindex)"
        text = self.shell(
            f"cat /run/systemd/netif/leases/{index}; ip -4 -o addr show dev {device} dynamic"
        )
        found = re.search(r"^ADDRESS=(\S+)\n(?:.*\n)*?CLIENTID=(\S+)$", text, re.MULTILINE)
        if found is None or f" inet {found[1]}/" not in text:
            return "", ""
        return found[1], found[2]

    def quiet(self) -> bool:
        """Nothing is left of a change, not even where networkd was lent files."""
        return not left(self.shell) and not self.shell("ls /run/systemd/network | grep tashi")


@pytest.fixture(scope="module")
def site(
    machine: None, tashictl_argv: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The host as it was born."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    folder = tmp_path_factory.mktemp("site")
    configs = (netconfigs.leased_networkd,)
    with NetHosts(tmp_path_factory.mktemp("hosts"), configs, dhcp=True) as nets:
        red = nets.post(999, "10.99.9.1/24", on="mgmt")
        red.serve_dhcp(folder, (RED, RED), "subnet 255.255.255.0")
        yield Site(nets, nets.cluster(tashictl_argv, folder, ""), red)


def test_networkd_asks_for_the_address_of_a_vlan(site: Site) -> None:
    site.want(NETWORKS)
    mine = site.lease("eth0")

    done = site.apply()

    assert done.rc == OK, str(done)
    assert site.lease("vmbr.999")[0] == RED
    assert site.red.reaches(RED)
    assert site.lease("eth0") == mine
    assert until(site.quiet)


def test_a_lease_that_the_bridge_took_over_goes_back_by_the_hosts_own_timer(site: Site) -> None:
    site.want(NETWORKS + LAN)
    plug_guest(site.host, "vmbr.999", f"{GUEST}/24")
    before, mine = state(site.shell), site.lease("eth0")
    assert mine[0] == site.host.address

    done = site.apply("--no-confirm")

    assert done.rc == OK, str(done)
    assert site.lease("vmbr") == mine  # it is the same client, on another interface
    assert site.lease("eth0") == ("", "")
    assert site.red.reaches(GUEST)
    site.shell("echo 0 >/run/tashi/net/pending/due")  # its time is over
    assert until(lambda: not site.shell("ls /run/tashi/net | grep pending"))
    assert site.shell("cat /run/tashi/net/last/stage") == "reverted\n", site.shell(LOG)
    assert state(site.shell) == before
    assert site.lease("eth0") == mine
    assert site.red.reaches(GUEST)
    assert until(site.quiet)


def test_what_was_confirmed_is_the_same_after_a_reboot(site: Site) -> None:
    mine, red = site.lease("eth0"), site.lease("vmbr.999")

    done = site.apply()

    assert done.rc == OK, str(done)
    assert until(site.quiet)
    assert site.lease("vmbr") == mine
    assert site.red.reaches(GUEST)
    site.host.reboot()
    assert until(lambda: (site.lease("vmbr"), site.lease("vmbr.999")) == (mine, red))
    assert site.differs() == OK
