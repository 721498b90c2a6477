"""The three texts of a NoCloud seed: who the guest is, what it is to do, how its network is.

The operator's user-data arrives byte for byte: keys of --ssh-key travel in the meta-data as
``public-keys``, which cloud-init puts beside those of the user-data, whatever kind that is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import yaml

from tashictl.errors import TashiError
from tashictl.model.network import Network
from tashictl.model.vm import NicSpec, Vm
from tashictl.planning import sshkeys, userdata

_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}  # the word "default" is younger


def problems(cloud_init: bytes | None, ssh_keys: Iterable[bytes]) -> list[TashiError]:
    """All that is wrong with what was given for a seed."""
    keys, found = sshkeys.read(ssh_keys)
    if cloud_init is not None:
        found = [*userdata.problems(cloud_init, with_keys=bool(keys)), *found]
    return found


def texts(
    vm: Vm, networks: Iterable[Network], cloud_init: bytes | None, ssh_keys: Iterable[bytes]
) -> dict[str, bytes] | None:
    """The files of a VM's seed by name, None where nothing was given.

    `cloud_init` and `ssh_keys` must be without problems.
    """
    keys, _ = sshkeys.read(ssh_keys)
    if cloud_init is None and not keys:
        return None
    return {
        "meta-data": meta_data(vm, keys),
        "user-data": cloud_init if cloud_init is not None else user_data(keys),
        "network-config": network_config(vm.spec.nics, networks),
    }


def meta_data(vm: Vm, keys: tuple[str, ...]) -> bytes:
    """Who the guest is; a new instance-id makes cloud-init set a guest up anew."""
    found: dict[str, object] = {"instance-id": vm.uuid, "local-hostname": vm.name}
    if keys:
        found["public-keys"] = list(keys)
    return _yaml(found)


def user_data(keys: tuple[str, ...]) -> bytes:
    """A cloud-config that only lets these keys in."""
    return b"#cloud-config\n" + _yaml({"ssh_authorized_keys": list(keys)})


def network_config(nics: Iterable[NicSpec], networks: Iterable[Network]) -> bytes:
    """Version 2 of cloud-init's network configuration: each nic by its MAC, named eth<index>.

    A name of our own is needed: without one some of cloud-init's renderers take the key of the
    entry for the interface's name. The first network with a gateway has the default route.
    """
    by_id = {network.id: network for network in networks}
    routed: set[int] = set()
    ethernets: dict[str, object] = {}
    for nic in nics:
        name = f"eth{nic.index}"
        network = by_id.get(nic.network)
        ethernets[name] = {
            "match": {"macaddress": nic.mac.lower()},
            "set-name": name,
            **(_settings(nic, network, routed) if network else {"dhcp4": True}),
        }
    return _yaml({"version": 2, "ethernets": ethernets})


def _settings(nic: NicSpec, network: Network, routed: set[int]) -> dict[str, object]:
    """An interface that a DHCP server knows asks it; any other one is told its addresses."""
    found: dict[str, object] = {}
    known = [a for a in (_interface(ip, network) for ip in nic.addresses) if a is not None]
    served = network.dhcp not in ("", "none") and any(a.version == 4 for a in known)
    own = [a for a in known if not (served and a.version == 4)]
    if served or not own:
        found["dhcp4"] = True
    if own:
        found |= {"dhcp4": served, "addresses": [str(a) for a in own]}
    found |= _ways(own, network, routed)
    if network.mtu:
        found["mtu"] = network.mtu
    return found


def _ways(addresses: Sequence[Interface], network: Network, routed: set[int]) -> dict[str, object]:
    """Routes and name servers of an interface that is told its addresses."""
    found: dict[str, object] = {}
    routes = []
    for address in addresses:
        gateway = _gateway(address, network)
        if gateway and address.version not in routed:
            routed.add(address.version)
            routes.append({"to": _ANYWHERE[address.version], "via": gateway})
    if routes:
        found["routes"] = routes
    servers = {"addresses": list(network.dns)} if network.dns else {}
    search = {"search": [network.domain]} if network.domain else {}
    if addresses and (servers or search):
        found["nameservers"] = {**servers, **search}
    return found


Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def _interface(ip: str | None, network: Network) -> Interface | None:
    """The nic's own address with its network's prefix, None where it has to be asked for."""
    if ip is None:
        return None
    version = ipaddress.ip_address(ip).version
    cidr = network.cidr if version == 4 else network.cidr6
    if cidr is None:
        return None
    return ipaddress.ip_interface(f"{ip}/{cidr.rpartition('/')[2]}")


def _gateway(address: Interface, network: Network) -> str | None:
    ways = [g for g in (network.gateway, network.gateway6) if g]
    return next((g for g in ways if ipaddress.ip_address(g).version == address.version), None)


def _yaml(value: object) -> bytes:
    text: str = yaml.safe_dump(
        value, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1 << 20
    )
    return text.encode()
