"""Image files: what their first bytes say, and the steps that bring one onto a host."""

from __future__ import annotations

import struct

from tashictl.errors import InvalidRequest
from tashictl.model.image import Image
from tashictl.model.settings import Settings
from tashictl.model.steps import MakeFolder, PlaceImage, Plan, PutImage
from tashictl.planning import paths

HEADER_BYTES = 104  # of a qcow2 version 3 header
_QCOW2 = b"QFI\xfb"


def describe(name: str, head: bytes, size_bytes: int, sha256: str) -> Image:
    """What an image is, by the first bytes of its file (qcow2 v2 and v3, else raw).

    Raises InvalidRequest for an empty file, for a qcow2 that QEMU would not open, and for one that
    lies on a backing file: where that one is on a host is not known.
    """
    if size_bytes == 0:
        raise InvalidRequest("E-IMAGE", f"{name}: the file is empty")
    if head[:4] != _QCOW2:
        return Image(
            name=name,
            format="raw",
            size_bytes=size_bytes,
            virtual_size_bytes=size_bytes,
            sha256=sha256,
        )
    if len(head) < 72:
        raise InvalidRequest("E-IMAGE", f"{name}: a qcow2 header that is cut short")
    version, backing, backing_size = struct.unpack(">IQI", head[4:20])
    (virtual_size,) = struct.unpack(">Q", head[24:32])
    if version not in (2, 3):
        raise InvalidRequest("E-IMAGE", f"{name}: qcow2 version {version} is unknown")
    if backing and backing_size:
        raise InvalidRequest(
            "E-IMAGE",
            f"{name} lies on a backing file",
            hint=f"qemu-img convert -O qcow2 {name} FLAT, then import FLAT",
        )
    return Image(
        name=name,
        format="qcow2",
        size_bytes=size_bytes,
        virtual_size_bytes=virtual_size,
        sha256=sha256,
    )


def import_steps(image: Image, host: str, settings: Settings) -> Plan:
    """Make the folder, stream the file beside its place, check it and give it its name."""
    at = paths.at_host(host, settings)
    path = f"{settings.image_folder}/{image.name}"
    part = f"{path}.part"
    sha256 = image.sha256 or ""
    return (
        MakeFolder(**at, path=path.rsplit("/", 1)[0]),
        PutImage(**at, path=part, size_bytes=image.size_bytes, sha256=sha256),
        PlaceImage(**at, part=part, path=path, sha256=sha256),
    )
