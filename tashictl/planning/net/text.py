"""Changes of a live network as POSIX sh, each safe to be done twice; and as words for people."""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.net import Link, PortVlan, Route
from tashictl.model.net_change import (
    AddAddress,
    AddPortVlan,
    AnyChange,
    DropAddress,
    DropLink,
    DropPortVlan,
    DropRoute,
    MakeLink,
    SetBridge,
    SetMaster,
    SetMtu,
    SetPromisc,
    SetRoute,
    SetUp,
    StartDhcp,
    StopDhcp,
)
from tashictl.planning.shell import quote

# `now` keeps what an address looks like in the log; grep -w would take 10.0.0.1 for 10.0.0.1/24.
# On the way back `stay` is set: a client that was there before goes on asking.
WORDS = r"""
stay=
has() { [ -e "/sys/class/net/$1" ]; }
with_address() { ip -o addr show dev "$1" 2>/dev/null | grep -qF " $2 "; }
clients() { # pids of the DHCP clients of interface $1
  for p in $(grep -lsE '^(dhclient|udhcpc|dhcpcd)$' /proc/[0-9]*/comm | cut -d/ -f3); do
    tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -qxF -- "$1" && echo "$p"
  done; }
lease_file() { # what stands behind -lf
  x=; for a; do [ "$x" != -lf ] || { echo "$a"; return; }; x=$a; done; }
dhcp_stop() { # killed, so that neither the lease nor the address is given back
  for p in $(clients "$1"); do
    f=$(tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | grep -A1 -xF -e -lf | sed -n 2p)
    kill -KILL "$p" 2>/dev/null
    [ ! -s "$f" ] || { cp "$f" "$P/lease.$1"; echo "$f" >"$P/lease-at.$1"; }
  done; return 0; }
lease_taken() { # interface, lease file: with what another asked until now, it is the same client
  for k in "$P"/lease.*; do
    o=${k#"$P/lease."}; [ -s "$k" ] && [ "$o" != "$1" ] || continue
    [ "$(cat "$P/lease-at.$o")" = "${2%"$1"*}$o${2##*"$1"}" ] || continue
    sed "s/interface \"[^\"]*\"/interface \"$1\"/" "$k" >"$2"
  done; }
lease_bounded() { # interface, lease file: an address that is there lives as long as the lease
  t=$(sed -n 's/.*dhcp-lease-time \([0-9]*\);.*/\1/p' "$2" 2>/dev/null | tail -n 1)
  f=$(sed -n 's/.*fixed-address \([0-9.]*\);.*/\1/p' "$2" 2>/dev/null | tail -n 1)
  c=$(ip -4 -o addr show dev "$1" | awk -v f="$f/" 'index($4, f) == 1 {print $4}')
  [ -z "$c" ] || [ -z "$t" ] || ip addr change "$c" dev "$1" valid_lft "$t" preferred_lft "$t"; }
dhcp_start() { # interface, seconds, own command line or nothing
  d=$1 w=$2; shift 2
  [ -z "$(clients "$d")" ] || return 0
  l=/var/lib/dhcp/dhclient; [ -d /var/lib/dhcp ] || l=/run/dhclient
  if [ "$#" -gt 0 ]; then
    f=$(lease_file "$@"); [ -z "$f" ] || lease_taken "$d" "$f"
    timeout "$w" "$@" >/dev/null 2>&1 </dev/null \
      || { if [ "$stay" ]; then setsid "$@" >/dev/null 2>&1 </dev/null & fi
        echo "no lease for $d within $w s"; return 1; }
    [ -z "$f" ] || lease_bounded "$d" "$f"; return 0
  fi
  if command -v dhclient >/dev/null; then
    timeout "$w" dhclient -4 -i -pf "/run/dhclient.$d.pid" -lf "$l.$d.leases" \
      -I -df "${l}6.$d.leases" "$d" </dev/null >/dev/null 2>&1
  elif command -v udhcpc >/dev/null; then
    timeout "$w" udhcpc -n -q -p "/run/udhcpc.$d.pid" -i "$d" </dev/null >/dev/null 2>&1 \
      && udhcpc -b -S -p "/run/udhcpc.$d.pid" -i "$d" </dev/null >/dev/null 2>&1
  elif command -v dhcpcd >/dev/null; then
    timeout "$w" dhcpcd -4 -w -t "$w" "$d" </dev/null >/dev/null 2>&1
  else echo "no DHCP client on the host"; return 1; fi
  ip -4 -o addr show dev "$d" scope global | grep -q inet \
    || { echo "no lease for $d within $w s"; return 1; }; }
"""


def commands(changes: Iterable[AnyChange]) -> tuple[str, ...]:
    """One command line of sh for each change; it needs WORDS."""
    return tuple(command(change) for change in changes)


def command(change: AnyChange) -> str:
    """The command line for one change."""
    match change:
        case MakeLink(link=link):
            return f"has {quote(link.name)} || {_make(link)}"
        case DropLink(name=name):
            return f"! has {quote(name)} || ip link del dev {quote(name)}"
        case SetMtu(name=name, mtu=mtu):
            return f"ip link set dev {quote(name)} mtu {mtu}"
        case SetMaster(name=name, master=None):
            return f"ip link set dev {quote(name)} nomaster"
        case SetMaster(name=name, master=str(master)):
            return f"ip link set dev {quote(name)} master {quote(master)}"
        case SetUp(name=name, up=up):
            return f"ip link set dev {quote(name)} {'up' if up else 'down'}"
        case SetPromisc(name=name, on=on):
            return f"ip link set dev {quote(name)} promisc {'on' if on else 'off'}"
        case SetBridge():
            values = _bridge(change.stp, change.forward_delay_s, change.aware)
            return f"ip link set dev {quote(change.name)} type bridge {values}"
        case _:
            return _layer3(change)


def _layer3(change: AnyChange) -> str:
    match change:
        case AddAddress(device=device, cidr=cidr):
            more = "nodad" if ":" in cidr else "brd +"
            return (
                f"with_address {quote(device)} {cidr} "
                f"|| ip addr add {cidr} {more} dev {quote(device)}"
            )
        case DropAddress(device=device, cidr=cidr):
            return (
                f"! with_address {quote(device)} {cidr} || ip addr del {cidr} dev {quote(device)}"
            )
        case SetRoute(route=route):
            return f"ip {_family(route)} route replace {_route(route)}"
        case DropRoute(route=route):
            text = f"ip {_family(route)} route del {_route(route)}"
            return f"{text} 2>/dev/null || :"
        case AddPortVlan(vlan=vlan, itself=itself):
            return f"bridge vlan add {_port_vlan(vlan, itself)}"
        case DropPortVlan(vlan=vlan, itself=itself):
            who = "self" if itself else "master"
            text = f"bridge vlan del dev {quote(vlan.device)} vid {vlan.vlan} {who}"
            return f"{text} 2>/dev/null || :"
        case StopDhcp(device=device):
            return f"dhcp_stop {quote(device)}"
        case StartDhcp(client=client, wait_s=wait_s):
            argv = "".join(f" {quote(a)}" for a in client.argv)
            return f"dhcp_start {quote(client.device)} {wait_s}{argv}"
        case _:
            raise TypeError(type(change).__name__)


def _make(link: Link) -> str:
    name = quote(link.name)
    if link.kind == "vlan":
        # Without an MTU it would have that of its parent.
        base = f"ip link add link {quote(link.parent or '')} name {name} mtu {link.mtu}"
        return f"{base} type vlan id {link.vlan}"
    if link.kind == "vxlan":
        return f"ip link add name {name} type vxlan id {link.vxlan} dstport 4789" + "".join(
            f" && bridge fdb append 00:00:00:00:00:00 dev {name} dst {remote}"
            for remote in link.remotes
        )
    mac = f" address {link.mac}" if link.mac else ""
    values = _bridge(link.stp, link.forward_delay_s, link.aware or None)
    return f"ip link add name {name}{mac} type bridge {values}"


def _bridge(stp: bool, forward_delay_s: float, aware: bool | None) -> str:
    filtering = "" if aware is None else f" vlan_filtering {aware:d}"
    # Without STP first: the kernel refuses a delay below 2 s while it is on.
    return f"stp_state {stp:d} forward_delay {round(forward_delay_s * 100)}{filtering}"


def _family(route: Route) -> str:
    return "-6" if route.v6 else "-4"


def _route(route: Route) -> str:
    via = f" via {route.via}" if route.via else ""
    metric = f" metric {route.metric}" if route.metric else ""
    source = f" src {route.source}" if route.source else ""
    protocol = f" proto {route.protocol}" if route.protocol else ""
    onlink = " onlink" if route.onlink else ""
    return f"{route.to}{via} dev {quote(route.device)}{protocol}{metric}{source}{onlink}"


def _port_vlan(vlan: PortVlan, itself: bool) -> str:
    flags = (" pvid" if vlan.pvid else "") + (" untagged" if vlan.untagged else "")
    return f"dev {quote(vlan.device)} vid {vlan.vlan}{flags} {'self' if itself else 'master'}"


_BACK = {
    "late": "no proof that it works came in time",
    "died": "its timer was killed",
    "rebooted": "the host was rebooted meanwhile",
    "interrupted": "it was interrupted",
    "rollback": "tashictl net rollback",
    "unproved": "it was not proved",
}


def why_back(text: str) -> str:
    """A text whose last word may be the switch's for why it goes back, with that in full."""
    before, space, last = text.rpartition(" ")
    return before + space + _BACK.get(last, last)


def words(change: AnyChange) -> str:
    """One change as a person reads it."""
    match change:
        case MakeLink(link=link):
            more = {"vlan": f" (tag {link.vlan} on {link.parent})", "vxlan": f" (id {link.vxlan})"}
            return f"+ {link.kind} {link.name}" + more.get(link.kind, "")
        case DropLink(name=name):
            return f"- {name}"
        case SetMtu(name=name, mtu=mtu):
            return f"~ {name} mtu {mtu}"
        case SetMaster(name=name, master=None):
            return f"~ {name} leaves its bridge"
        case SetMaster(name=name, master=master):
            return f"~ {name} joins {master}"
        case SetUp(name=name, up=up):
            return f"~ {name} {'up' if up else 'down'}"
        case SetPromisc(name=name, on=on):
            return f"~ {name} {'promiscuous' if on else 'not promiscuous'}"
        case SetBridge():
            stp = f"stp {'on' if change.stp else 'off'}"
            aware = ", VLAN-aware" if change.aware else ""
            return f"~ {change.name} {stp}, forward delay {change.forward_delay_s:g} s{aware}"
        case _:
            return _words3(change)


def _words3(change: AnyChange) -> str:
    match change:
        case AddAddress(device=device, cidr=cidr):
            return f"+ {cidr} on {device}"
        case DropAddress(device=device, cidr=cidr):
            return f"- {cidr} from {device}"
        case SetRoute(route=route):
            return (
                f"+ route {route.to}"
                + (f" via {route.via}" if route.via else "")
                + (f" on {route.device}")
            )
        case DropRoute(route=route):
            return f"- route {route.to} on {route.device}"
        case AddPortVlan(vlan=vlan):
            return f"+ VLAN {vlan.vlan} on {vlan.device}"
        case DropPortVlan(vlan=vlan):
            return f"- VLAN {vlan.vlan} from {vlan.device}"
        case StopDhcp(device=device):
            return f"- DHCP client of {device}"
        case StartDhcp(client=client):
            return f"+ DHCP client of {client.device}"
        case _:
            raise TypeError(type(change).__name__)
