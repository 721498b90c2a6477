from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.host import HostFacts, VmFact
from tashictl.model.vm import Observed, OperationKind, OperationRef, Seen, TashiState, Vm, Wanted
from tashictl.planning import drift
from tests.planning import cases

THEN, NOW = "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z"
UNTOUCHED = {Seen.STOPPED, Seen.SUSPENDED}


def a_vm(what: Seen = Seen.RUNNING, **values: Any) -> Vm:
    """A VM at rest on node1, as it was seen at THEN in boot b-1."""
    observed = Observed(what=what, at=THEN, boot_id="b-1", generation=1)
    usual: dict[str, Any] = {"operation": None, "observed": observed, "pid": 77}
    return cases.vm(**{**usual, **values})


def a_look(vm: Vm | None, *, alive: bool = True, **values: Any) -> HostFacts:
    """What node1 said at NOW: that `vm` is there and `alive`, or that nothing is there."""
    vms = (VmFact(uuid=vm.uuid, alive=alive, pid=77 if alive else None),) if vm else ()
    usual: dict[str, Any] = {"at": NOW, "boot_id": "b-1", "vms": vms, "booted": THEN}
    return replace(cases.facts(), **{**usual, **values})


def after(vm: Vm, facts: HostFacts | None) -> Vm:
    """The record after the look."""
    look = drift.look_of(facts) if facts is not None else None
    found = drift.seen([vm], look, NOW)
    assert len(found) <= 1
    return found[0] if found else vm


def test_a_vm_that_is_alive_is_seen_now() -> None:
    vm = a_vm()

    seen = after(vm, a_look(vm))

    assert seen == replace(vm, observed=replace(vm.observed, at=NOW))


def test_one_whose_lock_is_free_has_exited() -> None:
    vm = a_vm()

    seen = after(vm, a_look(vm, alive=False))

    assert (seen.state, seen.reason, seen.pid) == (TashiState.Exited, "its QEMU ended", None)
    assert seen.observed == Observed(what=Seen.STOPPED, at=NOW, boot_id="b-1", generation=1)
    assert (seen.host, seen.wanted) == ("node1", Wanted.RUNNING)


@pytest.mark.parametrize(
    ("booted", "reason"),
    [
        ("2026-03-01T12:01:30Z", "host rebooted 2026-03-01 12:01 UTC"),
        ("2026-03-01T11:00:00Z", "host rebooted"),
        (None, "host rebooted"),
    ],
)
def test_after_a_reboot_of_the_host_that_is_the_reason(booted: str | None, reason: str) -> None:
    vm = a_vm()

    seen = after(vm, a_look(vm, alive=False, boot_id="b-2", booted=booted))

    assert (seen.state, seen.reason) == (TashiState.Exited, reason)


def test_one_of_which_nothing_is_left_says_so() -> None:
    assert after(a_vm(), a_look(None)).reason == "nothing of it is on the host any more"


@pytest.mark.parametrize("what", [Seen.RUNNING, Seen.PAUSED])
def test_a_host_that_does_not_answer_makes_it_unknown_since_it_was_seen(what: Seen) -> None:
    seen = after(a_vm(what), None)

    assert (seen.state, seen.reason) == (TashiState.Orphaned, "its host does not answer")
    assert (seen.observed.at, seen.observed.boot_id) == (THEN, "b-1")
    assert after(seen, None) == seen


def test_without_a_time_it_is_unknown_since_now() -> None:
    assert after(a_vm(observed=Observed(what=Seen.RUNNING)), None).observed.at == NOW


def test_an_orphan_that_is_found_alive_is_what_it_was() -> None:
    for wanted, state in ((Wanted.RUNNING, "Running"), (Wanted.PAUSED, "Paused")):
        lost = after(a_vm(wanted=wanted), None)

        found = after(lost, a_look(lost))

        assert (found.state.name, found.reason, found.observed.at) == (state, None, NOW)


def test_an_orphan_whose_host_comes_back_without_it_has_exited() -> None:
    lost = after(a_vm(), None)

    found = after(lost, a_look(lost, alive=False, boot_id="b-2", booted=NOW))

    assert (found.state, found.reason) == (
        TashiState.Exited,
        "host rebooted 2026-03-01 13:00 UTC",
    )


def test_what_is_alive_again_is_no_longer_said_to_have_ended() -> None:
    ended = after(a_vm(), a_look(None))

    found = after(ended, a_look(ended))

    assert (found.state, found.reason, found.pid) == (TashiState.Running, None, 77)


def test_a_paused_vm_that_is_alive_stays_paused() -> None:
    vm = a_vm(Seen.PAUSED, reason="by dev")

    seen = after(vm, a_look(vm))

    assert (seen.state, seen.reason) == (TashiState.Paused, "by dev")


operations = st.sampled_from(list(OperationKind)).map(
    lambda kind: OperationRef(id=9, kind=kind, started=THEN)
)


@given(
    what=st.sampled_from(list(Seen)),
    wanted=st.sampled_from(list(Wanted)),
    operation=st.none() | operations,
    host=st.sampled_from([None, "node1"]),
    look=st.sampled_from(["alive", "dead", "gone", "silent"]),
)
def test_no_look_ever_does_more_than_it_may(
    what: Seen, wanted: Wanted, operation: OperationRef | None, host: str | None, look: str
) -> None:
    vm = a_vm(what, wanted=wanted, operation=operation, host=host)
    facts = {
        "alive": a_look(vm),
        "dead": a_look(vm, alive=False),
        "gone": a_look(None),
        "silent": None,
    }[look]

    seen = after(vm, facts)

    if operation is not None or wanted is Wanted.ABSENT or host is None:
        assert seen == vm
    if look == "silent":
        assert seen.observed.what is not Seen.STOPPED or what is Seen.STOPPED
    if look != "alive" and what in UNTOUCHED:
        assert seen == vm
    kept = {"observed": vm.observed, "reason": vm.reason, "pid": vm.pid}
    assert replace(seen, **kept) == vm  # nothing else is ever changed
    assert after(seen, facts) == seen


def test_a_login_that_may_not_see_everything_ends_nothing() -> None:
    vm = a_vm()

    assert after(vm, a_look(vm, alive=False, hidden=True)) == vm
    assert after(vm, a_look(None, hidden=True)) == vm
    assert after(vm, a_look(vm, hidden=True)).observed.at == NOW


# -- addresses that were learnt


def met(vm: Vm, *near: tuple[str, str], alive: bool = True) -> Vm:
    """The record after a look at which the host's neighbours were `near`."""
    there = {vm.uuid: drift.There(alive=alive, pid=77)}
    look = drift.Look(at=NOW, boot_id="b-1", booted=THEN, vms=there, neighbours=near)
    return (*drift.seen([vm], look, NOW), vm)[0]


MAC = "52:54:00:00:00:01"
FOREIGN = ("02:00:00:00:00:99", "10.9.0.99")


def test_what_the_host_knows_of_a_vms_mac_is_learnt_and_replaced_by_what_it_knows_later() -> None:
    first = met(a_vm(), (MAC, "10.9.0.5"), FOREIGN)
    assert first.observed.learnt == ((MAC, "10.9.0.5"),)
    assert met(first, (MAC, "10.9.0.6")).observed.learnt == ((MAC, "10.9.0.6"),)


def test_a_host_that_has_forgotten_or_does_not_answer_takes_nothing_away() -> None:
    vm = met(a_vm(), (MAC, "10.9.0.5"))
    assert met(vm, FOREIGN).observed.learnt == vm.observed.learnt
    assert after(vm, None).observed.learnt == vm.observed.learnt
    assert after(vm, a_look(vm)).observed.learnt == vm.observed.learnt


def test_a_vm_that_has_ended_has_no_learnt_address() -> None:
    vm = met(a_vm(), (MAC, "10.9.0.5"))
    assert met(vm, (MAC, "10.9.0.5"), alive=False).observed.learnt == ()


def test_an_address_that_it_has_from_us_is_not_learnt_but_another_one_is() -> None:
    vm = a_vm()
    nic = replace(vm.spec.nics[0], ip="10.9.0.5")
    vm = replace(vm, spec=replace(vm.spec, nics=(nic,)))
    assert met(vm, (MAC, "10.9.0.5")).observed.learnt == ()
    both = met(vm, (MAC, "10.9.0.5"), (MAC, "10.9.0.66"))
    assert both.observed.learnt == ((MAC, "10.9.0.66"),)
