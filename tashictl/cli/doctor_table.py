"""What `doctor` shows: a list for people, the worst first; rows for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from tashictl.cli import output, text
from tashictl.cli.options import Globals
from tashictl.cli.tables import Column, Shown, Table
from tashictl.planning.doctor.findings import Finding, Severity, counts, worst_first

KEYS = ("host", "id", "subject", "severity", "evidence", "remedy", "fix", "fixed")
CONTROLLER = "controller"
_COLOURS = {"ok": "green", "note": "dim", "warning": "yellow", "error": "red"}
_MARKS = {"ok": "✓", "note": "·", "warning": "!", "error": "✗"}
_SHOWN_HOSTS = 2


class Row(Struct, frozen=True, kw_only=True):
    """One finding; `host` is None for this machine, `fixed` that it was mended just now."""

    place: int
    host: str | None
    finding: Finding
    fixed: bool = False

    @property
    def severity(self) -> str:
        """``ok``, ``note``, ``warning`` or ``error``."""
        return self.finding.severity.value


def table() -> Table[Row]:
    """The rows as a table, the worst first."""
    return Table(
        things="findings",
        keys=KEYS,
        record=_record,
        name=lambda row: f"{row.host or CONTROLLER}/{row.finding.id}",
        order=lambda row: worst_first(row.finding.severity) * 1_000_000 + row.place,
        note=lambda row: _first(row.finding.remedy),
        columns=(
            Column(
                key="severity",
                header="SEVERITY",
                show=lambda r: r.severity,
                colour=lambda r: _COLOURS[r.severity],
            ),
            Column(key="host", header="HOST", show=lambda r: r.host or CONTROLLER),
            Column(key="id", header="CHECK", show=lambda r: r.finding.id),
            Column(key="subject", header="SUBJECT", show=lambda r: r.finding.subject),
            Column(key="evidence", header="EVIDENCE", show=lambda r: r.finding.evidence),
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
        "id": finding.id,
        "subject": finding.subject or None,
        "severity": row.severity,
        "evidence": finding.evidence,
        "remedy": finding.remedy or None,
        "fix": finding.can_be_mended,
        "fixed": row.fixed,
    }


def _first(remedy: str) -> str:
    return remedy.split("\n", 1)[0]


def emit(face: Globals, rows: Sequence[Row], every: bool, looked_at: str) -> None:
    """Print what is not well, or all; for people as a list with a closing line of counts."""
    shown = [r for r in rows if every or r.fixed or r.finding.severity is not Severity.OK]
    closing = f"{looked_at}: {counts(row.finding.severity for row in rows)}"
    output.emit_told(face, shown, table(), _lines, closing)


def _lines(rows: Iterable[Row], width: int | None, paint: text.Paint) -> Iterator[str]:
    """Each finding once, with the hosts that have it; below it what to do."""
    grouped: dict[tuple[Finding, bool], list[str]] = {}
    for row in sorted(rows, key=table().order):
        bare = Finding(
            id=row.finding.id,
            severity=row.finding.severity,
            evidence=row.finding.evidence,
            remedy=row.finding.remedy,
            subject=row.finding.subject,
        )
        grouped.setdefault((bare, row.fixed), []).append(row.host or CONTROLLER)
    heads = [text.visible(text.few(hosts, _SHOWN_HOSTS)) for hosts in grouped.values()]
    hosts_width = max((text.cells_of(head) for head in heads), default=0)
    ids_width = max((len(finding.id) for finding, _ in grouped), default=0)
    for ((finding, fixed), _hosts), head in zip(grouped.items(), heads, strict=True):
        gap = " " * (hosts_width - text.cells_of(head))
        mark = _MARKS[finding.severity.value]
        start = f"{paint(_COLOURS[finding.severity.value], mark)} {head}{gap}  "
        said = _said(finding, fixed)
        indent = 2 + hosts_width + 2
        column = indent + ids_width + 2
        pieces = _wrapped(said, width, column)
        yield f"{start}{finding.id:{ids_width}}  {pieces[0]}".rstrip()
        yield from (" " * column + piece for piece in pieces[1:])
        for place, line in enumerate(text.visible_lines(finding.remedy)):
            yield " " * column + paint("dim", f"{'  ' if place else '→ '}{line}")


def _said(finding: Finding, fixed: bool) -> str:
    subject = f"{finding.subject}: " if finding.subject else ""
    return text.visible(f"{subject}{finding.evidence}" + (" (mended)" if fixed else ""))


def _wrapped(said: str, width: int | None, column: int) -> list[str]:
    return text.broken(said, width, column).splitlines() or [""]
