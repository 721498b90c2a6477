"""The store against a model of plain dicts, under any sequence of transactions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.create import create
from tashictl.adapters.store.tiny import TinyStore
from tests.adapters.doubles import CLUSTER, ManualClock, a_host, a_vm, an_image

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KEYS = st.integers(1, 6)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("vm"), KEYS, st.builds(lambda t: {"reason": t}, TEXT)),
        st.tuples(st.just("host"), KEYS, TEXT),
        st.tuples(st.just("image"), TEXT, st.integers(0, 9)),
        st.tuples(st.sampled_from(["no vm", "no host"]), KEYS, st.none()),
        st.tuples(st.just("no image"), TEXT, st.none()),
        st.tuples(st.just("id"), st.none(), st.none()),
    ),
    max_size=5,
)


class Rollback(Exception):
    """The block changed its mind."""


class StoreMachine(RuleBasedStateMachine):
    """Every commit must leave what the model has, every rollback what it had."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = str(folder)
        self.vms: dict[int, Any] = {}
        self.hosts: dict[str, Any] = {}
        self.images: dict[str, Any] = {}
        self.last_vm_id = 0
        self.last_host_id = 0
        self.generation = 0

    @initialize()
    def begin(self) -> None:
        create(self.folder, CLUSTER)
        self.reopen()

    @rule()
    def reopen(self) -> None:
        clock = ManualClock()
        locks = FileLocks(f"{self.folder}/locks", clock, "dev@ws", 1.0)
        self.store = TinyStore(self.folder, locks, clock, keep=2)

    @rule(changes=CHANGES, closing=st.booleans())
    def commit(self, changes: list[Any], closing: bool) -> None:
        before = self._picture()
        with self.store.closing_transaction() if closing else self.store.transaction() as tx:
            for change in changes:
                self._carry_out(tx, *change)
            assert dict(tx.state.vms) == self.vms
        self.generation += before != self._picture()

    @rule(changes=CHANGES)
    def roll_back(self, changes: list[Any]) -> None:
        before = self._picture()
        try:
            with self.store.transaction() as tx:
                for change in changes:
                    self._carry_out(tx, *change)
                raise Rollback
        except Rollback:
            self.vms, self.hosts, self.images, self.last_vm_id, self.last_host_id = before

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        state = self.store.read()
        assert (state.vms, state.hosts, state.images) == (self.vms, self.hosts, self.images)
        assert list(state.vms) == sorted(self.vms)
        assert (state.meta.last_vm_id, state.meta.generation) == (self.last_vm_id, self.generation)
        assert state.meta.last_host_id == self.last_host_id

    def _picture(self) -> tuple[Any, ...]:
        counters = (self.last_vm_id, self.last_host_id)
        return dict(self.vms), dict(self.hosts), dict(self.images), *counters

    def _carry_out(self, tx: Any, what: str, key: Any, value: Any) -> None:
        if what == "vm":
            self.vms[key] = a_vm(key, **value)
            self.last_vm_id = max(self.last_vm_id, key)
            tx.put_vm(self.vms[key])
        elif what == "host":
            self.hosts[f"h{key}"] = a_host(f"h{key}", key, value)
            self.last_host_id = max(self.last_host_id, key)
            tx.put_host(self.hosts[f"h{key}"])
        elif what == "image":
            self.images[key] = an_image(key, value)
            tx.put_image(self.images[key])
        elif what == "no vm":
            self.vms.pop(key, None)
            tx.remove_vm(key)
        elif what == "no host":
            self.hosts.pop(f"h{key}", None)
            tx.remove_host(f"h{key}")
        elif what == "no image":
            self.images.pop(key, None)
            tx.remove_image(key)
        else:
            self.last_vm_id += 1
            assert tx.next_vm_id() == self.last_vm_id


def test_the_store_behaves_like_plain_dicts(tmp_path: Path) -> None:
    serial = itertools.count()

    class Fresh(StoreMachine):
        def __init__(self) -> None:
            super().__init__(tmp_path / str(next(serial)))

    run_state_machine_as_test(
        Fresh,
        settings=settings(max_examples=40, stateful_step_count=15, deadline=None),
    )
