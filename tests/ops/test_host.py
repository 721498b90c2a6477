"""Hosts: trusted by somebody, probed once, claimed, and what was seen of them is written down."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tashictl import errors
from tashictl.model.host import HostConfig, HostState
from tashictl.model.script import Fault, Reply
from tashictl.ops import host as ops
from tashictl.planning import requirements
from tests.ops.hosts import KEY, OTHER_KEY
from tests.ops.stage import CLUSTER, Stage, an_image, facts

NEW = HostConfig(name="node3", address="node3")
BASICS = "time 1772366400\nmemory_kib 2097152"
GROUND = """uid 0
user root
caps 000001ffffffffff
tun usable
folder lib yes 41943040 ext2/ext3 /var/lib
folder run yes 1048576 tmpfs /run
folder images yes 41943040 ext2/ext3 /var/lib
forwarding yes"""


def answer(**parts: str) -> Callable[[str], bytes]:
    """A probe's answer; `parts` replace the text of a section."""
    usual = {
        "basics": "time 1772366400\nboot_id b-3\narch x86_64\nkernel 6.1.0\ncores 2\n"
        "memory_kib 2097152\nbridge vmbr",
        "qemu": "bin /usr/bin/qemu-system-x86_64\nQEMU emulator version 7.2.22 (Debian)\n"
        "machine pc=pc-i440fx-7.2",
        "kvm": "absent",
        "ground": GROUND,
        "images": "",
    }
    sections = {**usual, **parts}

    def out(nonce: str) -> bytes:
        told = "".join(f"\n@{nonce} B {name}\n{text}\n" for name, text in sections.items())
        return f"{told}\n@{nonce} Z\n".encode()

    return out


@pytest.fixture
def new(stage: Stage) -> Stage:
    """A third host that is in the inventory and was not added."""
    inventory = stage.context.inventory
    stage.context = replace(
        stage.context, inventory=replace(inventory, hosts=(*inventory.hosts, NEW))
    )
    stage.remote.hosts["node3"] = type(stage.host())()
    stage.remote.probes["node3"] = answer()
    return stage


# -- trust


def test_a_key_with_the_right_fingerprint_is_trusted(stage: Stage) -> None:
    assert ops.trust(stage.world, NEW, KEY.fingerprint, None) == KEY
    assert stage.trust.key_of("node3") == (KEY,)


def test_a_key_with_another_fingerprint_is_not(stage: Stage) -> None:
    with pytest.raises(errors.NotPermitted) as caught:
        ops.trust(stage.world, NEW, "SHA256:other", lambda _host, _key: True)

    assert KEY.fingerprint in caught.value.cause
    assert stage.trust.keys == {}


def test_without_a_fingerprint_somebody_must_say_so(stage: Stage) -> None:
    for accept in (None, lambda _host, _key: False):
        with pytest.raises(errors.InvalidRequest) as caught:
            ops.trust(stage.world, NEW, None, accept)
        assert KEY.fingerprint in caught.value.hint
    assert stage.trust.keys == {}

    ops.trust(stage.world, NEW, None, lambda host, key: (host, key) == (NEW, KEY))

    assert stage.trust.key_of("node3") == (KEY,)


def test_a_known_key_needs_nobody(stage: Stage) -> None:
    stage.trust.trust("node3", KEY)

    assert ops.trust(stage.world, NEW, None, None) == KEY


def test_a_changed_key_is_taken_only_by_its_fingerprint(stage: Stage) -> None:
    stage.trust.trust("node3", OTHER_KEY)

    with pytest.raises(errors.NotPermitted) as caught:
        ops.trust(stage.world, NEW, None, lambda _host, _key: True)
    assert (caught.value.code, errors.exit_code_of(caught.value)) == ("E-HOSTKEY-CHANGED", 7)
    assert stage.trust.key_of("node3") == (OTHER_KEY,)

    ops.trust(stage.world, NEW, KEY.fingerprint, None)
    assert stage.trust.key_of("node3") == (KEY,)


# -- add


def test_a_new_host_is_probed_claimed_and_recorded(new: Stage) -> None:
    checked = ops.add(new.world, new.context, NEW)

    assert checked.ok
    record = new.state.hosts["node3"]
    assert checked.record == record
    assert (record.id, record.up, record.state) == (3, True, HostState.Normal)
    assert record.facts is not None
    assert (record.facts.cores, record.facts.memory_mib, record.facts.accel) == (2, 2048, "tcg")
    claimed = new.host("node3").claimed
    assert claimed is not None
    assert claimed[0] == CLUSTER
    assert new.status(new.state.meta.last_operation_id) == "done"


def test_adding_it_again_keeps_its_id_and_what_was_decided(new: Stage) -> None:
    ops.add(new.world, new.context, NEW)
    with new.store.transaction() as tx:
        drained = replace(tx.state.hosts["node3"], state=HostState.Drained, notes="fan")
        tx.put_host(drained)

    ops.add(new.world, new.context, NEW)

    record = new.state.hosts["node3"]
    assert (record.id, record.state, record.notes) == (3, HostState.Drained, "fan")


def test_images_that_lie_on_a_new_host_become_known(new: Stage) -> None:
    new.remote.probes["node3"] = answer(
        images="5 514649fb 0000000000100000 demo.qcow2\n9 00000000 0000000000000000 sub/other.img"
    )

    ops.add(new.world, new.context, NEW)

    images = new.state.images
    assert images["demo.qcow2"].hosts == ("node1", "node2", "node3")
    other = images["sub/other.img"]
    assert (other.format, other.hosts, other.virtual_size_bytes) == ("raw", ("node3",), 9)


def test_an_image_of_another_size_is_not_the_same(new: Stage) -> None:
    new.remote.probes["node3"] = answer(images="6 514649fb 0000000000100000 demo.qcow2")

    ops.add(new.world, new.context, NEW)

    assert new.state.images["demo.qcow2"].hosts == ("node1", "node2")


def test_a_host_of_another_cluster_is_refused_and_nothing_is_sent(new: Stage) -> None:
    new.remote.probes["node3"] = answer(
        basics="time 1772366400\ncluster ffffffffffff 3 9 them@there"
    )
    before = new.bytes()

    with pytest.raises(errors.NotPermitted) as caught:
        ops.add(new.world, new.context, NEW)

    assert caught.value.code == "E-FOREIGN"
    assert new.bytes() == before
    assert new.remote.scripts == []


def test_a_host_that_does_not_answer_is_not_added(new: Stage) -> None:
    new.remote.down.add("node3")

    with pytest.raises(errors.Unreachable):
        ops.add(new.world, new.context, NEW)

    assert "node3" not in new.state.hosts


def test_an_answer_that_is_cut_short_adds_nothing(new: Stage) -> None:
    new.remote.probes["node3"] = lambda nonce: answer()(nonce)[:-30]

    with pytest.raises(errors.OperationFailed) as caught:
        ops.add(new.world, new.context, NEW)

    assert caught.value.code == "E-PROBE"
    assert "node3" not in new.state.hosts


@pytest.mark.parametrize(
    ("fault", "code", "exit_code"),
    [
        (Fault.HOSTKEY_CHANGED, "E-HOSTKEY-CHANGED", 7),
        (Fault.HOSTKEY_UNKNOWN, "E-HOSTKEY-UNKNOWN", 6),
        (Fault.AUTH, "E-AUTH", 6),
        (Fault.TCP_TIMEOUT, "E-TCP-TIMEOUT", 6),
    ],
)
def test_why_a_host_is_not_reached_is_told(
    new: Stage, fault: Fault, code: str, exit_code: int
) -> None:
    new.remote.probe_fault["node3"] = fault

    with pytest.raises(errors.TashiError) as caught:
        ops.add(new.world, new.context, NEW)

    assert (caught.value.code, errors.exit_code_of(caught.value)) == (code, exit_code)
    assert caught.value.hint


# -- check


def test_a_check_writes_down_what_it_saw(stage: Stage) -> None:
    stage.clock.sleep(10)
    stage.remote.probes["node1"] = answer()
    stage.remote.down.add("node2")

    one, two = ops.check(stage.world, stage.context, stage.context.inventory.hosts)

    assert (one.host, one.ok) == ("node1", True)
    assert (two.host, two.ok) == ("node2", False)
    assert isinstance(two.error, errors.Unreachable)
    hosts = stage.state.hosts
    assert hosts["node1"].facts is not None
    assert (hosts["node1"].up, hosts["node1"].facts.boot_id) == (True, "b-3")
    assert hosts["node1"].last_contact == "2026-03-01T12:00:10Z"
    assert hosts["node2"].up is False
    assert hosts["node2"].facts == facts()
    assert stage.commits == 1


def test_images_that_are_gone_from_a_host_lose_it(stage: Stage) -> None:
    stage.remote.probes["node1"] = answer()

    ops.check(stage.world, stage.context, stage.context.inventory.hosts[:1])

    assert stage.state.images["demo.qcow2"].hosts == ("node2",)


def test_a_host_that_was_not_added_is_looked_at_and_not_recorded(new: Stage) -> None:
    before = new.bytes()

    (checked,) = ops.check(new.world, new.context, [NEW])

    assert checked.ok
    assert checked.record is None
    assert checked.findings[-1].remedy == "tashictl host add node3"
    assert new.bytes() == before


@pytest.mark.parametrize(
    ("parts", "check"),
    [
        ({"qemu": ""}, "qemu"),
        ({"qemu": "bin /usr/bin/q\nQEMU emulator version 6.2.0"}, "qemu"),
        ({"basics": BASICS + "\nmissing flock\nbridge vmbr"}, "tools"),
        ({"basics": BASICS + "\ncluster ffffffffffff 1 1\nbridge vmbr"}, "cluster"),
        ({"basics": BASICS + "\nbridge vmbr", "clock": "time 1772366460"}, "clock"),
        ({"basics": BASICS + "\nbridge other"}, "bridge vmbr"),
        ({"ground": GROUND.replace("folder lib yes", "folder lib no")}, "folder lib"),
    ],
)
def test_each_requirement_that_is_not_met_is_named_with_its_remedy(
    stage: Stage, parts: dict[str, str], check: str
) -> None:
    stage.remote.probes["node1"] = answer(**parts)

    (checked,) = ops.check(stage.world, stage.context, stage.context.inventory.hosts[:1])

    assert [f.check for f in checked.findings if not f.ok] == [check]
    assert all(f.remedy for f in checked.findings if not f.ok)
    assert not checked.ok


@pytest.mark.parametrize(
    ("version", "allowed", "fits"),
    [
        ("7.2.22", (), True),
        ("7.1.9", (), False),
        ("8.0", (), True),
        ("10.0.2", (), True),
        ("10.0.2", ("8.2", "9.2"), False),
        ("9.2.1", ("8.2", "9.2"), True),
        ("garbage", (), False),
        (None, (), True),
    ],
)
def test_a_version_fits_from_seven_two_on_and_within_what_is_allowed(
    stage: Stage, version: str | None, allowed: tuple[str, ...], fits: bool
) -> None:
    settings = stage.context.settings
    context = replace(
        stage.context,
        settings=replace(settings, qemu=replace(settings.qemu, versions=allowed)),
    )

    assert requirements.version_fits(version, context.settings) is fits


def test_a_qemu_that_is_too_old_makes_the_host_unfit_until_it_is_not(stage: Stage) -> None:
    stage.remote.probes["node1"] = answer(qemu="QEMU emulator version 6.2.0")
    hosts = stage.context.inventory.hosts[:1]
    ops.check(stage.world, stage.context, hosts)
    unfit = stage.state.hosts["node1"]

    stage.remote.probes["node1"] = answer()
    ops.check(stage.world, stage.context, hosts)

    assert unfit.state is HostState.VersionMismatch
    assert stage.state.hosts["node1"].state is HostState.Normal


def test_a_probe_does_not_ask_for_kvm_where_it_is_known(stage: Stage) -> None:
    host = stage.context.inventory.hosts[0]
    stage.remote.probes["node1"] = lambda nonce: answer()(nonce).replace(b" B kvm", b" B other")

    known = ops.probe(stage.world, stage.context, host, "kvm")
    ops.probe(stage.world, stage.context, host, None)

    assert known.accel == "kvm"
    assert ["/dev/kvm" in script.text for script in stage.remote.asked] == [False, True]


def test_a_fault_with_half_an_answer_is_unreachable(stage: Stage) -> None:
    stage.remote.run = lambda *_: Reply(fault=Fault.CUT, sent=True)  # type: ignore[method-assign]

    with pytest.raises(errors.Unreachable):
        ops.probe(stage.world, stage.context, stage.context.inventory.hosts[0], None)


def test_an_image_on_the_shared_prefix_is_known_as_shared(new: Stage) -> None:
    new.context = replace(new.context, settings=replace(new.context.settings, vfs_shared=True))
    new.remote.probes["node3"] = answer(images="9 00000000 0000000000000000 other.img")

    ops.add(new.world, new.context, NEW)

    assert new.state.images["other.img"] == an_image(
        "other.img", ["node3"], format="raw", size_bytes=9, virtual_size_bytes=9, shared=True
    )
