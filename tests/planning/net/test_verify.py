"""What of a network is checked, and what the answers mean."""

from collections.abc import Iterable

from msgspec.structs import replace

from tashictl.model.host import HostConfig
from tashictl.model.net import HostNet, Link, Picture
from tashictl.model.network import Network
from tashictl.planning.net import standing, verify
from tashictl.planning.net.propose import Proposal, Wanted, propose
from tashictl.planning.net.standing import Row
from tests.planning.net.cases import TEMPLATES, applied

RED = Network(id=7, name="red", vlan=999, bridge="red", gateway="10.9.0.254", mtu=9000)
N = "nonce"
ALL = frozenset(("red",))


def host(name: str, cidr: str = "", **changed: object) -> Proposal:
    """A host as the inventory says, but for `changed` of the uplink, and its own address."""
    net = HostNet(
        picture=Picture(links=(Link(name="eth0", mac="02:00:00:00:00:01", up=True, carrier=True),)),
        manager="ifupdown",
    )
    addresses = (f"red={cidr}",) if cidr else ()
    config = HostConfig(name=name, address="192.0.2.1", uplink="eth0", host_addresses=addresses)
    wanted = Wanted(host=config, networks=(RED,), templates=TEMPLATES)
    first = propose(wanted, net)
    links = tuple(
        standing_link(link, changed)
        for link in first.picture.links
        if link.name != changed.get("no")
    )
    picture = Picture(links=links, routes=first.picture.routes)
    files = applied({}, first.files)
    modes = {f.path: f.mode for f in first.files}
    return propose(wanted, HostNet(picture=picture, files=files, modes=modes, manager="ifupdown"))


def standing_link(link: Link, changed: dict[str, object]) -> Link:
    values = {k: v for k, v in changed.items() if k != "no"}
    return replace(link, **values) if link.name == "eth0" else link


def probes(*some: Proposal, asked: Iterable[str] = ("a",)) -> tuple[verify.Probe, ...]:
    return verify.probes([verify.Found(proposal=p) for p in some], ALL, frozenset(asked))


def rows(one: Proposal, **taps: int) -> dict[str, Row]:
    found = [verify.Found(proposal=one, taps=taps)]
    return {row.check: row for row in verify.standing_rows(found, ALL)}


def answered(asked: tuple[verify.Probe, ...], **said: str) -> dict[str, Row]:
    lines = "".join(
        f"\n@{N} B probe {n} {said[p.check]}\n" for n, p in enumerate(asked) if p.check in said
    )
    return {row.check: row for row in verify.judge(asked, f"{lines}\n@{N} Z\n".encode(), N)}


def test_a_host_as_the_inventory_says_is_ok_in_all() -> None:
    found = rows(host("a", "10.9.0.1/24"))

    assert {check: row.verdict for check, row in found.items()} == dict.fromkeys(
        ("carrier", "live", "files", "bridge", "port", "address"), "ok"
    )


def test_a_cable_that_is_pulled_is_found() -> None:
    row = rows(host("a", carrier=False))["carrier"]

    assert (row.verdict, row.seen) == ("wrong", "eth0 has no carrier")
    assert "switch port" in row.remedy


def test_a_vlan_that_is_gone_is_found_at_its_port_and_in_the_live_state() -> None:
    found = rows(host("a", no="eth0.999"))

    assert found["port"].verdict == "wrong"
    assert found["port"].seen == "eth0.999 is not there"
    assert found["live"].verdict == "wrong"
    assert found["files"].verdict == "ok"


def test_files_that_the_next_boot_would_not_read_are_told_though_all_is_right_live() -> None:
    one = host("a", "10.9.0.1/24")
    config = HostConfig(
        name="a", address="192.0.2.1", uplink="eth0", host_addresses=("red=10.9.0.1/24",)
    )
    bare = HostNet(picture=one.net.picture, manager="ifupdown")
    found = rows(propose(Wanted(host=config, networks=(RED,), templates=TEMPLATES), bare))

    assert found["live"].verdict == "ok"
    assert found["files"].verdict == "wrong"
    assert "until the next boot" in found["files"].seen


def test_hosts_with_addresses_ask_the_next_one_and_for_frames_of_the_whole_size() -> None:
    some = (host("a", "10.9.0.1/24"), host("b"), host("c", "10.9.0.3/24"))

    asked = {p.check: (p.other, p.words) for p in probes(*some)}

    assert asked == {
        "duplicate": ("", ("heard", "red", "10.9.0.1", "taken", "ok")),
        "reach": ("c", ("reach", "red", "10.9.0.3")),
        "mtu": ("c", ("whole", "red", "10.9.0.3", "8972")),
        "gateway": ("", ("gateway", "red", "10.9.0.254")),
    }
    assert probes(*some, asked=("c",))[1].other == "a"


def test_a_host_without_an_address_asks_by_arp_and_alone_can_prove_nothing() -> None:
    a, b = host("a"), host("b", "10.9.0.2/24")

    assert [(p.other, p.words) for p in probes(a, b)] == [
        ("b", ("heard", "red", "10.9.0.2", "ok", "silent"))
    ]
    left = list(verify.unprovable([verify.Found(proposal=a)], probes(a)))
    assert [(r.check, r.verdict, r.seen) for r in left] == [
        ("reach", "unknown", "not provable: no host address")
    ]


def test_answers_say_what_is_wrong_and_where_to_look() -> None:
    asked = probes(host("a", "10.9.0.1/24"), host("b", "10.9.0.2/24"))

    found = answered(asked, reach="silent", mtu="unreached", duplicate="taken", gateway="ok")

    assert {c: r.verdict for c, r in found.items()} == {
        "reach": "wrong",
        "mtu": "unknown",
        "duplicate": "wrong",
        "gateway": "ok",
    }
    assert found["reach"].seen == "b (10.9.0.2) does not answer"
    assert found["reach"].remedy == "VLAN 999 on the switch ports of a and b, and between"
    assert found["gateway"].remedy == ""


def test_a_smaller_mtu_on_the_way_is_wrong_and_silence_is_unknown() -> None:
    asked = probes(host("a", "10.9.0.1/24"), host("b", "10.9.0.2/24"))

    found = answered(asked, mtu="silent", duplicate="unable")

    assert (found["mtu"].verdict, found["mtu"].seen) == (
        "wrong",
        "9000 bytes do not reach b whole",
    )
    assert found["duplicate"].verdict == found["reach"].verdict == "unknown"


def test_a_tap_that_hangs_elsewhere_is_found() -> None:
    one = host("a")
    tap = Link(name="tashi1.0", kind="tun", up=True)
    net = replace(one.net, picture=replace(one.net.picture, links=(*one.net.picture.links, tap)))
    found = {
        row.check: row
        for row in standing.strand(replace(one, net=net), one.layout.strands[0], {"tashi1.0": 7})
    }

    assert (found["taps"].verdict, found["taps"].seen) == ("wrong", "tashi1.0 not in red")
