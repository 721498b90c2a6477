"""What the build of the demo image needs, and how it says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tashictl.adapters.demo import build, parts
from tashictl.errors import InvalidRequest

LDD = """\
\tlinux-vdso.so.1 (0x00007ff137ddb000)
\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007ff137c7f000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007ff137a61000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007ff137ddd000)
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that has nothing."""
    monkeypatch.setattr(parts, "SBIN", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(parts, "BUSYBOX", tmp_path / "busybox")
    monkeypatch.setattr(parts, "MBR_CODE", (tmp_path / "mbr.bin",))
    monkeypatch.setattr(parts, "kernel_version", lambda: None)
    return tmp_path


def test_all_that_is_missing_is_one_error_with_one_line_to_run(bare: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        build.build(bare / "cache")
    error = caught.value
    assert (error.code, error.exit_code) == ("E-DEMO", 2)
    every = [*parts.TOOLS, str(bare / "busybox"), str(bare / "mbr.bin"), "a kernel"]
    assert [part for part in every if part not in error.cause] == []
    assert error.hint == (
        "apt-get install --no-install-recommends busybox-static dosfstools dropbear-bin kmod"
        " linux-image-cloud-amd64 mtools qemu-utils syslinux syslinux-common"
    )
    assert not (bare / "cache").exists()


def test_nothing_is_said_where_nothing_is_missing() -> None:
    parts.refuse([])


def test_of_several_kernels_the_newest_cloud_kernel_that_can_be_read_is_taken(
    tmp_path: Path,
) -> None:
    modules, boot = tmp_path / "modules", tmp_path / "boot"
    boot.mkdir()
    for name in ("6.1.0-9-cloud-amd64", "6.1.0-10-cloud-amd64", "6.5.0-1-amd64", "7.0-cloud"):
        (modules / name).mkdir(parents=True)
        (boot / f"vmlinuz-{name}").touch()
    (boot / "vmlinuz-7.0-cloud").unlink()
    assert parts.kernel_version(modules, boot) == "6.1.0-10-cloud-amd64"
    assert parts.kernel_version(tmp_path / "none", boot) is None


def test_libraries_are_read_from_ldd_with_their_loader_but_without_the_kernels() -> None:
    assert parts.libraries(LDD) == (
        "/lib/x86_64-linux-gnu/libz.so.1",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2",
    )
    assert parts.libraries("\tstatically linked\n") == ()
    with pytest.raises(ValueError, match="libtommath"):
        parts.libraries("\tlibtommath.so.1 => not found\n")
