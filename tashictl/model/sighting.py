"""What one look of the sweep saw on a host: its counters, its VMs, and QEMUs that are not ours.

Everything is as the host said it, at one moment; rates are made of two of these in `planning`.
Counters are those of the kernel: they only rise, but for a wrap, a reset or a restart.
"""

from __future__ import annotations

from msgspec import Struct


class NetCounters(Struct, frozen=True, kw_only=True):
    """An interface's counters as the host sees them: a TAP's `rx` is what its guest sent."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int
    tx_packets: int
    tx_errors: int = 0
    tx_dropped: int = 0


class Mount(Struct, frozen=True, kw_only=True):
    """The file system below a folder of ours: `role` is ``lib``, ``images`` or ``scratch``.

    Sizes are None where the host could not say. `stuck_since` (ISO-8601 UTC) says that looking at
    it hangs, and since when.
    """

    role: str
    path: str
    size_bytes: int | None = None
    free_bytes: int | None = None
    stuck_since: str | None = None


class HostSample(Struct, frozen=True, kw_only=True):
    """A host's counters: ticks are of `ticks_per_s`, pressure is the share of 10 s, in percent.

    `cpu_busy_ticks` and `cpu_total_ticks` are of all cores together. None where the kernel does not
    tell (no PSI, no swap, no /proc/vmstat).
    """

    uptime_s: float
    cores: int
    load_1: float
    load_5: float
    load_15: float
    ticks_per_s: int = 100
    cpu_busy_ticks: int
    cpu_total_ticks: int
    memory_mib: int
    memory_available_mib: int
    huge_pages_total: int = 0
    huge_pages_free: int = 0
    huge_page_kib: int = 0
    swap_mib: int = 0
    swap_free_mib: int = 0
    pressure_cpu: float | None = None
    pressure_memory: float | None = None
    pressure_io: float | None = None
    oom_kills: int | None = None
    mounts: tuple[Mount, ...] = ()
    nets: tuple[NetCounters, ...] = ()


class VmSample(Struct, frozen=True, kw_only=True):
    """A VM of our folders: `alive` by run.lock, the rest of /proc of its QEMU (None: not alive).

    `process_state` is the kernel's letter (``S``, ``D`` …); `taps` are those of its nics in order
    of the index; `disks` are (file name, bytes allocated) in its folder; `folder` and `run_folder`
    say which of the two is there. `upgraded`: the binary that it runs was replaced or removed.
    `manifest` is its JSON object where it was asked for (a uuid that the database does not know).
    `exit_status` is systemd's word for how it ended, `log_end` the last lines of qemu.log and
    `console_end` of the console, `oom` that the kernel says so: only of VMs that are not alive and
    that the database knows as running.
    """

    uuid: str
    alive: bool
    folder: bool = True
    run_folder: bool = True
    pid: int | None = None
    starttime: int | None = None
    process_state: str | None = None
    cpu_ticks: int | None = None
    threads: int | None = None
    rss_bytes: int | None = None
    vsize_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    taps: tuple[NetCounters, ...] = ()
    disks: tuple[tuple[str, int], ...] = ()
    upgraded: bool = False
    phase: str = ""  # of its manifest: creating, running …
    generation: int = 0  # of its manifest
    manifest: dict[str, object] | None = None
    exit_status: str = ""
    oom: bool = False
    log_end: tuple[str, ...] = ()
    console_end: tuple[str, ...] = ()


class ForeignQemu(Struct, frozen=True, kw_only=True):
    """A QEMU that holds no run.lock of ours: `uuid` and `name` by its command line, if any.

    Where the uuid is that of a VM of ours, it runs twice, or was started past its lock.
    """

    pid: int
    starttime: int
    uuid: str | None = None
    name: str | None = None


class Sighting(Struct, frozen=True, kw_only=True):
    """One host at one moment.

    `at` is our clock, ISO-8601 UTC; `clock_offset_s` host minus ours. `fingerprint` changes with
    what HostFacts hold but a sweep does not read (QEMU's binary, the image folder, the kernel);
    it is empty where that cannot be told now, since the image folder hangs. Where `lib` hangs,
    only VMs with a run folder are among `vms`, without phase, generation, manifest, TAPs and disks;
    claim and replica are None then.
    `claim` is (cluster, epoch, counter), None on a host that nobody claims. `replica` is
    (epoch, generation, digest) of the copy of the state that lies there. `hidden` says that /proc
    hides other users' processes, or that folders of VMs are closed to the login, so that what is
    not seen may still run. `neighbours` are (MAC, address) of its neighbour table, of MACs that
    manifests there name, sorted. `busy`: another probe has been running there for so long (s) that
    this one did not begin; nothing else is then true.
    """

    at: str
    boot_id: str = ""
    kernel: str = ""
    clock_offset_s: float = 0.0
    fingerprint: str = ""
    claim: tuple[str, int, int] | None = None
    replica: tuple[int, int, str] | None = None
    bridges: tuple[str, ...] = ()
    host: HostSample | None = None
    vms: tuple[VmSample, ...] = ()
    foreign: tuple[ForeignQemu, ...] = ()
    hidden: bool = False
    neighbours: tuple[tuple[str, str], ...] = ()
    busy_s: int | None = None
