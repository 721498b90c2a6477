"""Layers -> Settings: a real site's files, types, precedence, mistakes, secrets."""

from __future__ import annotations

import pytest

from tashictl.errors import InvalidRequest, Problems, TashiError, exit_code_of
from tashictl.model.settings import (
    IpRange,
    Layer,
    Merged,
    PortRange,
    Secret,
    Server,
    Settings,
    Weight,
)
from tashictl.planning.config import listing, merge, value_at
from tashictl.planning.config_options import OPTIONS, Kind
from tashictl.planning.config_values import show
from tashictl.planning.qemu_hints import DISK_INTERFACES, NIC_MODELS

# The files of Tashi's guide "Setting up Tashi on a cluster".
GUIDE = """\
[ClusterManager]
data = tashi.clustermanager.data.LdapOverride

[ClusterManagerService]
allowDecayed = 60.0
allowMismatchedVersions = True

[LdapOverride]
ldapCommand = ldapsearch -x -w AbCdef1G -h 1.2.3.4 -b ou=ABC,dc=abcd,dc=abcd,dc=abc \
-D cn=abcd,cn=Abcde,dc=abcd,dc=abcd,dc=abc msSFU30LoginShell=* -z 0

[Client]
clusterManagerHost = merkabah

[NodeManagerService]
clusterManagerHost = merkabah
statsInterval = 15.0

[Vfs]
prefix = /mnt/merkabah/tashi/

[Qemu]
useMigrateArgument = True
monitorTimeout = 3600.0
migrateTimeout = 3600.0
statsInterval = 15.0

[handlers]
keys = consoleHandler,publisherHandler,fileHandler

[logger_root]
handlers = consoleHandler,publisherHandler,fileHandler

[Primitive]
densePack = True
"""
GUIDE_AGENT = """\
[DhcpDns]
dnsKeyFile = /root/cluster-admin/scripts/Kmerkabah.+157+36480.private
dnsServer = 172.16.0.5 53
dnsDomain = bigdata.research.intel-research.net
dnsExpire = 60
dhcpServer = 172.16.0.5
dhcpKeyName = merkabah
dhcpSecretKey = ABcdEf12GhIJKLmnOpQrsT==
ipRange999 = 172.16.192.1-172.16.255.254
ipRange1001 = 172.16.1.10-172.16.1.19
reverseDns = True
"""


def layer(text: str, path: str = "Tashi.cfg", others_read: bool = False) -> Layer:
    return Layer(path=path, text=text, others_read=others_read)


def settings(text: str) -> Settings:
    return merge([layer(text)]).settings


def problems(*layers: Layer, environ: dict[str, str] | None = None) -> list[TashiError]:
    with pytest.raises((InvalidRequest, Problems)) as caught:
        merge(layers, environ)
    assert exit_code_of(caught.value) == 2
    return list(getattr(caught.value, "problems", [caught.value]))


def said(*layers: Layer) -> list[tuple[str, str]]:
    return [(p.what, p.hint) for p in problems(*layers)]


def notes(merged: Merged, weight: Weight) -> list[tuple[str, str]]:
    return [(n.text, n.where) for n in merged.notes if n.weight is weight]


def test_the_files_of_tashis_guide_are_accepted_as_they_are() -> None:
    merged = merge([layer(GUIDE), layer(GUIDE_AGENT, "Agent.cfg")])
    s = merged.settings
    assert (s.vfs_prefix, s.image_folder) == ("/mnt/merkabah/tashi", "/mnt/merkabah/tashi/images")
    assert (s.cluster.allow_decayed_s, s.cluster.allow_mismatched_versions) == (60.0, True)
    assert (s.qemu.monitor_timeout_s, s.qemu.migrate_timeout_s) == (3600.0, 3600.0)
    assert (s.stats.host_interval_s, s.stats.vm_interval_s) == (15.0, 15.0)
    assert s.dense_pack is True
    assert s.users.source == "LdapOverride"
    assert s.dns.server == Server(host="172.16.0.5", port=53)
    assert s.dhcp.server == Server(host="172.16.0.5", port=7911)
    assert s.dhcp.secret_key == Secret("ABcdEf12GhIJKLmnOpQrsT==")
    assert (s.dns.expire_s, s.dns.reverse) == (60, True)
    assert s.ip_ranges == (
        IpRange(network=999, first="172.16.192.1", last="172.16.255.254"),
        IpRange(network=1001, first="172.16.1.10", last="172.16.1.19"),
    )


def test_what_the_guide_sets_without_a_successor_gives_notes_and_no_errors() -> None:
    merged = merge([layer(GUIDE)])
    told = [text.partition(" is not used")[0] for text, _ in notes(merged, Weight.NOTE)]
    assert told == [
        "[Client] clusterManagerHost",
        "[NodeManagerService] clusterManagerHost",
        "[Qemu] useMigrateArgument",
    ]
    ((warning, where),) = notes(merged, Weight.WARNING)
    assert "ldapCommand holds a password" in warning
    assert where == "Tashi.cfg:9"


def test_logging_sections_are_kept_as_text_and_never_evaluated() -> None:
    text = "[handler_file]\nargs = (__import__('os').system('false'),)\n[loggers]\nkeys = root\n"
    kept = [(r.section, r.option, r.value) for r in settings(text).raw]
    assert kept == [
        ("handler_file", "args", "(__import__('os').system('false'),)"),
        ("loggers", "keys", "root"),
    ]


def test_tashis_own_default_file_is_accepted() -> None:
    text = """\
[Security]
authAndEncrypt = False
[AllowedUsers]
agentPassword = agent
[ClusterManagerService]
host = localhost ; the manager's name
;bind = 0.0.0.0 ; not supported
defaultNetwork = 0
[FromConfig]
#hostlist = /one/host/per/line
host1 = Host(d={'id':1,'name':'blade043'})
network1 = Network(d={'id':1,'name':'global'})
[Qemu]
qemuBin = /usr/bin/kvm
[XenPV]
transientdir = /tmp
[Primitive]
hook1 = tashi.agents.DhcpDns
[DhcpDns]
clustermanagerhost = localhost ; the manager's name
[formatter_standardFormatter]
format=%(asctime)s [%(name)s:%(levelname)s] %(message)s
datefmt=
"""
    found = settings(text)
    assert found.qemu.qemu_bin == "/usr/bin/kvm"
    assert found.cluster.default_network is None
    assert found.hooks == ("DhcpDns",)
    raw = {(r.section, r.option): r.value for r in found.raw}
    assert raw[("FromConfig", "host1")] == "Host(d={'id':1,'name':'blade043'})"
    assert raw[("ClusterManagerService", "host")] == "localhost"
    assert raw[("AllowedUsers", "agentPassword")] == "***"


def test_a_later_layer_wins_then_the_environment_then_the_command_line() -> None:
    layers = [layer("[Qemu]\naccel = kvm\nmachine = pc\ncpuModel = max\nreservedMem = 1G\n", "a"),
              layer("[Qemu]\nMACHINE = q35\ncpumodel = host\nRESERVEDMEM = 2G\n", "b")]  # fmt: skip
    environ = {"TASHICTL_QEMU_CPUMODEL": "qemu64", "TASHICTL_QEMU_RESERVEDMEM": "3G"}
    merged = merge(layers, environ, {"Qemu.reservedMem": "4G"})
    q = merged.settings.qemu
    assert (q.accel, q.machine, q.cpu_model, q.reserved_memory_mib) == (
        "kvm",
        "q35",
        "qemu64",
        4096,
    )
    assert [(o.option, o.where) for o in merged.origins] == [
        ("machine", "b:2"),
        ("cpuModel", "environment TASHICTL_QEMU_CPUMODEL"),
        ("accel", "a:2"),
        ("reservedMem", "command line"),
    ]
    assert merged.where("Qemu", "accel") == "a:2"
    assert merged.where("Vfs", "prefix") == "default"


def test_an_empty_value_goes_back_to_the_default() -> None:
    merged = merge([layer("[DhcpDns]\ndnsDomain = a.b\n"), layer("[DhcpDns]\ndnsDomain =\n")])
    assert merged.settings.dns.domain is None
    assert merged.where("DhcpDns", "dnsDomain") == "default"


def test_families_are_ordered_by_their_number_and_overridden_by_it() -> None:
    text = "[Primitive]\nhook10 = my.Last\nhook2 = my.First\n[DhcpDns]\nipRange7 = ::1-::ff\n"
    text += "ipRange10 = ::1-::2\nipRange2 = ::1-::2\n"
    merged = merge([layer(text)], {"TASHICTL_DHCPDNS_IPRANGE07": "10.0.0.1 - 10.0.0.9"})
    assert merged.settings.hooks == ("my.First", "my.Last")
    ranges = merged.settings.ip_ranges
    assert [r.network for r in ranges] == [2, 7, 10]
    assert ranges[1] == IpRange(network=7, first="10.0.0.1", last="10.0.0.9")


def test_all_mistakes_of_all_layers_are_reported_with_file_line_and_nearest_name() -> None:
    first = layer("[Qemu]\nacel = kvm\naccel = kvn\n[Vsf]\nprefix = /srv\n", "one.cfg")
    second = layer("[Vfs]\nprefix = srv\n[Tashictl]\nparallel = 0\nbackups\n", "two.cfg")
    assert said(first, second) == [
        ("no option 'acel' in [Qemu], one.cfg:2", "did you mean accel?"),
        ("[Qemu] accel: 'kvn': did you mean kvm?, one.cfg:3", ""),
        ("no section [Vsf], one.cfg:5", "did you mean Vfs?"),
        ("'backups' is no option, two.cfg:5", "write name = value"),
        (
            "[Vfs] prefix: 'srv' is no absolute path without .., two.cfg:2",
            "write absolute path on the hosts",
        ),
        ("[Tashictl] parallel: 0 is less than 1, two.cfg:4", "write number"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "[ClusterManagerService]\nmaxCores = 8.5",
        "[ClusterManagerService]\nmaxMemory = lots",
        "[ClusterManagerService]\nallowDecayed = -1",
        "[ClusterManagerService]\nallowDecayed = inf",
        "[ClusterManager]\ndata = os.system('x')",
        "[ClusterManager]\ndata = tashi.clustermanager.data.Ldap",
        "[DhcpDns]\ndnsServer = 1.2.3.4 0",
        "[DhcpDns]\ndnsServer = 1.2.3.4 53 54",
        "[DhcpDns]\ndnsServer = -x",
        "[DhcpDns]\ndnsExpire = 1.5",
        "[DhcpDns]\nreverseDns = maybe",
        "[DhcpDns]\nipRange1 = 10.0.0.9-10.0.0.1",
        "[DhcpDns]\nipRange1 = 10.0.0.1-::1",
        "[DhcpDns]\nipRange1 = 10.0.0.1",
        "[DhcpDns]\nipRange = 10.0.0.1-10.0.0.9",
        "[Qemu]\nversions = 7.2, new",
        "[Tashictl]\nrunDir = /run/../etc",
        "[Tashictl]\nsshPorts = 22000",
        "[Tashictl]\nsshPorts = 22009-22000",
        "[Tashictl]\nsshPorts = 22-99",
        "[Tashictl]\nsshPorts = 65000-65536",
        "[vfs]\nprefix = /srv",
        "[Vfs]\nprefix = /a\nprefix = /b",
    ],
)
def test_a_value_that_is_not_of_its_kind_is_refused(line: str) -> None:
    assert len(problems(layer(line))) == 1


def test_seconds_memory_booleans_versions_and_servers_are_read_with_their_units() -> None:
    text = (
        "[ClusterManagerService]\nallowDecayed = 2m\nmaxMemory = 16G\n"
        "[GetentOverride]\ngetentFromLocalFile = YES\n"
        "[DhcpDns]\ndhcpServer = 2001:db8::1 7912\n[Qemu]\nversions = 7.2, 8.1.0\n"
        "[Tashictl]\nsshPorts = 2200 - 2209\n"
    )
    found = settings(text)
    assert (found.cluster.allow_decayed_s, found.cluster.max_memory_mib) == (120.0, 16384)
    assert found.users.getent_from_file is True
    assert found.dhcp.server == Server(host="2001:db8::1", port=7912)
    assert found.qemu.versions == ("7.2", "8.1.0")
    assert found.tashictl.ssh_ports == PortRange(first=2200, last=2209)


def test_an_unknown_option_in_the_environment_is_refused_and_a_foreign_name_left_alone() -> None:
    environ = {"TASHICTL_QEMU_ACEL": "kvm", "TASHICTL_CLUSTER": "/x", "TASHICTL_FAULT": "x",
               "TASHICTL_QEMU_ACCEL": ""}  # fmt: skip
    (problem,) = problems(environ=environ)
    assert "TASHICTL_QEMU_ACEL" in problem.what
    assert problem.hint == "did you mean QEMU_ACCEL?"
    del environ["TASHICTL_QEMU_ACEL"]
    assert merge([], environ) == Merged(settings=Settings())


def test_an_ill_formed_cluster_id_counts_as_none_and_is_told() -> None:
    merged = merge([layer("[Tashictl]\nclusterId = 4F1C\n")])
    assert merged.settings.tashictl.cluster_id == ""
    assert notes(merged, Weight.WARNING) == [
        ("[Tashictl] clusterId is ignored: '4F1C' is not 12 hex digits", "Tashi.cfg:2")
    ]
    assert settings("[Tashictl]\nclusterId = 4f1c09ab77e2\n").tashictl.cluster_id == "4f1c09ab77e2"


def test_an_ignored_layer_gives_a_warning_and_nothing_else() -> None:
    merged = merge([Layer(path="etc/Tashi.cfg", text="[Qemu]\naccel = kvm\n", ignored="foreign")])
    assert merged.settings == Settings()
    assert notes(merged, Weight.WARNING) == [("ignored: foreign", "etc/Tashi.cfg")]


def test_a_layer_that_only_the_server_may_read_gives_no_warning() -> None:
    merged = merge([Layer(path="Agent.cfg", text="", ignored="not yours", unreadable=True)])
    assert notes(merged, Weight.NOTE) == [("ignored: not yours", "Agent.cfg")]
    assert notes(merged, Weight.WARNING) == []


@pytest.mark.parametrize(
    "text",
    ["[DhcpDns]\ndnsSecretKey = s3cret", "[DhcpDns]\nDHCPSECRETKEY = s3cret",
     "[SQL]\npassword = s3cret"],
)  # fmt: skip
def test_a_secret_in_a_file_that_others_can_read_is_refused_with_the_chmod(text: str) -> None:
    (problem,) = problems(layer(text, "/etc/my tashi/Agent.cfg", others_read=True))
    assert problem.code == "E-SECRET"
    assert problem.hint == "chmod 600 '/etc/my tashi/Agent.cfg'"
    assert "s3cret" not in f"{problem.what} {problem.cause} {problem.hint}"
    assert merge([layer(text)]).notes == ()


def test_no_secret_is_shown_by_the_listing_a_note_or_a_repr() -> None:
    text = (
        "[DhcpDns]\ndnsSecretKey = s3cret\ndhcpSecretKey = s3cret\n"
        "[SQL]\nuri = mysql://tashi:s3cret@db/tashi\npassword = s3cret\n"
        "[LdapOverride]\nldapCommand = ldapsearch -xw 's3cret s3cret' -b dc=x\n"
        "[AccessNodeManager]\npassword = s3cret\n"
    )
    merged = merge([layer(text)])
    assert "s3cret" not in repr(merged) + repr(listing(merged)) + str(merged.settings.sql.password)
    shown = {o.option: o.value for o in listing(merged)}
    assert shown["uri"] == "mysql://tashi:***@db/tashi"
    assert shown["ldapCommand"] == "ldapsearch -xw *** -b dc=x"
    assert merged.settings.sql.password == Secret("s3cret")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("ldapsearch -x -w s3cret -h h", "ldapsearch -x -w *** -h h"),
        ("ldapsearch -ws3cret -h h", "ldapsearch -w *** -h h"),
        ("ldapsearch -w 's3'\"cret x\" -z 0", "ldapsearch -w *** -z 0"),
        ("ldapsearch -w s3\\ cret -z 0", "ldapsearch -w *** -z 0"),
        ("ldapsearch -w 's3cret -z 0", "ldapsearch -w ***"),
        ("ldapsearch -y /etc/file -z 0", "ldapsearch -y /etc/file -z 0"),
    ],
)
def test_the_password_of_an_ldap_command_is_masked_however_it_is_written(
    command: str, shown: str
) -> None:
    option = next(o for o in OPTIONS if o.name == "ldapCommand")
    assert show(option, Secret(command)) == shown


def test_the_listing_has_every_option_once_with_its_value_and_origin() -> None:
    found = {(o.section, o.option): o for o in listing(merge([layer(GUIDE)]))}
    assert found[("Primitive", "densePack")].where == "Tashi.cfg:34"
    assert found[("Vfs", "shared")].value == "False"
    assert found[("Vfs", "shared")].where == "default"
    used = [o for o in OPTIONS if o.kind is not Kind.OBSOLETE and not o.is_family]
    assert len(found) == len(used)


def test_every_option_has_a_field_of_settings_and_no_field_is_without_an_option() -> None:
    used = [o.field for o in OPTIONS if o.kind is not Kind.OBSOLETE]
    assert len(used) == len(set(used))
    for field in used:
        value_at(Settings(), field)
    fields = {
        f"{group}.{name}" if getattr(value, "__struct_fields__", None) else group
        for group in Settings.__struct_fields__
        for value in [getattr(Settings(), group)]
        for name in getattr(value, "__struct_fields__", ("",))
    }
    assert fields - set(used) == {"raw"}


def test_the_choices_of_devices_are_those_that_a_hint_may_name() -> None:
    choices = {o.name: set(o.choices) for o in OPTIONS}
    assert choices["diskInterface"] == set(DISK_INTERFACES)
    assert choices["nicModel"] == set(NIC_MODELS)
