"""Wanted against seen, for a whole round of looks: what to write down, to do, and to tell.

Nothing is concluded from silence: a host that does not answer makes its VMs unknown. A VM with an
operation on it is left to that operation. What is not in the database and carries our manifest is
taken in; nothing else is ever touched.
"""

from __future__ import annotations

from collections.abc import Iterable

from tashictl.model.event import Event, Problem
from tashictl.model.vm import Vm
from tashictl.planning import (
    brake,
    drift,
    proof,
    qemu_states,
    reconcile_hosts,
    reconcile_repairs,
    reconcile_unknown,
    reconcile_vms,
)
from tashictl.planning.verdict import Scene, Verdict


def judge(scene: Scene) -> Verdict:
    """Decide a round."""
    stale = proof.of_an_old_copy(scene)
    if stale:
        return Verdict(stale=stale)
    hosts = reconcile_hosts.of(scene)
    changed = _drifted(scene)
    after = {**scene.state.vms, **{vm.id: vm for vm in changed}}
    taken, strange = reconcile_unknown.of(scene, after)
    after.update({vm.id: vm for vm in taken})
    repairs = reconcile_repairs.of(scene, after)
    problems: list[Problem] = [
        *hosts.problems,
        *strange.problems,
        *reconcile_vms.problems(scene, after),
        *reconcile_repairs.problems(scene, after),
    ]
    events: list[Event] = [
        *hosts.events,
        *reconcile_vms.events(scene, changed),
        *strange.events,
    ]
    return Verdict(
        brake=brake.reasons(
            scene.state.vms, changed, repairs, scene.state.hosts, scene.lost, scene.asked
        ),
        vms=(*changed, *taken),
        hosts=hosts.records,
        repairs=tuple(repairs),
        problems=_once(problems),
        events=tuple(events),
    )


def _drifted(scene: Scene) -> list[Vm]:
    """The records of known VMs that change; one that was changed since the look is newer than it.

    A host that another cluster has taken over says nothing of our VMs.
    """
    found: list[Vm] = []
    elsewhere = reconcile_unknown.places(scene)
    unchanged: dict[str | None, list[Vm]] = {}
    for vm in scene.state.vms.values():
        if scene.known.get(vm.id) == vm:
            unchanged.setdefault(vm.host, []).append(vm)
    for host in scene.asked:
        same = unchanged.get(host, [])
        if host in scene.lost:
            found += drift.seen(same, None, scene.now)
            continue
        sighting = scene.looked_at(host)
        if sighting is None or proof.is_foreign(scene, sighting):
            continue
        # One that is alive on another host has not ended: that is told, or it has moved.
        there = [vm for vm in same if not reconcile_unknown.is_elsewhere(vm, elsewhere)]
        booted = reconcile_hosts.booted(sighting)
        look = drift.look_at(sighting, booted, qemu_states.seen(scene.dialogues))
        found += drift.seen(there, look, scene.now)
    return found


def _once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each id once, in the order in which they were found."""
    return tuple({problem.id: problem for problem in problems}.values())
