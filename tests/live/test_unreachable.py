"""Hosts that are away, silent, suspicious, full or broken: one clear error, and nothing is lost."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live import invariants
from tests.live.lab.host import BROKEN_QEMU, Host
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Result, Tashictl

CONFIG = "connectTimeout = 2\nstepTimeout = 20\nlockTimeout = 2\n"
AWAY: dict[str, tuple[Callable[[Host], None], str]] = {
    "network": (Host.pause_network, "E-"),
    "sshd-refuses": (Host.stop_sshd, "E-REFUSED"),
    "sshd-is-silent": (Host.stop_sshd_silently, "E-NO-BANNER"),
    "key-refused": (Host.refuse_key, "E-AUTH"),
}


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Hosts whose /var/lib/tashi is a disk that is soon full."""
    with Lab(2, tashi_mib=32) as raised:
        yield raised


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster that gives a host up after 2 s."""
    directory = tmp_path_factory.mktemp("unreachable") / "cluster"
    return invariants.blank_cluster(lab, directory, tashictl_argv, CONFIG)


@pytest.fixture(autouse=True)
def clean(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """All hosts whole, trusted and empty after each test."""
    yield
    for host in lab.hosts:
        host.heal()
        cluster.run("host", "trust", host.name, "--fingerprint", host.host_key_fingerprint)
    cluster.run("host", "check", check=False)
    invariants.ready(lab, cluster)
    assert invariants.complaints(lab, cluster) == []


def create(cluster: Tashictl, name: str = "v1", host: str = "h1") -> Result:
    """`vm create` on one host."""
    argv = ("vm", "create", name, "--disk", invariants.IMAGE, "--host", host, "-o", "json")
    return cluster.run(*argv, check=False)


def destroy(cluster: Tashictl, name: str = "v1") -> Result:
    """`vm destroy`."""
    return cluster.run("vm", "destroy", name, "-y", "-o", "json", check=False)


def shown(cluster: Tashictl, name: str = "v1") -> dict[str, Any]:
    """`vm show`."""
    found: dict[str, Any] = cluster.run("vm", "show", name, "-o", "json").json()
    return found


@pytest.mark.parametrize("how", AWAY)
def test_a_create_on_a_host_that_is_away_leaves_no_record(
    lab: Lab, cluster: Tashictl, how: str
) -> None:
    host, (fault, code) = lab.host("h1"), AWAY[how]
    fault(host)
    error = invariants.refused(create(cluster), 6, "h1")
    assert error["code"].startswith(code), error
    assert error["host"] == "h1"
    assert error["hint"]
    assert invariants.records(cluster) == []
    assert cluster.run("op", "list", "-o", "json").json() == []
    other = cluster.run("vm", "create", "v2", "--disk", invariants.IMAGE, "-o", "json").json()
    assert other["host"] == "h2"
    host.heal()
    cluster.run("host", "check", "h1")
    assert create(cluster).rc == 0


@pytest.mark.parametrize("how", AWAY)
def test_a_destroy_on_a_host_that_is_away_keeps_a_tombstone(
    lab: Lab, cluster: Tashictl, how: str
) -> None:
    host = lab.host("h1")
    assert create(cluster).rc == 0
    AWAY[how][0](host)
    error = invariants.refused(destroy(cluster), 6, "h1", "v1")
    assert any("v1" in left for left in error["leftovers"])
    tombstone = shown(cluster)
    assert (tombstone["state"], tombstone["wanted"]) == ("Destroying", "absent")
    assert tombstone["reason"]
    assert tombstone["host"] == "h1"
    invariants.refused(create(cluster, host="h2"), 6, "h1")
    assert len(observe(host).qemus) == 1
    host.heal()
    assert destroy(cluster).rc == 0
    assert invariants.complaints(lab, cluster) == []


def test_a_power_cut_is_survived_by_the_record_and_ended_by_destroy(
    lab: Lab, cluster: Tashictl
) -> None:
    host = lab.host("h1")
    assert create(cluster).rc == 0
    host.kill()
    invariants.refused(destroy(cluster), 6, "h1")
    assert shown(cluster)["state"] == "Destroying"
    host.start()
    assert destroy(cluster).rc == 0
    assert observe(host).qemus == ()
    assert invariants.complaints(lab, cluster) == []
    assert create(cluster).rc == 0


def test_a_vm_whose_host_lost_power_is_destroyed_after_the_reboot(
    lab: Lab, cluster: Tashictl
) -> None:
    assert create(cluster).rc == 0
    lab.host("h1").reboot()
    assert destroy(cluster).rc == 0
    assert invariants.complaints(lab, cluster) == []


def test_a_changed_host_key_is_not_permitted(lab: Lab, cluster: Tashictl) -> None:
    assert create(cluster).rc == 0
    lab.host("h1").change_host_key()
    for result in (create(cluster, "v2"), destroy(cluster)):
        error = invariants.refused(result, 7, "h1", "E-HOSTKEY-CHANGED")
        assert "host trust h1" in error["hint"]
    assert invariants.record(cluster, "v2") is None
    argv = ("host", "trust", "h1", "-o", "json")
    invariants.refused(cluster.run(*argv, check=False), 7, "h1")
    wrong = lab.host("h2").host_key_fingerprint
    invariants.refused(cluster.run(*argv, "--fingerprint", wrong, check=False), 7, "h1")
    cluster.run(*argv, "--fingerprint", lab.host("h1").host_key_fingerprint)
    assert destroy(cluster).rc == 0


def test_an_unknown_host_key_is_not_reached(lab: Lab, cluster: Tashictl) -> None:
    (cluster.cluster / "state/known_hosts").write_text("", encoding="utf-8")
    error = invariants.refused(create(cluster), 6, "h1", "E-HOSTKEY-UNKNOWN")
    assert "host trust h1" in error["hint"]
    assert (cluster.cluster / "state/known_hosts").read_text(encoding="utf-8") == ""
    assert invariants.records(cluster) == []
    assert observe(lab.host("h1")).qemus == ()


def test_a_qemu_that_exits_at_once_is_heard(lab: Lab, cluster: Tashictl) -> None:
    lab.host("h1").break_qemu()
    invariants.refused(create(cluster), 1, "h1", BROKEN_QEMU, "StartQemu")
    assert invariants.records(cluster) == []
    assert invariants.complaints(lab, cluster) == []


def test_a_missing_qemu_is_named_and_seen_by_check(lab: Lab, cluster: Tashictl) -> None:
    host = lab.host("h1")
    host.remove_qemu()
    invariants.refused(create(cluster), 1, "h1", "no QEMU", "qemu-system-x86_64")
    assert invariants.complaints(lab, cluster) == []
    check = cluster.run("host", "check", "h1", check=False)
    assert check.rc == 9
    assert "qemu" in check.out
    pending = create(cluster)
    assert pending.rc == 8
    assert "no QEMU" in pending.json()["reason"]


@pytest.mark.parametrize("leave_bytes", [0, 16 << 10, 128 << 10])
def test_a_full_disk_is_said_and_leaves_nothing(
    lab: Lab, cluster: Tashictl, leave_bytes: int
) -> None:
    host = lab.host("h1")
    host.fill_disk(leave_bytes)
    result = create(cluster)
    if result.rc != 0:
        error = invariants.refused(result, 1, "h1")
        words = f"{error['message']} {error['cause']}".lower()
        assert "no space" in words or "full" in words, error
        host.free_disk()
        destroy(cluster)  # what could not be undone on a full disk
    else:
        assert leave_bytes > 64 << 10
        assert destroy(cluster).rc == 0
    assert invariants.complaints(lab, cluster) == []


def test_a_destroy_on_a_full_disk_goes_through(lab: Lab, cluster: Tashictl) -> None:
    assert create(cluster).rc == 0
    lab.host("h1").fill_disk()
    result = destroy(cluster)
    assert result.rc == 0, str(result)
    assert invariants.complaints(lab, cluster) == []


def test_a_host_of_another_cluster_is_left_alone(lab: Lab, cluster: Tashictl) -> None:
    host = lab.host("h1")
    claim = host.root / "var/lib/tashi/cluster"
    before = claim.read_text(encoding="utf-8")
    claim.write_text("0123456789ab 1 1 someone@elsewhere\n", encoding="utf-8")
    try:
        look = host.snapshot()
        error = invariants.refused(create(cluster), 7, "h1", "0123456789ab")
        assert error["code"] == "E-FOREIGN"
        add = ("host", "add", "h1", "--fingerprint", host.host_key_fingerprint, "-o", "json")
        invariants.refused(cluster.run(*add, check=False), 7, "0123456789ab")
        assert cluster.run("host", "check", "h1", check=False).rc == 9
        fences = {path for path in host.snapshot() if "/fence" in path}
        assert {k: v for k, v in host.snapshot().items() if k not in fences} == {
            k: v for k, v in look.items() if k not in fences
        }
    finally:
        claim.write_text(before, encoding="utf-8")
    assert invariants.records(cluster) == []


def test_an_image_that_is_gone_from_the_host_is_named(lab: Lab, cluster: Tashictl) -> None:
    host = lab.host("h1")
    image = host.root / "var/lib/tashi/shared/images" / invariants.IMAGE
    content = image.read_bytes()
    image.unlink()
    try:
        invariants.refused(create(cluster), 1, "h1", invariants.IMAGE)
        assert invariants.complaints(lab, cluster) == []
        cluster.run("host", "check", "h1")
        pending = create(cluster)
        assert pending.rc == 8
        assert invariants.IMAGE in pending.json()["reason"]
    finally:
        image.write_bytes(content)


def test_a_link_out_of_the_image_folder_is_refused_by_the_host(lab: Lab, cluster: Tashictl) -> None:
    host = lab.host("h1")
    image = host.root / "var/lib/tashi/shared/images" / invariants.IMAGE
    content = image.read_bytes()
    image.unlink()
    image.symlink_to("/etc/shadow")
    try:
        invariants.refused(create(cluster), 1, "h1", "image folder")
    finally:
        image.unlink()
        image.write_bytes(content)
    assert invariants.complaints(lab, cluster) == []
