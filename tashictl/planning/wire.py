"""Ask on the wire whether somebody has an address already (RFC 5227), with what a host has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.steps import ProbeAddress
from tashictl.model.vm import Vm
from tashictl.planning import paths
from tashictl.planning.shell import quote

_WAIT_S = 2

# Answers of the VM itself do not count: it may run already when a creation is resumed. An old
# neighbour entry goes first, or a guest that is long gone would seem to answer. Of the programs
# called arping one knows no -D and says neither of the two phrases: then ping has to do.
_TEXT = r"""
ip link show dev "$I" >/dev/null 2>&1 || {{ echo "$A not asked for: no $I here"; exit 0; }}
there() {{ # who answers
  [ -z "$1" ] || [ "$1" = "$M" ] || die "$A on $NET is in use: $1 answers"; }}
by_arp() {{
  case $A in *:*) return 1;; esac
  if command -v arping; then set -- arping; else set -- busybox arping; fi >/dev/null
  said=$("$@" -D -c {wait} -w {wait} -I "$I" "$A" 2>&1)
  m=$(printf '%s\n' "$said" | awk -F '[][]' '/reply from/ {{ n = split(tolower($2), b, ":")
    for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? ":" : ""), (length(b[i]) < 2 ? "0" : "") b[i]
    exit }}')
  [ -n "$m" ] || case $said in *"Received 0 "*) ;; *) return 1;; esac; }}
by_ping() {{
  case $A in *:*) v=6;; *) v=4;; esac
  ip -o "-$v" addr show dev "$I" 2>/dev/null | grep -qv ' scope link' || return 1
  if command -v ping; then set -- ping; else set -- busybox ping; fi >/dev/null
  ip neigh del "$A" dev "$I" 2>/dev/null
  "$@" "-$v" -n -c 1 -W 1 -I "$I" "$A" >/dev/null 2>&1
  case $? in 0) r=somebody;; 1) r=;; *) return 1;; esac
  m=$(ip neigh show "$A" dev "$I" | grep -v -e FAILED -e INCOMPLETE \
    | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p'); m=${{m:-$r}}; }}
if by_arp || by_ping; then there "$m"
else echo "$A not asked for: no arping here, and no ping from an address of $I"; fi
"""


def steps(
    vm: Vm, host: str, networks: Iterable[Network], settings: Settings
) -> Iterator[ProbeAddress]:
    """A question for each address of a new VM on a bridge, where that is wanted."""
    if not settings.dhcp.probe:
        return
    by_id = {network.id: network for network in networks}
    at = paths.at(host, vm.uuid, settings)
    for nic in vm.spec.nics:
        network = by_id.get(nic.network)
        if network is None or not network.bridge or nic.ssh_port is not None:
            continue
        aware = network.vlan_aware and network.vlan is not None
        device = f"{network.bridge}.{network.vlan}" if aware else network.bridge
        for address in nic.addresses:
            yield ProbeAddress(
                **at,
                address=address,
                mac=nic.mac.lower(),
                device=device,
                network=network.name,
                network_id=network.id,
            )


def text(step: ProbeAddress) -> str:
    """The question in sh; who answers is named and fails it."""
    values = {"A": step.address, "I": step.device, "M": step.mac, "NET": step.network}
    head = "; ".join(f"{key}={quote(value)}" for key, value in values.items())
    return head + _TEXT.format(wait=_WAIT_S).rstrip()
