"""Days in which hosts fall ill all the time: after each storm one or two sweeps know the truth."""

from __future__ import annotations

import sys

import pytest

from tests.sim.large import Size
from tests.sim.storm import Figures, storm

SMALL = Size(hosts=30, storms=8, rounds=24, talk_every_s=3600.0)
LARGE = Size(hosts=500, storms=4, rounds=10, every_s=4320.0)
SEED = 20261126


def _say(size: Size, done: Figures) -> None:
    found, done.found = done.found, []
    sys.stdout.write(f"{size.hosts} hosts, {size.hosts * size.vms_per_host} VMs, {done}\n")
    done.found = found


@pytest.mark.slow
def test_two_days_of_thirty_hosts_a_sweep_every_quarter_of_an_hour() -> None:
    done = storm(SEED, SMALL)
    _say(SMALL, done)

    assert done.found == []
    assert done.days > 2
    assert done.braked and done.repairs and done.vms_ended


@pytest.mark.slow
def test_two_days_of_five_hundred_hosts_and_five_thousand_vms() -> None:
    done = storm(SEED, LARGE)
    _say(LARGE, done)

    assert done.found == []
    assert done.days > 2
    assert done.braked and done.repairs and done.vms_ended


def test_a_short_storm_of_few_hosts() -> None:
    assert storm(1, Size(hosts=12, storms=2, rounds=6)).found == []
