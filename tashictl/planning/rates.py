"""Rates from pairs of counters, and what else a look measured, as points of named values.

A kernel's counter only rises, but for three things: a wrap (a 32-bit one begins again at 2^32), a
reset (the device was made anew) and a restart (another boot, another QEMU). Where a pair does not
tell what happened in between there is no rate, rather than a negative or an absurd one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from tashictl.model.sample import Counters, Point
from tashictl.model.sighting import HostSample, NetCounters, Sighting, VmSample

MIB = 1 << 20  # Tashi's MB
WRAP = 1 << 32
LEAST_GAP_S = 1.0  # of a nearer pair the resolution of the clocks makes nonsense
LONGEST_GAP_S = 7200.0  # over a longer one a mean says nothing of its end, and wraps may be many
MOST_PER_S = 1e12  # no counter of ours rises faster: 1 TB/s, or 1,000 requests' ns at once
# Of QEMU's block statistics, what is no counter.
BLOCK_GAUGES = frozenset({"idle_time_ns", "wr_highest_offset"})

_UPTIME = "uptime_s"
CPU = "cpu_s"
_BUSY, _TOTAL = "cpu_busy_ticks", "cpu_total_ticks"
_NET = tuple(
    f"{way}_{what}" for way in ("rx", "tx") for what in ("bytes", "packets", "errors", "dropped")
)
_DEVICE = "/"  # <device>/<counter>: the counters of one device are reset together
_ROUNDING = 1.05  # ticks are counted in whole ones


class _Pair(Struct, frozen=True, kw_only=True):
    """Two moments of one incarnation; `gap_s` lies between them."""

    before: Mapping[str, float]
    now: Mapping[str, float]
    gap_s: float


def take(
    host: str, sighting: Sighting, last: Mapping[str, Counters]
) -> tuple[dict[str, Counters], list[Point]]:
    """The counters to keep and the points of one look at a host; `last` is what was kept before.

    Subjects are ``host:<name>`` and ``vm:<uuid>``; a VM that is not alive has none. A pair that is
    too near keeps the older counters, so that frequent looks do not keep each other from a rate.
    """
    if sighting.busy_s is not None:
        return {}, []
    at_s = datetime.fromisoformat(sighting.at).timestamp()
    kept: dict[str, Counters] = {}
    points: list[Point] = []
    sample = sighting.host
    if sample is not None:
        counters = Counters(
            at_s=at_s, incarnation=sighting.boot_id, values=_host_counters(sample, sighting)
        )
        pair = _settle(f"host:{host}", counters, last, kept)
        values = {**_host_gauges(sample, sighting), **_host_rates(pair)}
        points.append(Point(subject=f"host:{host}", at_s=at_s, values=_sane(values)))
    for vm in sighting.vms:
        if not vm.alive or vm.pid is None:
            continue
        subject = f"vm:{vm.uuid}"
        counters = Counters(
            at_s=at_s,
            incarnation=f"{sighting.boot_id}/{vm.pid}/{vm.starttime}",
            values=_vm_counters(vm, sample),
        )
        pair = _settle(subject, counters, last, kept)
        cores = sample.cores if sample else None
        values = {**_vm_gauges(vm), **_vm_rates(pair, cores)}
        if values:
            points.append(Point(subject=subject, at_s=at_s, values=_sane(values)))
    return kept, points


def take_blocks(
    uuid: str,
    at_s: float,
    incarnation: str,
    blocks: Mapping[str, Mapping[str, float]],
    last: Mapping[str, Counters],
) -> tuple[dict[str, Counters], list[Point]]:
    """As `take` for the block devices of one VM: `blocks` has counters by device, as QEMU gives.

    The counters are kept apart, as ``vm:<uuid>/blocks``, since they may be asked for less often;
    the point is the VM's own. Names are ``<dev>_<counter>_per_s``.
    """
    values = {
        f"{_plain(device)}{_DEVICE}{_plain(name)}": float(value)
        for device, counters in blocks.items()
        for name, value in counters.items()
        if name not in BLOCK_GAUGES and not isinstance(value, bool)
    }
    kept: dict[str, Counters] = {}
    counters = Counters(at_s=at_s, incarnation=incarnation, values=values)
    pair = _settle(f"vm:{uuid}/blocks", counters, last, kept)
    found = {f"{k.replace(_DEVICE, '_')}_per_s": rate for k, rate in _rates(pair).items()}
    return kept, [Point(subject=f"vm:{uuid}", at_s=at_s, values=_sane(found))] if found else []


def unmeasured(sighting: Sighting, uuids: Mapping[str, str]) -> Sighting:
    """A look without what only `take` needs: 0.4 kB a VM and not 1; `uuids` are those in memory."""
    host = sighting.host
    return replace(
        sighting,
        host=None if host is None else replace(host, nets=()),
        vms=tuple(
            replace(
                vm,
                uuid=uuids.get(vm.uuid, vm.uuid),
                threads=None,
                rss_bytes=None,
                vsize_bytes=None,
                io_read_bytes=None,
                io_write_bytes=None,
                taps=(),
                disks=(),
            )
            for vm in sighting.vms
        ),
    )


def rate(before: float, now: float, gap_s: float, *, wraps: bool = True) -> float | None:
    """How fast a counter rose, per second; None where it cannot be told."""
    risen = now - before
    if risen < 0 and wraps and before < WRAP:
        # Half of the range or more would be the small value of a counter that began anew.
        risen = risen + WRAP if risen + WRAP < WRAP / 2 else -1.0
    if risen < 0 or risen > MOST_PER_S * gap_s:
        return None
    return risen / gap_s


def _settle(
    subject: str, now: Counters, last: Mapping[str, Counters], kept: dict[str, Counters]
) -> _Pair | None:
    """Put into `kept` what is to be kept of `subject`; the pair, if rates can be made of it."""
    before = last.get(subject)
    kept[subject] = now
    if before is None or before.incarnation != now.incarnation:
        return None
    # The host's own clock is finer than ours, and nobody sets it.
    if _UPTIME in before.values and _UPTIME in now.values:
        gap_s = now.values[_UPTIME] - before.values[_UPTIME]
    else:
        gap_s = now.at_s - before.at_s
    if 0 <= gap_s < LEAST_GAP_S:
        kept[subject] = before
        return None
    if gap_s < 0 or gap_s > LONGEST_GAP_S:
        return None
    return _Pair(before=before.values, now=now.values, gap_s=gap_s)


def _rates(pair: _Pair | None) -> dict[str, float]:
    """The rate of each device's counters, by their names."""
    if pair is None:
        return {}
    common = [k for k in pair.now if _DEVICE in k and k in pair.before]
    fallen: dict[str, int] = {}
    for key in common:
        if pair.now[key] < pair.before[key]:
            device = key.partition(_DEVICE)[0]
            fallen[device] = fallen.get(device, 0) + 1
    found: dict[str, float] = {}
    for key in common:
        # Two counters of one device do not wrap at once: it was made anew.
        if fallen.get(key.partition(_DEVICE)[0], 0) > 1:
            continue
        value = rate(pair.before[key], pair.now[key], pair.gap_s)
        if value is not None:
            found[key] = value
    return found


def _host_counters(sample: HostSample, sighting: Sighting) -> dict[str, float]:
    # What goes through a TAP, a bridge or a VLAN goes through its interface too, if it leaves the
    # host: it would be counted twice.
    inner = {"lo", *sighting.bridges, *(tap.name for vm in sighting.vms for tap in vm.taps)}
    names = {net.name for net in sample.nets}
    outer = (
        net
        for net in sample.nets
        if net.name not in inner and not ("." in net.name and net.name.rpartition(".")[0] in names)
    )
    return {
        _UPTIME: sample.uptime_s,
        _BUSY: float(sample.cpu_busy_ticks),
        _TOTAL: float(sample.cpu_total_ticks),
        **_net_counters(outer),
    }


def _net_counters(nets: Iterable[NetCounters]) -> dict[str, float]:
    return {
        f"{net.name}{_DEVICE}{name}": float(getattr(net, name)) for net in nets for name in _NET
    }


def _vm_counters(vm: VmSample, host: HostSample | None) -> dict[str, float]:
    values = _net_counters(vm.taps)
    if host is not None:
        values[_UPTIME] = host.uptime_s
    if vm.cpu_ticks is not None:
        values[CPU] = vm.cpu_ticks / (host.ticks_per_s if host else 100)
    for name, value in (("read", vm.io_read_bytes), ("write", vm.io_write_bytes)):
        if value is not None:
            values[f"io{_DEVICE}{name}"] = float(value)
    return values


def _host_gauges(sample: HostSample, sighting: Sighting) -> dict[str, float | None]:
    values: dict[str, float | None] = {
        "load1": sample.load_1,
        "load5": sample.load_5,
        "load15": sample.load_15,
        "memory_mib": sample.memory_mib,
        "memory_available_mib": sample.memory_available_mib,
        "swap_used_mib": sample.swap_mib - sample.swap_free_mib,
        "pressure_cpu": sample.pressure_cpu,
        "pressure_memory": sample.pressure_memory,
        "pressure_io": sample.pressure_io,
        "oom_kills": sample.oom_kills,
        "uptime_s": sample.uptime_s,
        "clock_offset_s": sighting.clock_offset_s,
        "vms_alive": sum(vm.alive for vm in sighting.vms),
    }
    if sample.huge_pages_total:
        values["huge_pages_free_mib"] = sample.huge_pages_free * sample.huge_page_kib / 1024
    for mount in sample.mounts:
        values[f"mount_{_plain(mount.role)}_free_bytes"] = mount.free_bytes
        values[f"mount_{_plain(mount.role)}_size_bytes"] = mount.size_bytes
    return values


def _host_rates(pair: _Pair | None) -> dict[str, float | None]:
    if pair is None:
        return {}
    busy, total = (pair.now[k] - pair.before.get(k, math.inf) for k in (_BUSY, _TOTAL))
    found = _rates(pair)
    # busy of total is a share already: where one of them fell, none can be told.
    sound = total > 0 and 0 <= busy <= total * _ROUNDING
    return {
        "cpu_busy": min(busy / total, 1.0) if sound else None,
        "net_recv_bytes_per_s": _sum(found, "rx_bytes"),
        "net_send_bytes_per_s": _sum(found, "tx_bytes"),
        "net_errors_per_s": _sum(found, "rx_errors", "tx_errors"),
        "net_dropped_per_s": _sum(found, "rx_dropped", "tx_dropped"),
    }


def _vm_gauges(vm: VmSample) -> dict[str, float | None]:
    return {
        "rss": None if vm.rss_bytes is None else vm.rss_bytes / MIB,
        "vsize": None if vm.vsize_bytes is None else vm.vsize_bytes / MIB,
        "threads": vm.threads,
        "disk_bytes": sum(size for _, size in vm.disks) if vm.disks else None,
    }


def _vm_rates(pair: _Pair | None, cores: int | None) -> dict[str, float | None]:
    if pair is None:
        return {}
    found = _rates(pair)
    load = None
    if CPU in pair.before and CPU in pair.now:
        load = rate(pair.before[CPU], pair.now[CPU], pair.gap_s, wraps=False)
        if load is not None and cores is not None and load > cores * _ROUNDING + 1:
            load = None  # more than there are: the counter is another one's
    received, sent = _sum(found, "tx_bytes"), _sum(found, "rx_bytes")  # as the guest sees them
    return {
        "cpuLoad": load,
        "recvMBs": None if received is None else received / MIB,
        "sendMBs": None if sent is None else sent / MIB,
        "io_read_bytes_per_s": found.get(f"io{_DEVICE}read"),
        "io_write_bytes_per_s": found.get(f"io{_DEVICE}write"),
    }


def _sum(found: Mapping[str, float], *names: str) -> float | None:
    """The sum of these counters' rates over all devices; None where there is none."""
    rates = [rate for key, rate in found.items() if key.partition(_DEVICE)[2] in names]
    return sum(rates) if rates else None


def _sane(values: Mapping[str, float | None]) -> dict[str, float]:
    return {k: float(v) for k, v in values.items() if v is not None and math.isfinite(v)}


def _plain(name: str) -> str:
    """A name of letters, digits and ``_``: QEMU's devices may be called by a path."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name).strip("_") or "_"
