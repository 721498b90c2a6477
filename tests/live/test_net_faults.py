"""Changes of a network that go wrong, on a host that is a namespace: refused, or taken back.

Afterwards links, addresses, routes and files are as before, and nothing of the change is left.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.ground import holding
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl
from tests.live.lab.watching import Watch
from tests.live.nets import APPLY, Site, left, pending, state, until

LONG = "600"  # a window that no test waits for
# Finds what it stands for by its full path, after what is done in its place.
_WRAPPER = '#!/bin/sh\ncase "$*" in {pattern}) {instead} ;; esac\nexec /sbin/ip "$@"\n'
_WRAPPED = "/usr/local/sbin/ip"


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Site, Tashictl]:
    """A cluster of the host, and a second controller's copy of its folder."""
    folder = tmp_path_factory.mktemp("site")
    site = Site(lab, lab.hosts[0], folder, tashictl_argv)
    copy = folder / "copy"
    shutil.copytree(site.tashictl.cluster, copy)
    return site, Tashictl(tashictl_argv, copy, site.tashictl.home)


@pytest.fixture
def site(cluster: tuple[Site, Tashictl]) -> Iterator[Site]:
    """The host, whose network differs from its inventory; it is as before when a test ends."""
    site, _ = cluster
    inventory(site)
    before = state(site.shell)
    yield site
    site.shell(f"rm -f {_WRAPPED} /tmp/on")
    if site.pending().get("active"):
        site.tashictl.run("net", "rollback", site.host.name)
    assert until(lambda: not left(site.shell)), left(site.shell)
    assert state(site.shell) == before


@pytest.fixture
def other(cluster: tuple[Site, Tashictl]) -> Tashictl:
    """The second controller."""
    return cluster[1]


def inventory(site: Site, uplink: str = "trunk0", host: str = "", bridge: str = "vmb1") -> None:
    """What is wanted; `host` is put into the host."""
    text = site.text.partition("networks:")[0].replace("uplink: trunk0", f"uplink: {uplink}")
    text = text.replace(f"address: {site.host.address}", f"address: {site.host.address}{host}")
    text += f"networks:\n  - {{id: 1, name: lan, bridge: {bridge}, default: true}}\n"
    (site.tashictl.cluster / "inventory" / "lab.yaml").write_text(text, encoding="utf-8")


def wrap_ip(site: Site, pattern: str, instead: str) -> None:
    """`instead` is done where the host calls ip with words that match `pattern`."""
    path = site.host.root / _WRAPPED.lstrip("/")
    path.write_text(_WRAPPER.format(pattern=pattern, instead=instead), encoding="utf-8")
    path.chmod(0o755)


def start(tashictl: Tashictl, site: Site, *more: str) -> "subprocess.Popen[str]":
    """`net apply` in the background."""
    return tashictl.start(*APPLY, LONG, site.host.name, *more)


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Its exit code and what it said on stderr."""
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def applied(site: Site) -> None:
    """Applied, and not confirmed."""
    done = site.tashictl.run(*APPLY, LONG, site.host.name, "--no-confirm")
    assert f"{site.host.name}: its network waits for net confirm" in done.out + done.err


def refused(done: Result, rc: int, *words: str) -> None:
    """A command failed in this way, and said these words."""
    assert (done.rc, "Traceback" in done.err) == (rc, False), str(done)
    for word in words:
        assert word in done.err, f"no {word!r} in {done}"


def verb(tashictl: Tashictl, word: str, site: Site) -> Result:
    """`net confirm` or `net rollback`."""
    return tashictl.run("net", word, site.host.name, check=False)


def test_a_wrong_address_of_management_comes_back_by_itself(site: Site) -> None:
    before = state(site.shell)
    inventory(site, "mgmt0", ", host_addresses: [lan=10.66.66.66/24]")

    with Watch(site.host.address) as watch:
        done = site.apply()
        time.sleep(2)

    sys.stdout.write(done.err)
    assert "return" in watch.report()
    assert watch.losses and all(loss.back is not None for loss in watch.losses)
    refused(done, 1, "E-NET-REVERTED", "the change of the network was taken back")
    assert "no proof that it works came in time" in done.err
    assert "last good SSH" in done.err
    assert state(site.shell) == before
    assert left(site.shell) == ""
    assert site.tashictl.run("net", "list", "--pending").out.startswith("h1: reverted (no proof")


def test_an_uplink_that_is_not_there_is_refused_before_anything(site: Site) -> None:
    inventory(site, "eth77")

    done = site.apply()

    refused(done, 2, "E-UPLINK", "h1 has no interface eth77", "uplink: ")
    assert "armed" not in done.err


def test_an_uplink_renamed_after_the_look_is_refused(site: Site) -> None:
    lock = site.host.root / "var/lib/tashi/cluster.lock"
    with holding(lock):
        running = start(site.tashictl, site)
        assert until(lambda: site.shell("pgrep -x flock"))
        site.shell("ip link set trunk0 down; ip link set trunk0 name trunk9; ip link set trunk9 up")

    rc, err = end(running)

    site.shell("ip link set trunk9 down; ip link set trunk9 name trunk0; ip link set trunk0 up")
    assert (rc, "E-NET-STALE" in err, "armed" in err) == (5, True, False), err
    assert "its network was changed since it was looked at; nothing was begun" in err


def test_an_uplink_that_vanishes_in_the_middle_is_told(site: Site) -> None:
    rename = "/sbin/ip link set trunk0 down; /sbin/ip link set trunk0 name trunk9"
    wrap_ip(site, '"link set dev trunk0 master vmb1"', rename)

    done = site.apply(window_s=600)

    site.shell(f"rm {_WRAPPED}; ip link set trunk9 name trunk0; ip link set trunk0 up")
    # Here it is a veth, which may come and go; without a card the host is not as it was.
    refused(done, 1, "ip link set dev trunk0 master vmb1: Cannot find device", "was taken back")


def test_a_command_that_fails_is_told_and_all_goes_back_at_once(site: Site) -> None:
    wrap_ip(site, '"link set dev vmb1 up"', 'echo "RTNETLINK answers: no" >&2; exit 2')

    done = site.apply(window_s=600)

    refused(done, 1, "E-NET-REVERTED", "ip link set dev vmb1 up: RTNETLINK answers: no")


def test_a_vlan_that_the_kernel_has_not_goes_back_at_once(site: Site) -> None:
    path = site.tashictl.cluster / "inventory" / "lab.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("name: lan,", "name: lan, vlan: 999,"), encoding="utf-8")

    done = site.apply(window_s=600)

    refused(done, 1, "E-NET-REVERTED", "type vlan id 999")


def test_an_interface_of_that_name_made_meanwhile_is_refused(site: Site) -> None:
    with holding(site.host.root / "var/lib/tashi/cluster.lock"):
        running = start(site.tashictl, site)
        assert until(lambda: site.shell("pgrep -x flock"))
        site.shell("ip link add vmb1 type dummy || ip link add vmb1 type veth peer name vmb1p")

    rc, err = end(running)

    site.shell("ip link del vmb1")
    assert (rc, "E-NET-STALE" in err) == (5, True), err


@pytest.mark.parametrize(
    ("name", "text", "rc", "words"),
    [
        ("interfaces.ifupdown.j2", "{{ no_such }}\n", 2, "no_such"),
        ("qemu-ifup.j2", "#!/bin/sh\nif\n", 1, "/etc/qemu-ifup.1 is no shell script"),
    ],
)
def test_a_template_with_a_mistake_is_told_and_nothing_is_armed(
    site: Site, name: str, text: str, rc: int, words: str
) -> None:
    path = site.tashictl.cluster / "templates" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    try:
        done = site.apply()
    finally:
        path.unlink()

    sys.stdout.write(done.err)
    refused(done, rc, words)
    assert "armed" not in done.err
    assert left(site.shell) == ""


def test_a_confirmation_too_early_is_refused_and_one_in_time_counts_from_anywhere(
    site: Site, other: Tashictl
) -> None:
    before = state(site.shell)
    site.shell("mkdir -p /etc/network && cp -a /etc/network /tmp/kept")
    wrap_ip(site, '"link set dev vmb1 up"', "while [ ! -e /tmp/on ]; do sleep 0.1; done")
    running = start(site.tashictl, site, "--no-confirm")
    assert until(lambda: pending(other, "h1").get("stage") == "applying")
    early = verb(site.tashictl, "confirm", site)
    busy = other.run(*APPLY, LONG, "h1", check=False)
    site.shell("touch /tmp/on")
    assert end(running)[0] == 0

    listed = other.run("net", "list", "--pending", "h1")
    confirmed = verb(other, "confirm", site)
    again = verb(site.tashictl, "confirm", site)
    back = verb(site.tashictl, "rollback", site)

    refused(early, 5, "E-NET-EARLY", "nothing was confirmed", "it is not applied yet (applying)")
    refused(busy, 5, "E-NET-BUSY", "h1: a change of its network is in flight", "s left", "by ")
    assert "h1: applied, by " in listed.out
    assert (confirmed.rc, again.rc) == (0, 0), (str(confirmed), str(again))
    assert "was confirmed already" in again.out + again.err
    refused(back, 5, "E-NET-ENDED", "it was confirmed already")
    assert site.differs() == 0
    undo(site)
    assert state(site.shell) == before


def undo(site: Site) -> None:
    """What was confirmed goes, by hand."""
    site.shell("ip link set trunk0 nomaster; ip link del vmb1; ip link set trunk0 master vmbr")
    site.shell("rm -rf /etc/qemu-ifup.1 /etc/qemu-ifdown /etc/network; mv /tmp/kept /etc/network")


def test_after_it_went_back_there_is_nothing_to_confirm_or_to_take_back(site: Site) -> None:
    applied(site)

    rolled = verb(site.tashictl, "rollback", site)
    assert until(lambda: not site.pending()["active"])
    late = verb(site.tashictl, "confirm", site)
    again = verb(site.tashictl, "rollback", site)

    assert rolled.rc == 0
    refused(late, 5, "E-NET-LATE", "nothing was confirmed", "it has gone back already")
    assert "has gone back already" in again.out + again.err


def test_of_two_controllers_at_once_one_wins(site: Site, other: Tashictl) -> None:
    shutil.copy(site.tashictl.cluster / "inventory/lab.yaml", other.cluster / "inventory/lab.yaml")
    both = [start(one, site, "--no-confirm") for one in (site.tashictl, other)]

    ended = [end(one) for one in both]

    assert sorted(rc for rc, _ in ended) == [0, 5], ended
    lost = next(err for rc, err in ended if rc == 5)
    sys.stdout.write(lost)
    assert "E-NET-BUSY" in lost
    assert "s left" in lost


def test_a_file_changed_between_apply_and_confirm_is_not_overwritten(site: Site) -> None:
    applied(site)
    mine = Path("/etc/qemu-ifup.1")
    site.shell(f"echo '# mine' >{mine}")

    done = verb(site.tashictl, "confirm", site)

    refused(done, 5, "E-NET-FILES", f"{mine} was changed meanwhile", "net rollback h1")
    assert site.pending()["stage"] == "applied"
    assert verb(site.tashictl, "rollback", site).rc == 0
    assert until(lambda: not site.pending()["active"])
    assert site.shell(f"cat {mine}") == "# mine\n"
    site.shell(f"rm {mine}")


def test_a_folder_that_cannot_be_written_leaves_the_change_unconfirmed(site: Site) -> None:
    site.shell("mkdir -p /etc/network/interfaces.d")
    applied(site)
    site.shell("mount --bind /etc/network /etc/network && mount -o remount,ro,bind /etc/network")

    done = verb(site.tashictl, "confirm", site)

    still = site.pending()["stage"]
    site.shell("umount /etc/network")
    refused(done, 1, "E-NET-WRITE", "nothing was confirmed", "cannot be written", "Read-only")
    assert still == "applied"
