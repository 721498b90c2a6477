"""Changes of a network that go wrong, on a machine: VLANs, systemd, ifupdown, DHCP as they are.

Afterwards links, addresses, routes, files and DHCP clients are as before, and nothing of the change
is left. The only card has its address by DHCP; one change goes well, onto a bridge and back.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs
from tests.live.lab.booted import Booted
from tests.live.lab.netconfigs import leased
from tests.live.lab.nethosts import NetHosts
from tests.live.lab.patient import Patient
from tests.live.lab.runner import Result
from tests.live.lab.watching import Watch
from tests.live.nets import left, state, until

LAN = "networks:\n  - {id: 1, name: lan, bridge: vmbr, default: true}\n"


@pytest.fixture(scope="module")
def nets(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NetHosts]:
    """One booted host."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    with NetHosts(tmp_path_factory.mktemp("nets"), (leased,), dhcp=True) as raised:
        yield raised


@pytest.fixture(scope="module")
def tashictl(
    nets: NetHosts, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Patient:
    """A cluster of it, its first state remembered."""
    made = nets.cluster(tashictl_argv, tmp_path_factory.mktemp("site"), LAN)
    nets.hosts[0].remember()
    return made


@pytest.fixture
def host(nets: NetHosts, tashictl: Patient) -> Iterator[Booted]:
    """The host as it was remembered; it is so again when a test ends."""
    (host,) = nets.hosts
    nets.recall()
    before, asks = state(host.look), clients(host)
    yield host
    assert state(host.look) == before
    assert clients(host) == asks
    assert left(host.look) == ""


def clients(host: Booted) -> list[str]:
    """The command lines of DHCP clients that run."""
    found = host.look("pgrep -xa dhclient || :").splitlines()
    return sorted({line.partition(" ")[2] for line in found})  # one that forks is there twice


def renews(nets: NetHosts, device: str) -> None:
    """The host's one client is on that interface, and has its lease renewed there."""
    (host,) = nets.hosts
    (client,) = clients(host)
    assert client.endswith(f" {device}"), client
    given = nets.server.given(host.address)
    assert until(lambda: nets.server.given(host.address) > given)
    found = host.look("ip -4 -o addr show scope global dynamic")
    assert [line.split()[1] for line in found.splitlines()] == [device], found


def want(nets: NetHosts, tashictl: Patient, host: str = "", networks: str = "") -> None:
    """The inventory, with more for the host, and more networks."""
    text = nets.inventory("ops", f"uplink: eth0{host}") + LAN + networks
    (tashictl.cluster / "inventory" / "lab.yaml").write_text(text, encoding="utf-8")


def apply(tashictl: Patient, window_s: int) -> Result:
    """`net apply`."""
    words = ("net", "apply", "-y", "--settle", "1", "--revert-after", str(window_s))
    done = tashictl.run(*words, check=False, timeout=900)
    sys.stdout.write(done.err)
    assert "Traceback" not in done.err
    return done


@pytest.mark.parametrize(
    ("addresses", "networks"),
    [
        ("lan=10.66.66.66/24", ""),
        ("lan=none, wrong={own}/24", "  - {id: 77, name: wrong, vlan: 77}\n"),
    ],
    ids=["wrong-address", "wrong-vlan"],
)
def test_a_host_that_is_lost_comes_back_by_itself(
    nets: NetHosts, tashictl: Patient, host: Booted, addresses: str, networks: str
) -> None:
    placed = addresses.format(own=host.address)
    want(nets, tashictl, f", host_addresses: [{placed}]", networks)

    with Watch(host.address) as watch:
        done = apply(tashictl, 60)
        time.sleep(2)

    watch.report()
    assert watch.losses and watch.losses[-1].back is not None
    assert done.rc == 1
    for words in ("E-NET-REVERTED", "no proof that it works came in time", "last good SSH"):
        assert words in done.err


def test_a_dhcp_client_without_a_server_is_told_and_all_goes_back_at_once(
    nets: NetHosts, tashictl: Patient, host: Booted
) -> None:
    want(nets, tashictl, ", host_addresses: [lan=dhcp]")

    with nets.server.silent():
        done = apply(tashictl, 900)

    assert done.rc == 1
    assert "E-NET-REVERTED" in done.err
    assert "no lease for vmbr within" in done.err


def test_a_file_that_ifquery_does_not_take_is_told_and_nothing_is_armed(
    nets: NetHosts, tashictl: Patient, host: Booted
) -> None:
    want(nets, tashictl)
    template = Path(tashictl.cluster / "templates" / "interfaces.ifupdown.j2")
    template.parent.mkdir(exist_ok=True)
    template.write_text("auto vmbr\niface vmbr inet sttic\n", encoding="utf-8")
    try:
        done = apply(tashictl, 900)
    finally:
        template.unlink()

    assert done.rc == 1
    assert "armed" not in done.err
    for words in ("E-NET-LINT", "/etc/network/interfaces.d/tashi is not accepted by ifquery"):
        assert words in done.err


def test_the_address_by_dhcp_moves_onto_a_bridge_with_its_client_and_back(
    nets: NetHosts, tashictl: Patient
) -> None:
    (host,) = nets.hosts
    nets.recall()
    want(nets, tashictl)

    assert apply(tashictl, 900).rc == 0

    renews(nets, "vmbr")
    host.reboot()
    renews(nets, "vmbr")
    found = tashictl.run("net", "diff", check=False)
    assert found.rc == 0, str(found)

    want(nets, tashictl, ", networks: []")  # the bridge goes

    assert apply(tashictl, 900).rc == 0

    renews(nets, "eth0")
    assert "vmbr" not in host.look("ip -br link")
    found = tashictl.run("net", "diff", check=False)
    assert found.rc == 0, str(found)
