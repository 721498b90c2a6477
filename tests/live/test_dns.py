"""A DNS server's records: ours come and go as a whole, and nobody else's is touched; real BIND."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.message
import pytest
from msgspec.structs import replace

from tashictl.adapters.dns.link import Link
from tashictl.adapters.dns.server import DnsServer
from tashictl.errors import (
    Conflict,
    NotPermitted,
    OperationFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.naming import DnsEntry, DnsRecord
from tashictl.model.settings import DnsSettings, Secret, Server
from tests.live.conftest import give_up
from tests.live.lab import needs, place
from tests.live.lab.bind import Bind, Record, Zone
from tests.live.lab.tsig import Key

ZONE, NETWORK, NETWORK_V6 = "cloud.test", "172.16.0.0/16", "2001:db8::/32"
OURS = "tashictl:0123456789ab:9b2f6a34-0000-4000-8000-00000000000"
THEIRS = "tashictl:ba9876543210:9b2f6a34-0000-4000-8000-000000000009"
PATIENT_S = 60.0  # for what does answer, on a machine with other work
IMPATIENT_S = 1.0


@pytest.fixture(scope="module", autouse=True)
def tools(machine: None) -> None:
    """Skips where a server is missing."""
    lacking = needs.missing_for_names()
    if lacking:
        give_up(needs.explain(lacking))


@pytest.fixture(scope="module")
def key() -> Key:
    return Key.generate("tashi", "hmac-md5")


@pytest.fixture(scope="module")
def newer_key() -> Key:
    return Key.generate("newer", "hmac-sha256")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, key: Key, newer_key: Key) -> Iterator[Bind]:
    zones = (
        ZONE,
        NETWORK,
        NETWORK_V6,
        Zone("newer.test", ("newer",), ("newer",)),
        Zone("big.test"),
    )
    with Bind(tmp_path_factory.mktemp("named"), zones, (key, newer_key)) as bind:
        yield bind


@pytest.fixture
def bind(running: Bind) -> Iterator[Bind]:
    """The one server of this module, up and without what a test before left."""
    if not running.up:
        running.start()
    running.thaw()
    yield running
    running.thaw()
    if not running.up:
        running.start()
    for zone in (ZONE, NETWORK, NETWORK_V6):
        left = {r.name for r in running.records(zone)} - {f"ns.{ZONE}."}
        running.drop(zone, *left)


@pytest.fixture
def server(bind: Bind, key: Key) -> DnsServer:
    return DnsServer(settings(bind, key))


def settings(bind: Bind, key: Key, **changes: object) -> DnsSettings:
    made = DnsSettings(
        server=Server(host=bind.server, port=bind.port),
        key_name=key.name,
        secret_key=Secret(key.secret),
        key_algorithm=key.algorithm,
        timeout_s=PATIENT_S,
    )
    return replace(made, **changes)


def entry(name: str, *addresses: str, number: int = 1, reverse: bool = True) -> DnsEntry:
    return DnsEntry(
        name=f"{name}.{ZONE}",
        addresses=addresses,
        owner=f"{OURS}{number}",
        ttl_s=90,
        reverse=reverse,
    )


WEB = entry("web", "172.16.7.7", "2001:db8::7")
WEB_V6_NAME = f"7.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa."


def everything(bind: Bind) -> set[Record]:
    found = {r for zone in (ZONE, NETWORK, NETWORK_V6) for r in bind.records(zone)}
    return {record for record in found if record.name != f"ns.{ZONE}."}


def codes(results: Sequence[TashiError | None]) -> list[str]:
    return [error.code if error is not None else "" for error in results]


def one(results: Sequence[TashiError | None]) -> TashiError:
    (error,) = results
    assert error is not None
    return error


# what is ours


def test_a_name_and_its_addresses_come_and_go_as_a_whole_and_twice_is_once(
    bind: Bind, server: DnsServer
) -> None:
    mark = f'"{WEB.owner}"'
    wanted = {
        Record("web.cloud.test.", 90, "A", "172.16.7.7"),
        Record("web.cloud.test.", 90, "AAAA", "2001:db8::7"),
        Record("_tashictl.web.cloud.test.", 90, "TXT", mark),
        Record("7.7.16.172.in-addr.arpa.", 90, "PTR", "web.cloud.test."),
        Record("_tashictl.7.7.16.172.in-addr.arpa.", 90, "TXT", mark),
        Record(WEB_V6_NAME, 90, "PTR", "web.cloud.test."),
        Record(f"_tashictl.{WEB_V6_NAME}", 90, "TXT", mark),
    }

    for _ in range(2):
        assert server.add([WEB]) == [None]
        assert everything(bind) == wanted
        assert bind.dig("web.cloud.test") == ("172.16.7.7",)
        assert bind.dig_x("172.16.7.7") == bind.dig_x("2001:db8::7") == ("web.cloud.test.",)
    for _ in range(2):
        assert server.remove([WEB]) == [None]
        assert everything(bind) == set()


def test_a_part_of_an_entry_may_be_of_one_zone_alone(bind: Bind, server: DnsServer) -> None:
    pointer = replace(WEB, addresses=("172.16.7.7",), forward=False)
    name = replace(WEB, reverse=False)
    assert server.add([WEB]) == [None]
    whole = everything(bind)
    mine = {r for r in whole if r.name.endswith("7.7.16.172.in-addr.arpa.")}

    assert server.remove([pointer]) == [None]
    assert everything(bind) == whole - mine
    assert server.add([pointer]) == [None]
    assert everything(bind) == whole
    assert server.remove([name]) == [None]
    assert {r.name for r in everything(bind) if "arpa" not in r.name} == set()
    assert mine <= everything(bind)
    assert server.add([name]) == [None]
    assert everything(bind) == whole


def test_a_key_of_each_algorithm_and_each_form_opens_the_zone(bind: Bind, tmp_path: Path) -> None:
    keys = [Key.generate(f"k-{name}", name) for name in ("hmac-sha1", "hmac-sha512")]
    keys += [Key.generate("k-md5", "hmac-md5"), Key.generate("k-sha256", "hmac-sha256")]
    with Bind(tmp_path / "named", (ZONE,), keys) as other:
        for number, one_key in enumerate(keys):
            files = (one_key.write_conf(tmp_path), one_key.write_pair(tmp_path))
            for file in (*files, files[1].with_suffix(".key")):
                file.chmod(0o600)
                known = DnsSettings(
                    server=Server(host="127.0.0.1", port=other.port),
                    key_file=str(file),
                    timeout_s=PATIENT_S,
                )
                web = entry(f"web{number}", "172.16.7.7", reverse=False)
                assert DnsServer(known).add([web]) == [None]
                assert DnsServer(known).remove([web]) == [None]


def test_what_was_changed_by_hand_is_put_right_where_the_mark_is_ours(
    bind: Bind, server: DnsServer
) -> None:
    server.add([WEB])
    bind.drop(ZONE, "web A")
    bind.put(ZONE, "web 60 A 172.16.0.1", 'web 60 TXT "of the operator"')
    bind.drop(NETWORK, "7.7 PTR")

    assert server.add([WEB]) == [None]

    assert bind.dig("web.cloud.test") == ("172.16.7.7",)
    assert bind.dig_x("172.16.7.7") == ("web.cloud.test.",)
    assert server.remove([WEB]) == [None]
    assert everything(bind) == {Record("web.cloud.test.", 60, "TXT", '"of the operator"')}


def test_only_these_values_go_and_a_rest_that_is_only_a_mark_goes_too(
    bind: Bind, server: DnsServer
) -> None:
    server.add([WEB])
    bind.put(ZONE, "web 90 A 172.16.0.1")
    bind.drop(NETWORK, "7.7 PTR")

    assert server.remove([WEB]) == [None]

    assert everything(bind) == {Record("web.cloud.test.", 90, "A", "172.16.0.1")}


def test_an_address_moves_with_its_name_where_the_mark_is_the_same(
    bind: Bind, server: DnsServer
) -> None:
    server.add([WEB])
    moved = replace(WEB, addresses=("172.16.7.8",))

    assert server.add([moved]) == [None]

    assert bind.dig("web.cloud.test") == ("172.16.7.8",)
    assert bind.dig("web.cloud.test", "AAAA") == ()
    assert server.remove([moved, WEB]) == [None, None]
    assert {r.name for r in everything(bind)} <= {
        f"{label}{name}"
        for label in ("", "_tashictl.")
        for name in ("7.7.16.172.in-addr.arpa.", WEB_V6_NAME)
    }


# what is not ours


@dataclass(frozen=True)
class Foreign:
    name: str
    lines: tuple[str, ...]
    zone: str = ZONE
    told: str = ""


FOREIGN = (
    Foreign("a CNAME", ("web 60 CNAME ns.cloud.test.",), told="CNAME ns.cloud.test"),
    Foreign("an A of the same value", ("web 60 A 172.16.7.7",), told="A 172.16.7.7"),
    Foreign("a TXT", ("web 60 TXT hello",), told="TXT hello"),
    Foreign(
        "another cluster's",
        ("web 60 A 172.16.0.9", f'_tashictl.web 60 TXT "{THEIRS}"'),
        told=f"_tashictl.web.cloud.test TXT {THEIRS}",
    ),
    Foreign("another mark alone", (f'_tashictl.web 60 TXT "{THEIRS}"',), told=THEIRS),
    Foreign("a PTR", ("7.7 60 PTR www.cloud.test.",), NETWORK, "PTR www.cloud.test"),
    Foreign("a PTR without a reason", ("7.7 60 PTR web.cloud.test.",), NETWORK, "PTR web"),
    Foreign("a CNAME in reverse", ("7.7 60 CNAME 7.0-31.7.16.172.in-addr.arpa.",), NETWORK, "31"),
)


@pytest.mark.parametrize("there", FOREIGN, ids=lambda there: there.name)
def test_what_somebody_else_has_there_is_named_and_left_alone(
    bind: Bind, server: DnsServer, there: Foreign
) -> None:
    bind.put(there.zone, *there.lines)
    before = everything(bind)

    error = one(server.add([WEB]))

    assert isinstance(error, Conflict)
    assert error.code == "E-DNS-FOREIGN"
    assert there.told in error.cause
    assert str(bind.port) in error.what
    # What was done of it before goes by a removal, and nothing else does.
    assert server.remove([WEB]) == [None]
    assert everything(bind) == before


def test_a_cname_in_place_of_the_address_is_foreign_also_beside_our_mark(
    bind: Bind, server: DnsServer
) -> None:
    server.add([WEB])
    bind.drop(ZONE, "web A", "web AAAA")
    bind.put(ZONE, "web 60 CNAME ns.cloud.test.")

    assert "CNAME" in one(server.add([WEB])).cause
    assert bind.dig("web.cloud.test", "CNAME") == ("ns.cloud.test.",)


def test_two_clusters_in_one_zone_do_not_take_each_others_name(
    bind: Bind, server: DnsServer
) -> None:
    other = replace(WEB, owner=THEIRS, addresses=("172.16.9.9",))
    assert server.add([WEB]) == [None]

    assert THEIRS not in one(server.add([other])).cause.split("; ours")[0]
    assert server.remove([other]) == [None]

    assert bind.dig("web.cloud.test") == ("172.16.7.7",)
    assert bind.dig_x("172.16.9.9") == ()


def test_the_same_name_or_address_twice_in_a_call_is_given_to_the_first(
    bind: Bind, server: DnsServer
) -> None:
    others = [
        replace(WEB, owner=f"{OURS}2", addresses=("172.16.7.8",)),
        entry("mail", "172.16.7.7", number=3),
    ]

    results = server.add([WEB, *others])

    assert codes(results) == ["", "E-DNS-FOREIGN", "E-DNS-FOREIGN"]
    assert bind.dig("web.cloud.test") == ("172.16.7.7",)
    assert bind.dig_x("172.16.7.7") == ("web.cloud.test.",)
    assert server.remove([*others, WEB]) == [None, None, None]
    assert everything(bind) == set()


def test_a_second_text_beside_our_mark_stops_a_removal_and_is_told(
    bind: Bind, server: DnsServer
) -> None:
    server.add([WEB])
    bind.put(ZONE, "_tashictl.web 90 TXT hello")

    error = one(server.remove([WEB]))

    assert isinstance(error, Conflict)
    assert "hello" in error.cause
    assert bind.dig("web.cloud.test") == ("172.16.7.7",)
    bind.drop(ZONE, "_tashictl.web TXT hello")
    assert server.remove([WEB]) == [None]
    assert everything(bind) == set()


# what the server does not take


def test_a_zone_that_is_not_there_is_an_error_before_anything_is_sent(
    bind: Bind, server: DnsServer
) -> None:
    nowhere = replace(WEB, name="web.nowhere.test")
    no_reverse = entry("web", "10.9.9.9")

    results = server.add([nowhere, no_reverse])

    assert codes(results) == ["E-DNS-ZONE", "E-DNS-ZONE"]
    assert isinstance(results[0], OperationFailed)
    assert "nowhere.test" in results[0].what
    assert results[1] is not None
    assert "10.9.9.9" in results[1].what
    assert "reverseDns" in results[1].hint
    assert everything(bind) == set()
    assert server.add([replace(no_reverse, reverse=False)]) == [None]
    assert server.remove([no_reverse]) == [None]
    assert everything(bind) == set()


def test_a_zone_of_the_settings_that_the_server_does_not_have_is_told(bind: Bind, key: Key) -> None:
    wrong = DnsServer(settings(bind, key, zones=("nowhere.test", "sub.cloud.test")))

    results = wrong.add(
        [
            replace(WEB, name="web.nowhere.test", reverse=False),
            replace(WEB, name="web.sub.cloud.test", reverse=False),
            WEB,
        ]
    )

    assert codes(results) == ["E-DNS-ZONE"] * 3
    assert everything(bind) == set()


def test_a_key_that_may_not_change_the_zone_is_refused(bind: Bind, server: DnsServer) -> None:
    error = one(server.add([replace(WEB, name="web.newer.test", reverse=False)]))

    assert (error.code, error.exit_code) == ("E-DNS-REFUSED", 1)
    assert "newer.test" in error.what
    assert "tashi (hmac-md5)" in error.cause


def test_updates_without_a_key_are_refused_and_the_missing_key_is_told(bind: Bind) -> None:
    known = DnsSettings(server=Server(host=bind.server, port=bind.port), timeout_s=PATIENT_S)

    error = one(DnsServer(known).add([WEB]))

    assert error.code == "E-DNS-REFUSED"
    assert "dnsKeyFile" in error.cause


@pytest.mark.parametrize("wrong", ["secret", "algorithm", "name"])
def test_a_wrong_key_is_told_without_its_secret(bind: Bind, key: Key, wrong: str) -> None:
    changes: dict[str, object] = {
        "secret": {"secret_key": Secret(Key.generate("x", "hmac-md5").secret)},
        "algorithm": {"key_algorithm": "hmac-sha256"},
        "name": {"key_name": "tashi2"},
    }[wrong]
    bad = DnsServer(settings(bind, key, **changes))

    error = one(bad.add([WEB]))

    assert isinstance(error, OperationFailed)
    assert error.code == "E-DNS-KEY"
    secret = changes.get("secret_key", Secret(key.secret))
    assert isinstance(secret, Secret)
    assert secret.value not in f"{error}{error.hint}{error!r}{bad!r}{bad.__dict__!r}"
    assert everything(bind) == set()
    with pytest.raises(OperationFailed, match="E-DNS-KEY"):
        bad.records(ZONE)


@pytest.mark.parametrize(("skew_s", "told"), [(301, "ahead of"), (-301, "behind")])
def test_a_clock_that_is_off_is_told_with_its_offset(
    tmp_path: Path, key: Key, skew_s: int, told: str
) -> None:
    with Bind(tmp_path, (ZONE,), (key,), skew_s=skew_s) as bind:
        error = one(DnsServer(settings(bind, key)).add([replace(WEB, reverse=False)]))

        assert (error.code, error.exit_code) == ("E-DNS-CLOCK", 1)
        offset = int(error.cause.split("its clock is ")[1].split()[0])
        assert abs(offset - 301) <= 2
        assert told in error.cause
        assert bind.records(ZONE)[0].name == f"ns.{ZONE}."
        assert len(bind.records(ZONE)) == 1


# a server that does not answer


def test_a_server_that_is_stopped_was_sent_nothing_and_later_takes_it(
    bind: Bind, server: DnsServer
) -> None:
    bind.stop()
    for error in (one(server.add([WEB])), one(server.remove([WEB]))):
        assert isinstance(error, Unreachable)
        assert not isinstance(error, Uncertain)
        assert error.code == "E-DNS-DOWN"
        assert "Connection refused" in error.cause
    with pytest.raises(Unreachable, match="E-DNS-DOWN"):
        server.records(ZONE)
    bind.start()

    assert server.add([WEB]) == [None]
    assert bind.dig("web.cloud.test") == ("172.16.7.7",)


def test_what_a_frozen_server_was_sent_is_done_later_and_a_repetition_is_done(
    bind: Bind, key: Key
) -> None:
    zones = (ZONE, "16.172.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa")
    hasty = DnsServer(settings(bind, key, timeout_s=IMPATIENT_S, zones=zones))
    patient = DnsServer(settings(bind, key, zones=zones))
    for change, repeat in ((hasty.add, patient.add), (hasty.remove, patient.remove)):
        before = bind.dig("web.cloud.test")
        bind.freeze()
        first, second = change([WEB, entry("mail", "172.16.7.9", number=2)])
        bind.thaw()

        assert isinstance(first, Uncertain)
        assert isinstance(second, Uncertain)
        assert (first.code, second.code) == ("E-DNS-TIMEOUT", "E-DNS-TIMEOUT")
        assert repeat([WEB]) == [None]
        assert bind.dig("web.cloud.test") != before
    # Of the other nothing was repeated: the frozen server did what it had been sent.
    assert bind.dig("mail.cloud.test") == ("172.16.7.9",)


def test_a_frozen_server_that_could_not_even_be_asked_for_its_zones_was_sent_nothing(
    bind: Bind, key: Key
) -> None:
    bind.freeze()
    error = one(DnsServer(settings(bind, key, timeout_s=IMPATIENT_S)).add([WEB]))
    bind.thaw()

    assert error.code == "E-DNS-DOWN"
    assert not isinstance(error, Uncertain)
    assert everything(bind) == set()


def test_a_server_killed_amid_many_groups_leaves_each_entry_with_what_is_known_of_it(
    bind: Bind, server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = many(500)
    update, receive, calls = Link.update, Link._receive, []

    def frozen(link: Link, message: dns.message.Message, zone: str) -> dns.message.Message:
        calls.append(zone)
        if len(calls) == 2:
            bind.freeze()
        return update(link, message, zone)

    def killed(link: Link, until_s: float) -> bytes:
        if len(calls) == 2:
            bind.kill()
        return receive(link, until_s)

    monkeypatch.setattr(Link, "update", frozen)
    monkeypatch.setattr(Link, "_receive", killed)
    results = server.add(entries)
    monkeypatch.undo()

    # The forward half of the first 200 was done and their reverse half not sent: that is not
    # nothing. The last were not sent at all.
    assert [type(error) for error in results] == [Uncertain] * 400 + [Unreachable] * 100
    bind.start()
    assert sum(r.type == "A" for r in bind.records(ZONE)) in (201, 401)
    assert server.add(entries) == [None] * 500
    assert sum(r.type == "PTR" for r in bind.records(NETWORK)) == 500
    bind.restart()
    assert server.remove(entries) == [None] * 500
    assert everything(bind) == set()


# many


def many(count: int) -> list[DnsEntry]:
    return [
        entry(f"vm{n}", f"172.16.{n // 250}.{n % 250 + 1}", number=10_000 + n) for n in range(count)
    ]


def test_among_a_thousand_in_few_messages_the_one_foreign_name_is_found(
    bind: Bind, server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[dns.message.Message] = []
    real = Link.update

    def update(link: Link, message: dns.message.Message, zone: str) -> dns.message.Message:
        sent.append(message)
        return real(link, message, zone)

    monkeypatch.setattr(Link, "update", update)
    bind.put(ZONE, "vm617 60 A 172.16.200.200")
    entries = many(1000)

    results = server.add(entries)

    assert [n for n, error in enumerate(results) if error is not None] == [617]
    assert isinstance(results[617], Conflict)
    assert "172.16.200.200" in results[617].cause
    assert len(sent) < 80
    assert max(len(message.wire or b"") for message in sent) < 0x10000
    assert sum(r.type == "PTR" for r in bind.records(NETWORK)) == 999
    sent.clear()
    assert server.remove(entries) == [None] * 1000
    assert len(sent) < 80
    assert everything(bind) == {Record("vm617.cloud.test.", 60, "A", "172.16.200.200")}


# questions


def test_a_zone_is_found_from_any_name_in_it(bind: Bind, server: DnsServer, key: Key) -> None:
    bind.put(ZONE, "alias 60 CNAME ns.cloud.test.", "out 60 CNAME www.nowhere.test.")
    by_setting = DnsServer(settings(bind, key, zones=("test", ZONE, "16.172.in-addr.arpa")))
    for asked in (server, by_setting):
        for name in (
            ZONE,
            "web.cloud.test",
            "a.b.cloud.test",
            "alias.cloud.test",
            "OUT.Cloud.test.",
        ):
            assert asked.zone_of(name) == ZONE
        assert asked.zone_of("7.7.16.172.in-addr.arpa") == "16.172.in-addr.arpa"
        with pytest.raises(OperationFailed, match="E-DNS-ZONE"):
            asked.zone_of("1.0.0.10.in-addr.arpa")


def test_all_records_of_a_zone_are_read_by_transfer(bind: Bind, server: DnsServer) -> None:
    server.add([WEB])
    bind.put(ZONE, 'www 60 TXT "two " "strings; one text"', "www 60 MX 10 mx.nowhere.test.")

    found = {(r.name, r.kind): r.value for r in server.records(ZONE)}
    reverse = server.records("16.172.in-addr.arpa")

    assert found["web.cloud.test", "A"] == "172.16.7.7"
    assert found["web.cloud.test", "AAAA"] == "2001:db8::7"
    assert found["_tashictl.web.cloud.test", "TXT"] == WEB.owner
    assert found["www.cloud.test", "TXT"] == "two strings; one text"
    assert found["www.cloud.test", "MX"] == "10 mx.nowhere.test."
    assert found[ZONE, "SOA"].startswith("ns.cloud.test.")
    pointer = DnsRecord(
        zone="16.172.in-addr.arpa",
        name="7.7.16.172.in-addr.arpa",
        kind="PTR",
        value="web.cloud.test",
        ttl_s=90,
    )
    assert pointer in reverse


def test_a_transfer_of_many_messages_is_read_to_its_end(bind: Bind, server: DnsServer) -> None:
    for start in range(0, 1000, 200):
        lines = [f"n{n} 60 TXT {'x' * 200}" for n in range(start, start + 200)]
        bind.put("big.test", *lines)

    assert sum(r.kind == "TXT" for r in server.records("big.test")) == 1000


def test_a_transfer_that_is_not_allowed_is_told(bind: Bind, server: DnsServer) -> None:
    with pytest.raises(NotPermitted) as refused:
        server.records("newer.test")
    with pytest.raises(OperationFailed) as nowhere:
        server.records("nowhere.test")

    assert refused.value.code == "E-DNS-TRANSFER"
    assert "newer.test" in refused.value.what
    assert nowhere.value.code == "E-DNS-ZONE"


def test_names_are_looked_up_with_all_that_stands_there(bind: Bind, server: DnsServer) -> None:
    server.add([WEB])
    bind.put(ZONE, "alias 60 CNAME web.cloud.test.", "web 60 TXT hello")

    found = server.lookup(
        [
            "web.cloud.test",
            "alias.cloud.test",
            "none.cloud.test",
            "_tashictl.web.cloud.test",
            "7.7.16.172.in-addr.arpa",
        ]
    )

    assert {(r.zone, r.name, r.kind, r.value) for r in found} == {
        (ZONE, "web.cloud.test", "A", "172.16.7.7"),
        (ZONE, "web.cloud.test", "AAAA", "2001:db8::7"),
        (ZONE, "web.cloud.test", "TXT", "hello"),
        (ZONE, "alias.cloud.test", "CNAME", "web.cloud.test"),
        (ZONE, "_tashictl.web.cloud.test", "TXT", WEB.owner),
        ("16.172.in-addr.arpa", "7.7.16.172.in-addr.arpa", "PTR", "web.cloud.test"),
    }
    with pytest.raises(OperationFailed, match="E-DNS-ZONE"):
        server.lookup(["web.nowhere.test"])


def test_a_server_is_reached_by_name_and_by_both_families_of_address(bind: Bind, key: Key) -> None:
    with relay(bind.port) as port:
        for host, at in (("localhost", bind.port), ("::1", port)):
            known = settings(bind, key, server=Server(host=host, port=at))
            assert DnsServer(known).zone_of("web.cloud.test") == ZONE
    for host in ("no-such-host.invalid", "a" * 70, "x..y"):
        lost = DnsServer(settings(bind, key, server=Server(host=host, port=53)))
        with pytest.raises(Unreachable, match="E-DNS-DOWN"):
            lost.zone_of("web.cloud.test")


@contextlib.contextmanager
def relay(port: int) -> Iterator[int]:
    """A port of ::1 that leads to one of 127.0.0.1."""
    here = place.free_port()
    listen = f"TCP6-LISTEN:{here},bind=[::1],fork,reuseaddr"
    argv = ["socat", "-dd", listen, f"TCP:127.0.0.1:{port}"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("listening on" in line for line in process.stderr)
            yield here
        finally:
            process.kill()
