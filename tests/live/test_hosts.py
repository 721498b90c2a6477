"""Hosts: how they come into a cluster, and users who must become root first."""

from collections.abc import Iterator

import pytest

from tests.live import invariants
from tests.live.lab import cluster as clusters
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Tashictl


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Two hosts."""
    with Lab(2) as raised:
        yield raised


@pytest.fixture
def fresh(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tashictl]:
    """A cluster with an inventory and no host yet; the hosts are wiped behind it."""
    directory = tmp_path_factory.mktemp("hosts") / "cluster"
    made = clusters.init_cluster(lab, directory, tashictl_argv)
    with (directory / "Tashi.cfg").open("a", encoding="utf-8") as handle:
        handle.write("connectTimeout = 2\n")
    clusters.write_inventory(directory, lab)
    yield made
    for host in lab.hosts:
        host.heal()
        host.wipe()


def use(fresh: Tashictl, lab: Lab, user: str, *, become: bool = True) -> None:
    """The inventory with another login."""
    path = clusters.write_inventory(fresh.cluster, lab, user=user)
    if not become:
        text = path.read_text(encoding="utf-8").replace(", become: true", "")
        path.write_text(text, encoding="utf-8")


def test_a_host_is_added_only_with_its_fingerprint(lab: Lab, fresh: Tashictl) -> None:
    host, add = lab.host("h1"), ("host", "add", "h1", "-o", "json")
    before = host.snapshot()
    error = invariants.refused(fresh.run(*add, check=False), 2, host.host_key_fingerprint)
    assert "--fingerprint" in error["hint"]
    invariants.refused(fresh.run(*add, "-y", check=False), 2)
    wrong = lab.host("h2").host_key_fingerprint
    invariants.refused(fresh.run(*add, "--fingerprint", wrong, check=False), 7, "h1")
    assert host.snapshot() == before
    assert fresh.run("host", "list", "-o", "json").json() == []
    added = fresh.run(*add, "--fingerprint", host.host_key_fingerprint).json()
    assert (added["name"], added["state"], added["up"]) == ("h1", "Normal", True)
    assert added["version"].startswith("7.2")
    again = fresh.run(*add).json()
    assert again["id"] == added["id"]
    assert fresh.run("host", "show", "h1", "-o", "json").json() == again


def test_a_host_outside_the_inventory_is_written_into_it(lab: Lab, fresh: Tashictl) -> None:
    (fresh.cluster / "inventory/lab.yaml").write_text(
        f"defaults: {{identity_file: {lab.key}}}\n"
        "networks:\n  - {id: 1, name: lan, bridge: vmbr, default: true}\n",
        encoding="utf-8",
    )
    host = lab.host("h2")
    argv = ("--address", host.address, "--fingerprint", host.host_key_fingerprint)
    assert fresh.run("host", "add", "h2", *argv, "-o", "json").json()["address"] == host.address
    assert host.address in (fresh.cluster / "inventory/h2.yaml").read_text(encoding="utf-8")
    error = ("host", "add", "h2", "--address", "10.0.0.1", "-o", "json")
    invariants.refused(fresh.run(*error, check=False), 2, "h2")


def test_a_host_that_two_clusters_want_belongs_to_the_first(
    lab: Lab,
    fresh: Tashictl,
    tashictl_argv: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    clusters.add_host(fresh, lab.host("h1"))
    directory = tmp_path_factory.mktemp("second") / "cluster"
    second = clusters.init_cluster(lab, directory, tashictl_argv)
    clusters.write_inventory(directory, lab)
    add = ("host", "add", "h1", "--fingerprint", lab.host("h1").host_key_fingerprint, "-o", "json")
    error = invariants.refused(second.run(*add, check=False), 7)
    assert error["code"] == "E-FOREIGN"
    assert second.run("host", "list", "-o", "json").json() == []


def test_check_names_what_a_host_lacks(lab: Lab, fresh: Tashictl) -> None:
    for host in lab.hosts:
        clusters.add_host(fresh, host)
    assert fresh.run("host", "check").rc == 0
    lab.host("h1").run(
        "ip link set vmbr name gone0 2>/dev/null || "
        "{ ip link set vmbr down; ip link set vmbr name gone0; }",
        check=True,
    )
    lab.host("h2").pause_network()
    result = fresh.run("host", "check", "-o", "json", check=False)
    lab.host("h1").run("ip link set gone0 down; ip link set gone0 name vmbr; ip link set vmbr up")
    assert result.rc == 9
    bad = {one["host"]: one for one in result.json() if not one["ok"]}
    assert {name: one["check"] for name, one in bad.items()} == {"h1": "bridge vmbr", "h2": "reach"}
    assert bad["h1"]["remedy"].startswith("ip link add name vmbr type bridge")


def test_check_says_what_a_login_without_root_needs(lab: Lab, fresh: Tashictl) -> None:
    clusters.add_host(fresh, lab.host("h1"))
    use(fresh, lab, "noroot")
    result = fresh.run("host", "check", "h1", "-o", "json", check=False)
    assert result.rc == 6
    (reach,) = result.json()
    assert (reach["check"], reach["ok"]) == ("reach", False)
    assert "noroot ALL=(root) NOPASSWD: ALL" in reach["remedy"]
    use(fresh, lab, "noroot", become=False)
    result = fresh.run("host", "check", "h1", "-o", "json", "--filter", "ok=false", check=False)
    assert result.rc == 9
    assert [one["check"] for one in result.json()] == [
        *("login", "tap", "folder lib", "folder run", "folder images"),
    ]
    use(fresh, lab, "ops")
    (login,) = fresh.run("host", "check", "h1", "-o", "json", "--filter", "check=login").json()
    assert (login["ok"], login["seen"]) == (True, "ops, root by sudo")


@pytest.mark.parametrize("user", ["root", "ops"])
def test_a_vm_lives_and_goes_whoever_logs_in(lab: Lab, fresh: Tashictl, user: str) -> None:
    use(fresh, lab, user)
    for host in lab.hosts:
        clusters.add_host(fresh, host)
    clusters.import_image(fresh, invariants.blank_image(fresh.home))
    made = fresh.run("vm", "create", "v1", "--disk", invariants.IMAGE, "-o", "json").json()
    assert made["state"] == "Running"
    assert invariants.complaints(lab, fresh) == []
    kill = {"TASHICTL_FAULT": "StartQemu:after:kill"}
    fresh.run("vm", "create", "v2", "--disk", invariants.IMAGE, env=kill, check=False)
    fresh.run("vm", "destroy", "v[1-2]", "-y")
    assert invariants.complaints(lab, fresh) == []
    assert all(observe(host).qemus == () for host in lab.hosts)


@pytest.mark.parametrize(("user", "become"), [("noroot", True), ("noroot", False)])
def test_a_user_who_may_not_become_root_is_told_so(
    lab: Lab, fresh: Tashictl, user: str, become: bool
) -> None:
    use(fresh, lab, user, become=become)
    host = lab.host("h1")
    before = host.snapshot()
    add = ("host", "add", "h1", "--fingerprint", host.host_key_fingerprint, "-o", "json")
    result = fresh.run(*add, check=False)
    assert result.rc in (1, 6), str(result)
    error = invariants.refused(result, result.rc, "h1")
    assert ("sudo" if become else "not permitted") in f"{error}".lower(), error
    assert host.snapshot() == before
