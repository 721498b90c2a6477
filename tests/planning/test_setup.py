"""What `host setup` decides: from what was seen of a host to the changes, and what it leaves."""

import re
from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.errors import NotPermitted, OperationFailed
from tashictl.model.host import HostConfig
from tashictl.model.network import Network
from tashictl.model.settings import QemuSettings, Settings, TashictlSettings
from tashictl.model.steps import InstallPackages, LoadModule, MakeUser, PutFile
from tashictl.planning import render, setup, setup_look, setup_packages
from tashictl.planning.ground import Ground
from tashictl.planning.setup import Decision, Wanted
from tashictl.planning.setup_look import Seen

NONCE = "00112233aabbccdd"
SETTINGS = Settings(tashictl=TashictlSettings(cluster_id="0123456789ab"))
TEMPLATE = '#!/bin/sh\n# rendered by tashictl\nip link set "$1" master {{ network.bridge }}\n'
LAN = Network(id=1, name="lan", bridge="vmbr")
VLAN = Network(id=999, name="cluster", vlan=999, bridge="vmbr.999")
IFUP = '#!/bin/sh\n# rendered by tashictl\nip link set "$1" master vmbr\n'

# A host on which everything is as it should be.
READY = Seen(
    time_s=1772366400,
    arch="x86_64",
    os_ids=("debian",),
    os_name="Debian GNU/Linux 12 (bookworm)",
    managers=("apt-get",),
    missing=(),
    cluster=None,
    groups=("tashi-qemu", "kvm"),
    login_there=True,
    kvm=(0o660, "kvm"),
    sudoers_read=True,
    ifupdown=False,
    vlan="loaded",
    modes=dict.fromkeys(("lib", "run", "images", "prefix"), 0o711),
    files={"/etc/qemu-ifup.1": (0o755, IFUP)},
    ground=Ground(uid=0, user="root", forwarding="yes"),
)


def want(*networks: Network, **config: Any) -> Wanted:
    """A host that carries `networks` (the LAN, if none is given)."""
    host = HostConfig(name="node1", address="10.77.0.1", **config)
    return setup.wanted(host, SETTINGS, networks or (LAN,), TEMPLATE)


def decided(seen: Seen, wanted: Wanted | None = None) -> Decision:
    return setup.decide(wanted or want(), seen)


def texts(seen: Seen, wanted: Wanted | None = None) -> list[str]:
    return [change.text for change in decided(seen, wanted).changes]


def installs(seen: Seen, wanted: Wanted | None = None) -> tuple[str, ...]:
    (step,) = [c.step for c in decided(seen, wanted).changes if isinstance(c.step, InstallPackages)]
    assert isinstance(step, InstallPackages)
    return step.packages


def test_a_host_that_is_ready_lacks_nothing() -> None:
    assert decided(READY) == Decision(host="node1")


def test_a_bare_host_lacks_everything_and_packages_come_first() -> None:
    bare = replace(
        READY,
        missing=(setup_look.QEMU, "qemu-img", "flock"),
        groups=None,
        modes={"lib": None, "run": None, "images": None, "prefix": None},
        files={},
    )

    assert texts(bare) == [
        "install qemu-system-x86, qemu-utils, util-linux",
        "create user tashi-qemu",
        "add tashi-qemu to group kvm (/dev/kvm)",
        "create /var/lib/tashi",
        "create /run/tashi",
        "create /var/lib/tashi/shared",
        "create /var/lib/tashi/shared/images",
        "create /etc/qemu-ifup.1",
    ]
    assert decided(bare).changes[1].done == "created user tashi-qemu"


# -- packages


def test_only_what_is_missing_is_installed() -> None:
    assert installs(replace(READY, missing=("qemu-img",))) == ("qemu-utils",)


@pytest.mark.parametrize(
    ("ids", "managers", "missing", "packages"),
    [
        (("ubuntu", "debian"), ("apt-get",), ("awk",), ("mawk",)),
        (("fedora",), ("dnf",), ("awk", setup_look.QEMU), ("gawk", "qemu-kvm")),
        (("rocky", "rhel", "fedora"), ("dnf",), ("ip", "qemu-img"), ("iproute", "qemu-img")),
        (("almalinux", "rhel"), ("dnf",), ("useradd",), ("shadow-utils",)),
        (("debian",), ("apt-get", "dnf"), ("sha256sum", "timeout"), ("coreutils",)),
    ],
)
def test_packages_are_named_as_the_system_names_them(
    ids: tuple[str, ...],
    managers: tuple[str, ...],
    missing: tuple[str, ...],
    packages: tuple[str, ...],
) -> None:
    assert installs(replace(READY, os_ids=ids, managers=managers, missing=missing)) == packages


@pytest.mark.parametrize(
    ("arch", "package"), [("aarch64", "qemu-system-arm"), ("riscv64", "qemu-system")]
)
def test_qemu_is_that_of_the_processor(arch: str, package: str) -> None:
    assert installs(replace(READY, arch=arch, missing=(setup_look.QEMU,))) == (package,)


@pytest.mark.parametrize(
    ("ids", "managers"), [(("alpine",), ("apk",)), (("debian",), ()), (("altlinux",), ("apt-get",))]
)
def test_of_an_unknown_system_the_programs_are_named(
    ids: tuple[str, ...], managers: tuple[str, ...]
) -> None:
    with pytest.raises(OperationFailed) as refused:
        decided(replace(READY, os_ids=ids, managers=managers, missing=("qemu-img",)))

    assert "node1 lacks qemu-img" in refused.value.what
    assert "--no-packages" in refused.value.hint


def test_packages_can_be_left_to_the_operator() -> None:
    seen = replace(READY, os_ids=("alpine",), missing=("qemu-img", "useradd"), groups=None)
    found = decided(seen, replace(want(), packages=False))

    assert found.changes == ()
    assert found.notes[0] == "missing, and left to you: useradd, qemu-img"
    assert "no useradd" in found.notes[1]


def test_a_qemu_of_the_operators_own_comes_from_no_package() -> None:
    settings = replace(SETTINGS, qemu=QemuSettings(qemu_bin="/opt/qemu"))
    found = decided(replace(READY, missing=(setup_look.QEMU,)), replace(want(), settings=settings))

    assert found.changes == ()
    assert "/opt/qemu" in found.notes[0]


@pytest.mark.parametrize(
    ("seen", "config", "packages"),
    [
        ({"ifupdown": True}, {}, ("bridge-utils",)),
        ({}, {"style": "legacy"}, ("bridge-utils", "net-tools", "vlan")),
        ({"ifupdown": True}, {"style": "networkd"}, ()),
        ({}, {}, ()),
    ],
)
def test_the_style_of_the_network_files_decides_what_they_need(
    seen: dict[str, Any], config: dict[str, Any], packages: tuple[str, ...]
) -> None:
    lacking = replace(READY, missing=("brctl", "vconfig", "ifconfig"), **seen)
    tools = setup.lacking(want(LAN, VLAN, **config), lacking)

    assert setup_packages.names(tools, "apt-get", "x86_64") == packages


def test_a_host_without_bridges_needs_no_ip() -> None:
    lacking = replace(READY, missing=("ip", "brctl"), ifupdown=True)

    assert texts(lacking, want(Network(id=1, name="user", mode="user"))) == []


@pytest.mark.parametrize(
    ("forwarding", "relay", "needed"),
    [("no", "", True), ("no", "nc", False), ("local", "", False), ("unknown", "", False)],
)
def test_socat_is_needed_where_sshd_reaches_no_socket(
    forwarding: str, relay: str, needed: bool
) -> None:
    ground = Ground(uid=0, user="root", forwarding=forwarding, relay=relay)
    lacking = replace(READY, missing=("socat",), ground=ground)

    assert ("install socat" in texts(lacking)) is needed


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("E: Could not get lock /var/lib/dpkg/lock-frontend", "another package manager"),
        ("E: Unable to locate package qemu-utils", "/etc/apt/sources.list"),
        ("Err: Temporary failure resolving 'deb.debian.org'", "DNS"),
        ("Error: Unable to find a match: qemu-kvm", "/etc/yum.repos.d"),
        ("not done within 5 s", "--timeout"),
        ("dpkg: error: whatever", "look at it on the host"),
    ],
)
def test_a_failed_installation_says_what_to_do(said: str, hint: str) -> None:
    found = setup_packages.remedy(said)

    assert hint in found
    assert "--no-packages" in found


# -- the user and KVM


@pytest.mark.parametrize(
    ("kvm", "groups", "change"),
    [
        (None, ("tashi-qemu",), False),
        ((0o666, "root"), ("tashi-qemu",), False),
        ((0o660, "kvm"), ("tashi-qemu", "kvm"), False),
        ((0o660, "kvm"), ("tashi-qemu",), True),
        ((0o660, "kvm"), None, True),
        ((0o660, "root"), ("tashi-qemu",), False),
    ],
)
def test_the_user_joins_the_group_that_has_kvm(
    kvm: tuple[int, str] | None, groups: tuple[str, ...] | None, change: bool
) -> None:
    found = decided(replace(READY, kvm=kvm, groups=groups))

    assert ("add tashi-qemu to group kvm (/dev/kvm)" in [c.text for c in found.changes]) is change
    assert bool(found.notes) is (kvm == (0o660, "root"))


def test_a_user_that_is_there_is_not_made() -> None:
    made = [c for c in decided(READY).changes if isinstance(c.step, MakeUser)]

    assert made == []


# -- folders


def test_a_folder_that_lets_nobody_through_is_opened_and_a_shared_one_left() -> None:
    closed = replace(READY, modes={"lib": 0o750, "run": 0o711, "images": None, "prefix": None})
    shared = replace(want(), settings=replace(SETTINGS, vfs_shared=True))

    assert texts(closed, shared) == ["open /var/lib/tashi for tashi-qemu to pass through"]


# -- files


@pytest.mark.parametrize(
    ("mode", "content", "change"),
    [
        (0o755, IFUP, None),
        (0o644, IFUP, "rewrite /etc/qemu-ifup.1"),
        (0o755, IFUP.replace("vmbr", "old"), "rewrite /etc/qemu-ifup.1"),
        (0o755, "#!/bin/sh\nmine\n", None),
    ],
)
def test_an_ifup_file_is_ours_to_rewrite_only_with_our_mark(
    mode: int, content: str, change: str | None
) -> None:
    found = decided(replace(READY, files={"/etc/qemu-ifup.1": (mode, content)}))

    assert [c.text for c in found.changes] == ([change] if change else [])
    assert list(found.notes) == (
        ["/etc/qemu-ifup.1 is the operator's own, and stays"] if "mine" in content else []
    )


def test_an_ifup_file_is_the_one_that_a_vms_start_writes() -> None:
    template = TEMPLATE + "# {{ style }}\n"
    wanted = replace(want(style="networkd"), ifup_template=template)
    (change,) = decided(READY, wanted).changes

    assert isinstance(change.step, PutFile)
    ours = render.ifup(template, LAN, style="networkd", host="node1")
    assert change.step.content == ours
    assert ours.endswith("# networkd\n")


def test_sudo_is_for_the_inventorys_login_whoever_logs_in_now() -> None:
    (step,) = [c.step for c in decided(READY, want(user="ops", become=True)).changes]

    assert isinstance(step, PutFile)
    assert (step.path, step.mode, step.sudoers) == ("/etc/sudoers.d/tashictl", "440", True)
    assert step.content.endswith("\nops ALL=(root) NOPASSWD: ALL\n")
    assert step.mark in step.content


@pytest.mark.parametrize(
    "config", [{"user": "root"}, {"user": "ops"}, {"user": "root", "become": True}]
)
def test_root_and_a_login_that_stays_what_it_is_need_no_sudo(config: dict[str, Any]) -> None:
    lacking = replace(READY, missing=("sudo", "visudo"))

    assert decided(lacking, want(**config)).changes == ()


@pytest.mark.parametrize(
    ("seen", "note"),
    [
        ({"login_there": False}, "no user ops"),
        ({"sudoers_read": False}, "/etc/sudoers does not read /etc/sudoers.d"),
    ],
)
def test_where_sudo_would_not_help_it_is_told(seen: dict[str, Any], note: str) -> None:
    found = decided(replace(READY, **seen), want(user="ops", become=True))

    assert found.changes == ()
    assert note in found.notes[0]


def test_where_sudo_is_installed_first_its_file_follows() -> None:
    lacking = replace(READY, missing=("sudo", "visudo"), sudoers_read=False)

    assert texts(lacking, want(user="ops", become=True)) == [
        "install sudo",
        "create /etc/sudoers.d/tashictl",
    ]


@pytest.mark.parametrize(
    ("vlan", "changes", "noted"),
    [
        ("loaded", ["create /etc/modules-load.d/tashictl.conf"], False),
        ("available", ["create /etc/modules-load.d/tashictl.conf", "load 8021q"], False),
        ("", ["create /etc/modules-load.d/tashictl.conf"], True),
    ],
)
def test_tagged_networks_need_8021q_now_and_at_each_boot(
    vlan: str, changes: list[str], noted: bool
) -> None:
    ifups = {
        f"/etc/qemu-ifup.{n.id}": (0o755, IFUP.replace("vmbr", str(n.bridge))) for n in (LAN, VLAN)
    }
    found = decided(replace(READY, vlan=vlan, files=ifups), want(LAN, VLAN))

    assert [c.text for c in found.changes] == changes
    assert bool(found.notes) is noted
    assert any(isinstance(s, LoadModule) for s in found.plan) is (vlan == "available")


# -- who may not


def test_a_host_of_another_cluster_is_left_alone() -> None:
    with pytest.raises(NotPermitted) as refused:
        decided(replace(READY, cluster="ffffffffffff"))

    assert refused.value.code == "E-FOREIGN"
    assert decided(replace(READY, cluster="0123456789ab")).changes == ()


def test_a_login_that_is_not_root_is_told_how() -> None:
    with pytest.raises(NotPermitted) as refused:
        decided(replace(READY, ground=Ground(uid=1000, user="ops")))

    assert "tashictl host setup node1 --login root" in refused.value.hint


# -- the look


def test_the_look_asks_for_all_that_is_decided_by() -> None:
    asked = setup.asked(want(LAN, VLAN, user="ops", become=True, style="legacy"))
    everything = replace(READY, missing=(*asked.tools, setup_look.QEMU))
    text = setup_look.script(asked, SETTINGS, NONCE).text

    lacking = replace(everything, ground=Ground(uid=0, user="root", forwarding="no"))
    needed = setup.needed(want(LAN, VLAN, user="ops", become=True, style="legacy"), lacking)
    assert set(needed) - {setup_look.QEMU} <= set(asked.tools)
    assert set(asked.files) == {
        *("/etc/qemu-ifup.1", "/etc/qemu-ifup.999"),
        *("/etc/sudoers.d/tashictl", "/etc/modules-load.d/tashictl.conf"),
    }
    assert all(path in text for path in asked.files)


ANSWER = """
@N B basics
time 1772366400
arch x86_64
os PRETTY_NAME="Rocky Linux 9.3 (Blue Onyx)"
os ID="rocky"
os ID_LIKE="rhel centos fedora"
manager dnf
missing qemu-img
missing qemu
cluster 0123456789ab 1 5 host dev@desk
user tashi-qemu kvm
login there
kvm 660 kvm
vlan available
mode lib 711
mode run -
mode images 755
mode prefix 711

@N B file 755 /etc/a b/qemu-ifup.1
#!/bin/sh

@N B ground
uid 0
user ops
sudo 1
forwarding yes

@N Z
"""


def test_an_answer_is_read_whole() -> None:
    seen = setup_look.read(ANSWER.replace("@N", f"@{NONCE}").encode(), NONCE)

    assert seen is not None
    assert seen == replace(
        READY,
        os_ids=("rocky", "rhel", "centos", "fedora"),
        os_name="Rocky Linux 9.3 (Blue Onyx)",
        managers=("dnf",),
        missing=("qemu-img", "qemu"),
        cluster="0123456789ab",
        sudoers_read=False,
        vlan="available",
        modes={"lib": 0o711, "run": None, "images": 0o755, "prefix": 0o711},
        files={"/etc/a b/qemu-ifup.1": (0o755, "#!/bin/sh\n")},
        ground=replace(READY.ground, user="ops", sudo=True),
    )


@pytest.mark.parametrize("cut", [r"\n@N Z\n", r"@N B ground[^@]*", r"@N B basics[^@]*"])
def test_an_answer_that_lacks_a_part_is_none(cut: str) -> None:
    text = re.sub(cut, "", ANSWER).replace("@N", f"@{NONCE}")

    assert setup_look.read(text.encode(), NONCE) is None
