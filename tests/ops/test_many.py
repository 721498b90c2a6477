"""One operation on many VMs: bounds, order, Ctrl-C, and that nobody's failure is another's."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.settings import TashictlSettings
from tashictl.model.vm import Vm, VmSpec
from tashictl.ops import many
from tashictl.ops import vm as ops
from tashictl.ops.context import Context
from tashictl.ops.many import Result, run_each
from tashictl.ops.ports import World
from tests.ops.hosts import Trouble
from tests.ops.stage import CLUSTER, Stage, raw


def vms(*hosts: str | None) -> list[Vm]:
    """A VM on each of these hosts."""
    return [
        Vm(id=n, name=f"v{n}", uuid=f"u{n}", user="dev", spec=VmSpec(), created="", host=host)
        for n, host in enumerate(hosts, 1)
    ]


def limited(stage: Stage, parallel: int, per_host: int) -> Context:
    ours = TashictlSettings(cluster_id=CLUSTER, parallel=parallel, per_host=per_host)
    return replace(stage.context, settings=replace(stage.context.settings, tashictl=ours))


class Gauge:
    """Works for a moment and remembers who worked beside whom."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: Counter[str | None] = Counter()
        self.most_of_a_host = self.most_hosts = self.most = 0
        self.begun: list[str] = []

    def __call__(self, _world: World, vm: Vm) -> Vm:
        with self.lock:
            self.begun.append(vm.name)
            self.now[vm.host] += 1
            busy = [n for n in self.now.values() if n]
            self.most_of_a_host = max(self.most_of_a_host, *busy)
            self.most_hosts = max(self.most_hosts, len(busy))
            self.most = max(self.most, sum(busy))
        time.sleep(0.01)
        with self.lock:
            self.now[vm.host] -= 1
        return vm


@pytest.mark.parametrize(
    ("parallel", "per_host", "most"), [(2, 2, (2, 2)), (3, 1, (3, 1)), (1, 3, (1, 3))]
)
def test_no_more_hosts_and_no_more_vms_of_one_host_than_allowed_are_worked_on(
    stage: Stage, parallel: int, per_host: int, most: tuple[int, int]
) -> None:
    gauge, targets = Gauge(), vms(*"abcdabcdabcdaaaa")

    results = run_each(stage.world, limited(stage, parallel, per_host), targets, gauge)

    assert (gauge.most_hosts, gauge.most_of_a_host) == most
    assert [r.before for r in results] == targets
    assert [r.after for r in results] == targets
    assert {r.error for r in results} == {None}


def test_they_are_begun_in_order_but_nobody_waits_for_a_host_that_is_not_his(stage: Stage) -> None:
    gauge = Gauge()

    run_each(stage.world, limited(stage, 2, 1), vms("a", "a", "b", "b"), gauge)

    assert gauge.begun[:2] == ["v1", "v3"]
    assert gauge.begun.index("v2") < 4


def test_one_at_a_time_is_in_the_order_given_and_in_this_thread(stage: Stage) -> None:
    seen: list[tuple[str, bool]] = []

    def do(_world: World, vm: Vm) -> None:
        seen.append((vm.name, threading.current_thread() is threading.main_thread()))

    run_each(stage.world, limited(stage, 1, 1), vms("a", None, "a"), do)

    assert seen == [("v1", True), ("v2", True), ("v3", True)]


@pytest.mark.parametrize("width", [1, 4])
def test_whatever_one_raises_the_results_of_the_others_stay(stage: Stage, width: int) -> None:
    def do(_world: World, vm: Vm) -> Vm:
        if vm.id == 2:
            raise errors.Conflict("E-X", "locked")
        if vm.id == 3:
            raise ZeroDivisionError("a bug")
        if vm.id == 4:
            raise OSError(28, "No space left on device")
        return vm

    results = run_each(stage.world, limited(stage, width, width), vms(*"aabba"), do)

    assert [type(r.error) for r in results] == [
        type(None),
        errors.Conflict,
        ZeroDivisionError,
        OSError,
        type(None),
    ]
    assert [r.after is not None for r in results] == [True, False, False, False, True]


def test_nothing_to_do_is_done_at_once(stage: Stage) -> None:
    assert run_each(stage.world, stage.context, [], Gauge()) == []


class Watch(many.Watcher):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, targets: Sequence[Vm]) -> None:
        self.lines.append(f"begin {len(targets)}")

    def ended(self, result: Result) -> None:
        self.lines.append(f"ended {result.before.name}")

    def stopping(self, under_way: Sequence[Vm]) -> None:
        self.lines.append("stopping " + " ".join(vm.name for vm in under_way))


def ctrl_c() -> None:
    """SIGINT to the process, from a worker: Python raises it in the main thread."""
    os.kill(os.getpid(), signal.SIGINT)


def wait_until(what: threading.Event) -> None:
    assert what.wait(10)


def test_ctrl_c_begins_nothing_more_and_lets_what_is_under_way_end(stage: Stage) -> None:
    watch, going_on = Watch(), threading.Event()
    stopping = watch.stopping

    def told(under_way: Sequence[Vm]) -> None:
        stopping(under_way)
        going_on.set()

    watch.stopping = told  # type: ignore[method-assign]

    def do(_world: World, vm: Vm) -> Vm:
        if vm.id == 2:
            ctrl_c()
        wait_until(going_on)
        return vm

    results = run_each(stage.world, limited(stage, 2, 1), vms("a", "b", "a", "b", "c"), do, watch)

    assert [r.begun for r in results] == [True, True, False, False, False]
    assert [r.error is None for r in results] == [True, True, False, False, False]
    assert all(isinstance(r.error, errors.Interrupted) for r in results[2:])
    assert watch.lines[0] == "begin 5"
    assert "stopping v1 v2" in watch.lines


def test_a_wait_ends_with_ctrl_c_as_it_does_for_a_single_operation(stage: Stage) -> None:
    class Real:
        now = stage.clock.now
        monotonic_s = staticmethod(time.monotonic)
        sleep = staticmethod(time.sleep)

    world = replace(stage.world, clock=Real())

    def do(own: World, vm: Vm) -> Vm:
        if vm.id == 2:
            ctrl_c()
            return vm
        try:
            for _ in range(1000):
                own.clock.sleep(0.01)
        except KeyboardInterrupt as error:
            own.clock.sleep(0.0)  # going back is not interrupted again
            raise errors.Interrupted("E-INTERRUPTED", f"{vm.name} was undone") from error
        return vm

    first, second = run_each(world, limited(stage, 2, 1), vms("a", "b"), do)

    assert isinstance(first.error, errors.Interrupted)
    assert first.error.what == "v1 was undone"
    assert second.error is None


def test_a_second_ctrl_c_leaves_what_is_under_way_and_lists_it(stage: Stage) -> None:
    told, free, both = threading.Event(), threading.Event(), threading.Event()

    class Again(many.Watcher):
        def stopping(self, under_way: Sequence[Vm]) -> None:
            told.set()

    def do(_world: World, vm: Vm) -> Vm:
        if vm.id == 1:
            wait_until(both)
            ctrl_c()
            wait_until(told)
            ctrl_c()
        both.set()
        free.wait(10)
        return vm

    with pytest.raises(errors.Interrupted) as caught:
        run_each(stage.world, limited(stage, 2, 1), vms("a", "b", "a"), do, Again())
    free.set()

    assert [left.split(":")[0] for left in caught.value.leftovers] == ["v1", "v2"]


# -- with the real store, journals and locks


def test_many_are_destroyed_at_once_and_nothing_is_left(stage: Stage) -> None:
    made = [ops.create(stage.world, stage.context, raw(f"v{n}")) for n in range(8)]

    def do(world: World, vm: Vm) -> Vm:
        return ops.destroy(world, stage.context, str(vm.id))

    results = run_each(stage.world, stage.context, made, do)

    assert [r.error for r in results] == [None] * 8
    assert [r.after for r in results] == made
    assert stage.state.vms == {}
    assert stage.host().empty
    assert stage.host("node2").empty
    assert stage.locks_left() == []
    assert {stage.status(n) for n in range(1, 17)} == {"done"}
    assert stage.state.meta.last_operation_id == 16


def test_one_that_fails_among_many_keeps_its_record_and_no_other(stage: Stage) -> None:
    made = [ops.create(stage.world, stage.context, raw(f"v{n}")) for n in range(6)]
    stage.remote.upon("RemoveDir", Trouble.FAILS)

    def do(world: World, vm: Vm) -> Vm:
        return ops.destroy(world, stage.context, str(vm.id))

    results = run_each(stage.world, limited(stage, 2, 1), made, do)

    failed = [r for r in results if r.error is not None]
    assert [type(r.error) for r in failed] == [errors.StepFailed]
    assert list(stage.state.vms) == [failed[0].before.id]


def test_an_operation_knows_what_its_fellows_learned_of_a_host(stage: Stage) -> None:
    made = [ops.create(stage.world, stage.context, raw(f"v{n}", host="node1")) for n in range(4)]
    stage.context.seen.clear()
    sent = len(stage.remote.scripts)

    def do(world: World, vm: Vm) -> Vm:
        return ops.destroy(world, stage.context, str(vm.id))

    run_each(stage.world, limited(stage, 1, 1), made, do)

    assert len(stage.remote.scripts) - sent == 4
    assert stage.context.seen["node1"] == 8


def test_an_operation_that_was_interrupted_keeps_the_others_from_being_begun(stage: Stage) -> None:
    def do(_world: World, vm: Vm) -> Vm:
        if vm.name == "v2":
            raise errors.Interrupted("E-INTERRUPTED", "interrupted")
        return vm

    results = run_each(stage.world, limited(stage, 1, 1), vms("a", "a", "a"), do)
    at_once = run_each(stage.world, limited(stage, 2, 1), vms("a", "a", "a"), do)

    for found in (results, at_once):
        assert [r.begun for r in found] == [True, True, False]
