import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tashictl.planning import addressing

MAC = "52:54:00:12:34:56"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", (None, None, None)),
        ("lan", ("lan", None, None)),
        ("7", ("7", None, None)),
        ("lan:10.0.0.7", ("lan", "10.0.0.7", None)),
        (":10.0.0.7", (None, "10.0.0.7", None)),
        (f"lan::{MAC}", ("lan", None, MAC)),
        (f"lan:10.0.0.7:{MAC}", ("lan", "10.0.0.7", MAC)),
        ("lan:[fd00::0:7]", ("lan", "fd00::7", None)),
        (f"lan:[fd00::7]:{MAC}", ("lan", "fd00::7", MAC)),
        (f"lan::{MAC.upper()}", ("lan", None, MAC)),
        (f"::{MAC}", (None, None, MAC)),
    ],
)
def test_a_nic_is_network_address_and_mac(
    text: str, parts: tuple[str | None, str | None, str | None]
) -> None:
    assert addressing.split_nic(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "lan:10.0.0",
        "lan:10.0.0.256",
        "lan:fd00::7",
        "lan:[fd00::7",
        "lan:10.0.0.7:52:54:00",
        "lan::52:54:00:12:34",
        "lan::53:54:00:12:34:56",
        "lan::ff:ff:ff:ff:ff:ff",
        "lan::52:54:00:12:34:5g",
        "lan:10.0.0.7:x",
        "lan:10.0.0.7\n",
        "lan:[fe80::1%eth0]",
    ],
)
def test_what_is_no_nic_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        addressing.split_nic(text)


@given(
    st.sampled_from(["", "lan", "7"]),
    st.one_of(st.none(), st.ip_addresses()),
    st.one_of(st.none(), st.binary(min_size=6, max_size=6)),
)
def test_what_is_written_is_read_back(
    network: str,
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
    raw: bytes | None,
) -> None:
    mac = bytes([raw[0] & 0xFE, *raw[1:]]).hex(":") if raw else None
    shown = "" if ip is None else f"[{ip}]" if ip.version == 6 else str(ip)
    text = network + (f":{shown}" if ip or mac else "") + (f":{mac}" if mac else "")

    assert addressing.split_nic(text) == (network or None, str(ip) if ip else None, mac)


@given(st.text())
@example("lan:10.0.0.7%eth0")
@example("lan:[fe80::1%$(reboot)]")
def test_any_text_is_read_or_refused_and_what_is_read_is_in_normal_form(text: str) -> None:
    try:
        _, ip, mac = addressing.split_nic(text)
    except ValueError:
        return

    assert ip is None or str(ipaddress.ip_address(ip)) == ip
    assert set(ip or "") <= set("0123456789abcdef.:")
    assert mac is None or addressing.check_mac(mac) == mac


@pytest.mark.parametrize(
    ("ip", "cidr", "fits"),
    [
        ("10.0.0.5", "10.0.0.0/24", True),
        ("10.0.1.5", "10.0.0.0/24", False),
        ("10.0.0.0", "10.0.0.0/24", False),
        ("10.0.0.255", "10.0.0.0/24", False),
        ("10.0.0.0", "10.0.0.0/31", True),
        ("fd00::1", "fd00::/64", True),
        ("fd01::1", "fd00::/64", False),
    ],
)
def test_an_address_lies_in_its_network(ip: str, cidr: str, fits: bool) -> None:
    assert addressing.inside(ip, cidr) is fits
