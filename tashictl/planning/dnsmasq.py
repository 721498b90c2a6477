"""Leases and names as files that dnsmasq reads: the script that changes them, and its answer.

An interface has one file of its name in each folder, whose first line is the owner's mark:
``MAC,address…,name`` in the dhcp-hostsdir, and a line ``address name`` for each
address in the hostsdir, where there is one. See docs/names.md for what the operator configures.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from tashictl.errors import Conflict, InvalidRequest, StepFailed, TashiError
from tashictl.model import names
from tashictl.model.naming import DhcpEntry, owner_of
from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning.dnsmasq_text import CHANGE
from tashictl.planning.frames import Section, sections
from tashictl.planning.shell import HEAD, TAIL, assign, quote

TIMEOUT_S = 60
LOCK_WAIT_S = 20
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_MARK = re.compile(r"[!-~]+")
# What dnsmasq takes for something else where a host's name stands (dhcp-host in dnsmasq(8)).
_WORD = re.compile(r"ignore|infinite|[0-9]+[wdhms]?")


def script(
    changes: Sequence[tuple[DhcpEntry, bool]], settings: Settings, nonce: str, not_after_s: int
) -> Script:
    """The script that adds (True) or removes entries, each only where it is free or ours.

    It does not begin after `not_after_s`, in seconds of the host's clock. An entry that dnsmasq
    could not carry is left out; `read` says why.
    """
    dhcp = settings.dhcp
    lines = (
        _line(place, entry, add=add)
        for place, (entry, add) in enumerate(changes)
        if problem(entry) is None
    )
    values = assign(
        N=nonce,
        H=dhcp.dnsmasq_leases_dir,
        D=dhcp.dnsmasq_names_dir,
        PID=dhcp.dnsmasq_pid_file,
        NOT_AFTER=not_after_s,
        WAIT=LOCK_WAIT_S,
        ENTRIES="\n".join(lines),
    )
    return Script(
        text=HEAD + values + CHANGE + TAIL, nonce=nonce, changing=True, timeout_s=TIMEOUT_S
    )


def _line(place: int, entry: DhcpEntry, *, add: bool) -> str:
    if not add:
        return f"X {place} {entry.name} {entry.owner}"
    return f"A {place} {entry.name} {entry.owner} {host_line(entry)} {entry.fqdn or '-'}"


def host_line(entry: DhcpEntry) -> str:
    """What stands in dnsmasq's dhcp-hostsdir of an entry, below the mark."""
    # No tag (set:): with one, dnsmasq 2.90 dies at SIGHUP once the guest has had its lease.
    addresses = (f"[{a}]" if ":" in a else a for a in entry.addresses)
    return ",".join((entry.mac, *addresses, entry.name))


def problem(entry: DhcpEntry) -> TashiError | None:
    """Why dnsmasq could not carry an entry, None when it could."""
    cause = next(_faults(entry), None)
    if cause is None:
        return None
    return InvalidRequest("E-DHCP-ENTRY", f"dnsmasq cannot carry {entry.name!r}", cause=cause)


def _faults(entry: DhcpEntry) -> Iterator[str]:
    if not names.is_name(entry.name):
        yield names.NAME_RULE
    elif _WORD.fullmatch(entry.name):
        yield "dnsmasq reads that name as a lease time or a keyword"
    if entry.fqdn and not names.is_domain(entry.fqdn):
        yield f"{entry.fqdn!r} is no name for DNS (RFC 1035)"
    if not _MAC.fullmatch(entry.mac):
        yield f"{entry.mac!r} is no MAC"
    if owner_of(entry.owner) is None or not _MARK.fullmatch(entry.owner):
        yield f"{entry.owner!r} is no owner's mark"
    try:
        versions = [ipaddress.ip_address(a).version for a in entry.addresses]
    except ValueError as error:
        yield str(error)
        return
    if not versions:
        yield "it has no address"
    if versions.count(4) > 1:
        yield "one interface gets at most one IPv4 address from it"
    if any("%" in a for a in entry.addresses):
        yield "an address with a zone is no address to give out"


def read(
    out: bytes, nonce: str, changes: Sequence[tuple[DhcpEntry, bool]], settings: Settings, host: str
) -> list[TashiError | None] | None:
    """What became of each entry; None for an answer that is not whole."""
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    refused = next((s.words for s in found if s.kind == "R"), None)
    said = {} if refused else _said(found)
    results: list[TashiError | None] = []
    for place, (entry, add) in enumerate(changes):
        if (fault := problem(entry)) is not None:
            # What it cannot carry it never had.
            results.append(fault if add else None)
        elif refused:
            results.append(_refusal(refused, host))
        elif place not in said:
            return None
        else:
            results.append(_error(entry, said[place], settings, host))
    return results


def _said(found: Sequence[Section]) -> dict[int, list[str]]:
    said = {}
    for section in found:
        if (section.kind, section.words) != ("B", ("entries",)):
            continue
        for line in section.text.splitlines():
            number, _, rest = line.partition(" ")
            if re.fullmatch(r"[0-9]{1,9}", number):
                said[int(number)] = rest.split(" ")
    return said


def _refusal(words: Sequence[str], host: str) -> TashiError:
    why, value = (*words, "")[0], " ".join(words[1:])
    code, cause = {
        "late": ("E-LATE", "the host's clock says that the script came too late"),
        "busy": ("E-BUSY", "another script holds the lock on dnsmasq's folder"),
        "folder": ("E-FOLDER", "dnsmasq's folder cannot be written (read-only or not permitted)"),
    }.get(why, ("E-REFUSED", why))
    what = f"{host} refused: {value}".rstrip(": ")
    hint = f"tashictl host check {host}" if why == "late" else ""
    return StepFailed(code, what, cause=cause, hint=hint, host=host)


def _error(
    entry: DhcpEntry, words: Sequence[str], settings: Settings, host: str
) -> TashiError | None:
    match words:
        case ["done" | "same" | "gone"]:
            return None
        case ["full"]:
            what = f"no room for {entry.name} in dnsmasq's folder"
            cause = f"{settings.dhcp.dnsmasq_leases_dir} on {host} is full or read-only"
            hint = "make room there; nothing of it was written"
            return StepFailed("E-NO-SPACE", what, cause=cause, hint=hint, host=host)
        case ["foreign", owner, folder, *rest]:
            path = _path(folder, rest, settings)
            what = f"{path} on {host} is not ours"
        case ["taken", kind, _value, owner, folder, *rest]:
            path = _path(folder, rest, settings)
            what = f"{entry.name}'s {kind} stands already in {path} on {host}"
        case _:
            return StepFailed(
                "E-DHCP-ANSWER", f"{host} said of {entry.name}: {' '.join(words)}", host=host
            )
    cause = "its first line is no owner's mark" if owner == "-" else f"it belongs to {owner}"
    return Conflict("E-DHCP-FOREIGN", what, cause=cause, hint=f"cat {quote(path)}", host=host)


def _path(folder: str, rest: Sequence[str], settings: Settings) -> str:
    dhcp = settings.dhcp
    where = dhcp.dnsmasq_leases_dir if folder == "H" else dhcp.dnsmasq_names_dir
    return f"{where}/{' '.join(rest)}"
