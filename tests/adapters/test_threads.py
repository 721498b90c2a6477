"""What several threads of one process share: store, locks, journals, faults, the SSH agent."""

import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import pytest

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.faults import FaultPoint
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.ssh.keys import OneAtATime
from tashictl.adapters.store.create import create
from tashictl.adapters.store.tiny import TinyStore
from tashictl.errors import Conflict
from tashictl.model.operation import Begun, Header
from tashictl.model.vm import OperationKind, Vm, VmSpec
from tests.ops.stage import CLUSTER

THREADS = 24


def at_once(do: Callable[[int], object]) -> list[object]:
    """Calls in as many threads, all begun at one moment."""
    gate = threading.Barrier(THREADS)

    def one(number: int) -> object:
        gate.wait(10)
        return do(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, range(THREADS)))


def locks_in(folder: Path, timeout_s: float = 20.0) -> FileLocks:
    return FileLocks(f"{folder}/locks", SystemClock(), "dev@desk", timeout_s)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    create(str(tmp_path / "state"), CLUSTER)
    return tmp_path / "state"


def test_transactions_of_many_threads_lose_nothing_and_give_no_id_twice(state: Path) -> None:
    store = TinyStore(str(state), locks_in(state), SystemClock(), keep=3)

    def add(number: int) -> int:
        with store.transaction() as tx:
            vm_id = tx.next_vm_id()
            tx.put_vm(
                Vm(
                    id=vm_id,
                    name=f"v{number}",
                    uuid=f"u{vm_id}",
                    user="dev",
                    spec=VmSpec(),
                    created="",
                )
            )
        with store.closing_transaction() as tx:
            assert tx.state.vms[vm_id].name == f"v{number}"
        return vm_id

    ids = at_once(add)

    assert sorted(store.read().vms) == sorted(ids) == list(range(1, THREADS + 1))  # type: ignore[type-var]
    assert [p.name for p in state.iterdir() if p.name.endswith(".tmp")] == []


def test_a_thread_that_waits_too_long_for_the_database_is_told(state: Path) -> None:
    locks = locks_in(state, 0.1)
    with (
        locks.state(),
        ThreadPoolExecutor(1) as pool,
        pytest.raises(Conflict, match="another operation of this command"),
    ):
        pool.submit(lambda: locks.state().__enter__()).result()
    with locks.state():
        pass  # and it did not keep its place in the line


def test_a_lock_of_a_vm_is_held_by_one_thread_at_a_time(state: Path) -> None:
    locks, inside = locks_in(state), []

    def hold(number: int) -> None:
        with locks.vm(1):
            inside.append(number)
            assert inside == [number]
            time.sleep(0.002)
            inside.clear()
            if number % 2:
                locks.forget_vm(1)

    at_once(hold)


def test_each_thread_writes_its_own_journal_while_others_look_and_prune(tmp_path: Path) -> None:
    journals = FileJournals(str(tmp_path), SystemClock())

    def work(number: int) -> int:
        header = Header(
            id=number + 1,
            kind=OperationKind.CREATE,
            target=f"v{number}",
            actor="dev@desk",
            started="",
            epoch=1,
            plan=(),
        )
        journal = journals.create(header)
        for attempt in range(5):
            journal.commit(Begun(at="", attempt=attempt, host="h", steps=()))
            journals.prune(0)
        seen = journals.read(number + 1)
        assert seen is not None
        assert seen.alive
        journal.close()
        return len(seen.entries)

    assert at_once(work) == [5] * THREADS


def test_a_fault_point_is_reached_the_nth_time_by_one_thread_only() -> None:
    point, cuts = FaultPoint("StartQemu", "sent", "cut", 7), []

    at_once(lambda number: point.reached("StartQemu", "sent", lambda: cuts.append(number)))

    assert len(cuts) == 1


def test_the_agent_is_asked_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is that of the question: an agent that answers with what it was asked."""
    monkeypatch.setattr("paramiko.agent.get_agent_connection", _Pipe)
    agent = OneAtATime()

    def ask(number: int) -> bool:
        kind, answer = agent._send_message(bytes([14]) + struct.pack(">I", number))  # type: ignore[misc]
        return bool(kind == 14 and answer.get_int() == number)

    assert all(at_once(ask))
    assert isinstance(agent, paramiko.Agent)


class _Pipe:
    """A connection to an agent that says back what it is sent; slow, so that askers meet."""

    def __init__(self) -> None:
        self._said = b""

    def send(self, data: bytes) -> int:
        if data[4:5] == bytes([11]):  # which keys it holds: none
            data = struct.pack(">I", 5) + bytes([12]) + struct.pack(">I", 0)
        self._said += data
        return len(data)

    def recv(self, size: int) -> bytes:
        time.sleep(0.0005)
        found, self._said = self._said[:size], self._said[size:]
        return found
