"""What keeps packets of guests back on a host: routing, and filters that see bridged frames."""

from __future__ import annotations

from collections.abc import Iterator

from tashictl.planning.doctor.findings import Finding, Severity, ok
from tashictl.planning.doctor.net import owner_of
from tashictl.planning.doctor.reading import Chain, Examined
from tashictl.planning.doctor.subject import Subject

# The setting that shows bridged frames to the host's filter, the family of its chains, a name.
_FAMILIES = (("iptables", "ip", "IPv4"), ("ip6tables", "ip6", "IPv6"))
_REFUSALS = ("drop", "reject")
_IPV4, _IPV6 = "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"
_ROUTING = {_IPV4: "ip_forward", _IPV6: "ip6_forward"}


def findings(seen: Examined, at: Subject) -> Iterator[Finding]:
    """Every finding, where the host carries a network with a bridge."""
    if at.wired:
        yield _forwarding(seen, at)
        yield from _bridged(seen, at)


def _forwarding(seen: Examined, at: Subject) -> Finding:
    """Bridged guests need no routing, but where this host is their gateway."""
    values = {key: seen.words.get(word, "unknown") for key, word in _ROUTING.items()}
    own = {a for link in (seen.links or {}).values() for a in link.addresses}
    routed = [n for n in at.wired if n.gateway is not None and n.gateway in own]
    if not routed:
        told = f"ip_forward is {values[_IPV4]}, and not needed: no network has its gateway here"
        return ok("host.forwarding", told)
    names = ", ".join(n.name for n in routed)
    wanted = dict.fromkeys(_IPV6 if ":" in (n.gateway or "") else _IPV4 for n in routed)
    told = ", ".join(f"{key} is {values[key]}" for key in wanted)
    off = [key for key in wanted if values[key] == "0"]
    if not off:
        return ok("host.forwarding", f"{told}; this host is the gateway of {names}")
    lines = "\\n".join(f"{key} = 1" for key in off)
    return Finding(
        id="host.forwarding",
        severity=Severity.ERROR,
        evidence=f"{told}, and this host is the gateway of {names}",
        remedy=f"sysctl -w {' '.join(f'{key}=1' for key in off)}\n"
        f"for good: printf '{lines}\\n' >/etc/sysctl.d/60-tashi.conf",
    )


def _bridged(seen: Examined, at: Subject) -> Iterator[Finding]:
    on = [n for n, _, _ in _FAMILIES if seen.words.get(f"nf_{n}") == "1"]
    told = ", ".join(
        f"bridge-nf-call-{n} is {seen.words.get(f'nf_{n}', 'absent')}" for n, _, _ in _FAMILIES
    )
    faults = [*_bridge_family(seen, at)]
    for name, family, protocol in _FAMILIES:
        if name in on:
            faults += _family(seen, at, (name, family, protocol))
    yield from faults
    if faults:
        return
    if on and not seen.firewall_by:
        yield Finding(
            id="net.bridge-filter",
            severity=Severity.NOTE,
            evidence=f"{told}: the host's filter sees frames of guests, and it could not be read",
            remedy="look, as root, that chain FORWARD lets them pass: nft list ruleset; "
            "iptables -S FORWARD",
        )
        return
    what = f"{told}; no chain that forwards drops" if on else f"{told}: frames of guests pass"
    yield ok("net.bridge-filter", what)


def _family(seen: Examined, at: Subject, of: tuple[str, str, str]) -> Iterator[Finding]:
    name, family, protocol = of
    for chain in seen.firewall:
        if chain.family not in (family, "inet") or not _refuses(chain) or _lets_pass(chain, at):
            continue
        setting = f"net.bridge.bridge-nf-call-{name}"
        others = _who_set_it(seen)
        yield Finding(
            id="net.bridge-filter",
            severity=Severity.ERROR,
            subject=protocol,
            evidence=f"bridge-nf-call-{name} is 1 and {_shown(chain)}: packets of guests "
            f"are dropped{others}",
            remedy=f"sysctl -w {setting}=0\n"
            f"for good: echo '{setting} = 0' >/etc/sysctl.d/60-tashi.conf\n"
            f"or: {_let_pass(seen, name, chain, at)}",
        )
        return


def _let_pass(seen: Examined, program: str, chain: Chain, at: Subject) -> str:
    if "nft" not in seen.firewall_by:
        return f"{program} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT"
    bridge = at.wired[0].bridge
    where = f"{chain.family} {chain.table} {chain.name}"
    return f"nft insert rule {where} iifname {bridge} oifname {bridge} accept"


def _bridge_family(seen: Examined, at: Subject) -> Iterator[Finding]:
    """A chain of family bridge sees frames whatever bridge-nf-call says."""
    for chain in seen.firewall:
        if chain.family == "bridge" and _refuses(chain) and not _lets_pass(chain, at):
            yield Finding(
                id="net.bridge-filter",
                severity=Severity.ERROR,
                subject="bridge",
                evidence=f"{_shown(chain)}: frames of guests are dropped",
                remedy=f"nft insert rule bridge {chain.table} {chain.name} meta ibrname "
                f"{at.wired[0].bridge} accept",
            )
            return


def _who_set_it(seen: Examined) -> str:
    owners = {owner_of(name): name for name in (seen.links or {}) if owner_of(name)}
    if not owners:
        return ""
    said = ", ".join(f"{name} is there ({who})" for who, name in owners.items())
    policy = "; docker sets this policy at each start" if "docker" in owners else ""
    return f" ({said}{policy})"


def _refuses(chain: Chain) -> bool:
    """By its policy, or by a last rule that takes all."""
    if chain.policy in _REFUSALS:
        return True
    last = chain.rules[-1].split() if chain.rules else []
    if last[:1] == ["-A"]:
        return last[2:3] == ["-j"] and last[3:4] != [] and last[3].lower() in _REFUSALS
    plain = [w for w in last if w not in ("counter", "packets", "bytes") and not w.isdecimal()]
    return bool(plain) and plain[0] in _REFUSALS


def _lets_pass(chain: Chain, at: Subject) -> bool:
    """A rule of the operator's for bridged frames, or for our bridges."""
    bridges = {n.bridge for n in at.wired if n.bridge}
    for rule in chain.rules:
        words = {w.strip('"') for w in rule.split()}
        if "accept" not in {w.lower() for w in words}:
            continue
        if "--physdev-is-bridged" in words or bridges & words:
            return True
    return False


def _shown(chain: Chain) -> str:
    where = f"chain {chain.name} ({chain.family} {chain.table})"
    if chain.policy in _REFUSALS:
        return f"{where} has policy {chain.policy.upper()}"
    return f"{where} refuses all in its last rule"
