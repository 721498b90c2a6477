"""Networks of the inventory: what must hold inside one and between them, ranges of Settings."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from tashictl.errors import InvalidRequest, raise_all
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.settings import IpRange, Settings
from tashictl.planning.inventory_keys import MAX_INTERFACE, NETWORK_KEYS, Body, read_body
from tashictl.planning.inventory_yaml import Faults, Node, Scalar, Sequence


class Networks:
    """Collects networks in the order of the files."""

    def __init__(self, faults: Faults) -> None:
        self.found: list[Network] = []
        self.incomplete = False  # one had mistakes, so a reference to it may be right
        self._places: dict[str, str] = {}
        self._default = ""
        self._bridges: dict[str, Network] = {}
        self._faults = faults

    def take(self, node: Node) -> None:
        """Take a file's list of networks."""
        if isinstance(node, Scalar) and node.is_null:
            return
        if not isinstance(node, Sequence):
            self.incomplete = True
            self._faults.add("networks is no list", node.where, "write - {id: 1, name: lan, …}")
            return
        for item in node.items:
            before = len(self._faults.found)
            body = read_body(item, NETWORK_KEYS, "network", self._faults)
            self._check_alone(body)
            if len(self._faults.found) == before:
                self._keep(body)
            self.incomplete |= len(self._faults.found) > before

    def _check_alone(self, body: Body) -> None:
        """Check what the network must have, and have alone: id, name, being the default."""
        for field in ("id", "name"):
            if field not in body.places:
                self._faults.add(f"a network without {field}", body.where)
            elif field in body.values:
                place, text = body.places[field], str(body.values[field])
                first = self._places.setdefault(text, place)
                if first is not place:
                    self._faults.add(f"a second network {text}, first in {first}", place)
        if body.values.get("default"):
            place = body.places["default"]
            if self._default:
                self._faults.add(f"a second default network, first in {self._default}", place)
            self._default = self._default or place

    def _keep(self, body: Body) -> None:
        network = Network(**body.values)
        for field, problem in _faults_inside(network):
            place = body.places.get(field, body.where)
            self._faults.add(f"network {network.name}: {problem}", place)
        network = _completed(network)
        first = self._bridges.setdefault(network.bridge or "", network)
        if network.bridge and not _share(network, first):
            text = f"network {network.name}: bridge {network.bridge} is that of {first.name}"
            hint = "give it one of its own, or write vlan_aware: true in all networks that share it"
            self._faults.add(text, body.places.get("bridge", body.where), hint)
        self.found.append(network)


def _share(one: Network, other: Network) -> bool:
    """Whether both may hang on one bridge: of one layer 2, or told apart on it by their tags."""
    wires = {(n.mode, n.vlan, n.vxlan) for n in (one, other)}
    aware = one.vlan_aware and other.vlan_aware
    return one.vlan_aware == other.vlan_aware and (aware or len(wires) == 1)


def _faults_inside(network: Network) -> Iterable[tuple[str, str]]:
    """What does not fit together in one network, with the field that shows it."""
    if (network.mode == "vxlan") != (network.vxlan is not None):
        yield "vxlan", "vxlan and mode: vxlan need each other"
    if network.mode != "bridge" and network.vlan is not None:
        yield "vlan", f"vlan is not for mode {network.mode}"
    if network.mode == "user" and network.bridge is not None:
        yield "bridge", "bridge is not for mode user"
    if network.mode != "bridge" and network.vlan_aware:
        yield "vlan_aware", f"vlan_aware is not for mode {network.mode}"
    if network.remotes and network.mode != "vxlan":
        yield "remotes", "remotes are for mode vxlan"
    for range_field, text, cidr_field, cidr in (
        ("range", network.range, "cidr", network.cidr),
        ("range6", network.range6, "cidr6", network.cidr6),
    ):
        if text and cidr and not _inside(text, cidr):
            yield range_field, f"{range_field} {text} is not inside {cidr_field} {cidr}"
    if network.gateway6 and ip_address(network.gateway6).version != 6:
        yield "gateway6", f"gateway6 {network.gateway6} is not IPv6"
    cidrs = [c for c in (network.cidr, network.cidr6) if c]
    if network.gateway and cidrs and not any(_inside(network.gateway, c) for c in cidrs):
        yield "gateway", f"gateway {network.gateway} is not inside {' or '.join(cidrs)}"
    if network.mtu is not None and network.mtu < 1280 and (network.cidr6 or network.range6):
        yield "mtu", f"mtu {network.mtu} is below 1280, which IPv6 needs (RFC 8200)"


def _inside(text: str, cidr: str) -> bool:
    net = ip_network(cidr)
    return all(ip_address(end) in net for end in text.split("-"))


def _completed(network: Network) -> Network:
    """Name the bridge as Tashi's guide does where the file does not."""
    if network.bridge is not None or network.mode == "user":
        return network
    tag = network.vlan if network.vlan is not None and not network.vlan_aware else network.vxlan
    return replace(network, bridge="vmbr" if tag is None else f"vmbr.{tag}")


def check_uplinks(inventory: Inventory, faults: Faults, places: dict[str, str]) -> None:
    """VLAN interfaces (``eth0.999``) must have names that Linux takes; `places` is by host."""
    seen: set[str] = set()
    for host in inventory.hosts:
        for network in inventory.networks:
            interface = f"{host.uplink}.{network.vlan}"
            if host.uplink is None or network.vlan is None or interface in seen:
                continue
            if host.networks is not None and network.name not in host.networks:
                continue
            seen.add(interface)
            if len(interface) > MAX_INTERFACE:
                text = f"the VLAN interface {interface} of network {network.name}"
                text += f" would have a name longer than {MAX_INTERFACE}"
                faults.add(text, places.get(host.name, host.name), "give the uplink a shorter name")


def check_addresses(inventory: Inventory, faults: Faults, places: dict[str, str]) -> None:
    """No two hosts may have one address on a network; `places` is by host."""
    seen: dict[tuple[str, str], str] = {}
    for host in inventory.hosts:
        placed = [a.split("=", 1) for a in host.host_addresses]
        for network in inventory.networks:
            if host.networks is not None and network.name not in host.networks:
                continue
            own = [address for name, address in placed if name == network.name]
            has4 = any(":" not in address and address != "auto" for address in own)
            has6 = any(":" in address or address == "auto" for address in own)
            shared = network.host_address or ""
            if not (has6 if ":" in shared else has4):
                own.append(shared)
            if not has6:
                own.append(network.host_address6 or "")
            for one in dict.fromkeys(own):
                if "/" not in one:
                    continue
                first = seen.setdefault((network.name, one.partition("/")[0]), host.name)
                if first != host.name:
                    text = f"{host.name} and {first} would both have {one} on {network.name}"
                    hint = f"host_addresses: [{network.name}=ADDRESS/LENGTH] in each host"
                    faults.add(text, places.get(host.name, host.name), hint)


def with_ranges(inventory: Inventory, settings: Settings) -> Inventory:
    """Let ``ipRange<id>`` of the configuration give or override the networks' ranges.

    A range for an id that no network has is left alone: Tashi's own defaults bring one. Raises
    InvalidRequest or Problems for a range that lies outside its network.
    """
    by_id = {r.network: r for r in settings.ip_ranges}
    networks = [
        _served(_ranged(n, by_id[n.id]) if n.id in by_id else n, settings)
        for n in inventory.networks
    ]
    raise_all(
        InvalidRequest(
            "E-CONFIG",
            f"[DhcpDns] ipRange{network.id}: {problem}",
            cause=f"network {network.name} of the inventory says otherwise",
            hint="tashictl config show --origin",
        )
        for network in networks
        if network.id in by_id
        for field, problem in _faults_inside(network)
        if field in ("range", "range6")
    )
    return replace(inventory, networks=tuple(networks))


def _served(network: Network, settings: Settings) -> Network:
    """Say how a network's guests get their addresses, where its file does not: Tashi's way."""
    if network.dhcp:
        return network
    server = settings.dhcp.enabled and settings.dhcp.server is not None
    ours = server and network.mode != "user" and (network.range or network.range6)
    return replace(network, dhcp="isc-omapi" if ours else "none")


def _ranged(network: Network, given: IpRange) -> Network:
    text = f"{given.first}-{given.last}"
    return replace(network, range6=text) if ":" in text else replace(network, range=text)
