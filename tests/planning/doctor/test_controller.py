"""What is said of the machine that the cluster is managed from."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.model.health import Exposed, Health, HeldLock, LoginKeys, Package, StateFault
from tashictl.model.host import HostRecord
from tashictl.model.settings import Note, Weight
from tashictl.planning.doctor import controller, table
from tashictl.planning.doctor.findings import Finding, Severity, counts

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
OK, NOTE, WARNING, ERROR = Severity.OK, Severity.NOTE, Severity.WARNING, Severity.ERROR
WELL = Health(
    folder="/c/state",
    python="3.11.2",
    python_wanted="3.11",
    packages=(Package(name="click", wanted="8.1", found="8.10.0"),),
    free_bytes=1 << 40,
    keys=(LoginKeys(host="h1", usable=("id_ed25519",)),),
)


def host(at: str | None) -> dict[str, HostRecord]:
    return {"h1": HostRecord(id=1, name="h1", last_contact=at)}


def look(**values: Any) -> dict[str, Finding]:
    desk = controller.Desk(
        now=NOW,
        hosts=values.pop("hosts", host("2026-11-26T11:59:30Z")),
        vms=values.pop("vms", 1),
        decayed_s=150.0,
        notes=values.pop("notes", ()),
    )
    found = controller.findings(replace(WELL, **values), desk)
    assert all(f.remedy for f in found if f.severity is not OK)
    return {f.id: f for f in reversed(found)}


def unwell(found: dict[str, Finding]) -> dict[str, Severity]:
    return {i: f.severity for i, f in found.items() if f.severity is not OK}


def test_a_machine_that_is_well_has_every_check_and_no_fault() -> None:
    found = look()

    assert unwell(found) == {}
    assert set(found) == {c.id for c in table.CONTROLLER}


@pytest.mark.parametrize(
    ("package", "fault"),
    [
        (Package(name="fabric", wanted="3.2", found="3.1.9"), True),
        (Package(name="fabric", wanted="3.2", found="3.10"), False),
        (Package(name="fabric", wanted="3.2", found="3.2"), False),
        (Package(name="fabric", wanted="3.2.0", found="3.2"), False),
        (Package(name="fabric", wanted="3.2", found=None), True),
        (Package(name="dnspython", wanted="2.6", found=None, optional=True), False),
        (Package(name="dnspython", wanted="2.6", found="2.4.1", optional=True), True),
    ],
)
def test_packages_are_compared_as_numbers(package: Package, fault: bool) -> None:
    found = look(packages=(package,))["controller.packages"]

    assert (found.severity is ERROR) is fault
    assert not fault or found.remedy == f"pip install '{package.name}>={package.wanted}'"


def test_an_old_python_is_an_error() -> None:
    assert unwell(look(python="3.9.18")) == {"controller.python": ERROR}


def test_a_state_folder_that_others_may_read_is_mended_where_it_is_ours() -> None:
    exposed = (
        Exposed(path="/c/state/tashi.json", why="mode 0644, should be 0600"),
        Exposed(path="/c/state/locks", why="belongs to user 7", ours=False),
    )
    found = look(exposed=exposed)["controller.state-private"]

    assert found.severity is ERROR
    assert "/c/state/tashi.json: mode 0644, should be 0600 and 1 more" in found.evidence
    assert found.private == ("/c/state/tashi.json",)
    assert found.remedy.startswith("chown ")


def test_what_state_check_finds_is_told_and_its_notes_are_not() -> None:
    faults = tuple(
        StateFault(id=f"s-{w}", severity=w, evidence=w, remedy="") for w in ("note", "warning")
    )
    found = look(state=faults)

    assert unwell(found) == {"controller.state": WARNING}
    assert found["controller.state"].remedy == "tashictl state check"


@pytest.mark.parametrize(
    ("values", "check", "severity"),
    [
        ({"network": "nfs4"}, "controller.state-network", WARNING),
        ({"free_bytes": 100 << 20}, "controller.disk", WARNING),
        ({"free_bytes": 1 << 20}, "controller.disk", ERROR),
        ({"unknown": ("h1", "h2")}, "controller.known-hosts", WARNING),
        ({"keys_fault": "h1: no"}, "controller.ssh-keys", WARNING),
        ({"keys": (LoginKeys(host="h1"),)}, "controller.ssh-keys", ERROR),
        (
            {"secrets": (Exposed(path="/k", why="mode 0644", ours=False),)},
            "controller.secrets",
            WARNING,
        ),
    ],
)
def test_each_fault_has_its_severity(
    values: dict[str, Any], check: str, severity: Severity
) -> None:
    assert unwell(look(**values)) == {check: severity}


def test_unknown_room_is_no_fault() -> None:
    assert unwell(look(free_bytes=None)) == {}


def test_why_no_key_serves_is_told_for_all_hosts_that_have_it() -> None:
    why = ("~/.ssh/id_rsa has a passphrase: add it to the agent",)
    found = look(keys=tuple(LoginKeys(host=f"h{n}", unusable=why) for n in range(6)))

    assert "h0, h1, h2, h3 and 2 more: ~/.ssh/id_rsa has a passphrase" in (
        found["controller.ssh-keys"].evidence
    )


@pytest.mark.parametrize(
    ("held", "since", "severity"),
    [
        (False, "2026-11-26T11:00:00Z", NOTE),
        (True, "2026-11-26T11:30:00Z", OK),
        (True, "2026-11-26T09:00:00Z", WARNING),
        (True, "yesterday", OK),
        (True, "2026-11-26T09:00:00", OK),
    ],
)
def test_locks_are_told_when_left_or_held_for_long(
    held: bool, since: str, severity: Severity
) -> None:
    lock = HeldLock(name="vm-3", holder=f"pid 7 (dev@desk) since {since}", held=held)
    found = look(locks=(lock,))["controller.locks"]

    assert found.severity is severity
    assert severity is OK or "pid 7 (dev@desk)" in found.evidence


@pytest.mark.parametrize(
    ("hosts", "vms", "severity"),
    [
        (host("2026-11-26T11:58:00Z"), 1, OK),
        (host("2026-11-26T11:57:00Z"), 1, WARNING),
        (host("2026-11-26T11:57:00Z"), 0, NOTE),
        (host(None), 1, WARNING),
        (host("nonsense"), 1, WARNING),
        ({}, 0, OK),
    ],
)
def test_the_sweep_is_late_after_two_and_a_half_of_them(
    hosts: dict[str, HostRecord], vms: int, severity: Severity
) -> None:
    assert look(hosts=hosts, vms=vms)["controller.sweep"].severity is severity


def test_notes_of_the_configuration_are_told_but_for_what_nobody_has_set() -> None:
    notes = (
        Note(weight=Weight.NOTE, text="usual", where="default"),
        Note(weight=Weight.NOTE, text="a", where="/c/Tashi.cfg:3"),
    )
    assert unwell(look(notes=notes)) == {"controller.config": NOTE}
    assert unwell(look(notes=notes[:1])) == {}
    bad = Note(weight=Weight.WARNING, text="b", where="default")
    assert unwell(look(notes=(bad,))) == {"controller.config": WARNING}


def test_counts_are_words() -> None:
    assert counts([OK, ERROR, NOTE, OK, ERROR]) == "2 errors, 1 note, 2 ok"
    assert counts([]) == "nothing was looked at"
