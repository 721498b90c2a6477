import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.errors import InvalidRequest
from tashictl.planning import image_kinds

A, B = "a" * 64, "b" * 128


@pytest.mark.parametrize(
    ("file", "head", "what", "remedy"),
    [
        ("d.img.xz", b"\xfd7zXZ\0\0", "packed by xz", "unxz --keep d.img.xz, then import d.img"),
        ("d.img.gz", b"\x1f\x8b\x08", "packed by gzip", "gunzip --keep d.img.gz"),
        ("d.img.zst", b"\x28\xb5\x2f\xfd", "packed by zstd", "unzstd --keep d.img.zst"),
        ("d.bz2", b"BZh91AY", "packed by bzip2", "bunzip2"),
        ("d.zip", b"PK\x03\x04", "zip archive", "unzip d.zip"),
        ("d.tar", b"x".ljust(257, b"\0") + b"ustar\x0000", "tar archive", "tar -xf d.tar"),
        ("d.vmdk", b"KDMV\1", "VMDK", "qemu-img convert -O qcow2 d.vmdk d.qcow2"),
        ("d.vhdx", b"vhdxfile", "VHDX", "qemu-img convert -O qcow2 d.vhdx d.qcow2"),
        ("d.vhd", b"conectix", "VHD", "qemu-img convert"),
        ("d.vdi", b"<<< Oracle".ljust(64, b"\0") + b"\x7f\x10\xda\xbe", "VDI", "d.qcow2"),
        ("d.tgz", b"\x1f\x8b\x08", "packed by gzip", "tar -xf d.tgz, then import the disk in it"),
        ("d.tar.xz", b"\xfd7zXZ\0\0", "packed by xz", "tar -xf d.tar.xz, then import the disk"),
        ("d", b"\x1f\x8b\x08", "packed by gzip", "gunzip -c <d >d.img, then import d.img"),
        ("x y.xz", b"\xfd7zXZ\0\0", "packed by xz", "unxz --keep 'x y.xz'"),
    ],
)
def test_what_is_no_disk_image_is_refused_with_what_to_do(
    file: str, head: bytes, what: str, remedy: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        image_kinds.refuse_unfit(file, head)

    assert what in caught.value.what
    assert remedy in caught.value.hint


@pytest.mark.parametrize(
    "head", [b"<!DOCTYPE html>\n<html>", b"\n\n<HTML><head>", b"<?xml version"]
)
def test_an_error_page_of_a_web_server_is_refused(head: bytes) -> None:
    with pytest.raises(InvalidRequest, match="web page"):
        image_kinds.refuse_unfit("debian.qcow2", head)


@pytest.mark.parametrize("head", [b"QFI\xfb\0\0\0\3", b"\0" * 512, b"", b"\xeb\x63\x90", b"ustar"])
def test_disk_images_pass(head: bytes) -> None:
    image_kinds.refuse_unfit("a.img", head)


def test_a_cd_is_known() -> None:
    assert image_kinds.is_iso(b"\0" * 32769 + b"CD001")
    assert not image_kinds.is_iso(b"\0" * 40000)


@given(st.binary(max_size=400))
def test_any_bytes_pass_or_are_refused(head: bytes) -> None:
    try:
        image_kinds.refuse_unfit("a", head)
    except InvalidRequest as error:
        assert error.hint


@pytest.mark.parametrize(
    ("given_", "found"),
    [
        ((None, None, None), {}),
        ((A, None, None), {"sha256": A}),
        ((A.upper(), B, None), {"sha256": A, "sha512": B}),
        ((None, None, f"sha512:{B}"), {"sha512": B}),
        ((A, None, f"SHA256:{A}"), {"sha256": A}),
    ],
)
def test_checksums_are_taken_in_each_form(
    given_: tuple[str | None, str | None, str | None], found: dict[str, str]
) -> None:
    assert image_kinds.checksums(*given_) == found


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        (("xyz", None, None), "is no sha256: 64 hex digits"),
        ((B, None, None), "is no sha256"),
        ((None, A, None), "is no sha512: 128 hex digits"),
        ((None, None, A), "is no checksum"),
        ((None, None, f"md5:{'a' * 32}"), "is no checksum"),
        ((None, None, "sha256:"), "is no sha256"),
        ((A, None, f"sha256:{'b' * 64}"), "two different"),
    ],
)
def test_what_is_no_checksum_is_refused(
    given_: tuple[str | None, str | None, str | None], words: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        image_kinds.checksums(*given_)

    assert words in caught.value.what


def test_a_checksum_of_the_other_length_says_which_option_is_meant() -> None:
    with pytest.raises(InvalidRequest) as caught:
        image_kinds.checksums(B, None, None)

    assert caught.value.hint == "--sha512 HEX"


@given(st.text(max_size=140))
def test_no_text_makes_a_checksum_raise_anything_else(text: str) -> None:
    for given_ in ((text, None, None), (None, text, None), (None, None, text)):
        try:
            found = image_kinds.checksums(*given_)
        except InvalidRequest:
            continue
        assert all(hashlib.new(name).digest_size * 2 == len(hex_) for name, hex_ in found.items())
