"""Every kind of disagreement by its id, which is stable. docs/formats.md has this table."""

from __future__ import annotations

from msgspec import Struct


class Kind(Struct, frozen=True, kw_only=True):
    """A kind: what it means, and what `--repair` does about it ("" where only people can)."""

    id: str
    about: str
    mends: str = ""


def _kind(id_: str, about: str, mends: str = "") -> Kind:
    return Kind(id=id_, about=about, mends=mends)


KINDS = (
    _kind("deferred", "work that waits for a server since an operation", "does it"),
    _kind("dns-missing", "a VM's name is not in the zone", "adds it"),
    _kind("dns-wrong", "the name has our mark and other addresses", "puts the right ones there"),
    _kind("dns-orphan", "a name with our mark that no VM has", "removes it"),
    _kind("dns-foreign", "a VM's name has records that do not carry its mark"),
    _kind("ptr-missing", "the address of a VM has no name", "adds it"),
    _kind("ptr-wrong", "it has another name", "where it is ours: puts the right one there"),
    _kind("ptr-orphan", "the name of an address has our mark, and no VM has it", "removes it"),
    _kind("dhcp-missing", "an interface of a VM is not in DHCP", "adds it"),
    _kind("dhcp-wrong", "its host there has its mark and other content", "replaces it"),
    _kind("dhcp-orphan", "a host there is ours, and no VM has it", "removes it"),
    _kind("dhcp-foreign", "a host there is not ours and has a VM's name, MAC or address"),
    _kind("address-taken", "a neighbour table has a VM's address with another MAC"),
    _kind("mac-unknown", "a QEMU of ours has a MAC that the database does not give it"),
    _kind("mac-twice", "two QEMUs have one MAC"),
    _kind("tap-orphan", "a TAP of ours on a host where no VM has it"),
)
ORDER = {kind.id: place for place, kind in enumerate(KINDS)}
