"""The inventory's files -> hosts and networks, with every mistake named by file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from collections.abc import Mapping as Lookup
from typing import Any

from tashictl.errors import InvalidRequest, raise_all
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.model.names import NAME_RULE, expand, is_name
from tashictl.planning import inventory_yaml
from tashictl.planning.inventory_keys import (
    GROUP_KEYS,
    HOST_KEYS,
    Body,
    one_placed,
    read_body,
)
from tashictl.planning.inventory_networks import Networks, check_addresses, check_uplinks
from tashictl.planning.inventory_yaml import Faults, Mapping, Node, Scalar
from tashictl.planning.nearest import suggestion

_TOP = ("defaults", "groups", "hosts", "networks")
_MAX_NAME = 255
_MAX_HOSTS = 10_000
_RANGE = re.compile(r"\[([0-9,-]+)\]")
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/._-]*")
_RESERVED = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


class _Parser:
    """Takes the files in order; later ones add, and replace hosts and groups of the same name."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.networks = Networks(self.faults)
        self._defaults = Body(values={}, places={}, where="")
        self._groups: dict[str, Body] = {}
        self._hosts: dict[str, Body] = {}
        self._unread = False  # a file could not be read, so what it may hold is not missed

    def take(self, path: str, text: str) -> None:
        """Take one file."""
        before = len(self.faults.found)
        root = inventory_yaml.read(path, text, self.faults)
        self._unread |= root is None and len(self.faults.found) > before
        if root is None or (isinstance(root, Scalar) and root.is_null):
            return
        if not isinstance(root, Mapping):
            self.faults.add("no inventory", root.where, "write " + ", ".join(_TOP))
            return
        for key, node in root.pairs:
            if key.text == "defaults":
                body = read_body(node, HOST_KEYS, "defaults", self.faults)
                self._defaults.values.update(body.values)
                self._defaults.places.update(body.places)
            elif key.text == "groups":
                self._take_groups(node)
            elif key.text == "hosts":
                self._take_hosts(node)
            elif key.text == "networks":
                self.networks.take(node)
            else:
                self.faults.add(f"no key {key.text!r}", key.where, suggestion(key.text, _TOP))

    def _take_groups(self, node: Node) -> None:
        for key, value in self._pairs(node, "groups"):
            self._groups[key.text] = read_body(value, GROUP_KEYS, f"group {key.text}", self.faults)

    def _take_hosts(self, node: Node) -> None:
        here: dict[str, str] = {}
        for key, value in self._pairs(node, "hosts"):
            body = read_body(value, HOST_KEYS, f"host {key.text}", self.faults)
            names = self._names(key)
            placed = self._placed(body, names)
            for at, (name, address) in enumerate(
                zip(names, self._addresses(body, names), strict=True)
            ):
                if name in here:
                    text = f"host {name} is there twice, first in {here[name]}"
                    self.faults.add(text, key.where)
                    continue
                here[name] = key.where
                values = {**body.values, **({"address": address} if address else {})}
                if values.get("host_addresses"):  # also where all of them are wrong
                    values["host_addresses"] = tuple(column[at] for column in placed)
                self._hosts[name] = Body(values=values, places=body.places, where=key.where)

    def _pairs(self, node: Node, what: str) -> tuple[tuple[Scalar, Node], ...]:
        if isinstance(node, Mapping):
            return node.pairs
        if not (isinstance(node, Scalar) and node.is_null):
            self.faults.add(f"{what} is no mapping", node.where, "write name: {key: value}")
        return ()

    def _names(self, key: Scalar) -> tuple[str, ...]:
        try:
            names = _expanded(key.text)
        except ValueError as error:
            self.faults.add(f"host {key.text!r}: {error}", key.where)
            return ()
        wrong = next((n for n in names if not is_name(n)), None)
        if wrong is not None:
            self.faults.add(f"{wrong!r} is no host name", key.where, NAME_RULE)
            return ()
        return names

    def _addresses(self, body: Body, names: tuple[str, ...]) -> tuple[str | None, ...]:
        """One address per name: ``10.0.0.[2-9]`` goes with ``node[2-9]``."""
        given = body.values.get("address")
        if not isinstance(given, str) or "[" not in given:
            return (given,) * len(names)
        found = self._one_each(given, names, body.places["address"])
        return (None,) * len(names) if found is None else found

    def _placed(self, body: Body, names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        """Each of host_addresses, one per name."""
        columns = []
        for given in body.values.get("host_addresses") or ():
            place = body.places["host_addresses"]
            found = self._one_each(given, names, place) if "[" in given else (given,) * len(names)
            try:
                for one in found or ():
                    one_placed(one.partition("=")[2])
            except ValueError as error:
                self.faults.add(f"host_addresses {given!r}: {error}", place)
                continue
            if found is not None:
                columns.append(found)
        return tuple(columns)

    def _one_each(self, given: str, names: tuple[str, ...], place: str) -> tuple[str, ...] | None:
        """What a text with a range stands for, one for each name; None after a fault."""
        what = "host_addresses" if "=" in given else "address"
        try:
            found = _expanded(given)
        except ValueError as error:
            self.faults.add(f"{what} {given!r}: {error}", place)
            return None
        if len(found) != len(names):
            text = f"{what} {given} stands for {len(found)}, the name for {len(names)}"
            self.faults.add(text, place)
            return None
        return found

    def finish(self) -> Inventory:
        """Put hosts together from defaults, groups and their own keys, and check references."""
        for what, body in (
            ("defaults", self._defaults),
            *((f"group {name}", body) for name, body in self._groups.items()),
            *((f"host {name}", body) for name, body in self._hosts.items()),
        ):
            self._check_references(what, body)
        inventory = Inventory(
            hosts=tuple(self._host(name, body) for name, body in self._hosts.items()),
            networks=tuple(self.networks.found),
        )
        places = {name: body.where for name, body in self._hosts.items()}
        check_uplinks(inventory, self.faults, places)
        check_addresses(inventory, self.faults, places)
        return inventory

    def _check_references(self, what: str, body: Body) -> None:
        ranged = [("address", body.values.get("address") or "")]
        ranged += [("host_addresses", a) for a in body.values.get("host_addresses") or ()]
        for field, given in ranged:
            if not what.startswith("host ") and "[" in given:
                text = f"{what}: an address with a range needs a host with a range"
                self.faults.add(text, body.places[field])
        for group in body.values.get("groups") or ():
            if group not in self._groups and not self._unread:
                hint = suggestion(group, self._groups) if self._groups else "there are no groups"
                self.faults.add(f"{what}: no group {group!r}", body.places["groups"], hint)
        placed = [a.partition("=")[0] for a in body.values.get("host_addresses") or ()]
        fields = [("networks", n) for n in body.values.get("networks") or ()]
        for field, network in (*fields, *(("host_addresses", n) for n in placed)):
            if self._unread or self.networks.incomplete or self._network_name(network):
                continue
            names = [n.name for n in self.networks.found]
            hint = suggestion(network, names) if names else "there are no networks"
            self.faults.add(f"{what}: no network {network!r}", body.places[field], hint)

    def _network_name(self, name_or_id: str) -> str | None:
        known = self.networks.found
        return next((n.name for n in known if name_or_id in (n.name, str(n.id))), None)

    def _host(self, name: str, body: Body) -> HostConfig:
        values: dict[str, Any] = dict(self._defaults.values)
        groups = (*values.get("groups", ()), *body.values.get("groups", ()))
        for group in groups:
            values |= self._groups[group].values if group in self._groups else {}
        values |= body.values
        values["groups"] = tuple(dict.fromkeys(groups))
        if values.get("networks") is not None:
            values["networks"] = tuple(self._network_name(n) or n for n in values["networks"])
        placed = [a.partition("=") for a in values.get("host_addresses", ())]
        values["host_addresses"] = tuple(f"{self._network_name(n) or n}={a}" for n, _, a in placed)
        values["address"] = values.get("address") or name
        return HostConfig(name=name, **values)


def parse(sources: Iterable[tuple[str, str]]) -> tuple[Inventory, tuple[InvalidRequest, ...]]:
    """Read the files, as (path, text) in their order: what could be read, and every mistake."""
    parser = _Parser()
    for path, text in sources:
        parser.take(path, text)
    inventory = parser.finish()
    return inventory, tuple(parser.faults.found)


def load(sources: Iterable[tuple[str, str]]) -> Inventory:
    """Read the files, as (path, text). Raises InvalidRequest (E-INVENTORY), or Problems."""
    inventory, problems = parse(sources)
    raise_all(problems)
    return inventory


def host_entry(name: str, keys: Lookup[str, str | int | bool]) -> str:
    """The line that stands for a host below ``hosts:``, to be shown where it must be added by hand.

    `keys` are the inventory's (address, user, port …). Raises ValueError for a bad name.
    """
    if not is_name(name):
        raise ValueError(f"{name!r} is no host name: {NAME_RULE}")
    body = ", ".join(f"{key}: {_written(value)}" for key, value in keys.items())
    return f"  {_written(name)}: {{{body}}}\n"


def host_yaml(name: str, keys: Lookup[str, str | int | bool]) -> str:
    """The text of ``inventory/<name>.yaml``. Raises ValueError for a bad name."""
    return "hosts:\n" + host_entry(name, keys)


def is_own_file(name: str, source: tuple[str, str]) -> bool:
    """Whether a file, as (path, text), is as `host add` wrote it for that one host."""
    found, problems = parse([source])
    if problems or found.networks or [h.name for h in found.hosts] != [name]:
        return False
    host = found.hosts[0]
    keys: dict[str, str | int | bool] = {"address": host.address, "user": host.user}
    chosen = ((), ("address",), ("user",), ("address", "user"))
    return source[1] in [host_yaml(name, {k: keys[k] for k in some}) for some in chosen]


def listing_files(name: str, sources: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The paths of the files that list a host; each file is read by itself."""
    return tuple(s[0] for s in sources if any(h.name == name for h in parse([s])[0].hosts))


def _expanded(text: str) -> tuple[str, ...]:
    """Expand ranges, after a look at how many names they stand for."""
    if len(text) > _MAX_NAME:
        raise ValueError(f"it is longer than {_MAX_NAME}")
    total = 1
    for body in _RANGE.findall(text):
        total *= sum(_size(part) for part in body.split(","))
    if total > _MAX_HOSTS:
        raise ValueError(f"it stands for more than {_MAX_HOSTS}")
    return expand(text)


def _size(part: str) -> int:
    first, _, last = part.partition("-")
    if not first.isdigit() or not (last or first).isdigit():
        return 1  # expand says what is wrong with it
    return max(1, int(last or first) - int(first) + 1)


def _written(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    plain = _PLAIN.fullmatch(value) and value.lower() not in _RESERVED
    return value if plain else json.dumps(value)
