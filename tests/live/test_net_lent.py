"""Files lent to networkd while a change is in flight, by the host's own scripts; no machine boots.

`networkctl` is a stand-in that gives one address to the interface of which a file was lent, else to
the one that had it before.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tashictl.model.net import HostFile
from tashictl.model.net_change import AskNetworkd, TellNetworkd, UntellNetworkd
from tashictl.planning.net import render_networkd, text
from tests.live.lab.hosts import Lab
from tests.live.switching import Switch

_NUMBERS = itertools.count(1)
_LENT = "/run/systemd/network"
_CALLS = "/tmp/networkctl"
_STAND_IN = r"""#!/bin/sh
umask 022; echo "$1" >>/tmp/networkctl
to=card{n} from=made{n}
[ ! -e /run/systemd/network/04-tashi-$from.network ] || {{ to=$from; from=card{n}; }}
ip addr del 198.51.100.7/24 dev "$from"
ip addr add 198.51.100.7/24 dev "$to" valid_lft 600 preferred_lft 600
exit 0
"""


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


class Lent(Switch):
    """A change whose new bridge takes over the lease of a card, which is a bridge here."""

    def prepare(self, number: int) -> None:
        """The card has its lease."""
        self.card = f"card{number}"
        self.paths = (render_networkd.path(self.bridge), render_networkd.paths(self.bridge)[0])
        self.write("/usr/local/bin/networkctl", _STAND_IN.format(n=number))
        self.host.run(
            f"chmod 755 /usr/local/bin/networkctl; rm -rf {_LENT} {_CALLS}; mkdir -p /run/systemd; "
            f"ip link add {self.card} type bridge && networkctl first && rm {_CALLS}",
            check=True,
        )
        told = TellNetworkd(paths=self.paths, devices=(self.bridge,), leased=(self.bridge,))
        self.tell = text.command(told)
        self.lines = (*self.forward, self.tell)
        self.back = tuple(
            text.command(c) for c in (UntellNetworkd(), AskNetworkd(device=self.card))
        )
        self.back = (self.back[0], *self.reverse, self.back[1])
        self.files = tuple(HostFile(path=p, text=f"new {p}\n") for p in self.paths)

    def calls(self) -> list[str]:
        """What networkd was told."""
        return (self.text(_CALLS) or "").split()

    def lent(self) -> str:
        """The files that it is lent, with their modes."""
        return self.host.run(f"cd {_LENT} 2>/dev/null && stat -c '%a %n' *").stdout

    def leased(self, device: str) -> bool:
        """The address is on that interface."""
        return "198.51.100.7" in self.host.run(f"ip -4 -o addr show dev {device}").stdout


@pytest.fixture(params=["dash", "bash"])
def switch(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Lent]:
    """A change that is not armed yet; nothing of it is left."""
    number = next(_NUMBERS)
    made = Lent(lab.hosts[0], number, request.param)
    made.prepare(number)
    yield made
    made.end()
    made.host.run(f"ip link del {made.card}")


def test_what_was_lent_is_taken_back_when_its_place_has_it(switch: Lent) -> None:
    switch.applied(forward=switch.lines, reverse=switch.back, files=switch.files)
    assert switch.leased(switch.bridge)
    assert switch.lent() == (
        f"644 04-tashi-{switch.bridge}.netdev\n644 04-tashi-{switch.bridge}.network\n"
    )
    lent = switch.text(f"{_LENT}/04-tashi-{switch.bridge}.network")
    assert lent == f"new {switch.paths[0]}\n"

    assert switch.confirm().rc == 0

    assert [switch.text(p) for p in switch.paths] == [f.text for f in switch.files]
    assert (switch.lent(), switch.leased(switch.bridge)) == ("", True)
    assert switch.calls() == ["reload"]  # and not once more when it is confirmed
    switch.host.run(f"rm -f {' '.join(switch.paths)}")


@pytest.mark.parametrize("cut", ["before", "lent", "reloaded", "applied"])
def test_the_lease_is_back_from_wherever_the_change_stopped(switch: Lent, cut: str) -> None:
    lines = {
        "before": (*switch.forward, "sleep 1000"),
        # Killed between the files and the word that they are there, and in the midst of a wait.
        "lent": (*switch.forward, f"networkctl() {{ sleep 1000; }}; {switch.tell}"),
        "reloaded": (*switch.forward, f"networkd_leased() {{ sleep 1000; }}; {switch.tell}"),
        "applied": switch.lines,
    }[cut]
    before = switch.look().digest
    switch.arm(forward=lines, reverse=switch.back, files=switch.files)
    switch.go()
    if cut == "applied":
        switch.await_stage("applied")
    elif cut == "before":
        switch.wait(lambda: switch.is_there)
    else:
        switch.wait(lambda: switch.lent().count("\n") == 2)
    if cut == "reloaded":
        switch.wait(lambda: switch.calls() == ["reload"])

    switch.roll_back(why="rollback")

    switch.await_stage("reverted")
    assert (switch.lent(), switch.leased(switch.card)) == ("", True)
    assert switch.look().digest == before
    assert switch.calls() == {"before": [], "lent": ["reload"]}.get(cut, ["reload", "reload"])


def test_no_lease_in_time_is_told_and_taken_back(switch: Lent) -> None:
    deaf = f"networkd_has() {{ false; }}; {switch.tell}".replace(" 30", " 1")

    switch.arm(forward=(*switch.forward, deaf), reverse=switch.back, files=switch.files)
    switch.go()

    last = switch.await_stage("reverted")
    assert last.detail.endswith(f"networkd got no lease for {switch.bridge} within 1 s")
    assert switch.leased(switch.card)
