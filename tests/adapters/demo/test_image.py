"""The bytes of the demo image: the archive, the partition table."""

from __future__ import annotations

import struct

from tashictl.adapters.demo import image
from tashictl.adapters.demo.image import Entry


def members(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each member of a newc archive, read anew."""
    found = {}
    place = 0
    while True:
        assert archive[place : place + 6] == b"070701"
        fields = [int(archive[place + 6 + 8 * i : place + 14 + 8 * i], 16) for i in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[place + 110 : place + 110 + length - 1].decode()
        start = (place + 110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, archive[start : start + size])
        place = (start + size + 3) // 4 * 4


def test_an_archive_gives_back_what_was_put_in() -> None:
    entries = [Entry("etc"), Entry("etc/rc", b"#!/bin/sh\n"), Entry("bin", None), Entry("e", b"")]
    assert members(image.cpio(entries)) == {
        "etc": (0o040755, b""),
        "etc/rc": (0o100755, b"#!/bin/sh\n"),
        "bin": (0o040755, b""),
        "e": (0o100755, b""),
    }


def test_each_file_stands_behind_its_folders_and_each_folder_once() -> None:
    files = [Entry("lib/x/a", b"a"), Entry("lib/x/b", b"b"), Entry("lib64/c", b"c")]
    names = [entry.name for entry in image.with_parents(files, {"lib"})]
    assert names == ["lib/x", "lib/x/a", "lib/x/b", "lib64", "lib64/c"]


def test_the_partition_table_has_an_active_fat_and_data_behind_it() -> None:
    table = image.partition_table(4096, 2048)
    assert len(table) == 66
    assert table[64:] == b"\x55\xaa"
    first = struct.unpack("<B3sB3sII", table[:16])
    second = struct.unpack("<B3sB3sII", table[16:32])
    assert (first[0], first[2], first[4:]) == (0x80, 0x0E, (2048, 4096))
    assert (second[0], second[2], second[4:]) == (0, 0xDA, (6144, 2048))
