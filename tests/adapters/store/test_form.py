"""The state file's form: each kind of damage is told apart, and the file is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.adapters.store import form
from tashictl.adapters.store.form import ReadOnlyStore, read_state, sealed
from tashictl.adapters.store.tiny import TinyStore
from tashictl.errors import InvalidRequest, NotPermitted, OperationFailed, TashiError
from tashictl.model.vm import Machine
from tests.adapters.doubles import a_vm

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def filled(store: TinyStore, state_file: Path) -> Path:
    with store.transaction() as tx:
        tx.put_vm(a_vm(tx.next_vm_id()))
    return state_file


def refused(path: Path, content: bytes) -> TashiError:
    """Read and write `content` in vain; the error, the same for both."""
    path.write_bytes(content)
    inode = path.stat().st_ino
    with pytest.raises(TashiError) as caught:
        read_state(str(path))
    assert path.read_bytes() == content
    assert path.stat().st_ino == inode
    return caught.value


def body_of(path: Path) -> bytes:
    return path.read_bytes().split(b"\n", 1)[1]


def test_no_file_says_that_there_is_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_state(str(tmp_path / "tashi.json"))
    assert caught.value.code == "E-NO-CLUSTER"
    assert "tashictl init" in caught.value.hint


def test_an_empty_file_is_refused_and_left_alone(filled: Path) -> None:
    assert refused(filled, b"").code == "E-STATE-EMPTY"


@QUICK
@given(data=st.data())
def test_a_truncated_file_is_refused_and_left_alone(filled: Path, data: st.DataObject) -> None:
    whole = filled.read_bytes()
    cut = data.draw(st.integers(1, len(whole) - 1))
    try:
        error = refused(filled, whole[:cut])
    finally:
        filled.write_bytes(whole)
    assert error.code == "E-STATE-TRUNCATED"
    assert "tashictl state restore" in error.hint


@QUICK
@given(data=st.data())
def test_any_flipped_bit_is_noticed(filled: Path, data: st.DataObject) -> None:
    whole = filled.read_bytes()
    place, bit = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 7))
    broken = bytearray(whole)
    broken[place] ^= 1 << bit
    try:
        error = refused(filled, bytes(broken))
    finally:
        filled.write_bytes(whole)
    assert error.code in {"E-STATE-DAMAGED", "E-STATE-TRUNCATED"}


def test_a_flipped_schema_number_is_damage_and_not_a_newer_version(filled: Path) -> None:
    whole = filled.read_bytes()
    for old, new in ((b'"schema":4', b'"schema":5'), (b'"min_writer":4', b'"min_writer":9')):
        assert refused(filled, whole.replace(old, new, 1)).code == "E-STATE-DAMAGED"


def test_bytes_behind_the_end_are_noticed(filled: Path) -> None:
    error = refused(filled, filled.read_bytes() + b"  ")
    assert (error.code, error.cause) == ("E-STATE-DAMAGED", "2 bytes follow its end")


@pytest.mark.parametrize("content", [b"{}\n{}", b"[]\n", b"\n\n", b"\xff\xfe\n", b"null\n"])
def test_another_file_is_refused(filled: Path, content: bytes) -> None:
    assert refused(filled, content).code == "E-STATE-DAMAGED"


def test_a_sealed_file_of_another_kind_is_refused(filled: Path) -> None:
    other = filled.read_bytes().replace(b"tashictl-state", b"tashictl-stats", 1)
    assert refused(filled, other).cause == "it is not a state database"


def test_a_file_that_only_newer_versions_may_write_is_refused(
    filled: Path, store: TinyStore
) -> None:
    error = refused(filled, sealed(b'{"new":"form"}', 5, 4))
    assert (type(error), error.code) == (NotPermitted, "E-SCHEMA")
    with pytest.raises(NotPermitted), store.transaction():
        raise AssertionError("the block must not run")


def test_a_newer_schema_that_allows_us_is_read_and_not_lowered(
    filled: Path, store: TinyStore
) -> None:
    filled.write_bytes(sealed(body_of(filled), 5, 4))
    assert list(store.read().vms) == [1]
    with store.transaction() as tx:
        tx.remove_vm(1)
    assert b'"schema":5,"min_writer":4' in filled.read_bytes().split(b"\n")[0]


def test_a_newer_schema_with_unknown_fields_is_refused(filled: Path) -> None:
    body = body_of(filled).replace(b'"name":"vm1"', b'"name":"vm1","colour":"red"')
    assert refused(filled, sealed(body, 5, 4)).code == "E-SCHEMA"
    assert refused(filled, sealed(body, 4, 4)).code == "E-STATE-DAMAGED"


@pytest.mark.parametrize("schema", [0, -1])
def test_an_unknown_old_schema_is_refused(filled: Path, schema: int) -> None:
    assert refused(filled, sealed(body_of(filled), schema, 0)).code == "E-SCHEMA"


def test_a_body_without_counters_is_refused(filled: Path) -> None:
    assert refused(filled, sealed(b'{"meta":{}}', 1, 1)).code == "E-STATE-DAMAGED"


def test_a_folder_in_the_place_of_the_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed):
        read_state(str(tmp_path))


def test_reading_writes_nothing_anywhere(
    filled: Path, folder: Path, reopened: Callable[..., TinyStore]
) -> None:
    def picture() -> list[tuple[str, int]]:
        return sorted((str(p), p.stat().st_mtime_ns) for p in (folder, *folder.rglob("*")))

    before = picture()
    assert reopened().read() == ReadOnlyStore(str(folder)).read()
    assert picture() == before


def test_a_read_only_store_refuses_transactions(folder: Path) -> None:
    store = ReadOnlyStore(str(folder))
    for begin in (store.transaction, store.closing_transaction):
        with pytest.raises(NotPermitted):
            begin()


def test_the_reader_does_not_need_tinydb() -> None:
    assert not [name for name in vars(form) if "tiny" in name.lower()]


def test_the_seal_is_one_line_of_json_with_the_size_of_the_body() -> None:
    seal, body = sealed(b'{"meta":{}}', 1, 1).split(b"\n")
    assert msgspec.json.decode(seal)["size"] == len(body)


def test_a_large_state_is_read_as_a_small_one_is(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = form.read_state(str(filled))
    monkeypatch.setattr(form, "_LARGE", 0)
    large = form.read_state(str(filled))
    assert small.vms
    assert msgspec.json.encode(large) == msgspec.json.encode(small)


def test_what_the_vms_of_a_large_state_have_alike_is_in_memory_once(
    folder: Path, store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "_LARGE", 0)
    devices: tuple[dict[str, str | int | bool], ...] = (
        {"driver": "VGA", "id": "video0"},
        {"driver": "nic", "bootindex": 1},
    )
    others = (devices[0], {"driver": "nic", "bootindex": True})
    with store.transaction() as tx:
        for number, some in enumerate((devices, devices, others), 1):
            vm = a_vm(number)
            machine = Machine(type="pc-i440fx-7.2", cpu="qemu64", devices=some)
            tx.put_vm(replace(vm, spec=replace(vm.spec, machine=machine)))
    vms = form.read_state(f"{folder}/tashi.json").vms
    first, second, third = (vms[n].spec.machine for n in (1, 2, 3))
    assert first is not None and second is not None and third is not None
    assert first.devices[1] is second.devices[1]
    assert first.cpu is third.cpu
    assert third.devices[1]["bootindex"] is True
