"""Booted hosts whose first boot was had before: kept in the cache, memory and all.

A boot costs half a minute of a free machine and several of a busy one; to wake what was kept costs
seconds. What is kept is of exactly this image, station, size and QEMU; those longest unused go.
"""

import hashlib
import inspect
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.live.lab.booted import COMMAND_LINE, Booted
from tests.live.lab.booted_image import Image
from tests.live.lab.eye import Eye, Line
from tests.live.lab.station import Station

_KEPT = 16
_IN_USE_S = 3600.0
_DISK = "disk.qcow2"
_RECIPE = (Booted._argv, Booted._write_seed, Line, Eye)


class Born(Booted):
    """A Booted that is up after `wake` and `settle`; then as it was right after its first boot.

    It is `remember`ed in that state.
    """

    def __init__(
        self, directory: Path, image: Image, size: tuple[int, int], station: Station
    ) -> None:
        self._cache = image.folder.parent
        self._kept = self._cache / f"born-{_digest(image, size, station)}"
        self._is_kept = self._kept.exists()
        if self._is_kept:
            os.utime(self._kept)
        super().__init__(directory, image=image, size=size, station=station)

    def wake(self) -> None:
        """Begins to be up."""
        if self._is_kept:
            self.recall()
        else:
            self.start()

    def settle(self) -> None:
        """Returns when it answers; the first one of its kind is kept."""
        if self._is_kept:
            self.await_greeting()
            return
        self.await_ssh()
        self.look("systemctl is-system-running --wait", check=False)
        self.remember()
        # Only what QEMU has closed is whole.
        self.switch_off()
        self._keep()
        self.recall()
        self.await_greeting()

    def _make_keys(self) -> None:
        if not self._is_kept:
            super()._make_keys()
            return
        for kept in self._kept.glob("*key*"):
            shutil.copy(kept, self.directory)
        for kept in self._kept.glob("id_*"):
            shutil.copy(kept, self.directory)

    def _new_disk(self) -> int:
        if not self._is_kept:
            return super()._new_disk()
        path = self.directory / _DISK
        _copy(self._kept / _DISK, path)
        return self._unnamed(path)

    def _keep(self) -> None:
        work = Path(tempfile.mkdtemp(prefix="born-new-", dir=self._cache))
        try:
            _copy(Path(f"/proc/{os.getpid()}/fd/{self._disk}"), work / _DISK)
            for key in (self.key, self._host_key):
                shutil.copy(key, work)
                shutil.copy(key.with_suffix(".pub"), work)
            work.rename(self._kept)
        except OSError:
            # Somebody else was first, or there is no room: the next one boots.
            shutil.rmtree(work, ignore_errors=True)
        prune(self._cache)


def prune(cache: Path) -> None:
    """Of the kept boots that nobody used for an hour, only the newest stay."""
    ages = {}
    for folder in cache.glob("born-*"):
        try:
            ages[folder] = folder.stat().st_mtime
        except OSError:
            continue
    for folder in sorted(ages, key=lambda one: ages[one], reverse=True)[_KEPT:]:
        if ages[folder] < time.time() - _IN_USE_S:
            shutil.rmtree(folder, ignore_errors=True)


def _digest(image: Image, size: tuple[int, int], station: Station) -> str:
    version = ["qemu-system-x86_64", "--version"]
    qemu = subprocess.run(version, capture_output=True, text=True, check=True).stdout
    # Of a card only the address is in the host's memory.
    cards = [card.mac for card in station.cards]
    who = (station.name, station.address, cards, sorted(station.files.items()))
    digest = hashlib.sha256(repr((image.folder.name, COMMAND_LINE, size, who, qemu)).encode())
    for source in _RECIPE:
        digest.update(inspect.getsource(source).encode())
    return digest.hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    argv = ["cp", "--reflink=auto", "--sparse=always", str(source), str(target)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{argv}: {done.stderr}")
