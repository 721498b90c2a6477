"""VMs on a host with systemd: one booted Debian for all tests, which tell one story in their order.

The operator logs in as a user with `become`, and logind ends what a login leaves behind.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab import booted_image, needs
from tests.live.lab.booted import Booted
from tests.live.lab.host import BROKEN_QEMU
from tests.live.lab.patient import PATIENCE, Patient
from tests.live.lab.runner import Tashictl

WAIT_S = 300  # for a guest without KVM in a host without KVM
DEMO, BLANK = "demo.qcow2", invariants.IMAGE
_QEMU = "/usr/bin/qemu-system-x86_64"
_OPS = 6001
RESTART = {"TASHICTL_CLUSTERMANAGERSERVICE_ONHOSTREBOOT": "restart"}


@pytest.fixture(scope="module")
def host(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    """The booted host."""
    lacking = booted_image.missing()
    if lacking:
        give_up(needs.explain(lacking))
    try:
        image = booted_image.build()
    except RuntimeError as error:
        give_up(f"no Debian could be built: {error}")
    with Booted(tmp_path_factory.mktemp("booted"), image=image) as booted:
        yield booted


@pytest.fixture(scope="module")
def tashictl(
    host: Booted,
    guest_image: Path,
    tashictl_argv: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Tashictl:
    """A cluster of this host with two images."""
    folder = tmp_path_factory.mktemp("site")
    home = folder / "home"
    home.mkdir()
    run = Patient(tashictl_argv, folder / "cluster", home)
    run.run("init", str(run.cluster))
    with (run.cluster / "Tashi.cfg").open("a") as config:
        config.write(PATIENCE)
    (run.cluster / "inventory").mkdir(exist_ok=True)
    (run.cluster / "inventory" / "lab.yaml").write_text(
        f"hosts:\n  {host.name}: {{address: {host.address}, port: {host.port}, user: ops, "
        f"become: true, identity_file: {host.key}}}\n"
        "networks:\n  - {id: 1, name: lan, bridge: vmbr, default: true}\n"
    )
    run.run("host", "add", host.name, "--fingerprint", host.host_key_fingerprint)
    run.run("image", "import", str(guest_image))
    run.run("image", "import", str(invariants.blank_image(folder)))
    return run


def create(tashictl: Tashictl, name: str, image: str = BLANK) -> dict[str, Any]:
    """`vm create`."""
    argv = ("vm", "create", name, "--disk", image, "-o", "json")
    made: dict[str, Any] = tashictl.run(*argv).json()
    return made


def record(tashictl: Tashictl, name: str) -> dict[str, Any]:
    """What the database has of a VM."""
    found = invariants.record(tashictl, name)
    assert found is not None
    return found


def units(host: Booted) -> list[str]:
    """Names of tashictl's units, whatever their state."""
    listed = host.run("systemctl list-units --all --plain --no-legend 'tashi-*'", check=True)
    return [line.split()[0] for line in listed.stdout.splitlines()]


def unit_of(vm: dict[str, Any]) -> str:
    """The unit that a VM has."""
    cluster = Path(vm["disks"][0]["path"]).parts[-3]
    return f"tashi-{cluster}-{vm['uuid']}.service"


def log_of(vm: dict[str, Any]) -> str:
    """Where what the guest says on its serial line is kept."""
    return f"{Path(vm['disks'][0]['path']).parent}/console.log"


def disk_of(vm: dict[str, Any]) -> str:
    """Where its first disk lies on the host."""
    path: str = vm["disks"][0]["path"]
    return path


def wait(host: Booted, condition: str) -> None:
    """Waits on the host, by one login, until a shell's condition holds."""
    turn = f"i=$((i+1)); [ $i -lt {WAIT_S} ] || exit 1; sleep 1"
    text = f"i=0; until {{ {condition}; }} >/dev/null; do {turn}; done"
    host.run(text, check=True, timeout_s=WAIT_S * 2)


def test_a_vm_survives_the_logout_that_kills_all_else(host: Booted, tashictl: Tashictl) -> None:
    host.run("setsid -f sleep 1000 </dev/null >/dev/null 2>&1", user="ops", check=True)
    made = create(tashictl, "web1", DEMO)

    wait(host, f"! pgrep -u {_OPS} && ! systemctl -q is-active user@{_OPS}")
    assert host.run("pgrep -x sleep").stdout == ""
    assert made["state"] == "Running"
    assert units(host) == [unit_of(made)]
    shown = host.run(f"systemctl show -p MainPID,Slice,ActiveState {unit_of(made)}").stdout
    assert f"MainPID={made['pid']}" in shown
    assert "Slice=machine.slice" in shown
    assert "ActiveState=active" in shown


def test_a_guest_boots_in_it(host: Booted, tashictl: Tashictl) -> None:
    made = record(tashictl, "web1")

    wait(host, f"grep -q 'HB 3 ' {log_of(made)}")

    assert tashictl.run("host", "check", "-o", "json").json()[0]["ok"]
    assert record(tashictl, "web1")["state"] == "Running"


def test_an_orderly_reboot_of_the_host_shuts_its_guests_down(
    host: Booted, tashictl: Tashictl
) -> None:
    made = record(tashictl, "web1")

    host.reboot()
    swept = tashictl.run("sweep", "-o", "json", check=False)

    words = host.run(f"tail -n 12 {log_of(made)}").stdout
    assert "SHUTDOWN clean" in words, words
    assert words.rstrip().endswith("reboot: Power down"), words
    after = record(tashictl, "web1")
    assert (after["state"], after["pid"]) == ("Exited", None)
    assert after["reason"].startswith("host rebooted 20")
    assert after["reason"] in tashictl.run("vm", "list").out
    # onHostReboot is hold: told, and left to people.
    assert swept.rc == 4, str(swept)
    found = swept.json()
    assert sorted(event["kind"] for event in found["events"]) == ["host-rebooted", "vm-exited"]
    assert [one["id"] for one in found["problems"]] == ["vm-exited:web1"]
    assert found["repairs"] == []
    assert tashictl.run("sweep", "--quiet", check=False).rc == 4
    assert record(tashictl, "web1")["state"] == "Exited"


def test_where_it_is_wished_a_sweep_starts_again_what_ended_with_its_host(
    host: Booted, tashictl: Tashictl
) -> None:
    made = record(tashictl, "web1")
    before = host.run(f"stat -c %i {disk_of(made)}", check=True).stdout
    boots = int(host.run(f"grep -c BOOTED {log_of(made)}").stdout)

    swept = tashictl.run("sweep", "-o", "json", env=RESTART).json()

    assert [(one["kind"], one["error"]) for one in swept["repairs"]] == [("restart", None)]
    assert [one["kind"] for one in swept["events"]] == ["vm-restarted", "problem-over"]
    after = record(tashictl, "web1")
    assert (after["state"], after["uuid"]) == ("Running", made["uuid"])
    assert host.run(f"stat -c %i {disk_of(made)}").stdout == before
    assert units(host) == [unit_of(made)]
    wait(host, f"[ $(grep -c BOOTED {log_of(made)}) -gt {boots} ]")
    assert tashictl.run("sweep").out == ""


def test_a_qemu_that_the_kernel_killed_for_memory_is_told_so(
    host: Booted, tashictl: Tashictl
) -> None:
    made = record(tashictl, "web1")

    host.run(f"systemctl set-property --runtime {unit_of(made)} MemoryMax=16M", check=True)
    wait(host, f"! kill -0 {made['pid']}")
    swept = tashictl.run("sweep", check=False)

    assert swept.rc == 4, str(swept)
    after = record(tashictl, "web1")
    assert (after["state"], after["reason"]) == (
        "Exited",
        "killed by the kernel: the host had no memory left",
    )
    assert "no memory left" in swept.out.replace("\n  ", " ")
    # Nothing here says that its host was rebooted: that is not for a restart.
    assert tashictl.run("sweep", env=RESTART, check=False).rc == 4
    assert record(tashictl, "web1")["state"] == "Exited"
    host.run(f"systemctl set-property --runtime {unit_of(made)} MemoryMax=infinity")
    tashictl.run("vm", "start", "web1")
    assert record(tashictl, "web1")["state"] == "Running"


def test_a_qemu_that_cannot_start_is_told_with_its_words(host: Booted, tashictl: Tashictl) -> None:
    before = units(host)
    broken = f'#!/bin/sh\\necho "{BROKEN_QEMU}" >&2\\nexit 3\\n'
    host.run(f"mv {_QEMU} {_QEMU}.away; printf '{broken}' >{_QEMU}; chmod 755 {_QEMU}", check=True)

    result = tashictl.run("vm", "create", "bad", "--disk", BLANK, "-o", "json", check=False)

    host.run(f"mv {_QEMU}.away {_QEMU}", check=True)
    invariants.refused(result, 1, BROKEN_QEMU, "exit code 3")
    assert units(host) == before
    assert host.run("systemctl --failed --no-legend").stdout == ""
    assert invariants.record(tashictl, "bad") is None


def test_a_guest_that_ignores_the_button_is_ended_after_the_wait(
    host: Booted, tashictl: Tashictl
) -> None:
    env = {"TASHICTL_QEMU_POWERDOWNTIMEOUT": "2"}
    tashictl.run("vm", "create", "deaf", "--disk", BLANK, env=env)
    deaf = record(tashictl, "deaf")

    host.run(f"systemctl stop {unit_of(deaf)}", check=True)
    tashictl.run("host", "check")

    assert (record(tashictl, "deaf")["state"], record(tashictl, "deaf")["reason"]) == (
        "Exited",
        "its QEMU ended",
    )
    tashictl.run("vm", "destroy", "deaf", "-y")
    assert unit_of(deaf) not in units(host)


def test_a_power_cut_of_the_host_is_noticed(host: Booted, tashictl: Tashictl) -> None:
    gone = create(tashictl, "web2")
    # What has exited still has its cores.
    tashictl.run("vm", "destroy", "web1", "web2", "-y")
    assert unit_of(gone) not in units(host)
    create(tashictl, "web3")

    host.power_cut()
    # All of one host is more than half of them: it may be us who are cut off.
    assert tashictl.run("sweep", check=False).rc == 9
    assert record(tashictl, "web3")["state"] == "Running"
    assert tashictl.run("sweep", "--yes", check=False).rc == 4
    lost = record(tashictl, "web3")
    host.start()
    host.await_ssh()
    held = tashictl.run("sweep", check=False)
    found = record(tashictl, "web3")
    swept = tashictl.run("sweep", env=RESTART)

    assert (lost["state"], lost["reason"]) == ("Orphaned", "its host does not answer")
    assert held.rc == 4
    assert found["state"] == "Exited"
    # Without a time where it was booted in the very second in which the VM was last seen.
    assert found["reason"].startswith("host rebooted")
    assert "web3 was started again" in swept.out, str(swept)
    assert record(tashictl, "web3")["state"] == "Running"
    assert units(host) == [unit_of(found)]


def test_a_destroy_leaves_nothing_of_them(host: Booted, tashictl: Tashictl) -> None:
    made = create(tashictl, "web4")
    assert unit_of(made) in units(host)

    tashictl.run("vm", "destroy", "web3", "web4", "-y")

    left = "ls -d /run/tashi/*/*-* /var/lib/tashi/*/*-* /sys/class/net/tashi* 2>/dev/null"
    assert host.run(left).stdout == ""
    assert units(host) == []
    assert host.run("pgrep qemu").stdout == ""
    assert host.run("systemctl is-system-running").stdout.strip() == "running"
    assert invariants.records(tashictl) == []


def test_under_a_user_of_its_own_qemu_is_a_unit_all_the_same(
    host: Booted, tashictl: Tashictl
) -> None:
    tashictl.run("host", "setup", host.name, "-y", "--no-packages")
    env = {"TASHICTL_QEMU_POWERDOWNTIMEOUT": "2"}
    argv = ("vm", "create", "own", "--disk", BLANK, "-o", "json")
    made = tashictl.run(*argv, env=env).json()

    assert units(host) == [unit_of(made)]
    shown = host.run(f"systemctl show -p MainPID {unit_of(made)}").stdout
    assert shown.strip() == f"MainPID={made['pid']}"
    assert host.run(f"stat -c %U /proc/{made['pid']}").stdout == "tashi-qemu\n"
    tashictl.run("vm", "pause", "own")
    tashictl.run("vm", "unpause", "own")
    assert tashictl.run("sweep").out == ""

    host.run(f"systemctl stop {unit_of(made)}", check=True)
    tashictl.run("host", "check")
    assert record(tashictl, "own")["reason"] == "its QEMU ended"
    tashictl.run("vm", "start", "own")
    after = record(tashictl, "own")
    assert host.run(f"stat -c %U /proc/{after['pid']}").stdout == "tashi-qemu\n"

    tashictl.run("vm", "destroy", "own", "-y")
    assert units(host) == []
    assert host.run("systemctl --failed --no-legend").stdout == ""
