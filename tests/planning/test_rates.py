"""Rates of counter pairs: right where they can be known, none where they cannot."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.sample import Counters
from tashictl.model.sighting import HostSample, Mount, NetCounters, Sighting, VmSample
from tashictl.planning import rates

UUID = "7c1e0000-0000-4000-8000-000000000001"
VM = f"vm:{UUID}"
MIB = 1 << 20


def net(name: str = "tashi7.0", rx: int = 0, tx: int = 0, **more: int) -> NetCounters:
    usual = {"rx_packets": rx // 1000, "tx_packets": tx // 1000}
    return NetCounters(name=name, rx_bytes=rx, tx_bytes=tx, **{**usual, **more})


def host(**values: Any) -> HostSample:
    usual: dict[str, Any] = {
        "uptime_s": 1000.0,
        "cores": 4,
        "load_1": 0.5,
        "load_5": 0.4,
        "load_15": 0.3,
        "cpu_busy_ticks": 1000,
        "cpu_total_ticks": 400_000,
        "memory_mib": 8192,
        "memory_available_mib": 6000,
    }
    return HostSample(**{**usual, **values})


def vm(**values: Any) -> VmSample:
    usual: dict[str, Any] = {
        "uuid": UUID,
        "alive": True,
        "pid": 4711,
        "starttime": 99,
        "cpu_ticks": 500,
        "threads": 6,
        "rss_bytes": 300 * MIB,
        "vsize_bytes": 2048 * MIB,
        "io_read_bytes": 1000,
        "io_write_bytes": 2000,
        "taps": (net(rx=5 * MIB, tx=9 * MIB),),
        "disks": (("disk0.qcow2", 100), ("disk1.qcow2", 50)),
    }
    return VmSample(**{**usual, **values})


def look(second: int = 0, **values: Any) -> Sighting:
    """A look so many seconds after twelve, by our clock and by the host's."""
    sample = values.pop("host", None) or host(uptime_s=1000.0 + second)
    at = f"2026-11-26T12:{second // 60:02}:{second % 60:02}Z"
    return Sighting(**{"at": at, "boot_id": "b1", "host": sample, "vms": (vm(),), **values})


def pair(first: Sighting, second: Sighting) -> dict[str, dict[str, float]]:
    """The values of the second look, by subject."""
    last, _ = rates.take("node1", first, {})
    _, points = rates.take("node1", second, last)
    return {p.subject: p.values for p in points}


def test_the_first_look_has_gauges_and_no_rates() -> None:
    kept, points = rates.take("node1", look(), {})

    assert set(kept) == {"host:node1", VM}
    found = {p.subject: p.values for p in points}
    assert found[VM] == {"rss": 300.0, "vsize": 2048.0, "threads": 6.0, "disk_bytes": 150.0}
    assert found["host:node1"]["load5"] == 0.4
    assert "cpu_busy" not in found["host:node1"]
    assert {p.at_s for p in points} == {1795694400.0}


def test_a_vm_has_tashis_rates_in_the_directions_of_the_guest() -> None:
    later = vm(
        cpu_ticks=500 + 1500,  # 15 s of a core in 60 s
        io_read_bytes=1000 + 6000,
        io_write_bytes=2000 + 600,
        taps=(net(rx=(5 + 60) * MIB, tx=(9 + 120) * MIB),),
    )
    found = pair(look(), look(60, vms=(later,)))[VM]

    assert found["cpuLoad"] == pytest.approx(0.25)
    assert found["sendMBs"] == pytest.approx(1.0)  # what the TAP received, the guest sent
    assert found["recvMBs"] == pytest.approx(2.0)
    assert found["io_read_bytes_per_s"] == pytest.approx(100.0)
    assert found["io_write_bytes_per_s"] == pytest.approx(10.0)


def test_a_host_has_its_share_of_busy_cores_and_what_crosses_its_outer_interfaces() -> None:
    nets = (net("eth0"), net("eth0.999"), net("vmbr"), net("lo"), net("tashi7.0"))
    busy = tuple(net(n.name, rx=600, tx=1200, rx_errors=6, tx_dropped=12) for n in nets)
    first = look(host=host(nets=nets), bridges=("vmbr",))
    then = host(uptime_s=1060.0, cpu_busy_ticks=7000, cpu_total_ticks=424_000, nets=busy)
    found = pair(first, look(60, host=then, bridges=("vmbr",)))["host:node1"]

    assert found["cpu_busy"] == pytest.approx(0.25)
    assert found["net_recv_bytes_per_s"] == pytest.approx(10.0)
    assert found["net_send_bytes_per_s"] == pytest.approx(20.0)
    assert found["net_errors_per_s"] == pytest.approx(0.1)
    assert found["net_dropped_per_s"] == pytest.approx(0.2)


def test_a_host_says_what_is_free_and_leaves_out_what_it_cannot_tell() -> None:
    sample = host(
        swap_mib=1000,
        swap_free_mib=750,
        pressure_io=1.5,
        huge_pages_total=10,
        huge_pages_free=4,
        huge_page_kib=2048,
        mounts=(
            Mount(role="images", path="/srv", size_bytes=100, free_bytes=40),
            Mount(role="lib", path="/var/lib/tashi", stuck_since="2026-11-26T11:00:00Z"),
        ),
    )
    _, points = rates.take("node1", look(host=sample), {})
    found = points[0].values

    assert found["swap_used_mib"] == 250.0
    assert found["pressure_io"] == 1.5
    assert found["huge_pages_free_mib"] == 8.0
    assert found["mount_images_free_bytes"] == 40.0
    assert found["mount_images_size_bytes"] == 100.0
    assert found["vms_alive"] == 1.0
    absent = {"pressure_cpu", "oom_kills", "mount_lib_free_bytes"}
    assert not absent & set(found)


def test_a_vm_that_is_not_alive_has_neither_counters_nor_points() -> None:
    dead = VmSample(uuid=UUID, alive=False)

    kept, points = rates.take("node1", look(vms=(dead,)), {})

    assert set(kept) == {"host:node1"}
    assert [p.subject for p in points] == ["host:node1"]


def test_a_look_that_did_not_begin_says_nothing() -> None:
    assert rates.take("node1", look(busy_s=30), {}) == ({}, [])


@pytest.mark.parametrize(
    "then",
    [
        look(60, boot_id="b2"),
        look(60, vms=(vm(pid=4712, cpu_ticks=600),)),
        look(60, vms=(vm(starttime=100, cpu_ticks=600),)),
    ],
)
def test_no_rate_is_made_over_a_restart(then: Sighting) -> None:
    assert "cpuLoad" not in pair(look(), then)[VM]
    assert "io_read_bytes_per_s" not in pair(look(), then)[VM]


def test_counters_of_32_bits_wrap() -> None:
    top = (1 << 32) - 60 * 1000
    first = look(vms=(vm(taps=(net(rx=top, tx=0),)),))
    then = look(60, vms=(vm(taps=(net(rx=60 * 1000, tx=60 * MIB, rx_packets=top // 1000 + 9),)),))

    found = pair(first, then)[VM]

    assert found["sendMBs"] == pytest.approx(2000 / MIB)
    assert found["recvMBs"] == pytest.approx(1.0)


def test_a_device_that_was_made_anew_has_no_rate_though_it_looks_like_a_wrap() -> None:
    top = (1 << 32) - 1000
    first = look(vms=(vm(taps=(net(rx=top, tx=top),)),))
    then = look(60, vms=(vm(taps=(net(rx=10, tx=10),)),))

    assert not {"sendMBs", "recvMBs"} & set(pair(first, then)[VM])


def test_a_guest_that_only_sent_tells_a_wrap_from_a_new_interface_too() -> None:
    top = (1 << 32) - 1000
    first = look(vms=(vm(taps=(net(rx=top, tx=0),)),))

    anew = look(60, vms=(vm(taps=(net(rx=10, tx=0),)),))  # its packets fell too
    assert "sendMBs" not in pair(first, anew)[VM]
    wrapped = look(60, vms=(vm(taps=(net(rx=10, tx=0, rx_packets=top),)),))
    assert pair(first, wrapped)[VM]["sendMBs"] == pytest.approx(1010 / 60 / MIB)


def test_a_counter_that_falls_from_low_down_began_anew() -> None:
    assert rates.rate(1000.0, 10.0, 60.0) is None
    assert rates.rate(float(1 << 33), 10.0, 60.0) is None  # 64 bits do not wrap
    assert rates.rate(float((1 << 32) - 10), 50.0, 60.0) == pytest.approx(1.0)
    assert rates.rate(float((1 << 32) - 10), 50.0, 60.0, wraps=False) is None


def test_a_rate_that_no_machine_has_is_none() -> None:
    assert rates.rate(0.0, 1e15, 60.0) is None
    far_too_busy = look(60, vms=(vm(cpu_ticks=500 + 100 * 60 * 8),))  # 8 of 4 cores
    assert "cpuLoad" not in pair(look(), far_too_busy)[VM]


def test_a_pair_that_is_too_near_keeps_the_older_counters() -> None:
    first, _ = rates.take("node1", look(), {})
    near = look(host=host(uptime_s=1000.5), vms=(vm(cpu_ticks=550),))

    kept, points = rates.take("node1", near, first)

    assert kept == first
    assert all("cpuLoad" not in p.values and "cpu_busy" not in p.values for p in points)


def test_no_rate_is_made_over_a_pair_that_is_too_far_apart() -> None:
    far = look(host=host(uptime_s=1000.0 + 3 * 3600, cpu_busy_ticks=2000, cpu_total_ticks=900_000))

    assert "cpu_busy" not in pair(look(), far)["host:node1"]
    assert "cpuLoad" not in pair(look(), far)[VM]


def test_the_hosts_own_clock_counts_when_ours_is_set() -> None:
    """Ours goes back by half an hour between the looks; the host says that 60 s went by."""
    then = Sighting(
        at="2026-11-26T11:31:00Z",
        boot_id="b1",
        host=host(uptime_s=1060.0),
        vms=(vm(cpu_ticks=3500),),
    )

    assert pair(look(), then)[VM]["cpuLoad"] == pytest.approx(0.5)


def test_block_counters_become_rates_by_device() -> None:
    first = {"disk0": {"rd_bytes": 1000, "wr_operations": 5, "wr_highest_offset": 7}}
    then = {"disk0": {"rd_bytes": 7000, "wr_operations": 11, "wr_highest_offset": 9}}
    last, none = rates.take_blocks(UUID, 100.0, "b1/1/2", first, {})
    kept, points = rates.take_blocks(UUID, 160.0, "b1/1/2", then, last)

    assert none == []
    assert set(kept) == {f"{VM}/blocks"}
    assert [p.subject for p in points] == [VM]
    assert points[0].values == {
        "disk0_rd_bytes_per_s": pytest.approx(100.0),
        "disk0_wr_operations_per_s": pytest.approx(0.1),
    }


def test_block_devices_that_are_called_by_a_path_get_a_plain_name() -> None:
    blocks = {"/machine/peripheral/disk0": {"rd_bytes": 0}}
    last, _ = rates.take_blocks(UUID, 100.0, "b1", blocks, {})
    _, points = rates.take_blocks(UUID, 160.0, "b1", blocks, last)

    assert set(points[0].values) == {"machine_peripheral_disk0_rd_bytes_per_s"}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["run", "run", "run", "reset", "restart", "32 bits"]),
        st.floats(0.0, 1e9),  # how fast, in bytes per second
        st.floats(0.0, 20_000.0),  # how long
    ),
    max_size=20,
)


@given(start=st.integers(0, 1 << 40), steps=STEPS)
def test_whatever_counters_do_no_rate_is_negative_or_above_the_fastest(
    start: int, steps: list[tuple[str, float, float]]
) -> None:
    rx = tx = start
    wraps, boot, at_s = False, 0, 0.0
    last: dict[str, Counters] = {}
    for what, speed, gap_s in [("run", 0.0, 0.0), *steps]:
        at_s += gap_s
        wraps = wraps or what == "32 bits"
        boot += what == "restart"
        if what in ("reset", "restart"):
            rx = tx = 0
        rx, tx = rx + int(speed * gap_s), tx + int(speed * gap_s / 3)
        if wraps:
            rx, tx = rx % (1 << 32), tx % (1 << 32)
        blocks = {"disk0": {"rd_bytes": rx, "wr_bytes": tx}}
        kept, points = rates.take_blocks(UUID, at_s, f"b{boot}", blocks, last)
        last = {**last, **kept}
        for value in (v for p in points for v in p.values.values()):
            assert math.isfinite(value)
            # A wrapped counter may hide whole rounds, never add to them by more than one.
            assert 0 <= value <= max(s for _, s, _ in steps) + (1 << 32)


@given(
    speed=st.floats(0.0, 3e7),
    gaps=st.lists(st.floats(1.0, 70.0), min_size=1, max_size=50),
    start=st.integers(0, (1 << 32) - 1),
)
def test_a_steady_32_bit_counter_has_its_rate_at_every_look(
    speed: float, gaps: list[float], start: int
) -> None:
    now, at_s = float(start), 0.0
    last, _ = rates.take_blocks(UUID, 0.0, "b", {"d": {"n": start}}, {})
    for gap_s in gaps:
        now, at_s = now + speed * gap_s, at_s + gap_s
        counter = {"d": {"n": int(now) % (1 << 32)}}
        kept, points = rates.take_blocks(UUID, at_s, "b", counter, last)
        last = {**last, **kept}
        if at_s and points:
            assert points[0].values["d_n_per_s"] == pytest.approx(speed, abs=2.0, rel=1e-3)
        else:
            assert gap_s < rates.LEAST_GAP_S + 1e-6


def test_a_look_without_figures_keeps_all_else_and_its_uuids_are_in_memory_once() -> None:
    whole = look(host=host(nets=(net("eth0"),)))
    known = "".join(UUID)
    bare = rates.unmeasured(whole, {UUID: known})
    assert bare.vms[0].uuid is known
    assert bare.host is not None and whole.host is not None
    assert replace(bare.host, nets=whole.host.nets) == whole.host
    gone = ("threads", "rss_bytes", "vsize_bytes", "io_read_bytes", "io_write_bytes")
    figures = {name: getattr(whole.vms[0], name) for name in (*gone, "taps", "disks")}
    assert replace(bare.vms[0], **figures) == whole.vms[0]
    assert not any(getattr(bare.vms[0], name) for name in figures)
    assert replace(bare, host=whole.host, vms=whole.vms) == whole


def test_a_look_without_figures_of_a_host_that_said_little_is_the_same() -> None:
    silent = Sighting(at="2026-11-26T12:00:00Z", busy_s=4)
    assert rates.unmeasured(silent, {}) == silent
