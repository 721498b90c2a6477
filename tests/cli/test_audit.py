"""`tashictl audit`: what it says, its exit codes, its dry run, and what it reserves."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.adapters.sim.names import NameTables, SimNames
from tashictl.cli import wiring
from tashictl.planning.audit import repairs
from tests.cli.office import Office, own
from tests.ops.audits import answer
from tests.planning.audit import worlds

INVENTORY = """\
hosts:
  node1: {address: 10.77.0.1}
  node2: {address: 10.77.0.2}
networks:
  - {id: 1, name: lan, bridge: vmbr, cidr: 10.0.0.0/24, range: 10.0.0.10-10.0.0.99, dhcp: isc-omapi}
"""
SETTINGS = """
[DhcpDns]
dnsServer = 10.0.0.2 53
dnsDomain = lab.test
dhcpServer = 10.77.0.1 7911
"""


class Registry(Office):
    """An office with servers of names; `tables` are what they have."""

    tables: NameTables

    def mark(self, number: int) -> str:
        return f"tashictl:{own(self)}:{worlds.uuid(number)}"

    def register(self, number: int) -> None:
        """A VM's entries, as they should be."""
        owner = self.mark(number)
        entry = worlds.dns_entry(number, owner=owner)
        self.tables.dns[entry.name] = entry
        self.tables.pointers[worlds.address(number)] = entry
        self.tables.dhcp[f"web{number}"] = worlds.dhcp_entry(number, owner=owner)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    office = Registry(tmp_path, monkeypatch)
    office.make()
    (office.folder / "inventory" / "lab.yaml").write_text(INVENTORY)
    with (office.folder / "Tashi.cfg").open("a") as file:
        file.write(SETTINGS)
    tables = office.tables = NameTables()
    monkeypatch.setattr(wiring, "SystemNames", lambda: SimNames(tables))
    monkeypatch.setattr(wiring, "SystemClock", lambda: office.clock)
    for name in ("node1", "node2"):
        office.remote.probes[name] = lambda nonce: answer(nonce, tables)
    office.remote.guests["10.77.0.1", "127.0.0.1", 7911] = office.remote.guests[
        "node1", "127.0.0.1", 7911
    ] = lambda: None  # type: ignore[assignment,return-value]
    with office.store().transaction() as tx:
        for number in (1, 2):
            tx.next_vm_id()
            tx.put_vm(worlds.a_vm(number))
            office.register(number)
    return office


def spoil(office: Registry) -> None:
    """One of each: missing, wrong, orphan, foreign."""
    office.register(5)
    del office.tables.dns["web1.lab.test"]
    office.tables.dns["web2.lab.test"] = worlds.dns_entry(
        2, owner=office.mark(2), addresses=("10.0.0.77",)
    )
    del office.tables.pointers["10.0.0.12"]
    name = "12.0.0.10.in-addr.arpa"
    office.tables.records.add(worlds.record(name, "PTR", "printer.lab.test"))
    office.tables.records.add(worlds.record("www.lab.test", "A", "10.0.0.50"))


def test_where_all_agree_it_says_so_in_a_line_and_exits_0(office: Registry) -> None:
    done = office.ok("audit")
    assert done.out == "2 VMs against 2 zones, dhcpd on node1, 2 hosts: nothing disagrees\n"
    assert done.err == ""
    assert office.ok("audit", "-o", "json").json() == []


def test_both_sides_are_told_and_what_mends_them(office: Registry) -> None:
    spoil(office)
    done = office.run("audit")
    assert done.code == 9
    assert done.out == GOLDEN
    assert len(max(done.out.splitlines(), key=len)) <= 100


GOLDEN = """\
✗ dns-missing  web1.lab.test           database: 10.0.0.11 of web1; dns: nothing
                                       → --repair: add it
✗ dns-wrong    web2.lab.test           database: 10.0.0.12 of web2; dns: 10.0.0.77
                                       → --repair: put the right one there
✗ dns-orphan   web5.lab.test           database: nothing
                                       dns: 10.0.0.15 of a VM that is gone (7c1e0000)
                                       → --repair: remove it
✗ ptr-wrong    12.0.0.10.in-addr.arpa  database: 10.0.0.12 is web2.lab.test
                                       dns: printer.lab.test, without our mark
                                       → remove it there, if it is stale
✗ ptr-orphan   15.0.0.10.in-addr.arpa  database: nothing
                                       dns: web5.lab.test of a VM that is gone (7c1e0000)
                                       → --repair: remove it
✗ dhcp-orphan  web5                    database: nothing
                                       dhcpd on node1: web5 (52:54:00:00:00:05) 10.0.0.15, of a VM
                                       that is gone (7c1e0000)
                                       → --repair: remove it
2 VMs against 2 zones, dhcpd on node1, 2 hosts: 6 disagree, --repair mends 5
"""


def test_programs_get_rows_and_an_error(office: Registry) -> None:
    spoil(office)
    done = office.run("audit", "-o", "json", "--filter", "kind=dns-wrong")
    assert done.code == 9
    assert done.json() == [
        {
            "kind": "dns-wrong",
            "subject": "web2.lab.test",
            "source": "dns",
            "database": "10.0.0.12 of web2",
            "found": "10.0.0.77",
            "repair": "put the right one there",
            "mends": True,
            "removes": False,
            "mended": False,
            "error": None,
        }
    ]
    assert done.error["code"] == "E-AUDIT"


def test_a_repair_leaves_only_what_is_foreign(office: Registry) -> None:
    spoil(office)
    done = office.run("audit", "--repair")
    assert done.code == 9
    assert "· 3 to remove, if it is seen once more in 40 s\n" in done.err
    assert "5 mended, 1 disagrees, --repair mends 0" in done.out
    assert "✓ dns-orphan   web5.lab.test           mended: remove it\n" in done.out
    assert office.clock.passed_s >= 40
    left = office.run("audit", "-o", "json").json()
    assert [row["kind"] for row in left] == ["ptr-wrong"]
    assert worlds.record("www.lab.test", "A", "10.0.0.50") in office.tables.records


def test_after_a_repair_of_what_is_ours_all_is_well(office: Registry) -> None:
    office.register(5)
    office.ok("audit", "--repair")
    assert office.run("audit").code == 0


def test_a_dry_repair_shows_it_and_changes_nothing(office: Registry) -> None:
    spoil(office)
    before, files = (dict(office.tables.dns), dict(office.tables.dhcp)), office.everything()
    done = office.run("audit", "--repair", "--dry-run")
    assert done.code == 9
    assert "RemoveDns   remove web5.lab.test 10.0.0.15, if it is seen once more" in done.out
    assert "AddDns      add web2.lab.test 10.0.0.12\n" in done.out
    assert done.out.endswith("nothing was changed    (--dry-run --debug prints the scripts)\n")
    assert (office.tables.dns, office.tables.dhcp) == before
    assert office.everything() == files
    steps = office.run("audit", "--repair", "--dry-run", "-o", "json").json()["steps"]
    assert {step["name"] for step in steps} == {"AddDns", "RemoveDns", "RemoveDhcp"}


def test_a_source_that_is_not_had_is_exit_4_when_nothing_else_differs(office: Registry) -> None:
    office.remote.down = {"node2"}
    done = office.run("audit")
    assert done.code == 4
    assert "! host node2: not looked at" in done.err
    assert office.run("audit", "-o", "json").error["code"] == "E-PARTIAL"
    spoil(office)
    assert office.run("audit").code == 9


def test_a_zone_that_is_not_given_out_is_a_note(office: Registry) -> None:
    office.tables.transfers = False
    done = office.ok("audit")
    assert "· dns lab.test: asked name by name, so that orphans are not found (" in done.err


def test_what_others_have_is_reserved_and_listed(office: Registry) -> None:
    spoil(office)
    office.tables.dhcp["printer"] = worlds.dhcp_entry(9, name="printer", owner="")
    dry = office.ok("audit", "--import", "--dry-run")
    assert dry.out.endswith("2 would be reserved, 0 would be released, 0 stay\n")
    assert office.store().read().quarantine == {}
    done = office.ok("audit", "--import")
    assert done.out == (
        " CHANGE   NETWORK  ADDRESS    WHY\n"
        " reserve  lan      10.0.0.19  in DHCP: printer\n"
        " reserve  lan      10.0.0.50  in DNS: www.lab.test\n"
        "2 reserved, 0 released, 0 stay\n"
    )
    assert set(office.store().read().quarantine) == {"1/10.0.0.19", "1/10.0.0.50"}
    office.tables.records.clear()
    rows = office.ok("audit", "--import", "-o", "json").json()
    assert [(row["ip"], row["change"]) for row in rows] == [
        ("10.0.0.50", "release"),
        ("10.0.0.19", "keep"),
    ]


def test_repair_and_import_are_not_one_thing(office: Registry) -> None:
    assert office.run("audit", "--repair", "--import").code == 2


def test_columns_can_be_chosen(office: Registry) -> None:
    spoil(office)
    assert office.ok("audit", "-c", "help").out.startswith("kind")
    assert office.run("audit", "-c", "kind,nonsense").code == 2
    out = office.run("audit", "-c", "kind,subject", "--no-headers").out
    assert " dns-wrong    web2.lab.test " in out


def test_the_longest_deadline_is_a_sum() -> None:
    dns = replace(worlds.SETTINGS.dns, timeout_s=7.0)
    assert repairs.longest_s(replace(worlds.SETTINGS, dns=dns)) == 46
