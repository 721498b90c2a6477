"""Cloud-init seeds on real hosts: read by a guest and by cloud-init itself, secret, in faults."""

import hashlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pycdlib.pycdlib import PyCdlib

from tashictl.adapters.store.form import ReadOnlyStore
from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

DEMO = "demo.qcow2"
SECRET = "planted-hunter2-0815"
USER_DATA = f"""\
#cloud-config
# {SECRET} is also in a comment
password: {SECRET}
chpasswd: {{expire: false}}
write_files:
- path: /etc/motd
  content: hello
"""
BOOT_S = 120
KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key of the operator's; the public half lies beside it."""
    path = tmp_path_factory.mktemp("keys") / "id"
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me@desk", "-f", str(path)]
    subprocess.run(argv, check=True)
    return path


@pytest.fixture(scope="module")
def user_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An operator's cloud-config with a password in it."""
    path = tmp_path_factory.mktemp("data") / "user.yaml"
    path.write_text(USER_DATA)
    return path


@pytest.fixture(scope="module")
def blank(tashictl: Tashictl, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image without a system, for guests that cost no time."""
    tashictl.run("image", "import", str(invariants.blank_image(tmp_path_factory.mktemp("images"))))
    return invariants.IMAGE


@pytest.fixture(autouse=True)
def clean(lab: Lab, tashictl: Tashictl, blank: str) -> Iterator[None]:
    """No VM, no seed and nothing of one on any host, before and after a test."""
    yield
    invariants.ready(lab, tashictl)
    assert invariants.complaints(lab, tashictl) == []
    assert kept(tashictl) == []


def kept(tashictl: Tashictl) -> list[Path]:
    """The seeds that the controller keeps."""
    return sorted((tashictl.cluster / "state" / "seeds").glob("*"))


def seed_of(lab: Lab, vm: dict[str, Any]) -> Path:
    """The seed's place on the VM's host."""
    folder = Path(vm["disks"][0]["path"]).parent
    return lab.host(vm["host"]).root / str(folder).lstrip("/") / "seed.iso"


def is_whole(lab: Lab, tashictl: Tashictl, vm: dict[str, Any]) -> bool:
    """The seed lies in place as it was made, private, without a part of it beside it."""
    path = seed_of(lab, vm)
    wanted = ReadOnlyStore(str(tashictl.cluster / "state")).read().vms[vm["id"]].spec.seed
    assert wanted is not None
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    parts = list(path.parent.glob("*.part"))
    return found == wanted.sha256 and path.stat().st_mode & 0o777 == 0o640 and parts == []


def holders(folder: Path) -> list[Path]:
    """The files below a folder that hold the secret."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def command_lines() -> bytes:
    """What every process of this machine was called with."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.append((entry / "cmdline").read_bytes())
            except OSError:
                continue
    return b"\n".join(found)


def watched(tashictl: Tashictl, *argv: str) -> tuple[Result, bytes]:
    """A command, and all command lines that were there while it ran."""
    seen = []
    with tashictl.start(*argv) as process:
        while process.poll() is None:
            seen.append(command_lines())
            time.sleep(0.05)
        out, err = process.communicate()
    return Result((*tashictl.argv, *argv), process.returncode, out, err), b"\n".join(seen)


def ssh(key: Path, address: str, command: str) -> str:
    """What a command says that the system's ssh runs in a guest."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
    flags = [word for option in options for word in ("-o", option)]
    argv = ["ssh", "-F", "none", "-q", "-i", str(key), *flags, f"root@{address}", command]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_a_guest_reads_its_seed_and_lets_the_operator_in(
    lab: Lab, tashictl: Tashictl, key: Path, user_data: Path
) -> None:
    address = f"{lab.wiring.vm_subnet}.11"
    made, lines = watched(
        tashictl,
        *("vm", "create", "web1", "--disk", DEMO, "--nic", f"lan:{address}", "--debug"),
        *("--cloud-init", str(user_data), "--ssh-key", f"{key}.pub"),
        *("--wait", "ssh", "--timeout", str(BOOT_S)),
    )

    assert made.rc == 0, made
    vm = tashictl.run("vm", "show", "web1", "-o", "json").json()
    assert made.out.startswith(f"web1 is Running on {vm['host']} at {address}   (")
    assert f"ssh root@{address}" in made.err
    assert ssh(key, address, "hostname").strip() == "web1"
    assert ssh(key, address, "cat /root/seed/user-data") == USER_DATA
    assert f"{address}/24" in ssh(key, address, "ip -4 addr show dev eth0")
    assert is_whole(lab, tashictl, vm)
    # The secret is in the guest and in its seed, and nowhere else.
    assert SECRET not in made.out + made.err
    assert SECRET.encode() not in lines
    assert holders(tashictl.cluster) == []
    for host in lab.hosts:
        assert [p.name for p in holders(host.root / "var/lib/tashi")] == (
            ["seed.iso"] if host.name == vm["host"] else []
        )
        assert holders(host.root / "run/tashi") == []


# What the real package makes of a seed: as its NoCloud source reads it, and what it would write for
# the network on distributions of each kind.
_CLOUD_INIT = r"""
import json, os, sys
from cloudinit import helpers
from cloudinit.distros import rhel
from cloudinit.net import eni, network_state, networkd, sysconfig
from cloudinit.sources.DataSourceNoCloud import DataSourceNoCloud
from cloudinit.user_data import UserDataProcessor
cloud, out = sys.argv[1:]
paths = helpers.Paths({"cloud_dir": cloud, "run_dir": cloud})
config = {"datasource": {"NoCloud": {"fs_label": None}}}
source = DataSourceNoCloud(config, None, paths)
assert source.get_data()
message = UserDataProcessor(paths).process(source.get_userdata_raw())
parts = [part.get_content_type() for part in message.walk()]
state = network_state.parse_net_config_data(source.network_config)
for kind, renderer in (("eni", eni), ("networkd", networkd), ("sysconfig", sysconfig)):
    os.makedirs(f"{out}/{kind}")
    settings = rhel.Distro.renderer_configs.get(kind, {})
    renderer.Renderer(settings).render_network_state(state, target=f"{out}/{kind}")
hostname = source.get_hostname()
print(json.dumps({
    "id": source.get_instance_id(),
    "hostname": getattr(hostname, "hostname", hostname),
    "keys": source.get_public_ssh_keys(),
    "parts": parts,
    "names": [i["name"] for i in state.iter_interfaces()],
}))
"""


def unpacked(seed: Path, folder: Path) -> Path:
    """The files of a seed, where cloud-init looks for those of NoCloud."""
    place = folder / "seed" / "nocloud"
    place.mkdir(parents=True)
    volume = PyCdlib()
    volume.open(str(seed))
    for name in ("meta-data", "user-data", "network-config"):
        volume.get_file_from_iso(str(place / name), joliet_path=f"/{name}")
    volume.close()
    return place


def written(folder: Path) -> str:
    """All that was written below a folder, as one text."""
    return "".join(p.read_text() for p in sorted(folder.rglob("*")) if p.is_file())


def test_cloud_init_itself_reads_what_was_meant(
    lab: Lab, tashictl: Tashictl, key: Path, user_data: Path, tmp_path: Path, blank: str
) -> None:
    if shutil.which("cloud-init") is None:
        give_up("the package cloud-init is missing; try: apt-get install cloud-init")
    address = f"{lab.wiring.vm_subnet}.12"
    argv = ("vm", "create", "web2", "--disk", blank, "--nic", f"lan:{address}", "-o", "json")
    vm = tashictl.run(
        *argv, "--cloud-init", str(user_data), "--ssh-key", f"{key}.pub", "--wait", "running"
    ).json()
    place = unpacked(seed_of(lab, vm), tmp_path / "cloud")

    schema = ["cloud-init", "schema", "--config-file", str(place / "user-data")]
    done = subprocess.run(schema, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    argv_ = ["/usr/bin/python3", "-c", _CLOUD_INIT, str(tmp_path / "cloud"), str(tmp_path / "out")]
    read = subprocess.run(argv_, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr

    assert json.loads(read.stdout) == {
        "id": vm["uuid"],
        "hostname": "web2",
        "keys": [Path(f"{key}.pub").read_text().strip()],
        "parts": ["multipart/mixed", "text/cloud-config"],
        "names": ["eth0"],
    }
    mac, gateway = vm["nics"][0]["mac"], f"{lab.wiring.vm_subnet}.254"
    for kind in ("eni", "networkd", "sysconfig"):
        text = written(tmp_path / "out" / kind)
        assert address in text and gateway in text and "eth0" in text, text
    assert mac in written(tmp_path / "out" / "networkd").lower()


@pytest.mark.parametrize(
    ("moment", "then"),
    [("before", "resume"), ("sent", "destroy"), ("after", "undo"), ("sent", "resume")],
)
def test_a_controller_that_dies_over_a_seed_leaves_nothing_and_loses_nothing(
    lab: Lab, tashictl: Tashictl, user_data: Path, blank: str, moment: str, then: str
) -> None:
    argv = ("vm", "create", "web3", "--disk", blank, "--cloud-init", str(user_data))
    fault = {"TASHICTL_FAULT": f"PutSeed:{moment}:kill"}
    assert tashictl.run(*argv, check=False, env=fault).rc == KILLED
    assert holders(tashictl.cluster) == kept(tashictl) != []
    assert [p.stat().st_mode & 0o777 for p in kept(tashictl)] == [0o600]

    if then == "destroy":
        tashictl.run("vm", "destroy", "web3", "-y")
        assert tashictl.run("vm", "list", "-o", "json").json() == []
    else:
        (operation,) = tashictl.run("op", "list", "-o", "json").json()
        tashictl.run("op", then, str(operation["id"]))
    for vm in tashictl.run("vm", "list", "-o", "json").json():
        assert (then, vm["state"]) == ("resume", "Running")
        assert is_whole(lab, tashictl, vm)
    assert kept(tashictl) == []
    assert holders(tashictl.cluster) == []


def test_a_stream_that_is_cut_undoes_the_create(
    tashictl: Tashictl, user_data: Path, blank: str
) -> None:
    argv = ("vm", "create", "web3", "--disk", blank, "--cloud-init", str(user_data))

    done = tashictl.run(*argv, check=False, env={"TASHICTL_FAULT": "PutSeed:sent:cut"})

    assert done.rc in (1, 6), done
    assert tashictl.run("vm", "list", "-o", "json").json() == []
    assert kept(tashictl) == []


def test_a_pending_vm_gets_its_seed_when_schedule_starts_it(
    lab: Lab, tashictl: Tashictl, user_data: Path, blank: str
) -> None:
    for number in range(3):
        tashictl.run("vm", "create", f"full{number}", "--disk", blank, "--cores", "2")
    argv = ("vm", "create", "web4", "--disk", blank, "--cloud-init", str(user_data))
    assert tashictl.run(*argv, "--wait", "ssh", check=False).rc == 8
    assert holders(tashictl.cluster) == kept(tashictl) != []

    tashictl.run("vm", "destroy", "full0", "-y")
    tashictl.run("schedule")

    vm = tashictl.run("vm", "show", "web4", "-o", "json").json()
    assert vm["state"] == "Running"
    assert is_whole(lab, tashictl, vm)
    assert kept(tashictl) == []


def test_ssh_that_only_the_host_can_reach_is_found_through_it(
    lab: Lab, tashictl: Tashictl, key: Path, blank: str
) -> None:
    address = f"{lab.wiring.vm_subnet}.77"  # only h1 knows a way to it
    lab.host("h1").run(f"ip addr add {address}/32 dev lo", check=True)
    try:
        argv = ("vm", "create", "web5", "--disk", blank, "--nic", f"lan:{address}")
        wait = ("--ssh-key", f"{key}.pub", "--wait", "ssh", "--timeout", "20")
        made = tashictl.run(*argv, "--host", "h1", *wait)
    finally:
        lab.host("h1").run(f"ip addr del {address}/32 dev lo")

    assert f"web5 is Running on h1 at {address}" in made.out
    assert f"ssh -J root@{lab.host('h1').address} root@{address}" in made.err


def test_an_address_is_learned_from_the_neighbour_table_of_the_host(
    lab: Lab, tashictl: Tashictl, blank: str
) -> None:
    mac, address = "52:54:00:0a:0b:0c", f"{lab.wiring.vm_subnet}.50"
    lab.host("h1").run(f"ip neigh add {address} lladdr {mac} dev vmbr nud reachable", check=True)
    argv = ("vm", "create", "web9", "--disk", blank, "--nic", f"lan::{mac}", "--host", "h1")

    made = tashictl.run(*argv, "--wait", "ip", "--timeout", "20")

    assert f"web9 is Running on h1 at {address}" in made.out


def test_a_guest_that_does_not_answer_runs_on_and_is_told_of(
    lab: Lab, tashictl: Tashictl, blank: str
) -> None:
    address = f"{lab.wiring.vm_subnet}.13"
    argv = ("vm", "create", "web6", "--disk", blank, "--nic", f"lan:{address}", "-o", "json")
    late = tashictl.run(*argv, "--wait", "ip", "--timeout", "3", check=False)

    assert late.rc == 4
    assert late.json()["state"] == "Running"
    error = json.loads(late.err)["error"]
    assert (error["code"], error["host"]) == ("E-WAIT", late.json()["host"])
    assert "within 3 s" in error["message"] and address in error["cause"]
    assert tashictl.run("vm", "show", "web6", "-o", "json").json()["state"] == "Running"


def test_ctrl_c_ends_the_wait_and_not_the_vm(lab: Lab, tashictl: Tashictl, blank: str) -> None:
    argv = ("vm", "create", "web7", "--disk", blank, "--wait", "ssh")
    with tashictl.start(*argv) as process:
        found = invariants.until(lambda: _is_running(tashictl, "web7"), 30.0)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)

    assert found and process.returncode == 130, err
    assert "web7 is Running" in out
    assert "web7 runs on" in err and "only the wait has ended" in err
    assert _is_running(tashictl, "web7")


def _is_running(tashictl: Tashictl, name: str) -> bool:
    listed = tashictl.run("vm", "list", "-o", "json").json()
    return any(vm["name"] == name and vm["state"] == "Running" for vm in listed)


def test_a_dry_run_plans_the_seed_and_tells_nothing_of_it(
    tashictl: Tashictl, user_data: Path, blank: str
) -> None:
    argv = ("vm", "create", "web8", "--disk", blank, "--cloud-init", str(user_data), "--dry-run")
    for form in (("-o", "json"), ("--debug",)):
        plan = tashictl.run(*argv, *form)
        assert "PutSeed" in plan.out and "PlaceSeed" in plan.out
        assert SECRET not in plan.out + plan.err
    assert kept(tashictl) == []
