"""The brake: when a round looks as if it were this machine that is cut off, or lost its mind.

More than max(5, 10 %) of the VMs restarted, removed or orphaned at once, or half of the hosts that
were up gone: then nothing is changed until somebody agrees.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tashictl.model.host import HostRecord
from tashictl.model.vm import TashiState, Vm
from tashictl.planning.verdict import Repair, RepairKind

_LEAST_VMS = 5
_SHARE = 0.1
_COUNTED = {RepairKind.RESTART, RepairKind.FORGET}


def limit(vms: int) -> int:
    """How many VMs a round may restart, remove or orphan by itself."""
    return max(_LEAST_VMS, int(vms * _SHARE))


def reasons(
    before: Mapping[int, Vm],
    after: Iterable[Vm],
    repairs: Iterable[Repair],
    hosts: Mapping[str, HostRecord],
    lost: Collection[str],
    asked: Collection[str],
) -> tuple[str, ...]:
    """Why the round must be asked about; empty when it need not."""
    found = []
    gone = vanished(hosts, lost)
    were_up = [name for name in asked if name in hosts and hosts[name].up is True]
    if gone and 2 * len(gone) >= len(were_up):
        found.append(
            f"{len(gone)} of {len(were_up)} hosts that were up do not answer: this machine may be "
            "the one that is cut off"
        )
    orphaned = sum(1 for vm in after if _is_lost(before.get(vm.id), vm))
    changed = {r.target: r.kind for r in repairs if r.kind in _COUNTED}
    total, allowed = orphaned + len(changed), limit(len(before))
    if total > allowed:
        parts = [f"{orphaned} orphaned"] if orphaned else []
        for kind, word in ((RepairKind.RESTART, "restarted"), (RepairKind.FORGET, "removed")):
            number = sum(1 for k in changed.values() if k is kind)
            parts += [f"{number} {word}"] if number else []
        found.append(f"{', '.join(parts)}: {total} of {len(before)} VMs at once, {allowed} may be")
    return tuple(found)


def is_cut_off(hosts: Mapping[str, HostRecord], silent: Collection[str]) -> bool:
    """Whether so many of a cluster's hosts are silent at once that it may be us who are cut off.

    One host alone is what somebody asked about, and is believed.
    """
    were_up = sum(1 for record in hosts.values() if record.up is True)
    gone = len(vanished(hosts, silent))
    return gone > 1 and 2 * gone >= were_up


def vanished(hosts: Mapping[str, HostRecord], lost: Iterable[str]) -> list[str]:
    """The hosts that were up when they were last asked, and do not answer now."""
    return [name for name in lost if name in hosts and hosts[name].up is True]


def _is_lost(before: Vm | None, after: Vm) -> bool:
    lost = after.state is TashiState.Orphaned
    return lost and before is not None and before.state is not TashiState.Orphaned
