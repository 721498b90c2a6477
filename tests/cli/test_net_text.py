"""What a person sees of a change of a host's network, and of one in flight."""

from datetime import UTC, datetime, timedelta, timezone

from tashictl.cli import net_text, text
from tashictl.model.host import HostConfig
from tashictl.model.net import Address, HostNet, Link, Pending, Picture
from tashictl.model.network import Network
from tashictl.planning.net.propose import Proposal, Wanted, propose
from tests.planning.net.cases import TEMPLATES

NOW = datetime(2026, 11, 22, 14, 30, 0, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))
ETH0 = Link(name="eth0", up=True, addresses=(Address(cidr="10.0.0.2/24"),))


def proposed(network: Network, *links: Link, taps: dict[str, int] | None = None) -> Proposal:
    host = HostConfig(name="node1", address="10.0.0.2", uplink="eth0")
    wanted = Wanted(host=host, networks=(network,), templates=TEMPLATES, taps=taps or {})
    net = HostNet(picture=Picture(links=links), manager="ifupdown")
    return propose(wanted, net)


def lines(proposal: Proposal, paint: text.Paint = text.plain) -> list[str]:
    return list(net_text.difference(proposal, paint))


def test_a_summary_comes_first_then_live_changes_then_files() -> None:
    said = lines(proposed(Network(id=999, name="cluster", vlan=999, bridge="vmbr.999"), ETH0))

    assert said[0] == "node1  + vlan eth0.999, bridge vmbr.999 (mtu 1500)     4 files"
    assert said[1:3] == ["  + vlan eth0.999 (tag 999 on eth0)", "  + bridge vmbr.999"]
    assert said.index("  +++ /etc/network/interfaces.d/tashi") > said.index("  ~ vmbr.999 up")


def test_addresses_that_move_are_in_the_summary_which_is_never_wider_than_100() -> None:
    said = lines(proposed(Network(id=1, name="lan", bridge="vmbr"), ETH0))

    assert said[:2] == [
        "node1  + bridge vmbr (mtu 1500), 10.0.0.2/24 on vmbr     - 10.0.0.2/24 from eth0",
        "       ~ eth0 joins vmbr     4 files",
    ]


def test_taps_that_stay_are_counted() -> None:
    taps = [Link(name=f"tashi{n}.0", kind="tun", up=True, master="vmbr") for n in (1, 2)]
    bridge = Link(name="vmbr", kind="bridge", up=True)
    network = Network(id=1, name="lan", bridge="vmbr")

    one = proposed(network, ETH0, bridge, taps[0], taps={"tashi1.0": 1})
    two = proposed(network, ETH0, bridge, *taps, taps={"tashi1.0": 1, "tashi2.0": 1})

    assert net_text.summary(one).endswith("     1 TAP stays")
    assert net_text.summary(two).endswith("     2 TAPs stay")


def test_nothing_differs_also_where_guests_are() -> None:
    before = proposed(Network(id=1, name="lan", bridge="vmbr"), ETH0)
    links = (*before.picture.links, Link(name="tashi1.0", kind="tun", up=True, master="vmbr"))
    there = HostNet(
        picture=Picture(links=links), files={f.path: f.text or "" for f in before.files}
    )
    host = HostConfig(name="node1", address="10.0.0.2", uplink="eth0")
    network = Network(id=1, name="lan", bridge="vmbr")

    after = propose(Wanted(host=host, networks=(network,), templates=TEMPLATES), there)

    assert lines(after) == ["node1  nothing differs"]


def test_the_names_of_files_are_not_coloured_as_changes() -> None:
    said = lines(proposed(Network(id=999, name="c", vlan=999, bridge="vmbr.999"), ETH0), text.ansi)

    names = [line for line in said if "--- /dev/null" in line or "+++ /etc/" in line]
    assert names
    assert all("\x1b[2m" in line for line in names)
    assert "  " + text.ansi("green", "+auto eth0.999") in said


def in_flight(stage: str, **more: object) -> Pending:
    values = {
        "who": "dev@desk",
        "since": "2026-11-22T14:29:10Z",
        "left_s": 40.0,
        "active": True,
        "alive": True,
    }
    return Pending(token="t", stage=stage, **{**values, **more})  # type: ignore[arg-type]


def test_a_change_in_flight_is_told_by_the_clock_of_who_reads() -> None:
    found = net_text.pending("node1", in_flight("applied"), NOW.astimezone(EAST))

    assert found == (
        "node1  applied, by dev@desk at 16:29:10; goes back by itself at 16:30:40 unless confirmed"
    )


def test_what_goes_back_already_is_not_offered_for_confirmation() -> None:
    found = net_text.pending("node1", in_flight("reverting"), NOW)

    assert found == "node1  reverting, by dev@desk at 14:29:10"


def test_a_change_that_ended_says_why_in_words_and_the_day_where_it_is_not_today() -> None:
    ended = in_flight("reverted", active=False, detail="late", since="2026-11-21T14:29:10Z")

    assert net_text.pending("node1", ended, NOW) == (
        "node1  reverted (no proof that it works came in time), by dev@desk at 2026-11-21 14:29:10"
    )
