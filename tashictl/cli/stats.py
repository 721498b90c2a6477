"""`tashictl stats`: what the sweep measured, now and over time, and where else it goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tashictl.cli import commands, desk, options, output, progress
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest
from tashictl.model import units

if TYPE_CHECKING:
    from tashictl.ops.stats import Row, Subject

_FORMS = ("prometheus", "ganglia", "csv", "json")
_READABLE = 0o644  # node_exporter is another user

command = commands.Noun("stats", help="What was measured: CPU, memory, network, disks.")


@command.reads("show")
@click.argument("names", metavar="[NAME...]", nargs=-1)
@click.option("--hosts", is_flag=True, help="Hosts instead of VMs.")
@click.pass_obj
def show(face: Globals, names: tuple[str, ...], hosts: bool) -> None:
    """The newest values of the VMs, or with --hosts of the hosts."""
    from tashictl.cli import stats_tables

    at = desk.sit_down(face)
    rows = _rows(at, names, hosts=hosts)
    _say_if_none(face, rows)
    of = "host" if hosts else "vm"
    output.emit_list(face, rows, stats_tables.table(of, _now_s(at), rows))


@command.reads("top")
@click.option(
    "--by", default=None, metavar="METRIC", help="What is sorted by [cpuLoad; hosts: cpu_busy]."
)
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="So many.")
@click.option("--hosts", is_flag=True, help="Hosts instead of VMs.")
@click.pass_obj
def top(face: Globals, by: str | None, count: int, hosts: bool) -> None:
    """The VMs (or hosts) that use most, the greatest first."""
    from tashictl.cli import stats_tables

    of = "host" if hosts else "vm"
    name = by or ("cpu_busy" if hosts else "cpuLoad")
    at = desk.sit_down(face)
    rows = _rows(at, (), hosts=hosts)
    _check_names(of, [name], {value for row in rows for value in row.values})
    _say_if_none(face, rows)
    known = [row for row in rows if name in row.values]
    greatest = sorted(known, key=lambda row: -row.values[name])[:count]
    output.emit_list(face, greatest, stats_tables.table(of, _now_s(at), greatest))


@command.reads("history")
@click.argument("name")
@click.option("--since", default="24h", show_default=True, metavar="AGO", help="As 30m, 24h, 7d.")
@click.option("--until", default="0", metavar="AGO", help="Where it ends [now].")
@click.option("--metric", default=None, metavar="A,B", help="These values; 'all' for all.")
@click.pass_obj
def history(face: Globals, name: str, since: str, until: str, metric: str | None) -> None:
    """A VM or host over time; a VM that is gone too, by its name or uuid."""
    from tashictl.cli import stats_lines, wiring
    from tashictl.ops import stats
    from tashictl.planning import metrics

    output.refuse_choice(face, "stats history")
    at = desk.sit_down(face)
    kept = wiring.history(at, read_only=True)
    subject = stats.find(at.state(), kept, name)
    now = at.scene().now
    until_s = now.timestamp() - _ago("--until", until)
    since_s = now.timestamp() - _ago("--since", since)
    if since_s >= until_s:
        raise InvalidRequest("E-USAGE", f"--since {since} is not before --until {until}")
    found = sorted(
        kept.series(subject.subject, (), since_s, until_s),
        key=lambda one: metrics.order_of(subject.of, one.name),
    )
    wanted = _wanted(subject, metric, [one.name for one in found])
    if metric is None and face.for_people:
        usual = stats_lines.USUAL[subject.of]
        wanted = [n for n in wanted if n in usual] or wanted
    chosen = [one for one in found if one.name in wanted]
    if not chosen:
        span = units.show_seconds(until_s - since_s)
        progress.Progress(face).note(f"nothing was measured of {subject.name} in these {span}")
    window = stats_lines.Window(since_s=since_s, until_s=until_s, now=now)
    if not face.for_people:
        output.emit_records(face, list(stats_lines.points(subject, chosen)), ())
        return
    if chosen:
        stdout = face.streams.stdout
        width = options.width_of(stdout, face.streams.env)
        marks = stats_lines.marks_for(stdout)
        lines = stats_lines.lines(subject, chosen, window, width, marks)
        output.emit_records(face, [], lines)
    hidden = len(found) - len(chosen)
    if hidden and metric is None:
        progress.Progress(face).note(f"{hidden} more with --metric all")


@command.changes("export")
@click.argument("form", type=click.Choice(_FORMS))
@click.argument("names", metavar="[VM...]", nargs=-1)
@click.option("--file", "path", default=None, metavar="PATH", help="Into this file, at once.")
@click.option(
    "--max-age", default="1h", show_default=True, metavar="S", help="Nothing that is older."
)
@click.option("--metric", default=None, metavar="A,B", help="Ganglia: these values only.")
@click.option("--spoof", is_flag=True, help="Ganglia: tell values as of the hosts.")
@click.pass_obj
def export(
    face: Globals,
    form: str,
    names: tuple[str, ...],
    path: str | None,
    max_age: str,
    metric: str | None,
    spoof: bool,
) -> None:
    """The newest values of all VMs and hosts (or of these VMs), for those who collect them."""
    from tashictl.cli import stats_export

    ganglia = form == "ganglia"
    _check_export(ganglia, path, metric, spoof)
    at = desk.sit_down(face)
    limit_s = _now_s(at) - _ago("--max-age", max_age)
    rows = _rows(at, names, hosts=False)
    rows += [] if names else _rows(at, (), hosts=True)
    fresh = [row for row in rows if row.at_s is not None and row.at_s >= limit_s]
    left_out = sum(row.at_s is not None for row in rows) - len(fresh)
    if left_out:
        progress.Progress(face).note(f"{left_out} left out: measured more than {max_age} ago")
    if ganglia:
        chosen = [n.strip() for n in (metric or "").split(",") if n.strip()]
        stats_export.to_ganglia(at, fresh, chosen, spoof=spoof)
        return
    data = stats_export.text_of(form, fresh, stamped=path is None)
    if path is None:
        output.write(face, data)
    elif face.dry_run:
        output.say(face, f"would write {len(data.encode())} bytes to {path}")
        output.say(face, "nothing was changed")
    else:
        from tashictl.adapters import files

        files.write_lasting(os.path.abspath(path), data.encode(), _READABLE)  # noqa: PTH100
        progress.Progress(face).note(f"{path}: {len(fresh)} VMs and hosts")


def _check_export(ganglia: bool, path: str | None, metric: str | None, spoof: bool) -> None:
    given = (
        [("--file", path is not None)]
        if ganglia
        else [("--metric", bool(metric)), ("--spoof", spoof)]
    )
    for option, is_given in given:
        if is_given:
            what = "goes to gmetric, not into a file" if ganglia else "is of ganglia"
            raise InvalidRequest("E-USAGE", f"{option}: this {what}")


def _rows(at: Desk, names: Sequence[str], *, hosts: bool) -> list[Row]:
    from tashictl.cli import wiring
    from tashictl.ops import stats

    state = at.state()
    kept = wiring.history(at, read_only=True)
    return (stats.hosts if hosts else stats.vms)(state, kept, names)


def _say_if_none(face: Globals, rows: Sequence[Row]) -> None:
    if rows and not any(row.values for row in rows):
        progress.Progress(face).note("nothing was measured yet: tashictl sweep does it")


def _now_s(at: Desk) -> float:
    return at.scene().now.timestamp()


def _ago(option: str, said: str) -> float:
    try:
        return units.seconds(said)
    except ValueError as error:
        raise InvalidRequest("E-USAGE", f"{option}: {error}") from error


def _wanted(subject: Subject, metric: str | None, found: Sequence[str]) -> list[str]:
    if metric is None or metric == "all":
        return list(found)
    names = [name.strip() for name in metric.split(",") if name.strip()]
    _check_names(subject.of, names, set(found))
    return names


def _check_names(of: str, names: Sequence[str], found: set[str]) -> None:
    """Raise InvalidRequest for names that no value has, each with the nearest."""
    from tashictl.cli import errors_text
    from tashictl.errors import raise_all
    from tashictl.planning import metrics

    wrong = [n for n in names if n not in found and metrics.find(of, n) is None]
    known = sorted(found | {m.name for m in metrics.METRICS if m.of == of and not m.pattern})
    raise_all(errors_text.unknown_keys("E-METRIC", "metric", wrong, known))
