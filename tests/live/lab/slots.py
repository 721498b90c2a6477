"""Slots: which lab of this machine has which subnet, kept apart by locks on files.

A slot belongs to whoever holds the lock: the lab's process and its janitor share it, so it becomes
free when both are gone. A free slot with a name in it belonged to a lab that could not clean up.
"""

import fcntl
import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.live.lab import traces

SLOTS = range(1, 251)


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot that is held: `fd` is the locked file, `subnet` the first three parts of its /24."""

    number: int
    lab_id: str
    fd: int
    path: Path
    subnet: str


def take(base_dir: Path | None = None) -> Slot:
    """Takes the first free slot whose subnet nobody else on the machine uses.

    Raises RuntimeError when none is free. A dead lab's remains in it are removed first.
    """
    traces.SLOT_FOLDER.mkdir(parents=True, exist_ok=True)
    for number in SLOTS:
        path = traces.SLOT_FOLDER / str(number)
        fd = _lock(path)
        if fd is None:
            continue
        _bury(fd)
        subnet = f"10.77.{number}"
        if _in_use(subnet) or _in_use(f"10.88.{number}"):
            path.unlink(missing_ok=True)
            os.close(fd)
            continue
        lab_id = _new_id()
        folder = traces.directory(lab_id, base_dir)
        _write(fd, json.dumps({"lab": lab_id, "directory": str(folder.absolute())}))
        return Slot(number=number, lab_id=lab_id, fd=fd, path=path, subnet=subnet)
    raise RuntimeError(f"no free slot below {traces.SLOT_FOLDER}: {len(SLOTS)} labs at once")


def release(slot: Slot) -> None:
    """Gives the slot back; the file goes while its lock is still held."""
    try:
        if os.fstat(slot.fd).st_nlink:
            slot.path.unlink(missing_ok=True)
    finally:
        os.close(slot.fd)


def _lock(path: Path) -> int | None:
    """The locked file, or None when another lab holds it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        # Whoever gave the slot back has removed the file, maybe after we had opened it.
        if os.fstat(fd).st_nlink:
            return fd
        os.close(fd)


def _bury(fd: int) -> None:
    text = os.pread(fd, 4096, 0)
    if text:
        dead = json.loads(text)
        traces.remove(dead["lab"], Path(dead["directory"]))


def _write(fd: int, text: str) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, text.encode(), 0)


def _new_id() -> str:
    while True:
        lab_id = secrets.token_hex(3)
        if not traces.links(lab_id):
            return lab_id


def _in_use(subnet: str) -> bool:
    argv = ["ip", "-4", "route", "show", "table", "all"]
    routes = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return f"{subnet}." in routes
