"""QEMU under a user of its own, after `host setup`: all verbs work as they did."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import bare, invariants
from tests.live.lab import cluster as clusters
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

CONFIG = "connectTimeout = 10\nlockTimeout = 5\n"
AS_QEMU = "setpriv --reuid=tashi-qemu --regid=tashi-qemu --init-groups"
Vm = dict[str, Any]


@pytest.fixture(scope="module", params=["root", "ops"])
def login(request: pytest.FixtureRequest) -> str:
    """Who logs in: root, or one who becomes root."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def lab(machine: None, login: str) -> Iterator[Lab]:
    """One host, which is left as it is: it goes with the lab."""
    with Lab(1) as raised:
        yield raised


@pytest.fixture
def host(lab: Lab) -> Host:
    """The one host."""
    return lab.host("h1")


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, login: str, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster with the host, whose images nobody but root may read."""
    directory = tmp_path_factory.mktemp("qemu") / "cluster"
    made = clusters.init_cluster(lab, directory, tashictl_argv)
    with (directory / "Tashi.cfg").open("a", encoding="utf-8") as handle:
        handle.write(CONFIG)
    clusters.write_inventory(directory, lab, user=login)
    host = lab.host("h1")
    clusters.add_host(made, host)
    for name in (invariants.IMAGE, "sub/data.img"):
        path = invariants.blank_image(made.home, Path(name).name)
        made.run("image", "import", str(path), "--name", name)
    host.run(
        "cd /var/lib/tashi/shared/images && chmod 600 *.img sub/* && chmod 700 sub", check=True
    )
    return made


def create(cluster: Tashictl, name: str, *more: str, image: str = invariants.IMAGE) -> Vm:
    argv = ("vm", "create", name, "--disk", image, *more, "-o", "json")
    made: Vm = cluster.run(*argv).json()
    return made


def user_of(host: Host, vm: Vm) -> str:
    """Whom its QEMU runs as."""
    return host.run(f"stat -c %U /proc/{vm['pid']}", check=True).stdout.strip()


def run_folder(host: Host, vm: Vm) -> str:
    (found,) = (host.root / "run/tashi").glob(f"*/{vm['uuid']}")
    return f"/{found.relative_to(host.root)}"


def pid_of(cluster: Tashictl, name: str) -> Vm:
    found = invariants.record(cluster, name)
    assert found is not None
    return found


def test_a_vm_from_before_setup_runs_as_root_and_after_it_as_the_user(
    cluster: Tashictl, host: Host
) -> None:
    old = create(cluster, "old")
    assert user_of(host, old) == "root"

    cluster.run("host", "setup", "h1", "-y")

    cluster.run("vm", "pause", "old")
    cluster.run("vm", "unpause", "old")
    host.run(f"kill -9 {old['pid']}", check=True)
    cluster.run("host", "check", "h1", check=False)
    cluster.run("vm", "start", "old")
    assert user_of(host, pid_of(cluster, "old")) == "tashi-qemu"
    cluster.run("vm", "destroy", "old", "-y")


def test_every_verb_works_with_a_qemu_that_may_nothing(
    cluster: Tashictl, lab: Lab, host: Host, login: str
) -> None:
    made = create(cluster, "v1", "--ssh-key", str(lab.key.with_suffix(".pub")))

    assert user_of(host, made) == "tashi-qemu"
    status = host.run(f"cat /proc/{made['pid']}/status").stdout
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    where = run_folder(host, made)
    assert host.run(f"stat -c '%U %G %a' {where} {where}/qmp.sock").stdout.splitlines() == [
        f"root {login} 2750",
        f"tashi-qemu {login} 770",
    ]
    cluster.run("vm", "pause", "v1")
    cluster.run("vm", "unpause", "v1")
    cluster.run("vm", "reset", "v1")
    cluster.run("vm", "console", "v1", "--log")
    assert cluster.run("sweep").out == ""
    assert pid_of(cluster, "v1")["state"] == "Running"
    cluster.run("vm", "destroy", "v1", "-y")
    assert invariants.traces(host) == []


def test_what_root_runs_and_writes_is_out_of_its_reach(cluster: Tashictl, host: Host) -> None:
    made = create(cluster, "v1")
    where = run_folder(host, made)
    folder = str(Path(made["disks"][0]["path"]).parent)

    for text in (
        f"echo x >>{where}/launch",
        f"rm -f {where}/launch",
        f"ln -sf /etc/passwd {where}/ended",
        f"mv {where}/qmp.sock {where}/other",
        f"touch {where}/new {folder}/new",
        f"rm -f {folder}/manifest.json",
        f"cat {folder}/manifest.json",
        f"echo x >>{folder}/qemu.log",
        f"echo x >>/var/lib/tashi/shared/images/{invariants.IMAGE}",
        "ls /var/lib/tashi/shared/images",
    ):
        assert host.run(f"{AS_QEMU} sh -c '{text}'").returncode != 0, text
    assert host.run(f"{AS_QEMU} sh -c ': >>{made['disks'][0]['path']}'").returncode == 0
    cluster.run("vm", "destroy", "v1", "-y")


def test_a_persistent_disk_below_a_closed_folder_is_lent(cluster: Tashictl, host: Host) -> None:
    made = create(cluster, "v1", "--disk", "sub/data.img:persistent")

    assert user_of(host, made) == "tashi-qemu"
    modes = host.run("cd /var/lib/tashi/shared/images && stat -c '%U %G %a' sub/data.img *.img")
    assert modes.stdout.splitlines() == ["root tashi-qemu 660", "root tashi-qemu 640"]
    cluster.run("vm", "destroy", "v1", "-y")


def test_a_tap_that_another_user_has_left_is_made_anew(cluster: Tashictl, host: Host) -> None:
    made = create(cluster, "v1")
    host.run(f"kill -9 {made['pid']}", check=True)
    cluster.run("host", "check", "h1", check=False)
    tap = f"tashi{made['id']}.0"
    host.run(f"ip link del {tap}; ip tuntap add dev {tap} mode tap", check=True)

    cluster.run("vm", "start", "v1")

    assert user_of(host, pid_of(cluster, "v1")) == "tashi-qemu"
    cluster.run("vm", "destroy", "v1", "-y")


def test_a_folder_that_the_user_may_not_pass_is_told_with_the_remedy(
    cluster: Tashictl, host: Host
) -> None:
    host.run("chmod 700 /var/lib/tashi/shared", check=True)
    failed = cluster.run(
        "vm", "create", "v1", "--disk", invariants.IMAGE, "-o", "json", check=False
    )
    error = invariants.refused(failed, 1, "h1")
    assert "tashi-qemu may not use" in error["cause"]
    assert "host setup" in error["cause"]
    (one,) = cluster.run("host", "setup", "h1", "-y", "-o", "json").json()
    assert one["changes"] == ["opened /var/lib/tashi/shared for tashi-qemu to pass through"]
    create(cluster, "v1")
    cluster.run("vm", "destroy", "v1", "-y")


def test_a_host_with_vms_keeps_the_user_and_one_without_gives_it_back(
    cluster: Tashictl, host: Host
) -> None:
    create(cluster, "v1")
    invariants.refused(
        cluster.run("host", "remove", "h1", "-y", "-o", "json", check=False), 5, "v1"
    )
    assert host.run("id tashi-qemu").returncode == 0
    cluster.run("vm", "destroy", "v1", "-y")

    cluster.run("host", "remove", "h1", "-y")

    assert host.run("id tashi-qemu").returncode != 0
    left = [p for p in bare.disk(host) if "tashi" in p and p != "/var/lib/tashi"]
    assert left == []
