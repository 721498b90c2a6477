"""`net list` and `net render`: no host is asked; every problem at once."""

import json
import os
import stat
from pathlib import Path

import pytest

from tashictl.cli import net_list
from tashictl.model.network import Network
from tashictl.model.state import Meta, Quarantined, State
from tests.cli.office import CREATE, Office
from tests.ops.test_host import answer

INVENTORY = """\
defaults: {user: root, uplink: eth0}
hosts:
  node1: {address: 10.77.0.1}
  node2: {address: 10.77.0.2, style: networkd, networks: [lan]}
networks:
  - {id: 1, name: lan, bridge: vmbr, default: true, host_address: dhcp}
  - {id: 999, name: cluster, vlan: 999, bridge: vmbr.999, range: 172.16.1.10-172.16.1.19,
     host_address: none, mtu: 9000}
"""


@pytest.fixture
def site(office: Office) -> Office:
    (office.folder / "inventory" / "lab.yaml").write_text(INVENTORY)
    return office


def own_template(site: Office, name: str, text: str, host: str = "") -> None:
    folder = site.folder / "templates" / (f"hosts/{host}" if host else "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_networks_are_listed_with_what_is_used_and_where_they_are(site: Office) -> None:
    asked = len(site.remote.asked)

    assert site.ok("net", "list").out == (
        "  ID  NAME     VLAN  BRIDGE    MODE    CIDR  USED  FREE  DEFAULT\n"
        "   1  lan         –  vmbr      bridge  –        –     –  default\n"
        " 999  cluster   999  vmbr.999  bridge  –        0    10\n"
    )
    wide = site.ok("net", "list", "-o", "wide").out.splitlines()
    assert "MTU  HOST ADDRESS  DHCP  HOSTS" in wide[0]
    assert wide[2].split()[-4:] == ["9000", "none", "none", "node1"]
    record = site.ok("net", "list", "-o", "json").json()[0]
    assert (record["host_address"], record["hosts"]) == ("dhcp", ["node1", "node2"])
    assert site.ok("net", "list", "node2", "-o", "name").out == "lan\n"
    assert site.run("net", "list", "nobody").code == 3
    assert len(site.remote.asked) == asked


def test_addresses_in_quarantine_are_not_free() -> None:
    network = Network(id=9, name="nine", range="192.0.2.10-192.0.2.19")
    kept = Quarantined(network=9, ip="192.0.2.10", until="2026-03-01T12:00:00Z", why="gone")
    past = Quarantined(network=9, ip="192.0.2.11", until="2026-03-01T10:00:00Z", why="gone")
    state = State(meta=Meta(cluster="0123456789ab"), quarantine={"a": kept, "b": past})
    inventory = net_list.Inventory(networks=(network,))

    (use,) = net_list.uses(state, inventory, "2026-03-01T11:00:00Z")

    assert (use.used, use.free) == (1, 9)


def test_files_are_printed_below_their_paths_and_no_host_is_asked(site: Office) -> None:
    asked = len(site.remote.asked)
    done = site.ok("net", "render", "node1")

    heads = [line for line in done.out.splitlines() if line.startswith("== ")]
    assert heads == [
        "== node1:/etc/network/interfaces  0644 ifupdown",
        "== node1:/etc/network/interfaces.d/tashi  0644 ifupdown",
        "== node1:/etc/qemu-ifup.1  0755 ifupdown",
        "== node1:/etc/qemu-ifup.999  0755 ifupdown",
        "== node1:/etc/qemu-ifdown  0755 ifupdown",
    ]
    assert "\niface vmbr inet dhcp\n    bridge_ports eth0\n" in done.out
    assert done.err == ""
    assert "\x1b[" in site.ok("net", "render", "node1", "--color", "always").out
    assert len(site.remote.asked) == asked


def test_programs_read_host_path_mode_and_text(site: Office) -> None:
    records = site.ok("net", "render", "-o", "json").json()

    assert {r["host"] for r in records} == {"node1", "node2"}
    assert set(records[0]) == {"host", "path", "mode", "text"}
    by_path = {r["path"]: r for r in records if r["host"] == "node2"}
    assert by_path["/etc/qemu-ifup.1"]["mode"] == "0755"
    assert "Bridge=vmbr\n" in by_path["/etc/systemd/network/05-tashi-eth0.network"]["text"]
    assert site.ok(
        "net", "render", "node2", "--style", "legacy", "-o", "name"
    ).out.splitlines() == [
        "node2:/etc/network/interfaces",
        "node2:/etc/qemu-ifup.1",
        "node2:/etc/qemu-ifdown",
    ]


def test_a_network_without_host_address_in_the_uplinks_place_is_pointed_out(site: Office) -> None:
    text = INVENTORY.replace(", host_address: dhcp", "")
    (site.folder / "inventory" / "lab.yaml").write_text(text)

    done = site.ok("net", "render")

    assert "node1, node2: no address on lan" in done.err


def test_files_are_written_below_a_folder_and_follow_what_is_wanted(site: Office) -> None:
    to = site.home / "out"
    umask = os.umask(0o077)
    try:
        assert "wrote 10 files of 2 hosts" in site.ok("net", "render", "--to", str(to)).out
    finally:
        os.umask(umask)

    script = to / "node1/etc/qemu-ifup.999"
    assert stat.S_IMODE(script.stat().st_mode) == 0o755
    assert stat.S_IMODE((to / "node1/etc/network/interfaces").stat().st_mode) == 0o644
    site.ok("net", "render", "node1", "--style", "networkd", "--to", str(to))
    assert not [p for p in (to / "node1/etc/network").rglob("*") if p.is_file()]
    assert script.exists()


def test_a_file_that_is_not_ours_is_left_alone_and_nothing_is_written(site: Office) -> None:
    to = site.home / "out"
    (to / "node1/etc/network").mkdir(parents=True)
    (to / "node1/etc/network/interfaces").write_text("of somebody\n")
    (to / "node1/etc/mine").write_text("kept\n")

    done = site.run("net", "render", "--to", str(to), "-o", "json")

    assert (done.code, done.error["code"]) == (5, "E-EXISTS")
    assert {p.name for p in to.rglob("*") if p.is_file()} == {"interfaces", "mine"}
    (to / "node1/etc/network/interfaces").unlink()
    site.ok("net", "render", "--to", str(to))
    assert (to / "node1/etc/mine").read_text() == "kept\n"


def test_a_dry_run_writes_nothing(site: Office) -> None:
    to = site.home / "out"
    done = site.ok("net", "render", "node1", "--to", str(to), "--dry-run")

    assert f"would write {to}/node1/etc/network/interfaces\n" in done.out
    assert "nothing was changed" in done.out
    assert not to.exists()


def test_templates_of_the_cluster_and_of_a_host_go_first(site: Office) -> None:
    own_template(site, "qemu-ifup.j2", "#!/bin/sh\n# of the cluster\n")
    own_template(site, "qemu-ifup.j2", "#!/bin/sh\n# of node2\n", "node2")
    texts = {
        r["host"]: r["text"]
        for r in site.ok("net", "render", "-o", "json").json()
        if r["path"] == "/etc/qemu-ifup.1"
    }

    assert "# of the cluster" in texts["node1"]
    assert "# of node2" in texts["node2"]
    for name in ("node1", "node2"):
        site.remote.probes[name] = answer()
    words = [*CREATE, "--host", "node2", "--dry-run", "--debug"]
    assert "# of node2" in site.ok(*words).out  # the same when a VM starts there


def test_every_host_that_cannot_be_rendered_is_told(site: Office) -> None:
    own_template(site, "interfaces.ifupdown.j2", "a\n{{ nothing }}\n")
    own_template(site, "networkd.netdev.j2", "{% if %}", "node2")

    done = site.run("net", "render")

    assert (done.code, done.out) == (2, "")
    assert "template interfaces.ifupdown.j2, line 2, cannot be rendered for node1" in done.err
    assert "template networkd.netdev.j2, line 1, cannot be rendered for node2" in done.err


def test_a_template_that_cannot_be_read_is_told_once(site: Office) -> None:
    folder = Path(site.folder) / "templates"
    folder.mkdir()
    (folder / "interfaces.legacy.j2").write_bytes(b"\xff\xfe")

    done = site.run("net", "render", "-o", "json")

    assert done.code == 2
    assert json.loads(done.err)["error"]["message"].count("cannot be read") == 1


@pytest.mark.parametrize("more", [("--filter", "host=node1"), ("-c", "host"), ("--style", "x")])
def test_what_render_does_not_take_is_refused(site: Office, more: tuple[str, ...]) -> None:
    assert site.run("net", "render", *more).code == 2
