"""A controller that is killed at any system call of a commit: readers see the old or the new."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tashictl.adapters.store.tiny import TinyStore
from tests.adapters.doubles import Guillotine, Killed, a_vm


def commit(store: TinyStore, closing: bool) -> None:
    with store.closing_transaction() if closing else store.transaction() as tx:
        tx.put_vm(a_vm(2))
        tx.remove_vm(1)


def prepared(reopened: Callable[..., TinyStore]) -> TinyStore:
    store = reopened(keep=1)
    for reason in ("a", "b", "c"):
        with store.transaction() as tx:
            tx.put_vm(a_vm(1, reason=reason))
    return store


@pytest.mark.parametrize("closing", [False, True], ids=["durable", "closing"])
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_a_kill_at_any_system_call_leaves_the_old_or_the_new_state(
    reopened: Callable[..., TinyStore],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    closing: bool,
    torn: bool,
) -> None:
    store = prepared(reopened)
    old = (folder / "tashi.json").read_bytes()
    outcomes: list[list[int]] = []
    for at in itertools.count():
        (folder / "tashi.json").write_bytes(old)
        killed = False
        with monkeypatch.context() as patch:
            Guillotine(patch, at, torn)
            try:
                commit(store, closing)
            except Killed:
                killed = True
        outcomes.append(sorted(reopened().read().vms))
        with reopened().transaction() as tx:  # the next one is not disturbed by what was left
            tx.put_vm(a_vm(3))
        assert 3 in reopened().read().vms
        if not killed:
            break
    assert len(outcomes) > 5
    assert {tuple(vms) for vms in outcomes} == {(1,), (2,)}
    switch = outcomes.index([2])
    assert all(vms == [1] for vms in outcomes[:switch])
    assert all(vms == [2] for vms in outcomes[switch:])
