"""What a host must have depends on its networks; the packages are named."""

import pytest

from tashictl.model.network import Network
from tashictl.planning import requirements
from tests.planning.cases import LAN, facts, host

USER = Network(id=3, name="user", mode="user")


@pytest.mark.parametrize(
    ("networks", "found"),
    [
        ((), ("ip", "awk")),
        ((LAN,), ("ip", "awk")),
        ((LAN, USER), ("ip", "awk")),
        ((USER,), ("awk",)),
    ],
)
def test_ip_is_needed_only_where_there_are_bridges(
    networks: tuple[Network, ...], found: tuple[str, ...]
) -> None:
    assert requirements.missing(facts(missing=("ip", "awk")), networks) == found


def test_a_host_offers_all_networks_or_those_that_are_named_for_it() -> None:
    every = (LAN, USER)

    assert requirements.networks_of(host().config, every) == [LAN, USER]
    named = host(config={"networks": ("user",)}).config
    assert requirements.networks_of(named, every) == [USER]


def test_the_apt_line_has_each_package_once() -> None:
    assert requirements.apt_line(()) == ""
    line = requirements.apt_line(("qemu", "qemu-img", "flock", "setsid", "sha256sum", "timeout"))
    assert line == "apt-get install qemu-system-x86 qemu-utils util-linux coreutils"


@pytest.mark.parametrize(
    ("kvm", "accel", "said"),
    [
        ("usable", "kvm", "kvm"),
        ("absent", "tcg", "tcg"),
        ("", "tcg", "tcg"),
        ("forbidden", "tcg", "tcg (/dev/kvm is there, the login may not use it)"),
        ("hangs", "tcg", "tcg (KVM hangs)"),
    ],
)
def test_why_kvm_is_not_used_is_said(kvm: str, accel: str, said: str) -> None:
    assert requirements.accel(facts(kvm=kvm, accel=accel)) == said
