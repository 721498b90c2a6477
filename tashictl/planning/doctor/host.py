"""What is wrong with a host: the requirements of `host check`, and what only a doctor asks."""

from __future__ import annotations

from collections.abc import Iterator

from tashictl.model.script import Fault
from tashictl.model.units import show_memory
from tashictl.planning import accelerator, requirements
from tashictl.planning.doctor import filters, ifup, net
from tashictl.planning.doctor.findings import Finding, Severity, ok
from tashictl.planning.doctor.reading import Examined
from tashictl.planning.doctor.subject import Subject
from tashictl.planning.mend import load_module

_OF_REQUIREMENT = {
    "login": "host.login",
    "sockets": "ssh.sockets",
    "qemu": "qemu.version",
    "tools": "host.tools",
    "tap": "host.tun",
    "folder lib": "disk.lib",
    "folder run": "disk.run",
    "folder images": "disk.images",
    "memory": "host.memory",
    "logout": "host.logout",
    "cluster": "host.claim",
}
_CLOCK_WARNING_S, _CLOCK_ERROR_S = 2.0, 60.0
_LEAST_AVAILABLE_MIB = 128
_SESSIONS = 10  # at most eight scripts on one connection, and an operator's own
_STARTUPS = 5  # logins at once: a sweep, a command or two, an operator
_VLAN = "8021q"


def findings(seen: Examined, at: Subject) -> tuple[Finding, ...]:
    """Every finding about a host that answered, of all severities."""
    found = [
        *_required(seen, at),
        _clock(seen, at),
        *_memory(seen),
        *_kvm(seen, at),
        *_machines(seen, at),
        *_sshd(seen, at),
        *_system(seen),
        *_vlan(seen, at),
        *net.findings(seen, at),
        *filters.findings(seen, at),
        *ifup.findings(seen, at),
    ]
    if not at.added:
        advice = requirements.not_added(at.place.config.name)
        found.append(
            Finding(
                id="host.added",
                severity=Severity.NOTE,
                evidence=advice.seen,
                remedy=advice.remedy,
            )
        )
    return tuple(found)


def unreached(at: Subject, fault: Fault | None, cause: str, hint: str) -> Finding:
    """The finding for a host that gave no answer."""
    why = requirements.unreached(at.place.config, fault, cause, hint)
    return Finding(id="host.reach", severity=Severity.ERROR, evidence=why.seen, remedy=why.remedy)


# -- what `host check` asks too


def _required(seen: Examined, at: Subject) -> Iterator[Finding]:
    yield ok("host.reach", f"answers {at.place.config.user}@{at.place.config.address}")
    for one in requirements.findings(seen.reading, at.place):
        check = _OF_REQUIREMENT.get(one.check)
        if check is None:
            continue  # the clock, the bridges and KVM are looked at more closely
        severity = Severity.OK if one.ok else Severity.ERROR
        if one.state == "advice":
            severity = Severity.WARNING if _is_low(seen, one.check) else Severity.NOTE
        yield Finding(id=check, severity=severity, evidence=one.seen, remedy=one.remedy)


def _is_low(seen: Examined, check: str) -> bool:
    ground = seen.reading.ground
    folder = ground.folders.get(check.removeprefix("folder ")) if ground is not None else None
    free = folder.free_mib if folder is not None else None
    return free is not None and free < requirements.LOW_MIB


def _clock(seen: Examined, at: Subject) -> Finding:
    """Seconds between two clocks, as sure as the time between question and answer allows.

    The true offset lies between what the script's end says and what its beginning says.
    """
    low_s = seen.reading.facts.clock_offset_s
    high_s = max(low_s, seen.began_s + 1 - at.asked_s)
    least_s = max(low_s, 0.0) or min(high_s, 0.0)
    told = f"{least_s:+.0f} s" if abs(least_s) >= 1 else "right to a second"
    if abs(least_s) <= _CLOCK_WARNING_S:
        return ok("host.clock", told)
    return Finding(
        id="host.clock",
        severity=Severity.ERROR if abs(least_s) > _CLOCK_ERROR_S else Severity.WARNING,
        evidence=f"{told} against this machine: scripts carry the time after which the host "
        "refuses them",
        remedy="apt-get install systemd-timesyncd, or another NTP client",
    )


def _memory(seen: Examined) -> Iterator[Finding]:
    ground = seen.reading.ground
    if ground is not None and ground.available_mib:
        low = ground.available_mib < _LEAST_AVAILABLE_MIB
        yield Finding(
            id="host.memory-free",
            severity=Severity.WARNING if low else Severity.OK,
            evidence=f"{show_memory(ground.available_mib)} of "
            f"{show_memory(seen.reading.facts.memory_mib)} available now",
            remedy="ps -eo rss,comm --sort -rss | head; fewer VMs there" if low else "",
        )
    total_mib = seen.number("swaptotal_kib") // 1024
    used_mib = total_mib - seen.number("swapfree_kib") // 1024
    much = total_mib > 0 and used_mib * 2 > total_mib
    told = f"{show_memory(used_mib)} of {show_memory(total_mib)} used" if total_mib else "none"
    yield Finding(
        id="host.swap",
        severity=Severity.WARNING if much else Severity.OK,
        evidence=f"{told}: guests that are swapped out are slow" if much else told,
        remedy="fewer VMs there, or a larger reserved_memory in the inventory" if much else "",
    )


# -- QEMU and KVM


def _kvm(seen: Examined, at: Subject) -> Iterator[Finding]:
    """Which of the three ways to be without KVM it is; one that was not got to says nothing."""
    settings, config = at.place.settings, at.place.config
    wanted = config.accel or settings.qemu.accel
    if wanted == "tcg":
        yield ok("kvm.present", "tcg, as configured")
        return
    found, remedy = accelerator.explain(seen.reading, settings.qemu.cpu_model)
    ground = seen.reading.ground
    flag = ground.cpu_flag if ground is not None else ""
    check, severity = {
        "absent": ("kvm.present", Severity.WARNING if flag else Severity.NOTE),
        "forbidden": ("kvm.present", Severity.WARNING),
        "hangs": ("kvm.hangs", Severity.WARNING),
        "refused": ("kvm.cpu", Severity.NOTE),
    }.get(seen.reading.kvm, ("", Severity.OK))
    for name, told in (
        ("kvm.present", "/dev/kvm is there and may be opened"),
        ("kvm.hangs", "a guest of 16 bytes ended within 3 s"),
        ("kvm.cpu", f"KVM shows {settings.qemu.cpu_model}"),
    ):
        if name == check:
            severity = Severity.ERROR if wanted == "kvm" else severity
            yield Finding(id=check, severity=severity, evidence=found, remedy=remedy)
            return
        if seen.reading.kvm in ("usable", "hangs", "refused"):
            yield ok(name, told)


def _machines(seen: Examined, at: Subject) -> Iterator[Finding]:
    """Whether the VMs there could start again with the QEMU that is there now."""
    offered = {name for entry in seen.reading.facts.machine_types for name in entry.split("=")}
    if not offered:
        return
    frozen: dict[str, list[str]] = {}
    for vm in at.vms:
        machine = vm.spec.machine
        if machine is not None and machine.type.startswith(("pc", "q35")):
            frozen.setdefault(machine.type, []).append(vm.name)
    lacking = {kind: names for kind, names in frozen.items() if kind not in offered}
    if not lacking:
        told = f"{len(offered)} machine types, among them those of the {len(at.vms)} VMs there"
        yield ok("qemu.machines", told)
        return
    shown = "; ".join(f"{kind} ({', '.join(names[:3])})" for kind, names in lacking.items())
    yield Finding(
        id="qemu.machines",
        severity=Severity.ERROR,
        evidence=f"QEMU {seen.reading.facts.qemu_version} does not have {shown}: these VMs run "
        "on, and cannot be started again there",
        remedy="install the QEMU again that they were made with, or one that has these types: "
        "qemu-system-x86_64 -machine help",
    )


# -- the system


def _sshd(seen: Examined, at: Subject) -> Iterator[Finding]:
    if at.place.config.transport == "local":
        return
    by = "" if seen.sshd.get("by") == "effective" else ", by its files"
    sessions = seen.sshd.get("maxsessions", "10")
    startups = seen.sshd.get("maxstartups", "10")
    first = startups.split(":")[0]
    for check, name, value, number, least in (
        ("ssh.max-sessions", "MaxSessions", sessions, sessions, _SESSIONS),
        ("ssh.max-startups", "MaxStartups", startups, first, _STARTUPS),
    ):
        told = f"{name} {value}{by}"
        if "by" not in seen.sshd or not number.isdecimal():
            yield ok(check, "sshd was not asked")
        elif int(number) >= least:
            yield ok(check, told)
        else:
            what = "scripts on one connection" if least == _SESSIONS else "logins at once"
            yield Finding(
                id=check,
                severity=Severity.WARNING,
                evidence=f"{told}: work on several VMs may need {least} {what}",
                remedy=f"{name} {least if least == _SESSIONS else '10:30:100'} in "
                "/etc/ssh/sshd_config, then systemctl reload ssh",
            )


def _system(seen: Examined) -> Iterator[Finding]:
    ground = seen.reading.ground
    if ground is not None and ground.systemd:
        yield ok("host.systemd", "there: a unit for each VM")
    elif ground is not None:
        yield Finding(
            id="host.systemd",
            severity=Severity.NOTE,
            evidence="absent: a shutdown of the host kills its guests without their power button",
            remedy="before a shutdown of the host: tashictl vm shutdown …",
        )
    if seen.words.get("apparmor") != "Y":
        yield ok("host.apparmor", "not enabled")
        return
    enforced = [p.rpartition(" (enforce")[0] for p in seen.profiles if p.endswith("(enforce)")]
    ours = [name for name in enforced if _confines(name)]
    if not ours:
        others = f"; enforced: {', '.join(enforced[:4])}" if enforced else ""
        yield ok("host.apparmor", f"enabled, no profile for QEMU itself{others}")
        return
    yield Finding(
        id="host.apparmor",
        severity=Severity.WARNING,
        evidence=f"the profile {', '.join(ours)} is enforced: QEMU may be refused its disks, "
        "sockets and the image folder",
        remedy=f"aa-complain {ours[0]}, or let it have libDir, runDir and the image folder",
    )


def _confines(profile: str) -> bool:
    """A profile that is attached to QEMU's program; libvirt's are for its own guests."""
    return profile.rsplit("/", 1)[-1].startswith(("qemu-system", "qemu-kvm", "kvm"))


def _vlan(seen: Examined, at: Subject) -> Iterator[Finding]:
    tagged = [n for n in at.wired if n.vlan is not None]
    if not tagged:
        return
    names = ", ".join(n.name for n in tagged)
    state = seen.words.get("vlan", "unknown")
    if state == "loaded":
        yield ok("net.vlan-module", f"{_VLAN} is loaded, for {names}")
    elif state == "loadable":
        yield Finding(
            id="net.vlan-module",
            severity=Severity.WARNING,
            evidence=f"{_VLAN} is not loaded, for {names}",
            remedy=f"modprobe {_VLAN}\nfor good: echo {_VLAN} >/etc/modules-load.d/tashi.conf",
            steps=(load_module(at.place.config.name, at.place.settings, _VLAN),),
        )
    else:
        yield Finding(
            id="net.vlan-module",
            severity=Severity.ERROR,
            evidence=f"the kernel has no {_VLAN}, for {names}"
            if state == "absent"
            else f"whether the kernel has {_VLAN} is unknown (no modprobe), for {names}",
            remedy="a kernel with 802.1Q, such as Debian's linux-image-amd64"
            if state == "absent"
            else "apt-get install kmod",
        )
