"""QEMUs that were started by hand: what to ask a host, which of them can be taken in, and how.

Their disks are never ours: they are recorded as volumes, and no plan removes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from tashictl.model import names
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.model.steps import AdoptQemu, AwaitQmp, Plan, WriteManifest
from tashictl.model.vm import DiskSpec, NicSpec, Vm, VmSpec
from tashictl.planning import manifest, paths
from tashictl.planning.adopt_argv import Given, GivenDisk, GivenNic, read
from tashictl.planning.frames import sections
from tashictl.planning.shell import read_only

LOOK_TIMEOUT_S = 20
PHASE = "adopting"
VOLUME = "volume"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_DAEMON = {"-daemonize", "--daemonize"}
_NUMBER = re.compile(r"[0-9]{1,18}")

# A process is known by its first argument; that a QEMU's child has the same is not its VM.
_LOOK = r"""
say B nets
for b in /sys/class/net/*/master; do [ -e "$b" ] || continue
  m=$(readlink -f "$b"); n=${b%/master}; echo "${n##*/} ${m##*/}"
done
say B folders
for d in "$L/$C"/*-*/ "$RUN/$C"/*-*/; do [ -d "$d" ] || continue; d=${d%/}; echo "${d##*/}"; done
[ -e /proc/1/stat ] || say B hidden
hex() { od -An -v -tx1 | tr -d ' \n'; echo; }
for p in $(grep -laE '(^|/)(qemu-system-[a-z0-9_]+|qemu-kvm|kvm)' /proc/[0-9]*/cmdline 2>/dev/null)
do p=${p%/cmdline}
  e=$(tr '\0' '\n' <"$p/cmdline" | head -n 1) 2>/dev/null
  case ${e##*/} in qemu-system-*|qemu-kvm|kvm) ;; *) continue;; esac
  { read -r s <"$p/stat"; } 2>/dev/null || continue
  set -- ${s##*) }; [ "$1" != Z ] || continue
  say B qemu "${p##*/}" "${20}" "$2"
  hex <"$p/cmdline"; { readlink "$p/cwd" | tr -d '\n'; } 2>/dev/null | hex
done
"""


class Process(Struct, frozen=True, kw_only=True):
    """A QEMU on a host; `starttime` is field 22 of its stat.

    `folder` is where it was started, "" where that is not known.
    """

    pid: int
    starttime: int
    parent: int = 0
    argv: tuple[str, ...]
    folder: str = ""


class Look(Struct, frozen=True, kw_only=True):
    """What a host said: its QEMUs, the bridges of its interfaces, the uuids that have a folder.

    `hidden` says that /proc hides other users' processes.
    """

    processes: tuple[Process, ...] = ()
    bridges: Mapping[str, str] = {}
    folders: frozenset[str] = frozenset()
    hidden: bool = False


class Candidate(Struct, frozen=True, kw_only=True):
    """A QEMU: to be taken in with `spec`, known already as the VM `known`, or refused with why.

    `notes` say what of it is not recorded as it is.
    """

    process: Process
    uuid: str | None = None
    name: str = ""
    spec: VmSpec = VmSpec()
    socket: str = ""
    notes: tuple[str, ...] = ()
    known: Vm | None = None
    refusal: str = ""
    remedy: str = ""


class Scene(Struct, frozen=True, kw_only=True):
    """What candidates are held against; `arch` is the host's."""

    host: str
    vms: tuple[Vm, ...]
    inventory: Inventory
    arch: str = "x86_64"


# -- looking


def script(settings: Settings, nonce: str) -> Script:
    """The look at one host; it changes nothing."""
    ours = settings.tashictl
    text = read_only(nonce, _LOOK, L=ours.lib_dir, RUN=ours.run_dir, C=ours.cluster_id)
    return Script(text=text, nonce=nonce, changing=False, timeout_s=LOOK_TIMEOUT_S)


def read_look(out: bytes, nonce: str) -> Look | None:
    """What a host answered, None when its end was not heard; what makes no sense is left out."""
    found = sections(out, nonce)
    if not any(s.kind == "Z" for s in found):
        return None
    processes: list[Process] = []
    lines: dict[str, list[str]] = {}
    for section in found:
        match section.words:
            case ("qemu", *numbers) if len(numbers) == 3 and all(map(_NUMBER.fullmatch, numbers)):
                process = _process(numbers, section.text.splitlines())
                processes += [process] if process is not None else []
            case (what,):
                lines[what] = section.text.splitlines()
            case _:
                continue
    pids = {p.pid for p in processes}
    pairs = (line.split() for line in lines.get("nets", ()))
    return Look(
        processes=tuple(p for p in processes if p.parent not in pids),
        bridges={pair[0]: pair[1] for pair in pairs if len(pair) == 2},
        folders=frozenset(filter(None, lines.get("folders", ()))),
        hidden="hidden" in lines,
    )


def _process(numbers: Sequence[str], lines: Sequence[str]) -> Process | None:
    try:
        words, folder, *_ = (bytes.fromhex(line).decode("utf-8", "replace") for line in lines)
    except ValueError:
        return None
    pid, starttime, parent = map(int, numbers)
    argv = tuple(words.removesuffix("\0").split("\0"))
    if _DAEMON & set(argv):
        folder = ""  # it has left the one that it was started in
    return Process(pid=pid, starttime=starttime, parent=parent, argv=argv, folder=folder)


# -- judging


def judge(look: Look, scene: Scene) -> tuple[Candidate, ...]:
    """Every QEMU of a host that is not ours by its folder, and those that are and run there."""
    given = [(process, read(process.argv)) for process in look.processes]
    uuids = Counter(found.uuid for _, found in given)
    taken = {vm.name for vm in scene.vms}
    candidates = []
    for process, found in given:
        one = _judged(process, found, look, scene)
        if not one.refusal and uuids[found.uuid] > 1:
            one = _refused(process, found, "another QEMU there has its uuid", "end one of the two")
        elif not one.refusal and one.known is None and one.name in taken:
            why = f"there is a VM {one.name} already"
            one = _refused(process, found, why, f"tashictl vm show {one.name}; end one of the two")
        elif not one.refusal:
            taken.add(one.name)
        candidates.append(one)
    return tuple(candidates)


def _judged(process: Process, given: Given, look: Look, scene: Scene) -> Candidate:
    uuid = given.uuid
    known = next((vm for vm in scene.vms if vm.uuid == uuid), None)
    if known is not None and known.host == scene.host:
        return Candidate(process=process, uuid=uuid, name=known.name, known=known)
    why, remedy = _obstacle(process, given, look, scene, known)
    if why:
        return _refused(process, given, why, remedy)
    assert uuid is not None and given.qmp is not None
    name, notes = _name(given, uuid)
    nics, more = _nics(given.nics, look, scene.inventory.networks)
    return Candidate(
        process=process,
        uuid=uuid,
        name=name,
        spec=VmSpec(
            cores=given.cores,
            memory_mib=given.memory_mib,
            disks=tuple(_disk(i, d, process.folder) for i, d in enumerate(given.disks)),
            nics=nics,
            arch=given.arch or scene.arch,
        ),
        socket=_absolute(given.qmp, process.folder),
        notes=(*notes, *more),
    )


def _obstacle(
    process: Process, given: Given, look: Look, scene: Scene, known: Vm | None
) -> tuple[str, str]:
    """Why a QEMU cannot be taken in, and what helps; two empty texts where it can."""
    again = "end it and start it again with"
    leave = f"or leave it: tashictl event ack foreign-qemu:{scene.host}:{given.uuid or process.pid}"
    if not given.uuid:
        why = "it was started without -uuid: nothing tells it from others for sure"
        return why, f"{again} -uuid $(uuidgen), {leave}"
    if not _UUID.fullmatch(given.uuid) or given.uuid_option != "-uuid":
        why = f"{given.uuid_option} {given.uuid} is not -uuid with 32 lower-case digits and dashes"
        return why, f"{again} it written so, {leave}"
    if known is not None:
        return f"it is the VM {known.name}, which is on {known.host or 'no host'}", "tashictl sweep"
    if given.uuid in look.folders:
        return "it has a folder of this cluster, and the database lacks it", "tashictl sweep"
    if given.qmp is None:
        said = f" but {'; '.join(given.asked)}" if given.asked else ""
        why = f"it has no QMP socket that it listens on{said}: nothing could steer it"
        return why, f"{again} -qmp unix:/run/{given.uuid}.qmp,server=on,wait=off, {leave}"
    if not _absolute(given.qmp, process.folder):
        why = f"its QMP socket is {given.qmp}, and where it was started is not known"
        return why, f"{again} an absolute path (-daemonize leaves the folder), {leave}"
    return "", ""


def _refused(process: Process, given: Given, why: str, remedy: str) -> Candidate:
    return Candidate(
        process=process, uuid=given.uuid, name=given.name or "", refusal=why, remedy=remedy
    )


def _name(given: Given, uuid: str) -> tuple[str, tuple[str, ...]]:
    if given.name is not None and names.is_name(given.name):
        return given.name, ()
    name = f"adopted-{uuid[:8]}"
    why = "it has no -name" if given.name is None else f"its -name {given.name!r} is none of a VM"
    return name, (why,)


def _absolute(path: str, folder: str) -> str:
    """A path as the host sees it; "" where that cannot be known."""
    if path.startswith("/"):
        return path
    return f"{folder}/{path}" if folder.startswith("/") else ""


def _disk(index: int, disk: GivenDisk, folder: str) -> DiskSpec:
    """A file, or what QEMU reaches by a protocol: kept as it was written."""
    file, format_ = disk.file, disk.format
    if format_ not in ("qcow2", "raw"):
        format_ = "qcow2" if file.endswith(".qcow2") else "raw"
    is_uri = re.match(r"[a-z][a-z0-9+-]*:", file) is not None and not file.startswith("file:")
    path = file if is_uri else _absolute(file.removeprefix("file:"), folder) or file
    source = "uri" if is_uri else VOLUME
    return DiskSpec(index=index, source=source, name=path, persistent=True, format=format_)


def _nics(
    given: Iterable[GivenNic], look: Look, networks: Sequence[Network]
) -> tuple[tuple[NicSpec, ...], list[str]]:
    """The interfaces that are on a network of the inventory, and a note of each other one."""
    found: list[NicSpec] = []
    notes: list[str] = []
    for index, nic in enumerate(given):
        bridge = look.bridges.get(nic.tap or "", nic.bridge)
        network = next(
            (n for n in networks if (n.mode == "user" if nic.user else _is_on(n, bridge))), None
        )
        if network is None or not _MAC.fullmatch(nic.mac):
            where = f"bridge {bridge}" if bridge else nic.tap or "no TAP that is named"
            notes.append(
                f"nic {nic.mac} ({where}) is not recorded: it is on no network of the inventory"
            )
            continue
        found.append(NicSpec(index=index, network=network.id, mac=nic.mac, ssh_port=nic.ssh_port))
    return tuple(found), notes


def _is_on(network: Network, bridge: str | None) -> bool:
    return network.mode != "user" and bridge is not None and network.bridge == bridge


# -- doing


def plan(vm: Vm, process: Process, socket: str, settings: Settings) -> Plan:
    """The steps that take a QEMU in; its operation must be set. None of them touches the QEMU.

    The last one passes the pivot: it answers, running or paused.
    """
    where = paths.of(vm.uuid, settings)
    at = paths.at(vm.host or "", vm.uuid, settings)
    cluster = settings.tashictl.cluster_id
    operation = vm.operation.id if vm.operation else 0
    return (
        *begin(vm, settings),
        AdoptQemu(**at, pid=process.pid, starttime=process.starttime, socket=socket),
        WriteManifest(
            **at,
            phase="running",
            manifest=manifest.open_text(vm, cluster, "running", operation),
            add_started=True,
        ),
        AwaitQmp(**at, socket=where.qmp, paused_too=True),
    )


def begin(vm: Vm, settings: Settings) -> Plan:
    """The first step alone: all that is known of a plan whose journal was lost."""
    operation = vm.operation.id if vm.operation else 0
    text = manifest.text(vm, settings.tashictl.cluster_id, PHASE, operation)
    at = paths.at(vm.host or "", vm.uuid, settings)
    return (WriteManifest(**at, phase=PHASE, manifest=text),)
