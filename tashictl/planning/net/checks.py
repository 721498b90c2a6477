"""What must still work after a change of a host's network, as far as it did before."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from msgspec import Struct

from tashictl.model.net import HostNet
from tashictl.model.script import Script
from tashictl.planning.frames import sections
from tashictl.planning.net.propose import Proposal
from tashictl.planning.shell import read_only

TIMEOUT_S = 20

# A gateway may not answer pings; that its MAC is known after one is proof enough.
_CHECK = r"""
for g in $GATEWAYS; do
  ping -c 1 -W 2 "$g" >/dev/null 2>&1 || ping -c 2 -W 2 "$g" >/dev/null 2>&1
  if [ $? = 0 ] || ip neigh show "$g" | grep -v -e FAILED -e INCOMPLETE | grep -q lladdr; then
    say B gateway "$g" ok
  else say B gateway "$g" silent; fi
done
"""


class Seen(Struct, frozen=True, kw_only=True):
    """What works: `works` are words such as ``gateway 10.0.0.1``; `asked` is all that was tried."""

    asked: frozenset[str] = frozenset()
    works: frozenset[str] = frozenset()


def gateways(net: HostNet) -> tuple[str, ...]:
    """The gateways of the default routes."""
    found = (r.via for r in net.picture.routes if r.to == "default" and r.via)
    return tuple(dict.fromkeys(found))


def script(net: HostNet, nonce: str) -> Script:
    """Asks the gateways; it changes nothing."""
    text = read_only(nonce, _CHECK, GATEWAYS=" ".join(gateways(net)))
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def read(out: bytes, nonce: str, net: HostNet) -> Seen:
    """What the script answered, with what the look itself shows: routes and TAPs."""
    works = {
        f"gateway {s.words[1]}"
        for s in sections(out, nonce)
        if s.kind == "B" and len(s.words) == 3 and s.words[0] == "gateway" and s.words[2] == "ok"
    }
    asked = {f"gateway {g}" for g in gateways(net)}
    for family, v6 in (("IPv4", False), ("IPv6", True)):
        if any(r.to == "default" and r.v6 == v6 for r in net.picture.routes):
            asked.add(f"default route {family}")
            works.add(f"default route {family}")
    return Seen(asked=frozenset(asked), works=frozenset(works))


def lost(before: Seen, after: Seen) -> tuple[str, ...]:
    """What worked before and does no more; a gateway that is another now is no loss by itself."""
    gone = before.works - after.works
    new_gateway = any(w.startswith("gateway ") for w in after.works)
    return tuple(
        sorted(
            w for w in gone
            if not (w.startswith("gateway ") and w not in after.asked and new_gateway)
        )
    )  # fmt: skip


def astray(proposal: Proposal, net: HostNet) -> tuple[str, ...]:
    """Links that are not as they were to become: a TAP on no bridge, a port that is down."""
    found = []
    for want in proposal.picture.links:
        have = net.picture.link(want.name)
        if have is None:
            if want.kind in ("bridge", "vlan", "vxlan"):
                found.append(f"{want.name} is not there")
            continue
        if want.master != have.master:
            found.append(f"{want.name} is on {have.master or 'no bridge'}, not on {want.master}")
        if want.up and not have.up:
            found.append(f"{want.name} is down")
    return tuple(found)


def reachable_at(net: HostNet, other: HostNet) -> tuple[str, ...]:
    """Addresses of a host that another host may see: those in one of the other's subnets first."""
    near: list[str] = []
    far: list[str] = []
    subnets = [ip_interface(a.cidr).network for link in other.picture.links for a in link.addresses]
    for link in net.picture.links:
        for address in link.addresses:
            plain = address.cidr.partition("/")[0]
            (near if any(ip_address(plain) in s for s in subnets) else far).append(plain)
    return (*near, *far)
