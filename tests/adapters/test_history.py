"""The history: what was put in comes out, in bounds."""

from __future__ import annotations

import math
import random
import sqlite3
import stat
import statistics
from array import array
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tashictl.adapters import history_fold
from tashictl.adapters import history_pack as packed
from tashictl.adapters.history import FILE, SqliteHistory
from tashictl.adapters.history_fold import Limits
from tashictl.ops.ports_sweep import History
from tests.adapters.shelf import (
    DAY_S,
    NEAR,
    ROLLED,
    START_S,
    Shelf,
    counters,
    one,
    point,
    vm,
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_it_fits_its_port(shelf: Shelf) -> None:
    history: History = shelf.open()

    assert history.subjects() == ()


def test_a_history_that_was_never_written_is_empty_and_makes_no_file(shelf: Shelf) -> None:
    for history in (shelf.open(), shelf.open(read_only=True)):
        assert history.last() == {}
        assert history.latest() == {}
        assert history.series(vm(1), [], 0, START_S) == ()
    assert shelf.files() == set()


def test_the_file_is_private_and_nothing_is_left_beside_it(shelf: Shelf) -> None:
    shelf.open().append({vm(1): counters(START_S)}, [point(START_S)])

    assert shelf.files() == {FILE}
    assert stat.S_IMODE(shelf.path.stat().st_mode) == 0o600


def test_the_newest_counters_come_back_as_they_were(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({vm(1): counters(START_S), "host:node1": counters(START_S, 7.25)}, [])
    history.append({vm(1): counters(START_S + 60, 1e15 + 1)}, [])

    assert history.last() == {
        vm(1): counters(START_S + 60, 1e15 + 1),
        "host:node1": counters(START_S, 7.25),
    }


def test_every_one_of_many_counters_is_found_by_its_name(shelf: Shelf) -> None:
    history = shelf.open()
    many = {vm(number): counters(START_S, float(number)) for number in range(50)}
    history.append(many, [])
    last = history.last()
    assert dict(last) == many
    assert [last[name].values for name in reversed(many)] == [
        c.values for c in reversed(many.values())
    ]
    assert "host:node1" not in last
    assert len(last) == 50


def test_the_latest_point_is_exact_and_points_of_one_subject_are_one(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({}, [point(START_S, rss=1.0)])
    history.append({}, [point(START_S + 60, cpuLoad=1 / 3), point(START_S + 61, d_per_s=2.0)])

    (found,) = history.latest().values()
    assert found == point(START_S + 60, cpuLoad=1 / 3, d_per_s=2.0)


def test_what_is_no_number_is_not_kept(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({}, [point(START_S, cpuLoad=float("nan"), rss=float("inf"), threads=5.0)])
    history.append({}, [point(START_S, 2, cpuLoad=float("nan"))])

    assert list(history.latest().values()) == [point(START_S, threads=5.0)]


def test_what_is_forgotten_keeps_its_points_but_nothing_is_measured_against_it(
    shelf: Shelf,
) -> None:
    history = shelf.open()
    blocks = f"{vm(1)}/blocks"
    history.append({vm(1): counters(START_S), blocks: counters(START_S)}, [point(START_S)])
    history.forget([vm(1)])

    assert history.last() == {}
    assert history.latest() == {}
    assert [k.subject for k in history.subjects()] == [vm(1)]
    assert one(history.series(vm(1), [], 0, START_S)).mean == (0.5,)


def test_a_subject_is_found_by_what_it_was_called(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({}, [point(START_S), point(START_S, 2)], {vm(1): "web1", vm(2): "web2"})
    history.append({}, [point(START_S + 60)], {vm(1): "shop"})
    history.forget([vm(1)])

    assert {k.label: k.at_s for k in history.subjects()} == {"shop": START_S + 60, "web2": START_S}


def test_a_day_comes_back_to_four_digits_however_it_lies_in_the_file(shelf: Shelf) -> None:
    history, dice = shelf.open(), random.Random(1)
    given_: dict[float, float] = {}
    for minute in range(1500):
        at_s = START_S + 60 * minute + dice.random()
        given_[at_s] = dice.random() * 10 ** dice.randrange(-3, 12)
        values = {"cpuLoad": given_[at_s]} | ({"rss": 5.0} if minute % 7 else {})
        history.append({}, [point(at_s, **values)])
    found = history.series(vm(1), [], START_S + 600, START_S + 1400 * 60)
    want = {t: v for t, v in given_.items() if START_S + 600 <= t <= START_S + 1400 * 60}

    load = one(found)
    assert load.at_s == pytest.approx(tuple(want), abs=0.001)
    assert load.mean == pytest.approx(tuple(want.values()), rel=NEAR)
    assert load.low == load.high == load.mean
    assert set(one(found, "rss").mean) == {5.0}
    assert len(one(found, "rss").mean) == sum(
        1 for i, t in enumerate(given_) if i % 7 and t in want
    )


def test_names_are_chosen_and_unknown_ones_are_left_out(shelf: Shelf) -> None:
    history = shelf.open()
    history.append({}, [point(START_S, cpuLoad=1.0, rss=2.0, threads=3.0)])

    found = history.series(vm(1), ["threads", "nonsense", "cpuLoad"], 0, START_S)
    assert [s.name for s in found] == ["threads", "cpuLoad"]
    assert history.series(vm(9), [], 0, START_S) == ()
    assert history.series(vm(1), [], 0, START_S - 1) == ()


def test_a_sample_that_comes_late_finds_its_place(shelf: Shelf) -> None:
    history = shelf.open()
    for minute in range(0, 400, 10):
        history.append({}, [point(START_S + 60 * minute)])
    history.append({}, [point(START_S + 35, cpuLoad=9.0), point(START_S + 60 * 401, 2)])
    for minute in range(410, 600, 10):
        history.append({}, [point(START_S + 60 * minute)])

    load = one(history.series(vm(1), [], 0, START_S + DAY_S))
    assert list(load.at_s) == sorted(load.at_s)
    assert load.mean[load.at_s.index(START_S + 35)] == 9.0
    assert len(load.at_s) == 40 + 1 + 19


def simulated(
    history: SqliteHistory, days: float, step_s: float, subjects: int = 3
) -> dict[float, float]:
    """Samples of so many days; what was given for the first subject, by time."""
    dice, given_, at_s = random.Random(7), dict[float, float](), START_S
    while at_s < START_S + days * DAY_S:
        given_[at_s] = dice.expovariate(0.1)
        others = [point(at_s, n) for n in range(2, subjects + 1)]
        history.append({}, [point(at_s, cpuLoad=given_[at_s]), *others])
        at_s += step_s
    return given_


def test_what_is_rolled_up_is_the_least_the_mean_and_the_greatest(tmp_path: Path) -> None:
    limits = Limits(raw_s=2 * DAY_S, rolled_s=20 * DAY_S)
    history = Shelf(tmp_path, limits).open()
    given_ = simulated(history, 6, 300.0)
    until_s = max(given_)

    load = one(history.series(vm(1), [], 0, until_s))
    rolled = [i for i, t in enumerate(load.at_s) if load.low[i] != load.high[i]]
    raw_from_s = load.at_s[rolled[-1] + 1]
    assert raw_from_s == pytest.approx(until_s - 2 * DAY_S, abs=2 * 3600)
    spans: dict[float, list[float]] = {}
    for t, value in given_.items():
        if t < raw_from_s:
            spans.setdefault(t // 900 * 900, []).append(value)
    count = len(spans)
    assert load.at_s[:count] == tuple(spans)
    assert load.low[:count] == pytest.approx([min(v) for v in spans.values()], rel=ROLLED)
    assert load.high[:count] == pytest.approx([max(v) for v in spans.values()], rel=ROLLED)
    means = [statistics.fmean(v) for v in spans.values()]
    assert load.mean[:count] == pytest.approx(means, rel=ROLLED)
    assert load.at_s[count:] == tuple(t for t in given_ if t >= raw_from_s)


def test_the_file_stops_growing(tmp_path: Path) -> None:
    limits = Limits(raw_s=2 * DAY_S, rolled_s=7 * DAY_S)
    shelf = Shelf(tmp_path, limits)
    history = shelf.open()
    sizes = []
    for day in range(24):
        for step in range(24):
            at_s = START_S + day * DAY_S + step * 3600
            values = {f"n{i}": float(step * i + day) for i in range(20)}
            history.append({}, [point(at_s, n, **values) for n in range(40)])
        sizes.append(shelf.path.stat().st_size)
    load = one(history.series(vm(1), ["n1"], 0, START_S + 30 * DAY_S), "n1")

    assert max(sizes[14:]) <= 1.1 * sizes[13]
    assert load.at_s[0] >= START_S + 24 * DAY_S - 7 * DAY_S - 1.5 * DAY_S
    with sqlite3.connect(shelf.path) as looked:
        (oldest,) = looked.execute("SELECT min(id) >> 32 FROM raw").fetchone()
    assert oldest * 3600 >= START_S + 24 * DAY_S - 2 * DAY_S - 2 * 3600


def test_subjects_that_are_gone_for_long_are_dropped(tmp_path: Path) -> None:
    history = Shelf(tmp_path, Limits(raw_s=2 * DAY_S, rolled_s=7 * DAY_S)).open()
    history.append({vm(1): counters(START_S)}, [point(START_S, 1), point(START_S, 2)])
    history.forget([vm(1)])
    for hour in range(0, 24 * 20, 6):
        history.append({}, [point(START_S + hour * 3600, 3)])

    assert [k.subject for k in history.subjects()] == [vm(3)]
    assert history.series(vm(1), [], 0, START_S + 30 * DAY_S) == ()


def test_a_clock_that_was_wrong_once_costs_little(tmp_path: Path) -> None:
    history = Shelf(tmp_path, Limits(raw_s=7 * DAY_S, rolled_s=400 * DAY_S)).open()
    given_ = simulated(history, 3, 600.0, subjects=1)
    history.append({}, [point(START_S + 5000 * DAY_S)])
    history.append({}, [point(START_S + 3 * DAY_S)])

    load = one(history.series(vm(1), [], START_S, START_S + 3 * DAY_S))
    assert len(load.at_s) >= len(given_)


def test_what_waited_while_nobody_swept_is_rolled_up_before_it_goes(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Limits(raw_s=2 * DAY_S, rolled_s=60 * DAY_S))
    history = shelf.open()
    for hour in range(0, 7 * 24, 6):
        history.append({}, [point(START_S + 3600 * hour, n) for n in range(30)])
    for hour in range(40):
        history.append({}, [point(START_S + 15 * DAY_S + 3600 * hour)])

    for number in (1, 15, 29):
        load = one(history.series(vm(number), [], START_S, START_S + 7 * DAY_S - 1))
        assert len(load.at_s) == 7 * 4
    with sqlite3.connect(shelf.path) as looked:
        (oldest,) = looked.execute("SELECT min(id) >> 32 FROM raw").fetchone()
    assert oldest * 3600 >= START_S + 14 * DAY_S


def test_nothing_goes_that_is_not_rolled_up_however_far_that_lags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_fold, "_LEAST_ROLLED", 1)
    monkeypatch.setattr(history_fold, "_ROLL_WITHIN_S", 1e12)
    shelf = Shelf(tmp_path, Limits(raw_s=2 * DAY_S, rolled_s=60 * DAY_S))
    history = shelf.open()
    for hour in range(0, 7 * 24, 6):
        history.append({}, [point(START_S + 3600 * hour, n) for n in range(30)])

    load = one(history.series(vm(29), [], START_S, START_S + 7 * DAY_S))
    assert len(load.at_s) == 7 * 4


def test_a_name_that_some_samples_lack_is_rolled_up_of_the_others() -> None:
    values = [array("f", [1.0, math.nan, 5.0, math.nan]), array("f", [2.0, 2.0, 2.0, 2.0])]
    found = packed.rolled(
        packed.Columns(names=("x", "y"), at_s=[0.0, 60.0, 120.0, 900.0], columns=values), 900.0
    )

    by_name = dict(zip(found.names, found.columns, strict=True))
    assert found.at_s == [0.0, 900.0]
    assert [by_name[f"x|{w}"][0] for w in ("min", "mean", "max")] == [1.0, 3.0, 5.0]
    assert all(math.isnan(by_name[f"x|{w}"][1]) for w in ("min", "mean", "max"))
    assert list(by_name["y|mean"]) == [2.0, 2.0]


def test_several_sweeps_an_hour_apart_catch_up(tmp_path: Path) -> None:
    """Many subjects and few appends: the due part grows with the time between them."""
    shelf = Shelf(tmp_path, Limits(raw_s=2 * DAY_S, rolled_s=20 * DAY_S))
    history = shelf.open()
    for hour in range(24 * 5):
        history.append({}, [point(START_S + hour * 3600, n) for n in range(300)])
    with sqlite3.connect(shelf.path) as looked:
        (waiting,) = looked.execute("SELECT min(rolled_to) FROM subjects").fetchone()
        (hot,) = looked.execute("SELECT count(*) FROM hot").fetchone()
    assert waiting >= START_S / DAY_S + 3
    assert hot <= 3 * (300 / 16 + 1)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * 86400),
            st.integers(1, 40),
            st.dictionaries(
                st.sampled_from(["cpuLoad", "rss", "x_per_s"]),
                st.floats(-1e30, 1e30, allow_nan=False),
                min_size=1,
            ),
        ),
        max_size=30,
    )
)
def test_any_samples_in_any_order_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    samples: list[tuple[int, int, dict[str, float]]],
) -> None:
    history = Shelf(tmp_path_factory.mktemp("any")).open()
    want: dict[tuple[str, str], dict[int, float]] = {}
    for second, number, values in samples:
        history.append({}, [point(START_S + second, number, **values)])
        for name, value in values.items():
            want.setdefault((vm(number), name), {})[second] = value
    for (subject, name), expected in want.items():
        found = one(history.series(subject, [name], 0, START_S + 4 * DAY_S), name)
        by_time = {round(t - START_S): v for t, v in zip(found.at_s, found.mean, strict=True)}
        assert by_time == {
            second: pytest.approx(value, rel=NEAR, abs=1e-36) for second, value in expected.items()
        }
