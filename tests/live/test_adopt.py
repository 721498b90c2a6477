"""`state adopt`: a QEMU that a person started becomes a VM; its disk outlives it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.live import invariants
from tests.live.lab import cluster as clusters
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

_FOLDER = "/var/lib/by hand"


class Hand:
    """A QEMU without a guest, started by a person."""

    def __init__(self, host: Host, name: str, *, known: bool = True, qmp: bool = True) -> None:
        self.host = host
        self.name = name
        self.uuid = str(uuid.uuid4())
        self.folder = f"{_FOLDER}/{name}"
        argv = "qemu-system-x86_64 -accel tcg -m 64 -smp 2 -nodefaults -display none"
        argv += f" -name {name} -drive file=disk.img,format=raw,if=virtio"
        argv += f" -netdev tap,id=n0,ifname=hand{name},script=no,downscript=no"
        argv += f" -device virtio-net-pci,netdev=n0,mac=52:54:00:{host.number:02x}:07:01"
        argv += f" -uuid {self.uuid}" if known else ""
        argv += " -qmp unix:./mon.sock,server=on,wait=off" if qmp else ""
        tap = f"hand{name}"
        host.run(
            f"mkdir -p '{self.folder}' && cd '{self.folder}' && head -c 1048576 /dev/zero >disk.img"
            f" && ip tuntap add dev {tap} mode tap && ip link set {tap} master vmbr up"
            f" && (setsid {argv} -pidfile pid </dev/null >/dev/null 2>&1 &)"
            " && for i in $(seq 200); do [ -s pid ] && break; sleep 0.1; done; [ -s pid ]",
            timeout_s=60,
            check=True,
        )

    @property
    def pid(self) -> int:
        """As the host counts."""
        return int(self.host.run(f"cat '{self.folder}/pid'", check=True).stdout)

    @property
    def runs(self) -> bool:
        """Its QEMU lives."""
        return self.host.run(f"kill -0 $(cat '{self.folder}/pid')").returncode == 0

    @property
    def has_disk(self) -> bool:
        """Its disk is there."""
        return self.host.run(f"[ -s '{self.folder}/disk.img' ]").returncode == 0

    def end(self) -> None:
        """Ends it and removes what it was started with."""
        self.host.run(
            f"kill -KILL $(cat '{self.folder}/pid'); ip link del hand{self.name};"
            f" rm -rf '{self.folder}'"
        )


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


@pytest.fixture(scope="module")
def tashictl(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster of that host."""
    directory = tmp_path_factory.mktemp("adopt") / "cluster"
    made = clusters.init_cluster(lab, directory, tashictl_argv)
    clusters.write_inventory(directory, lab)
    clusters.add_host(made, lab.host("h1"))
    return made


@pytest.fixture
def hands(lab: Lab) -> Iterator[list[Hand]]:
    """What a test starts; ended behind it."""
    started: list[Hand] = []
    yield started
    for hand in started:
        hand.end()


def folders(host: Host) -> list[str]:
    """What of any VM lies on the host."""
    found = host.run("ls -d /var/lib/tashi/*/*-*/ /run/tashi/*/*-*/ 2>/dev/null").stdout
    return found.split()


def test_it_is_steered_and_destroyed_and_its_disk_stays(
    lab: Lab, tashictl: Tashictl, hands: list[Hand]
) -> None:
    host = lab.host("h1")
    hand = Hand(host, "web7")
    hands.append(hand)
    pid = hand.pid

    plan = tashictl.run("state", "adopt", "h1", "--dry-run").out
    assert f"would take in pid {pid} as web7" in plan
    assert folders(host) == []
    (row,) = tashictl.run("state", "adopt", "h1", "-o", "json").json()
    assert (row["pid"], row["result"], row["uuid"]) == (pid, "adopted", hand.uuid)

    vm = tashictl.run("vm", "show", "web7", "-o", "json").json()
    assert (vm["state"], vm["pid"], vm["cores"], vm["memory_mib"]) == ("Running", pid, 2, 64)
    assert vm["disks"][0]["path"] == f"{hand.folder}/disk.img"
    assert (vm["nics"][0]["mac"], vm["nics"][0]["network"]) == ("52:54:00:01:07:01", "1")
    (again,) = tashictl.run("state", "adopt", "h1", str(pid), "-o", "json").json()
    assert (again["result"], again["id"]) == ("known", vm["id"])
    assert tashictl.run("state", "adopt", "h1", "-o", "json").json() == []

    for verb, state in (("pause", "Paused"), ("unpause", "Running"), ("reset", "Running")):
        tashictl.run("vm", verb, "web7")
        vm = tashictl.run("vm", "show", "web7", "-o", "json").json()
        assert vm["state"] == state
    tashictl.run("host", "check", "h1", check=False)
    assert tashictl.run("vm", "list", "-o", "json").json()[0]["state"] == "Running"
    assert hand.pid == pid and hand.runs

    tashictl.run("vm", "destroy", "web7", "-y")
    assert not hand.runs
    assert hand.has_disk
    assert folders(host) == []
    assert host.run("pgrep -f '/kee[p]$'").stdout == ""


def test_one_that_ends_by_itself_has_exited(
    lab: Lab, tashictl: Tashictl, hands: list[Hand]
) -> None:
    hand = Hand(lab.host("h1"), "web8")
    hands.append(hand)
    tashictl.run("state", "adopt", "h1")
    hand.host.run(f"kill -KILL {hand.pid}; sleep 1.5")

    tashictl.run("host", "check", "h1", check=False)
    (vm,) = tashictl.run("vm", "list", "-o", "json").json()
    assert vm["state"] == "Exited"
    error = invariants.refused(tashictl.run("vm", "start", "web8", "-o", "json", check=False), 5)
    assert error["code"] == "E-ADOPTED"
    tashictl.run("vm", "destroy", "web8", "-y")
    assert hand.has_disk
    assert folders(hand.host) == []


def test_those_that_cannot_be_steered_are_refused_with_why(
    lab: Lab, tashictl: Tashictl, hands: list[Hand]
) -> None:
    host = lab.host("h1")
    hands += [Hand(host, "a", known=False), Hand(host, "b", qmp=False), Hand(host, "c")]

    done = tashictl.run("state", "adopt", "h1", "-o", "json", check=False)

    assert done.rc == 4
    rows = {row["pid"]: row for row in done.json()}
    assert [rows[h.pid]["result"] for h in hands] == ["refused", "refused", "adopted"]
    assert "without -uuid" in rows[hands[0].pid]["reason"]
    assert "no QMP socket" in rows[hands[1].pid]["reason"]
    assert all(h.runs for h in hands)
    tashictl.run("vm", "destroy", "c", "-y")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["WriteManifest", "AdoptQemu", "AwaitQmp"])
def test_one_that_was_interrupted_is_let_go_and_taken_in_again(
    lab: Lab, tashictl: Tashictl, hands: list[Hand], step: str, moment: str
) -> None:
    hand = Hand(lab.host("h1"), "web9")
    hands.append(hand)
    env = {"TASHICTL_FAULT": f"{step}:{moment}:kill"}
    assert tashictl.run("state", "adopt", "h1", env=env, check=False).rc < 0
    (op,) = tashictl.run("op", "list", "-o", "json").json()

    tashictl.run("op", "undo", str(op["id"]))
    assert hand.runs
    assert folders(hand.host) == []
    assert tashictl.run("vm", "list", "-o", "json").json() == []
    tashictl.run("state", "adopt", "h1")
    tashictl.run("vm", "destroy", "web9", "-y")
    assert not hand.runs
