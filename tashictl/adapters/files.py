"""Files that must last: whole or not at all, private, with the system's errors translated.

Every rename, link and fsync of the project is here. Paths are plain text.
"""
# Reading the state must not import pathlib, a tenth of a command's start:
# ruff: noqa: PTH102, PTH105, PTH108, PTH116, PTH118, PTH120, PTH208

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from tashictl.errors import Conflict, NotPermitted, OperationFailed, TashiError

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
TEMP_SUFFIX = ".tmp"

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP}
_NETWORK_TYPES = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs"}
_PIECE = 1 << 20
_serial = itertools.count()


def error_of(error: OSError, path: str, doing: str) -> TashiError:
    """Translate a system error; `doing` reads like ``be written``."""
    what = f"{path} cannot {doing}"
    cause = error.strerror or str(error)
    if error.errno in _FULL:
        hint = "free some space there; what was there before is unchanged"
        return OperationFailed("E-DISK-FULL", what, cause=cause, hint=hint)
    if error.errno in _FORBIDDEN:
        hint = f"run as the owner: ls -ld {os.path.dirname(path)} {path}"
        return NotPermitted("E-ACCESS", what, cause=cause, hint=hint)
    return OperationFailed("E-FILE", what, cause=cause, hint="check the disk and the path")


@contextmanager
def translated(path: str, doing: str) -> Iterator[None]:
    """Raise a system error of the block as ours (E-DISK-FULL, E-ACCESS, E-FILE)."""
    try:
        yield
    except OSError as error:
        raise error_of(error, path, doing) from error


def read_file(path: str) -> bytes | None:
    """The whole file, or None when there is none; raises E-ACCESS or E-FILE."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise error_of(error, path, "be read") from error
    with translated(path, "be read"):
        try:
            return read_all(fd)
        finally:
            os.close(fd)


def pieces_of(path: str) -> Iterator[bytes]:
    """The file in pieces of a MiB or less, nothing when there is none; raises E-ACCESS, E-FILE."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise error_of(error, path, "be read") from error
    with translated(path, "be read"):
        try:
            while piece := os.read(fd, _PIECE):
                yield piece
        finally:
            os.close(fd)


def read_all(fd: int) -> bytes:
    """All bytes from the place of `fd` to the end; raises OSError."""
    expected = os.fstat(fd).st_size + 1
    chunks: list[bytes] = []
    while chunk := os.read(fd, max(expected, 65536)):
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, however small the kernel's bites; raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def sync(fd: int) -> None:
    """Make a file's content last; raises OSError."""
    os.fsync(fd)


def sync_folder(folder: str) -> None:
    """Make the names in a folder last, where the file system can; raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(fd)


def open_temp(path: str, mode: int = PRIVATE_FILE) -> tuple[int, str]:
    """Open a new file beside `path` under a name that nobody else uses; raises OSError."""
    folder, name = os.path.split(path)
    while True:
        temp = os.path.join(folder, f".{name}.{os.getpid()}.{next(_serial)}{TEMP_SUFFIX}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(temp, flags, mode), temp
        except FileExistsError:  # left by a process of the same id that died
            continue


@contextmanager
def staged(path: str, parts: Iterable[bytes], mode: int = PRIVATE_FILE) -> Iterator[str]:
    """Hold `parts`, one behind the other, durably beside `path`, ready for `publish`.

    The file is removed at the end if it was not published. Raises E-DISK-FULL, E-ACCESS, E-FILE.
    """
    temp = None
    try:
        with translated(path, "be written"):
            fd, temp = open_temp(path, mode)
            try:
                for part in parts:
                    write_all(fd, part)
                sync(fd)
            finally:
                os.close(fd)
        yield temp
    finally:
        if temp is not None:
            with suppress(OSError):
                os.unlink(temp)


def remove_orphans(path: str) -> None:
    """Remove the temporary files that dead writers of `path` left.

    Only for one who keeps all other writers of `path` out. Never fails: they do no harm.
    """
    folder, name = os.path.split(path)
    with suppress(TashiError):
        for other in names_in(folder or "."):
            if other.startswith(f".{name}.") and other.endswith(TEMP_SUFFIX):
                remove(os.path.join(folder, other))


def publish(temp: str, path: str) -> None:
    """Let a staged file take the place of `path`, at once; raises as `staged`."""
    with translated(path, "be replaced"):
        os.replace(temp, path)


def write_lasting(path: str, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file so that after a power cut the old or the new one is there, whole."""
    with staged(path, (data,), mode=mode) as temp:
        publish(temp, path)
    with translated(path, "be made durable"):
        sync_folder(os.path.dirname(path) or ".")


def write_new(path: str, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """As `write_lasting` for a file that must not be there yet; raises Conflict E-EXISTS too."""
    with staged(path, (data,), mode=mode) as temp, translated(path, "be written"):
        try:
            link(temp, path)
        except FileExistsError as error:
            raise Conflict("E-EXISTS", f"{path} exists already") from error
        sync_folder(os.path.dirname(path) or ".")


def names_in(folder: str) -> tuple[str, ...]:
    """The names in a folder, sorted, none when there is no such folder; raises E-ACCESS, E-FILE."""
    with translated(folder, "be listed"):
        try:
            return tuple(sorted(os.listdir(folder)))
        except FileNotFoundError:
            return ()


def exists(path: str) -> bool:
    """Whether there is anything of that name, be it a broken link."""
    return os.path.lexists(path)


def is_at(fd: int, path: str) -> bool:
    """Whether `path` names the file behind `fd`, not a successor or nothing; raises OSError."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def remove(path: str) -> None:
    """Remove a file if it is there; raises E-ACCESS, E-FILE."""
    with translated(path, "be removed"), suppress(FileNotFoundError):
        os.unlink(path)


def link(path: str, name: str) -> None:
    """Give the file at `path` a second name, which must be free; raises OSError."""
    os.link(path, name)


def make_private_folder(path: str) -> None:
    """Make a folder that only its owner can enter (0700); an existing one is left as it is."""
    with translated(path, "be made"), suppress(FileExistsError):
        os.mkdir(path, PRIVATE_FOLDER)


def exposure(path: str) -> str | None:
    """Say why a file or folder is not private (0600, 0700, ours or root's), or None when it is."""
    with translated(path, "be examined"):
        found = os.lstat(path)
    wanted = PRIVATE_FOLDER if stat.S_ISDIR(found.st_mode) else PRIVATE_FILE
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        return f"mode {mode:04o}, should be {wanted:04o}"
    if found.st_uid not in (0, os.getuid()):
        return f"belongs to user {found.st_uid}"
    return None


def make_private(path: str) -> None:
    """Take the rights on a file or folder of ours from all others; a link is refused.

    Raises E-ACCESS, E-FILE.
    """
    with translated(path, "be made private"):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode) & ~0o077)
        finally:
            os.close(fd)


def free_bytes(path: str) -> int:
    """What an ordinary user may still write there; raises E-ACCESS, E-FILE."""
    with translated(path, "be examined"):
        found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def network_type(path: str, mounts: str | None = None) -> str | None:
    """The network file system below `path` (``nfs4`` …), or None for a local one.

    `mounts` is the text of /proc/self/mounts (fstab(5)), read when it is not given.
    """
    if mounts is None:
        raw = read_file("/proc/self/mounts")
        mounts = os.fsdecode(raw) if raw else ""
    target = os.path.realpath(path) + "/"
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = _unescape(fields[1]).rstrip("/") + "/"
        if target.startswith(point) and len(point) >= len(best):  # the last of two on top wins
            best, kind = point, fields[2]
    return kind if kind in _NETWORK_TYPES else None


def network_warning(path: str) -> str | None:
    """A warning for a state folder whose locks reach other machines slowly or not at all."""
    kind = network_type(path)
    if kind is None:
        return None
    return (
        f"{path} lies on {kind}: locks there may fail or be lost among machines;"
        " keep the cluster directory on a local disk"
    )


def _unescape(field: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, char)
    return field
