import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.cluster import Cluster, Host
from tashictl.model.host import HostState
from tashictl.model.vm import DiskSpec, NicSpec, Vm, VmSpec
from tashictl.planning import placement
from tashictl.planning.placement import Want
from tests.planning.cases import cluster, facts, host, image, vm


def want(cores: int = 1, memory_mib: int = 128, **values: object) -> Want:
    spec = VmSpec(cores=cores, memory_mib=memory_mib)
    return Want(**{"name": "web", "user": "dev", "spec": spec, **values})  # type: ignore[arg-type]


ONE = host("node1", 1)
TWO = host("node2", 2)
THREE = host("node3", 3)


# -- the choice


def test_spread_takes_the_host_with_fewest_vms() -> None:
    decision = placement.choose(cluster(replace(ONE, vms=2), replace(TWO, vms=1)), want())

    assert (decision.host, decision.why) == ("node2", "spread: 1 VM, fewest of 2")


def test_dense_takes_the_host_with_most_vms_that_has_room() -> None:
    full = replace(THREE, vms=9, used_cores=4)

    decision = placement.choose(
        cluster(replace(ONE, vms=2), replace(TWO, vms=1), full), want(dense=True)
    )

    assert (decision.host, decision.why) == ("node1", "densePack: 2 VMs, most of 2")


@pytest.mark.parametrize(("last", "chosen"), [(None, 1), (1, 2), (2, 3), (3, 1)])
@pytest.mark.parametrize("dense", [False, True])
def test_among_equals_the_scan_goes_round_from_the_host_used_last(
    last: int | None, chosen: int, dense: bool
) -> None:
    vms: tuple[Vm, ...] = ()
    if last is not None:
        vms = (vm(4, host="node1"), vm(9, host=f"node{last}"), vm(7, host="node2"))

    decision = placement.choose(cluster(ONE, TWO, THREE, vms=vms), want(dense=dense))

    assert decision.host == f"node{chosen}"


def test_a_target_comes_before_everything() -> None:
    hosts = cluster(ONE, replace(TWO, vms=3))

    decision = placement.choose(hosts, want(target="node2"))

    assert (decision.host, decision.why) == ("node2", "targetHost")


def test_a_target_that_has_no_room_is_not_left_without_allow_elsewhere() -> None:
    hosts = cluster(ONE, replace(TWO, used_cores=4))

    alone = placement.choose(hosts, want(target="node2"))
    elsewhere = placement.choose(hosts, want(target="node2", elsewhere=True))

    assert alone.host is None
    assert [r.host for r in alone.refusals] == ["node2"]
    assert elsewhere.host == "node1"


# -- refusals


@pytest.mark.parametrize(
    ("bad", "why", "detail"),
    [
        (replace(ONE, record=replace(ONE.record, facts=None)), "unknown", "never probed"),
        (replace(ONE, record=replace(ONE.record, up=False)), "down", "last seen never"),
        (
            replace(ONE, record=replace(ONE.record, up=False, last_contact="today")),
            "down",
            "last seen today",
        ),
        (
            replace(ONE, record=replace(ONE.record, state=HostState.Drained, notes="fan")),
            "drained",
            "fan",
        ),
        (
            replace(ONE, record=replace(ONE.record, state=HostState.VersionMismatch)),
            "versionmismatch",
            "",
        ),
        (
            replace(ONE, record=replace(ONE.record, facts=facts(qemu_version=None))),
            "no QEMU",
            "tashictl host check",
        ),
        (
            replace(ONE, record=replace(ONE.record, reserved_for=("lab", "ops"))),
            "reserved",
            "for lab, ops",
        ),
        (
            replace(ONE, record=replace(ONE.record, facts=facts(arch="aarch64"))),
            "arch",
            "aarch64 / x86_64",
        ),
        (replace(ONE, used_cores=4), "cores", "0 / 1"),
        (replace(ONE, used_memory_mib=3500), "memory", "84 / 128 MiB"),
    ],
)
def test_each_reason_of_a_refusal_is_named(bad: Host, why: str, detail: str) -> None:
    refusal = placement.refuse(bad, want(), cluster(bad))

    assert refusal is not None
    assert (refusal.host, refusal.refused_by, refusal.detail) == ("node1", why, detail)
    assert refusal.text.startswith(f"node1: {why}")


def test_a_reservation_lets_its_users_in() -> None:
    reserved = replace(ONE, record=replace(ONE.record, reserved_for=("lab", "dev")))

    assert placement.refuse(reserved, want(), cluster(reserved)) is None


def test_a_host_that_was_not_asked_since_is_not_called_down() -> None:
    unasked = replace(ONE, record=replace(ONE.record, up=None))

    assert placement.refuse(unasked, want(), cluster(unasked)) is None


def test_a_host_without_the_image_is_refused_unless_it_is_shared() -> None:
    spec = VmSpec(disks=(DiskSpec(index=0, name="rare"),))
    asked = Want(name="web", user="dev", spec=spec)

    there = placement.choose(cluster(ONE, TWO, a=image("rare", "node2")), asked)
    shared = placement.choose(cluster(ONE, TWO, a=image("rare", "x", shared=True)), asked)

    assert there.host == "node2"
    assert [r.refused_by for r in there.refusals] == ["image"]
    assert shared.host == "node1"


@pytest.mark.parametrize("networks", [("lab",), ("7",), ("lan", "lab")])
def test_a_host_without_the_network_is_refused(networks: tuple[str, ...]) -> None:
    spec = VmSpec(nics=(NicSpec(index=0, network=7, mac="52:54:00:00:00:01"),))
    has = host("node1", 1, config={"networks": networks})
    lacks = host("node2", 2, config={"networks": ("lan",)})

    decision = placement.choose(cluster(has, lacks), Want(name="web", user="dev", spec=spec))

    assert decision.host == "node1"
    assert [(r.host, r.refused_by, r.lasting) for r in decision.refusals] == [
        ("node2", "network", True)
    ]


# -- hopeless or Pending


def test_what_would_fit_an_empty_host_is_not_hopeless() -> None:
    busy = replace(ONE, used_cores=4, used_memory_mib=3584)

    for asked in (want(cores=4), want(memory_mib=3584)):
        decision = placement.choose(cluster(busy), asked)
        assert (decision.host, decision.hopeless) == (None, False)


def test_what_would_fit_no_host_even_when_empty_is_hopeless() -> None:
    for asked in (want(cores=5), want(memory_mib=3585)):
        decision = placement.choose(cluster(ONE, TWO), asked)
        assert (decision.host, decision.hopeless) == (None, True)


def test_what_fits_nowhere_is_told_with_all_that_a_host_has() -> None:
    busy = replace(ONE, used_cores=3, used_memory_mib=3000)

    assert "cores, 1 short (4 / 5)" in placement.choose(cluster(busy), want(cores=5)).details
    details = placement.choose(cluster(busy), want(memory_mib=3585)).details
    assert "memory, 1 MiB short (3584 / 3585 MiB)" in details


def test_one_host_that_may_come_back_is_hope() -> None:
    down = replace(TWO, record=replace(TWO.record, up=False))

    assert not placement.choose(cluster(ONE, down), want(cores=5)).hopeless


def test_the_reason_names_the_nearest_miss() -> None:
    near = replace(ONE, used_memory_mib=3520)
    far = replace(TWO, used_memory_mib=3580)
    drained = replace(THREE, record=replace(THREE.record, state=HostState.Drained))

    reason = placement.choose(cluster(far, near, drained), want()).reason

    assert "nearest node1: memory, 64 MiB short (64 / 128 MiB)" in reason
    assert "2 more" in reason


def test_without_a_host_the_reason_says_how_to_add_one() -> None:
    decision = placement.choose(cluster(), want())

    assert decision.host is None
    assert "tashictl host add" in decision.reason
    assert "tashictl host add" in decision.details


# -- against the plain loop


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    number = draw(st.integers(1, 10_000))
    made = host(
        f"n{number}",
        number,
        used_cores=draw(st.integers(0, 5)),
        used_memory_mib=draw(st.sampled_from([0, 1024, 3000, 3584, 9999])),
        vms=draw(st.integers(0, 3)),
    )
    record = replace(
        made.record,
        up=draw(st.sampled_from([True, True, True, None, False])),
        state=draw(st.sampled_from([HostState.Normal] * 3 + list(HostState))),
        reserved_for=draw(st.sampled_from([(), (), ("dev",), ("lab",)])),
        facts=draw(st.sampled_from([facts(), facts(), None])),
    )
    return replace(made, record=record)


@st.composite
def pictures(draw: st.DrawFn) -> Cluster:
    some = draw(st.lists(hosts(), max_size=6, unique_by=lambda h: h.name))
    placed = draw(st.lists(st.sampled_from(some), max_size=4)) if some else []
    vms = tuple(vm(n, host=h.name, frozen=False) for n, h in enumerate(placed, 1))
    return cluster(*some, vms=vms)


wants = st.builds(
    lambda cores, memory, dense, target, elsewhere: want(
        cores, memory, dense=dense, target=target, elsewhere=elsewhere
    ),
    st.integers(1, 5),
    st.sampled_from([1, 128, 2000, 3584, 3585]),
    st.booleans(),
    st.sampled_from([None, None, "n1", "n2"]),
    st.booleans(),
)


def fits(candidate: Host, asked: Want) -> bool:
    """Tashi's primitive, as plainly as it can be said."""
    record = candidate.record
    return (
        record.facts is not None
        and record.up is not False
        and record.state is HostState.Normal
        and (not record.reserved_for or asked.user in record.reserved_for)
        and candidate.used_cores + asked.spec.cores <= candidate.cores
        and candidate.used_memory_mib + asked.spec.memory_mib
        <= candidate.memory_mib - candidate.reserved_memory_mib
    )


def by_the_plain_loop(picture: Cluster, asked: Want) -> str | None:
    if asked.target is not None:
        for each in picture.hosts:
            if each.name == asked.target and fits(each, asked):
                return each.name
        if not asked.elsewhere:
            return None
    order = list(picture.hosts)
    if picture.vms:
        last = max(picture.vms, key=lambda v: v.id).host
        place = [h.name for h in order].index(str(last))
        order = order[place + 1 :] + order[: place + 1]
    best: Host | None = None
    for each in order:
        if not fits(each, asked):
            continue
        better = best is None or (each.vms > best.vms if asked.dense else each.vms < best.vms)
        if better:
            best = each
    return best.name if best is not None else None


@given(pictures(), wants)
def test_it_chooses_as_the_plain_loop_does(picture: Cluster, asked: Want) -> None:
    decision = placement.choose(picture, asked)

    assert decision.host == by_the_plain_loop(picture, asked)
    for refusal in decision.refusals:
        refused = picture.host(refusal.host)
        if refused is None:  # it was asked for, and there is none of that name
            assert (refusal.host, refusal.refused_by) == (asked.target, "unknown")
            continue
        assert not fits(refused, asked)
    if decision.host is None and asked.target is None:
        assert len(decision.refusals) == len(picture.hosts)
    assert decision.reason


def test_an_error_names_the_nearest_hosts_and_counts_the_others() -> None:
    refusals = tuple(
        placement.Refusal(host=f"h{n}", refused_by="memory", distance=float(n)) for n in range(20)
    )

    lines = placement.Decision(host=None, refusals=refusals[::-1]).details.splitlines()

    assert lines[0] == "h0: memory"
    assert len(lines) == 9
    assert lines[-1] == "and 12 more hosts"
