"""What a host is asked of its network, and how the answer is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tashictl.model.net import (
    Address,
    DhcpClient,
    HostNet,
    Link,
    Pending,
    Picture,
    PortVlan,
    Route,
)
from tashictl.model.script import Script
from tashictl.planning.frames import Section, sections
from tashictl.planning.net import switch
from tashictl.planning.shell import read_only

TIMEOUT_S = 60

_TOOLS = (
    *("ip", "bridge", "ifup", "ifquery", "brctl", "vconfig", "ifconfig", "networkctl"),
    *("dhclient", "udhcpc", "dhcpcd", "systemd-run", "modprobe", "arping", "ping"),
)

_LOOK = r"""
part() { say B "$@"; }
part links; ip -j -d addr show 2>&1
part routes4; ip -j -4 route show table main 2>&1
part routes6; ip -j -6 route show table main 2>&1
part vlans; bridge -j vlan show 2>/dev/null
part clients
for p in $(grep -lsE '^(dhclient|udhcpc|dhcpcd)$' /proc/[0-9]*/comm | cut -d/ -f3); do
  echo "$p $(tr '\0' '\t' <"/proc/$p/cmdline" 2>/dev/null)"
done
part tools; for t in $TOOLS; do ! command -v "$t" >/dev/null || echo "$t"; done
part facts
set -- $SSH_CONNECTION; echo "reached $3 $4"
echo "uptime $(cut -d' ' -f1 /proc/uptime)"
awk '$1 == "nameserver" {print "nameserver " $2}' /etc/resolv.conf 2>/dev/null
running() { [ -d /run/systemd/system ] && systemctl -q is-active "$1" 2>/dev/null; }
set -- /etc/netplan/*.y*ml; [ ! -e "$1" ] || echo 'manager netplan'
! running NetworkManager || echo 'manager NetworkManager'
! running systemd-networkd || echo 'manager networkd'
[ ! -e /etc/network/interfaces ] || echo 'manager ifupdown'
[ ! -d /sys/module/8021q ] || echo 'vlans loaded'
part pending; pending
part picture; picture | sha256sum | cut -d' ' -f1
for f in /etc/network/interfaces /etc/network/interfaces.d/* /etc/systemd/network/*.netdev \
  /etc/systemd/network/*.network /etc/systemd/network/*.link /etc/systemd/network/*.d/*.conf \
  "$ETC"/qemu-ifup.* "$ETC"/qemu-ifdown; do
  [ ! -f "$f" ] || { part file "$(stat -c %a "$f")" "$f"; cat "$f"; }
done
"""


def script(net_dir: str, etc_dir: str, nonce: str) -> Script:
    """The look; it changes nothing."""
    body = switch.PICTURE + switch.STATUS + _LOOK
    text = read_only(nonce, body, NET=net_dir, ETC=etc_dir, TOOLS=" ".join(_TOOLS))
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def read(out: bytes, nonce: str) -> HostNet | None:
    """What a look answered; None when the answer is not whole."""
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    named = {s.words[0]: s for s in found if s.kind == "B" and len(s.words) == 1}
    try:
        facts = _facts(named["facts"])
        links = _links(named["links"])
        picture = Picture(
            links=links,
            routes=(
                *_routes(named["routes4"], v6=False),
                *_routes(named["routes6"], v6=True),
            ),
            vlans=_vlans(named["vlans"], links),
            clients=_clients(named["clients"], links),
        )
    except (KeyError, ValueError, TypeError, IndexError):
        return None
    files = [s for s in found if s.kind == "B" and s.words[0] == "file" and len(s.words) >= 3]
    uptime = facts.get("uptime", ["0"])[0]
    managers = facts.get("manager", [])
    return HostNet(
        picture=picture,
        files={" ".join(s.words[2:]): s.text for s in files},
        modes={" ".join(s.words[2:]): int(s.words[1], 8) for s in files},
        tools=tuple(named["tools"].text.split()),
        manager=managers[0] if managers else "",
        reached=facts.get("reached", [""])[0].partition(" ")[0],
        port=_port(facts.get("reached", [""])[0]),
        nameservers=tuple(facts.get("nameserver", [])),
        uptime_s=float(uptime or 0),
        digest=named["picture"].text.strip(),
        pending=pending(named["pending"].text),
    )


def pending(text: str) -> Pending | None:
    """The change in flight, or the last one, as `switch.STATUS` prints it."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key, value.strip())
    if not values.get("token"):
        return None
    left = values.get("left", "0")
    return Pending(
        token=values["token"],
        stage=values.get("stage", ""),
        who=values.get("who", ""),
        cluster=values.get("cluster", ""),
        since=values.get("since", ""),
        left_s=float(left) if left.lstrip("-").isdigit() else 0.0,
        detail=values.get("detail", ""),
        alive=values.get("timer", "") == "alive",
        active=values.get("place", "") == "pending",
    )


def _port(reached: str) -> int:
    port = reached.partition(" ")[2]
    return int(port) if port.isdigit() else 0


def _facts(section: Section) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in section.text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value.strip())
    return found


def _json(section: Section) -> list[Any]:
    text = section.text.strip()
    found = json.loads(text) if text else []
    if not isinstance(found, list):
        raise ValueError("no list")
    return [entry for entry in found if entry]  # iproute2 puts {} for what it filtered out


def _links(section: Section) -> tuple[Link, ...]:
    return tuple(_link(entry) for entry in _json(section) if entry.get("link_type") != "loopback")


def _link(entry: Mapping[str, Any]) -> Link:
    info = entry.get("linkinfo", {})
    kind = info.get("info_kind", "")
    data = info.get("info_data", {}) if kind in ("bridge", "vlan", "vxlan") else {}
    vlan = kind == "vlan"
    return Link(
        name=str(entry["ifname"]),
        kind=str(kind),
        mac=str(entry.get("address", "")),
        mtu=int(entry.get("mtu", 0)),
        up="UP" in entry.get("flags", ()),
        carrier="LOWER_UP" in entry.get("flags", ()),
        promisc="PROMISC" in entry.get("flags", ()),
        master=entry.get("master"),
        parent=entry.get("link") if vlan else None,
        vlan=int(data["id"]) if vlan else None,
        vxlan=int(data["id"]) if kind == "vxlan" else None,
        stp=bool(data.get("stp_state", 0)),
        forward_delay_s=int(data.get("forward_delay", 1500)) / 100,
        aware=bool(data.get("vlan_filtering", 0)),
        addresses=tuple(_addresses(entry.get("addr_info", ()))),
    )


def _addresses(entries: Iterable[Mapping[str, Any]]) -> Iterable[Address]:
    for entry in entries:
        if entry.get("scope") != "global" or "local" not in entry:
            continue
        cidr = f"{entry['local']}/{entry['prefixlen']}"
        yield Address(cidr=cidr, dynamic=bool(entry.get("dynamic", False)))


def _routes(section: Section, *, v6: bool) -> Iterable[Route]:
    for entry in _json(section):
        # What the kernel makes of addresses, and routers announce, comes back by itself.
        if entry.get("protocol") in ("kernel", "ra") or "dev" not in entry:
            continue
        if entry.get("type", "unicast") != "unicast":
            continue
        yield Route(
            to=str(entry["dst"]),
            via=str(entry.get("gateway", "")),
            device=str(entry["dev"]),
            metric=0 if v6 and entry.get("metric") == 1024 else int(entry.get("metric", 0)),
            protocol="" if entry.get("protocol") in (None, "boot") else str(entry["protocol"]),
            source=str(entry.get("prefsrc", "")),
            v6=v6,
            onlink="onlink" in entry.get("flags", ()),
        )


def _vlans(section: Section, links: tuple[Link, ...]) -> tuple[PortVlan, ...]:
    """Only of VLAN-aware bridges and their ports: elsewhere the table says nothing."""
    aware = {link.name for link in links if link.aware}
    of = {link.name for link in links if link.name in aware or link.master in aware}
    found = []
    for entry in _json(section):
        if entry.get("ifname") not in of:
            continue
        for vlan in entry.get("vlans", ()):
            flags = vlan.get("flags", ())
            for number in range(int(vlan["vlan"]), int(vlan.get("vlanEnd", vlan["vlan"])) + 1):
                found.append(
                    PortVlan(
                        device=entry["ifname"],
                        vlan=number,
                        pvid="PVID" in flags,
                        untagged="Egress Untagged" in flags,
                    )
                )
    return tuple(found)


def _clients(section: Section, links: tuple[Link, ...]) -> tuple[DhcpClient, ...]:
    names = {link.name for link in links}
    found: dict[str, DhcpClient] = {}
    for line in section.text.splitlines():
        pid, _, rest = line.partition(" ")
        argv = tuple(rest.split("\t"))
        argv = argv[:-1] if argv and argv[-1] == "" else argv
        for word in argv[1:]:
            if word in names and pid.isdigit():
                found.setdefault(word, DhcpClient(device=word, argv=argv, pid=int(pid)))
    return tuple(found.values())
