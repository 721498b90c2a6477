"""dnsmasq's folders from an operation's side: which host is asked, and what its answer means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tashictl.errors import Conflict, InvalidRequest, TashiError, Uncertain, Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.naming import DhcpEntry
from tashictl.model.script import Fault, Reply, Script
from tashictl.model.settings import DhcpSettings
from tashictl.ops import naming_dnsmasq
from tests.ops.stage import Stage

ENTRY = DhcpEntry(
    driver="dnsmasq",
    network=1,
    name="web1",
    mac="52:54:00:00:00:01",
    addresses=("172.16.7.1",),
    owner="tashictl:0123456789ab:u1",
)


class Asked:
    """What was sent where, and within which time; `lines` are answered, whole unless it is cut."""

    def __init__(self, *lines: str, cut: bool = False, fault: Fault | None = None) -> None:
        self.lines, self.cut, self.fault = lines, cut, fault
        self.sent: list[tuple[str, Script, float]] = []

    def run(
        self,
        host: HostConfig,
        script: Script,
        deadline_s: float,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Reply:
        """The answer."""
        self.sent.append((host.name, script, deadline_s))
        if self.fault is not None:
            return Reply(fault=self.fault, sent=False)
        said = "".join(f"{line}\n" for line in self.lines)
        end = "" if self.cut else f"\n@{script.nonce} Z\n"
        return Reply(rc=0, out=f"\n@{script.nonce} B entries\n{said}{end}".encode(), sent=True)


def change(
    stage: Stage, asked: Asked, monkeypatch: pytest.MonkeyPatch, host: str | None = "node2"
) -> list[TashiError | None]:
    """Add the entry and remove it again, in one call."""
    monkeypatch.setattr(stage.remote, "run", asked.run)
    settings = replace(stage.context.settings, dhcp=DhcpSettings(dnsmasq_host=host))
    context = replace(stage.context, settings=settings)
    return naming_dnsmasq.change(stage.world, context, [(ENTRY, True), (ENTRY, False)])


def test_all_changes_are_one_script_for_the_host_that_is_set(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked("0 done", "1 done")

    assert change(stage, asked, monkeypatch) == [None, None]

    ((host, script, deadline_s),) = asked.sent
    assert (host, script.changing) == ("node2", True)
    assert deadline_s - stage.clock.monotonic_s() > script.timeout_s
    assert "\nA 1 " not in script.text and "\nX 1 web1 " in script.text


def test_it_may_not_begin_long_after_it_was_made_by_the_hosts_clock(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = stage.state.hosts["node2"]
    assert record.facts is not None
    with stage.store.transaction() as tx:
        tx.put_host(replace(record, facts=replace(record.facts, clock_offset_s=5000.0)))
    asked = Asked("0 done", "1 done")

    change(stage, asked, monkeypatch)

    (line,) = [w for w in asked.sent[0][1].text.splitlines() if w.startswith("NOT_AFTER=")]
    late_s = int(line.partition("=")[2]) - 5000 - stage.clock.now().timestamp()
    assert 30 <= late_s <= 120


def test_each_entry_has_its_own_result(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    error, done = change(stage, Asked("0 foreign - H web1", "1 gone"), monkeypatch)

    assert isinstance(error, Conflict) and done is None
    assert error.what == "/etc/tashi/dnsmasq.hosts/web1 on node2 is not ours"


def test_a_host_that_is_not_reached_has_done_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unreachable) as raised:
        change(stage, Asked(fault=Fault.REFUSED), monkeypatch)

    assert not isinstance(raised.value, Uncertain)
    assert raised.value.host == "node2"


@pytest.mark.parametrize("asked", [Asked("0 done", "1 done", cut=True), Asked("0 done")])
def test_an_answer_that_is_not_whole_leaves_it_open(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    with pytest.raises(Uncertain):
        change(stage, asked, monkeypatch)


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_without_a_host_nothing_is_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, host: str | None
) -> None:
    asked = Asked()

    with pytest.raises(InvalidRequest) as raised:
        change(stage, asked, monkeypatch, host)

    assert "dnsmasqHost" in f"{raised.value.cause} {raised.value.hint}"
    assert asked.sent == []
