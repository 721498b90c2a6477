"""The interfaces of a VM: their networks, addresses, MACs and names, looked up and chosen."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec.structs import replace

from tashictl.errors import Conflict, InvalidRequest, NoCapacity, TashiError
from tashictl.model.network import Network
from tashictl.model.vm import NicSpec
from tashictl.planning import addressing, naming, pool, ports
from tashictl.planning.pool import Held
from tashictl.planning.wishes import NicWish, Picture, VmRequest, nearest

_TRIES = 200_000  # of MACs by chance, before the prefix counts as full


def look_up(
    request: VmRequest, picture: Picture, macs: Iterator[str], problems: list[TashiError]
) -> Iterator[NicSpec]:
    """Every interface that was asked for; `macs` yields fresh random ones. Problems are added."""
    wishes = request.nics
    if not wishes:
        wishes = (NicWish(),)
    seen: set[int] = set()
    taken = _macs(picture)
    sub = request.hints.get("subDomain", "")
    for index, wish in enumerate(wishes):
        network = _network(wish, picture, problems)
        if network is None:
            continue
        problems += _misfits(wish, network, seen)
        seen.add(network.id)
        if wish.mac in taken:
            problems.append(
                Conflict("E-MAC-IN-USE", f"{wish.mac} is the address of {taken[wish.mac]}")
            )
        mac = wish.mac or _fresh(macs, taken, problems)
        taken[mac] = request.name
        nic = NicSpec(index=index, network=network.id, mac=mac)
        nic = _addressed(nic, wish.ip, network, picture, problems)
        yield naming.named(nic, request.name, network, picture.settings, sub)


def _macs(picture: Picture) -> dict[str, str]:
    """By MAC who has it: VMs, and entries that a DHCP server has still to remove."""
    waiting = {
        work.key.removeprefix("dhcp/"): "a VM that is gone, not yet removed at its DHCP server"
        for work in picture.deferred
        if work.key.startswith("dhcp/") and not work.add
    }
    return waiting | {n.mac: vm.name for vm in picture.cluster.vms for n in vm.spec.nics}


def _fresh(macs: Iterator[str], taken: dict[str, str], problems: list[TashiError]) -> str:
    found = next((m for m in islice(macs, _TRIES) if m not in taken), None)
    if found is None:
        problems.append(
            NoCapacity(
                "E-MAC-FULL",
                "no MAC address is left",
                cause=f"{len(taken)} are in use below this prefix",
                hint="another [Tashictl] macPrefix",
            )
        )
    return found or "00:00:00:00:00:00"


def _misfits(wish: NicWish, network: Network, seen: set[int]) -> Iterator[TashiError]:
    if network.id in seen:
        yield InvalidRequest("E-NIC", f"two interfaces on {network.name}: one per network")
    if network.mode == ports.USER and wish.ip is not None:
        yield InvalidRequest(
            "E-NIC",
            f"no address can be chosen on {network.name}",
            cause="its mode is user: QEMU itself gives the guest its address",
            hint=f"--nic {network.name}",
        )


def _addressed(
    nic: NicSpec, asked: str | None, network: Network, picture: Picture, problems: list[TashiError]
) -> NicSpec:
    """The interface with its addresses: what was asked for, the rest from the ranges."""
    if network.mode == ports.USER:
        return nic
    taken = pool.held(network, picture.cluster, picture.quarantine, picture.deferred)
    problems += _address_problems(asked, network, taken)
    found: dict[bool, str] = {}
    for v6 in (False, True):
        if asked is not None and (":" in asked) == v6:
            found[v6] = asked
        elif network.range6 if v6 else network.range:
            found[v6] = pool.choose(network, picture.inventory, taken, v6=v6, turn=picture.turn)
            if not found[v6]:
                problems.append(_full(network, picture, taken, v6=v6))
    four, six = found.get(False) or None, found.get(True) or None
    return replace(nic, ip=four or six, ip6=six if four else None)


def _full(network: Network, picture: Picture, taken: Held, *, v6: bool) -> TashiError:
    span = network.range6 if v6 else network.range
    return NoCapacity(
        "E-RANGE-FULL",
        f"no address is left on {network.name}: {span}",
        cause=pool.count(network, picture.inventory, taken, v6=v6),
        hint="a larger range in the inventory, or tashictl vm destroy what is not needed",
    )


def _address_problems(ip: str | None, network: Network, taken: Held) -> Iterator[TashiError]:
    """An address that is asked for lies in its network, and nobody else has it there."""
    if ip is None:
        return
    cidr = network.cidr6 if ":" in ip else network.cidr
    if cidr is not None and not addressing.inside(ip, cidr):
        yield InvalidRequest(
            "E-NIC",
            f"{ip} is no address of {network.name}",
            cause=f"its network is {cidr}",
            hint=f"--nic {network.name}:ADDRESS, or without one",
        )
    if ip in taken.vms:
        yield Conflict(
            "E-ADDRESS-IN-USE",
            f"{ip} is the address of {taken.vms[ip]} on {network.name}",
            hint=f"tashictl vm show {taken.vms[ip]}",
        )
    elif ip in taken.resting and not taken.resting[ip].resting:
        kept = taken.resting[ip]
        yield Conflict(
            "E-QUARANTINE",
            f"{ip} on {network.name} is in quarantine until {kept.until}",
            cause=kept.why,
            hint=f"--nic {network.name}:OTHER; after that time it is free",
        )
    elif ip in taken.waiting:
        yield Conflict(
            "E-QUARANTINE",
            f"{ip} on {network.name} is still registered for a VM that is gone",
            cause="a server could not be had when it was removed",
            hint="tashictl sweep removes it; tashictl status lists what waits",
        )


def _network(wish: NicWish, picture: Picture, problems: list[TashiError]) -> Network | None:
    inventory = picture.inventory
    if wish.network is None:
        network = inventory.default_network(picture.settings.cluster.default_network)
        if network is None:
            problems.append(
                InvalidRequest(
                    "E-NETWORK",
                    "no default network",
                    cause="none is flagged `default: true`, and there is not just one",
                    hint="--nic NET",
                )
            )
        return network
    network = inventory.network(wish.network)
    if network is None:
        known = [n.name for n in inventory.networks]
        hint = nearest(wish.network, known, "the inventory's networks")
        problems.append(InvalidRequest("E-NETWORK", f"no network {wish.network!r}", hint=hint))
    return network
