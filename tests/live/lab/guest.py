"""A tiny bootable guest: Debian's cloud kernel, busybox and a few scripts, as a qcow2 image.

Built in a few seconds without root and without loop mounts. It boots with 128 MiB from a BIOS
machine (`pc`) and speaks on its first serial line: `BOOTED host=…`, `HB n up=…` each second,
`DHCP …` when it was given an address, `SHUTDOWN clean` after its power button was pressed. A power
button pressed before `BOOTED` is lost: press again.
"""

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.live.lab import image, needs
from tests.live.lab.image import Entry

NAME = "demo.qcow2"
SOURCES = Path(__file__).parent / "guest_init"
MODULES = (
    *("virtio_pci", "virtio_net", "virtio_blk", "virtio_balloon", "virtio_rng", "virtio_console"),
    *("evdev", "button", "qemu_fw_cfg", "ata_piix", "sr_mod", "isofs"),
)
PLACES = {
    "init": "init",
    "inittab": "etc/inittab",
    "rc": "etc/rc",
    "udhcpc.sh": "etc/udhcpc.sh",
    "heartbeat": "etc/heartbeat",
    "shutdown": "etc/shutdown",
    "power_button": "etc/acpi/PWRF/00000080",
}
FOLDERS = (
    *("bin", "proc", "sys", "dev", "tmp", "mnt", "run", "root"),
    *("etc", "etc/acpi", "etc/acpi/PWRF", "lib", "lib/m"),
)
_FAT_START_BYTES = 1024 * 1024
_DATA_SECTORS = 2048


def default_cache() -> Path:
    """Where built images are kept: `$XDG_CACHE_HOME/tashictl-lab`, else `~/.cache/tashictl-lab`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tashictl-lab"


def build(cache_dir: Path | None = None) -> Path:
    """Path of the demo image, built unless the cache has one made of the same inputs.

    Two builds at once are safe: each works in a folder of its own and the first rename wins.
    Raises needs.MissingPartError with every missing tool and the packages that bring them.
    """
    cache = cache_dir or default_cache()
    needs.require(needs.missing_for_guest())
    kernel = needs.kernel_version()
    assert kernel is not None
    final = cache / f"guest-{_digest(kernel)}"
    if not (final / NAME).exists():
        cache.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="build-", dir=cache))
        try:
            _build_into(work, kernel)
            _publish(work / "out", final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final / NAME


def _publish(out: Path, final: Path) -> None:
    try:
        out.rename(final)
    except OSError:
        if not (final / NAME).exists():
            raise


def _digest(kernel: str) -> str:
    digest = hashlib.sha256(f"{kernel} {MODULES} {_mbr_code().name}".encode())
    inputs = [Path(f"/boot/vmlinuz-{kernel}"), needs.BUSYBOX, _mbr_code()]
    inputs += [Path(__file__), Path(image.__file__), *sorted(SOURCES.iterdir())]
    for path in inputs:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _mbr_code() -> Path:
    return next(path for path in needs.MBR_CODE if path.exists())


def _build_into(work: Path, kernel: str) -> None:
    out = work / "out"
    out.mkdir()
    shutil.copyfile(f"/boot/vmlinuz-{kernel}", work / "vmlinuz")
    archive = image.cpio(_initramfs(kernel))
    (work / "initrd.img").write_bytes(gzip.compress(archive, compresslevel=9, mtime=0))
    shutil.copyfile(SOURCES / "syslinux.cfg", work / "syslinux.cfg")
    _write_disk(work, work / "demo.raw")
    _tool("qemu-img", "convert", "-O", "qcow2", "-c", work / "demo.raw", out / NAME)


def _initramfs(kernel: str) -> list[Entry]:
    entries = [Entry(folder) for folder in FOLDERS]
    entries.append(Entry("bin/busybox", needs.BUSYBOX.read_bytes()))
    entries += [Entry(place, (SOURCES / name).read_bytes()) for name, place in PLACES.items()]
    order = []
    for path in _module_files(kernel):
        name = path.name.removesuffix(".xz").removesuffix(".gz")
        order.append(name)
        entries.append(Entry(f"lib/m/{name}", _module_bytes(path)))
    entries.append(Entry("lib/m/order", "".join(f"{name}\n" for name in order).encode()))
    return entries


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
    fat_mib = sum(path.stat().st_size for path in files) // (1024 * 1024) + 3
    fat_sectors = fat_mib * 2048
    with disk.open("wb") as handle:
        handle.truncate((fat_mib + 3) * 1024 * 1024)
        handle.write(_mbr_code().read_bytes()[:440])
        handle.seek(446)
        handle.write(image.partition_table(fat_sectors, _DATA_SECTORS))
    first_sector = str(_FAT_START_BYTES // image.SECTOR_BYTES)
    _tool("mkfs.vfat", "-F", "16", "-n", "DEMO", "--offset", first_sector, disk, fat_mib * 1024)
    _tool("mcopy", "-i", f"{disk}@@{_FAT_START_BYTES}", *files, "::")
    _tool("syslinux", "--offset", _FAT_START_BYTES, "--install", disk)


def _tool(name: str, *args: object) -> str:
    """Output of a tool; raises RuntimeError with what it said when it failed."""
    path = needs.which(name)
    assert path is not None, name
    argv = [path, *(str(arg) for arg in args)]
    # syslinux calls mcopy by its name; mtools would refuse a disk without a drive letter.
    env = {"PATH": needs.SBIN, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0 and name != "modprobe":
        raise RuntimeError(f"{name} failed with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
