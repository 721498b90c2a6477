"""The demo guest and the command that builds it: seeds, SSH, the deaf one, users without root."""

import contextlib
import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pycdlib
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tashictl.adapters.demo import build as demo
from tests.live.lab import guest
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

MAC = "52:54:00:00:00:01"
STATIC = {
    "version": 2,
    "ethernets": {
        "other": {"match": {"macaddress": "52:54:00:00:00:99"}, "addresses": ["10.9.9.9/8"]},
        "nic0": {
            "match": {"macaddress": MAC},
            "addresses": ["10.0.2.15/24", "fd00::15/64"],
            "routes": [{"to": "default", "via": "10.0.2.2"}],
            "nameservers": {"addresses": ["10.0.2.3"], "search": ["lab.example"]},
        },
    },
}
NOBODY = 65534


class Machine:
    """One QEMU on this machine, with user networking and a port for SSH; nothing is kept."""

    def __init__(self, folder: Path, image: Path, *more: str) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        argv = ["qemu-system-x86_64", "-machine", "pc", "-cpu", "qemu64", "-accel", "tcg"]
        argv += ["-m", "128", "-nodefaults", "-no-user-config", "-display", "none", "-snapshot"]
        argv += ["-drive", f"if=virtio,format=qcow2,file={image}"]
        argv += ["-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{self.port}-:22"]
        argv += ["-device", f"virtio-net-pci,netdev=n0,mac={MAC}"]
        argv += ["-serial", f"file:{folder}/log", *more]
        argv += ["-qmp", f"unix:{folder}/qmp,server=on,wait=off"]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def log(self) -> str:
        """All that the guest said."""
        path = self.folder / "log"
        return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""

    def await_line(self, text: str, timeout_s: float = 90.0) -> str:
        """The log, as soon as it holds the text."""
        deadline = time.monotonic() + timeout_s
        while text not in (log := self.log()):
            assert time.monotonic() < deadline, f"no {text!r} in: {log[-1000:]}"
            time.sleep(0.1)
        return log

    def ssh(self, key: Path, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Runs a command in the guest."""
        argv = ["ssh", "-F", "none", "-i", str(key), "-p", str(self.port), "-o", "BatchMode=yes"]
        argv += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        argv += ["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"]
        argv += [f"{user}@127.0.0.1", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def press_power(self) -> None:
        """The ACPI power button."""
        with socket.socket(socket.AF_UNIX) as qmp:
            qmp.settimeout(20)
            qmp.connect(f"{self.folder}/qmp")
            with qmp.makefile("rw") as stream:
                for word in ("qmp_capabilities", "system_powerdown"):
                    stream.write(json.dumps({"execute": word}) + "\n")
                    stream.flush()
                while "POWERDOWN" not in stream.readline():
                    pass

    def end(self) -> None:
        """QEMU is gone."""
        self.process.kill()
        self.process.wait()


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def write_seed(path: Path, files: dict[str, str]) -> Path:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for number, (name, text) in enumerate(files.items()):
        data = io.BytesIO(text.encode())
        place = f"/F{number}.;1"
        iso.add_fp(data, len(data.getvalue()), place, rr_name=name, joliet_path=f"/{name}")
    iso.write(str(path))
    iso.close()
    return path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key that the seeds let in."""
    return make_key(tmp_path_factory.mktemp("key") / "key")


@pytest.fixture(scope="module")
def machines(
    guest_image: Path, key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Machine, Machine]]:
    """Two guests that boot at once: one with a seed on a disk, a deaf one with a seed on a CD."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    public = key.with_suffix(".pub").read_text().strip()
    long_key = "ssh-rsa " + "A" * 372 + " me@desk"
    users = ["default", {"name": "dev", "ssh_authorized_keys": [public]}]
    user_data = {"users": users, "ssh_authorized_keys": [public, long_key]}
    disk = write_seed(
        one / "seed.iso",
        {
            "meta-data": yaml.safe_dump({"instance-id": "1", "local-hostname": "web1"}),
            "user-data": "#cloud-config\n" + yaml.safe_dump(user_data),
            "network-config": yaml.safe_dump(STATIC),
        },
    )
    cd = write_seed(
        two / "seed.iso",
        {
            "meta-data": json.dumps({"local-hostname": "cd1", "public-keys": [public]}),
            "user-data": "#!/bin/sh\nhostname: no-cloud-config\n",
        },
    )
    deaf = guest.build(deaf=True)
    with contextlib.ExitStack() as stack:
        first = Machine(one, guest_image, "-drive", f"if=virtio,format=raw,readonly=on,file={disk}")
        stack.callback(first.end)
        second = Machine(two, deaf, "-drive", f"if=ide,media=cdrom,format=raw,file={cd}")
        stack.callback(second.end)
        yield first, second


def test_a_guest_takes_name_keys_and_addresses_from_its_seed(
    machines: tuple[Machine, Machine],
) -> None:
    log = machines[0].await_line("BOOTED")
    assert "SEED host=web1 keys=2\n" in log
    assert "ADDR eth0 10.0.2.15/24\nADDR eth0 fd00::15/64\n" in log
    assert "BOOTED host=web1 " in log
    assert "cidata=/dev/vdb" in log
    assert "DHCP" not in log


def test_root_and_the_seeds_user_come_in_by_ssh_and_ping(
    machines: tuple[Machine, Machine], key: Path
) -> None:
    machine = machines[0]
    said = machine.await_line("SSHD key=SHA256:")
    asked = "hostname; cat /etc/resolv.conf; ip route; ip -6 addr show dev eth0; ping -c 1 10.0.2.2"
    done = machine.ssh(key, asked)
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines[:3] == ["web1", "nameserver 10.0.2.3", "search lab.example"]
    assert "default via 10.0.2.2 dev eth0" in done.stdout
    assert "fd00::15/64" in done.stdout
    assert "1 packets received" in done.stdout
    assert machine.ssh(key, "id -un; pwd", user="dev").stdout == "dev\n/home/dev\n"
    scan = ["ssh-keyscan", "-t", "ed25519", "-p", str(machine.port), "127.0.0.1"]
    found = subprocess.run(scan, capture_output=True, text=True, check=True).stdout
    print_of = ["ssh-keygen", "-l", "-f", "-"]
    shown = subprocess.run(print_of, input=found, capture_output=True, text=True, check=True)
    assert f"SSHD key={shown.stdout.split()[1]}" in said


def test_a_strangers_key_and_passwords_do_not_open(
    machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    machines[0].await_line("SSHD key=")
    done = machines[0].ssh(make_key(tmp_path / "stranger"), "true")
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_a_seed_on_a_cd_without_a_network_leaves_the_address_to_dhcp(
    machines: tuple[Machine, Machine], key: Path
) -> None:
    log = machines[1].await_line("DHCP eth0 10.0.2.15")
    assert "SEED host=cd1 keys=1\n" in log
    assert "cidata=/dev/sr0" in log
    machines[1].await_line("SSHD key=")
    assert machines[1].ssh(key, "hostname").stdout == "cd1\n"


def test_a_deaf_guest_goes_on_after_its_power_button(machines: tuple[Machine, Machine]) -> None:
    one, two = machines
    for machine in machines:
        machine.await_line("HB 2 ")
        machine.press_power()
    one.await_line("SHUTDOWN clean", 30)
    assert one.process.wait(30) == 0
    beats = two.log().count("HB ")
    two.press_power()
    two.await_line(f"HB {beats + 3} ", 30)
    assert two.process.poll() is None
    assert "SHUTDOWN" not in two.log()


# -- the reader of the seed


def flat(value: object, path: str = "") -> dict[str, str]:
    """What the guest's reader should make of a value."""
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list):
        members = list(enumerate(value))
    else:
        shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
        return {path: shown or str(value)}
    return {k: v for name, held in members for k, v in flat(held, f"{path}/{name}").items()}


def read_by_guest(text: str) -> dict[str, str]:
    argv = ["busybox", "awk", "-f", str(demo.SOURCES / "yaml.awk")]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=10, check=True)
    return dict(line.split("\t", 1) for line in done.stdout.splitlines())


WORDS = st.text("ab:-_./@#'\" []{},=+5", min_size=1, max_size=100)
KEYS = st.text("ab-_5", min_size=1, max_size=9).filter(lambda k: k[0] in "ab")
VALUES = st.recursive(
    WORDS | st.booleans() | st.integers(0, 9999),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(KEYS, inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), flow=st.booleans())
def test_the_guest_reads_what_yaml_and_json_writers_write(
    value: dict[str, object], flow: bool
) -> None:
    want = flat(value)
    for width in (80, 1 << 20):
        assert read_by_guest(yaml.safe_dump(value, width=width, default_flow_style=flow)) == want
    assert read_by_guest(json.dumps(value)) == want


def test_the_guest_reads_what_people_write() -> None:
    text = """\
#cloud-config
# a comment
users:
  - default
  - name: dev   # who
    ssh_authorized_keys: [ 'ssh-rsa A b', "ssh-rsa B" ]
write_files:
- content: |
    hostname: no
    - x

    y
  path: /etc/x
ssh_authorized_keys:
- ssh-rsa A
hostname: web1
"""
    want = flat(yaml.safe_load(text))
    del want["/write_files/0/content"]
    assert read_by_guest(text) == want


# -- the command


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


def test_build_demo_imports_the_same_bytes_wherever_it_is_built(
    lab: Lab, tashictl: Tashictl, tmp_path: Path
) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    said = tashictl.run("image", "build-demo", "--name", "two.qcow2", "--dry-run", env=env)
    assert f"would build {tmp_path}/cache/tashictl/guest-" in said.out
    assert "to h1\nnothing was changed\n" in said.out
    assert list(tmp_path.iterdir()) == []
    # The lab built and imported demo.qcow2: another sha256 here would be a conflict.
    again = tashictl.run("image", "build-demo", "-o", "json", env=env).json()
    assert (again["name"], again["hosts"]) == ("demo.qcow2", ["h1"])
    two = tashictl.run("image", "build-demo", "--name", "two.qcow2", "-o", "json", env=env).json()
    assert (two["sha256"], two["hosts"]) == (again["sha256"], ["h1"])
    assert (lab.host("h1").root / "var/lib/tashi/shared/images/two.qcow2").exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["tashictl"]


def test_a_user_without_root_builds_it_into_a_file(tashictl_argv: list[str]) -> None:
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    if subprocess.run([*as_nobody, "test", "-x", tashictl_argv[0]], check=False).returncode != 0:
        pytest.skip(f"{tashictl_argv[0]} is out of reach for a user without root")
    home = Path(tempfile.mkdtemp(prefix="home of "))
    try:
        os.chown(home, NOBODY, NOBODY)
        env = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"}
        argv = [*as_nobody, *tashictl_argv, "image", "build-demo", "--to", "my demo.qcow2"]
        done = subprocess.run(
            argv, env=env, cwd=home, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done
        info = ["qemu-img", "check", str(home / "my demo.qcow2")]
        subprocess.run(info, capture_output=True, check=True)
        assert sorted(p.name for p in home.iterdir()) == [".cache", "my demo.qcow2"]
    finally:
        shutil.rmtree(home)


def test_tools_that_are_missing_are_all_named_with_one_line_to_run(
    tashictl_argv: list[str], tmp_path: Path
) -> None:
    hidden = ("mcopy", "syslinux", "dropbear")
    paths = [os.path.realpath(shutil.which(t) or f"/usr/sbin/{t}") for t in hidden]
    script = "".join(f"mount --bind /dev/null {shlex.quote(path)} && " for path in paths)
    words = [*tashictl_argv, "image", "build-demo", "--to", str(tmp_path / "x"), "-o", "json"]
    argv = ["unshare", "--mount", "sh", "-c", f"{script}exec {shlex.join(words)}"]
    done = subprocess.run(
        argv, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 2, done
    error = json.loads(done.stderr)["error"]
    assert error["cause"] == "missing: dropbear, mcopy, syslinux"
    assert error["hint"].endswith(
        "apt-get install --no-install-recommends dropbear-bin mtools syslinux"
    )
    assert list(tmp_path.iterdir()) == []
