"""A guest started without tashictl: proof that the lab works, and a stranger on a host."""

import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

from tests.live.lab.host import Host

BOOT_TIMEOUT_S = 90.0
_FOLDER = "/var/lib/by-hand"


class HandGuest:
    """One QEMU on a host, with a TAP on `vmbr` and a disk of its own."""

    def __init__(self, host: Host, image: Path, name: str, *, address: str = "") -> None:
        self.host = host
        self.name = name
        self._image = image
        self._address = address
        self._folder = f"{_FOLDER}/{name}"
        self.tap = f"hand{name}"[:15]

    def start(self) -> None:
        """Copies the disk, makes the TAP, starts QEMU; raises RuntimeError with what it said."""
        folder = self.host.root / self._folder.lstrip("/")
        folder.mkdir(parents=True)
        shutil.copyfile(self._image, folder / "disk.qcow2")
        self.host.run(
            f"ip tuntap add dev {self.tap} mode tap && ip link set {self.tap} master vmbr up",
            check=True,
        )
        self.host.run(" ".join(self._argv()), timeout_s=60, check=True)

    def serial_log(self) -> str:
        """All that the guest wrote on its serial line."""
        path = self.host.root / self._folder.lstrip("/") / "console.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def await_line(self, text: str, timeout_s: float = BOOT_TIMEOUT_S) -> str:
        """The serial log, as soon as it holds the text; raises TimeoutError with it otherwise."""
        deadline = time.monotonic() + timeout_s
        while text not in (log := self.serial_log()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {text!r} within {timeout_s} s in: {log[-1000:]}")
            time.sleep(0.1)
        return log

    def type(self, line: str) -> None:
        """Types a line into the shell on the guest's serial line."""
        with self._connect("serial.sock") as serial:
            serial.sendall(f"{line}\n".encode())
            # QEMU drops what it has not yet passed on when the connection ends.
            time.sleep(0.5)

    def qmp(self, command: str) -> Any:
        """Result of a QMP command without arguments."""
        with self._connect("qmp.sock") as connection, connection.makefile("rw") as stream:
            stream.readline()
            _ask(stream, "qmp_capabilities")
            return _ask(stream, command)

    def power_off(self, timeout_s: float = 30.0) -> str:
        """Presses the power button until QEMU is gone; gives the serial log."""
        deadline = time.monotonic() + timeout_s
        while self.running():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is still on: {self.serial_log()[-500:]}")
            try:
                self.qmp("system_powerdown")
            except (OSError, ValueError):
                continue
            time.sleep(0.5)
        return self.serial_log()

    def running(self) -> bool:
        """Its QEMU lives."""
        return self.host.run(f"kill -0 $(cat {self._folder}/pid)").returncode == 0

    def _connect(self, name: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(str(self.host.root / self._folder.lstrip("/") / name))
        return connection

    def _argv(self) -> list[str]:
        folder = self._folder
        serial = f"socket,id=s0,path={folder}/serial.sock,server=on,wait=off"
        mac = f"52:54:00:{self.host.number:02x}:00:01"
        argv = ["qemu-system-x86_64", "-machine", "pc", "-cpu", "qemu64", "-accel", "tcg"]
        argv += ["-m", "128", "-nodefaults", "-no-user-config", "-display", "none"]
        disk = f"qcow2,node-name=d0,file.driver=file,file.filename={folder}/disk.qcow2"
        argv += ["-blockdev", disk]
        argv += ["-device", "virtio-blk-pci,drive=d0"]
        argv += ["-netdev", f"tap,id=n0,ifname={self.tap},script=no,downscript=no"]
        argv += ["-device", f"virtio-net-pci,netdev=n0,mac={mac}"]
        argv += ["-chardev", f"{serial},logfile={folder}/console.log", "-serial", "chardev:s0"]
        argv += ["-fw_cfg", f"name=opt/tashi/hostname,string={self.name}"]
        if self._address:
            argv += ["-fw_cfg", f"name=opt/tashi/address,string={self._address}"]
        argv += ["-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off"]
        return [*argv, "-pidfile", f"{folder}/pid", "-D", f"{folder}/qemu.log", "-daemonize"]


def _ask(stream: Any, command: str) -> Any:
    stream.write(json.dumps({"execute": command}) + "\n")
    stream.flush()
    while True:
        answer = json.loads(stream.readline())
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']['desc']}")
        if "return" in answer:
            return answer["return"]
