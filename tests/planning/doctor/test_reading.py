"""What hosts answered to `doctor`, read; by three shells, by a login without root, or cut short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.planning.doctor import probe, reading
from tashictl.planning.doctor.reading import Chain, Link
from tests.planning.doctor import cases


@pytest.mark.parametrize("name", ["dash", "bash", "busybox"])
def test_the_answers_of_all_shells_say_the_same(name: str) -> None:
    seen = cases.read(name)

    assert (seen.words["ip_forward"], seen.words["nf_iptables"]) == ("0", "1")
    assert seen.words["vlan"] == "absent"
    assert seen.sshd["by"] == "effective"
    assert (seen.sshd["maxsessions"], seen.sshd["maxstartups"]) == ("100", "100:30:100")
    assert seen.links is not None
    assert list(seen.links) == ["lo", "mgmt0", "trunk0", "vmbr", "vmbr.9", "tashi1.0"]
    assert seen.links["vmbr"].kind == "bridge"
    assert replace(seen.links["trunk0"], addresses=()) == Link(
        name="trunk0", kind="veth", up=True, carrier=True, mtu=1500, master="vmbr"
    )
    assert seen.links["tashi1.0"].is_tap
    assert not seen.links["vmbr.9"].up
    assert any(a.startswith("10.77.") for a in seen.links["mgmt0"].addresses)
    assert (seen.firewall, seen.firewall_by) == ((), ("nft",))
    assert seen.began_s > 1_700_000_000
    assert seen.reading.ground is not None
    assert seen.reading.kvm == "absent"


def test_files_are_read_to_the_byte() -> None:
    seen = cases.read()

    assert set(seen.ifups) == {1, 2, 3}
    ours, absent, own = (seen.ifups[n] for n in (1, 2, 3))
    assert (ours.there, ours.executable, ours.mode) == (True, False, "644 0")
    assert ours.text.endswith('\nip link set "$1" up')  # it has no line feed at its end
    assert not absent.there
    assert (own.executable, own.text) == (True, "#!/bin/sh\nmine\n")


def test_chains_that_forward_are_read_with_their_rules_and_no_other() -> None:
    seen = cases.read("sick")

    assert [(c.family, c.table, c.name, c.policy) for c in seen.firewall] == [
        ("ip", "filter", "FORWARD", "drop"),
        ("inet", "fw", "onward", "accept"),
        ("bridge", "guard", "onward", "drop"),
    ]
    assert seen.firewall[0].rules[0] == "counter packets 0 bytes 0 jump DOCKER-USER"
    assert seen.firewall[2].rules == ()
    # What stands below a Match is not for everybody.
    assert (seen.sshd["maxsessions"], seen.sshd["disableforwarding"]) == ("4", "yes")


def test_the_words_of_iptables_are_read() -> None:
    told = (
        "by iptables\nchain ip filter FORWARD drop\nrule -A FORWARD -j DOCKER-USER\nrule\nchain x"
    )
    seen = cases.read(firewall=told)

    assert seen.firewall == (
        Chain(
            family="ip",
            table="filter",
            name="FORWARD",
            policy="drop",
            rules=("-A FORWARD -j DOCKER-USER", ""),
        ),
    )
    assert seen.firewall_by == ("iptables",)


def test_a_login_without_root_reads_the_files_of_sshd_and_no_firewall() -> None:
    seen = cases.read("no-root")

    assert seen.sshd["by"] == "files"
    assert seen.sshd["maxsessions"] == "4"
    assert (seen.firewall, seen.firewall_by) == ((), ())
    assert seen.links is not None


def test_an_ip_without_json_shows_no_interfaces() -> None:
    assert cases.read(links="1: lo: <LOOPBACK>").links is None
    assert cases.read(links="").links is None
    assert cases.read(links='["a", {"ifname": 5}, {"ifname": "x", "link": null}]').links == {
        "x": Link(name="x")
    }


def test_a_vlan_and_an_aware_bridge_are_read() -> None:
    seen = cases.read(
        links=cases.links(
            cases.link("eth0.9", vlan=9, link="eth0"), cases.link("br0", vlan_aware=True)
        )
    )
    assert seen.links is not None
    assert (seen.links["eth0.9"].parent, seen.links["eth0.9"].vlan) == ("eth0", 9)
    assert seen.links["br0"].vlan_aware
    # The id of a VXLAN is none of a VLAN, and a veth's peer is no parent.
    other = cases.links(
        {"ifname": "v", "link": "p", "linkinfo": {"info_kind": "vxlan", "info_data": {"id": 7}}}
    )
    assert cases.read(links=other).links == {"v": Link(name="v", kind="vxlan")}


def test_an_answer_that_is_cut_short_is_none() -> None:
    whole = cases.out()
    for size in range(0, len(whole) - 20, 997):
        assert reading.read(whole[:size], cases.NONCE, cases.clock_of(whole)) is None


@given(st.lists(st.text(max_size=60), max_size=30))
def test_no_answer_makes_it_raise(lines: list[str]) -> None:
    starts = ("", "rule ", "chain ", "chain a b c ", "by ", "vlan ", "mode ", "text\n")
    for section in ("doctor", "sshd", "profiles", "links", "firewall", "ifup_1"):
        for start in starts:
            told = "\n".join(f"{start}{line}" for line in lines).replace("\n@", "\n.")
            cases.found(cases.read(**{section: told}), cases.subject())


def test_it_is_one_script_with_all_of_host_check_and_the_clock_last() -> None:
    ask = probe.Ask(settings=cases.SETTINGS, cpu="x", networks=(cases.LAN, cases.TAGGED))
    script = probe.script(ask, cases.NONCE)

    assert not script.changing
    assert "IFUPS='1 999'\n" in script.text
    for section in ("basics", "qemu", "kvm", "ground", "doctor", "links", "firewall", "clock"):
        assert f"say B {section}" in script.text
    assert script.text.rindex("say B clock") > script.text.rindex("say B firewall")
    assert script.timeout_s > 30
