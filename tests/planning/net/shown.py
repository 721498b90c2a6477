"""A host's network as a look prints it: the JSON of iproute2 6.1, of a picture; synthetic."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tashictl.model.net import HostNet, Link, Picture, Route


def answer(net: HostNet, nonce: str, pending: Mapping[str, str] | None = None) -> bytes:
    """What the look's script prints on a host whose network is `net`."""
    facts = [f"reached {net.reached} {net.port or 22}", f"uptime {net.uptime_s}"]
    facts += [f"nameserver {n}" for n in net.nameservers]
    facts += [f"manager {net.manager}"] if net.manager else []
    parts = {
        "links": json.dumps([_loopback(), *map(_link, net.picture.links)]),
        "routes4": json.dumps([_route(r) for r in net.picture.routes if not r.v6]),
        "routes6": json.dumps([_route(r) for r in net.picture.routes if r.v6]),
        "vlans": json.dumps(_vlans(net.picture)),
        "clients": "\n".join(
            f"{c.pid} " + "".join(f"{a}\t" for a in c.argv) for c in net.picture.clients
        ),
        "tools": "\n".join(net.tools),
        "facts": "\n".join(facts),
        "pending": "\n".join(f"{k} {v}" for k, v in (pending or {}).items()),
        "picture": net.digest,
    }
    out = "".join(f"\n@{nonce} B {name}\n{text}\n" for name, text in parts.items())
    for path, text in net.files.items():
        out += f"\n@{nonce} B file {net.modes.get(path, 0o644):o} {path}\n{text}"
    return (out + f"\n@{nonce} Z\n").encode()


def _loopback() -> dict[str, object]:
    return {"ifname": "lo", "link_type": "loopback", "flags": ["LOOPBACK", "UP"], "mtu": 65536}


def _link(link: Link) -> dict[str, object]:
    flags = ["BROADCAST", *(["UP"] if link.up else []), *(["LOWER_UP"] if link.carrier else [])]
    flags += ["PROMISC"] if link.promisc else []
    data: dict[str, object] = {}
    if link.kind == "vlan":
        data = {"protocol": "802.1Q", "id": link.vlan, "flags": ["REORDER_HDR"]}
    elif link.kind == "vxlan":
        data = {"id": link.vxlan, "port": 4789}
    elif link.kind == "bridge":
        data = {
            "forward_delay": round(link.forward_delay_s * 100),
            "stp_state": int(link.stp),
            "vlan_filtering": int(link.aware),
        }
    shown: dict[str, object] = {
        "ifname": link.name,
        "flags": flags,
        "mtu": link.mtu,
        "link_type": "ether",
        "address": link.mac,
        "addr_info": [
            {
                "family": "inet6" if a.v6 else "inet",
                "local": a.cidr.partition("/")[0],
                "prefixlen": int(a.cidr.partition("/")[2]),
                "scope": "global",
                **({"dynamic": True} if a.dynamic else {}),
            }
            for a in link.addresses
        ]
        + [{"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}],
    }
    if link.master is not None:
        shown["master"] = link.master
    if link.parent is not None:
        shown["link"] = link.parent
    if link.kind:
        shown["linkinfo"] = {"info_kind": link.kind, "info_data": data}
    return shown


def _route(route: Route) -> dict[str, object]:
    shown: dict[str, object] = {"dst": route.to, "dev": route.device, "flags": []}
    if route.via:
        shown["gateway"] = route.via
    if route.metric:
        shown["metric"] = route.metric
    elif route.v6:
        shown["metric"] = 1024
    if route.source:
        shown["prefsrc"] = route.source
    if route.protocol:
        shown["protocol"] = route.protocol
    return shown


def _vlans(picture: Picture) -> list[dict[str, object]]:
    found: dict[str, list[dict[str, object]]] = {}
    for v in picture.vlans:
        flags = [*(["PVID"] if v.pvid else []), *(["Egress Untagged"] if v.untagged else [])]
        found.setdefault(v.device, []).append({"vlan": v.vlan, "flags": flags})
    return [{"ifname": device, "vlans": vlans} for device, vlans in found.items()]
