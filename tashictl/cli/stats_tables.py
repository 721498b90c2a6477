"""The tables of what was measured: of VMs, of hosts, and what `stats top` makes of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from tashictl.cli.tables import Column, Shown, Table
from tashictl.model import units
from tashictl.ops.stats import Row
from tashictl.planning.metrics import HOST, VM

KEYS = ("name", "subject", "uuid", "host", "user", "at", "age_s", "values.*")
_OLD_S = 900.0  # what was measured longer ago is pointed out

Write = Callable[[float], str]


def number(value: float) -> str:
    """Three digits, without an exponent: ``0.25``, ``12.5``, ``1430``."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if size >= 0.01 else f"{value:.0e}" if size < 0.001 else f"{value:.3f}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.0f}%"


def size(value: float) -> str:
    """A size or a speed in bytes, binary; nothing is ``0``."""
    return units.show_bytes(round(value)) if value >= 0.5 else "0"


def mib(value: float) -> str:
    """MiB, in GiB from there on."""
    return size(value * 1024 * 1024)


def percent(value: float) -> str:
    """What is in percent already."""
    return f"{value:.1f}%"


def at(row: Row) -> str | None:
    """When it was measured, ISO-8601 UTC."""
    return None if row.at_s is None else stamp(row.at_s)


def stamp(at_s: float) -> str:
    """A time since 1970 as ISO-8601 UTC."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(row: Row, now_s: float) -> dict[str, object]:
    """What programs get of a row; `age_s` and `at` are null where nothing was measured."""
    return {
        "name": row.name,
        "subject": row.subject,
        "uuid": row.uuid,
        "host": row.host,
        "user": row.user or None,
        "at": at(row),
        "age_s": None if row.at_s is None else round(now_s - row.at_s, 1),
        "values": row.values,
    }


def table(of: str, now_s: float, rows: Sequence[Row] = ()) -> Table[Row]:
    """The table of VMs or hosts, in the order of `rows`."""
    order = {row.subject: rank for rank, row in enumerate(rows)}
    return Table(
        things="VMs" if of == VM else "hosts",
        keys=KEYS,
        record=lambda row: record(row, now_s),
        name=lambda row: row.name,
        order=lambda row: order[row.subject],
        columns=(
            Column(key="name", header="NAME", show=lambda row: row.name),
            *((_HOST, _USER) if of == VM else ()),
            Column(
                key="age",
                header="AGE",
                path="age_s",
                right=True,
                show=lambda row: _age(row, now_s),
                colour=lambda row: (
                    "yellow" if row.at_s is not None and now_s - row.at_s > _OLD_S else ""
                ),
            ),
            *(_VM_COLUMNS if of == VM else _HOST_COLUMNS),
            Column(key="at", header="MEASURED", shown=Shown.CHOSEN, show=at),
        ),
    )


def _age(row: Row, now_s: float) -> str | None:
    return None if row.at_s is None else units.show_seconds(max(0.0, now_s - row.at_s))


def _value(
    name: str, header: str, write: Write = number, shown: Shown = Shown.ALWAYS
) -> Column[Row]:
    def show(row: Row) -> str | None:
        value = row.values.get(name)
        return None if value is None else write(value)

    return Column(
        key=name.lower(),
        header=header,
        path=f"values.{name}",
        right=True,
        show=show,
        shown=shown,
    )


_HOST = Column[Row](key="host", header="HOST", show=lambda row: row.host)
_USER = Column[Row](key="user", header="USER", shown=Shown.WIDE, show=lambda row: row.user or None)
_VM_COLUMNS: tuple[Column[Row], ...] = (
    _value("cpuLoad", "CPULOAD"),
    _value("rss", "RSS", mib),
    _value("vsize", "VSIZE", mib, Shown.WIDE),
    _value("recvMBs", "RECV/s", mib),
    _value("sendMBs", "SEND/s", mib),
    _value("io_read_bytes_per_s", "READ/s", size),
    _value("io_write_bytes_per_s", "WRITE/s", size),
    _value("disk_bytes", "DISK", size),
    _value("threads", "THREADS", shown=Shown.WIDE),
)
_HOST_COLUMNS: tuple[Column[Row], ...] = (
    _value("vms_alive", "VMS"),
    _value("cpu_busy", "CPU", share),
    _value("load1", "LOAD 1"),
    _value("load5", "5"),
    _value("load15", "15"),
    _value("memory_available_mib", "MEM FREE", mib),
    _value("memory_mib", "OF", mib),
    _value("swap_used_mib", "SWAP", mib, Shown.WIDE),
    _value("net_recv_bytes_per_s", "RECV/s", size),
    _value("net_send_bytes_per_s", "SEND/s", size),
    _value("mount_lib_free_bytes", "DISK FREE", size),
    _value("mount_images_free_bytes", "IMAGES FREE", size, Shown.WIDE),
    _value("pressure_cpu", "WAIT CPU", percent, Shown.WIDE),
    _value("pressure_memory", "MEM", percent, Shown.WIDE),
    _value("pressure_io", "IO", percent, Shown.WIDE),
    _value("uptime_s", "UP", units.show_seconds, Shown.WIDE),
)

# How a value of this name is written for people.
WRITERS: dict[tuple[str, str], Write] = {
    (VM, "rss"): mib,
    (VM, "vsize"): mib,
    (VM, "recvMBs"): mib,
    (VM, "sendMBs"): mib,
    (HOST, "cpu_busy"): share,
    (HOST, "memory_mib"): mib,
    (HOST, "memory_available_mib"): mib,
    (HOST, "swap_used_mib"): mib,
    (HOST, "huge_pages_free_mib"): mib,
    (HOST, "pressure_cpu"): percent,
    (HOST, "pressure_memory"): percent,
    (HOST, "pressure_io"): percent,
    (HOST, "uptime_s"): units.show_seconds,
}


def writer(of: str, name: str) -> Write:
    """How a value is written for people."""
    return WRITERS.get((of, name)) or (size if "bytes" in name else number)
