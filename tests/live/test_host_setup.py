"""`host setup` on real hosts: a bare one is made ready, and of that nothing stays."""

from collections.abc import Iterator

import pytest

from tests.live import bare, invariants
from tests.live.lab import cluster as clusters
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

CONFIG = "connectTimeout = 5\nlockTimeout = 2\n"
SUDOERS = "etc/sudoers.d/tashictl"


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """Two hosts."""
    with Lab(2) as raised:
        yield raised


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    """The first of the two bare hosts."""
    with bare.bare(*lab.hosts):
        yield lab.host("h1")


@pytest.fixture
def cluster(
    lab: Lab,
    host: Host,
    tashictl_argv: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Tashictl:
    """A cluster whose hosts are trusted, not added; the login is ops, who becomes root."""
    directory = tmp_path_factory.mktemp("setup") / "cluster"
    made = clusters.init_cluster(lab, directory, tashictl_argv)
    with (directory / "Tashi.cfg").open("a", encoding="utf-8") as handle:
        handle.write(CONFIG)
    clusters.write_inventory(directory, lab, user="ops")
    for one in lab.hosts:
        made.run("host", "trust", one.name, "--fingerprint", one.host_key_fingerprint)
    return made


def setup(cluster: Tashictl, *more: str, fault: str = "") -> Result:
    env = {"TASHICTL_FAULT": fault} if fault else {}
    return cluster.run("host", "setup", *more, env=env, check=False)


def changes(done: Result) -> dict[str, list[str]]:
    """What was changed, by host."""
    assert done.rc == 0, str(done)
    return {one["host"]: one["changes"] for one in done.json()}


def ready(cluster: Tashictl, *more: str) -> list[str]:
    """h1 set up; what was changed there."""
    return changes(setup(cluster, "h1", "-y", "-o", "json", *more))["h1"]


def test_a_bare_host_is_ready_and_the_second_time_there_is_nothing_to_do(
    cluster: Tashictl, host: Host
) -> None:
    before = bare.disk(host)
    asked = setup(cluster, "h1")
    assert asked.rc == 2
    assert (
        "h1: would install qemu-utils; create user tashi-qemu; create /var/lib/tashi" in asked.err
    )
    dry = setup(cluster, "h1", "--dry-run")
    assert dry.rc == 0
    assert "PutFile" in dry.out
    assert bare.disk(host) == before
    assert bare.asked(host) == []

    done = ready(cluster)

    assert done == [
        "installed qemu-utils",
        "created user tashi-qemu",
        "created /var/lib/tashi",
        "created /run/tashi",
        "created /var/lib/tashi/shared",
        "created /var/lib/tashi/shared/images",
        "created /etc/qemu-ifup.1",
        f"created /{SUDOERS}",
    ]
    assert bare.asked(host) == ["qemu-utils"]
    assert host.run(f"visudo -cf /{SUDOERS} && stat -c %a /{SUDOERS}").stdout.endswith("440\n")
    assert host.run("id -un tashi-qemu").stdout == "tashi-qemu\n"
    assert host.run("sh -c 'stat -c %a /etc/qemu-ifup.1'").stdout == "755\n"
    whole = host.snapshot()
    again = setup(cluster, "h1", "-y")
    assert "h1 is ready: nothing to do" in again.out
    assert host.snapshot() == whole


def test_a_host_that_was_set_up_and_removed_is_as_it_was(cluster: Tashictl, host: Host) -> None:
    before = bare.disk(host)
    ready(cluster)
    cluster.run("host", "add", "h1", "--fingerprint", host.host_key_fingerprint)
    clusters.import_image(cluster, invariants.blank_image(cluster.home))
    assert ready(cluster) == []

    (gone,) = cluster.run("host", "remove", "h1", "-y", "-o", "json").json()

    assert gone["left"] == "packages that setup installed: qemu-utils"
    assert bare.disk(host) == before
    assert host.run("id tashi-qemu").returncode != 0
    assert "tashi-qemu" not in (host.root / "etc/group").read_text(encoding="utf-8")


def test_what_was_there_before_setup_outlives_the_host(cluster: Tashictl, host: Host) -> None:
    host.run("useradd -r -M tashi-qemu", check=True)
    own = {SUDOERS: "# the operator's\n", "etc/qemu-ifup.1": "#!/bin/sh\n# the operator's\n"}
    for path, text in own.items():
        (host.root / path).write_text(text, encoding="utf-8")

    done = setup(cluster, "h1", "-y", "-o", "json", "-v")

    (one,) = done.json()
    assert [n for n in one["notes"] if n.endswith("is the operator's own, and stays")] == [
        "/etc/qemu-ifup.1 is the operator's own, and stays",
        f"/{SUDOERS} is the operator's own, and stays",
    ]
    cluster.run("host", "add", "h1", "--fingerprint", host.host_key_fingerprint)
    cluster.run("host", "remove", "h1", "-y")
    assert {p: (host.root / p).read_text(encoding="utf-8") for p in own} == own
    assert host.run("id tashi-qemu").returncode == 0
    host.run(f"rm /{SUDOERS}")


def test_a_login_that_may_not_sudo_yet_is_helped_by_root(cluster: Tashictl, host: Host) -> None:
    host.run("mv /etc/sudoers.d/lab /etc/sudoers.d/lab.away", check=True)
    error = invariants.refused(setup(cluster, "h1", "-y", "-o", "json"), 6, "h1")
    assert error["hint"] == "tashictl host setup h1 --login root"

    assert f"created /{SUDOERS}" in ready(cluster, "--login", "root")

    assert ready(cluster) == []  # by ops


def test_a_host_that_is_not_trusted_is_told_how(cluster: Tashictl, lab: Lab) -> None:
    (cluster.cluster / "state/known_hosts").unlink()
    error = invariants.refused(setup(cluster, "h1", "-y", "-o", "json"), 6, "h1")
    assert error["hint"] == "tashictl host trust h1"


def test_packages_that_fail_are_told_with_their_last_words_and_done_again(
    cluster: Tashictl, host: Host
) -> None:
    bare.program(host, "apt-get", bare.FAILS)
    error = invariants.refused(setup(cluster, "h1", "-y", "-o", "json"), 1, "h1")
    assert error["code"] == "E-INSTALLPACKAGES"
    assert "E: the mirror is on fire" in error["cause"]
    assert "--no-packages" in error["hint"]
    assert host.run("id tashi-qemu").returncode != 0

    bare.program(host, "apt-get", bare.WORKS)
    assert ready(cluster)[:2] == ["installed qemu-utils", "created user tashi-qemu"]


def test_packages_that_hang_cost_their_time_and_leave_no_process(
    cluster: Tashictl, host: Host
) -> None:
    bare.program(host, "apt-get", bare.HANGS)
    failed = setup(cluster, "h1", "-y", "-o", "json", "--timeout", "3")
    error = invariants.refused(failed, 1, "h1")
    assert "not done within 3 s" in error["cause"]
    argv = host.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert not [word for word in ("apt-get", "sleep 600") if word in argv]


def test_one_host_that_fails_is_not_the_others_concern(
    cluster: Tashictl, lab: Lab, host: Host
) -> None:
    bare.program(host, "apt-get", bare.FAILS)
    done = setup(cluster, "-y")
    assert done.rc == 4
    assert "h2 is ready: installed qemu-utils; created user tashi-qemu" in done.out
    assert "the mirror is on fire" in done.err
    assert lab.host("h2").run("id tashi-qemu").returncode == 0


def test_what_visudo_refuses_is_not_put_in_place(cluster: Tashictl, host: Host) -> None:
    bare.program(host, "visudo", "#!/bin/sh\necho 'syntax error, says the test'; exit 1\n")
    error = invariants.refused(setup(cluster, "h1", "-y", "-o", "json"), 1, "h1")
    assert "syntax error, says the test" in error["cause"]
    assert any("created /etc/qemu-ifup.1" in line for line in error["leftovers"])
    assert not list((host.root / "etc/sudoers.d").glob("tashictl*"))

    (host.root / "usr/local/bin/visudo").unlink()
    assert ready(cluster) == [f"created /{SUDOERS}"]


@pytest.mark.parametrize("fault", ["InstallPackages:after", "MakeUser:before", "MakeUser:after"])
def test_killed_in_the_middle_the_next_one_goes_on(
    cluster: Tashictl, host: Host, fault: str
) -> None:
    killed = setup(cluster, "h1", "-y", fault=f"{fault}:kill")
    assert killed.rc not in (0, 1), str(killed)

    ready(cluster)

    assert ready(cluster) == []
    assert bare.asked(host) == ["qemu-utils"]


def test_without_packages_the_rest_is_done(cluster: Tashictl, host: Host) -> None:
    done = setup(cluster, "h1", "-y", "-o", "json", "--no-packages")
    (one,) = done.json()
    assert one["notes"] == ["missing, and left to you: qemu-img"]
    assert "created user tashi-qemu" in one["changes"]
    assert bare.asked(host) == []
