"""Settings: the configuration after all layers were merged, typed, with units in the names.

The names of sections and options are Tashi's; the comment beside a field gives them. A default is
Tashi's, or ours where Tashi's is of 2012 (docs/formats.md lists both).
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Secret(Struct, frozen=True):
    """A key or password, kept out of every repr and log; `value` is the text itself."""

    value: str

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


class Server(Struct, frozen=True, kw_only=True):
    """A server as Tashi writes it, ``host port``; `host` is a name or an address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host} {self.port}"


class IpRange(Struct, frozen=True, kw_only=True):
    """[DhcpDns] ipRange<network>: the addresses that VMs get there, both ends included.

    Both are IPv4 or both IPv6, in normal form, and `first` is not above `last`.
    """

    network: int
    first: str
    last: str


class PortRange(Struct, frozen=True, kw_only=True):
    """TCP ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


class RawOption(Struct, frozen=True, kw_only=True):
    """An option that is kept as it was written: logging, FromConfig, parts without a successor.

    Nothing of it is ever evaluated. A password in it is kept as ``***``.
    """

    section: str
    option: str
    value: str


class QemuSettings(Struct, frozen=True, kw_only=True):
    """[Qemu]: how virtual machines are started."""

    qemu_bin: str = (
        ""  # qemuBin; empty: qemu-system-<arch>, /usr/libexec/qemu-kvm, kvm in this order
    )
    accel: str = "auto"  # accel: auto, kvm, tcg
    machine: str = "pc"  # machine: alias, versioned at first start
    cpu_model: str = "x86-64-v2"  # cpuModel: a named baseline, resolved at first start
    disk_interface: str = "virtio"  # diskInterface
    nic_model: str = "virtio"  # nicModel
    reserved_memory_mib: int = 512  # reservedMem
    start_timeout_s: float = 20.0  # startTimeout
    powerdown_timeout_s: float = 60.0  # powerdownTimeout: what a host's shutdown gives a guest
    monitor_timeout_s: float = 60.0  # monitorTimeout
    scratch_dir: str = "/tmp"  # scratchDir
    versions: tuple[str, ...] = ()  # versions: QEMU versions that may be used, empty for all
    migration_retries: int = 10  # migrationRetries
    migrate_timeout_s: float = 300.0  # migrateTimeout
    max_parallel_migrations: int = 10  # maxParallelMigrations
    scratch_vg: str | None = None  # scratchVg: LVM volume group for scratchSpace, else a file
    suspend_handler: str = "gzip"  # suspendHandler: filter that a suspended state is written by
    resume_handler: str = "zcat"  # resumeHandler: filter that reads it again


class ClusterSettings(Struct, frozen=True, kw_only=True):
    """[ClusterManagerService]: limits and freshness."""

    max_memory_mib: int = 8192  # maxMemory
    max_cores: int = 8  # maxCores
    default_network: int | None = None  # defaultNetwork
    allow_decayed_s: float = 30.0  # allowDecayed
    expire_host_time_s: float = 30.0  # expireHostTime
    allow_mismatched_versions: bool = False  # allowMismatchedVersions
    on_host_reboot: str = "hold"  # onHostReboot: restart, hold, forget


class TashictlSettings(Struct, frozen=True, kw_only=True):
    """[Tashictl]: what Tashi did not have."""

    cluster_id: str = ""  # clusterId: 12 hex digits made by init
    lock_timeout_s: float = 10.0  # lockTimeout
    connect_timeout_s: float = 10.0  # connectTimeout
    step_timeout_s: float = 120.0  # stepTimeout: the longest that one batch may run on a host
    run_dir: str = "/run/tashi"  # runDir
    lib_dir: str = "/var/lib/tashi"  # libDir
    etc_dir: str = "/etc"  # etcDir: where qemu-ifup.<network> lies
    # sshPorts: of a host's 127.0.0.1, for guests on networks of mode user
    ssh_ports: PortRange = PortRange(first=22000, last=22999)
    mac_prefix: str = "52:54:00"  # macPrefix: what MACs begin with
    backups: int = 20  # backups: old states that are kept
    parallel: int = 16  # parallel: hosts that are worked on at once
    per_host: int = 4  # perHost: VMs on one host that are worked on at once
    sweep_interval_s: float = 60.0  # sweepInterval: how often cron runs `sweep`
    sweep_timeout_s: float = 300.0  # sweepTimeout: after it a sweep begins nothing more
    history_raw_s: float = 7 * 86400.0  # historyRaw: how long samples are kept as they are
    history_rollup_s: float = 400 * 86400.0  # historyRollup: and their quarters of an hour


class DnsSettings(Struct, frozen=True, kw_only=True):
    """[DhcpDns], the DNS half: dynamic updates (RFC 2136). Used when a server is named."""

    enabled: bool = True  # dnsEnabled
    server: Server | None = None  # dnsServer, "host port", port 53
    domain: str | None = None  # dnsDomain
    key_file: str | None = None  # dnsKeyFile: a BIND K*.private file
    key_name: str | None = None  # dnsKeyName
    secret_key: Secret | None = None  # dnsSecretKey, base64
    key_algorithm: str = "hmac-md5"  # dnsKeyAlgorithm: of dnsKeyName; a key file says its own
    expire_s: int = 300  # dnsExpire: the records' TTL
    reverse: bool = True  # reverseDns: PTR records too
    zones: tuple[str, ...] = ()  # dnsZones: forward and reverse; empty: asked of the server
    policy: str = "required"  # dns: required or deferred, when the server cannot be had
    timeout_s: float = 5.0  # dnsTimeout: of one message


class DhcpSettings(Struct, frozen=True, kw_only=True):
    """[DhcpDns], the DHCP half: OMAPI. Used when a server is named."""

    enabled: bool = True  # dhcpEnabled
    server: Server | None = None  # dhcpServer, "host port", port 7911
    key_name: str | None = None  # dhcpKeyName
    secret_key: Secret | None = None  # dhcpSecretKey, base64
    key_algorithm: str = "hmac-md5"  # dhcpKeyAlgorithm: hmac-md5, hmac-sha1, hmac-sha256 …
    quarantine_s: float = 86400.0  # quarantine: how long an address unaccounted for is kept back
    lease_s: float = 3600.0  # leaseTime: the longest lease; a freed address rests for it
    policy: str = "required"  # dhcp: required or deferred, when the server cannot be had
    timeout_s: float = 5.0  # dhcpTimeout: of one request
    probe: bool = False  # probeAddresses: ask on the wire before an address is used
    leases_file: str = "/var/lib/dhcp/dhcpd.leases"  # dhcpLeases, on the server
    conf_file: str = "/etc/dhcp/dhcpd.conf"  # dhcpConf, on the server
    dnsmasq_host: str | None = None  # dnsmasqHost: the host of the inventory that runs dnsmasq
    dnsmasq_leases_dir: str = "/etc/tashi/dnsmasq.hosts"  # dnsmasqHostsDir: its dhcp-hostsdir
    dnsmasq_names_dir: str = ""  # dnsmasqNamesDir: its hostsdir, empty for none
    dnsmasq_pid_file: str = "/run/dnsmasq/dnsmasq.pid"  # dnsmasqPidFile


class UserSettings(Struct, frozen=True, kw_only=True):
    """Where users come from: [ClusterManager] data, [GetentOverride], [LdapOverride]."""

    source: str = "GetentOverride"  # ClusterManager data: the last part of Tashi's class name
    getent_base: str = "TinyDb"  # GetentOverride baseData
    getent_fetch_threshold_s: float = 60.0  # GetentOverride fetchThreshold
    getent_from_file: bool = False  # GetentOverride getentFromLocalFile
    getent_file: str | None = None  # GetentOverride getentLocalFile: lines as in passwd(5)
    ldap_base: str = "TinyDb"  # LdapOverride baseData
    ldap_fetch_threshold_s: float = 3600.0  # LdapOverride fetchThreshold
    ldap_name_key: str = "sAMAccountName"  # LdapOverride nameKey
    ldap_id_key: str = "msSFU30UidNumber"  # LdapOverride idKey
    ldap_command: Secret | None = None  # LdapOverride ldapCommand; may hold a password (-w)


class SqlSettings(Struct, frozen=True, kw_only=True):
    """[SQL]: the state in a database server."""

    uri: Secret | None = None  # uri: sqlite:… or mysql://user@host/db; may hold a password
    password: Secret | None = None  # password


class StatsSettings(Struct, frozen=True, kw_only=True):
    """What is measured, published and accounted; an interval of 0 is off."""

    host_interval_s: float = 0.0  # NodeManagerService statsInterval
    vm_interval_s: float = 0.0  # Qemu statsInterval
    publisher: str = ""  # ClusterManager publisher: the last part of Tashi's class name
    ganglia_dmax_s: int = 60  # GangliaPublisher dmax
    ganglia_retry_s: int = 3600  # GangliaPublisher retry
    accounting_poll_s: float = 600.0  # AccountingService pollSleep


class Settings(Struct, frozen=True, kw_only=True):
    """All settings that the operations read."""

    tashictl: TashictlSettings = TashictlSettings()
    cluster: ClusterSettings = ClusterSettings()
    qemu: QemuSettings = QemuSettings()
    vfs_prefix: str = "/var/lib/tashi/shared"  # [Vfs] prefix
    vfs_shared: bool = False  # [Vfs] shared: all hosts see the same prefix
    dense_pack: bool = False  # [Primitive] densePack
    dns: DnsSettings = DnsSettings()
    dhcp: DhcpSettings = DhcpSettings()
    ip_ranges: tuple[IpRange, ...] = ()  # [DhcpDns] ipRange<n>, by network id
    users: UserSettings = UserSettings()
    sql: SqlSettings = SqlSettings()
    stats: StatsSettings = StatsSettings()
    hooks: tuple[str, ...] = ()  # [Primitive] hook<n>, by number
    raw: tuple[RawOption, ...] = ()  # logging and what is only kept

    @property
    def decayed_after_s(self) -> float:
        """When a picture of a host or VM is too old: allowDecayed, or 2.5 sweeps if that is longer.

        A sweep may be late, and one may be missed.
        """
        return max(self.cluster.allow_decayed_s, 2.5 * self.tashictl.sweep_interval_s)

    @property
    def image_folder(self) -> str:
        """Where images lie on every host."""
        return f"{self.vfs_prefix.rstrip('/')}/images"


class Layer(Struct, frozen=True, kw_only=True):
    """One configuration file as it was found; later layers win.

    `ignored` says why its text must not be used (``""``: it is used); `unreadable` that the caller
    may not read it, which is no fault; `others_read` that its mode lets everybody read it.
    """

    path: str
    text: str
    ignored: str = ""
    unreadable: bool = False
    others_read: bool = False


class Weight(Enum):
    """How loudly a note is told: a WARNING always, a NOTE where the configuration is looked at."""

    NOTE = "note"
    WARNING = "warning"


class Note(Struct, frozen=True, kw_only=True):
    """Something about the configuration that is no error; `where` is ``path:line`` or a source."""

    weight: Weight
    text: str
    where: str


class Origin(Struct, frozen=True, kw_only=True):
    """An option as text, secrets masked; `where` is ``default``, ``path:line`` or the like."""

    section: str
    option: str
    value: str
    where: str


class Merged(Struct, frozen=True, kw_only=True):
    """The merged configuration; `origins` holds only what some layer set, in the table's order."""

    settings: Settings
    origins: tuple[Origin, ...] = ()
    notes: tuple[Note, ...] = ()

    def where(self, section: str, option: str) -> str:
        """Where an option was set, ``default`` if nowhere; names as Tashi spells them."""
        return next(
            (o.where for o in self.origins if (o.section, o.option) == (section, option)), "default"
        )
