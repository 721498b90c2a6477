"""Hosts in a real dhcpd over OMAPI: what clients get, what stays, what is refused, what is lost."""

import random
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.dhcp.omapi import OmapiServer
from tashictl.adapters.ssh.hostkeys import HostKeyStore
from tashictl.adapters.ssh.remote import SshRemote
from tashictl.cli.servers import SystemNames
from tashictl.errors import (
    Conflict,
    InvalidRequest,
    OperationFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.model.naming import DhcpEntry, OmapiHost
from tashictl.model.settings import DhcpSettings, Secret, Server, Settings
from tashictl.ops import naming
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tests.live.conftest import give_up
from tests.live.lab import needs
from tests.live.lab.client import Client
from tests.live.lab.dhcpd import OMAPI_PORT, Dhcpd
from tests.live.lab.hosts import Lab
from tests.live.lab.place import On, Space, free_port
from tests.live.lab.tsig import Key

CLUSTER = "0a1b2c3d4e5f"
OWNER = f"tashictl:{CLUSTER}:11111111-2222-4333-8444-555555555555"
OTHER_VM = f"tashictl:{CLUSTER}:99999999-2222-4333-8444-555555555555"
VM = DhcpEntry(
    driver="isc-omapi",
    network=1,
    name="vm1",
    mac="52:54:00:00:00:01",
    addresses=("172.16.7.7", "2001:db8::7"),
    owner=OWNER,
    fqdn="vm1.guests.test",
    domain="guests.test",
    routers=("172.16.0.1",),
    dns=("172.16.0.5", "172.16.0.6"),
    mtu=1400,
)
WWW = replace(VM, name="www", mac="02:16:00:00:00:09", addresses=("172.16.0.9",))
IN_CONF = f"host www {{ hardware ethernet {WWW.mac}; fixed-address 172.16.0.9; }}"
SHORT_S, PATIENT_S = 0.5, 20.0


@pytest.fixture(scope="module", autouse=True)
def tools(machine: None) -> None:
    """Skips where a server is missing."""
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))


@dataclass
class Site:
    """A dhcpd with a host in its dhcpd.conf, and the way to it."""

    dhcpd: Dhcpd
    space: Space
    port: int

    def settings(self, **changes: Any) -> DhcpSettings:
        key = self.dhcpd.key
        settings = DhcpSettings(
            server=Server(host="127.0.0.1", port=self.port),
            key_name=key.name,
            secret_key=Secret(key.secret),
            key_algorithm=key.algorithm,
            timeout_s=PATIENT_S,
        )
        return replace(settings, **changes)

    @contextmanager
    def omapi(self, **changes: Any) -> Iterator[OmapiServer]:
        server = OmapiServer(self.settings(**changes), None)
        try:
            yield server
        finally:
            server.close()

    def client(self, mac: str) -> Client:
        return Client(self.space, "lan", mac)


@contextmanager
def site_of(folder: Path, key: Key) -> Iterator[Site]:
    with Space() as space:
        space.add_bridge("lan")
        with Dhcpd(folder, key, at=space, more=IN_CONF) as dhcpd:
            yield Site(dhcpd, space, space.way_in(OMAPI_PORT))


@pytest.fixture(scope="module")
def shared(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site_of(tmp_path_factory.mktemp("dhcpd"), Key.generate("omapi")) as site:
        yield site


@pytest.fixture
def site(shared: Site) -> Iterator[Site]:
    """A dhcpd that knows nothing but its dhcpd.conf."""
    dhcpd = shared.dhcpd
    dhcpd.kill()
    dhcpd.at.path(dhcpd.leases).write_text("", encoding="utf-8")
    dhcpd.start()
    yield shared
    if dhcpd.up:
        dhcpd.thaw()


def host_of(entry: DhcpEntry) -> OmapiHost:
    return OmapiHost(
        name=entry.name, mac=entry.mac, addresses=entry.addresses[:1], owner=entry.owner
    )


def last_block(site: Site, name: str) -> str:
    """The last that the leases file says of a host."""
    return re.findall(rf"^host {name} {{\n(.*?)^}}", site.dhcpd.leases_text(), re.M | re.S)[-1]


@pytest.mark.parametrize("algorithm", ["hmac-md5", "hmac-sha1", "hmac-sha256", "hmac-sha512"])
def test_a_client_gets_exactly_its_address_name_and_options(tmp_path: Path, algorithm: str) -> None:
    with (
        site_of(tmp_path, Key.generate("omapi", algorithm)) as site,
        site.client(VM.mac) as guest,
        site.omapi() as omapi,
    ):
        omapi.add(VM)
        lease = guest.lease()

    assert lease is not None
    assert (lease.address, lease.hostname, lease.domain) == ("172.16.7.7", "vm1", "guests.test")
    assert (lease.routers, lease.dns) == (VM.routers, VM.dns)
    assert lease.mtu == 1400


def test_a_second_time_nothing_is_changed(site: Site) -> None:
    with site.omapi() as omapi:
        omapi.add(VM)
        before = site.dhcpd.leases_text()
        omapi.add(VM)
        assert site.dhcpd.leases_text() == before
        assert omapi.lookup("vm1") == host_of(VM)

        omapi.remove(VM)
        assert omapi.lookup("vm1") is None
        before = site.dhcpd.leases_text()
        omapi.remove(VM)
        assert site.dhcpd.leases_text() == before


def test_a_host_is_in_the_group_of_its_cluster_and_both_outlive_restarts(site: Site) -> None:
    with site.omapi() as omapi:
        omapi.add(VM)
    site.dhcpd.kill()
    site.dhcpd.start()
    site.dhcpd.restart()

    assert f'group "tashictl-{CLUSTER}";' in last_block(site, "vm1")
    assert "expecting" not in site.dhcpd.log()
    with site.omapi() as omapi:
        assert omapi.lookup("vm1") == host_of(VM)
        omapi.remove(VM)
        assert omapi.lookup("vm1") is None
    site.dhcpd.restart()
    with site.omapi() as omapi:
        assert omapi.lookup("vm1") is None


@pytest.mark.parametrize(
    "change", [{"mtu": 1300}, {"addresses": ("172.16.7.8",)}, {"mac": "52:54:00:00:00:02"}]
)
def test_a_host_of_the_same_vm_that_differs_is_put_right(
    site: Site, change: dict[str, Any]
) -> None:
    changed = replace(VM, **change)
    with site.omapi() as omapi, site.client(changed.mac) as guest:
        omapi.add(VM)
        omapi.add(changed)
        assert omapi.lookup("vm1") == host_of(changed)
        lease = guest.lease()

    assert lease is not None
    assert (lease.address, lease.mtu) == (changed.addresses[0], changed.mtu)


def test_a_vm_with_a_new_name_leaves_no_host_by_the_old_one(site: Site) -> None:
    with site.omapi() as omapi:
        omapi.add(VM)
        omapi.add(replace(VM, name="vm2"))
        assert omapi.lookup("vm1") is None
        assert omapi.lookup("vm2") == host_of(replace(VM, name="vm2"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "vm2"}, f"its MAC {VM.mac} is taken"),
        ({"mac": "52:54:00:00:00:02"}, "its name is taken"),
        ({}, "its name is taken"),
    ],
)
def test_a_host_of_another_vm_is_left_and_named(
    site: Site, change: dict[str, Any], named: str
) -> None:
    with site.omapi() as omapi:
        omapi.add(VM)
        other = replace(VM, owner=OTHER_VM, **change)
        with pytest.raises(Conflict) as caught:
            omapi.add(other)
        assert omapi.lookup("vm1") == host_of(VM)
        omapi.remove(other)
        assert omapi.lookup("vm1") == host_of(VM)
        assert "host vm2" not in site.dhcpd.leases_text()
        # Of what was refused nothing is left, in memory neither: its MAC is free.
        if other.mac != VM.mac:
            omapi.add(replace(other, name="vm3"))
            assert omapi.lookup("vm3") == host_of(replace(other, name="vm3"))
    site.dhcpd.restart()
    with site.omapi() as omapi:
        assert omapi.lookup("vm1") == host_of(VM)
    assert "supersede interface-mtu = 05:78;" in last_block(site, "vm1")

    assert caught.value.code == "E-DHCP-FOREIGN"
    assert named in caught.value.what
    assert VM.mac in caught.value.cause
    assert OWNER in caught.value.cause


@pytest.mark.parametrize(
    "taking",
    [
        replace(VM, name="www"),
        replace(VM, mac=WWW.mac),
        replace(WWW, addresses=("172.16.0.10",)),
    ],
    ids=["name", "mac", "address"],
)
def test_a_host_of_dhcpd_conf_is_never_changed(site: Site, taking: DhcpEntry) -> None:
    with site.omapi() as omapi:
        with pytest.raises(Conflict, match="is taken"):
            omapi.add(taking)
        omapi.remove(taking)
        there = omapi.lookup("www")
    assert there == replace(host_of(WWW), owner="")
    assert "host" not in site.dhcpd.leases_text()


def test_a_host_of_dhcpd_conf_that_is_just_what_is_wanted_serves_and_is_never_removed(
    site: Site,
) -> None:
    with site.omapi() as omapi, site.client(WWW.mac) as guest:
        omapi.add(WWW)
        omapi.remove(WWW)
        assert "host" not in site.dhcpd.leases_text()
        site.dhcpd.restart()
        lease = guest.lease()
    assert lease is not None
    assert lease.address == "172.16.0.9"


def test_a_conflict_is_found_before_anything_is_deleted(site: Site) -> None:
    with site.omapi() as omapi:
        omapi.add(VM)
        with pytest.raises(Conflict):
            omapi.add(replace(VM, name="www"))
        assert omapi.lookup("vm1") == host_of(VM)


def test_what_another_has_made_by_hand_with_our_name_and_mac_is_not_removed(site: Site) -> None:
    said = site.dhcpd.omshell(
        "new host",
        'set name = "vm1"',
        f"set hardware-address = {VM.mac}",
        "set hardware-type = 1",
        "set ip-address = 172.16.7.7",
        "create",
    )
    assert "hardware-type = 00:00:00:01" in said, said
    with site.omapi() as omapi:
        omapi.remove(VM)
        assert omapi.lookup("vm1") == replace(host_of(VM), owner="")


def test_a_host_with_another_address_or_mac_than_the_entry_is_not_removed(site: Site) -> None:
    with site.omapi() as omapi:
        omapi.add(VM)
        omapi.remove(replace(VM, addresses=("172.16.7.8",)))
        omapi.remove(replace(VM, mac="52:54:00:00:00:02"))
        assert omapi.lookup("vm1") == host_of(VM)


def test_a_host_that_a_cut_leases_file_has_left_without_address_is_put_right_or_removed(
    site: Site,
) -> None:
    with site.omapi() as omapi:
        omapi.add(VM)
    site.dhcpd.kill()
    leases = site.dhcpd.at.path(site.dhcpd.leases)
    text = leases.read_text(encoding="utf-8")
    for act in ("add", "remove"):
        leases.write_text(text[: text.index("  fixed-address")], encoding="utf-8")
        site.dhcpd.start()
        with site.omapi() as omapi:
            assert omapi.lookup("vm1") == replace(host_of(VM), addresses=())
            getattr(omapi, act)(VM)
            assert omapi.lookup("vm1") == (host_of(VM) if act == "add" else None)
        site.dhcpd.kill()


def test_every_name_that_is_let_through_outlives_a_restart_with_all_behind_it(site: Site) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789-"
    dice = random.Random(6)
    names = {"0", "00", "0x12", "0xff", "1e5", "12ab", "1-2", "a--b", "007", "0x", "x" * 63}
    names |= {"host", "group", "dynamic", "deleted", "uid", "hardware", "if", "lease", "infinite"}
    while len(names) < 300:
        middle = "".join(dice.choice(alphabet) for _ in range(dice.choice([0, 1, 2, 5, 20])))
        names.add(dice.choice(alphabet[:-1]) + middle + dice.choice(alphabet[:-1]))
    entries = [
        replace(VM, name=name, mac=f"52:54:01:00:{i >> 8:02x}:{i & 255:02x}")
        for i, name in enumerate(sorted(names))
    ]
    with site.omapi() as omapi:
        for entry in entries:
            omapi.add(entry)
    site.dhcpd.restart()
    with site.omapi() as omapi:
        assert [e.name for e in entries if omapi.lookup(e.name) != host_of(e)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"},
        {"name": "x} host evil {"},
        {"name": 'x"9'},
        {"domain": 'x"; option host-name "evil'},
        {"routers": ("1.2.3.4; }",)},
        {"owner": 'tashictl:c"1:u'},
    ],
)
def test_what_would_poison_the_leases_file_is_refused_before_anything_is_sent(
    site: Site, change: dict[str, Any]
) -> None:
    before = site.dhcpd.leases_text()
    site.dhcpd.freeze()
    with site.omapi(timeout_s=SHORT_S) as omapi, pytest.raises(InvalidRequest) as caught:
        omapi.add(replace(VM, **change))
    site.dhcpd.thaw()

    assert caught.value.code == "E-DHCP-NAME"
    with site.omapi() as omapi:
        omapi.remove(replace(VM, **change))
    assert site.dhcpd.leases_text() == before


@pytest.mark.parametrize(
    "change",
    [
        {"secret_key": Secret("MDEyMzQ1Njc4OTAxMjM0NQ==")},
        {"key_name": "nobody"},
        {"key_algorithm": "hmac-md5"},
        {"key_algorithm": "hmac-sha512"},
    ],
    ids=["secret", "name", "md5", "sha512"],
)
def test_a_wrong_key_is_said_at_once_and_changes_nothing(
    site: Site, change: dict[str, Any]
) -> None:
    before = site.dhcpd.leases_text()
    with site.omapi(**change) as omapi:
        errors = [failure(lambda: omapi.add(VM)), failure(lambda: omapi.lookup("vm1"))]

    assert {type(error) for error in errors} == {OperationFailed}
    assert {error.code for error in errors} == {"E-DHCP-KEY"}
    assert all(f"127.0.0.1 {site.port}" in error.what for error in errors)
    said = " ".join(f"{error} {error.hint}" for error in errors)
    assert site.dhcpd.key.secret not in said
    assert "MDEyMzQ1" not in said
    assert site.dhcpd.leases_text() == before


def failure(act: Any) -> TashiError:
    with pytest.raises(TashiError) as caught:
        act()
    return caught.value


def test_a_server_that_is_stopped_got_nothing(site: Site) -> None:
    site.dhcpd.stop()
    with site.omapi() as omapi:
        error = failure(lambda: omapi.add(VM))
        assert (type(error), error.code) == (Unreachable, "E-DHCP-DOWN")
        site.dhcpd.start()
        omapi.add(VM)  # by a new connection
        assert omapi.lookup("vm1") == host_of(VM)


def test_a_server_that_does_not_even_greet_got_nothing(site: Site) -> None:
    site.dhcpd.freeze()
    with site.omapi(timeout_s=SHORT_S) as omapi:
        error = failure(lambda: omapi.remove(VM))
    assert (type(error), error.code) == (Unreachable, "E-DHCP-DOWN")


def test_a_closed_port_a_silent_one_and_a_name_that_is_none_got_nothing(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        closed = free_port()
        for host, at in (("127.0.0.1", port), ("127.0.0.1", closed), ("no-such.invalid", 1)):
            where = Server(host=host, port=at)
            with site.omapi(server=where, timeout_s=SHORT_S) as omapi:
                error = failure(lambda: omapi.add(VM))
            assert (type(error), error.code) == (Unreachable, "E-DHCP-DOWN")
            assert f"{host} {at}" in error.what


def test_a_frozen_server_may_have_done_it_and_has_when_it_thaws(site: Site) -> None:
    held = OmapiServer(site.settings(timeout_s=PATIENT_S), None)
    held.add(VM)
    held.close()
    with site.omapi(timeout_s=PATIENT_S) as omapi:
        assert omapi.lookup("vm1") is not None
        freeze_at_change(omapi, site.dhcpd)
        error = failure(lambda: omapi.add(replace(VM, name="vm9", mac="52:54:00:00:00:09")))
        assert (type(error), error.code) == (Uncertain, "E-DHCP-TIMEOUT")
        site.dhcpd.thaw()
    with site.omapi() as omapi:
        assert omapi.lookup("vm9") is not None
        freeze_at_change(omapi, site.dhcpd)
        error = failure(lambda: omapi.remove(VM))
        assert (type(error), error.code) == (Uncertain, "E-DHCP-TIMEOUT")
        site.dhcpd.thaw()
    with site.omapi() as omapi:
        assert omapi.lookup("vm1") is None
        omapi.remove(VM)


def freeze_at_change(omapi: OmapiServer, dhcpd: Dhcpd) -> None:
    """Makes the server silent from the next change on, and impatient whoever waits for it."""
    change = omapi._change

    def frozen(wire: Any, message: Any) -> Any:
        dhcpd.freeze()
        wire._timeout_s = SHORT_S
        return change(wire, message)

    omapi._change = frozen  # type: ignore[method-assign]


def test_a_server_killed_under_a_change_leaves_it_uncertain_and_a_repeat_is_safe(
    site: Site,
) -> None:
    with site.omapi() as omapi:
        assert omapi.lookup("vm1") is None
        change = omapi._change

        def killed(wire: Any, message: Any) -> Any:
            site.dhcpd.freeze()
            wire._protocol.send_message(message)
            site.dhcpd.kill()
            return change(wire, message)

        omapi._change = killed  # type: ignore[method-assign]
        error = failure(lambda: omapi.add(VM))
        assert (type(error), error.code) == (Uncertain, "E-DHCP-TIMEOUT")
    site.dhcpd.start()
    with site.omapi() as omapi:
        omapi.add(VM)
        assert omapi.lookup("vm1") == host_of(VM)


def test_a_server_on_a_host_is_reached_by_ssh_as_operations_do(lab: Lab, tmp_path: Path) -> None:
    host = lab.hosts[0]
    key = Key.generate("omapi", "hmac-md5")
    config = HostConfig(
        name=host.name, address=host.address, user="root", identity_file=str(lab.key)
    )
    dhcp = DhcpSettings(
        server=Server(host=host.name, port=OMAPI_PORT),
        key_name=key.name,
        secret_key=Secret(key.secret),
        timeout_s=PATIENT_S,
    )
    context = Context(settings=Settings(dhcp=dhcp), inventory=Inventory(hosts=(config,)))
    remote = SshRemote(tmp_path / "known_hosts")
    seen = remote.host_key(config, time.monotonic() + PATIENT_S)
    HostKeyStore(tmp_path / "known_hosts").trust(host.name, seen)
    world = cast(World, SimpleNamespace(clock=SystemClock(), remote=remote, names=SystemNames()))
    try:
        with (
            Dhcpd(Path("/var/lib/dhcp"), key, at=On(host), device="vmbr") as dhcpd,
            Client(On(lab.hosts[1]), "vmbr", VM.mac) as guest,
        ):
            assert naming.change(world, context, VM, add=True) is None
            assert naming.change(world, context, VM, add=True) is None
            lease = guest.lease()
            assert lease is not None
            assert (lease.address, lease.hostname) == ("172.16.7.7", "vm1")
            dhcpd.freeze()
            short = replace(context, settings=Settings(dhcp=replace(dhcp, timeout_s=SHORT_S)))
            error = naming.change(world, short, VM, add=False)
            assert type(error) is Unreachable
            assert error.code == "E-DHCP-DOWN"
            dhcpd.thaw()
            assert naming.change(world, context, VM, add=False) is None
            assert dhcpd.leases_text().count("deleted;") == 1
            dhcpd.stop()
            error = naming.change(world, context, VM, add=False)
            assert isinstance(error, Unreachable)
            assert naming.is_unsent(error)
    finally:
        remote.close()
