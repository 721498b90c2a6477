"""What a QEMU's own command line says of its VM (qemu(1)); nothing in it is trusted to be right.

Only what a record needs is read: uuid, name, memory, cores, the QMP socket, disks, interfaces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, prod

import msgspec
from msgspec import Struct

DEFAULT_MEMORY_MIB = 128
DEFAULT_BRIDGE = "br0"
_MAX_MEMORY_MIB = 1 << 40
_MAX_CORES = 1 << 16

# Options that take no argument; whatever else begins with a dash takes the next word.
# fmt: off
_FLAGS = frozenset({
    "S", "alt-grab", "audio-help", "ctrl-grab", "curses", "daemonize", "enable-fips",
    "enable-kvm", "enable-sync-profile", "full-screen", "h", "help", "jitdump", "mem-prealloc",
    "no-acpi", "no-fd-bootchk", "no-hpet", "no-kvm", "no-quit", "no-reboot", "no-shutdown",
    "no-user-config", "nodefaults", "nographic", "nouserconfig", "old-param", "one-insn-per-tb",
    "only-migratable", "perfmap", "portrait", "preconfig", "rtc-td-hack", "s", "sdl",
    "semihosting", "singlestep", "snapshot", "tdf", "usb", "version", "win2k-hack",
    "xen-attach", "xen-domid-restrict"
})
# fmt: on
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([bkmgtpe]?)", re.IGNORECASE | re.ASCII)
_MIB = {"b": 2.0**-20, "k": 2.0**-10, "": 1, "m": 1, "g": 2**10, "t": 2**20, "p": 2**30, "e": 2**40}
_BINARY = re.compile(r"qemu-system-([a-z0-9_]+)")
_SSH = re.compile(r"hostfwd=tcp:[^:,]*:(\d{1,5})-[^:,]*:22(?!\d)", re.ASCII)
_NOT_DISKS = frozenset({"pflash", "floppy", "mtd"})
_PROTOCOLS = frozenset({"file", "host_device", "host_cdrom"})
_ON = frozenset({"on", "yes", "true", "y"})

Properties = Mapping[str, str]


class GivenDisk(Struct, frozen=True, kw_only=True):
    """A disk: its file as it was written, and its format where that was said."""

    file: str
    format: str | None = None


class GivenNic(Struct, frozen=True, kw_only=True):
    """An interface: behind a TAP, on a bridge that QEMU's helper joined, or in QEMU's own network.

    `ssh_port` is the port of the host that leads to the guest's port 22.
    """

    mac: str
    tap: str | None = None
    bridge: str | None = None
    user: bool = False
    ssh_port: int | None = None


class Given(Struct, frozen=True, kw_only=True):
    """All that was read. `qmp` is the path of a socket that QEMU listens on; `asked` lists what
    was said of QMP instead.
    """

    uuid: str | None = None
    uuid_option: str = ""
    name: str | None = None
    memory_mib: int = DEFAULT_MEMORY_MIB
    cores: int = 1
    qmp: str | None = None
    asked: tuple[str, ...] = ()
    disks: tuple[GivenDisk, ...] = ()
    nics: tuple[GivenNic, ...] = ()
    arch: str | None = None


def read(argv: Sequence[str]) -> Given:
    """Read a command line, its first word the binary; whatever makes no sense is passed over."""
    options = list(_options(argv[1:]))
    uuids = [(dashes, value) for dashes, name, value in options if name == "uuid"]
    plain = [(name, value) for _, name, value in options]
    qmp, asked = _qmp(plain)
    binary = _BINARY.fullmatch(argv[0].rpartition("/")[2]) if argv else None
    return Given(
        uuid=uuids[-1][1] if uuids else None,
        uuid_option=f"{uuids[-1][0]}uuid" if uuids else "",
        name=_last(plain, "name", "guest", "guest"),
        memory_mib=_memory(_last(plain, "m", "size", "size")),
        cores=_cores(plain),
        qmp=qmp,
        asked=asked,
        disks=tuple(_disks(plain)),
        nics=tuple(_nics(plain)),
        arch=binary[1] if binary else None,
    )


def properties(text: str, first: str = "") -> dict[str, str]:
    """Read ``key=value,flag,noflag`` (two commas are one that is meant), or a JSON object.

    A first part without ``=`` is the value of `first`; what is nested gets dotted keys.
    """
    if text.startswith("{"):
        try:
            return dict(_flat("", msgspec.json.decode(text.encode("utf-8", "replace"))))
        except (msgspec.DecodeError, RecursionError):
            return {}
    found: dict[str, str] = {}
    for place, part in enumerate(text.replace(",,", "\0").split(",")):
        key, equals, value = part.replace("\0", ",").partition("=")
        if equals:
            found[key] = value
        elif place == 0 and first:
            found[first] = key
        elif key.startswith("no"):
            found[key[2:]] = "off"
        elif key:
            found[key] = "on"
    return found


def _flat(before: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{before}.{key}" if before else str(key), inner)
    elif isinstance(value, bool):
        yield before, "on" if value else "off"
    elif isinstance(value, str | int | float):
        yield before, str(value)


def _options(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Dashes, option, value; a word that belongs to none is QEMU's first disk."""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        name = word.lstrip("-") if word[:1] == "-" else ""
        if not name:
            yield "", "hda", word
        elif name in _FLAGS:
            yield "-", name, ""
        else:
            yield word[: len(word) - len(name)], name, words[at] if at < len(words) else ""
            at += 1


def _every(options: Sequence[tuple[str, str]], name: str, first: str = "") -> list[dict[str, str]]:
    return [properties(value, first) for option, value in options if option == name]


def _last(options: Sequence[tuple[str, str]], name: str, first: str, key: str) -> str | None:
    """The value that a key has in the last of the options that give it."""
    found = [p[key] for p in _every(options, name, first) if key in p]
    return found[-1] if found else None


def _memory(text: str | None) -> int:
    match = _SIZE.fullmatch(text or "")
    if match is None:
        return DEFAULT_MEMORY_MIB
    mib = ceil(float(match[1]) * _MIB[match[2].lower()])
    return min(mib, _MAX_MEMORY_MIB) or DEFAULT_MEMORY_MIB


def _cores(options: Sequence[tuple[str, str]]) -> int:
    smp: dict[str, str] = {}
    for given in _every(options, "smp", "cpus"):
        smp |= given
    numbers = {k: int(v) for k, v in smp.items() if v.isascii() and v.isdigit() and len(v) < 6}
    parts = [numbers.get(k, 1) for k in ("sockets", "dies", "clusters", "cores", "threads")]
    return min(max(1, numbers.get("cpus") or prod(parts)), _MAX_CORES)


def _qmp(options: Sequence[tuple[str, str]]) -> tuple[str | None, tuple[str, ...]]:
    """The socket of the first monitor that speaks QMP and listens, and what else was asked for."""
    chardevs = {c.get("id", ""): c for c in _every(options, "chardev", "backend")}
    asked: list[str] = []
    for name, value in options:
        if name in ("qmp", "qmp-pretty"):
            path = (
                _listening(chardevs.get(value[8:], {}))
                if value.startswith("chardev:")
                else _listening({**properties(value, "path"), "backend": "socket"}, "unix:")
            )
        elif name == "mon" and properties(value, "chardev").get("mode") == "control":
            path = _listening(chardevs.get(properties(value, "chardev").get("chardev", ""), {}))
        else:
            continue
        if path is not None:
            return path, ()
        asked.append(f"-{name} {value}")
    return None, tuple(asked)


def _listening(chardev: Properties, prefix: str = "") -> str | None:
    """The path of a unix socket that QEMU listens on itself, by a name in the file system."""
    path = chardev.get("path", "")
    if chardev.get("backend") != "socket" or not path.startswith(prefix):
        return None
    if chardev.get("server", "off") not in _ON or chardev.get("abstract", "off") in _ON:
        return None
    return path[len(prefix) :] or None


def _disks(options: Sequence[tuple[str, str]]) -> Iterator[GivenDisk]:
    devices = _every(options, "device", "driver")
    away = {d.get("drive", "") for d in devices if d.get("driver", "").endswith("-cd")}
    for machine in (*_every(options, "machine", "type"), *_every(options, "M", "type")):
        away |= {value for key, value in machine.items() if key.startswith("pflash")}
    for name, value in options:
        if name in ("hda", "hdb", "hdc", "hdd", "sd"):
            yield GivenDisk(file=value)
        elif name == "drive":
            given = properties(value)
            file = given.get("file.filename") or given.get("file")
            hidden = given.get("media") == "cdrom" or given.get("if") in _NOT_DISKS
            if file and not hidden and given.get("id", " ") not in away:
                yield GivenDisk(file=file, format=given.get("format") or given.get("driver"))
    yield from _nodes([properties(v) for n, v in options if n == "blockdev"], away)


def _nodes(nodes: Sequence[Properties], away: set[str]) -> Iterator[GivenDisk]:
    """The files below the block nodes, each with the format of the node above it."""
    above = {n["file"]: n for n in nodes if "file" in n}
    away = away | {n["backing"] for n in nodes if n.get("backing")}
    for node in nodes:
        name = node.get("node-name", " ")
        file = node.get("file.filename") or node.get("filename")
        top = above.get(name, node)
        if not file or name in away or top.get("node-name", " ") in away:
            continue
        driver = top.get("driver")
        yield GivenDisk(file=file, format="raw" if driver in _PROTOCOLS else driver)


def _nics(options: Sequence[tuple[str, str]]) -> Iterator[GivenNic]:
    backends = {}
    for name, value in options:
        if name == "netdev":
            given = properties(value, "type")
            backends[given.get("id", "")] = (given, value)
    old = [v for n, v in options if n == "net"]
    hub = [(p, v) for v in old if (p := properties(v, "type")).get("type") not in ("nic", "none")]
    number = 0
    for name, value in options:
        given = properties(value, "driver" if name == "device" else "type")
        if name == "device" and "netdev" in given:
            backend = backends.get(given["netdev"], ({}, ""))
        elif name == "nic" and given.get("type", "none") != "none":
            backend = (given, value)
        elif name == "net" and given.get("type") == "nic":
            backend = backends.get(given.get("netdev", ""), hub[0] if hub else ({}, ""))
        else:
            continue
        mac = given.get("mac") or given.get("macaddr") or _usual_mac(number)
        number += 1
        yield _nic(mac, *backend)


def _nic(mac: str, backend: Properties, text: str) -> GivenNic:
    kind = backend.get("type")
    ssh = _SSH.search(text) if kind == "user" else None
    joined = backend.get("br", DEFAULT_BRIDGE if kind == "bridge" else "")
    return GivenNic(
        mac=mac.lower(),
        tap=backend.get("ifname") if kind == "tap" else None,
        bridge=joined or None if kind in ("tap", "bridge") else None,
        user=kind == "user",
        ssh_port=int(ssh[1]) if ssh else None,
    )


def _usual_mac(number: int) -> str:
    """What QEMU gives an interface for which none was said."""
    return f"52:54:00:12:34:{(0x56 + number) % 256:02x}"
