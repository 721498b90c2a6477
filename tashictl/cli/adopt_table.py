"""What became of QEMUs that were started by hand, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tashictl.cli import errors_text
from tashictl.cli.tables import Column, Shown, Table
from tashictl.model.units import show_memory

if TYPE_CHECKING:
    from tashictl.ops.adopt import Result

KEYS = ("pid", "result", "name", "id", "uuid", "host", "reason", "hint")
_COLOURS = {"adopted": "green", "known": "dim", "refused": "red", "failed": "red"}

Row = tuple[str, "Result"]


def table() -> Table[Row]:
    """What became of each QEMU; why it was refused, and what helps, trails its row."""
    return Table(
        things="QEMUs that are not known",
        keys=KEYS,
        record=_record,
        name=lambda row: _name(row[1]) or str(row[1].candidate.process.pid),
        order=lambda row: row[1].candidate.process.pid,
        note=lambda row: "; try: ".join(t for t in _why(row[1]) if t),
        columns=(
            Column(
                key="pid", header="PID", right=True, show=lambda r: str(r[1].candidate.process.pid)
            ),
            Column(
                key="result",
                header="RESULT",
                show=lambda r: _word(r[1]),
                colour=lambda r: _COLOURS[_word(r[1])],
            ),
            Column(key="name", header="NAME", show=lambda r: _name(r[1])),
            Column(
                key="id",
                header="ID",
                right=True,
                show=lambda r: str(r[1].vm.id) if r[1].vm is not None else None,
            ),
            Column(key="cores", header="CORES", path="id", right=True, show=_cores),
            Column(key="memory", header="MEMORY", path="id", right=True, show=_memory),
            Column(key="uuid", header="UUID", shown=Shown.WIDE, show=lambda r: r[1].candidate.uuid),
        ),
    )


def _word(result: Result) -> str:
    if result.candidate.known is not None:
        return "known"
    if result.error is None:
        return "adopted"
    return "refused" if result.candidate.refusal else "failed"


def _name(result: Result) -> str | None:
    return result.vm.name if result.vm is not None else result.candidate.name or None


def _why(result: Result) -> tuple[str, str]:
    """The reason, and what helps."""
    if result.error is None:
        return "", ""
    if result.candidate.refusal:
        return result.candidate.refusal, result.candidate.remedy
    error = errors_text.translated(result.error)
    return f"{error.what}: {error.cause}" if error.cause else error.what, error.hint


def _cores(row: Row) -> str | None:
    vm = row[1].vm
    return None if vm is None else str(vm.spec.cores)


def _memory(row: Row) -> str | None:
    vm = row[1].vm
    return None if vm is None else show_memory(vm.spec.memory_mib)


def _record(row: Row) -> dict[str, object]:
    host, result = row
    reason, hint = _why(result)
    return {
        "pid": result.candidate.process.pid,
        "result": _word(result),
        "name": _name(result),
        "id": result.vm.id if result.vm is not None else None,
        "uuid": result.candidate.uuid,
        "host": host,
        "reason": reason or None,
        "hint": hint or None,
    }
