"""What must hold whatever happened: nothing without an owner, nothing double, nothing half done.

Hosts are looked at from outside, records are read by `vm list`; the two are held together.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tashictl.adapters.store.form import ReadOnlyStore
from tashictl.cli.records import Scene, vm_record
from tashictl.model.settings import Settings, TashictlSettings
from tests.live.lab import cluster as clusters
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.observe import qemus
from tests.live.lab.runner import Result, Tashictl

IMAGE = "blank.img"
_IMAGE_BYTES = 1 << 20
_LIB = "var/lib/tashi"
_RUN = "run/tashi"
_AT_REST = ("Running", "Pending", "Held")
# Of a whole host, not of one VM: the claim, its lock, images, fences.
_OF_THE_HOST = re.compile(
    r"cluster|cluster\.lock|shared/images/[^.]\S*|[0-9a-f]{12}/(fence|replica)/\S+"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A VM that was asked for once, whether it still exists or not."""

    id: int
    uuid: str


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing on a host that belongs to a VM; `owner` is its uuid, or for a TAP its id."""

    host: str
    kind: str
    owner: str


def blank_cluster(lab: Lab, directory: Path, argv: Sequence[str], config: str = "") -> Tashictl:
    """A cluster on the lab's hosts with one image, without a system: its guests cost no time.

    `config` is put behind `[Tashictl]` in Tashi.cfg.
    """
    tashictl = clusters.init_cluster(lab, directory, argv)
    with (directory / "Tashi.cfg").open("a", encoding="utf-8") as handle:
        handle.write(config)
    clusters.write_inventory(directory, lab)
    for host in lab.hosts:
        clusters.add_host(tashictl, host)
    clusters.import_image(tashictl, blank_image(directory.parent))
    return tashictl


def blank_image(folder: Path, name: str = IMAGE, first: bytes = b"") -> Path:
    """A raw image of 1 MiB of zeros behind `first`."""
    path = folder / name
    with path.open("wb") as handle:
        handle.write(first)
        handle.truncate(_IMAGE_BYTES)
    return path


def set_limits(tashictl: Tashictl, **limits: str) -> None:
    """Replaces values in the inventory's defaults: cores, memory, user."""
    path = tashictl.cluster / "inventory" / "lab.yaml"
    text = path.read_text(encoding="utf-8")
    for key, value in limits.items():
        text = re.sub(rf"\b{key}: [^,}}\n]+", f"{key}: {value}", text, count=1)
    path.write_text(text, encoding="utf-8")


def records(tashictl: Tashictl) -> list[dict[str, Any]]:
    """What `vm list -o json` prints, read here: a process for each look would cost minutes."""
    text = (tashictl.cluster / "Tashi.cfg").read_text(encoding="utf-8")
    settings = Settings(tashictl=TashictlSettings(cluster_id=text.split("clusterId = ")[1][:12]))
    scene = Scene(now=datetime.now(UTC), settings=settings)
    vms = ReadOnlyStore(str(tashictl.cluster / "state")).read().vms.values()
    return [vm_record(vm, scene) for vm in vms]


def record(tashictl: Tashictl, name: str) -> dict[str, Any] | None:
    """The record of that name, or None."""
    return next((vm for vm in records(tashictl) if vm["name"] == name), None)


def identities(tashictl: Tashictl, name: str) -> list[Identity]:
    """Every VM that ever had that name, by the journals."""
    found: dict[int, Identity] = {}
    for path in (tashictl.cluster / "state/journal").glob("*.jsonl"):
        vm = json.loads(path.read_text(encoding="utf-8").splitlines()[0]).get("vm")
        if vm and vm["name"] == name:
            found[vm["id"]] = Identity(vm["id"], vm["uuid"])
    return list(found.values())


def traces(host: Host) -> list[Trace]:
    """QEMUs, TAPs and folders of VMs on a host that is up."""
    found = [Trace(host.name, "QEMU", qemu.uuid or "no uuid") for qemu in qemus(host)]
    for link in (host.root / "sys/class/net").glob("tashi*"):
        found.append(Trace(host.name, "TAP", link.name.removeprefix("tashi").partition(".")[0]))
    for top, kind in ((_LIB, "folder"), (_RUN, "run folder")):
        for path in (host.root / top).glob("*/*-*-*-*-*"):
            found.append(Trace(host.name, kind, path.name))
    return found


def complaints(lab: Lab, tashictl: Tashictl, only: str | None = None) -> list[str]:
    """All that must not be, in words; for the VMs named `only`, or for everything.

    Hosts that are down are left out.
    """
    known = records(tashictl)
    found = [trace for host in lab.hosts if host.up for trace in traces(host)]
    if only is not None:
        ours = identities(tashictl, only)
        owners = {one.uuid for one in ours} | {str(one.id) for one in ours}
        found = [trace for trace in found if trace.owner in owners]
        known = [vm for vm in known if vm["name"] == only]
    wrong = [*_ownerless(found, known), *_double(found), *_unsettled(known)]
    wrong += _lacking(lab, found, known)
    return wrong if only is not None else [*wrong, *_strange_files(lab, known)]


def _ownerless(found: list[Trace], known: list[dict[str, Any]]) -> Iterator[str]:
    owners = {(vm["host"], owner) for vm in known for owner in (vm["uuid"], str(vm["id"]))}
    for trace in found:
        if (trace.host, trace.owner) not in owners:
            yield f"{trace.kind} of {trace.owner} on {trace.host} has no owner"


def _double(found: list[Trace]) -> Iterator[str]:
    for (kind, owner), count in Counter((t.kind, t.owner) for t in found).items():
        if count > 1:
            yield f"{count} times {kind} of {owner}"


def _unsettled(known: list[dict[str, Any]]) -> Iterator[str]:
    for vm in known:
        if vm["operation"] is not None or vm["state"] not in _AT_REST:
            yield f"{vm['name']} is {vm['state']}, operation {vm['operation']}"


def _lacking(lab: Lab, found: list[Trace], known: list[dict[str, Any]]) -> Iterator[str]:
    up = {host.name for host in lab.hosts if host.up}
    for vm in known:
        if vm["state"] != "Running" or vm["host"] not in up:
            continue
        have = {t.kind for t in found if t.owner in (vm["uuid"], str(vm["id"]))}
        for kind in ("QEMU", "TAP", "folder", "run folder"):
            if kind not in have:
                yield f"{vm['name']} is Running without a {kind}"
        root = lab.host(vm["host"]).root
        paths = [disk["path"] for disk in vm["disks"]]
        paths.append(f"{Path(paths[0]).parent}/manifest.json" if paths else "")
        for path in paths:
            if "/shared/" not in path and not (root / path.lstrip("/")).exists():
                yield f"{vm['name']} is Running without {path}"


def _strange_files(lab: Lab, known: list[dict[str, Any]]) -> Iterator[str]:
    """Files of tashictl's that are neither a VM's nor the host's, and half written ones."""
    uuids = [vm["uuid"] for vm in known]
    for host in lab.hosts:
        top = host.root / _LIB if host.up else None
        for path in top.rglob("*") if top else ():
            place = str(path.relative_to(top or "/"))
            if path.is_dir() or any(f"/{uuid}/" in place for uuid in uuids):
                if place.endswith(".part"):
                    yield f"{place} on {host.name} is half written"
            elif not _OF_THE_HOST.fullmatch(place) or place.endswith(".part"):
                yield f"{place} on {host.name} is nobody's"


def ready(lab: Lab, tashictl: Tashictl) -> None:
    """Ends every fault and every VM, and lets the cluster see its hosts again."""
    for host in lab.hosts:
        host.heal()
    state = ReadOnlyStore(str(tashictl.cluster / "state")).read()
    if not all(host.up and host.facts and host.facts.qemu_version for host in state.hosts.values()):
        tashictl.run("host", "check", check=False)
    names = [str(vm["id"]) for vm in records(tashictl)]
    if names:
        tashictl.run("vm", "destroy", "-y", *names)


@contextmanager
def untouched(lab: Lab, tashictl: Tashictl, but: str = "nothing") -> Iterator[None]:
    """What is done inside changes nothing on any host and no byte of the cluster directory.

    Paths with `but` in them may change: that a lock was held is no change.
    """
    before = picture(lab, tashictl)
    yield
    after = picture(lab, tashictl)
    changed = {
        place: (before.get(place), after.get(place))
        for place in {*before, *after}
        if before.get(place) != after.get(place) and but not in place
    }
    assert not changed, changed


def picture(lab: Lab, tashictl: Tashictl) -> dict[str, object]:
    """Every file of the cluster directory (with its time) and of the hosts, by what it holds."""
    found: dict[str, object] = {}
    for host in lab.hosts:
        found |= {
            f"{host.name}:{path}": content
            for path, content in host.snapshot().items()
            if not _grows(path)
        }
        if host.up:
            found[f"{host.name} runs"] = sorted((q.pid, q.uuid) for q in qemus(host))
            found[f"{host.name} links"] = host.run("ls /sys/class/net").stdout
    for top in (tashictl.cluster, tashictl.home):
        for path in sorted(top.rglob("*")):
            found[str(path)] = _file(path)
    return found


def _grows(path: str) -> bool:
    """What a guest that runs writes."""
    return path.endswith(("console.log", ".qcow2"))


def _file(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    if not path.is_file():
        return (status.st_mode, status.st_mtime_ns)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return (status.st_mode, status.st_mtime_ns, status.st_ino, digest)


def refused(result: Result, rc: int, *words: str) -> dict[str, Any]:
    """The first error of a command that was called with `-o json`; it has these words."""
    assert result.rc == rc, str(result)
    assert "Traceback" not in result.err, str(result)
    lines = [line for line in result.err.splitlines() if line.startswith("{")]
    assert lines, str(result)
    body = json.loads(lines[-1])
    text = json.dumps(body, ensure_ascii=False)
    for word in words:
        assert word in text, f"no {word!r} in {result}"
    assert body["error"]["code"].startswith("E-"), str(result)
    assert body["error"]["code"] != "E-BUG", str(result)
    error: dict[str, Any] = body["error"]
    return error


def codes(result: Result) -> list[str]:
    """The codes of all errors of a command that was called with `-o json`."""
    body = json.loads([line for line in result.err.splitlines() if line.startswith("{")][-1])
    return [error["code"] for error in body.get("errors", [body["error"]])]


def until(condition: Callable[[], object], timeout_s: float = 20.0) -> bool:
    """Whether the condition came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True
