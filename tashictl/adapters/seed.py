"""NoCloud seeds: the texts as an ISO 9660 volume, and the volumes that wait to be sent.

The same texts give the same bytes: pycdlib stamps everything with the time of day, so its modules
are given a clock that stands still.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING

from tashictl.adapters import files

if TYPE_CHECKING:
    from pycdlib.pycdlib import PyCdlib

VOLUME = "cidata"  # by this label cloud-init finds it
_STAMP_S = 315532800.0  # 1980-01-01, which every format of a date here can say
_SUFFIX = ".iso"
_STILL = SimpleNamespace(**{**vars(time), "time": lambda: _STAMP_S, "localtime": time.gmtime})


class FileSeeds:
    """Seeds in a folder (0700), one file (0600) for each VM that does not run yet.

    They may hold passwords, so they are nowhere else on the controller.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def make(self, texts: Mapping[str, bytes]) -> bytes:
        """The volume with these files: ISO 9660 with Rock Ridge and Joliet."""
        volume = _new_volume()
        for place, (name, text) in enumerate(sorted(texts.items())):
            volume.add_fp(
                io.BytesIO(text),
                len(text),
                f"/FILE{place}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=0o100400,
            )
        written = io.BytesIO()
        volume.write_fp(written)
        volume.close()
        return written.getvalue()

    def keep(self, uuid: str, data: bytes) -> None:
        """Keep a VM's seed durably; raises E-DISK-FULL, E-ACCESS, E-FILE."""
        files.make_private_folder(self._folder)
        files.write_lasting(self._path(uuid), data)

    def read(self, uuid: str) -> bytes | None:
        """A VM's seed, None when none is kept; raises E-ACCESS, E-FILE."""
        return files.read_file(self._path(uuid))

    def forget(self, uuid: str) -> None:
        """Remove a VM's seed if one is kept; raises E-ACCESS, E-FILE."""
        files.remove(self._path(uuid))

    def forget_but(self, uuids: Iterable[str]) -> None:
        """Remove all seeds but those of these VMs, and what dead writers left."""
        wanted = {uuid + _SUFFIX for uuid in uuids}
        for name in files.names_in(self._folder):
            if name not in wanted:
                files.remove(f"{self._folder}/{name}")

    def _path(self, uuid: str) -> str:
        return f"{self._folder}/{uuid}{_SUFFIX}"


def _new_volume() -> PyCdlib:
    # Many milliseconds of import that only a seed pays for.
    import pycdlib.dates  # noqa: PLC0415
    import pycdlib.headervd  # noqa: PLC0415
    import pycdlib.pycdlib  # noqa: PLC0415

    for module in (pycdlib.dates, pycdlib.headervd, pycdlib.pycdlib):
        setattr(module, "time", _STILL)  # noqa: B010  a module's name, which mypy takes for fixed
    volume = pycdlib.pycdlib.PyCdlib()
    volume.new(interchange_level=3, vol_ident=VOLUME, joliet=3, rock_ridge="1.09")
    return volume
