import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.model.leases import DhcpdConf, DhcpSubnet, HostRecord, LeaseRecord, LeasesFile
from tashictl.planning.leases import read_conf, read_leases

GOLDEN = Path(__file__).parent / "golden" / "leases"  # dhcpd 4.4.3-P1 has written or read them
RUNNING = (GOLDEN / "running.leases").read_text(encoding="utf-8")
RESTARTED = (GOLDEN / "restarted.leases").read_text(encoding="utf-8")
CONF = (GOLDEN / "dhcpd.conf").read_text(encoding="utf-8")
OWNER = "tashictl:0a1b2c3d4e5f:11111111-2222-4333-8444-555555555555"
VM1 = HostRecord(
    name="vm1",
    mac="52:54:00:00:00:01",
    addresses=("172.16.7.7",),
    uid=f"{OWNER}/2c75f14b9e603a6f",
    group="tashictl-0a1b2c3d4e5f",
    dynamic=True,
    options={
        "host-name": "vm1",
        "domain-name": "guests.test",
        "routers": "ac:10:00:01",
        "domain-name-servers": "concat (ac:10:00:05, ac:10:00:06)",
        "interface-mtu": "05:14",
    },
)
OLD = HostRecord(
    name="old",
    mac="02:00:00:00:00:aa",
    addresses=("172.16.8.8",),
    dynamic=True,
    options={"host-name": "old"},
)


def host(text: str) -> HostRecord:
    (found,) = read_leases(text).hosts
    return found


def test_the_last_word_of_a_running_server_is_read() -> None:
    found = read_leases(RUNNING)

    assert [h.name for h in found.hosts] == ["vm1", "vm2", "vm4", "vm5", "old"]
    assert found.hosts[0] == VM1
    assert found.hosts[-1] == OLD
    assert found.groups == ("tashictl-0a1b2c3d4e5f", "tashictl-ffffffffffff")
    assert found.deleted == ("vm3", "www")
    assert (found.cut, found.faults) == (False, ())
    assert found.leases == (
        LeaseRecord(
            address="172.16.9.10",
            state="active",
            mac="02:00:00:00:01:01",
            hostname="laptop",
            ends="2026-11-26T13:30:04Z",
        ),
        LeaseRecord(
            address="172.16.9.11",
            state="active",
            mac="02:00:00:00:01:02",
            ends="2026-11-26T13:30:05Z",
        ),
    )


def test_a_restarted_server_says_the_same_of_its_hosts() -> None:
    found, before = read_leases(RESTARTED), read_leases(RUNNING)

    assert found.hosts == before.hosts
    assert set(found.groups) == set(before.groups)
    assert found.deleted == ("www",)
    assert [(x.address, x.hostname) for x in found.leases] == [
        ("172.16.9.10", "laptop2"),
        ("172.16.9.11", ""),
    ]


def test_whose_a_host_is_stands_in_its_mark_or_else_in_its_group() -> None:
    by_name = {h.name: h for h in read_leases(RUNNING).hosts}

    assert by_name["vm1"].owner == OWNER
    assert {name: h.cluster for name, h in by_name.items()} == {
        "vm1": "0a1b2c3d4e5f",
        "vm2": "0a1b2c3d4e5f",
        "vm4": "0a1b2c3d4e5f",
        "vm5": "ffffffffffff",
        "old": "",
    }
    assert host('host a { group "tashictl-c1"; }').cluster == "c1"
    assert host('host a { uid "tashictl:c1"; group "others"; }').cluster == ""
    assert host('host a { uid "other:c1:u/1"; }').owner == ""


@pytest.mark.parametrize("text", [RUNNING, RESTARTED])
def test_a_file_that_is_cut_anywhere_says_so_and_keeps_what_was_whole(text: str) -> None:
    for at in range(0, len(text), 7):
        end = text.rfind("\n}\n", 0, at) + 3 if "\n}\n" in text[:at] else 0
        whole, cut = read_leases(text[:end]), read_leases(text[:at])
        begun = text[end:at].split()[1:2]
        hosts = {host.name: host for host in cut.hosts}
        for one in whole.hosts:
            assert hosts.get(one.name) == one or [one.name] == begun
        assert cut.leases[: len(whole.leases)] == whole.leases
        assert not whole.cut
        if text[:at].count("{") > text[:at].count("}"):
            assert cut.cut


def test_a_host_that_is_cut_off_is_there_without_what_is_missing() -> None:
    text = RUNNING[: RUNNING.index("  fixed-address")]
    found = read_leases(text)

    assert found.cut
    assert found.hosts[0].mac == VM1.mac
    assert found.hosts[0].owner == OWNER
    assert found.hosts[0].addresses == ()
    assert read_leases('host a { }\nserver-duid "x').cut


def test_ipv6_is_read_though_dhcpd_writes_it_as_four_addresses() -> None:
    odd = "host a { fixed-address 32.1.13.184,0.0.0.0, 0.0.0.0, 0.0.0.7; }"

    assert host(odd).addresses == ("2001:db8::7",)
    assert host("host a { fixed-address 10.0.0.1, 10.1.0.1, 10.2.0.1, 10.3.0.1; }").addresses == (
        *("10.0.0.1", "10.1.0.1"),
        *("10.2.0.1", "10.3.0.1"),
    )
    assert host("host a { fixed-address 2001:DB8:0::7; }").addresses == ("2001:db8::7",)


def test_a_host_that_was_deleted_and_made_again_is_there() -> None:
    text = "host a { dynamic; deleted; } host a { dynamic; fixed-address 10.0.0.1; }"
    found = read_leases(text)

    assert [h.addresses for h in found.hosts] == [("10.0.0.1",)]
    assert found.deleted == ()


def test_a_name_that_dhcpd_cannot_read_back_is_a_fault_with_its_line() -> None:
    found = read_leases("host a { dynamic; }\nhost b c { dynamic; }\nhost d { dynamic; }\n")

    assert [h.name for h in found.hosts] == ["a", "d"]
    assert found.faults == ("line 2: host b c",)


def test_strings_carry_what_would_be_syntax_outside() -> None:
    text = r'host a { uid "x; } \"y\" \\ \101 # no comment"; hardware ethernet 2:0:0:0:0:A; }'
    found = host(text)

    assert found.uid == 'x; } "y" \\ A # no comment'
    assert found.mac == "02:00:00:00:00:0a"
    assert host('host a { uid "\\001\\002\\377"; }').uid == "\x01\x02\xff"


def test_a_lease_tells_its_state_and_its_end() -> None:
    text = "lease 10.0.0.1 { ends never; binding state free; } lease 10.0.0.2 { abandoned; }"

    assert read_leases(text).leases == (
        LeaseRecord(address="10.0.0.1", state="free", ends="never"),
        LeaseRecord(address="10.0.0.2"),
    )


def test_a_configuration_tells_its_hosts_pools_and_names() -> None:
    found = read_conf(CONF)

    assert found == DhcpdConf(
        hosts=(
            HostRecord(
                name="www", mac="02:16:00:00:00:09", addresses=("172.16.0.9", "www.cloud.test")
            ),
            HostRecord(
                name="mail",
                mac="02:16:00:00:00:0a",
                addresses=("172.16.0.10",),
                options={"host-name": "mx"},
            ),
            HostRecord(name="token"),
        ),
        subnets=(
            DhcpSubnet(
                network="172.16.0.0/16",
                ranges=(
                    ("172.16.9.10", "172.16.9.12"),
                    ("172.16.9.20", "172.16.9.29"),
                    ("172.16.9.40", "172.16.9.40"),
                ),
                domain="guests.test",
                max_lease_s=300,
            ),
            DhcpSubnet(network="192.168.7.0/24"),
        ),
        domain="cloud.test",
        search=("cloud.test", "lab.cloud.test"),
        default_lease_s=600,
        max_lease_s=7200,
        omapi_port=7911,
        omapi_key="merkabah",
        includes=("/dev/null",),
    )
    assert "ABEiM0RV" not in repr(found)


def test_a_configuration_of_ipv6_tells_its_pools() -> None:
    text = "subnet6 2001:db8::/64 { range6 2001:db8::10 2001:db8::20; range6 2001:db8::100/126; }"

    assert read_conf(text).subnets == (
        DhcpSubnet(
            network="2001:db8::/64",
            ranges=(("2001:db8::10", "2001:db8::20"), ("2001:db8::100", "2001:db8::103")),
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        "subnet 10.0.0.0 netmask 999.0.0.0 { }",
        "subnet 10.0.0.0 netmask",
        "subnet { }",
        f"max-lease-time {'9' * 5000};",
        "subnet 10.0.0.0 netmask 255.0.0.0 { range; range x y; }",
        '{ } } ; "',
        "host",
        'host "',
        "host a { hardware ethernet; hardware ethernet 1:2; fixed-address; uid; }",
        'host a { uid "\\',
    ],
)
def test_what_is_no_file_of_dhcpd_is_read_without_complaint(text: str) -> None:
    read_conf(text)
    read_leases(text)


PIECES = st.sampled_from(
    [
        *("host ", "a ", "{", "}", ";", '"', "\\", "#", "\n", "lease ", "10.0.0.1", "group "),
        *("fixed-address ", ",", "=", "uid ", "subnet ", "netmask ", "range ", "binding state "),
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES).map("".join)))
def test_any_text_at_all_is_read(text: str) -> None:
    assert isinstance(read_leases(text), LeasesFile)
    assert isinstance(read_conf(text), DhcpdConf)


def test_a_deep_or_long_file_is_read_in_no_time() -> None:
    assert read_leases("{" * 50_000).cut
    assert read_conf("group {" * 50_000).cut
    assert not read_leases("}" * 50_000).cut
    assert read_leases('host a { uid "' + "\\" * 100_000).cut


NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
RECORDS = st.builds(
    HostRecord,
    name=NAMES,
    mac=st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":")),
    addresses=st.lists(st.ip_addresses(v=4).map(str), max_size=2).map(tuple),
    uid=st.text(st.characters(max_codepoint=255), max_size=8),
    group=NAMES,
    dynamic=st.booleans(),
    options=st.dictionaries(st.sampled_from(["host-name", "domain-name"]), NAMES),
)


def written(record: HostRecord) -> str:
    """As dhcpd writes a host."""
    uid = "".join(f"\\{ord(c):03o}" if c in '"\\' or not c.isprintable() else c for c in record.uid)
    lines = ["dynamic;"] if record.dynamic else []
    lines += [f"hardware ethernet {record.mac};"]
    lines += [f'uid "{uid}";'] if uid else []
    lines += [f"fixed-address {', '.join(record.addresses)};"] if record.addresses else []
    lines += [f'group "{record.group}";']
    lines += [f"supersede {name} = {json.dumps(value)};" for name, value in record.options.items()]
    return f"host {record.name} {{\n  " + "\n  ".join(lines) + "\n}\n"


@given(st.lists(RECORDS, unique_by=lambda record: record.name))
def test_hosts_are_read_as_they_were_written(records: list[HostRecord]) -> None:
    text = "".join(map(written, records))

    assert read_leases(text) == LeasesFile(hosts=tuple(records))
