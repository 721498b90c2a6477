from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning import facts, ground
from tashictl.planning.facts import Probe
from tashictl.planning.frames import Section
from tashictl.planning.ground import Folder, Ground
from tests.planning.cases import SETTINGS

GOLDEN = Path(__file__).parent / "golden" / "facts"  # captured on a host of the lab
NONCE = "00112233aabbccdd"
NOW = datetime(2026, 11, 26, 2, 30, tzinfo=UTC)


def seen(name: str) -> Ground:
    reading = facts.read((GOLDEN / f"{name}.txt").read_bytes(), NONCE, NOW)
    assert reading is not None
    assert reading.ground is not None
    return reading.ground


def told(*lines: str) -> Ground:
    found = ground.read(Section(kind="B", words=("ground",), text="\n".join(lines)))
    assert found is not None
    return found


def test_a_root_login_is_read() -> None:
    found = seen("root")

    assert (found.uid, found.user, found.sudo, found.net_admin) == (0, "root", False, True)
    assert (found.tun, found.forwarding, found.relay, found.systemd) == ("usable", "yes", "", False)
    assert found.available_mib > 1000
    assert set(found.folders) == {"lib", "run", "images"}
    lib = found.folders["lib"]
    assert (lib.at, lib.writable, lib.kind) == ("/var/lib/tashi", True, "overlayfs")
    assert lib.free_mib is not None and lib.free_mib > 1000


def test_a_login_that_became_root_keeps_its_name() -> None:
    found = seen("sudo")

    assert (found.uid, found.user, found.sudo) == (0, "ops", True)


def test_a_login_without_root_is_read() -> None:
    found = seen("no-root")

    assert (found.uid, found.user, found.net_admin) == (6002, "noroot", False)
    assert not any(folder.writable for folder in found.folders.values())


def test_nothing_is_read_where_nothing_was_asked() -> None:
    assert ground.read(None) is None


def test_systemd_is_read() -> None:
    found = told("systemd 1", "kill_user b true", "linger 1")

    assert (found.systemd, found.kills_at_logout, found.lingers) == (True, True, True)
    assert not told("systemd 1", "kill_user b false").kills_at_logout
    assert not told("systemd 1", "kill_user ").kills_at_logout


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        (
            "folder lib yes 2048 ext2/ext3 /a b",
            Folder(at="/a b", writable=True, free_mib=2, kind="ext2/ext3"),
        ),
        (
            "folder lib no x unknown /",
            Folder(at="/", writable=False, free_mib=None, kind="unknown"),
        ),
        ("folder lib", None),
        ("folder lib yes 1", None),
    ],
)
def test_a_folder_is_read_or_left_out(line: str, folder: Folder | None) -> None:
    assert told(line).folders.get("lib") == folder


@given(st.lists(st.text(max_size=40), max_size=20))
def test_no_answer_makes_it_raise(lines: list[str]) -> None:
    words = ("uid ", "caps ", "folder ", "folder lib yes ", "kill_user ", "available_kib ", "")
    for word in words:
        told(*(f"{word}{line}" for line in lines))


def test_it_is_asked_together_with_kvm_and_the_clock_last() -> None:
    asked = facts.script(Probe(settings=SETTINGS, cpu="x"), NONCE).text
    unasked = facts.script(Probe(settings=SETTINGS, cpu="x", kvm=False), NONCE).text

    assert "say B ground" in asked
    assert "say B ground" not in unasked
    for text in (asked, unasked):
        assert text.rindex("say B clock") > text.rindex("say B vm")


def test_the_offset_is_that_of_the_look_at_the_end() -> None:
    late = int(NOW.timestamp()) + 90
    out = f"\n@{NONCE} B basics\ntime 1\n\n@{NONCE} B clock\ntime {late}\n\n@{NONCE} Z\n".encode()

    reading = facts.read(out, NONCE, NOW)

    assert reading is not None
    assert reading.facts.clock_offset_s == 90


@pytest.mark.parametrize("user", ["ops; rm -rf /", "$(id)", "x'", "-u", ""])
def test_a_name_that_is_none_is_in_no_line_that_somebody_types(user: str) -> None:
    assert told(f"user {user}").user == "the-login"


@pytest.mark.parametrize("user", ["ops", "_apt", "first.last", "me@example.org", "WIN$"])
def test_names_of_users_are_read(user: str) -> None:
    assert told(f"user {user}").user == user
