"""Where an audit has to look, and what servers' own forms come to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.audit import DhcpSeen, Disagreement, Seen, ZoneSeen
from tashictl.model.naming import Deferred, DhcpEntry, DnsmasqFolders, DnsmasqHost, DnsmasqName
from tashictl.model.vm import VmSpec
from tashictl.planning.audit import leased, places, zones
from tashictl.planning.audit.compare import compare
from tests.planning.audit import worlds
from tests.planning.audit.worlds import GONE, NETWORKS, SETTINGS, a_state, a_vm

NONCE = "0123456789abcdef"
DNSMASQ = (replace(NETWORKS[0], dhcp="dnsmasq"),)


def test_all_names_of_vms_are_asked_for_and_where_others_may_have_been() -> None:
    networks = (replace(NETWORKS[0], range="10.0.0.10-10.0.1.9", domain="other.test"),)
    waiting = Deferred(entry=worlds.dns_entry(4), add=False, since=worlds.NOW, why="down")
    asked = places.names(a_state(a_vm(1), deferred=(waiting,)), networks, SETTINGS)
    assert asked.names == (
        *("web1.lab.test", "11.0.0.10.in-addr.arpa"),
        *("web4.lab.test", "14.0.0.10.in-addr.arpa"),
    )
    assert set(asked.maybe) == {
        *("10.0.0.10.in-addr.arpa", "9.1.0.10.in-addr.arpa", "0.0.0.10.in-addr.arpa"),
        *("_tashictl.lab.test", "_tashictl.other.test"),
    }


def test_a_name_in_a_delegated_part_is_not_covered_by_the_zone_above() -> None:
    cut = worlds.record("sub.lab.test", "NS", "ns.else.test")
    apex = worlds.record("lab.test", "NS", "ns.lab.test")
    zone = ZoneSeen(zone="lab.test", records=(apex, cut))
    assert places.is_covered("web1.lab.test", [zone])
    assert not places.is_covered("web1.sub.lab.test", [zone])
    assert not places.is_covered("web1.blab.test", [zone])
    assert places.is_covered("web1.sub.lab.test", [zone, ZoneSeen(zone="sub.lab.test")])


@given(st.ip_addresses())
def test_an_address_is_read_back_from_its_reverse_name(address: object) -> None:
    assert zones.address_of(ip_address(str(address)).reverse_pointer) == str(address)


@pytest.mark.parametrize("name", ["16.172.in-addr.arpa", "x.0.0.10.in-addr.arpa", "1.ip6.arpa", ""])
def test_other_names_are_no_address(name: str) -> None:
    assert zones.address_of(name) == ""


def test_an_ipv6_address_is_judged_like_any_other() -> None:
    nic = replace(a_vm(1).spec.nics[0], ip6="2001:db8::1")
    state = a_state(a_vm(1, spec=VmSpec(nics=(nic,))))
    reverse = zones.reverse_name("2001:db8::1")
    wide = worlds.record("web1.lab.test", "AAAA", "2001:0DB8:0::1")
    mark = worlds.record("_tashictl.web1.lab.test", "TXT", worlds.mark(1))
    a = worlds.record("web1.lab.test", "A", "10.0.0.11")
    seen = Seen(
        at=worlds.NOW,
        zones=(ZoneSeen(zone="lab.test", records=(wide, mark, a)), ZoneSeen(zone="ip6.arpa")),
    )
    (row,) = compare(state, NETWORKS, SETTINGS, seen)
    assert (row.kind, row.subject) == ("ptr-missing", reverse)


# -- dnsmasq


def folders(*hosts: DnsmasqHost, names: tuple[DnsmasqName, ...] = ()) -> Seen:
    """What a dnsmasq has; with a folder of names."""
    found = places.dnsmasq_hosts(DnsmasqFolders(hosts=hosts, names=names), named=True)
    seen = DhcpSeen(driver="dnsmasq", server="dnsmasq on node1", hosts=found)
    return Seen(at=worlds.NOW, dhcp=(seen,))


def line(number: int, owner: str = "", **values: object) -> DnsmasqHost:
    usual: dict[str, object] = {
        "file": f"web{number}",
        "owner": owner or worlds.mark(number),
        "mac": worlds.mac(number),
        "addresses": (worlds.address(number),),
        "name": f"web{number}",
    }
    return DnsmasqHost(**{**usual, **values})  # type: ignore[arg-type]


def name(number: int, owner: str = "") -> DnsmasqName:
    return DnsmasqName(
        file=f"web{number}",
        owner=owner or worlds.mark(number),
        address=worlds.address(number),
        name=worlds.fqdn(number),
    )


def judged(seen: Seen) -> list[Disagreement]:
    return list(compare(a_state(a_vm(1)), DNSMASQ, SETTINGS, seen))


def test_files_of_dnsmasq_that_are_right_are_left() -> None:
    foreign = DnsmasqHost(file="printer", owner="", mac="02:00:00:00:00:09", name="printer")
    assert judged(folders(line(1), foreign, names=(name(1),))) == []


def test_a_name_that_is_lost_or_wrong_makes_the_host_wrong() -> None:
    (row,) = judged(folders(line(1)))
    assert (row.kind, [c.add for c in row.changes]) == ("dhcp-wrong", [True])
    (row,) = judged(folders(line(1, addresses=("10.0.0.77",)), names=(name(1),)))
    assert (row.kind, [c.add for c in row.changes]) == ("dhcp-wrong", [True])


def test_files_of_a_vm_that_is_gone_are_orphans_also_where_one_half_is_left() -> None:
    seen = folders(line(1), line(2, GONE), names=(name(1), name(3, GONE)))
    rows = judged(seen)
    assert [(r.kind, r.subject) for r in rows] == [("dhcp-orphan", "web2"), ("dhcp-orphan", "web3")]
    entries = [change.entry for row in rows for change in row.changes]
    assert [(e.name, e.owner) for e in entries] == [("web2", GONE), ("web3", GONE)]
    half = entries[1]
    assert isinstance(half, DhcpEntry)
    assert (half.mac, half.addresses) == ("00:00:00:00:00:00", ("0.0.0.0",))


def test_a_file_of_somebody_else_in_the_way_is_foreign() -> None:
    other = replace(line(1, file="by-hand", name="printer"), owner="")
    (row,) = judged(folders(other))
    assert (row.kind, row.found) == (
        "dhcp-foreign",
        "printer (52:54:00:00:00:01) 10.0.0.11, without our mark",
    )


# -- dhcpd


def test_hosts_of_both_files_are_read_and_what_was_deleted_is_not() -> None:
    files = {
        "leases": (
            "host web1 {\n  dynamic;\n  hardware ethernet 52:54:00:00:00:01;\n"
            f'  uid "{worlds.mark(1)}/0123456789abcdef";\n  fixed-address 10.0.0.11;\n}}\n'
            "host cut {\n  dynamic;\n  hardware ethernet 52:54:00:00:00:09;\n}\n"
            "host away {\n  deleted;\n}\n"
        ),
        "conf": (
            "host away { hardware ethernet 02:00:00:00:00:01; fixed-address 10.0.0.1; }\n"
            "host www { hardware ethernet 02:00:00:00:00:02; fixed-address www.lab.test; }\n"
        ),
    }
    out = "".join(f"\n@{NONCE} B {key}\n{text}" for key, text in files.items())
    found = leased.read(f"{out}\n@{NONCE} Z\n".encode(), NONCE)
    assert found is not None
    assert [(h.name, h.owner, h.addresses, h.fixed) for h in found] == [
        ("web1", worlds.mark(1), ("10.0.0.11",), False),
        ("cut", "", (), False),
        ("www", "", (), True),
    ]
    assert leased.read(out.encode(), NONCE) is None
