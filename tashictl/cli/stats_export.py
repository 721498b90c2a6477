"""`stats export`: the newest values as text, or handed to gmetric."""

from __future__ import annotations

from collections.abc import Sequence

from tashictl.cli import output, progress, stats_tables, wiring
from tashictl.cli.desk import Desk
from tashictl.ops.stats import Publisher, Row
from tashictl.planning import metrics, publish

CSV_KEYS = ("of", "name", "host", "user", "at", "metric", "unit", "value")


def text_of(form: str, rows: Sequence[Row], *, stamped: bool) -> str:
    """The text in a form: prometheus, csv or json; `stamped` gives OpenMetrics its times."""
    if form == "prometheus":
        measured = [one for row in rows if (one := row.measured) is not None]
        return publish.openmetrics(measured, stamped=stamped)
    if form == "json":
        return output.to_json([_record(row) for row in rows])
    return _csv(rows)


def _record(row: Row) -> dict[str, object]:
    record = {"of": row.of, **stats_tables.record(row, 0.0)}
    del record["age_s"]
    return record


def _csv(rows: Sequence[Row]) -> str:
    import csv
    import io

    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(CSV_KEYS)
    for row in rows:
        where = (row.of, row.name, row.host or "", row.user, stats_tables.at(row))
        for name in sorted(row.values, key=lambda n: metrics.order_of(row.of, n)):
            writer.writerow((*where, name, metrics.unit_of(row.of, name), row.values[name]))
    return sink.getvalue()


def to_ganglia(at: Desk, rows: Sequence[Row], names: Sequence[str], *, spoof: bool) -> None:
    """Hand the values to gmetric; raises OperationFailed."""
    measured = [one for row in rows if (one := row.measured) is not None]
    values = publish.ganglia(measured, names, spoofed=spoof)
    if at.face.dry_run:
        for value in values:
            output.say(at.face, f"would tell gmetric {value.name} = {value.value:g} {value.unit}")
        output.say(at.face, "nothing was changed")
        return
    waiting = _publisher(at).publish(values)
    report = progress.Progress(at.face)
    if waiting is None:
        report.note(f"gmetric was told {len(values)} values")
    elif at.face.verbose or at.face.streams.stderr.isatty():
        report.note(waiting)  # from cron it was said when it failed


def _publisher(at: Desk) -> Publisher:
    from tashictl.adapters.clock import SystemClock
    from tashictl.adapters.ganglia import Gmetric

    inventory = wiring.inventory_of(at)
    return Gmetric(
        at.state_folder,
        SystemClock(),
        dmax_s=at.settings.stats.ganglia_dmax_s,
        retry_s=at.settings.stats.ganglia_retry_s,
        addresses={host.name: host.address for host in inventory.hosts},
    )
