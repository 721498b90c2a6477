from itertools import pairwise
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model import steps as model
from tashictl.model.steps import AwaitQmp, HostStep, KillQemu, Plan, RemoveTap, Step, batches
from tests.planning.script_cases import AT, STEPS

AWAIT = AwaitQmp(**AT, socket="/run/qmp.sock")
KINDS = (STEPS["kill-qemu"], STEPS["remove-tap"], STEPS["add-tap"], AWAIT)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    chosen = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from("ab")), max_size=10))
    return tuple(replace(step, host=host) for step, host in chosen)


split = st.sampled_from([None, "KillQemu", "AddTap", "AwaitQmp", "NoSuchStep"])


@given(plans(), split)
def test_batches_partition_the_plan_in_its_order(plan: Plan, split_at: str | None) -> None:
    found = batches(plan, split_at)

    assert [i for b in found for i in b.indexes] == list(range(len(plan)))
    assert tuple(s for b in found for s in b.steps) == plan


@given(plans(), split)
def test_a_batch_is_for_one_host_and_travels_as_one(plan: Plan, split_at: str | None) -> None:
    for batch in batches(plan, split_at):
        assert {s.host for s in batch.steps} == {batch.host}
        assert len(batch.steps) == 1 or all(s.scripted for s in batch.steps)
        assert split_at not in [s.name for s in batch.steps] or len(batch.steps) == 1


@given(plans())
def test_batches_are_as_few_as_can_be(plan: Plan) -> None:
    found = batches(plan)

    for before, after in pairwise(found):
        assert (
            before.host != after.host
            or not before.steps[-1].scripted
            or not after.steps[0].scripted
        )


@given(plans(), split, st.integers(0, 10), st.integers(0, 10))
def test_a_part_of_a_plan_keeps_its_places(
    plan: Plan, split_at: str | None, first: int, end: int
) -> None:
    only = range(min(first, len(plan)), min(end, len(plan)))

    found = batches(plan, split_at, only)

    if len(only):
        assert [i for b in found for i in b.indexes] == list(only)
    for batch in found:
        assert batch.steps == tuple(plan[i] for i in batch.indexes)


def test_an_empty_part_is_no_batch() -> None:
    plan = (STEPS["kill-qemu"], STEPS["remove-tap"])

    assert batches((), None) == ()
    assert batches(plan, None, range(1, 1)) == ()


@pytest.mark.parametrize("step", [*STEPS.values(), AWAIT], ids=lambda s: type(s).__name__)
def test_a_step_is_read_back_from_json_as_it_was(step: Step) -> None:
    data = msgspec.json.encode((step,))

    assert msgspec.json.decode(data, type=Plan) == (step,)
    assert step.name == type(step).__name__
    assert f'"type":"{step.name}"'.encode() in data


def test_a_step_with_an_unknown_field_is_refused() -> None:
    data = msgspec.json.encode((STEPS["kill-qemu"],)).replace(b'"wait_s"', b'"later"')

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=Plan)


def test_a_step_of_an_unknown_kind_is_refused() -> None:
    data = msgspec.json.encode((STEPS["kill-qemu"],)).replace(b"KillQemu", b"MoveQemu")

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data, type=Plan)


def test_every_kind_of_step_belongs_to_the_union() -> None:
    assert set(get_args(model.Step)) == _leaves(HostStep)


def _leaves(kind: type) -> set[type]:
    """Kinds of which there are no further kinds."""
    return set().union(*map(_leaves, kind.__subclasses__())) or {kind}


def test_a_step_cannot_be_changed() -> None:
    step = KillQemu(**AT)

    with pytest.raises(AttributeError):
        step.wait_s = 1  # type: ignore[misc]
    assert RemoveTap(**AT, tap="a") == RemoveTap(**AT, tap="a")
