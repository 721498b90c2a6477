"""Choose a host: filter, then spread or pack, and remember why each host was refused.

Tashi's rule ("primitive"): a host qualifies when it is up and Normal, not reserved for others, and
has memory and cores left by the sums of its VMs' claims. targetHost first; elsewhere only with
allowElsewhere. densePack takes the host with most VMs, else the one with fewest; among equals the
scan goes round from the host used last.
"""

from __future__ import annotations

from msgspec import Struct

from tashictl.model.cluster import Cluster, Host
from tashictl.model.host import HostState
from tashictl.model.settings import PortRange, TashictlSettings
from tashictl.model.units import show_memory
from tashictl.model.vm import VmSpec
from tashictl.planning import ports

_SHOWN = 8  # refusals in an error; all of them would fill the screen


class Want(Struct, frozen=True, kw_only=True):
    """What is to be placed; `target` is the host asked for, if any; `ssh_ports` is the setting."""

    name: str
    user: str
    spec: VmSpec
    target: str | None = None
    elsewhere: bool = False
    dense: bool = False
    ssh_ports: PortRange = TashictlSettings().ssh_ports


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a host cannot take it; `lasting` means that it could not even when empty.

    `distance` is how far it is from fitting, as a part of what is wanted; infinite for what no
    room would help.
    """

    host: str
    refused_by: str
    short_by: str = "–"
    detail: str = ""
    lasting: bool = False
    distance: float = float("inf")

    @property
    def text(self) -> str:
        """One clause: ``node2: memory, 256 MiB short (16128 / 16384)``."""
        short = f", {self.short_by} short" if self.short_by != "–" else ""
        return f"{self.host}: {self.refused_by}{short}" + (
            f" ({self.detail})" if self.detail else ""
        )


class Decision(Struct, frozen=True, kw_only=True):
    """The host, or None with every host's refusal; `why` says by which rule the host was taken."""

    host: str | None
    why: str = ""
    refusals: tuple[Refusal, ...] = ()

    @property
    def hopeless(self) -> bool:
        """Whether no host could take it even when empty."""
        return self.host is None and all(r.lasting for r in self.refusals)

    @property
    def reason(self) -> str:
        """Why there is no host, in one line: the nearest miss."""
        if not self.refusals:
            return "no host was added yet (tashictl host add NAME)"
        nearest = min(self.refusals, key=lambda r: r.distance)
        others = len(self.refusals) - 1
        return f"no host fits, nearest {nearest.text}" + (f"; {others} more" if others else "")

    @property
    def details(self) -> str:
        """The refusals of the nearest hosts, one a line, and how many more there are."""
        nearest = sorted(self.refusals, key=lambda r: r.distance)[:_SHOWN]
        lines = [r.text for r in nearest]
        if len(self.refusals) > _SHOWN:
            lines.append(f"and {len(self.refusals) - _SHOWN} more hosts")
        return "\n".join(lines) or self.reason


def choose(cluster: Cluster, want: Want) -> Decision:
    """Choose a host for `want`, or say why there is none; the same input gives the same host."""
    verdicts = [(host, refuse(host, want, cluster)) for host in cluster.hosts]
    refusals = tuple(r for _, r in verdicts if r is not None)
    fitting = [host for host, refusal in verdicts if refusal is None]
    if want.target is not None:
        for host in fitting:
            if host.name == want.target:
                return Decision(host=host.name, why="targetHost", refusals=refusals)
        if not want.elsewhere:
            gone = Refusal(host=want.target, refused_by="unknown", detail="no such host any more")
            asked = tuple(r for r in refusals if r.host == want.target)
            return Decision(host=None, refusals=asked or (gone,))
    if not fitting:
        return Decision(host=None, refusals=refusals)
    turns = _turns(cluster)
    if want.dense:
        best = max(fitting, key=lambda h: (h.vms, -turns[h.name]))
        return Decision(
            host=best.name,
            why=f"densePack: {_vms(best.vms)}, most of {len(fitting)}",
            refusals=refusals,
        )
    best = min(fitting, key=lambda h: (h.vms, turns[h.name]))
    return Decision(
        host=best.name, why=f"spread: {_vms(best.vms)}, fewest of {len(fitting)}", refusals=refusals
    )


def refuse(host: Host, want: Want, cluster: Cluster) -> Refusal | None:
    """Why `host` cannot take `want`, or None when it can."""
    for rule in (_unusable, _missing_parts, _too_small, _no_port):
        refusal = rule(host, want, cluster)
        if refusal is not None:
            return refusal
    return None


def _unusable(host: Host, want: Want, _cluster: Cluster) -> Refusal | None:
    record = host.record
    if record.facts is None:
        return Refusal(host=host.name, refused_by="unknown", detail="never probed")
    if record.up is False:
        seen = record.last_contact or "never"
        return Refusal(host=host.name, refused_by="down", detail=f"last seen {seen}")
    if record.state is not HostState.Normal:
        return Refusal(host=host.name, refused_by=record.state.name.lower(), detail=record.notes)
    if record.facts.qemu_version is None:
        return Refusal(host=host.name, refused_by="no QEMU", detail="tashictl host check")
    if record.reserved_for and want.user not in record.reserved_for:
        return Refusal(
            host=host.name, refused_by="reserved", detail=f"for {', '.join(record.reserved_for)}"
        )
    return None


def _missing_parts(host: Host, want: Want, cluster: Cluster) -> Refusal | None:
    facts = host.record.facts
    if facts is not None and facts.arch != want.spec.arch:
        return Refusal(
            host=host.name,
            refused_by="arch",
            detail=f"{facts.arch} / {want.spec.arch}",
            lasting=True,
        )
    for disk in want.spec.disks:
        image = cluster.images.get(disk.name)
        if image is not None and not image.shared and host.name not in image.hosts:
            return Refusal(host=host.name, refused_by="image", detail=f"{disk.name} is not there")
    if host.config.networks is not None:
        names = {n.id: n.name for n in cluster.networks}
        for nic in want.spec.nics:
            name = names.get(nic.network, str(nic.network))
            if not {name, str(nic.network)} & set(host.config.networks):
                return Refusal(host=host.name, refused_by="network", detail=name, lasting=True)
    return None


def _too_small(host: Host, want: Want, _cluster: Cluster) -> Refusal | None:
    cores, memory_mib = want.spec.cores, want.spec.memory_mib
    if host.free_memory_mib < memory_mib:
        offered = host.memory_mib - host.reserved_memory_mib
        has = offered if offered < memory_mib else host.free_memory_mib
        return Refusal(
            host=host.name,
            refused_by="memory",
            short_by=show_memory(memory_mib - has),
            detail=f"{has} / {memory_mib} MiB",
            lasting=offered < memory_mib,
            distance=(memory_mib - host.free_memory_mib) / memory_mib,
        )
    if host.free_cores < cores:
        has = host.cores if host.cores < cores else host.free_cores
        return Refusal(
            host=host.name,
            refused_by="cores",
            short_by=str(cores - has),
            detail=f"{has} / {cores}",
            lasting=host.cores < cores,
            distance=(cores - host.free_cores) / cores,
        )
    return None


def _vms(number: int) -> str:
    return f"{number} VM{'s' if number != 1 else ''}"


def _no_port(host: Host, want: Want, cluster: Cluster) -> Refusal | None:
    needed = ports.wanted(want.spec, cluster.networks)
    if needed == 0 or len(ports.free(host, cluster, want.ssh_ports)) >= needed:
        return None
    return Refusal(
        host=host.name,
        refused_by="ports",
        detail=f"all of {want.ssh_ports} are taken (sshPorts; host check looks again)",
    )


def _turns(cluster: Cluster) -> dict[str, int]:
    """How far each host is behind the one used last, going round."""
    places = {host.name: place for place, host in enumerate(cluster.hosts)}
    placed = [vm for vm in cluster.vms if vm.host in places]
    last = places[max(placed, key=lambda vm: vm.id).host or ""] if placed else -1
    return {name: (place - last - 1) % len(places) for name, place in places.items()}
