"""The scripts of dnsmasq's folders as text, and what is read from their answers.

What the scripts do is shown by real shells (tests/live/test_script_dnsmasq.py), whose answers are
the golden ones here.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.errors import TashiError
from tashictl.model.naming import DhcpEntry, DnsmasqFolders
from tashictl.model.settings import DhcpSettings, Settings
from tashictl.planning import dnsmasq, dnsmasq_look

GOLDEN = Path(__file__).parent / "golden" / "dnsmasq"
NONCE = "00112233aabbccdd"
SETTINGS = Settings(
    dhcp=DhcpSettings(dnsmasq_leases_dir="/etc/ho sts", dnsmasq_names_dir="/etc/names")
)


def entry(**values: Any) -> DhcpEntry:
    usual: dict[str, Any] = {
        "driver": "dnsmasq",
        "network": 7,
        "name": "web",
        "mac": "52:54:00:00:00:01",
        "addresses": ("172.16.7.1", "2001:db8::1"),
        "owner": "tashictl:0123456789ab:u1",
        "fqdn": "web.cloud.test",
    }
    return DhcpEntry(**{**usual, **values})


SIX = tuple((entry(name=f"vm{n}"), n < 5) for n in range(1, 7))


def read(
    text: bytes, changes: tuple[tuple[DhcpEntry, bool], ...] = SIX
) -> list[TashiError | None] | None:
    return dnsmasq.read(text, NONCE, changes, SETTINGS, "node1")


def answer(*lines: str, end: str = f"\n@{NONCE} Z\n") -> bytes:
    text = "".join(f"{line}\n" for line in lines)
    return f"hello\n@{NONCE} B entries\n{text}{end}".encode()


def look(text: str) -> DnsmasqFolders:
    frames = [f"\n@{NONCE} B {name}\n" for name in ("server", "hosts", "names")]
    found = dnsmasq_look.read(
        f"{frames[0]}{frames[1]}{text}{frames[2]}\n@{NONCE} Z\n".encode(), NONCE
    )
    assert found is not None
    return found


def test_an_entry_is_a_line_of_a_script_that_may_begin_in_time() -> None:
    changes = ((entry(), True), (entry(name="db", fqdn="", addresses=("172.16.7.2",)), True))

    made = dnsmasq.script((*changes, (entry(name="old"), False)), SETTINGS, NONCE, 1772366400)

    assert (made.changing, made.nonce, made.timeout_s) == (True, NONCE, 60)
    for line in (
        "H='/etc/ho sts'\n",
        "D=/etc/names\n",
        "NOT_AFTER=1772366400\n",
        "ENTRIES='A 0 web tashictl:0123456789ab:u1 "
        "52:54:00:00:00:01,172.16.7.1,[2001:db8::1],web web.cloud.test\n"
        "A 1 db tashictl:0123456789ab:u1 52:54:00:00:00:01,172.16.7.2,db -\n"
        "X 2 old tashictl:0123456789ab:u1'\n",
    ):
        assert line in made.text


def test_a_look_is_read_only() -> None:
    assert not dnsmasq_look.listing(SETTINGS, NONCE).changing


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        ({"name": "Web"}, "a name is a-z"),
        ({"name": "a/b"}, "a name is a-z"),
        ({"name": "3d"}, "a lease time or a keyword"),
        ({"name": "ignore"}, "a lease time or a keyword"),
        ({"fqdn": "a b.test"}, "no name for DNS"),
        ({"mac": "52:54:00:00:00:01,ignore"}, "no MAC"),
        ({"mac": "52:54:00:00:00:0A"}, "no MAC"),
        ({"owner": "somebody"}, "no owner's mark"),
        ({"owner": "tashictl:a b:u"}, "no owner's mark"),
        ({"owner": "tashictl:a:u\nx"}, "no owner's mark"),
        ({"addresses": ()}, "it has no address"),
        ({"addresses": ("172.16.7.1", "172.16.7.2")}, "at most one IPv4"),
        ({"addresses": ("172.16.7.1/16",)}, "172.16.7.1/16"),
        ({"addresses": ("fe80::1%eth0",)}, "with a zone"),
    ],
)
def test_what_dnsmasq_cannot_carry_is_said_and_not_sent(values: dict[str, Any], cause: str) -> None:
    bad = entry(**values)

    made = dnsmasq.script(((bad, True), (bad, False), (entry(), True)), SETTINGS, NONCE, 0)

    assert "ENTRIES='A 2 web " in made.text
    results = read(answer("2 done"), ((bad, True), (bad, False), (entry(), True)))
    assert results is not None
    error, removal, good = results
    assert error is not None and (error.code, removal, good) == ("E-DHCP-ENTRY", None, None)
    assert cause in error.cause


@pytest.mark.parametrize("name", ["d", "m1", "1hour", "infinite1", "a1d", "x--y"])
def test_names_that_only_look_like_lease_times_are_carried(name: str) -> None:
    assert dnsmasq.problem(entry(name=name)) is None


def test_the_golden_answer_of_all_shells() -> None:
    results = read((GOLDEN / "change.txt").read_bytes().replace(b"\n0 same", b"\n0 done"))

    assert results is not None
    same, foreign, taken, *others = results
    assert (same, others) == (None, [None] * 3)
    assert foreign is not None and taken is not None
    assert foreign.what == "/etc/ho sts/vm2 on node1 is not ours"
    assert foreign.cause == "it belongs to tashictl:0123456789ab:2"
    assert taken.what == "vm3's MAC stands already in /etc/ho sts/by hand on node1"
    assert taken.cause == "its first line is no owner's mark"
    assert taken.hint == "cat '/etc/ho sts/by hand'"
    assert {foreign.exit_code, taken.exit_code} == {5}


def test_an_answer_that_is_cut_anywhere_is_none() -> None:
    for name in ("change", "listing"):
        whole = (GOLDEN / f"{name}.txt").read_bytes().rstrip(b"\n")
        for end in range(len(whole)):
            part = whole[:end]
            assert (read(part) if name == "change" else dnsmasq_look.read(part, NONCE)) is None


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ("late 1772366400", "E-LATE", "node1 refused: 1772366400"),
        ("busy /etc/ho sts", "E-BUSY", "node1 refused: /etc/ho sts"),
        ("folder /etc/ho sts", "E-FOLDER", "read-only or not permitted"),
        ("", "E-REFUSED", "node1 refused"),
        ("odd", "E-REFUSED", "odd"),
    ],
)
def test_a_refusal_holds_for_all_entries(words: str, code: str, text: str) -> None:
    results = read(f"\n@{NONCE} R {words}\n\n@{NONCE} Z\n".encode())

    assert results is not None and len(results) == 6
    for error in results:
        assert error is not None and error.code == code
        assert text in f"{error.what} {error.cause}"


def test_no_room_names_the_folder() -> None:
    results = read(answer("0 full"), SIX[:1])

    assert results is not None and results[0] is not None
    assert (results[0].code, results[0].exit_code) == ("E-NO-SPACE", 1)
    assert "/etc/ho sts on node1 is full" in results[0].cause


def test_an_entry_of_which_nothing_is_said_is_no_whole_answer() -> None:
    assert read(answer("0 done"), SIX[:2]) is None
    odd = read(answer("0 odd things"), SIX[:1])
    assert odd is not None and odd[0] is not None and odd[0].code == "E-DHCP-ANSWER"


def test_another_nonce_is_noise() -> None:
    assert read(answer("0 done").replace(NONCE.encode(), b"ffffffffffffffff"), SIX[:1]) is None


@given(st.lists(st.text(max_size=30), max_size=8), st.binary(max_size=40))
def test_no_answer_makes_it_raise(lines: list[str], junk: bytes) -> None:
    words = ("", "0 ", "0 foreign ", "0 taken ", "0 foreign - H ", "9999999999999 done")
    for word in words:
        read(junk + answer(*(word + line for line in lines)), SIX[:1])
    dnsmasq_look.read(junk + answer(*lines), NONCE)
    look("".join(f"{line}\n" for line in lines))


LABELS = st.from_regex(r"[a-z][a-z-]{0,9}[a-z]", fullmatch=True)
ENTRIES = st.builds(
    entry,
    name=LABELS.filter(lambda name: name not in ("ignore", "infinite")),
    mac=st.from_regex(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", fullmatch=True),
    addresses=st.tuples(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)),
    network=st.integers(0, 4000),
)


@given(
    st.lists(ENTRIES, unique_by=lambda one: one.name, max_size=5), st.text("\t# ,a:1\r", max_size=9)
)
def test_what_is_written_is_read_again(entries: list[DhcpEntry], foreign: str) -> None:
    text = "".join(
        f"{e.name}\t\n{e.name}\t# {e.owner}\n{e.name}\t{dnsmasq.host_line(e)}\n" for e in entries
    )

    hosts = look(f"by hand\t\nby hand\t{foreign}\n{text}").hosts

    ours = [host for host in hosts if host.file != "by hand"]
    assert [(h.file, h.owner, h.mac, h.name) for h in ours] == [
        (e.name, e.owner, e.mac, e.name) for e in entries
    ]
    assert [h.addresses for h in ours] == [
        tuple(str(ip_address(a)) for a in e.addresses) for e in entries
    ]


@pytest.mark.parametrize(
    ("first", "owner"),
    [
        ("# tashictl:c:u", "tashictl:c:u"),
        ("#tashictl:c:u", ""),
        ("# tashictl:c", ""),
        ("", ""),
        ("# by hand", ""),
        ("02:00:00:00:00:09,x", ""),
    ],
)
def test_only_the_first_line_says_the_owner(first: str, owner: str) -> None:
    found = look(f"f\t\nf\t{first}\nf\t# tashictl:other:u\nf\t02:00:00:00:00:01,a\n")

    assert found.hosts[-1].owner == owner


def test_a_line_with_a_tag_is_told() -> None:
    found = look("f\t\nf\t02:00:00:00:00:01, set:x,a\nf\t02:00:00:00:00:02,a\n")

    assert [host.tagged for host in found.hosts] == [True, False]


def test_what_the_server_does_is_read() -> None:
    text = "running\nwatcher 12\nwatcher 13\nwatcher x\npid 12\ndue\nmissing /a b\n"
    frames = "".join(f"\n@{NONCE} B {name}\n" for name in ("hosts", "names"))

    found = dnsmasq_look.read(f"\n@{NONCE} B server\n{text}{frames}\n@{NONCE} Z\n".encode(), NONCE)

    assert found == DnsmasqFolders(
        watchers=(12, 13), by_pid_file=12, running=True, due=True, missing=("/a b",)
    )
