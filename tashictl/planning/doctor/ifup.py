"""What is wrong with the files that hand a TAP to a network: /etc/qemu-ifup.N."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from tashictl.model.network import Network
from tashictl.planning import paths
from tashictl.planning.doctor.findings import Finding, Severity, ok
from tashictl.planning.doctor.reading import Examined, Ifup
from tashictl.planning.doctor.subject import Subject
from tashictl.planning.mend import mend_ifup
from tashictl.planning.render import IFUP_MARK
from tashictl.planning.shell import quote

_ID = "net.ifup"


def findings(seen: Examined, at: Subject) -> Iterator[Finding]:
    """One for the file of each network that the host carries."""
    for network in at.wired:
        there, wanted = seen.ifups.get(network.id), at.ifups.get(network.id)
        if there is not None and wanted is not None:
            yield _file(network, there, wanted.rstrip(), at)


def _file(network: Network, there: Ifup, wanted: str, at: Subject) -> Finding:
    settings = at.place.settings
    path = paths.ifup(network.id, settings)
    if there.there and IFUP_MARK not in there.text:
        return _foreign(path, there)
    faults = []
    if there.there and not there.executable:
        faults.append(f"not executable (mode {there.mode.split(' ')[0]})")
    if there.there and there.text.rstrip("\n") != wanted:  # as the step that writes it compares
        faults.append(f"not what is rendered: {_difference(there.text, wanted)}")
    if there.there and not faults:
        return ok(_ID, f"as rendered, for {network.name}", subject=path)
    using = [vm.name for vm in at.vms_on(network)]
    severity = Severity.WARNING
    if not there.there:
        users = f": {', '.join(using[:3])} cannot be started again" if using else ""
        later = "" if using else "; the first VM on it brings it"
        faults = [f"absent, for {network.name}{users}{later}"]
        severity = Severity.WARNING if using else Severity.NOTE
    step = mend_ifup(at.place.config.name, settings, path, wanted)
    return Finding(
        id=_ID,
        severity=severity,
        subject=path,
        evidence="; ".join(faults),
        remedy="tashictl doctor --fix",
        steps=(step,),
        diff=_diff(path, there.text, wanted),
    )


def _foreign(path: str, there: Ifup) -> Finding:
    if there.executable:
        return Finding(
            id=_ID,
            severity=Severity.NOTE,
            subject=path,
            evidence=f"the operator's own (no line {IFUP_MARK!r}): it is used, and never written",
        )
    return Finding(
        id=_ID,
        severity=Severity.WARNING,
        subject=path,
        evidence="the operator's own, and not executable: no VM can be started there",
        remedy=f"chmod 755 {quote(path)}",
    )


def _difference(there: str, wanted: str) -> str:
    changed = [
        line
        for line in difflib.ndiff(there.splitlines(), wanted.splitlines())
        if line[:1] in ("+", "-")
    ]
    missing = sum(line.startswith("+") for line in changed)
    return f"lines: {missing} missing, {len(changed) - missing} too many"


def _diff(path: str, there: str, wanted: str) -> str:
    names = (path if there else "/dev/null", path)
    return "\n".join(
        difflib.unified_diff(there.splitlines(), wanted.splitlines(), *names, lineterm="")
    )
