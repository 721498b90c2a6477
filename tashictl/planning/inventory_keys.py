"""The keys of hosts and networks: how each is read, what it may hold. The one table of both."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from msgspec import Struct

from tashictl.model import units
from tashictl.model.names import NAME_RULE, is_name
from tashictl.planning.config_values import ip_range
from tashictl.planning.inventory_yaml import Faults, Mapping, Node, Scalar, Sequence
from tashictl.planning.nearest import suggestion

MAX_INTERFACE = 15  # IFNAMSIZ of Linux, without its closing NUL
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}\$?")
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


class Key(Struct, frozen=True, kw_only=True):
    """A key; `read` turns a scalar into its value or raises ValueError; `about` is for people.

    `optional` keys may be null, which means not set; `many` is a list (one word will do).
    """

    name: str
    field: str
    read: Callable[[Scalar], object]
    about: str
    optional: bool = True
    many: bool = False


class Body(Struct, frozen=True, kw_only=True):
    """What a mapping said: values by field, and where each stands, also those with mistakes."""

    values: dict[str, Any]
    places: dict[str, str]
    where: str


def read_body(node: Node, keys: tuple[Key, ...], what: str, faults: Faults) -> Body:
    """Read a mapping by `keys`; unknown keys and wrong values go to `faults`, the rest is kept."""
    body = Body(values={}, places={}, where=node.where)
    if isinstance(node, Scalar) and node.is_null:
        return body
    if not isinstance(node, Mapping):
        faults.add(f"{what} is no mapping", node.where, "write key: value")
        return body
    known = {key.name: key for key in keys}
    for name, value in node.pairs:
        key = known.get(name.text)
        if key is None:
            faults.add(f"{what}: no key {name.text!r}", name.where, suggestion(name.text, known))
            continue
        body.places[key.field] = value.where
        try:
            body.values[key.field] = _value(key, value)
        except ValueError as error:
            faults.add(f"{what}: {name.text}: {error}", value.where)
    return body


def _value(key: Key, node: Node) -> object:
    if isinstance(node, Scalar) and node.is_null:
        if not key.optional:
            raise ValueError("it has no value")
        return None
    if key.many:
        return tuple(key.read(_scalar(item)) for item in _items(node))
    return key.read(_scalar(node))


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Sequence) else (node,)


def _scalar(node: Node) -> Scalar:
    if not isinstance(node, Scalar):
        raise ValueError("one value is wanted, not a list or mapping")
    return node


def text(node: Scalar) -> str:
    """A word; a plain boolean or null is refused, as YAML readers differ about it."""
    if node.boolean is not None or node.is_null:
        raise ValueError(f"{node.text!r} is no text: put it in quotes if you mean it")
    if not node.text.isprintable() or not node.text:
        raise ValueError("it is empty or has characters that cannot be printed")
    return node.text


def boolean(node: Scalar) -> bool:
    """true or false."""
    if node.boolean is None:
        raise ValueError(f"{node.text!r} is neither true nor false")
    return node.boolean


def number(low: int, high: int) -> Callable[[Scalar], int]:
    """A reader of whole decimal numbers within `low` and `high`, both included."""

    def read(node: Scalar) -> int:
        if not re.fullmatch(r"0|[1-9][0-9]{0,11}", node.text):
            raise ValueError(f"{node.text!r} is no whole number")
        if not low <= int(node.text) <= high:
            raise ValueError(f"{node.text} is not within {low} and {high}")
        return int(node.text)

    return read


def one_of(*choices: str) -> Callable[[Scalar], str]:
    """A reader of one word of a closed set."""

    def read(node: Scalar) -> str:
        if node.text not in choices:
            raise ValueError(f"{node.text!r}: {suggestion(node.text, choices)}")
        return node.text

    return read


def matching(pattern: re.Pattern[str], what: str) -> Callable[[Scalar], str]:
    """A reader of words that match `pattern` as a whole."""

    def read(node: Scalar) -> str:
        if pattern.fullmatch(text(node)) is None:
            raise ValueError(f"{node.text!r} is no {what}")
        return node.text

    return read


def memory(node: Scalar) -> int:
    """Memory in MiB, or with K M G T."""
    return units.memory_mib(node.text)


def path(node: Scalar) -> str:
    """An absolute path without ``..``."""
    if not text(node).startswith("/") or ".." in node.text.split("/"):
        raise ValueError(f"{node.text!r} is no absolute path without ..")
    return node.text


def name(node: Scalar) -> str:
    """A name as VMs and hosts have them."""
    if not is_name(node.text):
        raise ValueError(f"{node.text!r} is no name: {NAME_RULE}")
    return node.text


def host_address(node: Scalar) -> str:
    """A DNS name, an alias of ssh_config or an address; ranges ([2-9]) are allowed here."""
    checked = re.sub(r"\[[0-9,-]+\]", "1", text(node))
    if ":" in checked or re.fullmatch(r"[0-9.]+", checked):
        ip_address(checked.partition("%")[0])
    elif _HOST.fullmatch(checked) is None:
        raise ValueError(f"{node.text!r} is no host name or address")
    return node.text


def interface(node: Scalar) -> str:
    """The name of a network interface of Linux."""
    if _INTERFACE.fullmatch(text(node)) is None:
        raise ValueError(f"{node.text!r} is no interface name")
    if len(node.text) > MAX_INTERFACE:
        raise ValueError(f"{node.text!r} is longer than {MAX_INTERFACE}, which Linux allows")
    return node.text


def cidr(version: int) -> Callable[[Scalar], str]:
    """A reader of networks such as 172.16.0.0/16."""

    def read(node: Scalar) -> str:
        network = ip_network(text(node), strict=False)
        if "/" not in node.text or network.version != version:
            raise ValueError(f"{node.text!r} is no IPv{version} network such as 172.16.0.0/16")
        if str(network) != str(ip_interface(node.text)):
            raise ValueError(f"{node.text!r} is an address in a network: write {network}")
        return str(network)

    return read


def addresses(version: int) -> Callable[[Scalar], str]:
    """A reader of first-last of one family."""

    def read(node: Scalar) -> str:
        first, last = ip_range(text(node))
        if ip_address(first).version != version:
            raise ValueError(f"{node.text!r} is not IPv{version}")
        return f"{first}-{last}"

    return read


def address(node: Scalar) -> str:
    """An IPv4 or IPv6 address."""
    return str(ip_address(text(node)))


def excluded(node: Scalar) -> str:
    """An address, or first-last."""
    return "-".join(ip_range(text(node))) if "-" in node.text else address(node)


def own_address(node: Scalar) -> str:
    """``dhcp``, ``none`` or an address with its prefix length."""
    if node.text in ("dhcp", "none"):
        return node.text
    if "/" not in text(node):
        raise ValueError(f"{node.text!r} is neither dhcp, none nor an address/length")
    return str(ip_interface(node.text))


def own_address6(node: Scalar) -> str:
    """``auto``, ``none`` or an IPv6 address with its prefix length."""
    if node.text in ("auto", "none"):
        return node.text
    if "/" not in text(node) or ip_interface(node.text).version != 6:
        raise ValueError(f"{node.text!r} is neither auto, none nor an IPv6 address/length")
    return str(ip_interface(node.text))


def placed_address(node: Scalar) -> str:
    """``network=address``; ranges ([2-9]) are allowed here, see `one_placed`."""
    network, equals, address = text(node).partition("=")
    if not equals:
        raise ValueError(f"{node.text!r}: write network=address/length, network=dhcp or =none")
    one_placed(re.sub(r"\[[0-9,-]+\]", "1", address))
    return f"{network}={address}"


def one_placed(address: str) -> str:
    """The address of a host on a network, without ranges; raises ValueError."""
    if address in ("dhcp", "none", "auto"):
        return address
    if "/" not in address:
        raise ValueError(f"{address!r} is neither dhcp, none nor an address/length")
    return str(ip_interface(address))


def _key(name: str, read: Callable[[Scalar], object], about: str, field: str = "") -> Key:
    return Key(name=name, field=field or name, read=read, about=about)


def _never_null(name: str, read: Callable[[Scalar], object], about: str) -> Key:
    return Key(name=name, field=name, read=read, about=about, optional=False)


def _several(name: str, read: Callable[[Scalar], object], about: str) -> Key:
    return Key(name=name, field=name, read=read, about=about, optional=False, many=True)


STYLES = ("ifupdown", "networkd", "legacy")
_ARCHES = ("x86_64", "aarch64", "riscv64", "ppc64le", "s390x")
HOST_KEYS: tuple[Key, ...] = (
    _key("address", host_address, "DNS name, ssh_config alias or address; default: the name"),
    _never_null("user", matching(_USER, "login name"), "login; default root"),
    _never_null("port", number(1, 65535), "1-65535; default 22"),
    _never_null(
        "transport",
        one_of("paramiko", "openssh", "local"),
        "paramiko (default), openssh or local",
    ),
    _key("identity_file", text, "private key on the controller"),
    _never_null("become", boolean, "use `sudo -n`; default false"),
    _key("uplink", interface, "interface that VLANs and bridges hang on"),
    Key(
        name="networks",
        field="networks",
        read=text,
        about="list of the networks that this host has, by name or id; default: all",
        many=True,
    ),
    _several(
        "host_addresses",
        placed_address,
        "list of network=address/length (or dhcp, none, auto) of this host, over host_address",
    ),
    _key("style", one_of(*STYLES), "how its network files are written: " + ", ".join(STYLES)),
    _several("groups", text, "list of groups; not inside a group"),
    _key("rack", text, "where it stands"),
    _key("cores", number(1, 65536), "cap on what it offers"),
    _key("memory", memory, "cap on what it offers; MiB, or with K M G", "memory_mib"),
    _key(
        "reserved_memory",
        memory,
        "kept for the host; MiB, or with K M G; default: [Qemu] reservedMem",
        "reserved_memory_mib",
    ),
    _key("accel", one_of("auto", "kvm", "tcg"), "auto, kvm or tcg; default: [Qemu] accel"),
    _key("scratch_dir", path, "for scratchSpace; default: [Qemu] scratchDir"),
    _key("arch", one_of(*_ARCHES), ", ".join(_ARCHES) + "; default: asked of the host"),
)
GROUP_KEYS = tuple(key for key in HOST_KEYS if key.name != "groups")

NETWORK_KEYS: tuple[Key, ...] = (
    _never_null("id", number(1, 2**31 - 1), "required; from 1"),
    _never_null("name", name, "required"),
    _key("vlan", number(1, 4094), "802.1Q tag, 1-4094; without it: untagged"),
    _key("bridge", interface, "default: `vmbr`, or `vmbr.<vlan>`"),
    _never_null("mode", one_of("bridge", "user", "vxlan"), "bridge (default), user or vxlan"),
    _key("cidr", cidr(4), "IPv4 network"),
    _key("cidr6", cidr(6), "IPv6 network"),
    _key("range", addresses(4), "first-last that VMs get, inside cidr"),
    _key("range6", addresses(6), "first-last that VMs get, inside cidr6"),
    _several("exclude", excluded, "list of addresses, or first-last, that VMs never get"),
    _key("gateway", address, "inside cidr or cidr6"),
    _several("dns", address, "list of name servers"),
    _key("domain", matching(_DOMAIN, "domain"), "DNS domain"),
    _key("mtu", number(68, 65535), "68-65535"),
    _key("stp", boolean, "spanning tree on the bridge"),
    _key("forward_delay", number(0, 30), "seconds, 0-30"),
    _key(
        "host_address",
        own_address,
        "dhcp, none or address/length, of the host itself; default: as the uplink has it",
    ),
    _key(
        "host_address6",
        own_address6,
        "auto, none or IPv6 address/length, of the host itself; default: as the uplink has it",
    ),
    _key("gateway6", address, "of the host, where host_address6 is an address"),
    _never_null(
        "vlan_aware",
        boolean,
        "one bridge for several VLANs, which share it by naming it; default false",
    ),
    _several("remotes", address, "list of the other VXLAN ends; needs mode vxlan"),
    _never_null(
        "dhcp",
        one_of("none", "isc-omapi", "dnsmasq", "kea"),
        "none, isc-omapi, dnsmasq or kea; default: isc-omapi where dhcpServer is set and the "
        "network has a range, else none",
    ),
    _key("vxlan", number(1, 2**24 - 1), "network identifier; needs mode vxlan"),
    _never_null("default", boolean, "of a VM without --nic; at most one"),
)
