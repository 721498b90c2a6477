"""Hosts of VMs in a real dhcpd: by our adapter on one connection, and by an omshell for each.

An omshell for each VM is less than what Tashi did, which removed by name and by address first: up
to three.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from tashictl.adapters.dhcp.omapi import OmapiServer
from tashictl.model.naming import DhcpEntry
from tashictl.model.settings import DhcpSettings, Secret, Server
from tests.live.lab.tsig import Key

_OWNER = "tashictl:0a1b2c3d4e5f:00000000-0000-4000-8000-"


def entries(count: int, first: int = 0) -> list[DhcpEntry]:
    """What so many VMs have in DHCP; other numbers, other VMs."""
    return [
        DhcpEntry(
            driver="isc-omapi",
            network=1,
            name=f"vm{n}",
            mac=f"52:54:02:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}",
            addresses=(f"172.16.{n // 250 + 1}.{n % 250 + 1}",),
            owner=f"{_OWNER}{n:012d}",
            domain="cloud.test",
        )
        for n in range(first, first + count)
    ]


def ours(vms: Sequence[DhcpEntry], key: Key, port: int) -> float:
    """Seconds to add them all on one connection."""
    settings = DhcpSettings(
        server=Server(host="127.0.0.1", port=port),
        key_name=key.name,
        secret_key=Secret(key.secret),
        key_algorithm=key.algorithm,
        timeout_s=60.0,
    )
    began_s = time.perf_counter()
    server = OmapiServer(settings, None)
    try:
        for vm in vms:
            server.add(vm)
    finally:
        server.close()
    return time.perf_counter() - began_s


def by_omshell(vms: Sequence[DhcpEntry], key: Key, port: int) -> float:
    """Seconds to add them by an omshell for each; raises RuntimeError when one was not added."""
    began_s = time.perf_counter()
    for vm in vms:
        lines = (
            "server 127.0.0.1",
            f"port {port}",
            f"key-algorithm {key.algorithm}",
            f"key {key.name} {key.secret}",
            "connect",
            "new host",
            f'set name = "{vm.name}"',
            f"set hardware-address = {vm.mac}",
            "set hardware-type = 1",
            f"set ip-address = {vm.addresses[0]}",
            "create",
        )
        text = "".join(f"{line}\n" for line in lines)
        done = subprocess.run(["omshell"], input=text, capture_output=True, text=True, check=True)
        # Its exit code is 0 whatever happens; a host that was made has its type as bytes.
        if "hardware-type = 00:00:00:01" not in done.stdout:
            raise RuntimeError(f"omshell: {done.stdout}")
    return time.perf_counter() - began_s
