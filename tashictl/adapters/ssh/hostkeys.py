"""The trusted host keys of a cluster, in a file of OpenSSH's known_hosts format."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from tashictl.errors import InvalidRequest
from tashictl.model.script import HostKey

_MARKERS = ("@cert-authority", "@revoked")


class Line(Struct, frozen=True, kw_only=True):
    """One line of the file; `text` is kept as it was read, the rest is empty where it is no key."""

    text: str
    marker: str = ""
    hosts: tuple[str, ...] = ()
    key: HostKey | None = None


def fingerprint_of(blob: bytes) -> str:
    """OpenSSH's fingerprint of a public key blob: ``SHA256:`` and unpadded base64."""
    digest = hashlib.sha256(blob).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def host_key(algorithm: str, blob: bytes) -> HostKey:
    """A key as the model has it, from its algorithm and its public blob (RFC 4253, 6.6)."""
    text = base64.b64encode(blob).decode("ascii")
    return HostKey(algorithm=algorithm, base64=text, fingerprint=fingerprint_of(blob))


def parse_line(text: str) -> Line:
    """Read one line; whatever is not understood is kept as text and means nothing."""
    bare = text.strip()
    if not bare or bare.startswith("#"):
        return Line(text=text)
    fields = bare.split()
    marker = fields.pop(0) if fields[0] in _MARKERS else ""
    if len(fields) < 3 or fields[0].startswith("@"):
        return Line(text=text)
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return Line(text=text)
    key = host_key(fields[1], blob)
    if not blob or key.base64.rstrip("=") != fields[2].rstrip("="):
        return Line(text=text)
    return Line(text=text, marker=marker, hosts=tuple(fields[0].split(",")), key=key)


def format_line(host: str, key: HostKey) -> str:
    """The line that makes `key` trusted for `host`."""
    return f"{host} {key.algorithm} {key.base64}"


def without(lines: tuple[Line, ...], host: str, algorithm: str | None) -> tuple[Line, ...]:
    """The lines without `host`'s plain keys (of one algorithm); its fellows on a line stay."""
    kept = []
    for line in lines:
        hit = line.key is not None and not line.marker and host in line.hosts
        if not hit or (algorithm is not None and line.key and line.key.algorithm != algorithm):
            kept.append(line)
            continue
        others = tuple(name for name in line.hosts if name != host)
        if others and line.key is not None:
            kept.append(parse_line(format_line(",".join(others), line.key)))
    return tuple(kept)


class _Index(Struct, frozen=True):
    lines: tuple[Line, ...]
    keys: dict[str, tuple[HostKey, ...]]
    revoked: dict[str, frozenset[str]]


def index_of(lines: tuple[Line, ...]) -> _Index:
    """Names to keys, so that a lookup does not cost a walk over the file."""
    keys: dict[str, list[HostKey]] = {}
    revoked: dict[str, set[str]] = {}
    for line in lines:
        if line.key is None or line.marker == "@cert-authority":
            continue
        for name in line.hosts:
            if line.marker:
                revoked.setdefault(name, set()).add(line.key.base64)
            elif line.key not in keys.setdefault(name, []):
                keys[name].append(line.key)
    return _Index(
        lines,
        {name: tuple(found) for name, found in keys.items()},
        {name: frozenset(found) for name, found in revoked.items()},
    )


class HostKeyStore:
    """Trust in a file; read again when it has changed, written atomically with mode 0600.

    Names are those of the inventory. Hashed names and patterns of the file are kept but mean
    nothing here: they cannot be names of the inventory. ``@cert-authority`` lines are kept and
    not used; a key in an ``@revoked`` line for the name or for ``*`` is never trusted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._index = index_of(())

    def key_of(self, host: str) -> tuple[HostKey, ...]:
        """The trusted keys of a host, empty when none is; raises InvalidRequest on a bad file."""
        index = self._read()
        return tuple(k for k in index.keys.get(host, ()) if not _is_revoked(index, host, k))

    def is_revoked(self, host: str, key: HostKey) -> bool:
        """Whether an ``@revoked`` line names this key."""
        return _is_revoked(self._read(), host, key)

    def trust(self, host: str, key: HostKey) -> None:
        """Trust `key` for `host`, in place of any other of the same algorithm."""
        added = parse_line(format_line(host, key))
        if added.key != key or added.hosts != (host,):
            raise InvalidRequest("E-HOSTKEY", f"no host key that can be kept for {host}")
        self._change(lambda lines: (*without(lines, host, key.algorithm), added))

    def forget(self, host: str) -> None:
        """Trust no key of `host` any more."""
        self._change(lambda lines: without(lines, host, None))

    def _read(self) -> _Index:
        with self._lock:
            try:
                found = self._path.stat()
            except FileNotFoundError:
                self._stamp, self._index = None, index_of(())
                return self._index
            except OSError as error:
                raise _unreadable(self._path, error) from error
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp != self._stamp:
                self._index = index_of(_load(self._path))
                self._stamp = stamp
            return self._index

    def _change(self, edit: Callable[[tuple[Line, ...]], tuple[Line, ...]]) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock, _locked(self._path):
                lines = _load(self._path) if self._path.exists() else ()
                after = edit(lines)
                if after != lines:
                    _write(self._path, "".join(line.text + "\n" for line in after))
                self._stamp = None
        except OSError as error:
            raise _unreadable(self._path, error) from error


def _is_revoked(index: _Index, host: str, key: HostKey) -> bool:
    return any(key.base64 in index.revoked.get(name, ()) for name in (host, "*"))


def _unreadable(path: Path, error: OSError) -> InvalidRequest:
    return InvalidRequest(
        "E-KNOWN-HOSTS",
        f"the host keys in {path} cannot be read or written",
        cause=error.strerror or str(error),
        hint="check the owner and the mode of the file and its folder",
    )


def _load(path: Path) -> tuple[Line, ...]:
    # Foreign bytes (a Latin-1 comment) must survive a rewrite.
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    return tuple(map(parse_line, text.removesuffix("\n").split("\n"))) if text else ()


def _write(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    # Two `host add` at once must not lose each other's key.
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
