"""Every list takes the same forms, columns and filters, and says what it has."""

import csv
import io
import json

import pytest
import yaml

from tashictl.adapters.book import SqliteBook
from tashictl.model.event import Event
from tests.cli.office import CREATE, Office
from tests.ops.hosts import Trouble
from tests.ops.test_host import answer

LISTS = [
    ("vm", "list"),
    ("host", "list"),
    ("host", "check"),
    ("image", "list"),
    ("net", "list"),
    ("op", "list", "--all"),
    ("event", "list"),
    ("state", "check"),
    ("config", "show"),
    ("config", "check"),
]


@pytest.fixture
def office(office: Office) -> Office:
    """Something in each list."""
    for name in ("node1", "node2"):
        office.remote.probes[name] = answer()
    office.ok(*CREATE)
    book = SqliteBook(f"{office.folder}/state", office.clock.now)
    book.write([Event(at="2026-11-26T00:00:00Z", kind="vm-exited", text="web1 has ended")])
    return office


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_all_forms_tell_the_same_rows(office: Office, words: tuple[str, ...]) -> None:
    code = office.run(*words).code
    rows = office.run(*words, "-o", "json").json()
    assert rows

    def out(form: str, *more: str) -> str:
        done = office.run(*words, "-o", form, *more)
        assert done.code == code
        return done.out

    keys = list(rows[0])
    assert [list(r) for r in yaml.safe_load(out("yaml"))] == [keys] * len(rows)
    read = list(csv.reader(io.StringIO(out("csv"))))
    assert read[0] == keys
    assert len(read) == len(rows) + 1
    assert len(out("csv", "--no-headers").splitlines()) == len(out("csv").splitlines()) - 1
    assert len(out("name").splitlines()) == len(rows)
    if words != ("config", "show"):
        assert len(out("table", "--no-headers").splitlines()) == len(rows)
        assert len(out("wide").splitlines()) == len(rows) + 1


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_columns_and_filters_choose(office: Office, words: tuple[str, ...]) -> None:
    rows = office.run(*words, "-o", "json").json()
    key = next(k for k, v in rows[0].items() if isinstance(v, str) and v)

    chosen = office.run(*words, "-c", key, "-o", "json").json()
    assert chosen == [{key: row[key]} for row in rows]
    value = json.dumps(rows[0][key])
    some = office.run(*words, "--filter", f"{key}={value}", "-o", "json").json()
    assert some == [row for row in rows if str(row[key]).lower() == str(rows[0][key]).lower()]
    told = office.run(*words, "-c", "help").out
    assert key in told


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_one_that_does_not_exist_is_refused_with_the_nearest_and_all_at_once(
    office: Office, words: tuple[str, ...]
) -> None:
    key = next(iter(office.run(*words, "-o", "json").json()[0]))
    near = f"{key}x"

    columns = office.run(*words, "-c", f"{near},zzz")
    filters = office.run(*words, "--filter", f"{near}=1,zzz=2")

    for done in (columns, filters):
        assert (done.code, done.out) == (2, "")
        assert f"'{near}'" in done.err
        assert "'zzz'" in done.err
        assert f"try: {key}\n" in done.err
    assert office.run(*words, "--filter", "no condition").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("vm", "show", "web1"),
        ("host", "show", "node1"),
        ("op", "show", "1"),
        ("status",),
    ],
)
def test_what_is_no_list_takes_no_filter(office: Office, words: tuple[str, ...]) -> None:
    assert office.ok(*words).out
    done = office.run(*words, "--filter", "name=x")

    assert done.code == 2
    assert "takes no --filter" in done.err


def test_a_wrong_column_is_refused_before_hosts_are_asked(office: Office) -> None:
    asked = len(office.remote.asked)

    assert office.run("host", "check", "-c", "nonsense").code == 2
    assert "remedy" in office.ok("host", "check", "-c", "help").out
    assert len(office.remote.asked) == asked


def test_what_schedule_has_done_is_a_list(office: Office) -> None:
    for name in ("a", "b"):
        office.run("vm", "create", name, "--disk", "demo.qcow2", "--cores", "4")
    office.remote.upon("StartQemu", Trouble.FAILS)
    assert office.run("vm", "create", "c", "--disk", "demo.qcow2", "--cores", "4").code == 8

    rows = office.run("schedule", "-o", "json").json()
    assert [row["name"] for row in rows] == [
        vm["name"]
        for vm in office.ok("vm", "list", "-o", "json").json()
        if vm["state"] in ("Pending", "Held")
    ]
    assert office.run("schedule", "-c", "nonsense", "-o", "json").code == 2
