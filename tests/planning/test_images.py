import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.errors import InvalidRequest
from tashictl.model.steps import MakeFolder, PlaceImage, PutImage
from tashictl.planning import images
from tests.planning.cases import SETTINGS


def qcow2(
    version: int = 3, backing: int = 0, backing_size: int = 0, virtual: int = 1 << 30
) -> bytes:
    head = struct.pack(">4sIQIIQ", b"QFI\xfb", version, backing, backing_size, 16, virtual)
    return head.ljust(images.HEADER_BYTES, b"\0")


def test_a_qcow2_is_known_by_its_header() -> None:
    for version in (2, 3):
        image = images.describe("a.qcow2", qcow2(version), 200_000, "9f3a")
        assert (image.format, image.virtual_size_bytes) == ("qcow2", 1 << 30)
        assert (image.size_bytes, image.sha256, image.name) == (200_000, "9f3a", "a.qcow2")


def test_anything_else_is_raw_as_long_as_its_file() -> None:
    image = images.describe("a.qcow2", b"\x00" * 104, 512, "9f3a")

    assert (image.format, image.virtual_size_bytes, image.size_bytes) == ("raw", 512, 512)


@pytest.mark.parametrize(
    ("head", "size", "words"),
    [
        (b"", 0, "empty"),
        (b"QFI\xfb\0\0\0\3", 8, "cut short"),
        (qcow2()[:71], 71, "cut short"),
        (qcow2(version=1), 104, "version 1"),
        (qcow2(version=4), 104, "version 4"),
        (qcow2(backing=104, backing_size=9), 104, "backing file"),
    ],
)
def test_what_qemu_could_not_use_alone_is_refused(head: bytes, size: int, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        images.describe("a.qcow2", head, size, "9f3a")

    assert words in caught.value.what
    assert caught.value.code == "E-IMAGE"


@given(st.binary(max_size=images.HEADER_BYTES), st.booleans())
def test_any_bytes_are_described_or_refused(data: bytes, as_qcow2: bool) -> None:
    head = b"QFI\xfb" + data[4:] if as_qcow2 else data
    try:
        image = images.describe("a", head, len(head), "9f3a")
    except InvalidRequest:
        return

    assert image.format in ("raw", "qcow2")


def test_an_import_streams_beside_its_place_and_names_last() -> None:
    image = images.describe("sub/a.img", b"x" * 104, 104, "9f3a")

    made, streamed, placed = images.import_steps(image, "node1", SETTINGS)

    folder = "/var/lib/tashi/shared/images"
    assert isinstance(made, MakeFolder)
    assert made.path == f"{folder}/sub"
    assert isinstance(streamed, PutImage)
    assert (streamed.path, streamed.size_bytes) == (f"{folder}/sub/a.img.part", 104)
    assert isinstance(placed, PlaceImage)
    assert (placed.part, placed.path) == (streamed.path, f"{folder}/sub/a.img")
    assert {s.uuid for s in (made, streamed, placed)} == {"host"}
