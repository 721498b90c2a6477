"""Templates that are wrong are told all at once; MTUs and ranges are worked out."""

import pytest
from msgspec.structs import replace

from tashictl.errors import InvalidRequest, Problems
from tashictl.model.network import Network
from tashictl.planning.net import sizes, usage
from tashictl.planning.net.files import files, is_ours
from tests.planning.net.cases import CLUSTER, LAB, LAN, TEMPLATES, applied, layout
from tests.planning.net.test_ifupdown import AWARE, OVERLAY


def test_a_broken_template_is_named_with_its_line_and_the_host() -> None:
    broken = {**TEMPLATES, "interfaces.ifupdown.j2": "# rendered\n\n{{ interfaces[0].nothing }}\n"}

    with pytest.raises(InvalidRequest) as caught:
        files(layout(LAN), broken, None)

    error = caught.value
    assert (error.code, error.host) == ("E-TEMPLATE", "node1")
    assert error.what == "template interfaces.ifupdown.j2, line 3, cannot be rendered for node1"
    assert "nothing" in error.cause


def test_all_broken_templates_are_told_at_once() -> None:
    broken = {
        **TEMPLATES,
        "interfaces.ifupdown.j2": "{% for %}",
        "qemu-ifup.j2": "\n{{ nothing }}",
    }
    with pytest.raises(Problems) as caught:
        files(layout(LAN, LAB), broken, None)

    assert [p.what.partition(" cannot")[0] for p in caught.value.problems] == [
        "template interfaces.ifupdown.j2, line 1,",
        "template qemu-ifup.j2, line 2,",
        "template qemu-ifup.j2, line 2,",
    ]


@pytest.mark.parametrize("style", ["ifupdown", "networkd", "legacy"])
def test_an_own_template_without_our_mark_gets_it(style: str) -> None:
    bare = {name: "#!/bin/sh\n" if "qemu" in name else "plain\n" for name in TEMPLATES}
    written = applied({}, files(layout(LAN, style=style), bare, None))

    assert all(is_ours(text) for text in written.values())
    assert written["/etc/qemu-ifup.1"].startswith("#!/bin/sh\n# rendered")


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ((LAN, CLUSTER), {}),
        (
            (LAN, replace(CLUSTER, mtu=9000)),
            {"eth0": 9000, "vmbr": 1500, "vmbr.999": 9000, "eth0.999": 9000},
        ),
        ((replace(LAN, mtu=9000),), {"eth0": 9000, "vmbr": 9000}),
        ((replace(LAN, mtu=1400),), {"vmbr": 1400}),
        ((LAN, replace(LAB, mtu=1400)), {"vmbr.1001": 1400, "eth0.1001": 1400}),
        (
            (*AWARE[:2], replace(AWARE[2], mtu=9000)),
            {"eth0": 9000, "br0": 9000, "br0.9": 1500, "br0.10": 9000},
        ),
        ((OVERLAY,), {"vmbr.5": 1450, "vxlan5": 1450}),
        ((replace(OVERLAY, remotes=("2001:db8::2",)),), {"vmbr.5": 1430, "vxlan5": 1430}),
    ],
)
def test_the_uplink_carries_the_largest_and_the_others_keep_theirs(
    networks: tuple[Network, ...], expected: dict[str, int]
) -> None:
    assert sizes.mtus(layout(*networks)) == expected


@pytest.mark.parametrize(
    ("network", "held", "used_free"),
    [
        (Network(id=1, name="a"), {"192.0.2.1"}, (None, None)),
        (Network(id=1, name="a", range="192.0.2.10-192.0.2.19"), set(), (0, 10)),
        (
            Network(id=1, name="a", range="192.0.2.10-192.0.2.19"),
            {"192.0.2.10", "192.0.2.19", "192.0.2.20", "2001:db8::1"},
            (2, 8),
        ),
        (
            Network(
                id=1,
                name="a",
                range="192.0.2.10-192.0.2.19",
                exclude=("192.0.2.1-192.0.2.12", "192.0.2.12-192.0.2.13", "192.0.2.99", "::1"),
            ),
            {"192.0.2.11", "192.0.2.15"},
            (2, 5),
        ),
        (Network(id=1, name="a", range6="2001:db8::1-2001:db8::f"), {"2001:db8::2"}, (1, 14)),
    ],
)
def test_what_is_free_is_the_range_without_what_is_held_or_excluded(
    network: Network, held: set[str], used_free: tuple[int | None, int | None]
) -> None:
    assert usage.of(network, held) == used_free
