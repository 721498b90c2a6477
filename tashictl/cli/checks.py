"""What was checked, as a list: one row for each requirement of a host, or for each look at the
database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from tashictl.cli import text
from tashictl.cli.progress import Progress
from tashictl.cli.tables import Column, Shown, Table
from tashictl.errors import FaultsFound

if TYPE_CHECKING:
    from tashictl.adapters.store.check import Finding as StateFinding
    from tashictl.model.settings import Note, Origin
    from tashictl.planning.requirements import Finding

HOST_CHECK_KEYS = ("host", "check", "ok", "state", "seen", "remedy")
CONFIG_KEYS = ("section", "option", "value", "origin")
STATE_CHECK_KEYS = ("id", "severity", "evidence", "remedy")
_COLOURS = {"ok": "green", "advice": "yellow", "not met": "red"}
_SEVERITY_COLOURS = {"note": "green", "warning": "yellow", "error": "red"}
_SHOWN_HOSTS = 4


class Row(Struct, frozen=True, kw_only=True):
    """One requirement of one host; `place` keeps the order of both."""

    place: int
    host: str
    finding: Finding


def rows(results: Iterable[tuple[str, Sequence[Finding]]]) -> list[Row]:
    """The rows of several hosts."""
    every = [(host, finding) for host, found in results for finding in found]
    return [
        Row(place=place, host=host, finding=finding) for place, (host, finding) in enumerate(every)
    ]


def host_check_table() -> Table[Row]:
    """The table of requirements; the remedy of one that is not met trails its row."""
    return Table(
        things="requirements",
        keys=HOST_CHECK_KEYS,
        record=_record,
        name=lambda row: f"{row.host}/{row.finding.check.replace(' ', '-')}",
        order=lambda row: row.place,
        note=lambda row: _first(row.finding.remedy),
        columns=(
            Column(key="host", header="HOST", show=lambda r: r.host),
            Column(key="check", header="CHECK", show=lambda r: r.finding.check),
            Column(
                key="state",
                header="STATE",
                show=lambda r: r.finding.state,
                colour=lambda r: _COLOURS[r.finding.state],
            ),
            Column(key="seen", header="SEEN", show=lambda r: r.finding.seen),
            Column(
                key="remedy",
                header="REMEDY",
                shown=Shown.CHOSEN,
                show=lambda r: _first(r.finding.remedy),
            ),
        ),
    )


def _record(row: Row) -> dict[str, object]:
    finding = row.finding
    return {
        "host": row.host,
        "check": finding.check,
        "ok": finding.ok,
        "state": finding.state,
        "seen": finding.seen,
        "remedy": finding.remedy or None,
    }


def _first(remedy: str) -> str:
    return remedy.split("\n", 1)[0]


def faults(together: Iterable[tuple[list[str], Finding]]) -> list[FaultsFound]:
    """What is not met as errors, those of several hosts as one, with the whole remedy."""
    return [
        FaultsFound("E-CHECK", _line(hosts, f), hint=f.remedy, host=hosts[0])
        for hosts, f in together
        if not f.ok
    ]


def advise(report: Progress, together: Iterable[tuple[list[str], Finding]]) -> None:
    """Tell what is met and could be better."""
    for hosts, finding in together:
        if finding.state == "advice":
            report.note(_line(hosts, finding))
            for line in finding.remedy.splitlines():
                report.note(f"  {line}")


def _line(hosts: Sequence[str], finding: Finding) -> str:
    return f"{text.few(hosts, _SHOWN_HOSTS)}: {finding.check}: {finding.seen}"


def state_check_table(order: Sequence[StateFinding]) -> Table[StateFinding]:
    """The table of looks at the database, in their own order."""
    places = {id(finding): place for place, finding in enumerate(order)}
    return Table(
        things="findings",
        keys=STATE_CHECK_KEYS,
        record=lambda f: {
            "id": f.id,
            "severity": f.severity,
            "evidence": f.evidence,
            "remedy": f.remedy or None,
        },
        name=lambda f: f.id,
        order=lambda f: places[id(f)],
        note=lambda f: _first(f.remedy),
        columns=(
            Column(key="id", header="CHECK", show=lambda f: f.id),
            Column(
                key="severity",
                header="SEVERITY",
                show=lambda f: f.severity,
                colour=lambda f: _SEVERITY_COLOURS[f.severity],
            ),
            Column(key="evidence", header="SEEN", show=lambda f: f.evidence),
            Column(
                key="remedy", header="REMEDY", shown=Shown.CHOSEN, show=lambda f: _first(f.remedy)
            ),
        ),
    )


def config_check_table() -> Table[Note]:
    """The table of what there is to say about the configuration, in its own order."""
    return Table(
        things="notes",
        keys=("weight", "text", "origin"),
        record=lambda n: {"weight": n.weight.value, "text": n.text, "origin": n.where},
        name=lambda n: n.text,
        order=lambda _: 0,
        columns=(
            Column(
                key="weight",
                header="WEIGHT",
                show=lambda n: n.weight.value,
                colour=lambda n: _SEVERITY_COLOURS[n.weight.value],
            ),
            Column(key="text", header="NOTE", show=lambda n: n.text),
            Column(key="origin", header="ORIGIN", show=lambda n: n.where),
        ),
    )


def config_table() -> Table[Origin]:
    """The table of options, with where each was set."""
    return Table(
        things="options",
        keys=CONFIG_KEYS,
        record=lambda o: {
            "section": o.section,
            "option": o.option,
            "value": o.value,
            "origin": o.where,
        },
        name=lambda o: f"{o.section}.{o.option}",
        order=lambda _: 0,
        columns=(
            Column(key="section", header="SECTION", show=lambda o: o.section),
            Column(key="option", header="OPTION", show=lambda o: o.option),
            Column(key="value", header="VALUE", show=lambda o: o.value),
            Column(key="origin", header="ORIGIN", show=lambda o: o.where),
        ),
    )
