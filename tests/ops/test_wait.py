"""Waiting for a guest: what counts as an answer, what is said, and when it ends."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.vm import Vm
from tashictl.ops import vm as ops
from tashictl.ops import wait
from tashictl.ops.wait import Goal
from tests.ops.stage import Stage, raw

IP = "10.88.1.11"
HERE = "this machine"
BANNER = b"SSH-2.0-dropbear\r\n"


class Answer:
    """What comes of a TCP connection."""

    def __init__(self, *chunks: bytes, hangs: bool = False) -> None:
        self._chunks = list(chunks)
        self._hangs = hangs

    def send(self, data: bytes) -> None:
        raise AssertionError("nothing is to be sent")

    def receive(self, deadline_s: float) -> bytes:
        if self._chunks:
            return self._chunks.pop(0)
        if self._hangs:
            raise errors.Unreachable("E-TIMEOUT", "no answer within the time limit")
        return b""

    def close(self) -> None:
        pass


def refused() -> Answer:
    raise errors.Unreachable("E-REFUSED", "connection refused")


def looks(stage: Stage, alive: bool = True, neighbours: str = "", console: str = "") -> None:
    """What the VM's host says when it is asked."""

    def probe(nonce: str) -> bytes:
        parts = (f"alive\n{int(alive)}\n", f"neighbours\n{neighbours}", f"console\n{console}")
        return ("".join(f"\n@{nonce} B {part}" for part in parts) + f"\n@{nonce} Z\n").encode()

    stage.remote.probes["node1"] = probe


def running(stage: Stage, ip: str | None = IP) -> Vm:
    """A VM that runs on node1."""
    vm = ops.create(stage.world, stage.context, raw(nics=(f"lan:{ip}" if ip else "lan",)))
    looks(stage)
    return vm


def until(stage: Stage, vm: Vm, goal: Goal, timeout_s: float = 30.0) -> wait.Found:
    return wait.until(stage.world, stage.context, vm, goal, timeout_s)


def late(stage: Stage, when_s: float, then: Callable[[], Answer]) -> Callable[[], Answer]:
    """Refuses until a time."""
    return lambda: then() if stage.clock.monotonic_s() >= when_s else refused()


def test_ssh_that_answers_here_is_reached_from_here(stage: Stage) -> None:
    vm = running(stage)
    stage.remote.guests[HERE, IP, 22] = late(stage, 5.0, lambda: Answer(b"SS", b"H-2.0-x\r\n"))

    assert until(stage, vm, Goal.SSH) == wait.Found(address=IP)
    assert 5.0 <= stage.clock.passed_s < 7.0


def test_ssh_that_only_the_host_reaches_is_found_through_it(stage: Stage) -> None:
    vm = running(stage)
    stage.remote.guests["node1", IP, 22] = lambda: Answer(BANNER)

    assert until(stage, vm, Goal.SSH) == wait.Found(address=IP, through="node1")


def test_an_address_answers_also_where_its_port_refuses(stage: Stage) -> None:
    vm = running(stage)
    stage.remote.guests[HERE, IP, 22] = refused

    assert until(stage, vm, Goal.IP) == wait.Found(address=IP)


def test_an_address_is_learned_from_the_host_by_its_mac(stage: Stage) -> None:
    vm = running(stage, ip=None)
    mac = vm.spec.nics[0].mac
    looks(stage, neighbours=f"10.88.1.50 dev vmbr lladdr {mac} STALE\n")

    assert until(stage, vm, Goal.IP) == wait.Found(address="10.88.1.50", through="node1")
    stage.remote.guests[HERE, "10.88.1.50", 22] = lambda: Answer(BANNER)
    assert until(stage, vm, Goal.SSH) == wait.Found(address="10.88.1.50")


@pytest.mark.parametrize("goal", [Goal.IP, Goal.SSH])
def test_a_forwarded_port_counts_when_the_guest_itself_speaks(stage: Stage, goal: Goal) -> None:
    vm = running(stage, ip=None)
    nic = replace(vm.spec.nics[0], ssh_port=2201)
    vm = replace(vm, spec=replace(vm.spec, nics=(nic,)))
    silent = stage.clock.passed_s + 8.0

    def forwarded() -> Answer:
        stage.clock.sleep(0.1)
        return Answer(BANNER) if stage.clock.passed_s >= silent else Answer()

    stage.remote.guests["node1", "127.0.0.1", 2201] = forwarded

    found = until(stage, vm, goal)

    assert found == wait.Found(address="127.0.0.1", port=2201, through="node1")
    assert stage.clock.passed_s >= silent


@pytest.mark.parametrize(
    ("guest", "said"),
    [
        (None, "no answer to the TCP connection"),
        (refused, "refused"),
        (Answer, "closed at once"),
        (lambda: Answer(b"220 mail\r\n"), "is not SSH"),
        (lambda: Answer(hangs=True), "no SSH banner"),
    ],
)
def test_when_the_time_is_over_it_is_said_what_was_last_seen(
    stage: Stage, guest: Callable[[], Answer] | None, said: str
) -> None:
    vm = running(stage)
    looks(stage, console="booting\nlogin: \n")
    if guest is not None:
        stage.remote.guests[HERE, IP, 22] = guest

    with pytest.raises(errors.PartialResult) as caught:
        until(stage, vm, Goal.SSH, 20.0)

    error = caught.value
    assert (error.code, error.exit_code) == ("E-WAIT", 4)
    assert error.what == "web1 runs on node1, but no SSH of it answered within 20 s"
    assert said in error.cause
    assert "its console ends: booting / login:" in error.cause
    assert "vm show web1" in error.hint
    assert stage.state.vms[vm.id] == vm
    assert 20.0 <= stage.clock.passed_s < 30.0


def test_without_any_address_that_is_what_is_said(stage: Stage) -> None:
    vm = running(stage, ip=None)

    with pytest.raises(errors.PartialResult) as caught:
        until(stage, vm, Goal.IP, 5.0)
    assert vm.spec.nics[0].mac in caught.value.cause


def test_a_guest_that_has_ended_is_not_waited_for(stage: Stage) -> None:
    vm = running(stage)
    looks(stage, alive=False, console="panic")

    with pytest.raises(errors.PartialResult) as caught:
        until(stage, vm, Goal.SSH)
    assert "has ended" in caught.value.what and "panic" in caught.value.cause
    assert stage.clock.passed_s < 5.0


def test_a_host_that_does_not_answer_meanwhile_does_not_end_the_wait(stage: Stage) -> None:
    vm = running(stage)
    stage.remote.down.add("node1")
    stage.remote.guests[HERE, IP, 22] = late(stage, 9.0, lambda: Answer(BANNER))

    assert until(stage, vm, Goal.SSH) == wait.Found(address=IP)


def test_ctrl_c_ends_the_wait_and_leaves_the_vm(stage: Stage) -> None:
    vm = running(stage)

    def pressed() -> Answer:
        raise KeyboardInterrupt

    stage.remote.guests[HERE, IP, 22] = pressed

    with pytest.raises(errors.Interrupted) as caught:
        until(stage, vm, Goal.SSH)
    assert "web1 runs on node1" in caught.value.what
    assert stage.state.vms[vm.id] == vm
    assert stage.host().running == {vm.uuid}


def test_a_terminal_is_told_what_is_waited_for_and_then_cleared(stage: Stage) -> None:
    vm = running(stage)
    stage.remote.guests[HERE, IP, 22] = late(stage, 3.0, lambda: Answer(BANNER))

    until(stage, vm, Goal.SSH)

    first, *_, end = stage.report.waited
    assert first.startswith("web1: ") and "of 30 s" in first
    assert end == ""


def test_nothing_but_reading_is_sent_while_waiting(stage: Stage) -> None:
    vm = running(stage)
    sent = len(stage.remote.scripts)
    stage.remote.guests[HERE, IP, 22] = late(stage, 9.0, lambda: Answer(BANNER))

    until(stage, vm, Goal.SSH)

    assert len(stage.remote.scripts) == sent
