"""A stage with servers of names: VMs that are registered, hosts that answer an audit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from tashictl.adapters.sim.names import NameTables
from tashictl.model.inventory import Inventory
from tashictl.model.naming import DhcpEntry
from tashictl.model.settings import Server
from tashictl.model.vm import Vm
from tests.ops.hosts import Host, Stream
from tests.ops.stage import Stage
from tests.planning.audit import worlds


def a_stage(folder: Path, *vms: Vm) -> Stage:
    """Two hosts that have nothing, servers that have just these VMs."""
    stage = Stage(folder)
    dhcp = replace(worlds.SETTINGS.dhcp, server=Server(host="node1", port=7911))
    ours = stage.context.settings.tashictl
    settings = replace(worlds.SETTINGS, tashictl=ours, dhcp=dhcp)
    networks = (replace(worlds.NETWORKS[0], range="10.0.0.10-10.0.0.99"),)
    inventory = Inventory(hosts=stage.context.inventory.hosts, networks=networks)
    stage.context = replace(stage.context, settings=settings, inventory=inventory)
    with stage.store.transaction() as tx:
        while tx.state.meta.last_vm_id < max((vm.id for vm in vms), default=0):
            tx.next_vm_id()
        for vm in vms:
            tx.put_vm(vm)
    standing(stage.tables, registered(vms))
    for name in stage.remote.hosts:
        stage.remote.probes[name] = lambda nonce: answer(nonce, stage.tables)
    stage.remote.guests["node1", "127.0.0.1", 7911] = lambda: Stream(Host(), None)
    stage.events.clear()
    return stage


def registered(vms: Iterable[Vm]) -> NameTables:
    """Servers that have these VMs."""
    return worlds.registered(*(vm.id for vm in vms))


def standing(tables: NameTables, more: NameTables) -> None:
    """Put what other tables have into some."""
    tables.dns.update(more.dns)
    tables.pointers.update(more.pointers)
    tables.dhcp.update(more.dhcp)
    tables.records |= more.records


def answer(
    nonce: str,
    tables: NameTables | None = None,
    neighbours: Iterable[dict[str, object]] = (),
    taps: Iterable[str] = (),
    qemus: Iterable[str] = (),
    folders: Iterable[str] = (),
    leases_text: str | None = None,
) -> bytes:
    """What a host answers; with `tables` it is the one that has the DHCP server's files."""
    parts = {
        "neighbours": json.dumps(list(neighbours)),
        "taps": "".join(f"{tap}\n" for tap in taps),
        "folders": "".join(f"{folder}\n" for folder in folders),
        "qemus": "".join(f"{qemu}\n" for qemu in qemus),
    }
    if tables is not None:
        leases_text = leases(tables.dhcp.values())
    if leases_text is not None:
        parts |= {"leases": leases_text, "conf": ""}
    text = "".join(f"\n@{nonce} B {name}\n{body}" for name, body in parts.items())
    return f"{text}\n@{nonce} Z\n".encode()


def leases(entries: Iterable[DhcpEntry]) -> str:
    """Hosts as dhcpd writes them."""
    return "".join(
        f"host {e.name} {{\n  dynamic;\n  hardware ethernet {e.mac};\n"
        + (f'  uid "{e.owner}/0123456789abcdef";\n' if e.owner else "")
        + f"  fixed-address {', '.join(e.addresses)};\n}}\n"
        for e in entries
    )
