"""`tashictl net list`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tashictl.cli import desk, listings, output
from tashictl.cli.options import Globals
from tashictl.cli.records import NetworkUse
from tashictl.model.inventory import Inventory
from tashictl.model.state import State


def run(face: Globals, hosts: Sequence[str] = ()) -> None:
    """Print the networks with what is used of them; with `hosts`, those that one of them has."""
    from tashictl.cli import named, wiring

    at = desk.sit_down(face)
    state, inventory = at.state(), wiring.inventory_of(at)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = uses(state, inventory, now)
    if hosts:
        chosen = {h.name for h in named.hosts(inventory, hosts)}
        found = (use for use in found if chosen & set(use.hosts))
    output.emit_list(face, found, listings.network_table())


def uses(state: State, inventory: Inventory, now: str) -> Iterator[NetworkUse]:
    """Each network, how many addresses are taken at `now` (ISO-8601 UTC), and where it is."""
    from tashictl.planning import quarantine
    from tashictl.planning.net import layout, usage

    held = [(n.network, a) for vm in state.vms.values() for n in vm.spec.nics for a in n.addresses]
    held += [(kept.network, kept.ip) for kept in quarantine.in_force(state, now)]
    on_hosts = {h.name: layout.networks_of(h, inventory.networks) for h in inventory.hosts}
    for network in inventory.networks:
        used, free = usage.of(network, {ip for number, ip in held if number == network.id})
        hosts = tuple(name for name, theirs in on_hosts.items() if network in theirs)
        yield NetworkUse(network=network, used=used, free=free, hosts=hosts)
