"""Files that are no disk image, known by their first bytes, and what to do with each."""

from __future__ import annotations

import re

from msgspec import Struct

from tashictl.errors import InvalidRequest
from tashictl.model.image import Image
from tashictl.planning.shell import quote

LOOK_BYTES = 36 << 10  # an ISO 9660 image says so at 32 KiB
_SECTOR_BYTES = 512
_HEX = {"sha256": 64, "sha512": 128}
_HEX_DIGITS = re.compile(r"[0-9a-f]+")


class Kind(Struct, frozen=True, kw_only=True):
    """A kind of file: `magic` stands at byte `at`; `remedy` has ``{file}`` and ``{plain}``.

    `plain` is the file's name without `suffixes`.
    """

    what: str
    magic: bytes
    remedy: str
    at: int = 0
    suffixes: tuple[str, ...] = ()


_CONVERT = "qemu-img convert -O qcow2 {file} {plain}.qcow2, then import {plain}.qcow2"
_UNPACK = "{tool} {{file}}, then import {{plain}}"


def _packed(what: str, magic: bytes, tool: str, *suffixes: str) -> Kind:
    return Kind(what=what, magic=magic, remedy=_UNPACK.format(tool=tool), suffixes=suffixes)


def _foreign(what: str, magic: bytes, *suffixes: str, at: int = 0) -> Kind:
    return Kind(what=what, magic=magic, remedy=_CONVERT, suffixes=suffixes, at=at)


_KINDS = (
    _packed("packed by xz", b"\xfd7zXZ\0", "unxz --keep", ".xz"),
    _packed("packed by gzip", b"\x1f\x8b", "gunzip --keep", ".gz"),
    _packed("packed by bzip2", b"BZh", "bunzip2 --keep", ".bz2"),
    _packed("packed by zstd", b"\x28\xb5\x2f\xfd", "unzstd --keep", ".zst"),
    _packed("packed by lz4", b"\x04\x22\x4d\x18", "unlz4 --keep", ".lz4"),
    Kind(
        what="a zip archive",
        magic=b"PK\x03\x04",
        remedy="unzip {file}, then import the disk in it",
    ),
    Kind(
        what="a 7-Zip archive",
        magic=b"7z\xbc\xaf\x27\x1c",
        remedy="7z x {file}, then import the disk in it",
    ),
    Kind(
        what="a tar archive",
        magic=b"ustar",
        at=257,
        remedy="tar -xf {file}, then import the disk in it",
    ),
    _foreign("a VMDK disk", b"KDMV", ".vmdk"),
    _foreign("a VMDK disk", b"COWD", ".vmdk"),
    _foreign("the description of a VMDK disk", b"# Disk DescriptorFile", ".vmdk"),
    _foreign("a VDI disk", b"\x7f\x10\xda\xbe", ".vdi", at=0x40),
    _foreign("a VHDX disk", b"vhdxfile", ".vhdx"),
    _foreign("a VHD disk", b"conectix", ".vhd", ".vpc"),
    _foreign("a QED disk", b"QED\0", ".qed"),
    _foreign("a Parallels disk", b"WithoutFreeSpace", ".hdd"),
    _foreign("an encrypted disk (LUKS)", b"LUKS\xba\xbe", ".luks"),
)
# A name says more than the first bytes of what is packed.
_TARS = (".tgz", ".txz", ".tbz2", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst")
_PAGE = re.compile(rb"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE)
_ISO = (b"CD001", 32769)


def refuse_unfit(file: str, head: bytes) -> None:
    """Raise InvalidRequest E-IMAGE for a file that is no disk image a VM could run from.

    `file` is its path as the operator wrote it; `head` its first LOOK_BYTES.
    """
    kind = next((k for k in _KINDS if head[k.at : k.at + len(k.magic)] == k.magic), None)
    if kind is not None:
        plain = file
        for suffix in kind.suffixes:
            plain = plain.removesuffix(suffix)
        remedy = kind.remedy
        if "--keep" in remedy and file.endswith(_TARS):
            remedy = "tar -xf {file}, then import the disk in it"
        elif "--keep" in remedy and plain == file:  # the tools refuse a name that they do not know
            remedy = remedy.replace("--keep {file}", "-c <{file} >{plain}")
            plain = f"{file}.img"
        hint = remedy.format(file=quote(file), plain=quote(plain))
        raise InvalidRequest("E-IMAGE", f"{file} is {kind.what}, no disk image", hint=hint)
    if _PAGE.match(head):
        raise InvalidRequest(
            "E-IMAGE",
            f"{file} is a web page, no disk image",
            cause="the server has answered with it in place of the file, or the address leads "
            "to a page about it",
            hint=f"look at it (head {quote(file)}), then fetch it again: curl -fLO ADDRESS",
        )


def is_cut(image: Image) -> bool:
    """Whether it is raw and no whole number of sectors: cut short, or no disk at all."""
    return image.format == "raw" and image.size_bytes % _SECTOR_BYTES != 0


def is_iso(head: bytes) -> bool:
    """Whether the file is an image of a CD."""
    magic, at = _ISO
    return head[at : at + len(magic)] == magic


def checksums(sha256: str | None, sha512: str | None, both: str | None) -> dict[str, str]:
    """The checksums that were asked for, by algorithm; `both` is ``ALGO:HEX``.

    Raises InvalidRequest E-CHECKSUM for text that is none.
    """
    given = [("sha256", sha256), ("sha512", sha512)]
    if both is not None:
        algorithm, colon, digits = both.partition(":")
        if not colon or algorithm.lower() not in _HEX:
            raise InvalidRequest(
                "E-CHECKSUM",
                f"{both!r} is no checksum",
                hint="--checksum sha512:HEX or --checksum sha256:HEX",
            )
        given.append((algorithm.lower(), digits))
    found: dict[str, str] = {}
    for name, text in given:
        if text is None:
            continue
        digits = text.strip().lower()
        if len(digits) != _HEX[name] or not _HEX_DIGITS.fullmatch(digits):
            raise _no_checksum(name, digits)
        if found.setdefault(name, digits) != digits:
            raise InvalidRequest("E-CHECKSUM", f"two different checksums by {name}")
    return found


def _no_checksum(name: str, digits: str) -> InvalidRequest:
    other = next((n for n, length in _HEX.items() if len(digits) == length), None)
    return InvalidRequest(
        "E-CHECKSUM",
        f"{digits[:20]!r}{'…' if len(digits) > 20 else ''} is no {name}: {_HEX[name]} hex digits",
        cause=f"it has {len(digits)}" + (f", as {other} has" if other else ""),
        hint=f"--{other} HEX" if other else "",
    )
