"""A DNS server that refuses, hangs, dies, or is not the right one; real BIND."""

from pathlib import Path

import dns.message
import pytest
from msgspec.structs import replace

from tashictl.adapters.dns.link import Link
from tashictl.adapters.dns.server import DnsServer
from tashictl.errors import (
    Conflict,
    OperationFailed,
    Uncertain,
    Unreachable,
)
from tashictl.model.settings import DnsSettings, Secret, Server
from tests.live.dns.site import (
    IMPATIENT_S,
    NETWORK,
    PATIENT_S,
    WEB,
    ZONE,
    codes,
    entry,
    everything,
    many,
    one,
    settings,
)
from tests.live.lab.bind import Bind, Record
from tests.live.lab.tsig import Key

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
