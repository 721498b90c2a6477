"""What the operator asks for, read and checked: all problems at once, before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from tashictl.errors import Conflict, InvalidRequest, TashiError
from tashictl.model import names, units
from tashictl.model.cluster import Cluster
from tashictl.model.vm import DiskSpec, VmSpec
from tashictl.planning import addressing, cloudinit, naming, nics, qemu
from tashictl.planning.wishes import NicWish, Picture, VmRequest, nearest


class RawVm(Struct, frozen=True, kw_only=True):
    """`vm create` as it was typed, and the contents of the files that it named."""

    name: str
    disks: tuple[str, ...] = ()
    nics: tuple[str, ...] = ()
    cores: str = "1"
    memory: str = "128"
    hints: tuple[str, ...] = ()
    host: str | None = None
    user: str | None = None
    count: str | None = None
    cloud_init: bytes | None = None  # user-data; may hold passwords
    ssh_keys: tuple[bytes, ...] = ()  # the contents of files of public keys


def read(raw: RawVm) -> tuple[VmRequest, list[TashiError]]:
    """Read what was typed; parts with a problem come back empty beside the problems."""
    problems: list[TashiError] = []
    if not names.is_name(raw.name):
        problems.append(
            InvalidRequest("E-NAME", f"{raw.name!r} is no VM name", cause=names.NAME_RULE)
        )
    request = VmRequest(
        name=raw.name,
        disks=tuple(_disks(raw.disks, problems)),
        nics=tuple(_nics(raw.nics, problems)),
        cores=_cores(raw.cores, problems),
        memory_mib=_memory(raw.memory, problems),
        hints=dict(_hints(raw.hints, problems)),
        host=raw.host,
        user=raw.user,
    )
    problems += cloudinit.problems(raw.cloud_init, raw.ssh_keys)
    return request, problems


def _disks(texts: Iterable[str], problems: list[TashiError]) -> Iterator[tuple[str, bool]]:
    texts = tuple(texts)
    if not texts:
        problems.append(
            InvalidRequest("E-DISK", "a VM needs a disk", hint="--disk IMAGE (tashictl image list)")
        )
    for text in texts:
        name, colon, mode = text.partition(":")
        if colon and mode not in ("persistent", "True", "False"):
            problems.append(
                InvalidRequest(
                    "E-DISK",
                    f"disk {text!r}: {mode!r} is unknown",
                    hint="IMAGE or IMAGE:persistent",
                )
            )
        elif not names.is_image_name(name):
            problems.append(
                InvalidRequest(
                    "E-IMAGE",
                    f"{name!r} is no image name",
                    cause="a path below the image folder: letters, digits, . _ + -, no part may"
                    " start with a dot",
                )
            )
        else:
            yield name, mode in ("persistent", "True")


def _nics(texts: Iterable[str], problems: list[TashiError]) -> Iterator[NicWish]:
    for text in texts:
        try:
            network, ip, mac = addressing.split_nic(text)
        except ValueError as error:
            problems.append(
                InvalidRequest("E-NIC", f"nic {text!r}: {error}", hint="NET[:IP[:MAC]]")
            )
        else:
            yield NicWish(network=network, ip=ip, mac=mac)


def _cores(text: str, problems: list[TashiError]) -> int:
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) >= 1:
        return int(text)
    problems.append(InvalidRequest("E-CORES", f"cores {text!r}: a whole number, at least 1"))
    return 1


def _memory(text: str, problems: list[TashiError]) -> int:
    try:
        mib = units.memory_mib(text)
    except ValueError as error:
        problems.append(InvalidRequest("E-MEMORY", str(error)))
        return 1
    if mib < 1:
        problems.append(InvalidRequest("E-MEMORY", f"memory {mib} MiB: at least 1"))
    return max(mib, 1)


def _hints(texts: Iterable[str], problems: list[TashiError]) -> Iterator[tuple[str, str]]:
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            problems.append(InvalidRequest("E-HINT", f"hint {text!r}: KEY=VALUE"))
        elif not key.startswith("__"):  # Tashi drops such hints of users: they are its own
            yield key, value


def check(
    request: VmRequest, picture: Picture, macs: Iterator[str]
) -> tuple[VmSpec, list[TashiError]]:
    """Look up every part of the request; `macs` yields fresh random ones. All problems at once."""
    problems: list[TashiError] = []
    problems += _limits(request, picture)
    if any(vm.name == request.name for vm in picture.cluster.vms):
        problems.append(
            Conflict(
                "E-EXISTS",
                f"there is a VM named {request.name}",
                hint=f"tashictl vm show {request.name}",
            )
        )
    problems += _hosts(request, picture)
    spec = VmSpec(
        cores=request.cores,
        memory_mib=request.memory_mib,
        disks=tuple(_look_up_disks(request, picture, problems)),
        nics=tuple(nics.look_up(request, picture, macs, problems)),
        hints=request.hints,
    )
    problems += qemu.problems(spec)
    sub_domain = request.hints.get("subDomain", "")
    problems += naming.problems(request.name, spec.nics, sub_domain, picture.cluster.vms)
    return spec, problems


def _limits(request: VmRequest, picture: Picture) -> Iterator[TashiError]:
    limits = picture.settings.cluster
    if request.memory_mib > limits.max_memory_mib:
        yield InvalidRequest(
            "E-MEMORY",
            f"memory {request.memory_mib} MiB: at most {limits.max_memory_mib} (maxMemory)",
            hint="tashictl config show --origin",
        )
    if request.cores > limits.max_cores:
        yield InvalidRequest(
            "E-CORES",
            f"cores {request.cores}: at most {limits.max_cores} (maxCores)",
            hint="tashictl config show --origin",
        )


def _hosts(request: VmRequest, picture: Picture) -> Iterator[TashiError]:
    known = [h.name for h in picture.cluster.hosts]
    for asked in (request.host, request.hints.get("targetHost")):
        if asked is not None and target_of(asked, picture.cluster) is None:
            yield InvalidRequest(
                "E-HOST", f"no host {asked!r}", hint=nearest(asked, known, "tashictl host list")
            )


def target_of(asked: str, cluster: Cluster) -> str | None:
    """The name of the host given by name or id, or None."""
    for host in cluster.hosts:
        if asked in (host.name, str(host.record.id)):
            return host.name
    return None


def _look_up_disks(
    request: VmRequest, picture: Picture, problems: list[TashiError]
) -> Iterator[DiskSpec]:
    images = picture.cluster.images
    for index, (name, persistent) in enumerate(request.disks):
        image = images.get(name)
        if image is None:
            hint = nearest(name, images, "tashictl image list")
            problems.append(InvalidRequest("E-IMAGE", f"no image {name!r}", hint=hint))
            continue
        if [n for n, _ in request.disks].count(name) > 1 and persistent:
            problems.append(InvalidRequest("E-DISK", f"{name} is given twice, once persistent"))
        problems += _disk_conflicts(name, persistent, picture)
        yield DiskSpec(
            index=index,
            name=name,
            persistent=persistent,
            format=image.format,
            locality="shared" if image.shared else "host",
            sha256=image.sha256,
        )


def _disk_conflicts(name: str, persistent: bool, picture: Picture) -> Iterator[TashiError]:
    """A persistent disk has one user, and no overlay may lie upon it: writes would break it."""
    for vm in picture.cluster.vms:
        for disk in vm.spec.disks:
            if disk.name == name and (persistent or disk.persistent):
                how = "persistently" if disk.persistent else "below its overlay"
                yield Conflict(
                    "E-DISK-IN-USE",
                    f"image {name} is used {how} by {vm.name}",
                    hint=f"tashictl vm show {vm.name}",
                )
                return
