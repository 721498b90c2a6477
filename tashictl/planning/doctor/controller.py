"""What is wrong with this machine, from where the cluster is managed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

from msgspec import Struct

from tashictl.model.health import Health, HeldLock, LoginKeys, Package
from tashictl.model.host import HostRecord
from tashictl.model.settings import Note, Weight
from tashictl.model.units import show_bytes
from tashictl.planning.doctor.findings import Finding, Severity, ok
from tashictl.planning.shell import quote

_FULL_BYTES, _LOW_BYTES = 16 << 20, 256 << 20
_LONG_S = 3600.0  # a lock that is held longer is told
_SHOWN = 4
_SINCE = re.compile(r"since (\S+)$")
_STATE_SEVERITIES = {"warning": Severity.WARNING, "error": Severity.ERROR}


class Desk(Struct, frozen=True, kw_only=True):
    """What a controller is held against; `decayed_s` is when a picture of a host is too old."""

    now: datetime
    hosts: Mapping[str, HostRecord]
    vms: int
    decayed_s: float
    notes: tuple[Note, ...] = ()


def findings(seen: Health, at: Desk) -> tuple[Finding, ...]:
    """Every finding about this machine, of all severities."""
    return (
        *_versions(seen),
        *_state(seen),
        _room(seen),
        *_locks(seen, at),
        *_keys(seen),
        _known_hosts(seen),
        *_secrets(seen),
        _sweep(at),
        *_config(at),
    )


def _bad(check: str, severity: Severity, evidence: str, remedy: str, subject: str = "") -> Finding:
    return Finding(id=check, severity=severity, evidence=evidence, remedy=remedy, subject=subject)


# -- what it runs with


def _versions(seen: Health) -> Iterator[Finding]:
    if seen.python_wanted and _numbers(seen.python) < _numbers(seen.python_wanted):
        told = f"Python {seen.python}, and {seen.python_wanted} or later is needed"
        remedy = f"a virtual environment of a Python {seen.python_wanted}"
        yield _bad("controller.python", Severity.ERROR, told, remedy)
    else:
        yield ok("controller.python", f"Python {seen.python}")
    if not seen.packages:
        yield ok("controller.packages", "not installed as a package: nothing is known")
        return
    wrong = [p for p in seen.packages if not _fits(p)]
    for package in wrong:
        found = f"{package.name} {package.found or 'is absent'}"
        yield _bad(
            "controller.packages",
            Severity.ERROR,
            f"{found}, and {package.wanted} or later is needed",
            f"pip install {quote(f'{package.name}>={package.wanted}')}",
            subject=package.name,
        )
    if not wrong:
        yield ok("controller.packages", f"{len(seen.packages)} packages, none too old")


def _fits(package: Package) -> bool:
    if package.found is None:
        return package.optional
    return _numbers(package.found) >= _numbers(package.wanted)


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, without zeros at the end: 8.10 is behind 8.9, 5.0 is 5."""
    numbers = []
    for part in version.split("."):
        digits = re.match(r"[0-9]{1,9}", part)
        if digits is None:
            break
        numbers.append(int(digits.group()))
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


# -- the state folder


def _state(seen: Health) -> Iterator[Finding]:
    if seen.exposed:
        first = seen.exposed[0]
        more = f" and {len(seen.exposed) - 1} more" if len(seen.exposed) > 1 else ""
        foreign = [x.path for x in seen.exposed if not x.ours]
        remedy = f"chmod -R go= {quote(seen.folder)}"
        yield Finding(
            id="controller.state-private",
            severity=Severity.ERROR,
            evidence=f"{first.path}: {first.why}{more}",
            remedy=f"chown -R $(id -u) {quote(seen.folder)} && {remedy}" if foreign else remedy,
            private=tuple(x.path for x in seen.exposed if x.ours),
        )
    else:
        yield ok("controller.state-private", f"{seen.folder} is its owner's alone")
    if seen.network is not None:
        yield _bad(
            "controller.state-network",
            Severity.WARNING,
            f"{seen.folder} lies on {seen.network}: locks there may fail or be lost among machines",
            "a cluster directory on a local disk (--cluster DIR)",
        )
    else:
        yield ok("controller.state-network", "on a local file system")
    wrong = [f for f in seen.state if f.severity in _STATE_SEVERITIES]
    for one in wrong:
        severity = _STATE_SEVERITIES[one.severity]
        remedy = one.remedy or "tashictl state check"
        yield _bad("controller.state", severity, one.evidence, remedy, subject=one.id)
    if not wrong:
        yield ok("controller.state", "state check finds nothing")


def _room(seen: Health) -> Finding:
    if seen.free_bytes is None:
        return ok("controller.disk", "free space unknown")
    told = f"{show_bytes(seen.free_bytes)} free in {seen.folder}"
    if seen.free_bytes >= _LOW_BYTES:
        return ok("controller.disk", told)
    full = seen.free_bytes < _FULL_BYTES
    return _bad(
        "controller.disk",
        Severity.ERROR if full else Severity.WARNING,
        told,
        f"make room: df -h {quote(seen.folder)}",
    )


def _locks(seen: Health, at: Desk) -> Iterator[Finding]:
    told = False
    for lock in seen.locks:
        if not lock.held:
            told = True
            yield _bad(
                "controller.locks",
                Severity.NOTE,
                f"was left by {lock.holder}, which has ended: it keeps nobody out",
                "none needed; what it was doing: tashictl op list",
                subject=lock.name,
            )
        elif _held_s(lock, at.now) > _LONG_S:
            told = True
            yield _bad(
                "controller.locks",
                Severity.WARNING,
                f"held by {lock.holder}",
                "see whether that process still works; a lock ends with its process",
                subject=lock.name,
            )
    if not told:
        yield ok("controller.locks", "none that was left or is held for long")


def _held_s(lock: HeldLock, now: datetime) -> float:
    match = _SINCE.search(lock.holder)
    try:
        since = datetime.fromisoformat(match[1]) if match is not None else now
        return (now - since).total_seconds()
    except (ValueError, TypeError):  # no time, or one without a zone
        return 0.0


# -- the way to the hosts


def _keys(seen: Health) -> Iterator[Finding]:
    if seen.keys_fault:
        remedy = "mend ~/.ssh/config"
        yield _bad("controller.ssh-keys", Severity.WARNING, seen.keys_fault, remedy)
        return
    without: dict[tuple[str, ...], list[str]] = {}
    for one in seen.keys:
        if not one.usable:
            without.setdefault(one.unusable, []).append(one.host)
    for unusable, hosts in without.items():
        why = "; ".join(unusable) or "no agent and no key file"
        yield _bad(
            "controller.ssh-keys",
            Severity.ERROR,
            f"no key to log in with on {_few(hosts)}: {why}",
            "ssh-add, or identity_file in the inventory, or ssh-keygen -t ed25519",
            subject=hosts[0],
        )
    if not without:
        yield ok("controller.ssh-keys", _key_words(seen.keys))


def _key_words(keys: tuple[LoginKeys, ...]) -> str:
    names = dict.fromkeys(name for one in keys for name in one.usable)
    return f"{_few(list(names))}, for {len(keys)} hosts" if names else "no host is reached by SSH"


def _known_hosts(seen: Health) -> Finding:
    if not seen.unknown:
        return ok("controller.known-hosts", "the key of every host is trusted")
    return _bad(
        "controller.known-hosts",
        Severity.WARNING,
        f"no trusted key of {_few(list(seen.unknown))}",
        f"tashictl host add {seen.unknown[0]}, or host trust {seen.unknown[0]} for one of ours",
    )


def _secrets(seen: Health) -> Iterator[Finding]:
    for one in seen.secrets:
        yield _bad(
            "controller.secrets",
            Severity.WARNING,
            f"{one.path} can be read by others ({one.why})",
            f"chmod 600 {quote(one.path)}",
            subject=one.path,
        )
    if not seen.secrets:
        yield ok("controller.secrets", "no key file that others can read")


# -- what is done from here


def _sweep(at: Desk) -> Finding:
    """The newest contact with any host: a sweep makes one with each."""
    times = [t for t in map(_contact, at.hosts.values()) if t is not None]
    if not at.hosts:
        return ok("controller.sweep", "no host was added yet")
    if not times:
        return _late("no host was ever reached", at)
    age_s = (at.now - max(times)).total_seconds()
    if age_s <= at.decayed_s:
        return ok("controller.sweep", f"hosts were last looked at {age_s:.0f} s ago")
    told = f"{age_s / 60:.0f} min" if age_s < 3 * 3600 else f"{age_s / 3600:.0f} h"
    return _late(f"no host was looked at for {told}", at)


def _late(what: str, at: Desk) -> Finding:
    """What is recorded of VMs goes stale; without a VM there is little to miss."""
    severity = Severity.WARNING if at.vms else Severity.NOTE
    evidence = f"{what}: VMs that end, and hosts that go, are not noticed"
    return _bad("controller.sweep", severity, evidence, "tashictl sweep, each minute from cron")


def _contact(record: HostRecord) -> datetime | None:
    try:
        found = datetime.fromisoformat(record.last_contact or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _config(at: Desk) -> Iterator[Finding]:
    """What nobody has set is told where the configuration is looked at, not as a finding."""
    told = [n for n in at.notes if n.weight is Weight.WARNING or n.where != "default"]
    for note in told:
        severity = Severity.WARNING if note.weight is Weight.WARNING else Severity.NOTE
        evidence = note.text
        yield _bad(
            "controller.config", severity, evidence, "tashictl config check", subject=note.where
        )
    if not told:
        yield ok("controller.config", "nothing is doubtful in it")


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
