"""Every check by its id, which is stable: scripts name it. docs/formats.md has this table."""

from __future__ import annotations

from msgspec import Struct


class Check(Struct, frozen=True, kw_only=True):
    """A check: what it looks at, and how bad it can be; `mends` says what --fix does about it."""

    id: str
    about: str
    severities: str
    mends: str = ""


def _check(id_: str, severities: str, about: str, mends: str = "") -> Check:
    return Check(id=id_, about=about, severities=severities, mends=mends)


_E, _W, _N = "error", "warning", "note"

CONTROLLER = (
    _check("controller.python", _E, "Python is as new as the package asks for"),
    _check("controller.packages", _E, "so is each package that it needs"),
    _check("controller.state-private", _E, "the state folder is its owner's alone", "chmod go="),
    _check("controller.state-network", _W, "it lies on a local file system, not on NFS"),
    _check("controller.state", f"{_W}, {_E}", "what `state check` finds"),
    _check("controller.disk", f"{_W}, {_E}", "room for the state: 256 MiB, at least 16"),
    _check("controller.locks", f"{_N}, {_W}", "locks of a process that died, or held over 1 h"),
    _check("controller.ssh-keys", f"{_W}, {_E}", "a key, in the agent or a file, for each host"),
    _check("controller.known-hosts", _W, "a trusted host key of each host"),
    _check("controller.secrets", _W, "files with keys that others can read"),
    _check("controller.sweep", f"{_N}, {_W}", "hosts were looked at within 2.5 sweeps"),
    _check("controller.config", f"{_N}, {_W}", "what `config check` says"),
)
HOST = (
    _check("host.reach", _E, "it answers; why not, and what to do"),
    _check("host.added", _N, "it was added"),
    _check("host.claim", _E, "it belongs to this cluster, or to none"),
    _check("host.login", _E, "root, or root by sudo, where a network is a bridge"),
    _check("host.tools", _E, "the programs that scripts use"),
    _check("host.tun", _E, "/dev/net/tun, and the right to make a TAP"),
    _check("host.logout", _E, "VMs outlive the logout of a login without root (KillUserProcesses)"),
    _check("host.systemd", _N, "systemd, which ends guests gently at a shutdown"),
    _check("host.clock", f"{_W}, {_E}", "within 2 s of this machine; over 60 s is an error"),
    _check("host.memory", _E, "memory for a VM"),
    _check("host.memory-free", _W, "128 MiB are available now"),
    _check("host.swap", _W, "less than half of the swap is used"),
    _check("host.apparmor", _W, "no enforced AppArmor profile confines QEMU"),
    _check("host.forwarding", _E, "ip_forward, where the host is the gateway of a network"),
    _check("ssh.sockets", f"{_N}, {_E}", "AllowStreamLocalForwarding, DisableForwarding"),
    _check("ssh.max-sessions", _W, "MaxSessions is at least 10"),
    _check("ssh.max-startups", _W, "MaxStartups begins at 5 or more"),
    _check("disk.lib", f"{_W}, {_E}", "libDir: writable, 2 GiB free, at least 16 MiB"),
    _check("disk.run", f"{_N}, {_E}", "runDir: writable, 1 MiB free"),
    _check("disk.images", f"{_N}, {_W}, {_E}", "the image folder: as libDir; shared as configured"),
    _check("qemu.version", _E, "QEMU of 7.2 or later, within [Qemu] versions"),
    _check("qemu.machines", _E, "it has the machine types of the VMs that are there"),
    _check("kvm.present", f"{_N}, {_W}, {_E}", "/dev/kvm is there and may be opened"),
    _check("kvm.hangs", f"{_W}, {_E}", "a guest of 16 bytes ends within 3 s"),
    _check("kvm.cpu", f"{_N}, {_E}", "KVM can show [Qemu] cpuModel"),
    _check("net.links", _W, "`ip -j` shows the interfaces"),
    _check("net.vlan-module", f"{_W}, {_E}", "8021q, where a network has a VLAN", "modprobe 8021q"),
    _check("net.bridge", _E, "the bridge of each network is there, and is a bridge"),
    _check("net.bridge-up", _E, "it is up"),
    _check("net.bridge-uplink", f"{_N}, {_E}", "the uplink, or its VLAN, is its port, and up"),
    _check("net.mtu", _W, "nothing on the way takes smaller frames than what is before it"),
    _check(
        "net.ifup",
        f"{_N}, {_W}",
        "/etc/qemu-ifup.N is there, executable, and as rendered; an operator's own is told",
        "written as rendered, 0755; never an operator's own",
    ),
    _check("net.clash", _W, "the bridge's name is none of docker's or libvirt's"),
    _check(
        "net.bridge-filter",
        f"{_N}, {_E}",
        "bridge-nf-call-iptables, -ip6tables with a FORWARD chain that drops or rejects",
    ),
)
CHECKS = (*CONTROLLER, *HOST)
