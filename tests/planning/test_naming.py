"""Names of interfaces, what stands of them in DNS and DHCP, and what no server would carry."""

from __future__ import annotations

from msgspec.structs import replace

from tashictl.model.naming import owner_of
from tashictl.model.network import Network
from tashictl.model.settings import DhcpSettings, DnsSettings, Server, Settings, TashictlSettings
from tashictl.model.vm import NicSpec, Vm, VmSpec
from tashictl.planning import naming, register

DNS = DnsSettings(server=Server(host="192.0.2.1", port=53), domain="cloud.test")
SETTINGS = Settings(
    tashictl=TashictlSettings(cluster_id="0123456789ab"),
    dns=DNS,
    dhcp=DhcpSettings(server=Server(host="192.0.2.1", port=7911)),
)
LAN = Network(
    id=1, name="lan", range="10.0.0.1-10.0.0.9", dhcp="isc-omapi", gateway="10.0.0.254", mtu=9000
)
LAB = Network(id=2, name="lab", domain="lab.test.", dhcp="none")


def vm(*nics: NicSpec, name: str = "web") -> Vm:
    return Vm(
        id=1,
        name=name,
        uuid="5d3f1a90-0000-4000-8000-000000000001",
        user="ops",
        host="node1",
        created="2026-01-01T00:00:00Z",
        spec=VmSpec(nics=nics),
    )


def nic(index: int, network: Network, ip: str | None, **more: object) -> NicSpec:
    found = NicSpec(index=index, network=network.id, mac=f"52:54:00:00:00:0{index}", ip=ip, **more)
    return naming.named(found, "web", network, SETTINGS, "")


def test_the_first_interface_has_the_vms_name_and_the_others_their_number() -> None:
    assert nic(0, LAN, "10.0.0.1").fqdn == "web.cloud.test"
    assert nic(1, LAB, "10.1.0.1").fqdn == "web-nic1.lab.test"


def test_sub_domain_stands_between() -> None:
    bare = NicSpec(index=0, network=1, mac="52:54:00:00:00:00", ip="10.0.0.1")
    assert naming.named(bare, "web", LAN, SETTINGS, "dev").fqdn == "web.dev.cloud.test"


def test_without_an_address_or_a_server_there_is_no_name() -> None:
    assert nic(0, LAN, None).fqdn is None
    silent = replace(SETTINGS, dns=replace(DNS, enabled=False))
    bare = NicSpec(index=0, network=1, mac="52:54:00:00:00:00", ip="10.0.0.1")
    assert naming.named(bare, "web", LAN, silent, "").fqdn is None


def test_an_entry_says_whose_it_is() -> None:
    made = vm(nic(0, LAN, "10.0.0.1", ip6="2001:db8::1"))
    (dns,) = naming.dns_entries(made, SETTINGS)
    assert (dns.name, dns.addresses) == ("web.cloud.test", ("10.0.0.1", "2001:db8::1"))
    owner = owner_of(dns.owner)
    assert owner is not None and (owner.cluster, owner.uuid) == ("0123456789ab", made.uuid)
    assert owner_of("heritage=external-dns") is None
    assert owner_of("tashictl:only-one") is None


def test_dhcp_knows_only_interfaces_of_networks_that_are_served() -> None:
    made = vm(nic(0, LAN, "10.0.0.1"), nic(1, LAB, "10.1.0.1"))
    (entry,) = naming.dhcp_entries(made, (LAN, LAB), SETTINGS)
    assert (entry.name, entry.mac, entry.addresses) == ("web", "52:54:00:00:00:00", ("10.0.0.1",))
    assert (entry.domain, entry.routers, entry.mtu) == ("cloud.test", ("10.0.0.254",), 9000)


def test_what_registers_is_taken_back_in_the_other_order() -> None:
    made = vm(nic(0, LAN, "10.0.0.1"), nic(1, LAB, "10.1.0.1"))
    steps = register.steps(made, "node1", (LAN, LAB), SETTINGS)
    assert [s.name for s in steps] == ["AddDhcp", "AddDns", "AddDns"]
    back = tuple(register.reverse(step) for step in reversed(steps))
    assert back == register.removal(made, "node1", (LAN, LAB), SETTINGS)


def test_a_label_of_64_characters_a_wrong_sub_domain_and_a_name_twice_are_told_at_once() -> None:
    long = "a" * 59
    second = NicSpec(index=1, network=1, mac="52:54:00:00:00:01", fqdn="web.cloud.test")
    other = vm(nic(0, LAN, "10.0.0.1"))
    found = list(naming.problems(long, (second,), "x..y", (other,)))
    assert [e.code for e in found] == ["E-NAME", "E-NAME"]
    assert "64 characters" in found[1].what
    found = list(naming.problems("db", (second,), "", (other,)))
    assert [(e.code, e.exit_code) for e in found] == [("E-NAME-IN-USE", 5)]


def test_names_may_be_those_of_a_dnsmasq_alone() -> None:
    alone = Settings(
        dns=DnsSettings(domain="cloud.test"), dhcp=DhcpSettings(dnsmasq_names_dir="/n")
    )
    served = replace(LAN, dhcp="dnsmasq")
    bare = NicSpec(index=0, network=1, mac="52:54:00:00:00:00", ip="10.0.0.1")
    found = naming.named(bare, "web", served, alone, "")
    assert found.fqdn == "web.cloud.test"
    assert naming.dns_entries(vm(found), alone) == ()
    (entry,) = naming.dhcp_entries(vm(found), (served,), alone)
    assert entry.fqdn == "web.cloud.test"
    assert naming.named(bare, "web", LAN, alone, "").fqdn is None
