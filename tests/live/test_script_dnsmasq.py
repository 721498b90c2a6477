"""The script that changes dnsmasq's folders, by real shells; dnsmasq is in test_dnsmasq.py."""

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tashictl.model.naming import DnsmasqHost, DnsmasqName
from tashictl.planning import dnsmasq, dnsmasq_look
from tests.live.ground import Ground
from tests.live.hostsdir import NONCE, Site, codes, entry, owner, texts

GOLDEN = Path(__file__).parents[1] / "planning" / "golden" / "dnsmasq"
DUE = {".tashictl.hup": ""}  # no dnsmasq runs here that could be told


@pytest.fixture
def site(ground: Ground) -> Site:
    return Site(ground)


ONE = f"# {owner(1)}\n02:16:00:00:00:01,172.16.7.1,[2001:db8::1],vm1\n"
ONE_NAMES = f"# {owner(1)}\n172.16.7.1 vm1.cloud.test\n2001:db8::1 vm1.cloud.test\n"


def test_an_entry_is_a_file_in_each_folder_and_goes_again(site: Site) -> None:
    assert site.add(entry(1)) == [None]

    assert (texts(site.hosts), texts(site.names)) == ({"vm1": ONE}, {"vm1": ONE_NAMES})
    for folder in (site.hosts, site.names):
        assert folder.stat().st_mode & 0o7777 == 0o755
        assert (folder / "vm1").stat().st_mode & 0o7777 == 0o644
    assert site.remove(entry(1)) == [None]
    assert (texts(site.hosts), texts(site.names)) == (DUE, {})


def test_what_is_so_already_is_not_written_again(site: Site) -> None:
    site.add(entry(1))
    before = _made(site.hosts / "vm1")

    assert site.add(entry(1), entry(1)) == [None, None]

    assert _made(site.hosts / "vm1") == before
    assert site.remove(entry(1)) == site.remove(entry(1)) == [None]


def _made(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_ctime_ns


def test_what_is_ours_may_change(site: Site) -> None:
    site.add(entry(1))

    assert site.add(entry(1, addresses=("172.16.7.99",), fqdn="")) == [None]

    line = "02:16:00:00:00:01,172.16.7.99,vm1"
    assert texts(site.hosts) == {**DUE, "vm1": f"# {owner(1)}\n{line}\n"}
    assert texts(site.names) == {}


def test_without_a_folder_of_names_only_leases_are_written(site: Site) -> None:
    folders = site.without_names()

    assert folders.add(entry(1)) == [None]

    assert texts(site.hosts) == {"vm1": ONE}
    assert not site.names.exists()
    assert (folders.look().names, folders.look().missing) == ((), ())
    assert folders.remove(entry(1)) == [None]
    assert texts(site.hosts) == DUE


@pytest.mark.parametrize(
    ("text", "whose"),
    [
        (ONE.replace(owner(1), owner(2)), f"it belongs to {owner(2)}"),
        (ONE.replace(owner(1), owner(1, "ffffffffffff")), owner(1, "ffffffffffff")),
        (ONE.partition("\n")[2], "no owner's mark"),
        (f"\n{ONE}", "no owner's mark"),
        (f"#{ONE[2:]}", "no owner's mark"),
        ("", "no owner's mark"),
    ],
)
def test_a_file_of_somebody_else_is_refused_named_and_left_alone(
    site: Site, text: str, whose: str
) -> None:
    site.hosts.mkdir(parents=True)
    (site.hosts / "vm1").write_text(text)

    (error,) = site.add(entry(1))

    assert error is not None
    assert (error.code, error.exit_code) == ("E-DHCP-FOREIGN", 5)
    assert f"{site.hosts}/vm1 on node1 is not ours" in error.what
    assert whose in error.cause
    # Not ours is gone already, as far as a removal goes.
    assert site.remove(entry(1)) == [None]
    assert (texts(site.hosts), texts(site.names)) == ({"vm1": text}, {})


def test_a_name_of_somebody_else_is_refused_too_and_leaves_no_lease(site: Site) -> None:
    site.names.mkdir()
    (site.names / "vm1").write_text("172.16.7.1 other\n")

    (error,) = site.add(entry(1))

    assert error is not None and f"{site.names}/vm1 on node1 is not ours" in error.what
    assert (texts(site.hosts), texts(site.names)) == ({}, {"vm1": "172.16.7.1 other\n"})


@pytest.mark.parametrize("made", ["folder", "link", "pipe"])
def test_what_is_no_file_is_not_ours(site: Site, made: str) -> None:
    site.hosts.mkdir(parents=True)
    there = site.hosts / "vm1"
    if made == "folder":
        there.mkdir()
    elif made == "link":
        there.symlink_to("nowhere")
    else:
        os.mkfifo(there)

    assert codes(site.add(entry(1))) == ["E-DHCP-FOREIGN"]
    assert site.remove(entry(1)) == [None]
    assert [p.name for p in site.hosts.iterdir()] == ["vm1"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("02:16:00:00:00:01,172.16.9.9,other", "vm1's MAC"),
        ("01-2:16:0:0:0:1,other", "vm1's MAC"),
        (" 02:16:00:00:00:01 , 172.16.9.9", "vm1's MAC"),
        ("02:AA:00:00:00:01,set:x,172.16.7.1", "vm1's address"),
        ("02:aa:00:00:00:01,[2001:0DB8:0:0::0001],other,12h", "vm1's address"),
        ("id:01:02,172.16.7.1", "vm1's address"),
        ("02:aa:00:00:00:01,172.16.9.9,VM1", "vm1's name"),
    ],
)
def test_the_same_mac_address_or_name_in_another_file_is_refused(
    site: Site, line: str, what: str
) -> None:
    site.hosts.mkdir(parents=True)
    text = f"# by hand\n\n#02:16:00:00:00:02,172.16.7.2\nother,172.16.8.8\n{line}"
    (site.hosts / "by hand").write_text(text)

    first, second = site.add(entry(1), entry(2))

    assert first is not None
    assert f"{what} stands already in {site.hosts}/by hand on node1" in first.what
    assert second is None
    assert sorted(texts(site.hosts)) == ["by hand", "vm2"]
    assert sorted(texts(site.names)) == ["vm2"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("172.16.9.9 VM1.cloud.test.", "vm1's name"),
        ("172.16.7.1 other", "vm1's address"),
        ("\t2001:db8:0::1   other other2 # vm9", "vm1's address"),
    ],
)
def test_a_name_or_address_that_another_file_of_names_has_is_refused(
    site: Site, line: str, what: str
) -> None:
    site.names.mkdir()
    (site.names / "by-hand").write_text(f"# vm2.cloud.test\n172.16.8.8 x # vm2.cloud.test\n{line}")

    first, second = site.add(entry(1), entry(2))

    assert first is not None and f"{what} stands already in {site.names}/by-hand" in first.what
    assert second is None


def test_changes_of_one_script_happen_in_their_order(site: Site) -> None:
    site.add(entry(1))
    again = entry(2, mac=entry(1).mac, addresses=entry(1).addresses)

    results = site.change(
        (again, True), (entry(1), False), (again, True), (entry(3), True), (entry(3), False)
    )

    assert codes(results) == ["E-DHCP-FOREIGN", "", "", "", ""]
    assert sorted(texts(site.hosts)) == [".tashictl.hup", "vm2"]


def test_two_entries_of_one_script_do_not_get_one_address(site: Site) -> None:
    twin = entry(2, addresses=entry(1).addresses, fqdn="")

    assert codes(site.add(entry(1), twin)) == ["", "E-DHCP-FOREIGN"]
    assert sorted(texts(site.hosts)) == ["vm1"]


def test_what_dnsmasq_cannot_carry_stops_nothing_else(site: Site) -> None:
    names = ("1h", "ignore", "infinite", "12", "a,b", "../x", ".x", "x\ny", "", "a" * 64)
    bad = [entry(9, name=name) for name in names]

    results = site.change(*((one, True) for one in bad), (entry(1), True), (bad[0], False))

    assert codes(results) == ["E-DHCP-ENTRY"] * len(bad) + ["", ""]
    assert sorted(texts(site.hosts)) == ["vm1"]


def test_the_script_waits_for_its_turn_and_gives_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dnsmasq, "LOCK_WAIT_S", 0)
    site.add(entry(1))
    turn = _lock(site.hosts)

    (error,) = site.add(entry(2))

    os.close(turn)
    assert error is not None and error.code == "E-BUSY"
    assert sorted(texts(site.hosts)) == ["vm1"]


def _lock(folder: Path) -> int:
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_two_scripts_at_once_do_not_give_one_address_twice(site: Site) -> None:
    same = [entry(n, addresses=("172.16.7.1",), fqdn="") for n in range(8)]
    results: list[str] = []

    threads = [
        threading.Thread(target=lambda one=one: results.extend(codes(site.add(one))))
        for one in same
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["", *["E-DHCP-FOREIGN"] * 7]
    assert len(texts(site.hosts)) == 1


def test_too_late_changes_nothing(site: Site) -> None:
    assert codes(site.change((entry(1), True), late=True)) == ["E-LATE"]

    assert not site.hosts.exists()


# -- a disk that is full, or cannot be written


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A folder of memory."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "x", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def small(site: Site) -> Iterator[Site]:
    """Folders on a small disk; one entry is there."""
    with disk(site.hosts, "64k"):
        assert site.add(entry(1)) == [None]
        yield site


def test_a_full_disk_leaves_nothing_half_and_takes_removals(small: Site) -> None:
    (small.hosts / ".filler").write_bytes(b"x" * 1024 * 44)  # for some of them there is room
    many = [entry(n) for n in range(2, 30)]

    results = small.change(*((one, True) for one in many), (entry(1), True))

    assert codes(results) == ["E-NO-SPACE"] * len(many) + [""]
    assert sorted(texts(small.hosts)) == [".filler", "vm1"]
    assert texts(small.names) == {"vm1": ONE_NAMES}
    assert codes(small.change((entry(1), False), *((one, True) for one in many)))[0] == ""
    assert "vm1" not in texts(small.hosts) | texts(small.names)
    (small.hosts / ".filler").unlink()
    assert small.add(entry(2)) == [None]


def test_where_nothing_can_be_written_nothing_is_said_to_be_done(small: Site) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small.hosts], check=True)

    assert codes(small.add(entry(2), entry(1))) == ["E-NO-SPACE", ""]
    assert codes(small.remove(entry(1))) == ["E-FOLDER"]
    subprocess.run(["mount", "-o", "remount,rw", small.hosts], check=True)
    assert texts(small.hosts) == {"vm1": ONE}


# -- killed


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_script_that_is_killed_leaves_whole_files_and_the_next_one_ends_it(
    site: Site, moment: str
) -> None:
    if site.ground.shell[0] == "busybox":
        pytest.skip("it takes its own mv")
    site.add(entry(1))
    real = '/bin/mv "$@"\n' if moment == "after" else ""
    site.ground.tool("mv", f"#!/bin/sh\n{real}kill -KILL $PPID\n")
    changed = entry(1, addresses=("172.16.7.99",), fqdn="")
    with pytest.raises(AssertionError):
        site.change((changed, True), (entry(2), True))
    (site.ground.bin / "mv").unlink()
    time.sleep(0.1)

    there = {name: text for name, text in texts(site.hosts).items() if name != ".tashictl.new"}
    assert ".tashictl.hup" in there
    assert there["vm1"] == ONE or moment == "after"
    assert site.change((changed, True), (entry(2), True)) == [None, None]
    assert sorted(texts(site.hosts)) == [".tashictl.hup", "vm1", "vm2"]


def test_nobody_but_a_dnsmasq_gets_a_signal(site: Site) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        for text in (f"{other.pid}\n", f"-{other.pid}", "", "1 2", "x; kill 1"):
            site.pid_file.write_text(text)
            site.add(entry(1))
            assert site.remove(entry(1)) == [None]
        time.sleep(0.1)
        assert other.poll() is None
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()


# -- looks


def test_a_look_says_what_lies_there_and_changes_nothing(site: Site) -> None:
    assert site.look().missing == (str(site.hosts), str(site.names))
    site.add(entry(1), entry(2))
    (site.hosts / "by hand").write_text("# tashictl:x\n\n# y\n02:AA:00:00:00:1,10.0.0.1,Box,12h\nz")
    (site.hosts / "empty").write_text("")
    (site.names / "by hand").write_text("10.0.0.1 box box.test. # no\nnonsense\n")
    before = [_made(p) for p in sorted(site.hosts.iterdir())]

    seen = site.look()

    assert [_made(p) for p in sorted(site.hosts.iterdir())] == before
    assert seen.hosts == (
        DnsmasqHost(file="by hand", owner="", addresses=("10.0.0.1",), name="box", mac=HAND),
        DnsmasqHost(file="by hand", owner="", name="z"),
        *(
            DnsmasqHost(
                file=one.name, owner=one.owner, mac=one.mac, addresses=one.addresses, name=one.name
            )
            for one in (entry(1), entry(2))
        ),
    )
    assert seen.names == (
        DnsmasqName(file="by hand", owner="", address="10.0.0.1", name="box"),
        DnsmasqName(file="by hand", owner="", address="10.0.0.1", name="box.test"),
        *(
            DnsmasqName(file=one.name, owner=one.owner, address=address, name=one.fqdn)
            for one in (entry(1), entry(2))
            for address in one.addresses
        ),
    )
    assert (seen.watchers, seen.by_pid_file, seen.due, seen.missing) == ((), None, False, ())


HAND = "02:aa:00:00:00:01"


def test_every_shell_answers_with_the_same_words(site: Site) -> None:
    site.add(entry(1), entry(2), entry(5))
    (site.hosts / "by hand").write_text("02:16:00:00:00:03,box\n")
    changes = (
        (entry(1), True),
        (entry(2, owner=owner(9)), True),
        (entry(3), True),
        (entry(4), True),
        (entry(5), False),
        (entry(6), False),
    )

    answer = site.shell(site.script(*changes))
    seen = site.shell(dnsmasq_look.listing(site.settings, NONCE).text)

    for name, text in (("change", answer), ("listing", seen)):
        # Whether some dnsmasq runs on this machine is not the test's.
        plain = text.decode().replace("running\n", "")
        golden = GOLDEN / f"{name}.txt"
        if "REWRITE_GOLDEN" in os.environ:
            golden.parent.mkdir(exist_ok=True)
            golden.write_text(plain)
        assert plain == golden.read_text()


def test_a_thousand_entries_are_one_script(site: Site) -> None:
    many = [entry(n) for n in range(1000)]
    with disk(site.hosts, "16m"), disk(site.names, "16m"):
        assert site.add(*many) == [None] * 1000

        assert len(texts(site.hosts)) == len(texts(site.names)) == 1000
        assert site.remove(*many) == [None] * 1000
        assert (texts(site.hosts), texts(site.names)) == (DUE, {})


def test_a_look_does_not_wait_for_a_script(site: Site) -> None:
    site.add(entry(1))

    turn = _lock(site.hosts)

    assert len(site.look().hosts) == 1
    os.close(turn)
