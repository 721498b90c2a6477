"""What a host must have, held against what was seen of it; each with the remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from tashictl.model.host import HostConfig, HostFacts
from tashictl.model.network import Network
from tashictl.model.script import Fault
from tashictl.model.settings import Settings
from tashictl.model.units import show_bytes, show_memory
from tashictl.planning import accelerator
from tashictl.planning.facts import Reading
from tashictl.planning.ground import Folder, Ground
from tashictl.planning.shell import quote

MIN_QEMU = (7, 2)
_CLOCK_S = 30.0
_FULL_MIB, LOW_MIB = 16, 2048  # below the first nothing can be made; below the second it is said
_LEAST_MEMORY_MIB = 128
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "ceph", "gluster", "fuse", "ocfs", "gfs", "afs")
# By tool, the Debian package that brings it.
PACKAGES = {
    "qemu-img": "qemu-utils",
    "ip": "iproute2",
    "flock": "util-linux",
    "setsid": "util-linux",
    "awk": "mawk",
    "grep": "grep",
    "sed": "sed",
}
_COREUTILS = "coreutils"
_FOR_WIRED = ("ip",)  # needed only where a network is a bridge


class Finding(Struct, frozen=True, kw_only=True):
    """One requirement: `ok`, what was seen, and the remedy, whose first line is the main thing.

    One that is met and has a remedy all the same is an advice.
    """

    check: str
    ok: bool
    seen: str
    remedy: str = ""

    @property
    def state(self) -> str:
        """``ok``, ``advice`` or ``not met``."""
        if not self.ok:
            return "not met"
        return "advice" if self.remedy else "ok"


class Place(Struct, frozen=True, kw_only=True):
    """What a host is held against; `networks` are those that it carries."""

    config: HostConfig
    settings: Settings
    networks: tuple[Network, ...]

    @property
    def wired(self) -> tuple[Network, ...]:
        """The networks that need a TAP; those of mode user need nothing of the host."""
        return tuple(n for n in self.networks if n.mode != "user")


def place(config: HostConfig, settings: Settings, networks: Iterable[Network]) -> Place:
    """A host with those of `networks` that it carries."""
    asked = config.networks
    carried = tuple(n for n in networks if asked is None or {n.name, str(n.id)} & set(asked))
    return Place(config=config, settings=settings, networks=carried)


def findings(reading: Reading, at: Place) -> tuple[Finding, ...]:
    """Every requirement of a host, met or not."""
    facts, ground = reading.facts, reading.ground
    found: list[Finding] = []
    if ground is not None:
        found += [_login(ground, at), *_sockets(ground, at)]
    found += [_qemu(facts, at), accelerator_finding(reading, at), _tools(facts, at)]
    if ground is not None:
        found += [*_tap(ground, at), *_folders(ground, at), *_logout(ground)]
    found += [*_bridges(facts, at), _memory(facts, ground, at), _clock(facts), _cluster(facts, at)]
    return tuple(found)


def version_fits(version: str | None, settings: Settings) -> bool:
    """Whether a host's QEMU is at least 7.2 and, where [Qemu] versions is set, one of these."""
    if version is None:
        return True  # refused by the placement with a reason of its own
    numbers = tuple(int(n) for n in version.split(".")[:2] if n.isdecimal())
    allowed = settings.qemu.versions
    return numbers >= MIN_QEMU and (not allowed or any(version.startswith(a) for a in allowed))


def sudoers(user: str) -> str:
    """What root types on a host so that `user` may become root; honest: that is root."""
    path = "/etc/sudoers.d/tashi"
    return f"echo '{user} ALL=(root) NOPASSWD: ALL' >{path} && chmod 440 {path}"


def unreached(config: HostConfig, fault: Fault | None, cause: str, hint: str) -> Finding:
    """The finding for a host that gave no answer."""
    login = f"{config.user}@{config.address}"
    remedies = {
        Fault.RESOLVE: f"give its address in the inventory: {config.name}: {{address: …}}",
        Fault.REFUSED: f"on the host: apt-get install openssh-server (port {config.port} is asked)",
        Fault.NO_ROUTE: f"ping {config.address}",
        Fault.TCP_TIMEOUT: f"ping {config.address}; is it up, does a firewall drop port "
        f"{config.port}?",
        Fault.NO_BANNER: "its sshd hangs, or something else listens on that port",
        Fault.AUTH: f"ssh-copy-id {login}, or user and identity_file in the inventory",
        Fault.SUDO: f"on the host, as root: {sudoers(config.user)}",
    }
    remedy = remedies.get(fault, hint) if fault is not None else hint
    return Finding(check="reach", ok=False, seen=cause, remedy=remedy)


def not_added(name: str) -> Finding:
    """The advice for a host that the inventory lists and that no VM is placed on yet."""
    return Finding(check="added", ok=True, seen="not added yet", remedy=f"tashictl host add {name}")


# -- the login and how sockets are reached


def _login(ground: Ground, at: Place) -> Finding:
    if ground.uid == 0:
        seen = f"{ground.user}, root by sudo" if ground.sudo else "root"
        return Finding(check="login", ok=True, seen=seen)
    if not at.wired:
        return Finding(check="login", ok=True, seen=f"{ground.user}, networks of mode user only")
    wired = ", ".join(n.name for n in at.wired)
    return Finding(
        check="login",
        ok=False,
        seen=f"{ground.user} is not root (for {wired})",
        remedy=f"become: true in the inventory, and on the host, as root:\n{sudoers(ground.user)}\n"
        "or log in as root: user: root in the inventory",
    )


def _sockets(ground: Ground, at: Place) -> Iterator[Finding]:
    """How a VM's sockets are reached: by sshd, or else by a program that it starts."""
    if at.config.transport == "local":
        return
    if ground.forwarding in ("yes", "all", "local"):
        yield Finding(check="sockets", ok=True, seen="sshd forwards them")
        return
    allow = "AllowStreamLocalForwarding yes in /etc/ssh/sshd_config, then systemctl reload ssh"
    if ground.forwarding == "unknown":
        relay = f", else by {ground.relay}" if ground.relay else ""
        yield Finding(check="sockets", ok=True, seen=f"by sshd, which was not asked{relay}")
    elif ground.relay:
        yield Finding(
            check="sockets",
            ok=True,
            seen=f"sshd does not forward them, {ground.relay} does",
            remedy=allow,
        )
    else:
        yield Finding(
            check="sockets",
            ok=False,
            seen="sshd does not forward them",
            remedy=f"{allow}\nor: apt-get install socat",
        )


# -- programs and the processor


def _qemu(facts: HostFacts, at: Place) -> Finding:
    version = facts.qemu_version
    if version is None:
        package = "qemu-system-x86" if facts.arch == "x86_64" else "qemu-system"
        return Finding(
            check="qemu",
            ok=False,
            seen=f"none, or it does not say its version ({facts.qemu_bin or 'not found'})",
            remedy=f"apt-get install {package} qemu-utils",
        )
    seen = f"{version}, {facts.qemu_bin}" if facts.qemu_bin else version
    if version_fits(version, at.settings):
        return Finding(check="qemu", ok=True, seen=seen)
    allowed = at.settings.qemu.versions
    remedy = "a QEMU of 7.2 or later (Debian 12 has it)"
    if allowed and version_fits(version, Settings()):
        remedy = f"one of {', '.join(allowed)} ([Qemu] versions in Tashi.cfg)"
    return Finding(check="qemu", ok=False, seen=seen, remedy=remedy)


def accelerator_finding(reading: Reading, at: Place) -> Finding:
    """Whether KVM is used, and why not."""
    seen, remedy = accelerator.explain(reading, at.settings.qemu.cpu_model)
    if at.config.accel == "tcg" or (at.config.accel is None and at.settings.qemu.accel == "tcg"):
        return Finding(check="accel", ok=True, seen="tcg, as configured")
    wanted = (at.config.accel or at.settings.qemu.accel) == "kvm"
    ok = reading.facts.accel == "kvm" or not wanted
    return Finding(check="accel", ok=ok, seen=seen, remedy=remedy)


def _tools(facts: HostFacts, at: Place) -> Finding:
    missing = [t for t in facts.missing if at.wired or t not in _FOR_WIRED]
    if not missing:
        return Finding(check="tools", ok=True, seen="all there")
    packages = sorted({PACKAGES.get(tool, _COREUTILS) for tool in missing})
    return Finding(
        check="tools",
        ok=False,
        seen=f"missing: {', '.join(missing)}",
        remedy=f"apt-get install {' '.join(packages)}",
    )


# -- networks


def _tap(ground: Ground, at: Place) -> Iterator[Finding]:
    if not at.wired:
        return
    if ground.tun == "absent":
        seen, remedy = "no /dev/net/tun", "modprobe tun (a container must be given the device)"
    elif ground.tun != "usable":
        seen, remedy = "/dev/net/tun cannot be opened", "modprobe tun; ls -l /dev/net/tun"
    elif not ground.net_admin:
        seen, remedy = "the login may not make interfaces", "see login"
    else:
        yield Finding(check="tap", ok=True, seen="can be made")
        return
    yield Finding(check="tap", ok=False, seen=seen, remedy=remedy)


def _bridges(facts: HostFacts, at: Place) -> Iterator[Finding]:
    for bridge in dict.fromkeys(n.bridge for n in at.wired if n.bridge is not None):
        some = [n for n in at.wired if n.bridge == bridge]
        names = ", ".join(n.name for n in some)
        if bridge in facts.bridges:
            yield Finding(check=f"bridge {bridge}", ok=True, seen=f"there, for {names}")
            continue
        yield Finding(
            check=f"bridge {bridge}",
            ok=False,
            seen=f"absent, for {names}",
            remedy=make_bridge(bridge, some[0], at.config),
        )


def make_bridge(bridge: str, network: Network, config: HostConfig) -> str:
    """How to make a network's bridge, until the next boot and for good (ifupdown)."""
    if network.vlan_aware:  # a VLAN interface would take the frames before such a bridge does
        return f"tashictl net apply {config.name}"
    uplink, vlan = config.uplink, network.vlan
    file = f"/etc/network/interfaces.d/{bridge}"
    port = uplink if vlan is None or uplink is None else f"{uplink}.{vlan}"
    stanza = f"auto {bridge}\\niface {bridge} inet manual\\n  bridge_ports {port or 'none'}\\n"
    join = f" && {join_bridge(bridge, uplink, vlan)}" if uplink else ""
    return (
        f"ip link add name {bridge} type bridge && ip link set dev {bridge} up{join}\n"
        f"for good, with ifupdown and bridge-utils: printf '{stanza}' >{file} && ifup {bridge}"
    )


# -- room


def _folders(ground: Ground, at: Place) -> Iterator[Finding]:
    ours = at.settings.tashictl
    wanted = {"lib": ours.lib_dir, "run": ours.run_dir, "images": at.settings.image_folder}
    for name, path in wanted.items():
        folder = ground.folders.get(name)
        if folder is not None:
            yield _folder(name, path, folder, at)


def _folder(name: str, path: str, folder: Folder, at: Place) -> Finding:
    check = f"folder {name}"
    if not folder.writable:
        return Finding(
            check=check,
            ok=False,
            seen=f"{path} cannot be written ({folder.at} is read-only or another's)",
            remedy="log in as root, or become: true in the inventory; mount it writable"
            if at.config.user != "root" and not at.config.become
            else f"mount {quote(folder.at)} writable",
        )
    free = folder.free_mib
    shown = "free space unknown" if free is None else f"{show_bytes(free << 20)} free"
    seen = f"{shown} in {path}"
    if free is not None and free < (1 if name == "run" else _FULL_MIB):
        return Finding(
            check=check, ok=False, seen=seen, remedy=f"make room: df -h {quote(folder.at)}"
        )
    if name == "images":
        return _images(check, seen, folder, at)
    low = name == "lib" and free is not None and free < LOW_MIB
    remedy = f"little room for what VMs write: df -h {quote(folder.at)}" if low else ""
    return Finding(check=check, ok=True, seen=seen, remedy=remedy)


def _images(check: str, seen: str, folder: Folder, at: Place) -> Finding:
    remote = folder.kind.lower().startswith(_NETWORK_FILE_SYSTEMS)
    whose = "shared by all hosts" if at.settings.vfs_shared else "this host's own"
    remedy = ""
    if remote and not at.settings.vfs_shared:
        remedy = "[Vfs] shared = True in Tashi.cfg, if all hosts mount the same folder there"
    elif at.settings.vfs_shared and not remote:
        remedy = "[Vfs] shared says that all hosts see the same folder: mount it here too"
    elif folder.free_mib is not None and folder.free_mib < LOW_MIB:
        remedy = f"little room for images: df -h {quote(folder.at)}"
    return Finding(check=check, ok=True, seen=f"{seen}, {whose} ({folder.kind})", remedy=remedy)


def join_bridge(bridge: str, uplink: str, vlan: int | None) -> str:
    """How the uplink, or its VLAN interface, becomes a port of a bridge until the next boot."""
    if vlan is None:
        return f"ip link set dev {uplink} master {bridge}"
    port = f"{uplink}.{vlan}"
    return (
        f"ip link add link {uplink} name {port} type vlan id {vlan} "
        f"&& ip link set dev {port} up master {bridge}"
    )


def _memory(facts: HostFacts, ground: Ground | None, at: Place) -> Finding:
    kept = at.config.reserved_memory_mib
    if kept is None:
        kept = at.settings.qemu.reserved_memory_mib if at.config.memory_mib is None else 0
    whole = min(facts.memory_mib, at.config.memory_mib or facts.memory_mib)
    offered = max(0, whole - kept)
    seen = f"{show_memory(offered)} for VMs"
    if ground is not None and ground.available_mib:
        seen += f", {show_memory(ground.available_mib)} available now"
    if offered < _LEAST_MEMORY_MIB:
        remedy = f"{kept} MiB are kept for the host: reserved_memory in the inventory"
        return Finding(check="memory", ok=False, seen=seen, remedy=remedy)
    return Finding(check="memory", ok=True, seen=seen)


# -- the rest


def _logout(ground: Ground) -> Iterator[Finding]:
    """Whether systemd ends what a login without root has started when it logs out."""
    if not ground.systemd or ground.uid == 0:
        return
    # Lingering keeps the user's manager and XDG_RUNTIME_DIR, not what a session has started.
    if ground.kills_at_logout:
        seen = "VMs die at logout (KillUserProcesses=yes)"
        remedy = "become: true in the inventory; or on the host, as root, in"
        remedy += f" /etc/systemd/logind.conf: KillExcludeUsers={ground.user}"
    elif ground.lingers:
        seen, remedy = "VMs outlive it", ""
    else:
        seen = "VMs outlive it, but XDG_RUNTIME_DIR does not"
        remedy = f"where runDir lies there, as root: loginctl enable-linger {ground.user}"
    yield Finding(check="logout", ok=not ground.kills_at_logout, seen=seen, remedy=remedy)


def _clock(facts: HostFacts) -> Finding:
    ok = abs(facts.clock_offset_s) < _CLOCK_S
    remedy = "" if ok else "apt-get install systemd-timesyncd, or another NTP client"
    return Finding(check="clock", ok=ok, seen=f"{round(facts.clock_offset_s):+d} s", remedy=remedy)


def _cluster(facts: HostFacts, at: Place) -> Finding:
    ours = at.settings.tashictl
    ok = facts.claimed_by in (None, ours.cluster_id)
    return Finding(
        check="cluster",
        ok=ok,
        seen="free"
        if facts.claimed_by is None
        else f"ours, {ours.cluster_id}"
        if ok
        else f"belongs to {facts.claimed_by}",
        remedy=""
        if ok
        else "tashictl host remove, from that cluster's directory; if that is gone for good, "
        f"on the host: rm {ours.lib_dir}/cluster",
    )


def together(found: Sequence[tuple[str, Finding]]) -> list[tuple[list[str], Finding]]:
    """The same finding of several hosts as one, in the order of the first."""
    grouped: dict[Finding, list[str]] = {}
    for host, finding in found:
        grouped.setdefault(finding, []).append(host)
    return [(hosts, finding) for finding, hosts in grouped.items()]
