"""What dhcpd.conf and dnsmasq's folders say against a network, and what the rows make of it."""

from typing import Any

import pytest

from tashictl.errors import OperationFailed, Unreachable
from tashictl.model.naming import DnsmasqFolders, DnsmasqHost
from tashictl.model.network import Network
from tashictl.model.settings import DhcpSettings
from tashictl.planning import leases
from tashictl.planning.net import verify_dhcp as verify
from tashictl.planning.net.standing import Row

RED = Network(id=7, name="red", cidr="10.9.0.0/24", range="10.9.0.100-10.9.0.199")
HEAD = "max-lease-time 3600;\n"
WHOLE = HEAD + "subnet 10.9.0.0 netmask 255.255.255.0 { option routers 10.9.0.1; %s }\n%s"


def rows(inside: str = "", after: str = "", held: verify.Held | None = None) -> dict[str, Row]:
    conf = leases.read_conf(WHOLE % (inside, after))
    return {r.check: r for r in verify.conf_rows(RED, "srv", conf, held or verify.Held())}


def test_a_subnet_without_pools_and_hosts_is_right() -> None:
    found = rows()
    assert [(r.check, r.verdict) for r in found.values()] == [
        *(("subnet", "ok"), ("pools", "ok"), ("hosts", "ok"), ("lease time", "ok"))
    ]


@pytest.mark.parametrize(
    ("pool", "verdict"),
    [
        ("range 10.9.0.10 10.9.0.99;", "ok"),
        ("range 10.9.0.10 10.9.0.100;", "wrong"),
        ("pool { range 10.9.0.199; }", "wrong"),
        ("range 10.9.0.200 10.9.0.250;", "ok"),
    ],
)
def test_a_dynamic_pool_must_not_share_an_address_with_the_range(pool: str, verdict: str) -> None:
    row = rows(pool)["pools"]
    assert row.verdict == verdict
    assert ("exclude: [10.9.0." in row.remedy) == (verdict == "wrong")


def test_a_pool_that_is_excluded_is_right() -> None:
    # .100-.110, .50-.105, and beside the range .1 and .255
    kept_out = ((0x0A090064, 0x0A09006E), (0x0A090032, 0x0A090069))
    kept_out = (*kept_out, (0x0A0900FF, 0x0A0900FF), (0x0A090001, 0x0A090001))
    held = verify.Held(kept_out=kept_out)
    assert rows("range 10.9.0.100 10.9.0.110;", held=held)["pools"].verdict == "ok"
    assert rows("range 10.9.0.100 10.9.0.111;", held=held)["pools"].verdict == "wrong"


HOST = "host printer { hardware ethernet 02:00:00:00:00:09; fixed-address 10.9.0.150; }"


def test_a_host_of_the_file_in_the_range_is_wrong_unless_it_is_kept_out_or_a_vm() -> None:
    row = rows(after=HOST)["hosts"]
    assert (row.verdict, row.remedy) == ("wrong", "exclude: [10.9.0.150] in red")
    assert "printer of dhcpd.conf has 10.9.0.150" in row.seen
    number = 0x0A090096
    assert rows(after=HOST, held=verify.Held(kept_out=((number, number),)))["hosts"].verdict == "ok"
    vm = frozenset({("02:00:00:00:00:09", "10.9.0.150")})
    assert rows(after=HOST, held=verify.Held(ours=vm))["hosts"].verdict == "ok"
    by_name = HOST.replace("10.9.0.150", "printer.example")
    assert rows(after=by_name)["hosts"].verdict == "ok"


@pytest.mark.parametrize(
    ("inside", "lease_s", "verdict"),
    [
        ("", 3600, "ok"),
        ("", 3599, "wrong"),
        ("max-lease-time 7200;", 3600, "wrong"),
        ("max-lease-time 600;", 700, "ok"),
    ],
)
def test_an_address_must_rest_as_long_as_a_lease_may_last(
    inside: str, lease_s: float, verdict: str
) -> None:
    assert rows(inside, held=verify.Held(lease_s=lease_s))["lease time"].verdict == verdict


def test_without_max_lease_time_dhcpds_own_day_holds() -> None:
    conf = leases.read_conf((WHOLE % ("", "")).removeprefix(HEAD))
    found = {r.check: r for r in verify.conf_rows(RED, "srv", conf, verify.Held(lease_s=86399))}
    assert found["lease time"].verdict == "wrong"
    assert "leaseTime = 86400" in found["lease time"].remedy


def test_a_range_that_no_subnet_holds_whole_is_wrong() -> None:
    text = "subnet 10.9.0.0 netmask 255.255.255.128 { }"
    found = list(verify.conf_rows(RED, "srv", leases.read_conf(text), verify.Held()))
    assert (found[0].check, found[0].verdict) == ("subnet", "wrong")


def test_a_list_of_domains_to_search_must_have_the_one_of_the_names() -> None:
    held = verify.Held(domain="cloud.test")
    assert rows(held=held)["search"].verdict == "ok"
    ours = 'option domain-search "x.test", "Cloud.test.";'
    assert rows(ours, held=held)["search"].verdict == "ok"
    row = rows('option domain-search "x.test", "y.test";', held=held)["search"]
    assert (row.verdict, row.seen) == (
        *("wrong", "guests search x.test, y.test, and their names are in cloud.test"),
    )


def test_a_server_that_is_there_and_takes_no_key_is_told_apart_from_one_that_is_not() -> None:
    key = OperationFailed("E-DHCP-KEY", "no", hint="the key")
    down = Unreachable("E-DHCP-DOWN", "not there")
    assert [r.verdict for r in verify.omapi_rows(RED, "srv", None)] == ["ok", "ok"]
    assert [r.verdict for r in verify.omapi_rows(RED, "srv", key)] == ["ok", "wrong"]
    assert [(r.check, r.verdict) for r in verify.omapi_rows(RED, "srv", down)] == [
        ("dhcp", "wrong")
    ]


def dnsmasq(held: verify.Held | None = None, **values: Any) -> dict[str, Row]:
    settings = DhcpSettings(dnsmasq_leases_dir="/h", dnsmasq_names_dir="/d")
    folders = DnsmasqFolders(**{"watchers": (17,), **values})
    found = verify.dnsmasq_rows(RED, "h1", settings, folders, held or verify.Held())
    return {r.check: r for r in found}


def test_dnsmasq_must_watch_its_folders_and_they_be_there() -> None:
    assert {r.verdict for r in dnsmasq().values()} == {"ok"}
    assert dnsmasq(watchers=(), by_pid_file=18)["dhcp"].seen == "dnsmasq runs, pid 18"
    assert dnsmasq(watchers=())["dhcp"].seen == "no dnsmasq watches /h"
    other = dnsmasq(watchers=(), running=True)["dhcp"]
    assert (other.verdict, other.seen) == ("wrong", "no dnsmasq that runs watches /h")
    found = dnsmasq(missing=("/d",))
    assert (found["folders"].verdict, found["folders"].seen) == ("wrong", "/d: not there")


def test_a_file_of_somebody_else_with_an_address_of_the_range_is_wrong() -> None:
    ours = DnsmasqHost(file="a", owner="tashictl:c:u", addresses=("10.9.0.150",))
    theirs = DnsmasqHost(file="b", owner="", addresses=("10.9.0.151", "10.9.0.9"))
    assert dnsmasq(hosts=(ours,))["hosts"].verdict == "ok"
    row = dnsmasq(hosts=(ours, theirs))["hosts"]
    assert (row.verdict, row.remedy) == ("wrong", "exclude: [10.9.0.151] in red")
    assert row.seen == "/h/b has 10.9.0.151, which a VM may be given"
    kept_out = ((0x0A090096, 0x0A090097),)
    assert dnsmasq(verify.Held(kept_out=kept_out), hosts=(theirs,))["hosts"].verdict == "ok"
