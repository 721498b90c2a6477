"""A change of a host's network: what is proved before it is kept, and what a lost host tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.errors import Conflict, Interrupted, OperationFailed, Unreachable
from tashictl.model.host import HostConfig, HostRecord
from tashictl.model.net import Address, HostNet, Layout, Link, Picture, Route
from tashictl.model.script import Fault, Reply, Script
from tashictl.model.steps import ArmNet, ConfirmNet, GoNet, RollbackNet
from tashictl.ops import net_apply
from tashictl.ops.net import Looked
from tashictl.planning.net.change import back, changes
from tashictl.planning.net.propose import Proposal
from tests.ops.stage import Stage
from tests.planning.net.shown import answer

HOST = HostConfig(name="node1", address="10.0.0.5")
PEER = HostConfig(name="node2", address="10.0.0.6")
CARD = Link(name="eth0", up=True, addresses=(Address(cidr="10.0.0.5/24"),))
BRIDGE = Link(name="vmbr", kind="bridge", up=True)
OLD = Picture(links=(CARD,), routes=(Route(to="default", via="10.0.0.1", device="eth0"),))
NEW = replace(OLD, links=(CARD, BRIDGE))


class NetRemote:
    """node1 with the switch on it, and node2; time is the stage's."""

    def __init__(self, stage: Stage) -> None:
        self.clock = stage.clock
        self.picture = OLD
        self.pending: dict[str, str] = {}
        self.due_s = 0.0
        self.lost = False
        self.lost_when_applied = False
        self.gateway = "ok"
        self.ports: set[tuple[str, str, int]] = {("node2", "10.0.0.5", 22)}
        self.sent: list[str] = []
        self.drops = 0
        self.upon: dict[str, Reply] = {}
        self.when: dict[str, Callable[[], None]] = {}

    def run(self, host: HostConfig, script: Script, deadline_s: float, *_: Any) -> Reply:
        self.clock.sleep(0.5)
        self._time_passes()
        if host.name == "node1" and self.lost:
            self.clock.sleep(min(4.0, max(0.0, deadline_s - self.clock.monotonic_s())))
            self._time_passes()
            return Reply(fault=Fault.TCP_TIMEOUT)
        if script.steps:
            return self._step(script)
        if "GATEWAYS=" in script.text:
            out = f"\n@{script.nonce} B gateway 10.0.0.1 {self.gateway}\n\n@{script.nonce} Z\n"
            return Reply(rc=0, out=out.encode(), sent=True)
        net = HostNet(picture=self.picture, reached="10.0.0.5", digest="d")
        return Reply(rc=0, out=answer(net, script.nonce, self.pending), sent=True, seconds=0.5)

    def _time_passes(self) -> None:
        if self.pending.get("place") == "pending" and self.clock.monotonic_s() >= self.due_s:
            self._back("late")

    def _back(self, why: str) -> None:
        detail = self.pending.get("detail") or why
        self.picture, self.lost = OLD, False
        self.pending |= {"place": "last", "stage": "reverted", "detail": detail}

    def _step(self, script: Script) -> Reply:
        (step,) = script.steps
        self.sent.append(step.name)
        if step.name in self.when:
            self.when.pop(step.name)()
        said = self.upon.pop(step.name, None)
        if said is not None and not said.sent:
            return said
        match step:
            case ArmNet(token=token, window_s=window_s):
                self.pending = {"place": "pending", "token": token, "stage": "armed"}
                self.due_s = self.clock.monotonic_s() + window_s
            case GoNet():
                self.picture, self.lost = NEW, self.lost_when_applied
                self.pending["stage"] = "applied"
            case ConfirmNet():
                self.pending |= {"place": "last", "stage": "confirmed"}
            case RollbackNet(why=why):
                if self.pending["stage"] != "confirmed":
                    self._back(why)
            case _:
                raise AssertionError(step)
        n = script.nonce
        out = f"\n@{n} B 0 {step.name}\n\n@{n} E 0 0\n\n@{n} Z\n"
        return said or Reply(rc=0, out=out.encode(), sent=True)

    def open_tcp(self, host: HostConfig, address: str, port: int, deadline_s: float) -> Any:
        del deadline_s
        if (host.name, address, port) not in self.ports or self.lost:
            raise Unreachable("E-REFUSED", "no")
        return self

    def sweep(self, hosts: Any, make: Any, timeout_s: float, on_result: Any, *_: Any) -> None:
        for host in hosts:
            on_result(host, self.run(host, make(host), self.clock.monotonic_s() + timeout_s))

    def close(self) -> None:
        return

    def drop(self, host: HostConfig) -> None:
        del host
        self.drops += 1


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def remote(stage: Stage) -> NetRemote:
    return NetRemote(stage)


def change(stage: Stage, remote: NetRemote, **terms: Any) -> net_apply.Change:
    world = replace(stage.world, remote=remote)
    with world.store.transaction() as tx:
        tx.put_host(HostRecord(id=1, name="node1", up=True))
    proposal = Proposal(
        host="node1",
        layout=Layout(host="node1", uplink="eth0", style="ifupdown", strands=()),
        net=HostNet(picture=OLD, reached="10.0.0.5", digest="d"),
        picture=NEW,
        files=(),
        forward=changes(OLD, NEW),
        reverse=back(OLD, NEW),
    )
    looked = Looked(host=HOST, net=proposal.net, proposal=proposal, seconds=0.5)
    return net_apply.Change(world, stage.context, looked, net_apply.Terms(**terms))


def test_it_is_armed_made_proved_by_fresh_connections_and_confirmed(
    stage: Stage, remote: NetRemote
) -> None:
    began_s = remote.clock.monotonic_s()
    done = change(stage, remote).apply([PEER])

    assert done.confirmed
    assert remote.sent == ["ArmNet", "GoNet", "ConfirmNet"]
    assert remote.drops >= 4  # before each look and before the confirmation
    assert remote.clock.monotonic_s() - began_s >= 10.0


def test_a_host_that_is_lost_goes_back_by_itself_and_that_is_waited_for(
    stage: Stage, remote: NetRemote
) -> None:
    remote.lost_when_applied = True

    with pytest.raises(OperationFailed, match="E-NET-REVERTED") as caught:
        change(stage, remote).apply([])
    assert "ConfirmNet" not in remote.sent
    assert remote.picture == OLD
    assert "no proof" in caught.value.cause


def test_what_worked_before_and_does_no_more_is_taken_back_at_once(
    stage: Stage, remote: NetRemote
) -> None:
    remote.when["GoNet"] = lambda: setattr(remote, "gateway", "silent")

    with pytest.raises(OperationFailed, match="E-NET-REVERTED") as caught:
        change(stage, remote).apply([])
    assert "gateway 10.0.0.1" in caught.value.cause
    assert remote.sent[-1] == "RollbackNet" and remote.picture == OLD
    assert remote.clock.monotonic_s() < remote.due_s


def test_a_gateway_that_was_silent_before_is_not_asked_for(stage: Stage, remote: NetRemote) -> None:
    remote.gateway = "silent"

    assert change(stage, remote).apply([]).confirmed


def test_a_host_that_another_one_sees_no_more_goes_back(stage: Stage, remote: NetRemote) -> None:
    remote.when["GoNet"] = remote.ports.clear

    with pytest.raises(OperationFailed) as caught:
        change(stage, remote).apply([PEER])
    assert "the look from node2" in caught.value.cause


def test_a_change_that_fails_on_the_host_says_which_command_and_why(
    stage: Stage, remote: NetRemote
) -> None:
    def fails() -> None:
        remote.upon["GoNet"] = Reply(fault=Fault.CUT, sent=False)
        remote.pending |= {"place": "last", "stage": "reverted", "detail": "ip link add: no"}

    remote.when["GoNet"] = fails
    with pytest.raises(OperationFailed, match="E-NET-REVERTED") as caught:
        change(stage, remote).apply([])
    assert caught.value.cause == "ip link add: no"


def test_an_arming_without_an_answer_is_asked_for_once_more(
    stage: Stage, remote: NetRemote
) -> None:
    remote.upon["ArmNet"] = Reply(fault=Fault.CUT, sent=True)

    assert change(stage, remote).apply([]).confirmed
    assert remote.sent[:3] == ["ArmNet", "ArmNet", "GoNet"]


def test_a_confirmation_without_an_answer_is_looked_for_on_the_host(
    stage: Stage, remote: NetRemote
) -> None:
    remote.upon["ConfirmNet"] = Reply(fault=Fault.CUT, sent=True)

    assert change(stage, remote).apply([]).confirmed
    assert "RollbackNet" not in remote.sent


def test_a_host_that_is_not_reached_for_the_arming_was_not_changed(
    stage: Stage, remote: NetRemote
) -> None:
    remote.upon["ArmNet"] = Reply(fault=Fault.REFUSED)

    with pytest.raises(Unreachable):
        change(stage, remote).apply([])
    assert remote.sent == ["ArmNet"] and remote.picture == OLD


def test_ctrl_c_sends_it_back(stage: Stage, remote: NetRemote) -> None:
    def interrupts() -> None:
        raise KeyboardInterrupt

    one = change(stage, remote)
    remote.when["ConfirmNet"] = interrupts

    with pytest.raises(Interrupted):
        one.apply([])
    assert remote.sent[-1] == "RollbackNet" and remote.picture == OLD


def test_without_confirmation_it_waits_for_somebody(stage: Stage, remote: NetRemote) -> None:
    done = change(stage, remote, manual=True).apply([])

    assert not done.confirmed and done.pending is not None and done.pending.stage == "applied"
    assert remote.sent == ["ArmNet", "GoNet"]


def test_a_change_that_somebody_else_confirmed_is_told_as_that(
    stage: Stage, remote: NetRemote
) -> None:
    def silent() -> None:
        remote.gateway = "silent"
        remote.when["RollbackNet"] = lambda: remote.pending.update(place="last", stage="confirmed")

    remote.when["GoNet"] = silent
    with pytest.raises(Conflict, match="E-NET-CONFIRMED"):
        change(stage, remote).apply([])


@pytest.mark.parametrize(
    ("asked", "look_s", "window_s"), [(None, 0.5, 90), (None, 10.0, 130), (40, 10.0, 40)]
)
def test_a_slow_host_gets_more_time(asked: int | None, look_s: float, window_s: int) -> None:
    assert net_apply.window_s(net_apply.Terms(window_s=asked), look_s) == window_s
