"""A sweep and the VMs of a lab: what ends, is lost, appears or waits is put right, or told."""

import os
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.tiny import TinyStore
from tests.live import invariants, sweeping
from tests.live.lab.hosts import Lab
from tests.live.lab.observe import qemus
from tests.live.lab.runner import Tashictl
from tests.live.sweeping import BRAKE, OK, PROBLEMS, STALE, create, states, sweep, vm

TALKS = {"TASHICTL_QEMU_STATSINTERVAL": "1"}
STRAY = "5f0c4d3e-0000-4000-8000-00000000abcd"


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster of three hosts."""
    return sweeping.cluster_of(lab, tmp_path_factory.mktemp("sweep") / "cluster", tashictl_argv)


@pytest.fixture(autouse=True)
def clean(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """Nothing is wrong after a test."""
    yield
    sweeping.reset(lab, cluster)


def test_where_all_is_well_a_sweep_is_silent_and_keeps_what_it_saw(
    lab: Lab, cluster: Tashictl
) -> None:
    del lab
    made = create(cluster, "web1", "h1")
    sweeping.silent(cluster)
    before, hosts = vm(cluster, "web1"), cluster.run("host", "list", "-o", "json").json()
    time.sleep(1.1)
    sweeping.silent(cluster)
    after = vm(cluster, "web1")
    assert after["state"] == "Running"
    assert after["observed"]["at"] > before["observed"]["at"]
    for old, new in zip(hosts, cluster.run("host", "list", "-o", "json").json(), strict=True):
        assert new["last_contact"] > old["last_contact"]
    assert len(sweeping.samples(cluster, f"vm:{made['uuid']}", "rss")) == 2
    assert len(sweeping.samples(cluster, "host:h3", "load1")) >= 2


def test_a_qemu_that_was_killed_is_exited_and_told_until_somebody_knows(
    lab: Lab, cluster: Tashictl
) -> None:
    made = create(cluster, "web1", "h1")
    host = lab.host("h1")
    log = next((host.root / "var/lib/tashi").glob(f"*/{made['uuid']}/console.log"))
    with log.open("a", encoding="utf-8") as console:
        console.write("panic: no init\r\nsaid last\r\n")
    os.kill(sweeping.qemu(host, made).outer_pid, signal.SIGKILL)

    first = sweep(cluster, rc=PROBLEMS)

    assert "web1 on h1 is Exited, unasked: its QEMU ended" in first.out
    assert "panic: no init / said last" in first.out.replace("\n  ", " ")
    assert first.out.count("vm-exited:web1") == 1
    assert "tashictl vm start web1" in first.out
    record = vm(cluster, "web1")
    assert (record["state"], record["wanted"]) == ("Exited", "running")
    assert record["reason"] == "its QEMU ended"
    events = cluster.run("event", "list", "-o", "json", "--filter", "kind=vm-exited").json()
    assert events[-1]["problem"] == "vm-exited:web1"
    again = sweeping.round_of(cluster, rc=PROBLEMS)
    assert (sweeping.ids(again), again["events"]) == (["vm-exited:web1"], [])
    cluster.run("event", "ack", "vm-exited:web1", "--why", "being looked at")
    sweeping.silent(cluster)

    cluster.run("vm", "start", "web1")

    over = sweeping.round_of(cluster)
    assert (over["problems"], sweeping.kinds(over)) == ([], ["problem-over"])
    assert states(cluster) == {"web1": "Running"}
    sweeping.silent(cluster)


def test_a_host_that_refuses_makes_orphans_and_one_sweep_finds_them_again(
    lab: Lab, cluster: Tashictl
) -> None:
    create(cluster, "web1", "h1")
    create(cluster, "web2", "h2")
    sweeping.silent(cluster)
    lab.host("h1").stop_sshd()

    lost = sweep(cluster, rc=PROBLEMS)

    assert "host-down:h1" in lost.out
    assert "refused" in lost.out
    assert states(cluster) == {"web1": "Orphaned", "web2": "Running"}
    before = vm(cluster, "web1")["observed"]
    assert sweeping.ids(sweeping.round_of(cluster, rc=PROBLEMS)) == ["host-down:h1"]
    assert vm(cluster, "web1")["observed"] == before
    lab.host("h1").start_sshd()
    back = sweep(cluster)
    assert "h1 answers again" in back.out
    assert states(cluster) == {"web1": "Running", "web2": "Running"}
    sweeping.silent(cluster)


def test_two_of_three_hosts_gone_stop_a_sweep_until_somebody_agrees(
    lab: Lab, cluster: Tashictl
) -> None:
    for number in (1, 2, 3):
        create(cluster, f"web{number}", f"h{number}")
    sweeping.silent(cluster)
    lab.host("h1").stop_sshd()
    lab.host("h2").pause_network()
    with sweeping.kept(cluster):
        stopped = cluster.run("sweep", "-o", "json", check=False)
    error = invariants.refused(stopped, BRAKE, "2 of 3 hosts", "--yes")
    assert error["code"] == "E-BRAKE"
    assert set(states(cluster).values()) == {"Running"}

    went_on = sweeping.round_of(cluster, "--yes", rc=PROBLEMS)

    assert sorted(went_on["hosts"]["lost"]) == ["h1", "h2"]
    assert states(cluster) == {"web1": "Orphaned", "web2": "Orphaned", "web3": "Running"}
    lab.host("h1").start_sshd()
    lab.host("h2").resume_network()
    sweep(cluster)
    assert set(states(cluster).values()) == {"Running"}
    sweeping.silent(cluster)


def test_a_pid_that_is_another_process_now_proves_nothing(lab: Lab, cluster: Tashictl) -> None:
    host = lab.host("h1")
    alive, dead = create(cluster, "alive", "h1"), create(cluster, "dead", "h1")
    sweeping.silent(cluster)
    for made in (alive, dead):
        (sweeping.run_folder(host, made) / "qemu.pid").write_text("1\n", encoding="ascii")
    os.kill(sweeping.qemu(host, dead).outer_pid, signal.SIGKILL)

    sweep(cluster, rc=PROBLEMS)

    assert states(cluster) == {"alive": "Running", "dead": "Exited"}
    assert vm(cluster, "alive")["pid"] == sweeping.qemu(host, alive).pid


def test_a_qemu_that_does_not_speak_is_running_all_the_same(lab: Lab, cluster: Tashictl) -> None:
    made = create(cluster, "mute", "h1")
    sweeping.silent(cluster)
    pid = sweeping.qemu(lab.host("h1"), made).outer_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        sweeping.silent(cluster)
        assert states(cluster) == {"mute": "Running"}
        found = sweeping.round_of(cluster, rc=PROBLEMS, env=TALKS)
        assert sweeping.ids(found) == ["vm-silent:mute"]
        assert states(cluster) == {"mute": "Running"}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert sweeping.kinds(sweeping.round_of(cluster, env=TALKS)) == ["problem-over"]


def test_a_socket_that_may_not_be_opened_is_told_and_its_vm_runs(
    lab: Lab, cluster: Tashictl
) -> None:
    create(cluster, "web1", "h1")
    # All may look, and only root may talk.
    lab.host("h1").run("chmod -R o+rX /var/lib/tashi /run/tashi", check=True)
    lab.host("h1").run("chmod 600 /run/tashi/*/*/*.sock", check=True)
    with sweeping.without_rights(cluster, lab.host("h1")):
        found = sweeping.round_of(cluster, rc=PROBLEMS, env=TALKS)
    # Nor is it a place to leave a copy of the state.
    assert sweeping.ids(found) == ["replica:h1", "vm-silent:web1"], found
    assert states(cluster) == {"web1": "Running"}


def test_a_hidden_proc_hides_no_vm_from_root(lab: Lab, cluster: Tashictl) -> None:
    create(cluster, "web1", "h1")
    host = lab.host("h1")
    host.run("mount -o remount,hidepid=2 /proc", check=True)
    try:
        sweeping.silent(cluster)
        assert states(cluster) == {"web1": "Running"}
    finally:
        host.run("mount -o remount,hidepid=0 /proc", check=True)


def test_a_login_that_may_not_look_finds_no_vm_dead(lab: Lab, cluster: Tashictl) -> None:
    create(cluster, "web1", "h1")
    host = lab.host("h1")
    host.run("mount -o remount,hidepid=2 /proc", check=True)
    try:
        with sweeping.without_rights(cluster, host):
            found = sweeping.round_of(cluster, rc=PROBLEMS)
        assert sweeping.ids(found) == ["host-hidden:h1"], found
        assert states(cluster) == {"web1": "Running"}
    finally:
        host.run("mount -o remount,hidepid=0 /proc", check=True)
    assert sweeping.kinds(sweeping.round_of(cluster)) == ["problem-over"]
    assert states(cluster) == {"web1": "Running"}


def test_a_vm_that_the_database_lost_is_taken_in_again(lab: Lab, cluster: Tashictl) -> None:
    del lab
    made = create(cluster, "web1", "h1")
    state, clock = cluster.cluster / "state", SystemClock()
    store = TinyStore(str(state), FileLocks(str(state / "locks"), clock, "test", 2.0), clock)
    with store.transaction() as tx:
        tx.remove_vm(made["id"])
    assert states(cluster) == {}

    found = sweeping.round_of(cluster)

    assert sweeping.kinds(found) == ["vm-adopted"]
    assert "the database did not know it" in found["events"][0]["reason"]
    after = vm(cluster, "web1")
    for key in ("id", "uuid", "host", "state", "disks", "nics", "cores", "memory_mib", "pid"):
        assert after[key] == made[key], key
    sweeping.silent(cluster)


def test_a_qemu_that_was_started_by_hand_is_told_and_left_alone(
    lab: Lab, cluster: Tashictl
) -> None:
    host = lab.host("h2")
    host.run(sweeping.by_hand(STRAY, "stray"), check=True)

    found = sweep(cluster, rc=PROBLEMS)

    assert f"foreign-qemu:h2:{STRAY}" in found.out
    assert "a QEMU stray (pid " in found.out
    cluster.run("event", "ack", "foreign-qemu:h2:*")
    sweeping.silent(cluster)
    assert [one.uuid for one in qemus(host)] == [STRAY]
    os.kill(qemus(host)[0].outer_pid, signal.SIGKILL)
    assert invariants.until(lambda: not qemus(host))
    assert sweeping.kinds(sweeping.round_of(cluster)) == ["problem-over"]


def test_a_database_of_yesterday_changes_nothing(lab: Lab, cluster: Tashictl) -> None:
    path = sweeping.state_file(cluster)
    kept = path.with_name("of-yesterday")
    shutil.copy2(path, kept)
    create(cluster, "web1", "h1")
    today = path.read_bytes()
    try:
        kept.replace(path)
        with sweeping.hosts_kept(lab):
            for _ in range(2):
                error = invariants.refused(cluster.run("sweep", "-o", "json", check=False), STALE)
                assert error["code"] == "E-OLD-DATABASE", error
    finally:
        path.write_bytes(today)
    sweeping.silent(cluster)
    assert states(cluster) == {"web1": "Running"}


def test_what_waits_is_started_as_soon_as_there_is_room(lab: Lab, cluster: Tashictl) -> None:
    for number in (1, 2, 3):
        create(cluster, f"big{number}", f"h{number}", "--cores", "2")
    waits = (*sweeping.CREATE, "waits", "--memory", "64M")
    assert cluster.run(*waits, check=False).rc == 8
    sweeping.silent(cluster)
    assert states(cluster)["waits"] == "Pending"
    cluster.run("vm", "destroy", "big2", "-y")
    broken = 'case "$*" in *tuntap*) echo no tap today >&2; exit 1;; esac'
    with sweeping.shadowed(lab.host("h2"), "ip", f'{broken}\nexec /sbin/ip "$@"'):
        failed = sweep(cluster, rc=PROBLEMS)
    assert "repair:schedule:waits" in failed.out
    assert "no tap today" in failed.out.replace("\n  ", " ")
    assert states(cluster)["waits"] == "Held"
    found = sweeping.round_of(cluster)
    assert [r["result"] for r in found["repairs"]] == ["waits was started on h2"]
    assert "vm-scheduled" in sweeping.kinds(found)
    assert vm(cluster, "waits")["host"] == "h2"
    assert states(cluster)["waits"] == "Running"


def test_a_lab_that_fell_ill_in_many_ways_is_put_right_or_told(lab: Lab, cluster: Tashictl) -> None:
    made = create(cluster, "web1", "h1")
    create(cluster, "web2", "h2")
    kill = {"TASHICTL_FAULT": "AddTap:after:kill"}
    cluster.run(*sweeping.CREATE, "cut", "--host", "h3", env=kill, check=False)
    os.kill(sweeping.qemu(lab.host("h1"), made).outer_pid, signal.SIGKILL)
    lab.host("h2").kill()
    lab.host("h3").run(sweeping.by_hand(STRAY, "stray"), check=True)

    found = sweeping.round_of(cluster, rc=PROBLEMS)

    told = [f"foreign-qemu:h3:{STRAY}", "host-down:h2", "vm-exited:web1"]
    assert sweeping.ids(found) == told
    assert [(r["kind"], r["target"], r["error"]) for r in found["repairs"]] == [
        ("settle", "cut", None)
    ]
    assert states(cluster) == {"web1": "Exited", "web2": "Orphaned"}
    lab.host("h2").start()
    found = sweeping.round_of(cluster, rc=PROBLEMS)
    assert states(cluster)["web2"] == "Exited"
    assert vm(cluster, "web2")["reason"].startswith("host rebooted")
    assert "host-rebooted" in sweeping.kinds(found)
    for name in ("web1", "web2"):
        cluster.run("vm", "start", name)
    lab.host("h3").run("kill -9 $(cat /run/stray.pid)", check=True)
    sweep(cluster)
    assert states(cluster) == {"web1": "Running", "web2": "Running"}
    sweeping.silent(cluster)
    assert OK == 0
