"""What a look at a host's network says, and that nothing odd in it is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tashictl.model.net import Address, DhcpClient, HostNet, Lease, Link, Picture
from tashictl.planning.net import look
from tests.planning.net.shown import answer
from tests.planning.net.test_change import pictures

NONCE = "00112233aabbccdd"


@given(pictures())
def test_a_picture_is_read_as_it_is(picture: Picture) -> None:
    clients = tuple(replace(c, pid=7) for c in picture.clients)
    picture = replace(picture, clients=clients)
    seen = look.read(answer(HostNet(picture=picture), NONCE), NONCE)

    assert seen is not None
    assert seen.picture == picture


def test_what_the_kernel_and_routers_make_by_themselves_is_no_route_of_ours() -> None:
    raw = answer(HostNet(picture=Picture(links=(Link(name="eth0"),))), NONCE)
    odd = (
        b'[{"dst":"10.0.0.0/24","dev":"eth0","protocol":"kernel"},'
        b'{"dst":"default","dev":"eth0","protocol":"ra"},{"dst":"blackhole"},{}]'
    )
    seen = look.read(raw.replace(b"B routes4\n[]", b"B routes4\n" + odd), NONCE)

    assert seen is not None and seen.picture.routes == ()


def test_leases_of_networkd_are_read_and_odd_lines_are_none() -> None:
    leases = (
        Lease(device="eth0", address="192.0.2.7", client="ff405663a200020000ab11"),
        Lease(device="eth1", address="192.0.2.8"),
    )
    raw = answer(HostNet(picture=Picture(), leases=leases), NONCE)
    seen = look.read(raw.replace(b"lease eth0", b"lease\nlease eth2\nlease eth0"), NONCE)

    assert seen is not None
    assert seen.leases == leases


def test_a_file_comes_byte_for_byte_with_its_mode() -> None:
    files = {"/etc/network/interfaces": "auto lo\n\n@x Z\n", "/etc/network/interfaces.d/a b": "x"}
    net = HostNet(picture=Picture(), files=files, modes={"/etc/network/interfaces": 0o600})
    seen = look.read(answer(net, NONCE), NONCE)

    assert seen is not None
    assert seen.files == files
    assert seen.modes["/etc/network/interfaces"] == 0o600


@given(st.integers(0, 2000))
def test_an_answer_that_was_cut_short_says_nothing(length: int) -> None:
    whole = answer(HostNet(picture=Picture(links=(Link(name="eth0"),))), NONCE)

    assert look.read(whole[: min(length, len(whole) - 2)], NONCE) is None


def test_a_host_whose_ip_knows_no_json_is_not_guessed_at() -> None:
    whole = answer(HostNet(picture=Picture()), NONCE)
    broken = whole.replace(b"B links\n[", b'B links\nOption "-j" is unknown\n[')

    assert look.read(broken, NONCE) is None


def test_addresses_of_one_link_alone_are_not_looked_at() -> None:
    link = Link(name="eth0", addresses=(Address(cidr="10.0.0.5/24", dynamic=True),))
    seen = look.read(answer(HostNet(picture=Picture(links=(link,))), NONCE), NONCE)

    assert seen is not None and seen.picture.links == (link,)


def test_a_client_of_an_interface_that_is_not_there_is_none_of_ours() -> None:
    client = DhcpClient(device="eth7", argv=("dhclient", "eth7"), pid=3)
    net = HostNet(picture=Picture(links=(Link(name="eth0"),), clients=(client,)))
    seen = look.read(answer(net, NONCE), NONCE)

    assert seen is not None and seen.picture.clients == ()


def test_what_is_in_flight_is_read_with_the_time_that_is_left() -> None:
    shown = {
        "place": "pending",
        "token": "t1",
        "stage": "applied",
        "who": "dev@desk",
        "left": "41",
        "timer": "alive",
    }
    seen = look.read(answer(HostNet(picture=Picture()), NONCE, shown), NONCE)

    assert seen is not None and seen.pending is not None
    assert (seen.pending.token, seen.pending.stage, seen.pending.left_s) == ("t1", "applied", 41.0)
    assert seen.pending.alive and seen.pending.active
