"""QEMUs that were started by hand: what a host says of them, which are taken in, and the plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.steps import LetGo, StepClass
from tashictl.model.vm import (
    DiskSpec,
    NicSpec,
    Observed,
    OperationKind,
    OperationRef,
    Seen,
    Vm,
    VmSpec,
)
from tashictl.planning import adopt, create, destroy, start
from tashictl.planning.adopt import Candidate, Look, Process, Scene
from tests.planning.script_cases import NONCE, SETTINGS

UUID = "7c1e0000-0000-4000-8000-000000000001"
OTHER = "7c1e0000-0000-4000-8000-000000000002"
QMP = ("-qmp", "unix:/run/q.sock,server=on,wait=off")
NETWORKS = (
    Network(id=1, name="lan", bridge="vmbr", default=True),
    Network(id=2, name="own", mode="user"),
)


def a_process(*words: str, pid: int = 7, folder: str = "/srv") -> Process:
    return Process(pid=pid, starttime=99, argv=("qemu-system-aarch64", *words), folder=folder)


def a_vm(name: str = "web1", host: str | None = "node1", uuid: str = UUID) -> Vm:
    return Vm(id=1, name=name, uuid=uuid, user="dev", host=host, created="", spec=VmSpec())


def judged(*processes: Process, vms: tuple[Vm, ...] = (), **look: object) -> tuple[Candidate, ...]:
    scene = Scene(host="node1", vms=vms, inventory=Inventory(networks=NETWORKS))
    return adopt.judge(Look(processes=processes, **look), scene)  # type: ignore[arg-type]


# -- what a host says


def answer(*parts: str) -> bytes:
    return "".join(f"\n@{NONCE} {part}\n" for part in (*parts, "Z")).encode()


def hexed(*words: str) -> str:
    return b"".join(w.encode() + b"\0" for w in words).hex()


def test_what_a_host_says_is_read() -> None:
    out = answer(
        "B nets\ntap0 vmbr\nodd\n",
        f"B folders\n{UUID}\n{UUID}\n",
        f"B qemu 12 345 1\n{hexed('kvm', '-name', 'a b')}\n{b'/srv'.hex()}\n",
        f"B qemu 13 346 12\n{hexed('kvm')}\n\n",
        "B qemu 14 x 1\n00\n\n",
        "B qemu 15 1 1\nzz\n\n",
        f"B qemu 16 1 1\n{hexed('kvm', '-daemonize')}\n2f\n",
    )

    assert adopt.read_look(out, NONCE) == Look(
        processes=(
            Process(pid=12, starttime=345, parent=1, argv=("kvm", "-name", "a b"), folder="/srv"),
            Process(pid=16, starttime=1, parent=1, argv=("kvm", "-daemonize")),
        ),
        bridges={"tap0": "vmbr"},
        folders=frozenset({UUID}),
    )
    assert adopt.read_look(out[:-4], NONCE) is None
    hidden = adopt.read_look(answer("B hidden\n"), NONCE)
    assert hidden is not None and hidden.hidden


@given(st.binary())
def test_whatever_a_host_says_is_read_without_an_error(noise: bytes) -> None:
    assert adopt.read_look(f"\n@{NONCE} B qemu 1 2 3\n".encode() + noise, NONCE) is None
    adopt.read_look(f"\n@{NONCE} B qemu 1 2 3\n".encode() + noise + answer(), NONCE)


def test_the_look_changes_nothing() -> None:
    script = adopt.script(SETTINGS, NONCE)
    assert not script.changing
    assert ">" not in script.text.replace("2>/dev/null", "").split("say B nets")[1]


# -- which are taken in


def test_what_its_command_line_says_is_recorded() -> None:
    (one,) = judged(
        a_process(
            *("-uuid", UUID, "-name", "web7", "-m", "1G", "-smp", "2", *QMP),
            *("-hda", "a.qcow2", "-drive", "file=nbd://h/x", "-drive", "file=file:/b,format=vmdk"),
            *("-nic", "tap,ifname=tap0,mac=52:54:00:00:00:01", "-nic", "user"),
        ),
        bridges={"tap0": "vmbr"},
    )

    assert not one.refusal and one.known is None and one.notes == ()
    assert (one.uuid, one.name, one.socket) == (UUID, "web7", "/run/q.sock")
    assert one.spec == VmSpec(
        cores=2,
        memory_mib=1024,
        arch="aarch64",
        disks=(
            DiskSpec(index=0, source="volume", name="/srv/a.qcow2", persistent=True),
            DiskSpec(index=1, source="uri", name="nbd://h/x", persistent=True, format="raw"),
            DiskSpec(index=2, source="volume", name="/b", persistent=True, format="raw"),
        ),
        nics=(
            NicSpec(index=0, network=1, mac="52:54:00:00:00:01"),
            NicSpec(index=1, network=2, mac="52:54:00:12:34:57"),
        ),
    )


@pytest.mark.parametrize(
    ("words", "folder", "why", "remedy"),
    [
        (QMP, "/", "without -uuid", "foreign-qemu:node1:7"),
        (("-uuid", UUID.upper(), *QMP), "/", "lower-case", "written so"),
        (("--uuid", UUID, *QMP), "/", "is not -uuid", "written so"),
        (("-uuid", UUID), "/", "no QMP socket that it listens on: nothing", "-qmp unix:/run/"),
        (("-uuid", UUID, "-qmp", "stdio"), "/", "but -qmp stdio: nothing", "-qmp unix:/run/"),
        (("-uuid", UUID, "-qmp", "unix:q,server=on"), "", "where it was started", "absolute"),
    ],
)
def test_one_that_cannot_be_steered_is_refused_with_the_remedy(
    words: tuple[str, ...], folder: str, why: str, remedy: str
) -> None:
    (one,) = judged(a_process(*words, folder=folder))
    assert why in one.refusal
    assert remedy in one.remedy


def test_a_socket_beside_where_it_was_started_is_found() -> None:
    (one,) = judged(a_process("-uuid", UUID, "-qmp", "unix:./q,server=on"))
    assert one.socket == "/srv/./q"


def test_what_is_known_there_is_known_and_elsewhere_refused() -> None:
    process = a_process("-uuid", UUID, *QMP)
    (known,) = judged(process, vms=(a_vm(),), folders=frozenset({UUID}))
    (moved,) = judged(process, vms=(a_vm(host="node2"),))
    (lost,) = judged(process, folders=frozenset({UUID}))

    assert known.known == a_vm() and not known.refusal
    assert "which is on node2" in moved.refusal
    assert "has a folder" in lost.refusal


def test_two_with_one_uuid_and_a_name_that_is_taken_are_refused() -> None:
    pair = [a_process("-uuid", UUID, *QMP, pid=pid) for pid in (7, 8)]
    same = [a_process("-uuid", u, "-name", "a", *QMP, pid=9) for u in (UUID, OTHER)]

    assert ["another QEMU" in one.refusal for one in judged(*pair)] == [True, True]
    assert [one.refusal for one in judged(*same)] == ["", "there is a VM a already"]
    (taken,) = judged(same[0], vms=(a_vm("a", uuid=OTHER),))
    assert taken.refusal == "there is a VM a already"


@pytest.mark.parametrize("words", [(), ("-name", "My VM"), ("-name", "123")])
def test_one_without_a_name_of_ours_gets_one(words: tuple[str, ...]) -> None:
    (one,) = judged(a_process("-uuid", UUID, *words, *QMP))
    assert one.name == "adopted-7c1e0000"
    assert len(one.notes) == 1


def test_an_interface_on_no_network_of_ours_is_noted() -> None:
    (one,) = judged(
        a_process("-uuid", UUID, "-name", "a", *QMP, "-nic", "tap,ifname=t9", "-nic", "tap,fd=3"),
        bridges={"t9": "br9"},
    )
    assert one.spec.nics == ()
    assert [("br9" in n, "no TAP" in n) for n in one.notes] == [(True, False), (False, True)]


WORDS = st.lists(
    st.sampled_from(
        ["-uuid", UUID, OTHER, "-name", "a", *QMP, "-m", "-hda", "x", "-nic", "user", "-qmp"]
    )
    | st.text(max_size=8)
)


@given(st.lists(WORDS, max_size=4))
def test_whatever_runs_each_is_told_once_and_those_taken_in_differ(lines: list[list[str]]) -> None:
    found = judged(*(a_process(*words, pid=n) for n, words in enumerate(lines)))

    assert [one.process.pid for one in found] == list(range(len(lines)))
    taken = [one for one in found if not one.refusal]
    assert len({one.uuid for one in taken}) == len({one.name for one in taken}) == len(taken)
    for one in taken:
        words = one.process.argv
        assert any(words[i : i + 2] == ("-uuid", one.uuid) for i in range(len(words)))
        assert one.socket.startswith("/")


# -- the plan


def adopted() -> Vm:
    return Vm(
        id=5,
        name="web7",
        uuid=UUID,
        user="dev",
        host="node1",
        created="",
        spec=VmSpec(disks=(DiskSpec(index=0, source="volume", name="/srv/a", persistent=True),)),
        operation=OperationRef(id=9, kind=OperationKind.ADOPT, started=""),
    )


def test_the_plan_never_touches_the_qemu_and_is_taken_back_as_one() -> None:
    plan = adopt.plan(adopted(), a_process(), "/run/q.sock", SETTINGS)

    assert [s.name for s in plan] == ["WriteManifest", "AdoptQemu", "WriteManifest", "AwaitQmp"]
    assert [s.step_class for s in plan][-1] is StepClass.PIVOT
    for begun in ((0,), (0, 1), (0, 1, 2, 3)):
        assert [type(s) for s in create.undo(plan, begun)] == [LetGo]
    assert create.undo(plan, ()) == ()
    assert adopt.begin(adopted(), SETTINGS) == plan[:1]


def test_no_plan_that_removes_it_names_its_disks() -> None:
    steps = destroy.plan(adopted(), SETTINGS, ())

    assert [s.name for s in steps] == ["KillQemu", "RemoveDir"]
    assert "/srv/a" not in repr(steps)
    assert all(UUID in s.folder for s in steps)


def test_one_that_has_ended_is_not_started_by_us() -> None:
    ended = replace(adopted(), operation=None, observed=Observed(what=Seen.STOPPED))
    refusal = start.refusal(ended)
    assert refusal is not None and refusal.code == "E-ADOPTED"
