"""The lab itself: what the other live tests stand on."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tashictl.adapters.demo import parts
from tests.live.lab import guest, needs
from tests.live.lab.by_hand import HandGuest
from tests.live.lab.host import BROKEN_QEMU, Host
from tests.live.lab.hosts import Lab, leftovers, observe, snapshot

_PROJECT = Path(__file__).resolve().parents[2]
_OWNER = """
import sys, time
from tests.live.lab.hosts import Lab
lab = Lab(2)
lab.up()
print(lab.id, lab.directory, flush=True)
lab.hosts[0].run("setsid sleep 1000 </dev/null >/dev/null 2>&1 &")
time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def healed(lab: Lab) -> Iterator[None]:
    """The module's hosts are whole again after each test."""
    yield
    for host in lab.hosts:
        host.heal()


def ssh(
    lab: Lab, host: Host, command: str, user: str = "root", timeout_s: float = 20.0
) -> subprocess.CompletedProcess[str]:
    argv = [*lab.ssh_argv(host, user), command]
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def until(condition: object, timeout_s: float = 10.0) -> bool:
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_three_hosts_answer_by_ssh_within_seconds(lab: Lab) -> None:
    names = [ssh(lab, host, "hostname").stdout.strip() for host in lab.hosts]
    assert names == ["h1", "h2", "h3"]
    assert lab.up_s < 15


def test_a_fingerprint_is_what_ssh_keygen_prints(lab: Lab) -> None:
    key = lab.directory / "h1_host_key.pub"
    printed = subprocess.run(
        ["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True
    )
    assert printed.stdout.split()[1] == lab.host("h1").host_key_fingerprint


def test_of_two_plain_users_one_may_become_root(lab: Lab) -> None:
    host = lab.host("h1")
    assert ssh(lab, host, "sudo -n id -u", user="ops").stdout == "0\n"
    refused = ssh(lab, host, "sudo -n id -u", user="noroot")
    assert refused.returncode != 0
    assert refused.stdout == ""


def test_a_host_shows_nothing_of_the_workstation_and_no_kvm(lab: Lab) -> None:
    seen = lab.host("h1").run(
        "ls /var/lib/tashi /etc/qemu-ifup* /dev/kvm 2>/dev/null; ls /root; ls /tmp; ls /home"
    )
    assert seen.stdout.split() == ["noroot", "ops"]
    assert observe(lab.host("h1")).empty


def test_what_a_host_writes_stays_on_it(lab: Lab) -> None:
    name = f"/etc/only-here-{lab.id}"
    lab.host("h1").run(f"touch {name}", check=True)
    assert not Path(name).exists()
    assert lab.host("h2").run(f"ls {name}").returncode != 0


def test_a_reboot_keeps_var_lib_and_loses_run_and_the_boot_id(lab: Lab) -> None:
    host = lab.host("h2")
    host.run("mkdir -p /var/lib/kept /run/lost; echo 1 > /var/lib/kept/file", check=True)
    boot_id = host.run("cat /proc/sys/kernel/random/boot_id").stdout
    host.kill()
    assert not host.up
    assert "/var/lib/kept/file" in host.snapshot()
    host.start()
    assert ssh(lab, host, "cat /var/lib/kept/file").stdout == "1\n"
    assert host.run("ls /run/lost").returncode != 0
    assert host.run("cat /proc/sys/kernel/random/boot_id").stdout not in ("", boot_id)


def test_a_snapshot_sees_new_changed_and_removed_files_and_a_login_changes_none(lab: Lab) -> None:
    host = lab.host("h3")
    before = snapshot(host)
    assert ssh(lab, host, "true").returncode == 0
    assert ssh(lab, host, "sudo -n true", user="ops").returncode == 0
    assert snapshot(host) == before
    host.run("mkdir /var/lib/new /run/tashi; echo 1 > /var/lib/new/file; rm /etc/fstab", check=True)
    host.run("echo 2 > /run/tashi/lock; echo more >> /etc/hosts", check=True)
    after = snapshot(host)
    changed = {path for path in before | after if before.get(path) != after.get(path)}
    expected = {"/var/lib/new", "/var/lib/new/file", "/run/tashi", "/run/tashi/lock", "/etc/hosts"}
    # A folder that was not in the layer yet appears with its first change.
    assert expected <= changed <= expected | {"/etc/fstab", "/var/lib"}
    host.wipe()
    assert "/run/tashi" not in snapshot(host)


def test_a_paused_network_hangs_and_comes_back(lab: Lab) -> None:
    host = lab.host("h1")
    host.pause_network()
    with pytest.raises(OSError):
        socket.create_connection((host.address, 22), timeout=0.5)
    host.resume_network()
    assert ssh(lab, host, "echo back").stdout == "back\n"


def test_a_silent_sshd_accepts_and_says_nothing(lab: Lab) -> None:
    host = lab.host("h1")
    host.stop_sshd_silently()
    with (
        socket.create_connection((host.address, 22), timeout=0.5) as connection,
        pytest.raises(TimeoutError),
    ):
        connection.recv(1)
    host.resume_sshd()
    assert ssh(lab, host, "echo back").stdout == "back\n"


def test_without_sshd_connections_are_refused(lab: Lab) -> None:
    host = lab.host("h1")
    host.stop_sshd()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host.address, 22), timeout=2)
    host.start_sshd()
    assert ssh(lab, host, "echo back").stdout == "back\n"


def test_cut_sessions_end_at_once_while_their_detached_work_goes_on(lab: Lab) -> None:
    host = lab.host("h1")
    command = "setsid sleep 77 </dev/null >/dev/null 2>&1 & echo started; sleep 60"
    argv = [*lab.ssh_argv(host), command]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == b"started\n"
        assert host.cut_sessions() > 0
        assert session.wait(timeout=10) == 255
    assert host.run("pkill -f '[s]leep 77'").returncode == 0


def test_a_changed_host_key_is_refused_by_ssh(lab: Lab) -> None:
    host = lab.host("h2")
    old = host.host_key_fingerprint
    host.change_host_key()
    assert host.host_key_fingerprint != old
    assert "IDENTIFICATION HAS CHANGED" in ssh(lab, host, "true").stderr
    lab.write_known_hosts(lab.directory / "known_hosts")
    assert ssh(lab, host, "true").returncode == 0


def test_a_refused_key_does_not_open(lab: Lab) -> None:
    host = lab.host("h1")
    host.refuse_key()
    assert "Permission denied" in ssh(lab, host, "true").stderr
    host.accept_key()
    assert ssh(lab, host, "true").returncode == 0


def test_qemu_can_be_absent_and_broken_and_whole_again(lab: Lab) -> None:
    host = lab.host("h1")
    ask = "qemu-system-x86_64 --version"
    whole = host.run(ask).stdout
    host.remove_qemu()
    assert host.run(ask).returncode == 127
    host.break_qemu()
    broken = host.run(ask)
    assert (broken.returncode, broken.stderr.strip()) == (1, BROKEN_QEMU)
    host.restore_qemu()
    assert host.run(ask).stdout == whole
    assert "QEMU emulator version" in whole


def test_a_full_disk_is_full_and_shows_no_file(tmp_path: Path) -> None:
    with Lab(1, base_dir=tmp_path, tashi_mib=16, shared=tmp_path) as small:
        host = small.hosts[0]
        host.fill_disk()
        full = host.run("echo text | tee /var/lib/tashi/file")
        assert "No space left" in full.stderr
        assert host.run("rm -f /var/lib/tashi/file; ls -A /var/lib/tashi").stdout == ""
        host.reboot()
        assert "No space left" in host.run("echo text | tee /var/lib/tashi/file").stderr
        host.free_disk()
        assert host.run("echo text > /var/lib/tashi/file").returncode == 0
        assert "/var/lib/tashi/file" in host.snapshot()
        host.run("echo shared > /srv/shared/file", check=True)
        assert (tmp_path / "file").read_text() == "shared\n"
        lab_id = small.id
    assert leftovers(lab_id, tmp_path) == []
    assert (tmp_path / "file").exists()


def test_two_labs_at_once_do_not_meet(lab: Lab) -> None:
    with Lab(1) as other:
        assert other.wiring.subnet != lab.wiring.subnet
        assert ssh(other, other.hosts[0], "hostname").stdout == "h1\n"
        assert ssh(lab, lab.host("h1"), "hostname").stdout == "h1\n"
        other_id = other.id
        assert leftovers(other_id) != []
    assert leftovers(other_id) == []
    assert leftovers(lab.id) != []


def test_a_lab_whose_body_raises_leaves_nothing() -> None:
    class StopError(Exception):
        pass

    lab_id = ""
    with pytest.raises(StopError), Lab(1) as other:
        lab_id = other.id
        raise StopError
    assert leftovers(lab_id) == []


def start_owner() -> tuple[subprocess.Popen[str], str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER], cwd=_PROJECT, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout as said:
        words = said.readline().split()
    assert words, "the owner's lab did not come up"
    return owner, words[0]


def test_a_lab_whose_owner_is_killed_leaves_nothing() -> None:
    owner, lab_id = start_owner()
    assert any(line.startswith("process") for line in leftovers(lab_id))
    owner.kill()
    owner.wait()
    assert until(lambda: not leftovers(lab_id)), leftovers(lab_id)


def test_of_a_lab_whose_janitor_is_killed_too_no_process_lives_and_the_next_lab_buries_it() -> None:
    owner, lab_id = start_owner()
    janitors = [line for line in leftovers(lab_id) if "tests.live.lab.janitor" in line]
    # The keeper is the janitor's fork: the first, older one is the janitor.
    janitor = min(int(line.split()[1]) for line in janitors)
    os.kill(janitor, signal.SIGKILL)
    owner.kill()
    owner.wait()
    assert until(lambda: not [line for line in leftovers(lab_id) if "process" in line])
    # The slot is free: whoever takes it removes the links and the folder that are left.
    with Lab(1):
        assert leftovers(lab_id) == []


def test_guests_on_two_hosts_boot_reach_each_other_and_obey_the_power_button(
    lab: Lab, guest_image: Path
) -> None:
    one = HandGuest(lab.host("h1"), guest_image, "web1", address="10.88.0.1/24")
    two = HandGuest(lab.host("h2"), guest_image, "web2", address="10.88.0.2/24")
    for machine in (one, two):
        machine.start()
    for machine in (one, two):
        machine.await_line("HB 2 ")
        assert f"BOOTED host={machine.name}" in machine.serial_log()
    assert observe(lab.host("h1")).qemus[0].argv[0] == "qemu-system-x86_64"
    assert observe(lab.host("h3")).qemus == ()
    one.type("ping -c 3 10.88.0.2 && echo REACHED-$((1 + 1))")
    one.await_line("REACHED-2", 30)
    for machine in (one, two):
        assert "SHUTDOWN clean" in machine.power_off()


def test_the_image_is_built_once_and_again_where_the_cache_is_empty(tmp_path: Path) -> None:
    first = guest.build(tmp_path)
    inode = first.stat().st_ino
    assert guest.build(tmp_path).stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == [first.parent.name]


def test_the_list_of_packages_brings_every_tool() -> None:
    tools = needs.GUEST_TOOLS | needs.HOST_TOOLS | needs.NAME_TOOLS
    wanted = set(tools.values())
    assert wanted <= set(needs.packages())


def test_all_missing_tools_are_named_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(parts, "SBIN", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(needs.MissingPartError) as caught:
        guest.build(tmp_path)
    assert "mcopy" in str(caught.value)
    assert "syslinux" in str(caught.value)
    assert "apt-get install dosfstools dropbear-bin kmod mtools qemu-utils syslinux" in str(
        caught.value
    )
