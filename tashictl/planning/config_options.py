"""The one table of configuration options: Tashi's spelling, our field, its kind and its limits.

Defaults are not repeated here: they are those of `tashictl.model.settings`. Options of Tashi
without a successor stand in it too, with the reason: a real site's files are accepted with notes.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Kind(Enum):
    """How an option's text is read; the value is what the documentation says of it."""

    INT = "number"
    SECONDS = "seconds, or with ms s m h d"
    WHOLE_SECONDS = "whole seconds"
    MEMORY = "MiB, or with K M G"
    BOOL = "True or False"
    CHOICE = "one of"
    CLASS = "name of a class, its last part counts"
    VERSIONS = "versions, by commas"
    NAMES = "domain names, by commas"
    MAC_PREFIX = "three or four bytes of a MAC"
    SERVER = "host, or host port"
    PATH = "absolute path on the hosts"
    FILE = "path on the controller"
    TEXT = "text"
    SECRET = "secret"
    RANGE = "first-last"
    PORTS = "first-last, ports"
    CLUSTER_ID = "12 hex digits"
    OBSOLETE = "not used"


class Option(Struct, frozen=True, kw_only=True):
    """One option; `field` is a path below Settings (``qemu.accel``), or empty when it has none.

    A name that ends in ``<n>`` is a family: any number may follow. `low` and `high` are inclusive.
    `port` is what a SERVER without a port gets. `note` says why an option is obsolete, or its unit.
    """

    section: str
    name: str
    field: str = ""
    kind: Kind = Kind.OBSOLETE
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    port: int = 0
    note: str = ""

    @property
    def is_family(self) -> bool:
        """Whether a number follows the name."""
        return self.name.endswith("<n>")


_K = Kind
_STORES = ("FromConfig", "Pickled", "SQL", "TinyDb")
_NIC_MODELS = (
    *("virtio", "virtio-net", "virtio-net-pci", "e1000", "e1000e"),
    *("rtl8139", "pcnet", "ne2k_pci", "vmxnet3"),
)
_HMACS = ("hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
_NO_DAEMON = "there is no daemon; hosts are reached over SSH"
_INVENTORY = "hosts and networks are in the inventory; kept as it is for config convert"


def _typed(section: str, rows: tuple[tuple[str, str, Kind, str], ...]) -> tuple[Option, ...]:
    return tuple(Option(section=section, name=n, field=f, kind=k, note=t) for n, f, k, t in rows)


def _numbers(section: str, rows: tuple[tuple[str, str, Kind, int], ...]) -> tuple[Option, ...]:
    return tuple(Option(section=section, name=n, field=f, kind=k, low=low) for n, f, k, low in rows)


def _history(*rows: tuple[str, str, int, str]) -> tuple[Option, ...]:
    return tuple(
        Option(section="Tashictl", name=n, field=f, kind=_K.SECONDS, low=days * 86400, note=t)
        for n, f, days, t in rows
    )


def _choice(section: str, name: str, field: str, *choices: str) -> Option:
    return Option(section=section, name=name, field=field, kind=_K.CHOICE, choices=choices)


def _class(section: str, name: str, field: str, *choices: str) -> Option:
    return Option(section=section, name=name, field=field, kind=_K.CLASS, choices=choices)


def _obsolete(section: str, names: str, why: str) -> tuple[Option, ...]:
    return tuple(Option(section=section, name=name, note=why) for name in names.split())


OPTIONS: tuple[Option, ...] = (
    *_typed(
        "Tashictl",
        (
            ("clusterId", "tashictl.cluster_id", _K.CLUSTER_ID, "made by `init`"),
            ("lockTimeout", "tashictl.lock_timeout_s", _K.SECONDS, ""),
            ("connectTimeout", "tashictl.connect_timeout_s", _K.SECONDS, ""),
            ("stepTimeout", "tashictl.step_timeout_s", _K.SECONDS, "one batch on a host"),
            ("runDir", "tashictl.run_dir", _K.PATH, "gone at reboot"),
            ("libDir", "tashictl.lib_dir", _K.PATH, ""),
            ("macPrefix", "tashictl.mac_prefix", _K.MAC_PREFIX, "what MACs begin with"),
            ("etcDir", "tashictl.etc_dir", _K.PATH, "where `qemu-ifup.<network>` lies"),
            (
                "sshPorts",
                "tashictl.ssh_ports",
                _K.PORTS,
                "of 127.0.0.1, to guests of user networks",
            ),
        ),
    ),
    *_typed(
        "Tashictl",
        (
            ("sweepInterval", "tashictl.sweep_interval_s", _K.SECONDS, "how often `sweep` is run"),
            ("sweepTimeout", "tashictl.sweep_timeout_s", _K.SECONDS, "then it begins nothing more"),
        ),
    ),
    *_numbers(
        "Tashictl",
        (
            ("backups", "tashictl.backups", _K.INT, 0),
            ("parallel", "tashictl.parallel", _K.INT, 1),
            ("perHost", "tashictl.per_host", _K.INT, 1),
        ),
    ),
    *_history(
        ("historyRaw", "tashictl.history_raw_s", 2, "samples as they are; at least two days"),
        (
            "historyRollup",
            "tashictl.history_rollup_s",
            7,
            "least, mean and greatest of 15 minutes; at least a week",
        ),
    ),
    *_obsolete("Security", "authAndEncrypt", "SSH authenticates and encrypts"),
    _class("ClusterManager", "data", "users.source", *_STORES, "GetentOverride", "LdapOverride"),
    _class("ClusterManager", "publisher", "stats.publisher"),
    *_obsolete("ClusterManager", "service nodeManagerPort", _NO_DAEMON),
    *_obsolete("ClusterManager", "dfs", "Vfs is the only one"),
    *_numbers(
        "ClusterManagerService",
        (
            ("maxMemory", "cluster.max_memory_mib", _K.MEMORY, 1),
            ("maxCores", "cluster.max_cores", _K.INT, 1),
            ("defaultNetwork", "cluster.default_network", _K.INT, 0),
        ),
    ),
    *_typed(
        "ClusterManagerService",
        (
            ("allowDecayed", "cluster.allow_decayed_s", _K.SECONDS, ""),
            ("expireHostTime", "cluster.expire_host_time_s", _K.SECONDS, ""),
            (
                "allowMismatchedVersions",
                "cluster.allow_mismatched_versions",
                _K.BOOL,
                "versions of QEMU",
            ),
        ),
    ),
    _choice(
        "ClusterManagerService",
        "onHostReboot",
        "cluster.on_host_reboot",
        *("restart", "hold", "forget"),
    ),
    *_obsolete("ClusterManagerService", "host port convertExceptions bind", _NO_DAEMON),
    *_obsolete("ClusterManagerService", "allowDuplicateNames", "names are unique"),
    *_obsolete(
        "ClusterManagerService", "accountingHost accountingPort", "the state keeps the events"
    ),
    _class("GetentOverride", "baseData", "users.getent_base", *_STORES),
    *_typed(
        "GetentOverride",
        (
            ("fetchThreshold", "users.getent_fetch_threshold_s", _K.SECONDS, ""),
            ("getentFromLocalFile", "users.getent_from_file", _K.BOOL, ""),
            ("getentLocalFile", "users.getent_file", _K.FILE, "lines as in passwd(5)"),
        ),
    ),
    _class("LdapOverride", "baseData", "users.ldap_base", *_STORES),
    *_typed(
        "LdapOverride",
        (
            ("fetchThreshold", "users.ldap_fetch_threshold_s", _K.SECONDS, ""),
            ("nameKey", "users.ldap_name_key", _K.TEXT, ""),
            ("idKey", "users.ldap_id_key", _K.TEXT, ""),
            ("ldapCommand", "users.ldap_command", _K.SECRET, "a password (-w) is warned about"),
        ),
    ),
    *_obsolete("FromConfig", "hostlist host<n> machineType<n> network<n> user<n>", _INVENTORY),
    *_obsolete("Pickled", "file", "TinyDb takes its place; state import-tashi reads the old file"),
    Option(
        section="SQL", name="uri", field="sql.uri", kind=_K.SECRET, note="`mysql://user@host/db`"
    ),
    Option(section="SQL", name="password", field="sql.password", kind=_K.SECRET),
    *_obsolete("NodeManager", "dfs vmm service publisher", _NO_DAEMON),
    _numbers("NodeManagerService", (("statsInterval", "stats.host_interval_s", _K.SECONDS, 0),))[0],
    *_obsolete(
        "NodeManagerService",
        "convertExceptions port registerHost registerFrequency infoFile clusterManagerHost"
        " clusterManagerPort bind",
        _NO_DAEMON,
    ),
    *_typed(
        "Qemu",
        (
            ("qemuBin", "qemu.qemu_bin", _K.TEXT, "empty: found on each host"),
            ("machine", "qemu.machine", _K.TEXT, "versioned at first start"),
            ("cpuModel", "qemu.cpu_model", _K.TEXT, "a named baseline"),
            ("scratchDir", "qemu.scratch_dir", _K.PATH, "for scratchSpace only"),
            ("scratchVg", "qemu.scratch_vg", _K.TEXT, "LVM volume group for scratchSpace"),
            ("suspendHandler", "qemu.suspend_handler", _K.TEXT, ""),
            ("resumeHandler", "qemu.resume_handler", _K.TEXT, ""),
            ("startTimeout", "qemu.start_timeout_s", _K.SECONDS, ""),
            (
                "powerdownTimeout",
                "qemu.powerdown_timeout_s",
                _K.SECONDS,
                "for a guest when its host (with systemd) shuts down",
            ),
            ("monitorTimeout", "qemu.monitor_timeout_s", _K.SECONDS, ""),
            ("migrateTimeout", "qemu.migrate_timeout_s", _K.SECONDS, ""),
            ("statsInterval", "stats.vm_interval_s", _K.SECONDS, "0: off"),
            ("versions", "qemu.versions", _K.VERSIONS, "that may be used; empty: all from 7.2"),
        ),
    ),
    _choice("Qemu", "accel", "qemu.accel", "auto", "kvm", "tcg"),
    _choice(
        "Qemu",
        "diskInterface",
        "qemu.disk_interface",
        "virtio",
        "virtio-blk",
        "scsi",
        "virtio-scsi",
        "ide",
    ),
    _choice("Qemu", "nicModel", "qemu.nic_model", *_NIC_MODELS),
    *_numbers(
        "Qemu",
        (
            ("reservedMem", "qemu.reserved_memory_mib", _K.MEMORY, 0),
            ("migrationRetries", "qemu.migration_retries", _K.INT, 0),
            ("maxParallelMigrations", "qemu.max_parallel_migrations", _K.INT, 1),
        ),
    ),
    *_obsolete("Qemu", "useMigrateArgument", "it was for a patched QEMU"),
    *_obsolete("Qemu", "infoDir", "the state of a VM lies below runDir and libDir"),
    *_obsolete("Qemu", "pollDelay", "there is no daemon; the sweep asks"),
    Option(section="Vfs", name="prefix", field="vfs_prefix", kind=_K.PATH),
    Option(
        section="Vfs",
        name="shared",
        field="vfs_shared",
        kind=_K.BOOL,
        note="all hosts see the same prefix",
    ),
    *_obsolete("Client", "clusterManagerHost clusterManagerPort", _NO_DAEMON),
    *_obsolete("Client", "clusterManagerTimeout", "see [Tashictl] connectTimeout"),
    *_obsolete("Agent", "publisher", "see [ClusterManager] publisher"),
    Option(section="Primitive", name="densePack", field="dense_pack", kind=_K.BOOL),
    Option(
        section="Primitive",
        name="hook<n>",
        field="hooks",
        kind=_K.CLASS,
        note="called in the order of their numbers",
    ),
    *_obsolete("Primitive", "scheduleDelay", "there is no daemon; the sweep places what waits"),
    *_typed(
        "DhcpDns",
        (
            ("dnsEnabled", "dns.enabled", _K.BOOL, "used when dnsServer is set"),
            ("dnsDomain", "dns.domain", _K.TEXT, ""),
            ("dnsKeyFile", "dns.key_file", _K.FILE, "BIND's `K*.private`, or `tsig-keygen`'s"),
            ("dnsKeyName", "dns.key_name", _K.TEXT, ""),
            ("dnsSecretKey", "dns.secret_key", _K.SECRET, "base64"),
            ("dnsExpire", "dns.expire_s", _K.WHOLE_SECONDS, "time to live"),
            ("reverseDns", "dns.reverse", _K.BOOL, "PTR records too"),
            ("dhcpEnabled", "dhcp.enabled", _K.BOOL, "used when dhcpServer is set"),
            ("dhcpKeyName", "dhcp.key_name", _K.TEXT, ""),
            ("dhcpSecretKey", "dhcp.secret_key", _K.SECRET, "base64"),
            ("quarantine", "dhcp.quarantine_s", _K.SECONDS, "of addresses unaccounted for"),
            ("leaseTime", "dhcp.lease_s", _K.SECONDS, "a freed address rests for it and dnsExpire"),
            ("dnsZones", "dns.zones", _K.NAMES, "forward and reverse; default: asked for"),
            ("dnsTimeout", "dns.timeout_s", _K.SECONDS, "of one message"),
            ("dhcpTimeout", "dhcp.timeout_s", _K.SECONDS, "of one request"),
            ("probeAddresses", "dhcp.probe", _K.BOOL, "ask on the wire before one is used"),
            ("dhcpLeases", "dhcp.leases_file", _K.PATH, "on the server, for `audit`"),
            ("dhcpConf", "dhcp.conf_file", _K.PATH, "on the server, for `net verify`"),
            ("dnsmasqHost", "dhcp.dnsmasq_host", _K.TEXT, "a host of the inventory"),
            ("dnsmasqHostsDir", "dhcp.dnsmasq_leases_dir", _K.PATH, "its dhcp-hostsdir"),
            ("dnsmasqNamesDir", "dhcp.dnsmasq_names_dir", _K.PATH, "its hostsdir; default: none"),
            ("dnsmasqPidFile", "dhcp.dnsmasq_pid_file", _K.PATH, ""),
            ("ipRange<n>", "ip_ranges", _K.RANGE, "of the network with that id"),
        ),
    ),
    _choice("DhcpDns", "dns", "dns.policy", "required", "deferred"),
    _choice("DhcpDns", "dhcp", "dhcp.policy", "required", "deferred"),
    _choice("DhcpDns", "dnsKeyAlgorithm", "dns.key_algorithm", *_HMACS),
    _choice("DhcpDns", "dhcpKeyAlgorithm", "dhcp.key_algorithm", *_HMACS),
    Option(
        section="DhcpDns",
        name="dnsServer",
        field="dns.server",
        kind=_K.SERVER,
        port=53,
        note="port 53",
    ),
    Option(
        section="DhcpDns",
        name="dhcpServer",
        field="dhcp.server",
        kind=_K.SERVER,
        port=7911,
        note="port 7911",
    ),
    *_obsolete("DhcpDns", "clusterManagerHost clusterManagerPort", _NO_DAEMON),
    *_typed(
        "GangliaPublisher",
        (
            ("dmax", "stats.ganglia_dmax_s", _K.WHOLE_SECONDS, ""),
            ("retry", "stats.ganglia_retry_s", _K.WHOLE_SECONDS, ""),
        ),
    ),
    *_obsolete("Accounting", "service", _NO_DAEMON),
    *_typed("AccountingService", (("pollSleep", "stats.accounting_poll_s", _K.SECONDS, ""),)),
    *_obsolete("AccountingService", "port", _NO_DAEMON),
)

# Sections in which every option is accepted and none is used; the reason is noted once per file.
OBSOLETE_SECTIONS: dict[str, str] = {
    "AccessClusterManager": "SSH keys take its place",
    "AccessNodeManager": "SSH keys take its place",
    "AllowedUsers": "SSH keys take its place",
    "XenPV": "QEMU is the only hypervisor",
    "MauiWiki": "placement is built in",
    "LocalityService": "the inventory's rack takes its place",
    "MessageBroker": "publishers take its place",
    "AWS": "it has no successor",
}

# Python's logging, kept as text; only our own reader with its list of handlers looks at it.
LOGGING_SECTIONS = ("loggers", "handlers", "formatters")
LOGGING_PREFIXES = ("logger_", "handler_", "formatter_")

# Secrets that must not stand in a file that others can read.
GUARDED = frozenset({"dns.secret_key", "dhcp.secret_key", "sql.password"})

SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(o.section for o in OPTIONS))


def is_logging(section: str) -> bool:
    """Whether a section belongs to Python's logging configuration."""
    return section in LOGGING_SECTIONS or section.startswith(LOGGING_PREFIXES)
