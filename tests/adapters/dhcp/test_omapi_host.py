import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.adapters.dhcp import omapi_host
from tashictl.errors import InvalidRequest
from tashictl.model.naming import DhcpEntry

OWNER = "tashictl:0a1b2c3d4e5f:11111111-2222-4333-8444-555555555555"
VM = DhcpEntry(
    driver="isc-omapi",
    network=1,
    name="vm1",
    mac="52:54:00:AB:00:01",
    addresses=("2001:db8::7", "172.16.7.7", "172.16.7.8"),
    owner=OWNER,
    domain="guests.test",
    routers=("172.16.0.1", "fe80::1"),
    dns=("172.16.0.5", "2001:db8::5", "172.16.0.6"),
    mtu=1400,
)


def test_options_become_statements_and_ipv6_is_left_out() -> None:
    found = omapi_host.wanted(VM)

    assert (found.name, found.mac, found.address) == ("vm1", "52:54:00:ab:00:01", "172.16.7.7")
    assert found.statements == (
        'option host-name "vm1"; option domain-name "guests.test"; option routers 172.16.0.1; '
        "option domain-name-servers 172.16.0.5, 172.16.0.6; option interface-mtu 1400;"
    )
    assert found.group == "tashictl-0a1b2c3d4e5f"


def test_what_is_not_asked_for_is_as_the_server_has_it() -> None:
    bare = replace(VM, domain="", routers=("fe80::1",), dns=(), mtu=None)

    assert omapi_host.wanted(bare).statements == 'option host-name "vm1";'


def test_the_mark_names_the_owner_and_differs_with_all_that_is_asked() -> None:
    others = [
        replace(VM, name="vm2"),
        replace(VM, mac="52:54:00:ab:00:02"),
        replace(VM, addresses=("172.16.7.9",)),
        replace(VM, domain="other.test"),
        replace(VM, mtu=1300),
        replace(VM, owner=OWNER[:-1] + "6"),
    ]
    marks = {omapi_host.wanted(entry).mark for entry in (VM, *others)}

    assert len(marks) == 7
    assert omapi_host.wanted(VM).mark.startswith(f"{OWNER}/")
    assert omapi_host.wanted(VM).mark == omapi_host.wanted(replace(VM, network=2)).mark


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "a name for dhcpd"),
        ({"name": "a b"}, "a name for dhcpd"),
        ({"name": "x} host evil {"}, "a name for dhcpd"),
        ({"name": "vm1\n"}, "a name for dhcpd"),
        ({"name": "münchen"}, "a name for dhcpd"),
        ({"name": "x" * 64}, "a name for dhcpd"),
        ({"name": "-x"}, "a name for dhcpd"),
        ({"mac": "52:54:00:ab:00"}, "no MAC"),
        ({"mac": "52:54:00:ab:00:01\n"}, "no MAC"),
        ({"owner": "tashictl:c1"}, "no mark"),
        ({"owner": "tashictl:c 1:u"}, "no mark"),
        ({"owner": "tashictl:c1:u/v"}, "no mark"),
        ({"owner": 'tashictl:c1:u"'}, "no mark"),
        ({"addresses": ("2001:db8::7",)}, "no IPv4 address"),
        ({"addresses": ()}, "no IPv4 address"),
        ({"addresses": ("172.16.7.256",)}, "no IP address"),
        ({"domain": 'x"; deny booting'}, "no domain name"),
        ({"domain": "guests.test."}, "no domain name"),
        ({"routers": ("172.16.0.1; }",)}, "no IP address"),
        ({"dns": ("ns.guests.test",)}, "no IP address"),
        ({"mtu": 67}, "an MTU of 67"),
        ({"mtu": 65536}, "an MTU of 65536"),
    ],
)
def test_what_dhcpd_could_not_carry_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing was sent") as caught:
        omapi_host.wanted(replace(VM, **change))

    assert caught.value.code == "E-DHCP-NAME"
    assert said in caught.value.cause
    assert caught.value.hint


ODD = st.text(st.sampled_from('a1-.:/ "{};#\\\n\0é'), max_size=8)


@given(
    name=ODD,
    domain=ODD,
    owner=st.one_of(
        ODD, ODD.map(lambda x: f"tashictl:{x}:u"), ODD.map(lambda x: f"tashictl:c:{x}")
    ),
    values=st.lists(st.one_of(ODD, st.ip_addresses(v=4).map(str)), max_size=3).map(tuple),
)
def test_whatever_is_asked_nothing_leaves_its_place(
    name: str, domain: str, owner: str, values: tuple[str, ...]
) -> None:
    entry = replace(VM, name=name or "vm1", domain=domain, routers=values, dns=values, owner=owner)
    try:
        found = omapi_host.wanted(entry)
    except InvalidRequest:
        return

    assert re.fullmatch(r"[a-z0-9-]+", found.name + found.group)
    assert re.fullmatch(r"[a-zA-Z0-9:/-]+", found.mark)
    one = r'option [a-z-]+ ("[a-z0-9._-]+"|[0-9., ]+);'
    assert re.fullmatch(rf"{one}( {one})*", found.statements)


def test_a_host_that_is_found_is_shown_with_whose_it_is() -> None:
    ours = omapi_host.found(
        3,
        {
            b"name": b"vm1",
            b"hardware-address": bytes.fromhex("525400ab0001"),
            b"ip-address": bytes([172, 16, 7, 7]),
            b"dhcp-client-identifier": omapi_host.wanted(VM).mark.encode(),
        },
    )
    bare = omapi_host.found(4, {b"name": b"w\x1b[1mw", b"dhcp-client-identifier": b"\x01\x02"})

    assert ours.owner == OWNER
    assert str(ours) == f"vm1, 52:54:00:ab:00:01, 172.16.7.7 ({OWNER})"
    assert bare.owner == ""
    assert str(bare).startswith("w?[1mw, no MAC, no address (no mark of ours")


def test_an_address_of_ipv6_that_is_found_is_shown() -> None:
    raw = bytes.fromhex("20010db8000000000000000000000007")

    assert omapi_host.found(3, {b"ip-address": raw}).address == "2001:db8::7"
