"""What a VM is called in DNS and DHCP, and what stands there of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from tashictl.errors import Conflict, InvalidRequest, TashiError
from tashictl.model import names
from tashictl.model.naming import DhcpEntry, DnsEntry, Owner
from tashictl.model.network import Network
from tashictl.model.settings import Settings
from tashictl.model.vm import NicSpec, Vm

OMAPI, DNSMASQ, KEA = "isc-omapi", "dnsmasq", "kea"
_LABEL = 63


def label(vm_name: str, index: int) -> str:
    """The name of a VM's interface: the VM's own, ``<vm>-nic<i>`` from the second on (Tashi)."""
    return vm_name if index == 0 else f"{vm_name}-nic{index}"


def domain(network: Network, settings: Settings, sub_domain: str = "") -> str:
    """Where names of a network's guests are: its own domain or dnsDomain; "" without DNS.

    DNS is a server that takes updates, or the dnsmasq that gives the network its leases.
    """
    by_dnsmasq = network.dhcp == DNSMASQ and bool(settings.dhcp.dnsmasq_names_dir)
    base = (network.domain or settings.dns.domain or "").rstrip(".").lower()
    if not base or not (_takes_updates(settings) or by_dnsmasq):
        return ""
    return f"{sub_domain}.{base}" if sub_domain else base


def _takes_updates(settings: Settings) -> bool:
    return settings.dns.enabled and settings.dns.server is not None


def named(nic: NicSpec, vm_name: str, network: Network, settings: Settings, sub: str) -> NicSpec:
    """The interface with its name in DNS, where it has an address and there is a server."""
    place = domain(network, settings, sub)
    if not place or not nic.addresses:
        return nic
    return replace(nic, fqdn=f"{label(vm_name, nic.index)}.{place}")


def problems(
    vm_name: str, nics: Iterable[NicSpec], sub_domain: str, others: Iterable[Vm]
) -> Iterator[TashiError]:
    """Names that a server would not carry, and names that another VM's interface has."""
    if sub_domain and not names.is_domain(sub_domain):
        yield InvalidRequest(
            "E-NAME",
            f"hint subDomain={sub_domain!r} is no domain name",
            cause="labels of a-z 0-9 and -, at most 63 each, with dots between",
        )
    known = {nic.fqdn: vm.name for vm in others for nic in vm.spec.nics if nic.fqdn}
    for nic in nics:
        own = label(vm_name, nic.index)
        if names.is_name(vm_name) and len(own) > _LABEL:
            yield InvalidRequest(
                "E-NAME",
                f"{own} would be the name of interface {nic.index}: {len(own)} characters",
                cause=f"a label in DNS has at most {_LABEL} (RFC 1035)",
                hint="a shorter name for the VM",
            )
        elif nic.fqdn is not None and not names.is_domain(nic.fqdn):
            yield InvalidRequest("E-NAME", f"{nic.fqdn} is no name for DNS (RFC 1035)")
        elif nic.fqdn in known and known[nic.fqdn] != vm_name:
            yield Conflict(
                "E-NAME-IN-USE",
                f"{nic.fqdn} is the name of {known[nic.fqdn]}",
                hint=f"tashictl vm show {known[nic.fqdn]}",
            )


def dns_entries(vm: Vm, settings: Settings) -> tuple[DnsEntry, ...]:
    """What stands in DNS of a VM: an entry for each interface that has a name."""
    owner = mark(vm, settings)
    if not _takes_updates(settings):
        return ()
    return tuple(
        DnsEntry(
            name=nic.fqdn,
            addresses=nic.addresses,
            owner=owner,
            ttl_s=settings.dns.expire_s,
            reverse=settings.dns.reverse,
        )
        for nic in vm.spec.nics
        if nic.fqdn is not None and nic.addresses
    )


def dhcp_entries(vm: Vm, networks: Iterable[Network], settings: Settings) -> tuple[DhcpEntry, ...]:
    """What stands in DHCP of a VM: an entry for each interface on a network that is served."""
    by_id = {n.id: n for n in networks}
    owner = mark(vm, settings)
    found = []
    for nic in vm.spec.nics:
        network = by_id.get(nic.network)
        if network is None or network.dhcp in ("", "none") or not nic.addresses:
            continue
        found.append(
            DhcpEntry(
                driver=network.dhcp,
                network=network.id,
                name=label(vm.name, nic.index),
                mac=nic.mac,
                addresses=nic.addresses,
                owner=owner,
                fqdn=nic.fqdn or "",
                domain=nic.fqdn.partition(".")[2] if nic.fqdn else network.domain or "",
                routers=(network.gateway,) if network.gateway else (),
                dns=network.dns,
                mtu=network.mtu,
            )
        )
    return tuple(found)


def mark(vm: Vm, settings: Settings) -> str:
    """The mark of what is a VM's."""
    return str(Owner(cluster=settings.tashictl.cluster_id, uuid=vm.uuid))
