"""Entries in the folders of a real dnsmasq on a host, sent over SSH; what its guests get."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tashictl.model.settings import DhcpSettings
from tashictl.planning import dnsmasq as planned
from tests.live.conftest import give_up
from tests.live.hostsdir import NONCE, Folders, codes, entry, owner
from tests.live.lab import needs
from tests.live.lab.client import Client
from tests.live.lab.dnsmasq import Dnsmasq
from tests.live.lab.hosts import Lab
from tests.live.lab.place import On

_WAIT_S = 30.0
ONE = entry(1)
ADDRESS, ADDRESS_V6 = ONE.addresses


class Server(Dnsmasq):
    """As an operator sets it up, with an option of the network."""

    def _conf(self) -> str:
        conf = super()._conf().replace("dhcp-range=", "dhcp-range=set:lan,")
        return f"{conf}dhcp-option=tag:lan,option:mtu,1400\n"

    def hups(self) -> int:
        """How often it was told to read all anew."""
        return self.log().count("cleared cache") - self.log().count("started, version")


class Remote(Folders):
    """The folders, by scripts that the host's shell is given; over SSH where that is told."""

    def __init__(self, lab: Lab, server: Server) -> None:
        settings = DhcpSettings(
            dnsmasq_leases_dir=str(server.dhcp_hosts),
            dnsmasq_names_dir=str(server.names),
            dnsmasq_pid_file=str(server.pid_file),
        )
        self.argv = [*lab.ssh_argv(lab.hosts[0]), "exec timeout -k 5 60 /bin/sh -s"]
        self._at = server.at
        super().__init__(settings, self._inside)

    def _inside(self, text: str) -> bytes:
        done = self._at.run("sh -s", text=text, check=True)
        assert done.stderr == ""
        return done.stdout.encode()

    def over_ssh(self, text: str) -> bytes:
        done = subprocess.run(
            self.argv, input=text.encode(), capture_output=True, timeout=90, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), done
        return done.stdout


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))
    with Lab(1) as raised:
        yield raised


@pytest.fixture
def server(lab: Lab) -> Iterator[Server]:
    """dnsmasq on the host, with empty folders and no leases."""
    lab.hosts[0].run("rm -rf /srv/dnsmasq")
    with Server(Path("/srv/dnsmasq"), at=On(lab.hosts[0]), device="vmbr") as made:
        yield made


@pytest.fixture
def remote(lab: Lab, server: Server) -> Remote:
    return Remote(lab, server)


@pytest.fixture
def guest(lab: Lab, server: Server) -> Iterator[Client]:
    """The interface of the first entry."""
    with Client(On(lab.hosts[0]), "vmbr", ONE.mac) as made:
        yield made


def until(what: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _WAIT_S
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def is_read(server: Server, name: str, times: int = 1) -> None:
    """Waits until dnsmasq has read a host's file."""
    until(lambda: server.log().count(f"read {server.dhcp_hosts}/{name}\n") >= times)


def test_a_guest_has_the_address_and_the_name_that_its_entry_says(
    remote: Remote, server: Server, guest: Client
) -> None:
    remote.shell = remote.over_ssh
    assert guest.lease(tries=1) is None

    assert remote.add(ONE) == [None]

    is_read(server, "vm1")
    lease = guest.lease()
    assert lease is not None
    assert (lease.address, lease.hostname, lease.domain) == (ADDRESS, "vm1", "cloud.test")
    assert (lease.mtu, lease.routers, lease.dns) == (1400, (server.address,), (server.address,))
    assert guest.dig("vm1.cloud.test") == (ADDRESS,)
    assert guest.dig("vm1.cloud.test", "AAAA") == (ADDRESS_V6,)
    assert guest.dig_x(ADDRESS) == guest.dig_x(ADDRESS_V6) == ("vm1.cloud.test.",)
    assert server.hups() == 0
    seen = remote.look()
    assert [host.name for host in seen.hosts] == ["vm1"]
    assert seen.by_pid_file is not None
    assert seen.watchers == (seen.by_pid_file,)
    assert (seen.running, seen.due) == (True, False)


def test_what_is_removed_is_served_to_nobody_and_its_address_is_free(
    remote: Remote, server: Server, guest: Client
) -> None:
    many = [entry(n) for n in range(1, 6)]
    remote.add(*many)
    is_read(server, "vm5")

    assert remote.remove(*many) == [None] * 5

    until(lambda: server.hups() == 1)
    assert guest.lease(tries=1) is None
    assert server.dig("vm1.cloud.test") == server.dig_x(ADDRESS) == ()
    heir = entry(9, mac=ONE.mac, addresses=ONE.addresses)
    assert remote.add(heir) == [None]
    is_read(server, "vm9")
    lease = guest.lease()
    assert lease is not None
    assert (lease.address, lease.hostname) == (ADDRESS, "vm9")
    assert "duplicate" not in server.log()
    assert (server.hups(), remote.look().due) == (1, False)


def test_a_lease_outlives_its_entry_so_its_address_has_to_rest(
    remote: Remote, server: Server, guest: Client, lab: Lab
) -> None:
    remote.add(ONE)
    is_read(server, "vm1")
    assert guest.lease() is not None

    remote.remove(ONE)

    until(lambda: server.hups() == 1)
    # It is alive: of a host with a tag it dies here (2.90).
    assert server.dig("vm1.cloud.test") == (ADDRESS,)
    heir = entry(2, addresses=ONE.addresses)
    assert remote.add(heir) == [None]
    is_read(server, "vm2")
    with Client(On(lab.hosts[0]), "vmbr", heir.mac) as other:
        assert other.lease(tries=2) is None
    assert "because it is leased to" in server.log()


def test_an_address_that_changes_hands_in_one_script_is_the_new_ones(
    remote: Remote, server: Server, guest: Client
) -> None:
    other = entry(2, addresses=ONE.addresses)
    remote.add(other)
    is_read(server, "vm2")

    moved = entry(2, addresses=("172.16.7.99",))
    assert remote.change((moved, True), (ONE, True)) == [None, None]

    until(lambda: server.hups() == 1)
    lease = guest.lease()
    assert lease is not None and lease.address == ADDRESS
    assert server.dig("vm2.cloud.test") == ("172.16.7.99",)


def test_the_same_script_twice_is_read_once(remote: Remote, server: Server) -> None:
    remote.add(ONE)
    is_read(server, "vm1")

    assert remote.add(ONE) == [None]
    assert remote.remove(ONE) == [None]
    until(lambda: server.hups() == 1)
    assert remote.remove(ONE) == [None]

    time.sleep(0.2)
    assert (server.hups(), server.log().count("vm1 new or modified")) == (1, 2)  # of each folder


def test_somebody_elses_host_is_served_on(
    remote: Remote, server: Server, guest: Client, lab: Lab
) -> None:
    by_hand = f"{server.dhcp_hosts}/by-hand"
    lab.hosts[0].run(f"echo {ONE.mac},172.16.9.9,printer >{by_hand}", check=True)
    is_read(server, "by-hand")

    results = remote.add(
        ONE, entry(2, addresses=("172.16.9.9",)), entry(3, name="printer"), entry(4)
    )

    assert codes(results) == ["E-DHCP-FOREIGN"] * 3 + [""]
    assert all(error is None or by_hand in error.what for error in results)
    assert remote.remove(ONE, entry(4)) == [None, None]
    until(lambda: server.hups() == 1)
    lease = guest.lease()
    assert lease is not None
    assert (lease.address, lease.hostname) == ("172.16.9.9", "printer")


def test_another_vm_of_that_name_is_refused(remote: Remote, server: Server) -> None:
    remote.add(ONE)
    other = entry(1, mac="02:16:00:00:00:63", addresses=("172.16.7.99",), owner=owner("other"))

    (error,) = remote.add(other)

    assert error is not None
    assert f"{server.dhcp_hosts}/vm1 on node1 is not ours" in error.what
    assert remote.remove(other) == [None]
    assert [host.addresses for host in remote.look().hosts] == [ONE.addresses]


def test_what_is_written_while_dnsmasq_is_down_is_read_when_it_starts(
    remote: Remote, server: Server, guest: Client
) -> None:
    remote.add(entry(2, addresses=ONE.addresses))
    is_read(server, "vm2")
    server.kill()

    assert remote.remove(entry(2)) == [None]
    assert remote.add(ONE) == [None]

    seen = remote.look()
    assert (seen.running, seen.watchers, seen.by_pid_file) == (False, (), None)
    server.start()
    lease = guest.lease()
    assert lease is not None
    assert (lease.address, lease.hostname) == (ADDRESS, "vm1")


def test_a_wrong_pid_file_keeps_no_removal_from_dnsmasq(
    remote: Remote, server: Server, guest: Client, lab: Lab
) -> None:
    remote.add(ONE)
    is_read(server, "vm1")
    lab.hosts[0].run(f"rm {server.pid_file}", check=True)

    assert remote.remove(ONE) == [None]

    until(lambda: server.hups() == 1)
    assert guest.lease(tries=1) is None


def test_a_removal_that_was_cut_off_before_its_hup_is_told_by_the_next_script(
    remote: Remote, server: Server, guest: Client, lab: Lab
) -> None:
    remote.add(ONE)
    is_read(server, "vm1")
    # As a script leaves it that was killed between the two.
    folder = server.dhcp_hosts
    lab.hosts[0].run(f"touch {folder}/.tashictl.hup; rm {folder}/vm1", check=True)
    assert remote.look().due
    lease = guest.lease()
    assert lease is not None and lease.address == ADDRESS

    assert remote.add(entry(2)) == [None]

    until(lambda: server.hups() == 1)
    assert guest.lease(tries=1) is None


def test_a_controller_that_is_killed_leaves_whole_files(
    remote: Remote, server: Server, guest: Client, lab: Lab
) -> None:
    many = [(entry(n), True) for n in range(1, 300)]
    script = remote.script(*many)
    # Another script is at work, so that this one is in its middle when it is cut off.
    lab.hosts[0].run(f"setsid flock {server.dhcp_hosts} sleep 3 >/dev/null 2>&1 &", check=True)
    with subprocess.Popen(remote.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ssh:
        assert ssh.stdin is not None and ssh.stdout is not None
        ssh.stdin.write(script.encode())
        ssh.stdin.close()
        until(lambda: lab.hosts[0].run("pgrep -f 'floc[k] -w'").returncode == 0)
        ssh.kill()
        said = ssh.stdout.read()

    assert planned.read(said, NONCE, many, remote.settings, "node1") is None
    # It is done all the same, and doing it again is no other thing.
    is_read(server, "vm299")
    assert remote.change(*many) == [None] * 299
    assert len(remote.look().hosts) == 299
    lease = guest.lease()
    assert lease is not None and lease.address == ADDRESS
    assert "duplicate" not in server.log()


def test_a_full_disk_leaves_no_half_host_and_lets_removals_through(
    lab: Lab, server: Server, remote: Remote, guest: Client
) -> None:
    host, folder = lab.hosts[0], server.dhcp_hosts
    server.stop()
    host.run(f"mount -t tmpfs -o size=32k x {folder}", check=True)
    try:
        server.start()
        assert remote.add(ONE) == [None]
        is_read(server, "vm1")
        host.run(f"cat /dev/zero >{folder}/.filler")
        many = [entry(n) for n in range(2, 20)]

        assert codes(remote.add(*many)) == ["E-NO-SPACE"] * len(many)

        assert [found.file for found in remote.look().hosts] == ["vm1"]
        lease = guest.lease()
        assert lease is not None and lease.address == ADDRESS
        assert remote.remove(ONE) == [None]
        until(lambda: server.hups() == 1)
        assert guest.lease(tries=1) is None
        host.run(f"rm {folder}/.filler", check=True)
        assert remote.add(entry(2)) == [None]
    finally:
        server.kill()
        host.run(f"umount -l {folder}", check=True)


def test_a_folder_that_dnsmasq_does_not_watch_is_seen(
    lab: Lab, server: Server, remote: Remote
) -> None:
    # As it is when the folder was made after dnsmasq had started.
    lab.hosts[0].run(f"rm -rf {server.dhcp_hosts}", check=True)

    assert remote.add(ONE) == [None]

    seen = remote.look()
    assert (seen.watchers, seen.running) == ((), True)
    assert seen.by_pid_file is not None


def test_others_may_read_what_dnsmasq_reads_without_root(
    lab: Lab, server: Server, remote: Remote
) -> None:
    lab.hosts[0].run(f"rm -rf {server.dhcp_hosts} {server.names}", check=True)
    remote.add(ONE)

    nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    for folder in (server.dhcp_hosts, server.names):
        said = lab.hosts[0].run(f"{nobody} sh -c 'ls {folder}; cat {folder}/*'", check=True)
        assert said.stdout.startswith(f"vm1\n# {owner(1)}\n")


def test_a_thousand_entries_reach_dnsmasq_by_one_script(remote: Remote, server: Server) -> None:
    remote.shell = remote.over_ssh
    many = [entry(n) for n in range(1000)]

    assert remote.add(*many) == [None] * 1000

    is_read(server, "vm999")
    assert server.dig("vm999.cloud.test") == (entry(999).addresses[0],)
    assert "duplicate" not in server.log()
    assert remote.remove(*many) == [None] * 1000
    until(lambda: server.hups() == 1)
    until(lambda: server.dig("vm999.cloud.test") == ())
