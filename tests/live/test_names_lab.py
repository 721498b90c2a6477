"""The lab of names and addresses itself: real servers, real packets, nothing left."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab import needs, place, traces
from tests.live.lab.bind import Bind, Record, Zone, reverse_zone
from tests.live.lab.client import Client
from tests.live.lab.dhcpd import OMAPI_PORT, Dhcpd
from tests.live.lab.dnsmasq import Dnsmasq
from tests.live.lab.hosts import Lab
from tests.live.lab.place import HERE, On, Space
from tests.live.lab.tsig import Key

NETWORK, NETWORK_V6 = "172.16.0.0/16", "2001:db8::/32"
MAC, OTHER_MAC, FOREIGN_MAC = (f"02:16:00:00:00:0{number}" for number in (1, 2, 9))
ADDRESS = "172.16.7.7"
_OFF = "clocks are unsynchronized"  # BADTIME in nsupdate's words
FOREIGN = f"host www {{ hardware ethernet {FOREIGN_MAC}; fixed-address 172.16.0.9; }}"
OWNER = """
import os, sys, time
from pathlib import Path
from tests.live.lab.bind import Bind
from tests.live.lab.client import Client
from tests.live.lab.dhcpd import Dhcpd
from tests.live.lab.hosts import Lab
from tests.live.lab.place import HERE, On, Space
from tests.live.lab.tsig import Key
folder, key = Path(sys.argv[1]), Key.generate("tashi")
space, lab = Space(), Lab(1)
space.add_bridge("lan")
lab.up()
host = On(lab.hosts[0])
servers = [Bind(folder / "here", skew_s=9), Bind(folder / "space", at=space)]
servers += [Dhcpd(folder / "dhcpd", key, at=space)]
servers += [Dhcpd(Path("/srv/dhcpd"), key, at=host, device="vmbr")]
for server in servers:
    server.start()
guest = Client(space, "lan", "02:16:00:00:00:01")
space.plug(HERE, lab.wiring.vm_bridge)
space.way_in(53)
pids = [server.pid for server in servers] + [space.net_pid, guest.net_pid, space._ways[0].pid]
print(lab.id, space._plugs[0][1], *pids, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module", autouse=True)
def tools(machine: None) -> None:
    """Skips where a server is missing."""
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.generate("tashi", "hmac-md5")


@pytest.fixture
def space() -> Iterator[Space]:
    with Space() as made:
        made.add_bridge("lan")
        yield made


@pytest.mark.parametrize("algorithm", ["hmac-md5", "hmac-sha256"])
def test_a_guest_gets_its_address_and_its_name_and_both_ways_of_dig_agree(
    space: Space, tmp_path: Path, algorithm: str
) -> None:
    key = Key.generate("tashi", algorithm)
    with (
        Bind(tmp_path / "named", ("cloud.test", NETWORK), (key,), at=space) as bind,
        Dhcpd(tmp_path / "dhcpd", key, at=space, options={"interface-mtu": "1400"}) as dhcpd,
        Client(space, "lan", MAC) as guest,
    ):
        dhcpd.add_host("vm1", MAC, ADDRESS)
        bind.put("cloud.test", f"vm1 60 A {ADDRESS}")
        bind.put(NETWORK, "7.7 60 PTR vm1.cloud.test.")

        lease = guest.lease()

        assert lease is not None
        assert (lease.address, lease.prefix, lease.hostname) == (ADDRESS, 16, "vm1")
        assert (lease.routers, lease.dns) == ((dhcpd.address,), (dhcpd.address,))
        assert (lease.mtu, lease.server, lease.lease_s) == (1400, dhcpd.address, 600)
        assert "mtu 1400" in guest.run("ip link show eth0").stdout
        assert guest.dig("vm1.cloud.test") == (ADDRESS,)
        assert guest.dig_x(ADDRESS) == ("vm1.cloud.test.",)


def test_whoever_is_not_known_gets_nothing_and_who_is_foreign_its_own(
    space: Space, tmp_path: Path, key: Key
) -> None:
    with (
        Dhcpd(tmp_path, key, at=space, more=FOREIGN) as dhcpd,
        Client(space, "lan", OTHER_MAC) as stranger,
        Client(space, "lan", FOREIGN_MAC) as foreign,
    ):
        assert stranger.lease(tries=1) is None
        lease = foreign.lease()
        assert lease is not None
        assert (lease.address, lease.hostname) == ("172.16.0.9", "www")
        assert "www" not in dhcpd.leases_text()


def test_a_dhcp_server_that_is_killed_or_frozen_knows_its_hosts_later(
    space: Space, tmp_path: Path, key: Key
) -> None:
    with Dhcpd(tmp_path, key, at=space) as dhcpd, Client(space, "lan", MAC) as guest:
        dhcpd.add_host("vm1", MAC, ADDRESS)
        dhcpd.kill()
        assert guest.lease(tries=1) is None
        dhcpd.start()
        assert guest.lease(wish=ADDRESS) is not None
        dhcpd.freeze()
        assert guest.lease(tries=1) is None
        dhcpd.thaw()
        assert guest.lease() is not None
        dhcpd.restart()
        assert "host vm1 {" in dhcpd.leases_text()


def test_an_omapi_client_here_reaches_a_server_in_a_space(
    space: Space, tmp_path: Path, key: Key
) -> None:
    with Dhcpd(tmp_path, key, at=space, more=FOREIGN) as dhcpd:
        dhcpd.add_host("vm1", MAC, ADDRESS, via=space.way_in(OMAPI_PORT))
        assert f"fixed-address {ADDRESS};" in dhcpd.leases_text()


@pytest.mark.parametrize("algorithm", ["hmac-md5", "hmac-sha256"])
def test_each_form_of_a_key_opens_the_zone(tmp_path: Path, algorithm: str) -> None:
    key = Key.generate("tashi", algorithm)
    with Bind(tmp_path / "named", keys=(key,)) as bind:
        secret = key.write_secret(tmp_path).read_text(encoding="utf-8").strip()
        forms = {
            "conf": f"-k {key.write_conf(tmp_path)}",
            "pair": f"-k {key.write_pair(tmp_path)}",
            "secret": f"-y {algorithm}:tashi:{secret}",
        }
        for name, option in forms.items():
            done = nsupdate(bind, option, f"update add {name}.cloud.test 60 A {ADDRESS}")
            assert done.returncode == 0, done.stderr
            assert Record(f"{name}.cloud.test.", 60, "A", ADDRESS) in bind.records("cloud.test")


def test_a_zone_is_changed_and_read_by_its_own_keys_only(tmp_path: Path, key: Key) -> None:
    other = Key.generate("other")
    zones = ("cloud.test", NETWORK_V6, Zone("internal.test", ("other",), ("other",)))
    with Bind(tmp_path / "named", zones, (key, other)) as bind:
        tashi, own = key.write_conf(tmp_path), other.write_conf(tmp_path)
        add = f"update add a.internal.test 60 A {ADDRESS}"

        assert "REFUSED" in nsupdate(bind, f"-k {tashi}", add).stderr
        assert nsupdate(bind, f"-k {own}", add).returncode == 0
        assert bind.dig("a.internal.test") == (ADDRESS,)
        transfer = f"dig @127.0.0.1 -p {bind.port} internal.test AXFR -k"
        assert "Transfer failed" in HERE.run(f"{transfer} {tashi}").stdout
        assert ADDRESS in HERE.run(f"{transfer} {own}").stdout
        bind.put(NETWORK_V6, f"7{'.0' * 23} 60 PTR a.internal.test.")
        assert bind.dig_x("2001:db8::7") == ("a.internal.test.",)
        bind.drop("internal.test", "a A")
        assert bind.dig("a.internal.test") == ()


def test_a_frozen_name_server_is_silent_and_does_later_what_it_was_asked(tmp_path: Path) -> None:
    with Bind(tmp_path) as bind:
        bind.freeze()
        with pytest.raises(RuntimeError, match="timed out"):
            bind.dig("ns.cloud.test")
        asking = threading.Thread(target=bind.put, args=("cloud.test", f"late 60 A {ADDRESS}"))
        asking.start()
        assert invariants.until(lambda: unread(bind.port))
        bind.thaw()
        asking.join()
        assert bind.dig("late.cloud.test") == (ADDRESS,)


def test_a_killed_name_server_knows_later_what_it_had_said_yes_to(tmp_path: Path) -> None:
    with Bind(tmp_path) as bind:
        port = bind.port
        bind.put("cloud.test", f"kept 60 A {ADDRESS}")
        bind.kill()
        with pytest.raises(RuntimeError, match=r"connection refused|no servers"):
            bind.dig("kept.cloud.test")
        bind.start()
        assert bind.port == port
        assert bind.dig("kept.cloud.test") == (ADDRESS,)
        bind.restart()
        assert bind.dig("kept.cloud.test") == (ADDRESS,)


@pytest.mark.parametrize(("skew_s", "said"), [(200, ""), (301, _OFF), (-301, _OFF)])
def test_a_clock_that_is_too_far_off_is_not_believed(
    tmp_path: Path, key: Key, skew_s: int, said: str
) -> None:
    with Bind(tmp_path / "named", keys=(key,), skew_s=skew_s) as bind:
        add = f"update add a.cloud.test 60 A {ADDRESS}"
        done = nsupdate(bind, f"-k {key.write_conf(tmp_path)}", add)
        assert said in done.stderr
        assert (done.returncode == 0) == (said == "")
        bind.put("cloud.test", "b 60 A 172.16.0.2")
        assert ("a.cloud.test." in {record.name for record in bind.records("cloud.test")}) == (
            said == ""
        )


def test_a_dhcp_server_on_a_host_is_reached_by_ssh_and_gives_to_guests_of_all_hosts(
    lab: Lab, key: Key
) -> None:
    one, two = lab.hosts[:2]
    with (
        Dhcpd(Path("/var/lib/dhcp"), key, at=On(one), device="vmbr", more=FOREIGN) as dhcpd,
        Bind(Path("/srv/named"), ("cloud.test", NETWORK), (key,), at=On(one)) as bind,
        Client(On(two), "vmbr", MAC) as guest,
    ):
        bind.put("cloud.test", f"vm1 60 A {ADDRESS}")
        bind.put(NETWORK, "7.7 60 PTR vm1.cloud.test.")
        assert ADDRESS in HERE.run(f"dig @{bind.server} -p {bind.port} vm1.cloud.test").stdout
        with forward(lab, one.name, OMAPI_PORT) as port:
            dhcpd.add_host("vm1", MAC, ADDRESS, via=port)
        assert ADDRESS in ssh(lab, one.name, f"cat {dhcpd.leases}")
        assert guest.lease() is not None
        assert guest.dig("vm1.cloud.test") == (ADDRESS,)
        assert guest.dig_x(ADDRESS) == ("vm1.cloud.test.",)
        for server in (dhcpd, bind):
            server.freeze()
        assert guest.lease(tries=1) is None
        one.reboot()
        for server in (dhcpd, bind):
            assert not server.up
            server.start()
        two.reboot()
        guest.replug()
        lease = guest.lease()
        assert lease is not None
        assert lease.address == ADDRESS
        assert guest.dig("vm1.cloud.test") == (ADDRESS,)
        bind.restart()
        dhcpd.stop()


def test_a_server_in_a_space_on_the_common_bridge_serves_guests_of_all_hosts(
    lab: Lab, tmp_path: Path, key: Key
) -> None:
    net = lab.wiring.vm_subnet
    with Space() as space, Client(On(lab.hosts[2]), "vmbr", MAC) as guest:
        space.plug(HERE, lab.wiring.vm_bridge, device="lan")
        with Dhcpd(tmp_path, key, at=space, cidr=f"{net}.253/24") as dhcpd:
            dhcpd.add_host("vm1", MAC, f"{net}.7")
            lease = guest.lease()
            assert lease is not None
            assert (lease.address, lease.server) == (f"{net}.7", f"{net}.253")


def test_dnsmasq_on_a_host_gives_what_is_in_its_folders_and_forgets_at_a_hangup(lab: Lab) -> None:
    one, two = lab.hosts[:2]
    dnsmasq = Dnsmasq(Path("/srv/dnsmasq"), at=On(one), device="vmbr", lease_s=120)
    with dnsmasq, Client(On(two), "vmbr", MAC) as guest:
        for folder, line in (
            (dnsmasq.dhcp_hosts, f"{MAC},{ADDRESS},vm1"),
            (dnsmasq.names, f"{ADDRESS} vm1.cloud.test"),
        ):
            ssh(lab, one.name, f"echo {line} >{folder}/.vm1 && mv {folder}/.vm1 {folder}/vm1")
        assert invariants.until(lambda: dnsmasq.dig("vm1.cloud.test") == (ADDRESS,))
        assert dnsmasq.dig_x(ADDRESS) == ("vm1.cloud.test.",)
        lease = guest.lease()
        assert lease is not None
        assert (lease.address, lease.hostname, lease.domain) == (ADDRESS, "vm1", "cloud.test")
        assert guest.dig("vm1.cloud.test") == (ADDRESS,)
        assert guest.dig_x(ADDRESS) == ("vm1.cloud.test.",)

        ssh(lab, one.name, f"rm {dnsmasq.dhcp_hosts}/vm1 && kill -HUP $(cat {dnsmasq.pid_file})")
        assert invariants.until(lambda: guest.lease(tries=1) is None)


def test_several_at_once_do_not_meet(tmp_path: Path, key: Key) -> None:
    with Space() as left, Space() as right, contextlib.ExitStack() as stack:
        addresses = []
        for number, space in enumerate((left, right)):
            folder = tmp_path / str(number)
            space.add_bridge("lan")
            bind = stack.enter_context(Bind(folder / "here"))
            bind.put("cloud.test", f"vm1 60 A 172.16.0.{number}")
            dhcpd = stack.enter_context(Dhcpd(folder / "dhcpd", key, at=space))
            dhcpd.add_host("vm1", MAC, f"172.16.7.{number}")
            guest = stack.enter_context(Client(space, "lan", MAC))
            lease = guest.lease()
            assert lease is not None
            addresses.append((bind.dig("vm1.cloud.test"), lease.address))
        assert addresses == [(("172.16.0.0",), "172.16.7.0"), (("172.16.0.1",), "172.16.7.1")]


def test_nothing_is_left_when_the_owner_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as owner:
        assert owner.stdout is not None
        lab_id, link, *pids = owner.stdout.readline().split()
        assert len(pids) == 7
        assert Path(f"/sys/class/net/{link}").exists()
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        os.kill(owner.pid, signal.SIGKILL)

    assert invariants.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert invariants.until(lambda: not traces.leftovers(lab_id))
    assert invariants.until(lambda: not Path(f"/sys/class/net/{link}").exists())


def test_a_server_that_cannot_start_says_why(tmp_path: Path, key: Key) -> None:
    with Space() as space, pytest.raises(RuntimeError, match="lan"):
        Dhcpd(tmp_path, key, at=space).start()
    bind = Bind(tmp_path / "named")
    with (
        socket.create_server(("127.0.0.1", bind.port)),
        pytest.raises(RuntimeError, match="in use"),
    ):
        bind.start()


def test_a_network_is_one_reverse_zone_or_none() -> None:
    assert reverse_zone(NETWORK) == "16.172.in-addr.arpa"
    assert reverse_zone(NETWORK_V6) == "8.b.d.0.1.0.0.2.ip6.arpa"
    with pytest.raises(ValueError, match="one reverse zone"):
        reverse_zone("172.16.0.0/20")


def nsupdate(bind: Bind, option: str, line: str) -> subprocess.CompletedProcess[str]:
    text = f"server 127.0.0.1 {bind.port}\n{line}\nsend\n"
    return HERE.run(f"nsupdate -v {option}", text=text)


def unread(port: int) -> bool:
    """Bytes have come for a TCP port of the loopback that nobody has read."""
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    words = [line.split() for line in lines]
    return any(
        one[1] == f"0100007F:{port:04X}" and one[3] == "01" and not one[4].endswith(":00000000")
        for one in words
    )


def ssh(lab: Lab, name: str, command: str) -> str:
    argv = [*lab.ssh_argv(lab.host(name)), command]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@contextlib.contextmanager
def forward(lab: Lab, name: str, port: int) -> Iterator[int]:
    """A port here that SSH leads to a host's loopback."""
    here = place.free_port()
    argv = lab.ssh_argv(lab.host(name))
    options = ["-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{here}:127.0.0.1:{port}"]
    with subprocess.Popen([argv[0], *options, *argv[1:]], stdin=subprocess.DEVNULL) as process:
        try:
            place.await_listener(here, process)
            yield here
        finally:
            process.kill()
