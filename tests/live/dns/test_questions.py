"""What a DNS server is asked: zones, names, all of a zone; real BIND."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tashictl.adapters.dns.server import DnsServer
from tashictl.errors import (
    NotPermitted,
    OperationFailed,
    Unreachable,
)
from tashictl.model.naming import DnsRecord
from tashictl.model.settings import Server
from tests.live.dns.site import (
    WEB,
    ZONE,
    settings,
)
from tests.live.lab import place
from tests.live.lab.bind import Bind
from tests.live.lab.tsig import Key


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
    bind.put(ZONE, "alias 60 CNAME ns.cloud.test.", "web 60 TXT hello")

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
        (ZONE, "alias.cloud.test", "CNAME", "ns.cloud.test"),
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
