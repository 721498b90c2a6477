"""The values that are measured: their names, units and meaning, here and with those who collect.

Names are Tashi's where it has one. A name that holds a device or a folder is given by a pattern:
``<dev>_<counter>_per_s``, ``mount_<role>_free_bytes``.
"""

from __future__ import annotations

import re

from msgspec import Struct

MIB = 1 << 20
VM, HOST = "vm", "host"


class Metric(Struct, frozen=True, kw_only=True):
    """A value of a VM or a host.

    `export` is its name in OpenMetrics, behind ``tashictl_<of>_``, in base units: the value times
    `scale`; it ends in `base`, the unit there, if it has one. `pattern` finds names with a part
    that varies, which becomes the label `label`.
    """

    of: str
    name: str
    unit: str
    about: str
    export: str
    base: str = ""
    scale: float = 1.0
    pattern: str = ""
    label: str = ""

    @property
    def exported(self) -> str:
        """The whole name in OpenMetrics."""
        return f"tashictl_{self.of}_{self.export}"


class Found(Struct, frozen=True, kw_only=True):
    """A name that was understood: its metric, and what stands in place of the varying part."""

    metric: Metric
    exported: str
    label: str = ""


# A counter of QEMU's begins with one of these words; what stands before it is the device.
_COUNTER = r"(?:rd|wr|flush|unmap|zone_append|failed|invalid)_\w+?"
_PRESSURE = "share of the last 10 s in which some work waited for it"


def _vm(name: str, unit: str, about: str, export: str, base: str = "", scale: float = 1) -> Metric:
    return Metric(of=VM, name=name, unit=unit, about=about, export=export, base=base, scale=scale)


def _host(
    name: str, unit: str, about: str, export: str, base: str = "", scale: float = 1
) -> Metric:
    return Metric(of=HOST, name=name, unit=unit, about=about, export=export, base=base, scale=scale)


METRICS: tuple[Metric, ...] = (
    _vm("cpuLoad", "cores", "processor time of its QEMU: 1 is one core", "cpu_load_cores", "cores"),
    _vm("rss", "MB", "memory that its QEMU has in RAM", "resident_memory_bytes", "bytes", MIB),
    _vm("vsize", "MB", "address space of its QEMU", "virtual_memory_bytes", "bytes", MIB),
    _vm(
        "recvMBs",
        "MB/s",
        "what the guest received, all interfaces",
        "network_receive_bytes_per_second",
        "bytes_per_second",
        MIB,
    ),
    _vm(
        "sendMBs",
        "MB/s",
        "what the guest sent, all interfaces",
        "network_transmit_bytes_per_second",
        "bytes_per_second",
        MIB,
    ),
    _vm("threads", "", "threads of its QEMU", "threads"),
    _vm(
        "io_read_bytes_per_s",
        "B/s",
        "what its QEMU read from storage",
        "storage_read_bytes_per_second",
        "bytes_per_second",
    ),
    _vm(
        "io_write_bytes_per_s",
        "B/s",
        "what its QEMU wrote to storage",
        "storage_write_bytes_per_second",
        "bytes_per_second",
    ),
    _vm("disk_bytes", "B", "what the disks in its folder take", "disk_allocated_bytes", "bytes"),
    Metric(
        of=VM,
        name="<dev>_<counter>_per_s",
        unit="/s",
        about="a counter of query-blockstats, such as rd_bytes, of one block device",
        export="block_<counter>_per_second",
        pattern=rf"(?P<label>\w+?)_(?P<rest>{_COUNTER})_per_s",
        label="device",
    ),
    _host("cpu_busy", "", "share of all cores that was busy, 0 to 1", "cpu_busy_ratio", "ratio"),
    _host("load1", "", "load average of 1 minute", "load1"),
    _host("load5", "", "load average of 5 minutes", "load5"),
    _host("load15", "", "load average of 15 minutes", "load15"),
    _host("memory_mib", "MiB", "memory that it has", "memory_bytes", "bytes", MIB),
    _host(
        "memory_available_mib",
        "MiB",
        "memory that programs can still have",
        "memory_available_bytes",
        "bytes",
        MIB,
    ),
    _host("swap_used_mib", "MiB", "swap in use", "swap_used_bytes", "bytes", MIB),
    _host(
        "huge_pages_free_mib",
        "MiB",
        "huge pages that are free, where there are any",
        "huge_pages_free_bytes",
        "bytes",
        MIB,
    ),
    _host("pressure_cpu", "%", _PRESSURE, "pressure_cpu_ratio", "ratio", 0.01),
    _host("pressure_memory", "%", _PRESSURE, "pressure_memory_ratio", "ratio", 0.01),
    _host("pressure_io", "%", _PRESSURE, "pressure_io_ratio", "ratio", 0.01),
    _host("oom_kills", "", "processes killed for want of memory, since boot", "oom_kills"),
    _host(
        "net_recv_bytes_per_s",
        "B/s",
        "received on its outer interfaces",
        "network_receive_bytes_per_second",
        "bytes_per_second",
    ),
    _host(
        "net_send_bytes_per_s",
        "B/s",
        "sent on its outer interfaces",
        "network_transmit_bytes_per_second",
        "bytes_per_second",
    ),
    _host("net_errors_per_s", "/s", "faulty packets there", "network_errors_per_second"),
    _host("net_dropped_per_s", "/s", "dropped packets there", "network_dropped_per_second"),
    *(
        Metric(
            of=HOST,
            name=f"mount_<role>_{what}_bytes",
            unit="B",
            about=about,
            export=f"mount_{what}_bytes",
            base="bytes",
            pattern=rf"mount_(?P<label>\w+)_{what}_bytes",
            label="mount",
        )
        for what, about in (
            ("free", "room below the folder: lib, images or scratch"),
            ("size", "size of the file system there"),
        )
    ),
    _host("uptime_s", "s", "since boot", "uptime_seconds", "seconds"),
    _host("clock_offset_s", "s", "its clock less ours", "clock_offset_seconds", "seconds"),
    _host("vms_alive", "", "VMs of ours that run there", "vms"),
)

_BY_NAME = {(m.of, m.name): m for m in METRICS}
_PATTERNS = tuple((m, re.compile(m.pattern)) for m in METRICS if m.pattern)


def find(of: str, name: str) -> Found | None:
    """The metric that a VM's or a host's value belongs to, None for an unknown name."""
    metric = _BY_NAME.get((of, name))
    if metric is not None and not metric.pattern:
        return Found(metric=metric, exported=metric.exported)
    for metric, pattern in _PATTERNS:
        match = pattern.fullmatch(name) if metric.of == of else None
        if match is not None:
            rest = match.groupdict().get("rest", "")
            exported = metric.exported.replace("<counter>", rest)
            return Found(metric=metric, exported=exported, label=match["label"])
    return None


def unit_of(of: str, name: str) -> str:
    """The unit of a value, for people; "" for none or for an unknown name."""
    found = find(of, name)
    if found is None:
        return ""
    if found.metric.label == "device":
        return "B/s" if "bytes" in name else "ns/s" if "_ns_" in name else "/s"
    return found.metric.unit


def order_of(of: str, name: str) -> tuple[int, str]:
    """A key that sorts names as the table has them."""
    found = find(of, name)
    return (METRICS.index(found.metric) if found is not None else len(METRICS), name)
