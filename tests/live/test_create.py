"""VMs that are made, run, wait and go: real QEMU on three hosts over real SSH."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import invariants
from tests.live.lab.host import BROKEN_QEMU, Host
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Tashictl

DEMO, DATA = "demo.qcow2", "data.img"
BOOT_S = 90.0
MARK = "written-by-the-guest"
KEYS = {
    *("id", "name", "uuid", "state", "wanted", "observed", "operation", "host", "user", "cores"),
    *("memory_mib", "disks", "nics", "hints", "arch", "machine", "decayed", "created", "started"),
    *("pid", "reason", "seed"),
}


@pytest.fixture(scope="module")
def images(tashictl: Tashictl, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two images beside the demo image: one for guests without a system, one for data."""
    folder = tmp_path_factory.mktemp("images")
    tashictl.run("image", "import", str(invariants.blank_image(folder)))
    data = invariants.blank_image(folder, DATA, b"nothing yet")
    tashictl.run("image", "import", str(data))


@pytest.fixture(autouse=True)
def clean(lab: Lab, tashictl: Tashictl, images: None) -> Iterator[None]:
    """No VM before and after a test, and nothing of one on any host."""
    yield
    invariants.ready(lab, tashictl)
    assert invariants.complaints(lab, tashictl) == []


def create(tashictl: Tashictl, name: str, *more: str) -> dict[str, Any]:
    """`vm create` with the image that has no system."""
    argv = ("vm", "create", name, "--disk", invariants.IMAGE, *more, "-o", "json")
    made: dict[str, Any] = tashictl.run(*argv).json()
    return made


def console(lab: Lab, vm: dict[str, Any]) -> Path:
    """The guest's serial log on its host."""
    folder = Path(vm["disks"][0]["path"]).parent
    return lab.host(vm["host"]).root / str(folder).lstrip("/") / "console.log"


def await_line(log: Path, text: str) -> None:
    """Returns when the guest has said it."""
    found = invariants.until(lambda: text in log.read_text(errors="replace"), BOOT_S)
    assert found, log.read_text(errors="replace")[-1000:]


def type_line(host: Host, folder: str, line: str) -> None:
    """Types a line on the guest's serial line."""
    with socket.socket(socket.AF_UNIX) as serial:
        serial.connect(str(host.root / folder.lstrip("/") / "serial.sock"))
        serial.sendall(f"{line}\n".encode())
        time.sleep(0.5)


def test_a_vm_is_made_boots_is_listed_shown_and_destroyed(lab: Lab, tashictl: Tashictl) -> None:
    argv = ("vm", "create", "web1", "--disk", DEMO, "--memory", "128M", "-o", "json")
    made = tashictl.run(*argv).json()
    assert set(made) == KEYS
    assert (made["name"], made["state"], made["wanted"]) == ("web1", "Running", "running")
    assert (made["memory_mib"], made["cores"], made["operation"]) == (128, 1, None)
    listed = tashictl.run("vm", "list", "-o", "json").json()
    assert listed == [made]
    assert tashictl.run("vm", "show", "web1", "-o", "json").json() == made
    assert tashictl.run("vm", "show", str(made["id"]), "-o", "json").json() == made
    host = lab.host(made["host"])
    (qemu,) = observe(host).qemus
    assert (qemu.uuid, qemu.pid) == (made["uuid"], made["pid"])
    assert observe(host).links == (f"tashi{made['id']}.0",)
    await_line(console(lab, made), "HB 1 ")

    gone = tashictl.run("vm", "destroy", "web1", "-y", "-o", "json").json()
    assert [vm["uuid"] for vm in gone] == [made["uuid"]]
    assert tashictl.run("vm", "list", "-o", "json").json() == []
    left = observe(host)
    assert (left.qemus, left.links) == ((), ())
    ours = [path for path in left.files if made["uuid"] in path]
    assert [path.split("/")[-2] for path in ours] == ["fence"]
    assert (host.root / "etc/qemu-ifup.1").exists()
    assert tashictl.run("vm", "show", "web1", check=False).rc == 3


def test_what_a_guest_writes_to_a_persistent_disk_stays(lab: Lab, tashictl: Tashictl) -> None:
    disks = ("--disk", DEMO, "--disk", f"{DATA}:persistent")
    made = tashictl.run("vm", "create", "keeper", *disks, "-o", "json").json()
    assert [disk["persistent"] for disk in made["disks"]] == [False, True]
    second = ("vm", "create", "second", "--disk", f"{DATA}:persistent", "-o", "json")
    invariants.refused(tashictl.run(*second, check=False), 5, DATA, "keeper")
    overlay = ("vm", "create", "second", "--disk", DATA, "-o", "json")
    invariants.refused(tashictl.run(*overlay, check=False), 5, DATA, "keeper")
    await_line(console(lab, made), "HB 1 ")
    host = lab.host(made["host"])
    run_folder = f"/run/tashi/{Path(made['disks'][0]['path']).parts[-3]}/{made['uuid']}"
    type_line(host, run_folder, f"echo {MARK} > /dev/vdb; sync; echo DO''NE")
    await_line(console(lab, made), "DONE")
    tashictl.run("vm", "destroy", "keeper", "-y")
    data = host.root / made["disks"][1]["path"].lstrip("/")
    assert data.read_bytes().startswith(MARK.encode())
    again = ("vm", "create", "again", "--disk", f"{DATA}:persistent", "--host", made["host"])
    tashictl.run(*again)
    tashictl.run("vm", "destroy", "again", "-y")
    assert data.read_bytes().startswith(MARK.encode())


def test_what_a_guest_writes_elsewhere_never_reaches_the_image(
    lab: Lab, tashictl: Tashictl
) -> None:
    made = create(tashictl, "w1")
    host = lab.host(made["host"])
    overlay = made["disks"][0]["path"]
    host.run(f"qemu-io -U -f qcow2 -r -c 'read 0 512' {overlay}", check=True)
    image = host.root / "var/lib/tashi/shared/images" / invariants.IMAGE
    before = image.stat().st_mtime_ns
    tashictl.run("vm", "destroy", "w1", "-y")
    assert image.stat().st_mtime_ns == before
    assert not (host.root / overlay.lstrip("/")).exists()


def test_vms_are_spread_over_the_hosts_and_their_ids_rise(lab: Lab, tashictl: Tashictl) -> None:
    made = [create(tashictl, f"s{number}") for number in range(3)]
    assert {vm["host"] for vm in made} == {"h1", "h2", "h3"}
    ids = [vm["id"] for vm in made]
    assert ids == sorted(set(ids))
    assert invariants.complaints(lab, tashictl) == []
    tashictl.run("vm", "destroy", "s[0-2]", "-y")
    assert create(tashictl, "s0")["id"] > max(ids)


def test_a_host_is_taken_when_it_is_asked_for(tashictl: Tashictl) -> None:
    assert create(tashictl, "a1", "--host", "h3")["host"] == "h3"
    assert create(tashictl, "a2", "--host", "h3")["host"] == "h3"
    assert create(tashictl, "a3", "--hint", "targetHost=h2")["hints"] == {"targetHost": "h2"}
    assert create(tashictl, "a4", "--hint", "targetHost=h2")["host"] == "h2"
    full = ("vm", "create", "a5", "--disk", invariants.IMAGE, "--hint", "targetHost=h2")
    waits = tashictl.run(*full, "-o", "json", check=False)
    assert (waits.rc, waits.json()["state"]) == (8, "Pending")
    fixed = ("--host", "h3", "--hint", "allowElsewhere=True")
    waits = tashictl.run("vm", "create", "a7", "--disk", invariants.IMAGE, *fixed, check=False)
    assert waits.rc == 8
    assert tashictl.run("schedule", check=False).rc == 4
    elsewhere = ("--hint", "targetHost=h2", "--hint", "allowElsewhere=True")
    assert create(tashictl, "a6", *elsewhere)["host"] == "h1"


def test_cores_memory_and_mac_are_what_qemu_was_told(lab: Lab, tashictl: Tashictl) -> None:
    mac = "52:54:00:aa:bb:cc"
    made = create(tashictl, "big", "--cores", "2", "--memory", "256M", "--nic", f"lan::{mac}")
    (qemu,) = observe(lab.host(made["host"])).qemus
    words = " ".join(qemu.argv)
    assert made["nics"][0]["mac"] == mac
    assert mac in words
    assert "256" in qemu.argv[qemu.argv.index("-m") + 1]
    assert "2" in qemu.argv[qemu.argv.index("-smp") + 1]


def test_a_vm_waits_for_room_and_is_started_by_schedule(lab: Lab, tashictl: Tashictl) -> None:
    for number in range(3):
        create(tashictl, f"f{number}", "--cores", "2")
    argv = ("vm", "create", "waits", "--disk", invariants.IMAGE, "-o", "json")
    result = tashictl.run(*argv, check=False)
    waiting = result.json()
    assert (result.rc, waiting["state"], waiting["host"]) == (8, "Pending", None)
    assert "cores" in waiting["reason"]
    assert tashictl.run("schedule", check=False).rc == 4
    assert invariants.complaints(lab, tashictl) == []
    tashictl.run("vm", "destroy", "f1", "-y")
    (started,) = tashictl.run("schedule", "-o", "json").json()
    assert (started["name"], started["id"], started["state"]) == ("waits", waiting["id"], "Running")
    assert invariants.complaints(lab, tashictl) == []
    assert tashictl.run("schedule").rc == 0


def test_a_vm_that_waits_is_destroyed_without_asking_a_host(lab: Lab, tashictl: Tashictl) -> None:
    for number in range(3):
        create(tashictl, f"f{number}", "--cores", "2")
    argv = ("vm", "create", "waits", "--disk", invariants.IMAGE, "-o", "json")
    waiting = tashictl.run(*argv, check=False)
    assert waiting.rc == 8
    for host in lab.hosts:
        host.pause_network()
    tashictl.run("vm", "destroy", "waits", "-y")
    assert invariants.record(tashictl, "waits") is None
    assert not (tashictl.cluster / "state/locks" / f"vm-{waiting.json()['id']}").exists()


def test_what_fits_no_host_even_when_empty_is_not_recorded(tashictl: Tashictl) -> None:
    argv = ("vm", "create", "huge", "--disk", invariants.IMAGE, "-o", "json")
    invariants.refused(tashictl.run(*argv, "--cores", "3", check=False), 8, "huge", "cores")
    invariants.refused(tashictl.run(*argv, "--memory", "4G", check=False), 8, "memory")
    assert invariants.records(tashictl) == []


def test_a_vm_whose_late_start_fails_is_held_with_the_reason(lab: Lab, tashictl: Tashictl) -> None:
    for number in range(3):
        create(tashictl, f"f{number}", "--cores", "2", "--host", f"h{number + 1}")
    argv = ("vm", "create", "waits", "--disk", invariants.IMAGE)
    assert tashictl.run(*argv, check=False).rc == 8
    tashictl.run("vm", "destroy", "f1", "-y")
    lab.host("h2").break_qemu()
    result = tashictl.run("schedule", "-o", "json", check=False)
    assert result.rc == 4, str(result)
    (held,) = result.json()
    assert held["state"] == "Held"
    assert BROKEN_QEMU in result.err + held["reason"]
    assert invariants.complaints(lab, tashictl) == []
    lab.host("h2").restore_qemu()
    (started,) = tashictl.run("schedule", "-o", "json").json()
    assert (started["state"], started["host"]) == ("Running", "h2")


def test_destroy_asks_where_there_is_someone_to_ask(lab: Lab, tashictl: Tashictl) -> None:
    create(tashictl, "d1")
    with invariants.untouched(lab, tashictl):
        result = tashictl.run("vm", "destroy", "d1", "-o", "json", check=False)
        invariants.refused(result, 2, "d1")
        result = tashictl.run("vm", "destroy", "-y", "d1", "nobody", "-o", "json", check=False)
        invariants.refused(result, 3, "nobody")
    assert invariants.complaints(lab, tashictl) == []
