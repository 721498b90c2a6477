"""`init --local` as a user without any rights: a cluster of one machine, without SSH and `ip`."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.hermit import UID, Hermit
from tests.live.lab import cluster as clusters
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

BOOT_S = 90
DEMO = ("--disk", "demo.qcow2", "--memory", "128M")


@pytest.fixture(scope="module")
def user(tashictl_argv: list[str]) -> Iterator[Hermit]:
    with Hermit(tashictl_argv, hidden=("ip", "brctl")) as made:
        yield made


@pytest.fixture(scope="module")
def cluster(user: Hermit, guest_image: Path) -> Hermit:
    """The user with a cluster of this machine that has the demo image."""
    user.tashictl("init", "--local")
    copy = user.home / "demo.qcow2"
    copy.write_bytes(guest_image.read_bytes())
    user.tashictl("image", "import", str(copy))
    return user


def test_what_is_missing_is_told_and_nothing_is_made(tashictl_argv: list[str]) -> None:
    with Hermit(tashictl_argv, hidden=("qemu-system-x86_64", "qemu-img")) as user:
        for dry in ((), ("--dry-run",)):
            done = user.tashictl("init", "--local", *dry, rc=9)
            assert "apt-get install qemu-system-x86 qemu-utils" in done.err
            assert "nothing was made" in done.err
        assert (user.files(user.home), user.files(user.runtime)) == ([], [])


def test_a_dry_run_makes_nothing(user: Hermit) -> None:
    dry = user.tashictl("init", "dry", "--local", "--dry-run")

    assert f"{user.state}, {user.runtime}/tashi" in dry.out
    assert not (user.home / "dry").exists()
    assert not (user.runtime / "tashi").exists() or (user.home / ".tashi").exists()


def test_a_machine_belongs_to_one_cluster_and_is_fit_without_ip(cluster: Hermit) -> None:
    cluster.tashictl("init", "--local", rc=5)
    other = cluster.tashictl("init", "--local", "other", rc=7)
    assert "E-FOREIGN" in other.err
    assert not (cluster.home / "other").exists()

    found = cluster.tashictl("host", "check", "-o", "json").json()
    assert found and all(one["ok"] for one in found), found
    image = cluster.state / "shared/images/demo.qcow2"
    assert (image.stat().st_uid, cluster.state.stat().st_mode & 0o777) == (UID, 0o700)
    assert not cluster.sh("command -v ip").stdout
    (record,) = cluster.tashictl("host", "list", "-o", "json").json()
    assert (record["accel"], record["state"]) == ("tcg", "Normal")


def test_two_at_once_pass_a_taken_port_and_leave_nothing(cluster: Hermit) -> None:
    # A process that no probe has seen holds the second port of the range.
    listener = "import socket,time; s=socket.create_server(('127.0.0.1',22001)); time.sleep(300)"
    python = f"{shlex.quote(sys.executable)} -c {shlex.quote(listener)}"
    cluster.sh(f"{python} </dev/null >/dev/null 2>&1 & sleep 0.3")
    create = shlex.join([*cluster.argv, "vm", "create", *DEMO])
    both = cluster.sh(f"({create} web1 & {create} web2 & wait) 2>&1").stdout

    vms = cluster.tashictl("vm", "list", "-o", "json").json()
    assert [vm["state"] for vm in vms] == ["Running", "Running"], both
    assert sorted(vm["nics"][0]["ssh_port"] for vm in vms) == [22000, 22002], both
    assert "ssh -p 22000 root@127.0.0.1" in both
    assert "127.0.0.1:22002" in cluster.tashictl("vm", "list").out
    for process in cluster.qemus():
        status = (process / "status").read_text(encoding="utf-8")
        assert re.search(rf"^Uid:\s+{UID}\s", status, re.M) and "Seccomp:\t2" in status

    # As the last logout does where systemd runs the machine: the QEMU is found all the same.
    (lost,) = cluster.runtime.glob(f"tashi/*/{vms[0]['uuid']}")
    cluster.sh(f"rm -r {lost}")
    cluster.tashictl("vm", "destroy", "web[1-2]", "-y")
    assert_bare(cluster)


def test_a_killed_create_is_destroyed_without_a_trace(cluster: Hermit) -> None:
    fault = "TASHICTL_FAULT=StartQemu:after:kill"
    cluster.tashictl("vm", "create", "web3", *DEMO, rc=137, env=fault)
    assert len(cluster.qemus()) == 1
    cluster.tashictl("vm", "destroy", "web3", "-y")
    assert_bare(cluster)


def test_the_forwarded_port_leads_to_the_guests_ssh(cluster: Hermit) -> None:
    made = cluster.tashictl("vm", "create", "web4", *DEMO, "-o", "json").json()
    scan = f"ssh-keyscan -T 3 -t ed25519 -p {made['nics'][0]['ssh_port']} 127.0.0.1 2>/dev/null"
    # QEMU takes the connection long before the guest is there.
    shown = cluster.sh(f"timeout {BOOT_S} sh -c 'until {scan} | grep ed25519; do sleep 0.5; done'")
    assert "ssh-ed25519" in shown.stdout
    cluster.tashictl("vm", "destroy", "web4", "-y")
    assert_bare(cluster)


def assert_bare(user: Hermit) -> None:
    """No QEMU, no folder of a VM; the claim, the fences and the image stay."""
    assert user.qemus() == []
    assert [name for name in user.files(user.runtime / "tashi") if "/" in name] == []
    kept = re.compile(r"cluster(\.lock)?|shared.*|[0-9a-f]{12}(/fence(/[0-9a-f-]+|/host)?)?")
    assert [name for name in user.files(user.state) if not kept.fullmatch(name)] == []


def test_a_network_of_mode_user_on_a_host_that_is_reached_by_ssh(
    guest_image: Path, tashictl_argv: list[str], tmp_path: Path
) -> None:
    with Lab(1) as lab:
        tashictl = with_user_network(lab, tmp_path / "cluster", tashictl_argv)
        clusters.import_image(tashictl, guest_image)
        done = tashictl.run("vm", "create", "far1", "--disk", guest_image.name)
        assert "on h1: ssh -p 22000 root@127.0.0.1" in done.err
        listening = lab.hosts[0].run("grep ' 0100007F:55F0 00000000:0000 0A ' /proc/net/tcp")
        assert listening.returncode == 0
        tashictl.run("vm", "destroy", "far1", "-y")


def with_user_network(lab: Lab, directory: Path, argv: list[str]) -> Tashictl:
    """A cluster of the lab's host by SSH, its only network of mode user."""
    tashictl = clusters.init_cluster(lab, directory, argv)
    path = clusters.write_inventory(directory, lab)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("bridge: vmbr", "mode: user"), encoding="utf-8")
    clusters.add_host(tashictl, lab.hosts[0])
    return tashictl


def readme_block() -> list[str]:
    """The lines of the README's section on a machine alone, none while it has no such section."""
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## On this machine alone.*?^```shell\n(.*?)^```", text, re.S | re.M)
    return found[1].splitlines() if found else []


@pytest.mark.skipif(not readme_block(), reason="the README has no section on a machine alone")
def test_the_readmes_lines_work_as_printed_from_an_empty_home(tashictl_argv: list[str]) -> None:
    with Hermit(tashictl_argv, hidden=("ip", "brctl")) as user:
        user.make_ssh_key()
        for line in readme_block():
            done = user.sh(line)
            assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert_bare(user)
