"""A DNS server's records: ours come and go as a whole, nobody else's is touched; real BIND."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.adapters.dns.server import DnsServer
from tashictl.errors import (
    Conflict,
)
from tashictl.model.settings import DnsSettings, Server
from tests.live.dns.site import (
    NETWORK,
    OURS,
    PATIENT_S,
    THEIRS,
    WEB,
    WEB_V6_NAME,
    ZONE,
    codes,
    entry,
    everything,
    one,
)
from tests.live.lab.bind import Bind, Record
from tests.live.lab.tsig import Key

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
    if there.zone == ZONE:
        assert everything(bind) == before  # nor was it registered in reverse
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
