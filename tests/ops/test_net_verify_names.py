"""`net verify` and the servers of names: a probe comes and goes, whatever happens in between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tashictl.adapters.sim.names import SimDns, SimNames
from tashictl.errors import OperationFailed, TashiError
from tashictl.model.naming import DnsEntry
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
