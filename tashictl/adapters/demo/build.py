"""Builds the demo image: Debian's cloud kernel, busybox, dropbear and a few scripts, as qcow2.

Done in seconds, without root and without loop mounts; the same parts give the same bytes. The
guest boots with 128 MiB from a BIOS machine (`pc`) and speaks on its first serial line:
`BOOTED host=…`, `HB n up=…` each second, `DHCP …` or `ADDR …` for its addresses, `SEED …` when it
found a NoCloud seed, `SSHD …` when it can be reached, `SHUTDOWN clean` after its power button was
pressed. A power button pressed before `BOOTED` is lost: press again.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tashictl.adapters.demo import image, parts
from tashictl.adapters.demo.image import Entry
from tashictl.adapters.files import translated
from tashictl.errors import NotPermitted, OperationFailed

NAME = "demo.qcow2"
DEAF_NAME = "demo-deaf.qcow2"
SOURCES = Path(__file__).parent / "guest"
MODULES = (
    *("virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "virtio_balloon", "virtio_rng"),
    *("virtio_console", "evdev", "button", "qemu_fw_cfg", "ata_piix", "sd_mod", "sr_mod", "isofs"),
)
PLACES = {
    "init": "init",
    "inittab": "etc/inittab",
    "rc": "etc/rc",
    "card": "etc/card",
    "yaml.awk": "etc/yaml.awk",
    "keys": "etc/keys",
    "sshd": "etc/sshd",
    "udhcpc.sh": "etc/udhcpc.sh",
    "heartbeat": "etc/heartbeat",
    "shutdown": "etc/shutdown",
    "power_button": "etc/acpi/PWRF/00000080",
}
FOLDERS = (
    *("bin", "proc", "sys", "dev", "tmp", "mnt", "run", "root", "home"),
    *("etc", "etc/acpi", "etc/acpi/PWRF", "etc/dropbear", "lib", "lib/m"),
)
PROGRAMS = ("dropbear", "dropbearkey")
_EPOCH_S = 1_000_000_000  # the time of every file in the image
_DEAD_AFTER_S = 3600
_FAT_START_BYTES = 1024 * 1024
_DATA_SECTORS = 2048


def default_cache() -> Path:
    """Where built images are kept: `$XDG_CACHE_HOME/tashictl`, else `~/.cache/tashictl`."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification of XDG_CACHE_HOME has a relative path ignored.
    return (base if base.is_absolute() else Path.home() / ".cache") / "tashictl"


def build(cache: Path, *, deaf: bool = False) -> Path:
    """Path of the demo image, built unless the cache has one made of the same parts.

    A `deaf` one does not listen to its power button. Two builds at once are safe: each works in a
    folder of its own and the first rename wins. Raises InvalidRequest E-DEMO with every part that
    is missing, OperationFailed for a tool that failed, E-DISK-FULL and E-ACCESS for the cache.
    """
    final = place(cache, deaf=deaf)
    if final.exists():
        return final
    with translated(str(cache), "be written"):
        work = _place_of_work(cache)
        try:
            _build_into(work, final.name)
            _publish(work / "out", final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final


def place(cache: Path, *, deaf: bool = False) -> Path:
    """Where `build` puts the image that this machine's parts make; nothing is written.

    Raises InvalidRequest E-DEMO with every part that is missing.
    """
    parts.refuse(parts.missing())
    name = DEAF_NAME if deaf else NAME
    return cache / f"guest-{_digest(name)}" / name


def _place_of_work(cache: Path) -> Path:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _forget_dead(cache)
        return Path(tempfile.mkdtemp(prefix="build-", dir=cache))
    except PermissionError as error:
        raise NotPermitted(
            "E-ACCESS",
            f"{cache} cannot be written",
            cause=str(error.strerror),
            hint="XDG_CACHE_HOME=FOLDER, a folder of yours, in front of the command",
        ) from error


def _forget_dead(cache: Path) -> None:
    """Remove what a build that was killed left; none takes as long as an hour."""
    for path in cache.glob("build-*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _DEAD_AFTER_S:
                shutil.rmtree(path, ignore_errors=True)


def _publish(out: Path, final: Path) -> None:
    try:
        out.rename(final.parent)
    except OSError:
        if not final.exists():
            raise


def _digest(name: str) -> str:
    kernel = _kernel()
    digest = hashlib.sha256(f"{name} {kernel} {MODULES} {_mbr_code().name}".encode())
    inputs = [Path(f"/boot/vmlinuz-{kernel}"), parts.BUSYBOX, _mbr_code(), *_programs()]
    inputs += [Path(__file__), Path(image.__file__), *sorted(SOURCES.iterdir())]
    for path in inputs:
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _kernel() -> str:
    version = parts.kernel_version()
    assert version is not None
    return version


def _mbr_code() -> Path:
    path = parts.mbr_code()
    assert path is not None
    return path


def _programs() -> list[Path]:
    found = [parts.which(name) for name in PROGRAMS]
    return [Path(path) for path in found if path is not None]


def _build_into(work: Path, name: str) -> None:
    out, kernel = work / "out", _kernel()
    out.mkdir()
    shutil.copyfile(f"/boot/vmlinuz-{kernel}", work / "vmlinuz")
    archive = image.cpio(_initramfs(kernel, deaf=name == DEAF_NAME))
    (work / "initrd.img").write_bytes(gzip.compress(archive, compresslevel=6, mtime=0))
    shutil.copyfile(SOURCES / "syslinux.cfg", work / "syslinux.cfg")
    _write_disk(work, work / "demo.raw")
    _tool("qemu-img", "convert", "-O", "qcow2", "-c", work / "demo.raw", out / name)


def _initramfs(kernel: str, *, deaf: bool) -> list[Entry]:
    entries = [Entry(folder) for folder in FOLDERS]
    entries.append(Entry("bin/busybox", parts.BUSYBOX.read_bytes()))
    for name, where in PLACES.items():
        content = (SOURCES / name).read_bytes()
        entries.append(Entry(where, _without_acpid(content) if deaf else content))
    order = []
    for path in _module_files(kernel):
        name = path.name.removesuffix(".xz").removesuffix(".gz")
        order.append(name)
        entries.append(Entry(f"lib/m/{name}", _module_bytes(path)))
    entries.append(Entry("lib/m/order", "".join(f"{name}\n" for name in order).encode()))
    return entries + _ssh_server(entries)


def _without_acpid(content: bytes) -> bytes:
    return b"".join(line for line in content.splitlines(True) if b"/acpid" not in line)


def _ssh_server(there: list[Entry]) -> list[Entry]:
    """The programs in /bin, their libraries where their loader looks for them."""
    entries = [Entry(f"bin/{path.name}", path.read_bytes()) for path in _programs()]
    libraries: dict[str, None] = {}
    for path in _programs():
        libraries.update(dict.fromkeys(parts.libraries(_tool("ldd", path))))
    files = [Entry(path.lstrip("/"), Path(path).read_bytes()) for path in libraries]
    return entries + image.with_parents(files, {entry.name for entry in there})


def _module_files(kernel: str) -> list[Path]:
    """Module files in the order in which they must be loaded; built-in ones have none."""
    found: dict[Path, None] = {}
    for module in MODULES:
        for line in _tool("modprobe", "-S", kernel, "-D", module).splitlines():
            words = line.split()
            if words and words[0] == "insmod":
                found.setdefault(Path(words[1]))
    return list(found)


def _module_bytes(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(data)
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _write_disk(work: Path, disk: Path) -> None:
    files = [work / "vmlinuz", work / "initrd.img", work / "syslinux.cfg"]
    for path in files:
        os.utime(path, (_EPOCH_S, _EPOCH_S))
    fat_mib = sum(path.stat().st_size for path in files) // (1024 * 1024) + 3
    fat_sectors = fat_mib * 2048
    with disk.open("wb") as handle:
        handle.truncate((fat_mib + 3) * 1024 * 1024)
        handle.write(_mbr_code().read_bytes()[:440])
        handle.seek(446)
        handle.write(image.partition_table(fat_sectors, _DATA_SECTORS))
    first_sector = str(_FAT_START_BYTES // image.SECTOR_BYTES)
    fat = ("-F", "16", "-n", "DEMO", "--invariant", "--offset", first_sector)
    _tool("mkfs.vfat", *fat, disk, fat_mib * 1024)
    _tool("mcopy", "-m", "-i", f"{disk}@@{_FAT_START_BYTES}", *files, "::")
    _tool("syslinux", "--offset", _FAT_START_BYTES, "--install", disk)


def _tool(name: str, *args: object) -> str:
    """Output of a tool; raises OperationFailed with what it said when it failed."""
    path = parts.which(name)
    assert path is not None, name
    argv = [path, *(str(arg) for arg in args)]
    # syslinux calls mcopy by its name; mtools would refuse a disk without a drive letter.
    env = {"PATH": parts.SBIN, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C", "TZ": "UTC"}
    env["SOURCE_DATE_EPOCH"] = str(_EPOCH_S)
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0 and name != "modprobe":
        said = done.stderr.strip() or done.stdout.strip()
        raise OperationFailed("E-DEMO", f"{name} failed with {done.returncode}", cause=said)
    return done.stdout
