"""The real QEMU is started with our command lines and asked what it understood."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.adapters.qmp import QmpClient, hello
from tashictl.model.vm import NicSpec, Vm, VmSpec
from tashictl.planning import machine, qemu, qemu_hints
from tests.planning import qemu_cases as cases

START_S = 20.0
BOOT_S = 90.0
NASTY_NAME = "a,b=\"c\" $(touch x) 'd',,=e\\f {g} %s é"
NASTY_FOLDER = 'f,o="o" $(id)\'`,,=;%d{é'
# A private network: the TAP devices of the test are gone with QEMU.
PRIVATE = """for tap in $TAPS; do ip tuntap add dev "$tap" mode tap || exit 1; done; exec "$@" """


class SocketStream:
    """A stream over a unix socket of this machine."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, deadline_s: float) -> bytes:
        self._socket.settimeout(max(deadline_s - time.monotonic(), 0.01))
        return self._socket.recv(65536)

    def close(self) -> None:
        self._socket.close()


class Started:
    """A QEMU that runs: its command line, its monitor and its folders."""

    def __init__(self, argv: tuple[str, ...], vm: Vm, folder: Path) -> None:
        self.argv, self.vm, self.folder = argv, vm, folder
        taps = " ".join(f"tashi{vm.id}.{nic.index}" for nic in vm.spec.nics)
        with (folder / "qemu.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-n", "sh", "-c", PRIVATE, "sh", "qemu-system-x86_64", *argv],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TAPS": taps},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_for(self, what: str, done: object, limit_s: float = START_S) -> None:
        deadline = time.monotonic() + limit_s
        while not done():  # type: ignore[operator]
            log = (self.folder / "qemu.log").read_text(errors="replace")
            assert self.process.poll() is None, f"QEMU ended: {log}"
            assert time.monotonic() < deadline, f"no {what} in {limit_s} s: {log}"
            time.sleep(0.05)

    def stream(self) -> SocketStream:
        # The pid file is there before the socket, and the socket before somebody listens.
        found: list[SocketStream] = []

        def connected() -> bool:
            try:
                found.append(SocketStream(self.folder / "qmp.sock"))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            return True

        self.wait_for("monitor", connected)
        self.wait_for("pid file", (self.folder / "qemu.pid").exists)
        return found[0]

    @contextmanager
    def monitor(self) -> Iterator[QmpClient]:
        stream = self.stream()
        try:
            client = QmpClient(stream, time.monotonic() + START_S)
            client.connect()
            yield client
        finally:
            stream.close()

    def hmp(self, line: str) -> str:
        with self.monitor() as client:
            return str(client.execute("human-monitor-command", {"command-line": line}))

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def started(
    spec: VmSpec, name: str, *more: str, run: bool, base: Path | None = None
) -> Iterator[Started]:
    """QEMU with the frozen `spec`, in folders of its own; unless `run`, the guest never starts.

    `more` is added to the command line; `base` becomes demo.qcow2, else an empty image does.
    """
    folder = Path(tempfile.mkdtemp(prefix="tq")) / NASTY_FOLDER
    folder.mkdir()
    (folder / "data").mkdir()
    make = ["qemu-img", "create", "-q", "-f"]
    if base is None:
        subprocess.run([*make, "qcow2", str(folder / "demo.qcow2"), "1M"], check=True)
    else:
        (folder / "demo.qcow2").symlink_to(base)
    subprocess.run([*make, "raw", str(folder / "data" / "big.img"), "1M"], check=True)
    subprocess.run([*make, "raw", str(folder / "seed.iso"), "1M"], check=True)
    # The header names no base: it is the command line that does.
    subprocess.run([*make, "qcow2", str(folder / "disk0.qcow2"), "64M"], check=True)
    os.mkfifo(folder / "monitor.in")
    (folder / "monitor.out").symlink_to("/dev/null")
    vm = cases.vm_of(spec, name)
    places = {"folder": str(folder), "run_folder": str(folder), "image_folder": str(folder)}
    argv = qemu.argv(vm, version=(7, 2, 22), accel="tcg", **places)
    qemu_ = Started((*argv, *more) if run else (*argv, *more, "-S"), vm, folder)
    try:
        yield qemu_
    finally:
        qemu_.end()
        shutil.rmtree(folder.parent)


def frozen(spec: VmSpec, type_: str = "pc") -> VmSpec:
    settings = cases.settings(type_)
    return machine.freeze(spec, uuid=cases.UUID, facts=cases.facts(), settings=settings)


def test_every_text_arrives_as_it_was_meant() -> None:
    spec = cases.frozen("pc-scsi")
    with started(spec, NASTY_NAME, run=False) as running, running.monitor() as client:
        folder = str(running.folder)
        assert client.version[:2] == (7, 2)
        assert client.execute("query-name") == {"name": NASTY_NAME}
        assert client.execute("query-uuid") == {"UUID": cases.UUID}
        chardevs = {c["label"]: c["filename"] for c in client.execute("query-chardev")}  # type: ignore[attr-defined]
        assert chardevs["console0"] == f"disconnected:unix:{folder}/serial.sock,server=on"
        assert f"unix:{folder}/qmp.sock,server=on" in chardevs["qmp"]
        assert client.execute("query-vnc")["service"] == f"{folder}/vnc.sock"  # type: ignore[index]
        for name in ("qmp.sock", "serial.sock", "vnc.sock", "qemu.pid", "console.log", "qemu.log"):
            assert (running.folder / name).exists(), name
        assert (running.folder / "qemu.pid").read_text().strip() == str(running.process.pid)


def test_a_shell_can_press_the_power_button() -> None:
    with started(cases.frozen("plain"), "web1", run=False) as running, running.monitor() as client:
        subprocess.run(
            ["sh", "-c", 'echo system_powerdown 1<>"$1/monitor.in"', "sh", str(running.folder)],
            check=True,
            timeout=10,
        )
        assert client.wait_for("POWERDOWN")["event"] == "POWERDOWN"


def test_no_flood_of_words_on_the_fifo_blocks_qemu() -> None:
    with started(cases.frozen("plain"), "web1", run=False) as running, running.monitor() as client:
        before_kib = _resident_kib(running.process.pid)
        with (running.folder / "monitor.in").open("wb") as fifo:
            fifo.write(b"info qtree\n" * 300)  # which answers with megabytes
            fifo.write(b"system_powerdown\n")
        assert client.wait_for("POWERDOWN")["event"] == "POWERDOWN"
        assert client.execute("query-status")["status"] == "prelaunch"  # type: ignore[index]
        assert _resident_kib(running.process.pid) < before_kib + 4096


def _resident_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmRSS:")[2].split()[0])


def test_the_disks_are_the_files_that_were_meant() -> None:
    spec = cases.frozen("pc-scsi")
    with started(spec, "web1", run=False) as running, running.monitor() as client:
        nodes = {n["node-name"]: n for n in client.execute("query-named-block-nodes")}  # type: ignore[attr-defined]
        files = {name: node["file"] for name, node in nodes.items() if name.endswith("-file")}
        assert files == {
            "disk0-file": f"{running.folder}/disk0.qcow2",
            "disk0-base-file": f"{running.folder}/demo.qcow2",
            "disk1-file": f"{running.folder}/data/big.img",
        }
        assert nodes["disk0-base"]["ro"] and not nodes["disk0"]["ro"]
        assert nodes["disk0"]["detect_zeroes"] == "unmap"
        assert nodes["disk1"]["cache"] == {"no-flush": False, "direct": False, "writeback": True}
        drives = {b["qdev"]: b for b in client.execute("query-block")}  # type: ignore[attr-defined]
        assert drives["disk0"]["inserted"]["node-name"] == "disk0"
        assert drives["disk1"]["inserted"]["node-name"] == "disk1"
        assert "inserted" not in drives["cd0"] and drives["cd0"]["removable"]
        for index in (0, 1):
            path = {"path": f"/machine/peripheral/disk{index}", "property": "serial"}
            assert client.execute("qom-get", path) == machine.serial(cases.UUID, index)


def test_the_machine_is_what_was_frozen() -> None:
    spec = cases.frozen("pc-scsi")
    with started(spec, "web1", run=False) as running, running.monitor() as client:

        def machine_is(name: str) -> object:
            return client.execute("qom-get", {"path": "/machine", "property": name})

        assert machine_is("type") == "pc-i440fx-7.2-machine"
        assert (machine_is("hpet"), machine_is("acpi"), machine_is("smm")) == (False, "on", "off")
        cpus = client.execute("query-cpus-fast")
        assert [cpu["props"]["core-id"] for cpu in cpus] == [0, 1, 2, 3]  # type: ignore[attr-defined]
        path = cpus[0]["qom-path"]  # type: ignore[index]
        flags = {"popcnt": True, "avx2": True, "bmi2": True, "svm": False, "aes": False}
        for flag, value in flags.items():
            assert client.execute("qom-get", {"path": path, "property": flag}) is value, flag
        memory = client.execute("query-memory-size-summary")
        assert memory["base-memory"] == 2048 * 1024 * 1024  # type: ignore[index]
        nic = client.execute("qom-get", {"path": "/machine/peripheral/nic1", "property": "mac"})
        assert nic == "52:54:00:ab:cd:ef"


@pytest.mark.parametrize("name", cases.CASES)
def test_qemu_takes_every_golden_case_and_two_starts_make_the_same_guest(name: str) -> None:
    spec = replace(cases.CASES[name][0], machine=cases.kept_machine(name))
    seen = []
    for title in ("web1", NASTY_NAME):
        with started(spec, title, run=False) as running:
            with running.monitor() as client:
                buses = client.execute("query-pci")
            memory = sorted(running.hmp("info mtree").splitlines())
            seen.append((buses, running.hmp("info qtree"), memory))
            kept = cases.guest_visible(cases.kept_argv(name, "7.2"))
            assert cases.guest_visible(running.argv[:-1]) == kept
            log = (running.folder / "qemu.log").read_text()
            assert log == "", f"QEMU complains: {log}"
    assert seen[0] == seen[1]
    assert len(seen[0][1]) > 1000


def assert_in_place(client: QmpClient, spec: VmSpec) -> None:
    """Each frozen device hangs on its bus, at its PCI address or unit, as QEMU itself says."""
    assert spec.machine is not None
    for device in spec.machine.devices:
        path = f"/machine/peripheral/{device['id']}"

        def ask(name: str, path: str = path) -> object:
            return client.execute("qom-get", {"path": path, "property": name})

        assert ask("type") == device["driver"]
        if "bus" in device:
            assert str(ask("parent_bus")).rsplit("/", 1)[1] == device["bus"]
        if "addr" in device:
            slot, _, function = str(device["addr"]).partition(".")
            assert ask("addr") == int(slot, 16) << 3 | int(function or "0", 16)
        for name in ("unit", "scsi-id", "lun", "bootindex", "serial"):
            assert name not in device or ask(name) == device[name]


@pytest.mark.parametrize("name", cases.CASES)
def test_devices_lie_where_they_were_frozen(name: str) -> None:
    spec = cases.frozen(name)
    with started(spec, "web1", run=False) as running, running.monitor() as client:
        assert_in_place(client, spec)
        # Before its firmware runs, only the devices on the root bus have numbers.
        roots = {d["id"] for d in spec.machine.devices if d.get("bus") in ("pci.0", "pcie.0")}  # type: ignore[union-attr]
        buses = client.execute("query-pci")
        assert roots <= {d["qdev_id"] for bus in buses for d in bus["devices"]}  # type: ignore[attr-defined]


@pytest.mark.parametrize("type_", ["pc", "q35"])
@pytest.mark.parametrize("model", sorted(set(qemu_hints.NIC_MODELS.values())))
def test_eight_nics_of_every_model_are_taken(model: str, type_: str) -> None:
    word = next(k for k, v in qemu_hints.NIC_MODELS.items() if v == model)
    nics = tuple(NicSpec(index=i, network=i, mac=f"52:54:00:00:00:0{i}") for i in range(8))
    spec = frozen(replace(cases.CASES["plain"][0], nics=nics, hints={"nicModel": word}), type_)
    with started(spec, "web1", run=False) as running, running.monitor() as client:
        assert_in_place(client, spec)


@pytest.mark.parametrize("cpu", ["x86-64-v1", "x86-64-v2", "x86-64-v3", "Nehalem", "max"])
def test_every_baseline_is_taken(cpu: str) -> None:
    spec = frozen(replace(cases.CASES["plain"][0], hints={"cpumodel": cpu}))
    with started(spec, "web1", run=False) as running:
        assert hello(running.stream(), cases.UUID, time.monotonic() + START_S) == "prelaunch"


def test_the_sandbox_is_on() -> None:
    with started(cases.frozen("plain"), "web1", run=False) as running:
        running.stream().close()
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        assert "Seccomp:\t2" in status


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "q35"])
def test_a_guest_boots_from_its_overlay_and_a_disk_can_be_plugged_in(
    name: str, guest_image: Path
) -> None:
    spec = frozen(replace(cases.CASES["plain"][0]), cases.CASES[name][1])
    with started(spec, NASTY_NAME, run=True, base=guest_image) as running:
        console = running.folder / "console.log"
        assert hello(running.stream(), cases.UUID, time.monotonic() + START_S) == "running"
        running.wait_for("heartbeat", lambda: "HB 2 " in console.read_text("latin-1"), BOOT_S)
        assert "disk=/dev/vda2" in console.read_text("latin-1")
        with running.monitor() as client:
            node = {"driver": "null-co", "node-name": "disk1", "size": 1048576}
            client.execute("blockdev-add", node)
            bus = "pci.0" if name == "plain" else "dport1"
            address = "0x09" if name == "plain" else "0x00"
            client.execute(
                "device_add",
                {"driver": "virtio-blk-pci", "id": "disk1", "drive": "disk1", "bus": bus,
                 "addr": address},
            )  # fmt: skip
            serial = SocketStream(running.folder / "serial.sock")
            serial.send(b"\nls /sys/block\n")
            running.wait_for("disk", lambda: _typed(serial, console), START_S)
            serial.close()


def _typed(serial: SocketStream, console: Path) -> bool:
    time.sleep(0.3)
    serial.send(b"ls /sys/block\n")
    return "vdb" in console.read_text("latin-1")


def test_a_persistent_image_has_one_writer() -> None:
    spec = cases.frozen("pc-scsi")
    with started(spec, "web1", run=False) as running:
        running.stream().close()
        again = json.loads(cases.values(running.argv, "-blockdev")[1])
        second = subprocess.run(
            ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-S", "-machine", "pc",
             "-blockdev", json.dumps(again), "-device", "virtio-blk-pci,drive=disk1"],
            capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    assert second.returncode != 0 and 'Failed to get "write" lock' in second.stderr


@pytest.mark.parametrize("name", cases.CASES)
def test_a_running_guest_moves_into_a_qemu_started_elsewhere(name: str) -> None:
    """QEMU refuses the state of a machine that differs in any device, address or size of ROM."""
    spec = cases.frozen(name)
    with (
        started(spec, "web1", run=True) as here,
        started(spec, "web1", "-incoming", "defer", run=True) as there,
        there.monitor() as target,
        here.monitor() as source,
    ):
        time.sleep(1.0)  # its firmware is at work
        uri = f"unix:{there.folder}/move.sock"
        target.execute("migrate-incoming", {"uri": uri})
        source.execute("migrate", {"uri": uri})

        def moved() -> bool:
            status = source.execute("query-migrate")["status"]  # type: ignore[index]
            assert status not in ("failed", "cancelled"), (there.folder / "qemu.log").read_text()
            return bool(status == "completed")

        here.wait_for("migration", moved)
        there.wait_for("guest", lambda: target.execute("query-status")["status"] == "running")  # type: ignore[index]
