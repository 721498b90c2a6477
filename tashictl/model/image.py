"""A disk image that lies on hosts or on their shared prefix."""

from __future__ import annotations

from msgspec import Struct


class Image(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image by name below ``<Vfs prefix>/images``; `hosts` are those that have it.

    `shared` means that all hosts see the same file. `sha256` is None until it was computed.
    """

    name: str
    format: str
    size_bytes: int
    virtual_size_bytes: int
    backing: str | None = None
    sha256: str | None = None
    arch: str = "x86_64"
    hosts: tuple[str, ...] = ()
    shared: bool = False
