"""The sweep's probe on lab hosts: what lives, what died, what hides, and what hangs."""

import os
import resource
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from tashictl.model.sighting import Sighting
from tashictl.planning import probe, probe_read
from tests.live.lab.hosts import Host, Lab
from tests.live.looked import (
    CLUSTER,
    LIB,
    NONCE,
    OTHER_CLUSTER,
    RUN,
    SETTINGS,
    SHELLS,
    ask,
    furnish,
    look,
    mac,
    output,
    start,
    uuid,
    vm_of,
    wait_until_free,
)


@pytest.fixture(scope="module")
def one() -> Iterator[Host]:
    """A host of its own."""
    with Lab(1) as lab:
        yield lab.hosts[0]


@pytest.fixture
def host(one: Host) -> Iterator[Host]:
    """The same host, with nothing of ours on it."""
    yield one
    one.wipe()


def still(seen: Sighting) -> Sighting:
    """Without what changes from one look to the next."""
    vms = tuple(replace(vm, cpu_ticks=0, process_state="S", rss_bytes=0) for vm in seen.vms)
    return replace(seen, at="", clock_offset_s=0.0, host=None, vms=vms)


# -- what lives


def test_all_shells_see_the_same(host: Host) -> None:
    pid = start(host, 41)
    furnish(host, 42)
    host.run("ip link add vmbr7 type bridge; ip tuntap add tashi41.0 mode tap")
    (host.root / "var/lib/tashi/cluster").write_text(f"{CLUSTER} 2 117 {uuid(41)} dev@desk   \n")
    host.run(f"mkdir {LIB}/replica; echo '2 118 9f3a' >{LIB}/replica/head")
    try:
        seen = {name: look(host, shell=name) for name in SHELLS}
    finally:
        host.run("ip link del vmbr7; ip link del tashi41.0")

    assert still(seen["dash"]) == still(seen["bash"]) == still(seen["busybox"])
    found = seen["dash"]
    assert found.claim == (CLUSTER, 2, 117)
    assert found.replica == (2, 118, "9f3a")
    assert {"vmbr", "vmbr7"} <= set(found.bridges)
    assert not found.hidden
    assert abs(found.clock_offset_s) < 2
    vm = vm_of(found, 41)
    assert (vm.alive, vm.pid, vm.phase, vm.generation) == (True, pid, "running", 3)
    assert vm.manifest is not None
    assert vm.manifest["name"] == "web41"
    assert [tap.name for tap in vm.taps] == ["tashi41.0"]
    assert dict(vm.disks)["disk0.qcow2"] >= 65536
    assert (vm.rss_bytes or 0) > 1 << 20
    assert (vm.vsize_bytes or 0) > (vm.rss_bytes or 0)
    assert None not in (vm.cpu_ticks, vm.threads, vm.io_read_bytes, vm.io_write_bytes)
    dead = vm_of(found, 42)
    assert (dead.alive, dead.pid, dead.folder, dead.run_folder) == (False, None, True, True)


def test_the_hosts_figures_are_the_kernels(host: Host) -> None:
    seen = look(host).host

    assert seen is not None
    assert seen.cores == os.cpu_count()
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    assert seen.memory_mib == total
    assert 0 < seen.memory_available_mib <= total
    assert 0 < seen.cpu_busy_ticks <= seen.cpu_total_ticks
    assert [m.role for m in seen.mounts] == ["lib", "images", "scratch"]
    assert all((m.size_bytes or 0) >= (m.free_bytes or 0) > 0 for m in seen.mounts)
    assert "lo" not in [net.name for net in seen.nets]
    assert "vmbr" in [net.name for net in seen.nets]


@pytest.mark.parametrize("shell", list(SHELLS))
def test_of_the_neighbours_those_are_told_that_vms_with_a_folder_there_are(
    host: Host, shell: str
) -> None:
    furnish(host, 41)
    near = {
        f"10.77.0.5 lladdr {mac(41)} nud stale",
        f"10.77.0.6 lladdr {mac(41, 1)} nud reachable",
        f"10.77.0.7 lladdr {mac(42)} nud reachable",  # nobody's of ours
        "10.77.0.8 nud failed",
        f"2001:db8:77::5 lladdr {mac(41)} nud stale",
        f"fe80::77 lladdr {mac(41)} nud stale",
    }
    lines = [f"ip neigh add {one} dev vmbr77" for one in sorted(near)]
    host.run("\n".join(["ip link add vmbr77 up type bridge", *lines]), check=True)
    try:
        seen = look(host, shell=shell)
    finally:
        host.run("ip link del vmbr77")

    assert seen.neighbours == (
        (mac(41), "10.77.0.5"),
        (mac(41), "2001:db8:77::5"),
        (mac(41, 1), "10.77.0.6"),
    )


def test_a_taps_rx_is_what_its_guest_sent(host: Host) -> None:
    start(host, 41)
    guest = """import fcntl, os, struct
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"tashi41.0", 0x1002))
os.system("ip link set tashi41.0 up")
for _ in range(50): os.write(tap, b"\\xff" * 12 + b"\\x08\\x00" + b"x" * 986)
"""
    (host.root / "tmp/guest.py").write_text(guest)
    host.run("ip tuntap add tashi41.0 mode tap; python3 /tmp/guest.py", check=True)
    try:
        (tap,) = vm_of(look(host), 41).taps
    finally:
        host.run("ip link del tashi41.0")

    assert (tap.rx_packets, tap.rx_bytes) == (50, 50_000)
    assert tap.tx_bytes < 10_000


def test_known_manifests_are_not_sent_again(host: Host) -> None:
    furnish(host, 1)
    furnish(host, 2)

    seen = look(host, ask(known=(uuid(1),)))

    assert [(vm.manifest is None, vm.generation) for vm in seen.vms] == [(True, 3), (False, 3)]


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_qemu_whose_binary_was_replaced_is_told(host: Host, shell: str) -> None:
    host.run("cp /usr/bin/qemu-system-x86_64 /usr/bin/qemu-system-copy")
    start(host, 1, qemu="/usr/bin/qemu-system-copy")
    before = vm_of(look(host, shell=shell), 1)
    host.run("rm /usr/bin/qemu-system-copy; touch /usr/bin/qemu-system-copy")
    after = vm_of(look(host, shell=shell), 1)
    host.run("rm /usr/bin/qemu-system-copy")

    assert (before.upgraded, after.upgraded) == (False, True)


def test_the_fingerprint_changes_with_what_facts_hold(host: Host) -> None:
    images = SETTINGS.image_folder
    prints = [look(host).fingerprint, look(host).fingerprint]
    for change in (
        f"mkdir -p {images}/sub",
        f"touch {images}/a.qcow2",
        f"touch {images}/sub/b.qcow2",
        "touch -d 2001-01-01 /usr/bin/qemu-system-x86_64",
    ):
        host.run(change, check=True)
        prints.append(look(host).fingerprint)

    assert prints[0] == prints[1]
    assert len(set(prints[1:])) == 5


# -- what is not ours


def test_qemus_that_are_not_ours_are_told_apart(host: Host) -> None:
    ours = start(host, 1)
    others = start(host, 2, cluster=OTHER_CLUSTER)
    by_hand = int(
        host.run(
            "qemu-system-x86_64 -machine none -S -nodefaults -display none -name 'a b,process=x' "
            "</dev/null >/dev/null 2>&1 & echo $!",
            check=True,
        ).stdout
    )
    host.run("sh -c 'exec -a x sleep 9' qemu-system-x86_64 >/dev/null 2>&1 &")
    host.run(f"until grep -q qemu /proc/{by_hand}/cmdline; do sleep 0.02; done")

    seen = {name: look(host, shell=name) for name in SHELLS}

    assert still(seen["dash"]) == still(seen["bash"]) == still(seen["busybox"])
    found = seen["dash"]
    assert [vm.pid for vm in found.vms] == [ours]
    assert [(q.pid, q.uuid, q.name) for q in found.foreign] == [
        (others, uuid(2), "web2"),
        (by_hand, None, "a b"),
    ]
    assert all(q.starttime > 0 for q in found.foreign)


def test_a_second_qemu_of_a_vm_is_told_as_one_that_is_not_ours(host: Host) -> None:
    first = start(host, 1)
    host.run(f"rm {RUN}/{uuid(1)}/run.lock {RUN}/{uuid(1)}/qemu.pid")
    second = start(host, 1)

    seen = look(host)

    assert (vm_of(seen, 1).alive, vm_of(seen, 1).pid) == (True, second)
    assert [(q.pid, q.uuid) for q in seen.foreign] == [(first, uuid(1))]


# -- what died


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_qemu_that_was_killed_is_dead_and_says_its_last_words(host: Host, shell: str) -> None:
    pid = start(host, 1)
    host.run(f"kill -9 {pid}")
    wait_until_free(host, 1)
    host.run(
        f"echo KILL >{RUN}/{uuid(1)}/ended; echo 'qemu: terminating' >{LIB}/{uuid(1)}/qemu.log; "
        f"printf 'a\\r\\nKernel panic\\033[0m\\n' >{LIB}/{uuid(1)}/console.log"
    )

    seen = vm_of(look(host, ask(running=(uuid(1), uuid(9))), shell), 1)

    assert (seen.alive, seen.pid, seen.cpu_ticks) == (False, None, None)
    assert (seen.exit_status, seen.oom) == ("KILL", False)
    assert seen.log_end == ("qemu: terminating",)
    assert seen.console_end[-1] == "Kernel panic"
    assert vm_of(look(host, shell=shell), 1).log_end == ()


def test_the_kernels_word_of_a_kill_for_memory_is_found(host: Host) -> None:
    furnish(host, 1)
    furnish(host, 2)
    host.run(f"echo 4711 >{RUN}/{uuid(1)}/qemu.pid; echo 471 >{RUN}/{uuid(2)}/qemu.pid")
    line = "[1.2] Out of memory: Killed process 4711 (qemu-system-x86) total-vm:9kB"
    dmesg = host.root / "usr/local/bin/dmesg"
    dmesg.write_text(f"#!/bin/sh\necho '{line}'\n")
    dmesg.chmod(0o755)

    seen = look(host, ask(running=(uuid(1), uuid(2))))
    dmesg.unlink()

    assert [vm.oom for vm in seen.vms] == [True, False]


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_pid_that_another_process_has_got_is_not_alive(host: Host, shell: str) -> None:
    furnish(host, 1)
    other = start(host, 2)
    host.run(f": >{RUN}/{uuid(1)}/run.lock; echo {other} >{RUN}/{uuid(1)}/qemu.pid")

    seen = look(host, shell=shell)

    assert [(vm.alive, vm.pid) for vm in seen.vms] == [(False, None), (True, other)]


@pytest.mark.parametrize("shell", list(SHELLS))
def test_a_wrong_pid_file_hides_no_living_vm(host: Host, shell: str) -> None:
    pid = start(host, 1)
    for text in ("1\n", "", "x y\n", "99999999\n", "../1\n"):
        (host.root / f"{RUN}/{uuid(1)}/qemu.pid".lstrip("/")).write_text(text)
        seen = vm_of(look(host, shell=shell), 1)
        assert seen.alive, text
        # busybox's grep, which the fallback uses there, stops at the NUL behind the first argument
        assert seen.pid == (None if shell == "busybox" else pid), text


# -- what hides


def test_behind_hidepid_a_lock_still_proves_who_lives(host: Host) -> None:
    pid = start(host, 1)
    furnish(host, 2)
    host.run(f"chmod -R a+rX /run/tashi {LIB}; chmod a+rw {RUN}/*/run.lock")
    open_ = look(host, user="noroot")
    host.run("mount -o remount,hidepid=2 /proc", check=True)
    try:
        hidden, root = look(host, user="noroot"), look(host)
    finally:
        host.run("mount -o remount,hidepid=0 /proc", check=True)

    assert (open_.hidden, hidden.hidden, root.hidden) == (False, True, False)
    assert [(vm.alive, vm.pid) for vm in open_.vms] == [(True, pid), (False, None)]
    assert [(vm.alive, vm.pid) for vm in hidden.vms] == [(True, None), (False, None)]
    assert open_.vms[0].io_read_bytes is None  # of another user
    assert hidden.busy_s is None


def test_folders_that_cannot_be_read_are_said_to_hide(host: Host) -> None:
    start(host, 1)
    host.run(f"chmod 700 {RUN}")

    assert look(host, user="noroot").hidden


# -- one at a time


@pytest.mark.parametrize("shell", list(SHELLS))
def test_while_a_probe_runs_a_second_only_says_since_when(host: Host, shell: str) -> None:
    look(host)
    hold = f"exec 6>>{RUN}/probe.lock; flock 6; touch /tmp/held; exec sleep 60"
    pid = host.run(f"sh -c '{hold}' >/dev/null 2>&1 </dev/null & echo $!").stdout
    host.run("until [ -e /tmp/held ]; do sleep 0.02; done; rm /tmp/held")
    seen = look(host, shell=shell)
    host.run(f"kill {pid}")

    assert seen.busy_s is not None
    assert 0 <= seen.busy_s < 30
    assert (seen.vms, seen.host) == ((), None)


def test_a_probe_without_a_run_folder_goes_on_without_a_lock(host: Host) -> None:
    seen = look(host, user="noroot")

    assert (seen.busy_s, seen.vms) == (None, ())
    assert not (host.root / RUN.lstrip("/")).exists()


# -- the answer


def test_an_answer_that_is_cut_anywhere_is_none(host: Host) -> None:
    start(host, 1)
    out = output(host, ask(running=(uuid(2),))).encode()
    end = out.rindex(b"Z")

    for length in range(0, end, 11):
        assert probe_read.read(out[:length], NONCE, datetime.now(UTC)) is None


def test_what_it_costs_a_host_with_ten_vms(host: Host) -> None:
    for number in range(1, 11):
        start(host, number)
    known = tuple(uuid(n) for n in range(1, 11))
    text = probe.script(ask(known=known, running=known), NONCE).text
    (host.root / "tmp/probe.sh").write_text(text)
    for name, shell in SHELLS.items():
        costs = [_cost_ms(host, f"{shell} -s </tmp/probe.sh") for _ in range(7)]
        figure = f"{sorted(costs)[3]:.1f} ms of CPU for ten VMs"
        print(f"{name}: {figure}, {len(text)} bytes of script")  # noqa: T201 - it is told, not asserted
        assert look(host, shell=name).busy_s is None


def _cost_ms(host: Host, command: str) -> float:
    """The CPU time of a command and all that it waited for, without the way into the host."""
    spent = []
    for each in ("true", command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        host.run(each)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (spent[1] - spent[0]) * 1000
