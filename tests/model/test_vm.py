from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model import vm as model
from tashictl.model.vm import (
    LEGAL,
    Observed,
    OperationKind,
    OperationRef,
    Seen,
    TashiState,
    Vm,
    VmSpec,
    Wanted,
    may_follow,
)

OPERATIONS = [None, *(OperationRef(id=1, kind=k, started="") for k in OperationKind)]
EVERY = [
    Vm(
        id=1,
        name="a",
        uuid="u",
        user="dev",
        created="",
        spec=VmSpec(),
        wanted=wanted,
        observed=Observed(what=seen),
        operation=operation,
        host=host,
        held=held,
    )
    for wanted, seen, operation, host, held in product(
        Wanted, Seen, OPERATIONS, (None, "node1"), (False, True)
    )
]
# States of operations that no plan exists for yet: suspend and migrate.
NOT_YET = {"Suspending", "Resuming", "MigratePrep", "MigrateTrans"}


_PLAIN = {"wanted": Wanted.RUNNING, "observed": Observed(), "operation": None, "host": None}


def a_vm(**values: object) -> Vm:
    return replace(EVERY[0], **{**_PLAIN, "held": False, **values})


def test_tashis_states_are_sixteen_with_tashis_numbers() -> None:
    assert [s.value for s in TashiState] == list(range(1, 17))
    assert [s.name for s in TashiState][:3] == ["Pending", "Activating", "Running"]


def test_every_combination_of_the_columns_is_a_state() -> None:
    reached = {vm.state.name for vm in EVERY}

    assert reached | NOT_YET == {s.name for s in TashiState}
    assert not reached & NOT_YET


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({}, "Pending"),
        ({"held": True}, "Held"),
        ({"host": "h"}, "Orphaned"),
        ({"host": "h", "held": True}, "Orphaned"),
        ({"host": "h", "observed": Observed(what=Seen.RUNNING)}, "Running"),
        ({"host": "h", "observed": Observed(what=Seen.PAUSED)}, "Paused"),
        ({"host": "h", "observed": Observed(what=Seen.STOPPED)}, "Exited"),
        ({"observed": Observed(what=Seen.SUSPENDED)}, "Suspended"),
        ({"host": "h", "operation": OPERATIONS[1]}, "Activating"),
        ({"host": "h", "operation": OPERATIONS[2]}, "Destroying"),
        ({"wanted": Wanted.ABSENT, "host": "h"}, "Destroying"),
        ({"wanted": Wanted.ABSENT, "host": "h", "operation": OPERATIONS[1]}, "Destroying"),
    ],
)
def test_a_state_is_a_view_of_the_columns(columns: dict[str, object], state: str) -> None:
    assert a_vm(**columns).state.name == state


def test_a_vm_of_a_host_that_cannot_be_asked_is_never_called_stopped() -> None:
    unseen = [v for v in EVERY if v.host is not None and v.observed.what is Seen.UNKNOWN]

    assert not {v.state for v in unseen} & {TashiState.Exited, TashiState.Pending, TashiState.Held}


def test_every_state_has_its_legal_changes_and_can_be_left() -> None:
    assert set(LEGAL) == set(TashiState)
    assert all(LEGAL.values())
    assert all(state not in after for state, after in LEGAL.items())


def test_every_state_can_be_reached_and_everything_can_be_destroyed_in_the_end() -> None:
    reached = {TashiState.Pending}
    while more := {a for s in reached for a in LEGAL[s]} - reached:
        reached |= more
    assert reached == set(TashiState)

    ends = {TashiState.Destroying}
    while more := {s for s in TashiState if LEGAL[s] & ends} - ends:
        ends |= more
    assert ends == set(TashiState)


@pytest.mark.parametrize(
    ("before", "after", "legal"),
    [
        ("Pending", "Activating", True),
        ("Pending", "Running", False),
        ("Running", "Running", True),
        ("Running", "Pending", False),
        ("Running", "Destroying", True),
        ("MigrateTrans", "Destroying", False),
        ("Destroying", "Running", False),
        ("Orphaned", "Pending", False),
        ("Suspended", "Resuming", True),
    ],
)
def test_what_may_follow_what(before: str, after: str, legal: bool) -> None:
    assert may_follow(TashiState[before], TashiState[after]) is legal


@given(st.sampled_from(EVERY))
def test_what_is_wanted_absent_is_destroying_whatever_is_seen(vm: Vm) -> None:
    assert (vm.state is TashiState.Destroying) >= (vm.wanted is Wanted.ABSENT)
    assert model.state_of(vm) is vm.state
