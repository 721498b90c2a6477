"""What the demo image is made of: a newc cpio archive and an MBR. Pure bytes, no files."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

SECTOR_BYTES = 512
_DIRECTORY = 0o040755
_SCRIPT = 0o100755


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or, where `content` is None, a directory of the archive."""

    name: str
    content: bytes | None = None


def with_parents(entries: Iterable[Entry], there: Iterable[str] = ()) -> list[Entry]:
    """The entries, each behind the directories that lead to it and are not `there` yet."""
    seen, every = set(there), list[Entry]()
    for entry in entries:
        names = entry.name.split("/")
        for depth in range(1, len(names)):
            folder = "/".join(names[:depth])
            if folder not in seen:
                seen.add(folder)
                every.append(Entry(folder))
        every.append(entry)
    return every


def cpio(entries: list[Entry]) -> bytes:
    """The archive in the newc format (kernel documentation: early-userspace/buffer-format).

    Every file is executable and all belong to root. Parents must come before what they hold.
    """
    parts = [_member(number, entry) for number, entry in enumerate(entries, start=1)]
    trailer = _header(0, 0, 0, "TRAILER!!!")
    return b"".join([*parts, trailer])


def _member(inode: int, entry: Entry) -> bytes:
    mode = _DIRECTORY if entry.content is None else _SCRIPT
    content = entry.content or b""
    return _header(inode, mode, len(content), entry.name) + _padded(content)


def _header(inode: int, mode: int, size_bytes: int, name: str) -> bytes:
    encoded = name.encode() + b"\0"
    links = 1
    fields = (inode, mode, 0, 0, links, 0, size_bytes, 0, 0, 0, 0, len(encoded), 0)
    return _padded(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def partition_table(fat_sectors: int, data_sectors: int, first_sector: int = 2048) -> bytes:
    """Bytes 446 to 511 of an MBR: an active FAT16 partition, then one of raw data behind it."""
    table = _partition(0x80, 0x0E, first_sector, fat_sectors)
    table += _partition(0, 0xDA, first_sector + fat_sectors, data_sectors)
    return table + bytes(32) + b"\x55\xaa"


def _partition(flags: int, kind: int, start: int, sectors: int) -> bytes:
    beyond_chs = b"\xfe\xff\xff"
    return struct.pack("<B3sB3sII", flags, beyond_chs, kind, beyond_chs, start, sectors)
