"""Where things lie on a host, and the names that the kernel limits."""

from __future__ import annotations

from typing import TypedDict

from msgspec import Struct

from tashictl.model.settings import Settings
from tashictl.model.steps import Step
from tashictl.model.vm import DiskSpec, Vm

HOST = "host"  # stands for the uuid where a step concerns no single VM


class VmPaths(Struct, frozen=True, kw_only=True):
    """The folders of one VM: `folder` lasts, `run_folder` is gone at reboot."""

    folder: str
    run_folder: str
    image_folder: str

    @property
    def qmp(self) -> str:
        """QEMU's monitor socket."""
        return f"{self.run_folder}/qmp.sock"

    @property
    def serial(self) -> str:
        """The socket of the serial console."""
        return f"{self.run_folder}/serial.sock"

    @property
    def seed(self) -> str:
        """The cloud-init seed that the guest reads as a disk."""
        return f"{self.folder}/seed.iso"

    def disk(self, disk: DiskSpec) -> str:
        """The file behind a disk: its overlay, or the image itself when it is persistent.

        The name of a volume or URI is where it is.
        """
        if disk.source != "image":
            return disk.name
        if disk.persistent:
            return f"{self.image_folder}/{disk.name}"
        return f"{self.folder}/disk{disk.index}.qcow2"


class At(TypedDict):
    """What every step says of where it happens."""

    host: str
    uuid: str
    folder: str
    run_folder: str


def at(host: str, uuid: str, settings: Settings) -> At:
    """Where a VM's steps happen on `host`."""
    where = of(uuid, settings)
    return At(host=host, uuid=uuid, folder=where.folder, run_folder=where.run_folder)


def at_step(step: Step) -> At:
    """Where another step happens."""
    return At(host=step.host, uuid=step.uuid, folder=step.folder, run_folder=step.run_folder)


def at_host(host: str, settings: Settings) -> At:
    """Where steps happen that concern no single VM: the folder is the image folder."""
    folder = settings.image_folder
    return At(host=host, uuid=HOST, folder=folder, run_folder=settings.tashictl.run_dir)


def net_dir(step: Step) -> str:
    """Where changes of the network lie on a step's host: beside the folders of VMs."""
    if step.uuid == HOST:
        return f"{step.run_folder}/net"
    return f"{step.run_folder.rsplit('/', 2)[0]}/net"


def of(uuid: str, settings: Settings) -> VmPaths:
    """The folders of the VM with this uuid on any host."""
    ours = settings.tashictl
    return VmPaths(
        folder=f"{ours.lib_dir}/{ours.cluster_id}/{uuid}",
        run_folder=f"{ours.run_dir}/{ours.cluster_id}/{uuid}",
        image_folder=settings.image_folder,
    )


def tap(vm: Vm, index: int) -> str:
    """The TAP device of a VM's nic: ``tashi<id>.<index>`` (Tashi; at most 15 characters)."""
    return f"tashi{vm.id}.{index}"


def taps(vm: Vm) -> list[str]:
    """The TAP devices of a VM: of all interfaces but those on networks of mode user."""
    return [tap(vm, nic.index) for nic in vm.spec.nics if nic.ssh_port is None]


def ifup(network_id: int, settings: Settings) -> str:
    """The script that hands a TAP to a network (Tashi, QEMU's script= contract)."""
    return f"{settings.tashictl.etc_dir}/qemu-ifup.{network_id}"
