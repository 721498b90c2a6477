"""Inventory files -> hosts and networks: merging, ranges, every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tashictl.errors import InvalidRequest, Problems
from tashictl.model.host import HostConfig
from tashictl.model.inventory import Inventory
from tashictl.planning.inventory import host_entry, host_yaml, load, parse

EXAMPLE = Path(__file__).parents[2] / "inventory" / "example.yaml"


def hosts(*texts: str) -> dict[str, HostConfig]:
    return {h.name: h for h in load((f"{n}.yaml", t) for n, t in enumerate(texts)).hosts}


def said(*texts: str) -> list[str]:
    _, problems = parse((f"{n}.yaml", t) for n, t in enumerate(texts))
    return [f"{p.what} [{p.hint}]" if p.hint else p.what for p in problems]


def test_the_shipped_example_is_right_and_says_what_its_comments_say() -> None:
    inventory = load([("example.yaml", EXAMPLE.read_text())])
    by_name = {h.name: h for h in inventory.hosts}
    assert list(by_name) == [
        *("node1", "node2", "node3", "node4", "node5"),
        *("node06", "node07", "node08", "node09", "edge1"),
    ]
    assert by_name["node3"].address == "10.77.0.3"
    assert by_name["node3"].uplink == "enp3s0"
    assert by_name["node1"].uplink == "eth0"
    assert (by_name["node07"].memory_mib, by_name["node07"].cores) == (12288, 4)
    assert (by_name["edge1"].become, by_name["edge1"].networks) == (True, ("lan",))
    assert [n.id for n in inventory.networks] == [1, 999, 1001, 2000]
    assert [n.bridge for n in inventory.networks] == ["vmbr", "vmbr.999", "vmbr.1001", None]


def test_a_hosts_own_keys_win_over_groups_in_order_and_those_over_defaults() -> None:
    text = """
defaults: {user: d, port: 1, rack: d, cores: 1}
groups: {a: {port: 2, rack: a, cores: 2}, b: {rack: b, cores: 3}}
hosts: {h: {groups: [a, b], cores: 4}}
"""
    host = hosts(text)["h"]
    assert (host.user, host.port, host.rack, host.cores) == ("d", 2, "b", 4)
    assert host.groups == ("a", "b")


def test_the_address_of_a_host_is_its_name_where_none_is_given() -> None:
    assert hosts("hosts: {h1: , h2: {}, h3: {address: 10.0.0.3}}") == {
        "h1": HostConfig(name="h1", address="h1"),
        "h2": HostConfig(name="h2", address="h2"),
        "h3": HostConfig(name="h3", address="10.0.0.3"),
    }


def test_null_takes_a_default_away() -> None:
    assert hosts("{defaults: {uplink: eth0}, hosts: {h: {uplink: null}}}")["h"].uplink is None


def test_a_later_files_host_wins_as_a_whole_and_keeps_its_place() -> None:
    found = hosts("hosts: {h1: {port: 1, cores: 8}, h2: }", "hosts: {h1: {port: 2}, h3: }")
    assert list(found) == ["h1", "h2", "h3"]
    assert (found["h1"].port, found["h1"].cores) == (2, None)


def test_defaults_and_groups_of_one_file_hold_for_the_hosts_of_another() -> None:
    found = hosts("hosts: {h: {groups: g}}", "groups: {g: {rack: r}}", "defaults: {user: u}",
                  "defaults: {port: 9}", "", "# nothing\n", "hosts:\n")["h"]  # fmt: skip
    assert (found.rack, found.user, found.port) == ("r", "u", 9)


def test_a_host_may_have_a_name_that_yaml_takes_for_a_boolean_or_a_date() -> None:
    assert set(hosts("hosts: {no: , on: {}, 2026-01-01: }")) == {"no", "on", "2026-01-01"}


def test_json_with_tabs_is_read_too() -> None:
    assert hosts('{"hosts":\n\t{"h": {"port": 22, "become": true, "rack": null}}}')["h"].become


def test_networks_of_a_host_are_given_by_name_or_id() -> None:
    text = "{hosts: {h: {networks: [2, lan]}}, networks: [{id: 1, name: lan}, {id: 2, name: b}]}"
    assert hosts(text)["h"].networks == ("b", "lan")


BAD = """\
defaults: {usr: root, port: 70000, uplink: averylonguplinkname}
grops: {}
hosts:
  Node1: {address: 1.2.3.400}
  node2: {memory: 1.5K, groups: [rock], networks: [lon], cores: 0, transport: ssh, become: maybe}
  node3: {address: -oProxyCommand=x, rack: yes, user: "a b", accel: xen, arch: vax}
  node4: [1]
  node[5-6]:
    port:
    address: "10.0.0.[1-3]"
    cores: [1]
    scratch_dir: ../tmp
  node5: {}
  "node[9-7]": {}
groups:
  g: {groups: [g], address: "a[1-2]"}
networks: []
"""


def test_every_mistake_is_named_at_once_with_file_line_and_the_nearest_key() -> None:
    name_rule = "[a name is a-z 0-9 and -, 1 to 63, not only digits]"
    assert said(BAD) == [
        "defaults: no key 'usr', 0.yaml:1 [did you mean user?]",
        "defaults: port: 70000 is not within 1 and 65535, 0.yaml:1",
        "defaults: uplink: 'averylonguplinkname' is longer than 15, which Linux allows, 0.yaml:1",
        "no key 'grops', 0.yaml:2 [did you mean groups?]",
        "host Node1: address: '1.2.3.400' does not appear to be an IPv4 or IPv6 address, 0.yaml:4",
        f"'Node1' is no host name, 0.yaml:4 {name_rule}",
        "host node2: memory: '1.5K' is no whole number of MiB, 0.yaml:5",
        "host node2: cores: 0 is not within 1 and 65536, 0.yaml:5",
        "host node2: transport: 'ssh': did you mean openssh?, 0.yaml:5",
        "host node2: become: 'maybe' is neither true nor false, 0.yaml:5",
        "host node3: address: '-oProxyCommand=x' is no host name or address, 0.yaml:6",
        "host node3: rack: 'yes' is no text: put it in quotes if you mean it, 0.yaml:6",
        "host node3: user: 'a b' is no login name, 0.yaml:6",
        "host node3: accel: 'xen': known: auto, kvm, tcg, 0.yaml:6",
        "host node3: arch: 'vax': known: x86_64, aarch64, riscv64, ppc64le, s390x, 0.yaml:6",
        "host node4 is no mapping, 0.yaml:7 [write key: value]",
        "host node[5-6]: port: it has no value, 0.yaml:9",
        "host node[5-6]: cores: one value is wanted, not a list or mapping, 0.yaml:11",
        "host node[5-6]: scratch_dir: '../tmp' is no absolute path without .., 0.yaml:12",
        "address 10.0.0.[1-3] stands for 3, the name for 2, 0.yaml:10",
        "host node5 is there twice, first in 0.yaml:8, 0.yaml:13",
        "host 'node[9-7]': '9-7' runs backwards or is too long, 0.yaml:14",
        "group g: no key 'groups', 0.yaml:16 [known: address, user, port, transport, "
        "identity_file, become, uplink, networks, host_addresses, style, rack, "
        "cores, memory, reserved_memory, accel, scratch_dir, arch]",
        "group g: an address with a range needs a host with a range, 0.yaml:16",
        "host node2: no group 'rock', 0.yaml:5 [known: g]",
        "host node2: no network 'lon', 0.yaml:5 [there are no networks]",
    ]


def test_load_raises_all_mistakes_with_exit_code_2() -> None:
    with pytest.raises(Problems) as caught:
        load([("a", "x: 1\ny: 2")])
    assert len(caught.value.problems) == 2
    assert caught.value.code_for_exit == 2
    with pytest.raises(InvalidRequest):
        load([("a", "x: 1")])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: b: c", "no YAML: mapping values are not allowed in this context, 0.yaml:1"),
        ("hosts:\n\t- b", "no YAML: found character that cannot start any token"),
        ("hosts: [1,\n2", "no YAML: did not find expected ',' or ']'"),
        ("hosts:\n\0", "no YAML: a character that is not allowed, 0.yaml:2"),
        ("hosts: {}\n---\nhosts: {}", "a second document, 0.yaml:2"),
        ("hosts: {h: {}}\n\n'hosts': {i: {}}", "'hosts' is there twice, first in 0.yaml:1"),
        ("hosts: !!python/object/apply:os.system [x]", "the tag tag:yaml.org,2002:python/object"),
        ("hosts: !x {}", "the tag !x, 0.yaml:1"),
        ("hosts:\n  a: &x {}\n  b: *x", "the alias *x, 0.yaml:3"),
        ("hosts: &a {b: *a}", "the alias *a, 0.yaml:1"),
        ("hosts:\n  h:\n    ? [a]\n    : b", "a key that is no word, 0.yaml:3"),
        ("[1]", "no inventory, 0.yaml:1"),
        ("hosts: [h]", "hosts is no mapping, 0.yaml:1"),
        ("hosts: " + "[" * 100_000, "more than 16 levels, 0.yaml:1"),
        ("hosts: {'h[0-99999][0-99999]': }", "it stands for more than 10000, 0.yaml:1"),
        ("hosts: {'" + "[1]" * 100 + "': }", "it is longer than 255, 0.yaml:1"),
    ],
)
def test_text_that_is_no_inventory_gives_one_clear_error(text: str, problem: str) -> None:
    (found,) = said(text)
    assert problem in found


def test_an_alias_bomb_is_refused_at_once() -> None:
    rows = [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 30)]
    problems = said("a0: &a0 [x]\n" + "\n".join(rows))
    assert sum("the alias" in p for p in problems) == 29 * 9


def test_what_a_file_that_cannot_be_read_may_hold_is_not_missed() -> None:
    assert said("hosts: {h: {groups: [g], networks: [n]}}", "groups: {g: !x {}}") == [
        "the tag !x, 1.yaml:1 [tags are not used: leave it out]"
    ]


@given(st.text(max_size=80))
@example("\ud800")
@example('"\\ud83d"')
@example("%YAML 9.9\n---\n")
def test_arbitrary_text_gives_an_inventory_or_our_errors(text: str) -> None:
    inventory, problems = parse([("x.yaml", text)])
    assert isinstance(inventory, Inventory)
    assert all(p.code == "E-INVENTORY" for p in problems)


SCALARS = st.sampled_from(
    ["null", "true", "1", "-1", "1.5", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "::1", "h[1-3]", "'a b'",
     "node", "2026-01-01", "''", "eth0", "1G", "dhcp", "{}", "[]", "[[1]]", "{a: 1}", "lan",
     "[lan]"]
)  # fmt: skip
KEYS = st.sampled_from(
    ["address", "user", "port", "networks", "groups", "memory", "id", "name", "vlan", "cidr", "dns",
     "range", "range6", "gateway", "exclude", "mtu", "default", "vxlan", "mode", "host_address",
     "bridge", "uplink"]
)  # fmt: skip
BODIES = st.dictionaries(KEYS, SCALARS, max_size=6).map(
    lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"
)


@given(
    defaults=st.one_of(BODIES, SCALARS),
    group=BODIES,
    found=st.lists(st.tuples(SCALARS, BODIES), max_size=3, unique_by=lambda t: t[0]),
    networks=st.lists(BODIES, max_size=3),
)
def test_arbitrary_yaml_of_our_keys_gives_an_inventory_or_our_errors(
    defaults: str, group: str, found: list[tuple[str, str]], networks: list[str]
) -> None:
    text = f"defaults: {defaults}\ngroups: {{lan: {group}}}\nhosts:\n"
    text += "".join(f"  ? {name}\n  : {body}\n" for name, body in found)
    text += "networks:\n" + "".join(f"  - {body}\n" for body in networks)
    inventory, problems = parse([("x.yaml", text)])
    assert all(".yaml:" in p.what for p in problems)
    if not problems:
        assert len({n.id for n in inventory.networks}) == len(networks)


def test_what_host_add_writes_is_read_back() -> None:
    keys: dict[str, str | int | bool] = {
        "address": "fe80::1%eth0", "user": "yes", "port": 2222, "become": True,
        "rack": "a: {b} # \u00e9", "uplink": "eth0",
    }  # fmt: skip
    text = host_yaml("no", keys)
    assert text == (
        'hosts:\n  "no": {address: "fe80::1%eth0", user: "yes", port: 2222, become: true, '
        'rack: "a: {b} # \\u00e9", uplink: eth0}\n'
    )
    host = hosts(text)["no"]
    assert (host.address, host.user, host.port) == ("fe80::1%eth0", "yes", 2222)
    assert (host.become, host.rack) == (True, "a: {b} # \u00e9")
    assert host_entry("node1", {"address": "h.example"}) == "  node1: {address: h.example}\n"


@pytest.mark.parametrize("name", ["../x", "A", "12", "", "a b"])
def test_host_add_writes_no_bad_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no host name"):
        host_yaml(name, {})
