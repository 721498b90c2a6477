"""`net verify` and the servers of names: a probe comes and goes, whatever happens in between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tashictl.adapters.sim.names import SimDns, SimNames
from tashictl.errors import OperationFailed, TashiError
from tashictl.model.naming import DnsEntry
from tashictl.model.settings import Server
from tashictl.ops import net_verify_names as ops
from tashictl.ops import vm as vms
from tashictl.planning.net.standing import Row
from tests.ops.stage import Stage
from tests.ops.test_naming import NETWORK, wish, with_servers


@pytest.fixture
def named(stage: Stage) -> Stage:
    """The stage with servers of names and a network of three addresses."""
    return with_servers(stage)


def look(stage: Stage, *, dry: bool = False) -> dict[str, Row]:
    return {r.check: r for r in ops.rows(stage.world, stage.context, [NETWORK], dry=dry)}


def verdicts(rows: dict[str, Row]) -> dict[str, str]:
    return {check: row.verdict for check, row in rows.items()}


def test_servers_that_do_what_is_needed_are_right_and_the_probe_leaves_nothing(
    named: Stage,
) -> None:
    asked: list[DnsEntry] = []
    plain = SimDns.add

    def add(self: SimDns, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        asked.extend(entries)
        return plain(self, entries)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimDns, "add", add)
        found = verdicts(look(named))
    assert found == {
        "range": "unknown",  # the network has no cidr
        **dict.fromkeys(("dns", "dns key", "clock", "zone", "update", "reverse"), "ok"),
        **dict.fromkeys(("dhcp", "dhcp key"), "ok"),
        "dhcpd.conf": "unknown",
    }
    assert [(e.addresses, e.reverse) for e in asked] == [
        (("192.0.2.1",), False),
        (("10.5.0.12",), True),
    ]
    assert all(e.name.startswith("tashictl-probe-") for e in asked)
    assert (named.tables.dns, named.tables.dhcp, named.state.deferred) == ({}, {}, {})


def test_an_address_of_a_vm_is_not_used_for_the_probe_of_the_reverse_zone(named: Stage) -> None:
    for name in ("a", "b", "c"):
        vms.create(named.world, named.context, wish(name))
    row = look(named)["reverse"]
    assert (row.verdict, "10.5.0.10-10.5.0.12" in row.seen) == ("unknown", True)


def test_a_server_that_is_down_is_one_row_and_nothing_waits_for_it(named: Stage) -> None:
    named.tables.down.update(("dns", "dhcp"))
    found = verdicts(look(named))
    assert (found["dns"], found["dhcp"], "update" in found, "dhcp key" in found) == (
        "wrong",
        "wrong",
        False,
        False,
    )
    assert named.state.deferred == {}


def test_a_probe_that_was_put_by_a_server_that_does_not_answer_is_removed_by_the_sweep(
    named: Stage,
) -> None:
    named.tables.deaf.add("dns")
    found = look(named)
    assert found["dns"].verdict == "wrong"
    (work,) = named.state.deferred.values()
    assert not work.add
    assert work.entry.key.startswith("dns/tashictl-probe-")


@pytest.mark.parametrize(
    ("code", "wrong", "right"),
    [
        ("E-DNS-KEY", "dns key", "dns"),
        ("E-DNS-CLOCK", "clock", "dns key"),
        ("E-DNS-ZONE", "zone", "clock"),
        ("E-DNS-REFUSED", "update", "zone"),
    ],
)
def test_what_a_server_refuses_says_what_is_wrong_and_what_is_right_before_it(
    named: Stage, monkeypatch: pytest.MonkeyPatch, code: str, wrong: str, right: str
) -> None:
    error = OperationFailed(code, "it says no", cause="because", hint="mend it")
    monkeypatch.setattr(SimDns, "add", lambda *_: [error])
    found = look(named)
    row = found[wrong]
    assert (row.verdict, row.seen, row.remedy) == ("wrong", "it says no: because", "mend it")
    assert found[right].verdict == "ok"
    assert "reverse" not in found


def test_the_probe_goes_also_when_somebody_interrupts(
    named: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = SimDns.add

    def add(self: SimDns, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        plain(self, entries)
        raise KeyboardInterrupt

    monkeypatch.setattr(SimDns, "add", add)
    with pytest.raises(KeyboardInterrupt):
        look(named)
    assert named.tables.dns == {}


def test_in_a_dry_run_no_name_is_put(named: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimDns, "add", lambda *_: pytest.fail("it was put"))
    found = look(named, dry=True)
    assert (found["update"].verdict, found["reverse"].verdict) == ("unknown", "unknown")


def test_networks_with_one_domain_share_a_probe(
    named: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    plain = SimNames.omapi
    monkeypatch.setattr(SimNames, "omapi", lambda *a: (made.append(a), plain(*a))[1])
    more = replace(NETWORK, id=6, name="more", cidr="10.5.0.0/24", gateway="10.6.0.1")
    rows = ops.rows(named.world, named.context, [NETWORK, more])
    assert sum(r.check == "update" for r in rows) == 2
    assert len(made) == 1
    assert [r.verdict for r in rows if r.check == "range"] == ["unknown", "wrong"]


def on_node1(stage: Stage, text: str, **dhcp: object) -> dict[str, Row]:
    """The rows where node1 answers a look with `text` between its frames."""
    settings = stage.context.settings
    changed = replace(settings.dhcp, **dhcp)
    stage.context = replace(stage.context, settings=replace(settings, dhcp=changed))
    stage.remote.probes["node1"] = lambda nonce: text.replace("@", f"\n@{nonce} ").encode()
    return look(stage)


def test_dhcpd_conf_is_read_on_the_host_that_is_its_server(named: Stage) -> None:
    address = named.context.inventory.hosts[0].address
    server = Server(host=address, port=7911)
    conf = "max-lease-time 60; subnet 10.5.0.0 netmask 255.255.255.0 { range 10.5.0.12; }"
    found = on_node1(named, f"@B conf\n{conf}\n@Z\n", server=server)
    assert found["pools"].verdict == "wrong"
    assert (found["pools"].host, found["hosts"].verdict) == (address, "ok")
    unread = on_node1(named, "@B none\n@Z\n", server=server)["dhcpd.conf"]
    assert (unread.verdict, unread.remedy[:20]) == ("unknown", "[DhcpDns] dhcpConf i")


def test_dnsmasq_is_looked_at_on_its_host(named: Stage) -> None:
    network = replace(NETWORK, dhcp="dnsmasq")
    text = "@B server\nwatcher 17\n@B hosts\n@B names\n@Z\n"
    on_node1(named, text, dnsmasq_host="node1")
    found = {r.check: r for r in ops.rows(named.world, named.context, [network])}
    assert (found["dhcp"].seen, found["folders"].verdict) == ("dnsmasq runs, pid 17", "ok")
    on_node1(named, text, dnsmasq_host="nowhere")
    found = {r.check: r for r in ops.rows(named.world, named.context, [network])}
    assert (found["dhcp"].verdict, "folders" in found) == ("wrong", False)
