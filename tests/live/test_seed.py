"""Cloud-init seeds on real hosts: read by a guest and by cloud-init itself, secret, after faults."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tashictl.adapters.store.form import ReadOnlyStore
from tests.live import invariants
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
ELSEWHERE = "10.99.7.5"  # an address that only one host knows a way to


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
