"""`status`: what a glance tells, on screens of any width, and as an object."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from tashictl.cli import attention, status, text
from tashictl.cli.attention import Picture
from tashictl.model.cluster import snapshot
from tashictl.model.host import HostConfig, HostRecord, HostState
from tashictl.model.inventory import Inventory
from tashictl.model.network import Network
from tashictl.model.operation import Operation, Status, StepView
from tashictl.model.state import Meta, State
from tashictl.model.vm import Observed, OperationKind, OperationRef, Vm, Wanted
from tests.cli import stage
from tests.cli.office import CREATE, Office
from tests.ops.hosts import Trouble
from tests.ops.stage import an_image, facts

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
NETWORK = Network(id=1, name="lan", bridge="vmbr", default=True)
INTERRUPTED = Operation(
    id=118,
    kind="create",
    target="web9",
    status=Status.INTERRUPTED,
    actor="dev@ws",
    started="2026-11-22T14:57:00Z",
    ended=None,
    steps=(
        StepView(name="StartQemu", host="node2", klass="reversible", status="begun"),
        StepView(name="AwaitQmp", host="node2", klass="pivot", status="waiting"),
    ),
    reason="",
)


def a_host(number: int, **values: object) -> HostRecord:
    usual: dict[str, object] = {
        "id": number,
        "name": f"node{number}",
        "up": True,
        "last_contact": "2026-11-22T14:59:00Z",
        "facts": facts(cores=32, memory_mib=65536),
    }
    return HostRecord(**{**usual, **values})  # type: ignore[arg-type]


def picture(
    *records: HostRecord,
    vms: tuple[Vm, ...] = (),
    operations: tuple[Operation, ...] = (),
    stale: str = "",
    listed: tuple[str, ...] | None = None,
    images: tuple[str, ...] = ("debian-12",),
) -> Picture:
    names = [r.name for r in records] if listed is None else listed
    inventory = Inventory(
        hosts=tuple(HostConfig(name=n, address=n) for n in names), networks=(NETWORK,)
    )
    state = State(
        meta=Meta(cluster="4f1c09ab77e2", stale=stale),
        vms={vm.id: vm for vm in vms},
        hosts={r.name: r for r in records},
        images={i: an_image(i, ["node1"]) for i in images},
    )
    return Picture(
        name="lab3",
        state=state,
        cluster=snapshot(state, inventory, 512),
        inventory=inventory,
        operations=operations,
        now=NOW,
    )


def sick() -> Picture:
    """One of each: unreachable and drained hosts, interrupted, pending, held, orphaned."""
    pending = stage.vm(
        43,
        name="web7",
        host=None,
        observed=Observed(),
        created="2026-11-22T14:48:00Z",
        reason="no host fits, nearest node2: memory, 256 MiB short (16128 / 16384 MiB); 2 more",
    )
    orphan = stage.vm(44, name="db1", host="node4", observed=Observed(at="2026-11-22T14:02:00Z"))
    web9 = stage.vm(
        45,
        name="web9",
        host="node2",
        operation=OperationRef(id=118, kind=OperationKind.CREATE, started="2026-11-22T14:57:00Z"),
        observed=Observed(),
    )
    return picture(
        a_host(1),
        a_host(2),
        a_host(3, state=HostState.Drained, notes="fan"),
        a_host(4, up=False, last_contact="2026-11-22T14:02:00Z"),
        vms=(stage.vm(41), stage.vm(42), pending, orphan, web9),
        operations=(INTERRUPTED,),
        stale="node1 knows more (counter 130)",
    )


def shown(seen: Picture, width: int | None = None) -> str:
    return "\n".join(status.lines(seen, width, text.plain))


def test_the_first_lines_tell_hosts_vms_and_room() -> None:
    first, bars, *_ = shown(sick()).splitlines()

    assert first.startswith("cluster lab3 (4f1c09ab77e2)   3 hosts up, 1 not reached since 14:02")
    assert "(node4), 1 drained (node3)" in first
    assert "5 VMs: 1 pending, 1 activating, 2 running, 1 orphaned" in first
    assert bars.startswith("cores   8/128  █░")
    assert "memory  8/256 GiB" in bars


def test_everything_that_is_sick_has_a_line_with_what_to_type() -> None:
    marked = [line for line in shown(sick()).splitlines() if line.startswith("!")]

    assert [line.rsplit("tashictl", 1)[1].strip() for line in marked] == [
        "state rebuild",
        "op resume 118",
        "host check node4",
        "schedule",
        "host check node4",
    ]
    text_ = "\n".join(marked)
    assert "op 118 create web9 on node2: interrupted 3 min ago at StartQemu" in text_
    assert "web7 pending 12 min: no host fits, nearest node2: memory, 256 MiB short" in text_
    assert "db1 orphaned: node4 does not answer for it, last seen 14:02" in text_


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_screen_and_no_command_is_cut(width: int) -> None:
    found = status.lines(sick(), width, text.plain)

    assert max(text.cells_of(line) for line in found) <= width
    joined = " ".join(" ".join(found).split())
    for command in ("tashictl op resume 118", "tashictl schedule", "tashictl host check node4"):
        assert command in joined
    assert "256 MiB short" in joined


def test_a_cluster_that_is_well_has_no_marked_line() -> None:
    seen = picture(a_host(1), a_host(2), vms=(stage.vm(41),))

    assert attention.of(seen) == []
    assert "!" not in shown(seen)
    assert "next" not in shown(seen)


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (picture(), "tashictl host add NAME"),
        (picture(listed=("node1",)), "tashictl host add node1"),
        (picture(a_host(1), images=()), "tashictl image import FILE"),
        (picture(a_host(1)), "tashictl vm create NAME --disk debian-12"),
        (picture(a_host(1), vms=(stage.vm(1),)), None),
    ],
)
def test_an_empty_cluster_says_what_to_do_next(seen: Picture, step: str | None) -> None:
    assert attention.next_step(seen) == step
    assert step is None or f"next: {step}" in shown(seen)


def test_the_object_has_counts_and_the_same_lines() -> None:
    found = attention.record(sick())

    assert found["cluster"] == {
        "name": "lab3",
        "id": "4f1c09ab77e2",
        "stale": "node1 knows more (counter 130)",
    }
    assert found["hosts"] == {
        "total": 4,
        "up": 3,
        "down": 1,
        "unknown": 0,
        "drained": 1,
        "version_mismatch": 0,
        "not_added": [],
    }
    assert found["cores"] == {"used": 8, "total": 128, "free": 58}
    assert found["operations"] == {"running": [], "interrupted": [118]}
    lines = found["attention"]
    assert isinstance(lines, list)
    assert [one["kind"] for one in lines] == [
        "stale",
        "operation",
        "host-down",
        "pending",
        "orphaned",
    ]


def test_a_hundred_that_wait_are_counted_not_listed() -> None:
    many = tuple(
        stage.vm(n, host=None, observed=Observed(), wanted=Wanted.RUNNING) for n in range(1, 101)
    )
    found = shown(picture(a_host(1), vms=many)).splitlines()

    assert len(found) < 20
    assert "and 88 more: pending" in found[-1]


def test_hosts_that_the_inventory_and_the_database_see_differently_are_told() -> None:
    seen = picture(a_host(1), a_host(9), listed=("node1", "node5", "node6"))

    told = {one.kind: one for one in attention.of(seen)}

    assert told["host-unlisted"].target == "node9"
    assert told["host-not-added"].said == "node5, node6: in the inventory, not added yet"


def test_hosts_that_were_not_asked_for_long_are_a_note() -> None:
    old = replace(a_host(1), last_contact="2026-11-20T10:00:00Z")

    assert "· node1: last asked 2 d ago; tashictl host check asks now" in shown(picture(old))


# -- from the command line


def test_status_reads_and_changes_nothing(office: Office) -> None:
    office.ok(*CREATE)
    before = office.everything()

    told = office.ok("status").out
    seen = office.ok("status", "-o", "json").json()

    assert "1 VM: 1 running" in told
    assert (seen["vms"], seen["cores"]["used"]) == ({"total": 1, "by_state": {"Running": 1}}, 1)
    assert office.everything() == before
    assert office.remote.asked == []


def test_what_was_interrupted_is_resumed_by_what_status_says(office: Office) -> None:
    office.remote.upon("StartQemu", Trouble.MUTE)
    office.remote.upon("KillQemu", Trouble.UNSENT)
    office.run(*CREATE)

    (line,) = [
        one for one in office.ok("status", "-o", "json").json()["attention"]
        if one["kind"] == "operation"
    ]  # fmt: skip
    office.ok(*line["command"].split()[1:])

    assert not [
        one for one in office.ok("status", "-o", "json").json()["attention"]
        if one["kind"] == "operation"
    ]  # fmt: skip


@pytest.mark.parametrize("option", [("--filter", "a=b"), ("-c", "id")])
def test_a_filter_or_column_is_refused_where_there_is_no_list(
    office: Office, option: tuple[str, str]
) -> None:
    assert office.run("status", *option).code == 2
