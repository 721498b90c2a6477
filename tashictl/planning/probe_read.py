"""Read what the sweep's probe answered: one `Sighting`, or None when the answer was cut short."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import msgspec

from tashictl.model.sighting import (
    ForeignQemu,
    HostSample,
    Mount,
    NetCounters,
    Sighting,
    VmSample,
)
from tashictl.planning.frames import Section, sections
from tashictl.planning.lookout import console_end

_ISO = "%Y-%m-%dT%H:%M:%SZ"
_COUNT = re.compile(r"[0-9]{1,19}")  # what is longer is no counter that a file could keep
_MAX = (1 << 63) - 1
_MAX_TIME_S = 4102444800  # the year 2100
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_UUID = re.compile(r"[0-9a-f-]{1,64}")
_DISK = re.compile(r"([0-9]{1,19}) ([0-9]{1,9}) .*/([0-9a-f-]{1,64})/(disk[0-9]{1,9}\.qcow2)['\"]?")
_EXE = re.compile(r"[0-9]+ [0-9]+ .*/proc/([0-9]{1,19})/exe'? -> .* \(deleted\)['\"]?")
_TAP = re.compile(r"tashi([0-9]{1,18})\.([0-9]{1,9})")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MAX_LEARNT = 4
_ROLES = ("lib", "images", "scratch")
_NAME_CHARS = 200

_Rows = dict[str, list[str]]


def read(out: bytes, nonce: str, now: datetime) -> Sighting | None:
    """Read the probe's answer; None when it is cut short or its main part did not come to its end.

    `now` is our clock at the moment at which the answer was there.
    """
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    at = now.strftime(_ISO)
    named = {s.words[0]: s for s in found if s.kind == "B" and len(s.words) == 1}
    if "busy" in named:
        return Sighting(at=at, busy_s=_count(named["busy"].text.strip()))
    look = _rows(named.get("look"))
    if "end" not in look:
        return None
    host = _rows(named.get("host"))
    uptime = _word(look, "up")
    return Sighting(
        at=at,
        boot_id=_word(look, "boot_id"),
        kernel=_word(look, "kernel"),
        clock_offset_s=_offset(named.get("clock"), now),
        fingerprint=_fingerprint(_word(look, "kernel"), named.get("print")),
        claim=_claim(_word_list(host, "cluster")),
        replica=_replica(_word_list(host, "replica")),
        bridges=tuple(host.get("bridge", [])),
        host=_host(look, _mounts(named.get("mounts"))) if _decimal(uptime) else None,
        vms=_vms(look, named.get("files"), found),
        foreign=_foreign(look),
        hidden="hidden" in host,
        neighbours=tuple(_neighbours(look)),
    )


# -- words and numbers


def _rows(section: Section | None) -> _Rows:
    """The lines of a section by their first word."""
    rows: _Rows = {}
    for line in (section.text if section else "").split("\n"):
        key, _, value = line.partition(" ")
        rows.setdefault(key, []).append(value)
    return rows


def _word(rows: _Rows, key: str) -> str:
    """The first word behind a key."""
    return next(iter(_word_list(rows, key)), "")


def _word_list(rows: _Rows, key: str) -> list[str]:
    return rows.get(key, [""])[0].split()


def _pairs(rows: _Rows, key: str) -> dict[str, str]:
    """The lines of a key as pairs: the word behind it, and the rest."""
    found: dict[str, str] = {}
    for line in rows.get(key, []):
        name, _, value = line.partition(" ")
        found.setdefault(name, value)
    return found


def _maybe(text: str) -> int | None:
    return min(int(text), _MAX) if _COUNT.fullmatch(text) else None


def _count(text: str) -> int:
    return _maybe(text) or 0


def _decimal(text: str) -> float | None:
    return float(text) if _DECIMAL.fullmatch(text) else None


def _claim(words: list[str]) -> tuple[str, int, int] | None:
    """Cluster, epoch and counter of the file that the fence keeps; more stands behind them."""
    return (words[0], _count(words[1]), _count(words[2])) if len(words) >= 3 else None


def _replica(words: list[str]) -> tuple[int, int, str] | None:
    return (_count(words[0]), _count(words[1]), words[2]) if len(words) >= 3 else None


def _offset(clock: Section | None, now: datetime) -> float:
    seconds = _maybe(clock.text.strip()) if clock else None
    return 0.0 if seconds is None else min(seconds, _MAX_TIME_S) - now.timestamp()


def _fingerprint(kernel: str, section: Section | None) -> str:
    """Empty where it cannot be told now, since the image folder hangs."""
    if section is None:
        return ""
    return hashlib.sha256(f"{kernel}\n{section.text}".encode()).hexdigest()[:16]


# -- the host


def _mounts(section: Section | None) -> tuple[Mount, ...]:
    rows = _rows(section)
    paths, sizes, stuck = (_pairs(rows, key) for key in ("path", "mount", "stuck"))
    found = []
    for role in _ROLES:
        if role not in paths:
            continue
        numbers = [_maybe(word) for word in sizes.get(role, "").split()]
        block, total, free = numbers if len(numbers) == 3 else (None, None, None)
        since = _maybe(stuck.get(role, ""))
        if since is not None:
            block = None
        found.append(
            Mount(
                role=role,
                path=paths[role],
                size_bytes=_product(block, total),
                free_bytes=_product(block, free),
                stuck_since=None if since is None else _iso(since),
            )
        )
    return tuple(found)


def _product(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else min(one * other, _MAX)


def _iso(seconds: int) -> str:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (epoch + timedelta(seconds=min(seconds, _MAX_TIME_S))).strftime(_ISO)


def _host(look: _Rows, mounts: tuple[Mount, ...]) -> HostSample:
    memory = {k: _count(v.split()[0]) for k, v in _pairs(look, "mem").items() if v.split()}
    ticks = [_count(word) for word in _word_list(look, "ticks")[1:9]]
    loads = [_decimal(word) or 0.0 for word in _word_list(look, "load")[:3]]
    loads += [0.0] * (3 - len(loads))
    oom = _pairs(look, "vm").get("oom_kill")
    return HostSample(
        uptime_s=_decimal(_word(look, "up")) or 0.0,
        cores=_count(_word(look, "cores")),
        load_1=loads[0],
        load_5=loads[1],
        load_15=loads[2],
        cpu_busy_ticks=sum(ticks) - sum(ticks[3:5]),
        cpu_total_ticks=sum(ticks),
        memory_mib=memory.get("MemTotal:", 0) // 1024,
        memory_available_mib=memory.get("MemAvailable:", 0) // 1024,
        huge_pages_total=memory.get("HugePages_Total:", 0),
        huge_pages_free=memory.get("HugePages_Free:", 0),
        huge_page_kib=memory.get("Hugepagesize:", 0),
        swap_mib=memory.get("SwapTotal:", 0) // 1024,
        swap_free_mib=memory.get("SwapFree:", 0) // 1024,
        pressure_cpu=_pressure(look, "cpu"),
        pressure_memory=_pressure(look, "memory"),
        pressure_io=_pressure(look, "io"),
        oom_kills=_maybe(oom.strip()) if oom is not None else None,
        mounts=mounts,
        nets=tuple(_nets(look, "net")),
    )


def _pressure(look: _Rows, key: str) -> float | None:
    """The share of the last 10 s in which somebody waited."""
    for line in look.get(key, []):
        for word in line.split():
            if line.startswith("some ") and word.startswith("avg10="):
                return _decimal(word.removeprefix("avg10="))
    return None


def _nets(look: _Rows, key: str) -> Iterator[NetCounters]:
    for line in look.get(key, []):
        name, *words = line.split() or [""]
        numbers = [_count(word) for word in words]
        if len(numbers) == 8:
            yield NetCounters(
                name=name,
                rx_bytes=numbers[0],
                rx_packets=numbers[1],
                rx_errors=numbers[2],
                rx_dropped=numbers[3],
                tx_bytes=numbers[4],
                tx_packets=numbers[5],
                tx_errors=numbers[6],
                tx_dropped=numbers[7],
            )


def _neighbours(look: _Rows) -> Iterator[tuple[str, str]]:
    """Few of each MAC: a guest may claim as many addresses as it likes."""
    by_mac: dict[str, set[str]] = {}
    for line in look.get("near", []):
        mac, _, text = line.partition(" ")
        try:
            address = str(ip_address(text))
        except ValueError:
            continue
        if _MAC.fullmatch(mac):
            by_mac.setdefault(mac, set()).add(address)
    for mac, addresses in sorted(by_mac.items()):
        for address in sorted(addresses)[:_MAX_LEARNT]:
            yield mac, address


# -- VMs


def _vms(look: _Rows, files: Section | None, found: tuple[Section, ...]) -> tuple[VmSample, ...]:
    taps = _taps(look)
    disks, deleted = _files(files)
    ends = {(s.words[0], s.words[1]): s.text for s in found if s.kind == "B" and len(s.words) == 2}
    stats, ids, phases, generations = (
        _pairs(look, key) for key in ("stat", "id", "phase", "generation")
    )
    io = _io(look)
    page_bytes = (_maybe(" ".join(_word_list(look, "page")[1:2])) or 4) * 1024
    samples: dict[str, VmSample] = {}
    for line in look.get("seen", []):
        words = line.split(" ")
        if len(words) != 5 or not _UUID.fullmatch(words[0]) or words[0] in samples:
            continue
        uuid, alive = words[0], words[1] == "1"
        sample = VmSample(
            uuid=uuid,
            alive=alive,
            folder=words[3] != "0",
            run_folder=words[4] != "0",
            pid=_maybe(words[2]) if alive else None,
            taps=taps.get(_count(ids.get(uuid, "")), ()),
            disks=tuple(sorted(disks.get(uuid, []))),
            upgraded=words[2] in deleted,
            phase=phases.get(uuid, ""),
            generation=_count(generations.get(uuid, "")),
            manifest=_manifest(look, uuid),
        )
        if alive:
            sample = _with_stat(sample, stats.get(uuid, ""), io.get(uuid, {}), page_bytes)
        elif ("ended", uuid) in ends:
            sample = _with_end(sample, ends)
        samples[uuid] = sample
    return tuple(samples[uuid] for uuid in sorted(samples))


def _io(look: _Rows) -> dict[str, dict[str, int | None]]:
    """What each VM's QEMU has read and written, by uuid."""
    found: dict[str, dict[str, int | None]] = {}
    for line in look.get("io", []):
        words = line.split()
        if len(words) == 3:
            found.setdefault(words[0], {})[words[1]] = _maybe(words[2])
    return found


def _with_stat(sample: VmSample, stat: str, io: dict[str, int | None], page_bytes: int) -> VmSample:
    """With what /proc says of its QEMU, where it could be read."""
    words = stat.split()
    changes: dict[str, object] = {
        "io_read_bytes": io.get("read_bytes:"),
        "io_write_bytes": io.get("write_bytes:"),
    }
    if len(words) == 6:
        changes |= {
            "starttime": _maybe(words[0]),
            "process_state": words[1][:1],
            "cpu_ticks": _maybe(words[2]),
            "threads": _maybe(words[3]),
            "rss_bytes": _product(_maybe(words[4]), page_bytes),
            "vsize_bytes": _maybe(words[5]),
        }
    return msgspec.structs.replace(sample, **changes)


def _with_end(sample: VmSample, ends: dict[tuple[str, str], str]) -> VmSample:
    """With how its QEMU ended."""
    lines = ends["ended", sample.uuid].split("\n")
    exits = [line.removeprefix("exit ") for line in lines if line.startswith("exit ")]
    return msgspec.structs.replace(
        sample,
        exit_status=exits[0].strip()[:_NAME_CHARS] if exits else "",
        oom="oom" in lines,
        log_end=console_end(ends.get(("qemu", sample.uuid), "")),
        console_end=console_end(ends.get(("console", sample.uuid), "")),
    )


def _manifest(look: _Rows, uuid: str) -> dict[str, object] | None:
    """Its manifest where the whole of it was sent: a JSON object, on one line or on several."""
    lines = look.get("manifest", [])
    text = "\n".join(x.removeprefix(f"{uuid} ") for x in lines if x.startswith(f"{uuid} "))
    try:
        return msgspec.json.decode(text, type=dict[str, object]) if text else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _taps(look: _Rows) -> dict[int, tuple[NetCounters, ...]]:
    """The TAPs of each VM by its id, in order of the index."""
    found: dict[int, list[tuple[int, NetCounters]]] = {}
    for counters in _nets(look, "tap"):
        match = _TAP.fullmatch(counters.name)
        if match is not None:
            found.setdefault(int(match[1]), []).append((int(match[2]), counters))
    return {
        vm: tuple(counters for _, counters in sorted(taps, key=lambda tap: tap[0]))
        for vm, taps in found.items()
    }


def _files(section: Section | None) -> tuple[dict[str, list[tuple[str, int]]], set[str]]:
    """The disks by VM with their allocated bytes; the pids whose binary is gone."""
    disks: dict[str, list[tuple[str, int]]] = {}
    deleted = set()
    for line in (section.text if section else "").split("\n"):
        if (disk := _DISK.fullmatch(line)) is not None:
            size = min(int(disk[1]) * int(disk[2]), _MAX)
            disks.setdefault(disk[3], []).append((disk[4], size))
        elif (exe := _EXE.fullmatch(line)) is not None:
            deleted.add(exe[1])
    return disks, deleted


def _foreign(look: _Rows) -> tuple[ForeignQemu, ...]:
    """QEMUs that hold no run.lock of ours; also one whose uuid is that of a VM of ours."""
    found = []
    for line in look.get("qemu", []):
        pid, start, uuid, name = (*line.split(" ", 3), "", "", "", "")[:4]
        if _maybe(pid) is None or _maybe(start) is None:
            continue
        found.append(
            ForeignQemu(
                pid=_count(pid),
                starttime=_count(start),
                uuid=uuid.lower() if _UUID.fullmatch(uuid.lower()) and uuid != "-" else None,
                name=_name(name),
            )
        )
    return tuple(sorted(found, key=lambda q: (q.pid, q.starttime)))


def _name(text: str) -> str | None:
    """The guest's name of QEMU's ``-name [guest=]NAME[,…]``, without what a terminal acts upon."""
    words = [w for w in text.split(",") if not w.startswith(("debug-threads=", "process="))]
    name = "".join(c for c in "".join(words[:1]).removeprefix("guest=") if c.isprintable())
    return name[:_NAME_CHARS] or None
