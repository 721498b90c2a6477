"""Whether a file may be believed: who owns it, who may write it, who may read it."""
# Reading the configuration must not import pathlib, a tenth of a command's start:
# ruff: noqa: PTH116

from __future__ import annotations

import os
import stat
from collections.abc import Collection

from msgspec import Struct

from tashictl.adapters import files
from tashictl.errors import InvalidRequest

MAX_BYTES = 16 * 1024 * 1024


class Content(Struct, frozen=True, kw_only=True):
    """A regular file's bytes with what was true of that very file when it was opened."""

    data: bytes
    status: os.stat_result


def read(path: str) -> Content | None:
    """Read a regular file of at most 16 MiB; None if it is absent.

    The answer's status is of the opened file, so that it cannot be exchanged in between. Raises
    PermissionError, or InvalidRequest (E-FILE) for what is no such file.
    """
    try:
        # Without waiting for the writer of a FIFO.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise InvalidRequest("E-FILE", f"cannot read {path}", cause=str(error)) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidRequest("E-FILE", f"{path} is no regular file")
        if status.st_size > MAX_BYTES:
            raise InvalidRequest("E-FILE", f"{path} is larger than {MAX_BYTES >> 20} MiB")
        return Content(data=files.read_all(fd), status=status)
    except OSError as error:
        raise InvalidRequest("E-FILE", f"cannot read {path}", cause=str(error)) from error
    finally:
        os.close(fd)


def mode_of(path: str) -> int | None:
    """The mode of what `path` leads to; None if it is absent or out of reach."""
    try:
        return os.stat(path).st_mode
    except OSError:
        return None


def is_folder(path: str) -> bool:
    """Whether `path` leads to a folder."""
    mode = mode_of(path)
    return mode is not None and stat.S_ISDIR(mode)


def owner_fault(status: os.stat_result, trusted: Collection[int]) -> str:
    """Why the owner is not to be trusted, or ``""``; `trusted` are user ids besides root."""
    if status.st_uid in (0, *trusted):
        return ""
    return f"it belongs to user id {status.st_uid}, not to you or root"


def file_fault(status: os.stat_result, trusted: Collection[int]) -> str:
    """Why a file may not decide what is run, or ``""``: foreign, or others may write it."""
    fault = owner_fault(status, trusted)
    if not fault and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault = "others than its owner may write it"
    return fault


def folder_fault(folder: str, trusted: Collection[int]) -> str:
    """Why a folder's files may not be believed, or ``""``: foreign, or everybody may write it.

    A folder that is not there has no fault.
    """
    try:
        status = os.stat(folder)
    except OSError:
        return ""
    fault = owner_fault(status, trusted)
    if not fault and status.st_mode & stat.S_IWOTH:
        fault = "everybody may write it"
    return fault
