"""Filters that see frames of guests, and routing."""

from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.planning.doctor.findings import Finding, Severity
from tests.planning.doctor import cases
from tests.planning.doctor.cases import LAN, lan, link

ON = "ip_forward 1\nip6_forward 0\nnf_iptables 1\nnf_ip6tables 1"
OFF = "ip_forward 1\nnf_iptables 0\nnf_ip6tables 0"


def look(firewall: str = "by nft", words: str = ON, *more: dict[str, Any]) -> dict[str, Finding]:
    seen = cases.read(doctor=words, firewall=firewall, links=cases.links(*lan(), *more))
    return cases.found(seen, cases.subject())


def chain(*rules: str, policy: str = "drop", family: str = "ip", by: str = "nft") -> str:
    lines = [f"by {by}", f"chain {family} filter FORWARD {policy}", *(f"rule {r}" for r in rules)]
    return "\n".join(lines)


def test_a_policy_of_drop_is_an_error_where_frames_are_shown_to_it() -> None:
    found = look(chain("counter packets 0 bytes 0 jump DOCKER-USER"))["net.bridge-filter"]

    assert found.severity is Severity.ERROR
    assert "bridge-nf-call-iptables is 1" in found.evidence
    assert "chain FORWARD (ip filter) has policy DROP" in found.evidence
    first, *more = found.remedy.splitlines()
    assert first == "sysctl -w net.bridge.bridge-nf-call-iptables=0"
    assert "nft insert rule ip filter FORWARD iifname vmbr oifname vmbr accept" in more[-1]


def test_docker_is_named_where_it_is_there() -> None:
    found = look(chain(by="iptables"), ON, link("docker0", kind="bridge"))["net.bridge-filter"]

    assert "docker0 is there (docker); docker sets this policy at each start" in found.evidence
    assert "iptables -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT" in found.remedy


@pytest.mark.parametrize(
    "rules",
    [
        ("counter packets 1 bytes 2 reject with icmpx admin-prohibited",),
        ("-A FORWARD -m conntrack --ctstate RELATED -j ACCEPT", "-A FORWARD -j REJECT"),
        ("-A FORWARD -j DROP",),
        ("ct state established accept", "drop"),
    ],
)
def test_a_last_rule_that_takes_all_is_like_a_policy(rules: tuple[str, ...]) -> None:
    found = look(chain(*rules, policy="accept"))["net.bridge-filter"]

    assert found.severity is Severity.ERROR
    assert "refuses all in its last rule" in found.evidence


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -m physdev --physdev-is-bridged -j ACCEPT",
        "-A FORWARD -i vmbr -o vmbr -j ACCEPT",
        'iifname "vmbr" oifname "vmbr" counter packets 0 bytes 0 accept',
    ],
)
def test_a_rule_that_lets_guests_pass_is_seen(rule: str) -> None:
    assert look(chain(rule))["net.bridge-filter"].severity is Severity.OK


@pytest.mark.parametrize(
    ("firewall", "words"),
    [
        (chain(), OFF),  # nobody shows frames to it
        (chain(), "ip_forward 0"),  # the module is not loaded
        (chain("oifname docker0 accept", "-A FORWARD -i x -j DROP", policy="accept"), ON),
        (chain(family="ip6"), "nf_iptables 1\nnf_ip6tables 0"),
        ("by nothing", ON),
    ],
)
def test_what_harms_nobody_is_well(firewall: str, words: str) -> None:
    assert look(firewall, words)["net.bridge-filter"].severity is Severity.OK


def test_each_protocol_is_told_for_itself_and_inet_is_both() -> None:
    found = look(chain(family="inet"))

    assert found["net.bridge-filter/IPv4"].severity is Severity.ERROR
    assert "bridge-nf-call-ip6tables is 1" in found["net.bridge-filter/IPv6"].evidence


def test_a_chain_of_family_bridge_needs_no_setting() -> None:
    found = look(chain(family="bridge"), OFF)["net.bridge-filter"]

    assert found.severity is Severity.ERROR
    assert "nft insert rule bridge filter FORWARD meta ibrname vmbr accept" in found.remedy


def test_a_filter_that_could_not_be_read_is_a_note() -> None:
    found = look("")["net.bridge-filter"]

    assert found.severity is Severity.NOTE
    assert "could not be read" in found.evidence


# -- routing


def forwarding(words: str, gateway: str, *addresses: str) -> Finding:
    bridge = link("vmbr", kind="bridge", addresses=addresses)
    seen = cases.read(doctor=words, links=cases.links(bridge, lan()[1]))
    return cases.found(seen, cases.subject(replace(LAN, gateway=gateway)))["host.forwarding"]


def test_a_gateway_that_does_not_forward_is_an_error() -> None:
    found = forwarding("ip_forward 0", "10.1.0.254", "10.1.0.254")

    assert found.severity is Severity.ERROR
    assert found.evidence == "net.ipv4.ip_forward is 0, and this host is the gateway of lan"
    assert found.remedy.splitlines()[0] == "sysctl -w net.ipv4.ip_forward=1"


def test_a_gateway_of_ipv6_has_a_switch_of_its_own() -> None:
    found = forwarding("ip_forward 1\nip6_forward 0", "fd00::1", "fd00::1")

    assert "net.ipv6.conf.all.forwarding=1" in found.remedy
    assert forwarding("ip6_forward 1", "fd00::1", "fd00::1").severity is Severity.OK


def test_where_the_gateway_is_elsewhere_nothing_need_be_forwarded() -> None:
    found = forwarding("ip_forward 0", "10.1.0.254", "10.1.0.7")

    assert found.severity is Severity.OK
    assert "not needed" in found.evidence
