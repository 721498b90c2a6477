"""What is played: inventory, hosts, an image, VMs on all hosts, their network, their end."""

from __future__ import annotations

from demo.stage import Stage
from tests.live.lab.hosts import Lab, observe

NAMES = ("web1", "web2", "web3")


def play(stage: Stage) -> None:
    """The whole evening; raises stage.Failed where something is not as it should be."""
    _hosts(stage)
    _vms(stage)
    _power(stage)
    _end(stage)


def left_over(lab: Lab) -> list[str]:
    """QEMUs and TAPs that are still on a host, in words."""
    found = []
    for host in lab.hosts:
        seen = observe(host)
        found += [f"{host.name}: QEMU {qemu.pid}" for qemu in seen.qemus]
        found += [f"{host.name}: {link}" for link in seen.links]
    return found


def address(lab: Lab, number: int) -> str:
    """The address of a guest: 11, 12, 13 in the network of the VMs."""
    return f"{lab.wiring.vm_subnet}.{10 + number}"


def _hosts(stage: Stage) -> None:
    lab = stage.lab
    stage.chapter("A cluster is a directory on your workstation")
    stage.tashictl("init", str(stage.cluster))
    lines = [f"defaults: {{identity_file: {lab.key}, cores: 2, memory: 1G}}", "hosts:"]
    lines += [f"  {host.name}: {{address: {host.address}}}" for host in lab.hosts]
    network = (
        f"{{id: 1, name: lan, bridge: vmbr, default: true, cidr: {lab.wiring.vm_subnet}.0/24}}"
    )
    lines += ["networks:", f"  - {network}", ""]
    stage.show_file(stage.cluster / "inventory" / "lab.yaml", "\n".join(lines))
    stage.chapter("Hosts are trusted by their key's fingerprint; nothing is installed on them")
    for host in lab.hosts:
        stage.tashictl("host", "add", host.name, "--fingerprint", host.host_key_fingerprint)
    stage.tashictl("host", "list")
    stage.chapter("A tiny guest, made here in a few seconds, goes to every host")
    stage.tashictl("image", "build-demo")
    stage.tashictl("image", "list")


def _vms(stage: Stage) -> None:
    stage.chapter("Three VMs with your SSH key; placement spreads them")
    for number, name in enumerate(NAMES, 1):
        nic = f"lan:{address(stage.lab, number)}"
        disk = ("--disk", "demo.qcow2", "--memory", "128M")
        key = ("--ssh-key", "id_ed25519.pub", "--wait", "ssh")
        stage.tashictl("vm", "create", name, *disk, "--nic", nic, *key)
    stage.tashictl("vm", "list")
    stage.tashictl("status")
    stage.chapter("Log in, and ping the guests on the other hosts")
    for other in (2, 3):
        stage.ssh(address(stage.lab, 1), "ping", "-c", "2", address(stage.lab, other))
    stage.tashictl("vm", "console", "web1", "--log", "--lines", "6")


def _power(stage: Stage) -> None:
    stage.chapter("Pause and go on, one or all")
    stage.tashictl("vm", "pause", "web1")
    stage.tashictl("vm", "list")
    stage.tashictl("vm", "unpause", "web1")
    stage.chapter("What would happen? Ask first")
    stage.tashictl("vm", "destroy", "web3", "--dry-run")
    stage.chapter("The power button: the guest shuts down by itself, then nothing is left of it")
    stage.tashictl("vm", "shutdown", "web1")


def _end(stage: Stage) -> None:
    stage.chapter("Destroy the rest")
    stage.tashictl("vm", "destroy", "web*", "-y")
    stage.tashictl("status")
    for host in stage.lab.hosts:
        stage.tashictl("host", "remove", host.name, "-y")
