"""What every back end of the state database must do; a back end's tests subclass it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
import pytest

from tashictl.errors import OperationFailed, TashiError
from tashictl.model.vm import OperationKind, OperationRef, Vm
from tashictl.ops.ports import Store
from tests.adapters.doubles import a_host, a_vm, an_image

Opener = Callable[[], Store]


class StoreContract:
    """`opened` is the back end's fixture: each call gives a store object on the same database."""

    def test_a_new_database_is_empty(self, opened: Opener) -> None:
        state = opened().read()
        assert (state.vms, state.hosts, state.images) == ({}, {}, {})
        assert (state.meta.generation, state.meta.epoch, state.meta.last_vm_id) == (0, 1, 0)

    def test_what_was_put_is_read_by_another_store(self, opened: Opener) -> None:
        with opened().transaction() as tx:
            tx.put_vm(a_vm(1))
            tx.put_host(a_host("node1"))
            tx.put_image(an_image("debian/12.qcow2"))
        state = opened().read()
        assert state.vms == {1: a_vm(1)}
        assert state.hosts == {"node1": a_host("node1")}
        assert state.images == {"debian/12.qcow2": an_image("debian/12.qcow2")}

    def test_put_replaces_the_whole_record(self, opened: Opener) -> None:
        store = opened()
        before = a_vm(1, reason="because", operation=_operation(1))
        with store.transaction() as tx:
            tx.put_vm(before)
            tx.put_host(a_host("node1", notes="old"))
            tx.put_image(an_image("a", 1))
        with store.transaction() as tx:
            tx.put_vm(a_vm(1))
            tx.put_host(a_host("node1", host_id=1, notes="new"))
            tx.put_image(an_image("a", 2))
        state = store.read()
        assert state.vms == {1: a_vm(1)}
        assert state.hosts == {"node1": a_host("node1", notes="new")}
        assert state.images == {"a": an_image("a", 2)}

    def test_replacing_one_and_adding_another_in_one_transaction_keeps_both(
        self, opened: Opener
    ) -> None:
        store = opened()
        with store.transaction() as tx:
            tx.put_image(an_image("a", 1))
            tx.put_host(a_host("h1", 1))
        with store.transaction() as tx:
            tx.put_image(an_image("a", 2))
            tx.put_image(an_image("b", 3))
            tx.put_host(a_host("h1", 1, notes="x"))
            tx.put_host(a_host("h2", 2))
        state = store.read()
        assert state.images == {"a": an_image("a", 2), "b": an_image("b", 3)}
        assert sorted(state.hosts) == ["h1", "h2"]

    def test_removing_what_is_not_there_changes_nothing(self, opened: Opener) -> None:
        store = opened()
        with store.transaction() as tx:
            tx.remove_vm(7)
            tx.remove_host("none")
            tx.remove_image("none")
        assert store.read().meta.generation == 0

    def test_removed_records_are_gone(self, opened: Opener) -> None:
        store = opened()
        with store.transaction() as tx:
            tx.put_vm(a_vm(1))
            tx.put_vm(a_vm(2))
            tx.put_host(a_host("node1"))
            tx.put_image(an_image("a"))
        with store.closing_transaction() as tx:
            tx.remove_vm(1)
            tx.remove_host("node1")
            tx.remove_image("a")
        state = store.read()
        assert (list(state.vms), state.hosts, state.images) == ([2], {}, {})

    def test_a_transaction_sees_its_own_changes(self, opened: Opener) -> None:
        with opened().transaction() as tx:
            first = tx.state
            tx.put_vm(a_vm(tx.next_vm_id()))
            assert list(tx.state.vms) == [1]
            assert tx.state.meta.last_vm_id == 1
            tx.remove_vm(1)
            assert tx.state.vms == {}
            assert first.vms == {}, "a state that was handed out does not change"

    def test_an_exception_in_the_block_rolls_back(self, opened: Opener) -> None:
        store = opened()
        with pytest.raises(ZeroDivisionError), store.transaction() as tx:
            tx.put_vm(a_vm(tx.next_vm_id()))
            _ = 1 // 0
        state = store.read()
        assert (state.vms, state.meta.generation, state.meta.last_vm_id) == ({}, 0, 0)
        with store.transaction() as tx:
            assert tx.next_vm_id() == 1

    def test_the_generation_rises_once_per_commit(self, opened: Opener) -> None:
        store = opened()
        for expected in (1, 2, 3):
            with store.transaction() as tx:
                tx.put_vm(a_vm(tx.next_vm_id()))
                tx.put_host(a_host("node1", notes=str(expected)))
            assert store.read().meta.generation == expected

    def test_putting_the_same_again_is_no_commit(self, opened: Opener) -> None:
        store = opened()
        for _ in range(2):
            with store.transaction() as tx:
                tx.put_vm(a_vm(1))
        assert store.read().meta.generation == 1

    def test_ids_rise_and_are_never_used_twice(self, opened: Opener) -> None:
        store = opened()
        with store.transaction() as tx:
            assert [tx.next_vm_id(), tx.next_vm_id()] == [1, 2]
            assert [tx.next_operation_id(), tx.next_operation_id()] == [1, 2]
            assert tx.next_host_id() == 1
            tx.put_vm(a_vm(2))
        with store.transaction() as tx:
            tx.remove_vm(2)
        with opened().transaction() as tx:
            assert (tx.next_vm_id(), tx.next_operation_id(), tx.next_host_id()) == (3, 3, 2)

    def test_a_record_with_a_high_id_raises_the_counter(self, opened: Opener) -> None:
        store = opened()
        with store.transaction() as tx:
            tx.put_vm(a_vm(40))
            tx.put_host(a_host("node7", host_id=7))
        with store.transaction() as tx:
            assert (tx.next_vm_id(), tx.next_host_id()) == (41, 8)

    def test_the_first_proof_that_the_database_is_old_stays(self, opened: Opener) -> None:
        store = opened()
        for why in ("node1 knows more", "node2 knows more"):
            with store.transaction() as tx:
                tx.mark_stale(why)
        assert store.read().meta.stale == "node1 knows more"

    def test_vms_come_in_the_order_of_their_ids(self, opened: Opener) -> None:
        store = opened()
        with store.transaction() as tx:
            for vm_id in (10, 9, 100, 2):
                tx.put_vm(a_vm(vm_id))
        with store.transaction() as tx:
            tx.put_vm(a_vm(2, reason="changed"))
        assert list(store.read().vms) == [2, 9, 10, 100]

    @pytest.mark.parametrize(
        "vm",
        [
            a_vm(1, reason=object()),
            a_vm(1, name=7),
            a_vm(1, name="\udcff"),
            a_vm(1, spec="none"),
            a_vm(1, generation=float("nan")),
        ],
        ids=["no JSON", "wrong type", "no UTF-8", "no spec", "not a number"],
    )
    def test_a_value_that_cannot_be_stored_changes_nothing(self, opened: Opener, vm: Vm) -> None:
        store = opened()
        with store.transaction() as tx:
            tx.put_host(a_host("node1"))
        with pytest.raises(OperationFailed) as caught, store.transaction() as tx:
            tx.put_host(a_host("node2", 2))
            tx.put_vm(vm)
        assert caught.value.code == "E-VALUE"
        state = store.read()
        assert (state.meta.generation, list(state.hosts)) == (1, ["node1"])

    def test_concurrent_transactions_lose_no_update(self, opened: Opener) -> None:
        errors: list[TashiError] = []

        def work() -> None:
            store = opened()
            try:
                for _ in range(10):
                    with store.transaction() as tx:
                        tx.next_operation_id()
                        seen = tx.state.vms.get(1, a_vm(1, pid=0))
                        tx.put_vm(msgspec.structs.replace(seen, pid=(seen.pid or 0) + 1))
            except TashiError as error:
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        state = opened().read()
        assert errors == []
        assert (state.vms[1].pid, state.meta.last_operation_id) == (40, 40)
        assert state.meta.generation == 40

    def test_readers_do_not_wait_for_a_transaction(self, opened: Opener) -> None:
        with opened().transaction() as tx:
            tx.put_vm(a_vm(1))
            assert opened().read().vms == {}


def _operation(number: int) -> OperationRef:
    return OperationRef(id=number, kind=OperationKind.CREATE, started="2026-03-01T00:00:00Z")
