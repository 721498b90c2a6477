"""`stats`: tables and bars for people, points for programs, text for collectors; gone VMs too."""

from __future__ import annotations

import csv
import io
import json
import time

import pytest
from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.history import FILE, SqliteHistory
from tashictl.cli import main, stats_export, stats_tables
from tashictl.model.sample import Point
from tashictl.planning import spark
from tests.cli import stage
from tests.cli.office import CREATE, Office

GONE = "0000dead-0000-4000-8000-000000000000"
HOUR = 3600.0


class Measured:
    """A cluster with two VMs and a host that were measured, and a VM that is gone."""

    def __init__(self, office: Office) -> None:
        self.office = office
        for name in ("web1", "db1"):
            office.ok("vm", "create", name, "--disk", "demo.qcow2")
        self.uuid = {vm.name: vm.uuid for vm in office.store().read().vms.values()}
        self.history = SqliteHistory(f"{office.folder}/state", SystemClock())
        self.now_s = time.time()
        for minute in range(120, -1, -5):
            self._measure(minute)
        self.history.forget([f"vm:{GONE}"])

    def _measure(self, minute: int) -> None:
        at_s = self.now_s - 60 * minute - 5
        values = {"rss": 300.0, "recvMBs": 0.0, "disk0_rd_bytes_per_s": 7.0}
        points = [
            Point(
                subject=f"vm:{self.uuid['web1']}",
                at_s=at_s,
                values={"cpuLoad": 0.01 * minute, **values},
            ),
            Point(subject=f"vm:{self.uuid['db1']}", at_s=at_s, values={"cpuLoad": 1.5}),
            Point(subject=f"vm:{GONE}", at_s=at_s, values={"cpuLoad": 3.0}),
            Point(
                subject="host:node1",
                at_s=at_s,
                values={"cpu_busy": 0.5, "memory_mib": 2048.0, "vms_alive": 2.0},
            ),
        ]
        labels = {f"vm:{u}": n for n, u in self.uuid.items()} | {f"vm:{GONE}": "old1"}
        self.history.append({}, points, labels)


@pytest.fixture
def measured(office: Office) -> Measured:
    return Measured(office)


def words(line: str) -> list[str]:
    return line.split()


def test_show_lists_every_vm_with_its_newest_values_and_their_age(measured: Measured) -> None:
    done = measured.office.ok("stats", "show")
    head, web1, db1 = done.out.splitlines()

    assert words(head)[:5] == ["NAME", "HOST", "AGE", "CPULOAD", "RSS"]
    assert words(web1)[:2] == ["web1", measured.office.store().read().vms[1].host]
    assert words(web1)[3:8] == ["s", "0", "300", "MiB", "0"]
    assert "1.5" in words(db1)
    assert "–" in words(db1)


def test_show_takes_names_patterns_and_says_all_that_do_not_exist(measured: Measured) -> None:
    assert measured.office.ok("stats", "show", "w*", "-o", "name").out == "web1\n"
    wrong = measured.office.run("stats", "show", "web9", "nix")
    assert wrong.code == 3
    assert "web9" in wrong.err and "nix" in wrong.err


def test_show_as_json_has_all_values_under_their_names(measured: Measured) -> None:
    web1, _db1 = measured.office.ok("stats", "show", "-o", "json").json()

    assert set(web1) == {"name", "subject", "uuid", "host", "user", "at", "age_s", "values"}
    assert web1["values"] == {
        "cpuLoad": 0.0, "rss": 300.0, "recvMBs": 0.0, "disk0_rd_bytes_per_s": 7.0,
    }  # fmt: skip
    assert 4 <= web1["age_s"] < 60
    assert web1["uuid"] == measured.uuid["web1"]


def test_show_chooses_by_filter_and_columns(measured: Measured) -> None:
    filtered = measured.office.ok(
        "stats", "show", "--filter", "values.cpuLoad>1", "-c", "name,cpuLoad", "--no-headers"
    )
    assert words(filtered.out) == ["db1", "1.5"]


def test_show_hosts_has_those_without_a_sample_too(measured: Measured) -> None:
    head, one, two = measured.office.ok("stats", "show", "--hosts").out.splitlines()

    assert words(head)[0] == "NAME" and "DISK FREE" in head
    assert "50%" in one and "2 GiB" in one
    assert set(words(two)[1:]) == {"–"}


def test_top_has_the_greatest_first(measured: Measured) -> None:
    assert measured.office.ok("stats", "top", "-o", "name").out == "db1\nweb1\n"
    by_rss = measured.office.ok("stats", "top", "--by", "rss", "-n", "1", "-o", "name")
    assert by_rss.out == "web1\n"
    assert measured.office.ok("stats", "top", "--hosts", "-o", "name").out == "node1\n"


def test_an_unknown_metric_is_refused_with_the_nearest(measured: Measured) -> None:
    for verb in (("top", "--by", "cpuload"), ("history", "web1", "--metric", "cpuload")):
        done = measured.office.run("stats", *verb, "-o", "json")
        assert done.code == 2
        assert done.error["code"] == "E-METRIC"
        assert "cpuLoad" in done.error["hint"]


def test_history_shows_bars_with_least_and_greatest(measured: Measured) -> None:
    done = measured.office.ok("stats", "history", "web1", "--since", "2h")
    title, head, load, rss, *_ = done.out.splitlines()

    assert title.startswith("web1 on node") and ": 2 h until " in title
    assert words(head)[-4:] == ["LEAST", "MEAN", "GREATEST", "LAST"]
    assert load.startswith(" cpuLoad cores") and load.endswith(" 0")
    bars = "".join(c for c in load if c in spark.BLOCKS)
    assert bars[0] == "█" and bars[-1] == "▁" and len(bars) >= 30
    assert "300 MiB" in rss
    assert "1 more with --metric all" in done.err


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_no_line_of_the_history_is_wider_than_the_terminal(measured: Measured, width: int) -> None:
    measured.office.env["COLUMNS"] = str(width)
    done = measured.office.ok("stats", "history", "web1", "--metric", "all", tty=True)

    assert max(len(line) for line in done.out.splitlines()) <= width
    assert "LAST" in done.out or width < 60


def test_a_stream_without_blocks_gets_ascii(measured: Measured) -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace")
    streams = replace(stage.streams(), stdout=out)
    argv = ["stats", "history", "db1", "--cluster", str(measured.office.folder)]

    assert main.run_with(argv, streams, main.ROOT) == 0
    out.flush()
    assert "###" in raw.getvalue().decode()
    assert "\\u" not in raw.getvalue().decode()


def test_history_for_programs_is_points(measured: Measured) -> None:
    chosen = ("stats", "history", "web1", "--since", "31m", "--metric", "cpuLoad,rss")
    points = measured.office.ok(*chosen, "-o", "json").json()

    load = [p for p in points if p["metric"] == "cpuLoad"]
    assert [p["mean"] for p in load] == pytest.approx(
        [0.3, 0.25, 0.2, 0.15, 0.1, 0.05, 0], rel=0.001
    )
    assert set(load[0]) == {"at", "metric", "unit", "mean", "min", "max"}
    assert load[0]["unit"] == "cores"
    rows = list(csv.DictReader(io.StringIO(measured.office.ok(*chosen, "-o", "csv").out)))
    assert [r["at"] for r in rows if r["metric"] == "rss"] == [p["at"] for p in load]


@pytest.mark.parametrize("name", ["old1", GONE, f"vm:{GONE}"])
def test_a_vm_that_is_gone_is_found_by_its_old_name_and_its_uuid(
    measured: Measured, name: str
) -> None:
    done = measured.office.ok("stats", "history", name)

    assert done.out.startswith("old1, gone: 24 h")


def test_history_of_a_host_and_of_what_has_none(measured: Measured) -> None:
    assert "cpu_busy" in measured.office.ok("stats", "history", "node1").out
    silent = measured.office.ok("stats", "history", "host:node2")
    assert silent.out == ""
    assert "nothing was measured of node2" in silent.err
    unknown = measured.office.run("stats", "history", "vm:node1", "-o", "json")
    assert (unknown.code, unknown.error["code"]) == (3, "E-NO-STATS")


@pytest.mark.parametrize("since", ["yesterday", "0", "-1h"])
def test_a_time_that_makes_no_sense_is_refused(measured: Measured, since: str) -> None:
    assert measured.office.run("stats", "history", "web1", f"--since={since}").code == 2


def test_a_cluster_that_was_never_swept_says_what_does_it(office: Office) -> None:
    office.ok(*CREATE)
    done = office.ok("stats", "show")

    assert "tashictl sweep" in done.err
    assert words(done.out.splitlines()[1])[:1] == ["web1"]
    assert not (office.folder / "state" / FILE).exists()


@pytest.mark.parametrize(
    "verb", [("show",), ("top",), ("history", "web1"), ("export", "prometheus")]
)
def test_without_a_cluster_it_says_how_to_make_one(bare: Office, verb: tuple[str, ...]) -> None:
    done = bare.run("stats", *verb)

    assert done.code == 2
    assert "tashictl init" in done.err
    assert not bare.folder.exists()


# -- export


def test_prometheus_gets_valid_text_with_times_on_stdout_and_without_in_a_file(
    measured: Measured,
) -> None:
    out = measured.office.ok("stats", "export", "prometheus").out
    path = measured.office.home / "tashictl.prom"
    done = measured.office.ok("stats", "export", "prometheus", "--file", str(path))

    assert done.out == ""
    assert path.stat().st_mode & 0o777 == 0o644
    assert [p.name for p in path.parent.iterdir() if "prom" in p.name] == ["tashictl.prom"]
    for text, timed in ((out, True), (path.read_text(), False)):
        seen = [s for f in text_string_to_metric_families(text) for s in f.samples]
        assert all((s.timestamp is not None) == timed for s in seen)
        loads = {s.labels["vm"]: s.value for s in seen if s.name == "tashictl_vm_cpu_load_cores"}
        assert loads == {"web1": 0.0, "db1": 1.5}
        (busy,) = [s for s in seen if s.name == "tashictl_host_cpu_busy_ratio"]
        assert busy.labels == {"host": "node1"}


def test_a_file_that_cannot_be_written_leaves_the_old_one(measured: Measured) -> None:
    wrong = measured.office.run("stats", "export", "csv", "--file", "/nonexistent/x.csv")
    assert wrong.code in (1, 7)


def test_a_dry_export_writes_nothing(measured: Measured) -> None:
    path = measured.office.home / "tashictl.prom"
    before = measured.office.everything()
    done = measured.office.ok("stats", "export", "prometheus", "--file", str(path), "--dry-run")

    assert "would write" in done.out and "nothing was changed" in done.out
    assert measured.office.everything() == before


def test_what_is_old_is_not_exported(measured: Measured) -> None:
    done = measured.office.ok("stats", "export", "json", "--max-age", "1s")

    assert json.loads(done.out) == []
    assert "3 left out" in done.err


def test_csv_and_json_have_every_value(measured: Measured) -> None:
    rows = list(csv.DictReader(io.StringIO(measured.office.ok("stats", "export", "csv").out)))
    assert tuple(rows[0]) == stats_export.CSV_KEYS
    assert {(r["name"], r["metric"]): float(r["value"]) for r in rows}[("db1", "cpuLoad")] == 1.5
    records = measured.office.ok("stats", "export", "json", "db1").json()
    assert [(r["of"], r["name"], r["values"]) for r in records] == [("vm", "db1", {"cpuLoad": 1.5})]


def test_ganglia_dry_says_each_value(measured: Measured) -> None:
    done = measured.office.ok(
        "stats", "export", "ganglia", "--metric", "cpuLoad,cpu_busy", "--dry-run"
    )

    assert "vm_db1_cpuLoad = 1.5 cores" in done.out
    assert "host_node1_cpu_busy = 0.5" in done.out
    assert "rss" not in done.out


@pytest.mark.parametrize(
    "more",
    [
        ("ganglia", "--file", "x"),
        ("csv", "--metric", "rss"),
        ("prometheus", "--spoof"),
        ("nonsense",),
        ("csv", "--max-age", "old"),
    ],
)
def test_what_does_not_go_together_is_refused(measured: Measured, more: tuple[str, ...]) -> None:
    assert measured.office.run("stats", "export", *more).code == 2


def test_reading_changes_nothing(measured: Measured) -> None:
    before = measured.office.everything()
    for verb in (("show",), ("top",), ("history", "web1"), ("export", "csv")):
        measured.office.ok("stats", *verb)

    assert measured.office.everything() == before


def test_a_damaged_history_is_an_error_that_says_what_mends_it(measured: Measured) -> None:
    path = measured.office.folder / "state" / FILE
    path.write_bytes(b"spoilt" * 1000)
    done = measured.office.run("stats", "show", "-o", "json")

    assert (done.code, done.error["code"]) == (1, "E-HISTORY")
    assert "sweep" in done.error["hint"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (1 / 3, "0.333"),
        (12.345, "12.3"),
        (1234.5, "1234"),
        (3e-5, "3e-05"),
    ],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert stats_tables.number(value) == shown
