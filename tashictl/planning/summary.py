"""One line for people about each step: what a dry run and `op show` say."""

from __future__ import annotations

from collections.abc import Mapping

from tashictl.model.steps import (
    AddDhcp,
    AddDns,
    AddTap,
    AdoptQemu,
    ArmNet,
    AwaitExit,
    AwaitQmp,
    CheckDisk,
    CheckImage,
    CheckPort,
    ConfirmNet,
    CreateOverlay,
    GoNet,
    InstallPackages,
    JoinGroup,
    KillQemu,
    LetGo,
    LoadModule,
    MakeFolder,
    MakeReplicaFolder,
    MakeUser,
    MarkFences,
    MendIfup,
    PlaceImage,
    PlaceReplica,
    PlaceSeed,
    PressPowerButton,
    ProbeAddress,
    PutFile,
    PutImage,
    PutReplica,
    PutSeed,
    QmpCommand,
    ReleaseHost,
    RemoveDhcp,
    RemoveDir,
    RemoveDns,
    RemoveFile,
    RemoveTap,
    RollbackNet,
    SetFolder,
    StartQemu,
    Step,
    WriteIfup,
    WriteManifest,
)
from tashictl.model.units import show_bytes
from tashictl.planning import mend


def line(step: Step) -> str:
    """What `step` would do, in a few words."""
    match step:
        case WriteManifest(folder=folder, phase=phase):
            return f"{folder}/manifest.json, phase {phase}"
        case CreateOverlay(path=path, base=base):
            return f"{path} on {base}, if it is not there"
        case CheckImage(path=path):
            return f"{path} is there and no link out of the image folder"
        case CheckDisk(path=path):
            return f"{path} is still there"
        case WriteIfup(path=path):
            return f"{path}, unless it is the operator's own"
        case AddTap(tap=tap, ifup=ifup):
            return f"{tap}, handed to {ifup}"
        case ProbeAddress(address=address, device=device):
            return f"nobody has {address} already, asked on {device}"
        case CheckPort(port=port):
            return f"nothing listens on 127.0.0.1:{port}, which leads to the guest's SSH"
        case AdoptQemu(pid=pid, socket=socket):
            return f"pid {pid} with its monitor {socket}; it runs on"
        case StartQemu(binaries=binaries, wait_s=wait_s):
            return f"{binaries[0]}, unless it runs; wait {wait_s} s for its QMP socket"
        case AwaitQmp(socket=socket):
            return f"{socket} answers for this VM"
        case _:
            return _removal(step)


def _removal(step: Step) -> str:
    match step:
        case KillQemu(uuid=uuid, wait_s=wait_s):
            return f"end the QEMU of {uuid[:8]}…, wait {wait_s} s, then KILL"
        case QmpCommand(socket=socket, command=command):
            return f"{command} to {socket}"
        case PressPowerButton(timeout_s=timeout_s, again_s=again_s):
            return f"system_powerdown every {again_s} s until QEMU ends, at most {timeout_s} s"
        case AwaitExit(wait_s=wait_s):
            return f"wait {wait_s} s until QEMU has ended by itself; it is never killed"
        case RemoveTap(tap=tap):
            return f"ip link del {tap}"
        case RemoveDir(folder=folder):
            return folder
        case LetGo(folder=folder):
            return f"{folder} and its keeper; its QEMU runs on"
        case _:
            return _file(step)


def _file(step: Step) -> str:
    match step:
        case PutImage(path=path, size_bytes=size) | PutSeed(path=path, size_bytes=size):
            return f"{path}, {show_bytes(size)}"
        case MakeFolder(path=path) | MakeReplicaFolder(path=path):
            return path
        case PlaceImage(path=path, sha256=sha256) | PlaceSeed(path=path, sha256=sha256):
            return f"{path}, if its sha256 is {sha256[:8]}…"
        case RemoveFile(path=path):
            return path
        case ReleaseHost(images=images):
            listed = f", images {', '.join(images)}" if images else ""
            return f"claim, fences, folders, qemu-ifup files{listed}"
        case _:
            return _of_the_state(step)


def _of_the_state(step: Step) -> str:
    match step:
        case MarkFences(epoch=epoch):
            return f"raise the claim to epoch {epoch}, mark every fence under its lock"
        case PutReplica(path=path, size_bytes=size):
            return f"{path}, {show_bytes(size)}"
        case PlaceReplica(path=path, generation=generation):
            return f"{path}/state.json, generation {generation}, unless a newer one is there"
        case MendIfup() | LoadModule():
            return mend.summary(step)
        case _:
            return _of_a_setup(step)


def _of_a_setup(step: Step) -> str:
    match step:
        case InstallPackages(manager=manager, packages=packages, timeout_s=timeout_s):
            return f"{', '.join(packages)} by {manager}, in at most {timeout_s} s"
        case MakeUser(user=user):
            return f"system user {user}, without home and shell"
        case JoinGroup(user=user, device=device):
            return f"{user} into the group of {device}"
        case SetFolder(path=path):
            return f"{path}, which everybody may pass through"
        case PutFile(path=path, sudoers=sudoers):
            checked = "if visudo finds it right" if sudoers else "unless it is the operator's own"
            return f"{path}, {checked}"
        case ArmNet(window_s=window_s):
            return f"lay down the change and its reverse, which runs in {window_s} s"
        case GoNet():
            return "make the change, detached"
        case ConfirmNet():
            return "disarm, then write the files"
        case RollbackNet():
            return "go back now"
        case _:
            return _of_names(step)


def _of_names(step: Step) -> str:
    match step:
        case AddDhcp(entry=dhcp) | RemoveDhcp(entry=dhcp):
            return f"{dhcp.name}, {dhcp.mac}, {', '.join(dhcp.addresses)}, by {dhcp.driver}"
        case AddDns(entry=dns) | RemoveDns(entry=dns):
            both = " and back" if dns.reverse else ""
            return f"{dns.name} to {', '.join(dns.addresses)}{both}"
        case _:
            return step.name


def told(step: Step, data: Mapping[str, str], message: str) -> tuple[str, str] | None:
    """What a person is told of a step that was done, as label and text; None for small ones."""
    match step:
        case CreateOverlay(path=path, base=base):
            kept = ", kept" if message else ""
            return "disk", f"{_last(path)}, overlay on {_last(base)}{kept}"
        case CheckImage(path=path):
            return "disk", f"{_last(path)}, persistent"
        case CheckDisk(path=path):
            return "disk", f"{_last(path)}, as it was"
        case AddTap(tap=tap):
            return "nic", tap
        case ProbeAddress(address=address):
            return "address", message or f"{address}, nobody else answers"
        case CheckPort(port=port):
            return "ssh", f"127.0.0.1:{port} leads to port 22"
        case StartQemu(argv=argv):
            return "qemu", f"pid {data.get('pid', '–')}, {_accelerator(argv)}"
        case AwaitQmp():
            return "qmp", f"answers, {data.get('status', 'running')}"
        case PutImage(size_bytes=size):
            return "image", f"{show_bytes(size)} to {step.host}"
        case PlaceImage(sha256=sha256):
            return "sha256", f"{sha256[:12]}… on {step.host}"
        case _:
            return _told_end(step, data, message)


def _told_end(step: Step, data: Mapping[str, str], message: str) -> tuple[str, str] | None:
    match step:
        case PressPowerButton():
            pressed = data.get("pressed", "–")
            went = f"pressed {pressed}, the guest went"
            return "button", "not pressed, the guest had ended" if pressed == "never" else went
        case KillQemu():
            return "qemu", f"pid {data['pid']} ended" if "pid" in data else "was not running"
        case RemoveTap(tap=tap):
            return "nic", f"{tap} removed"
        case RemoveDir():
            return "folder", "removed"
        case AdoptQemu(pid=pid):
            return "qemu", f"pid {pid}, as it runs"
        case LetGo():
            return "folder", "removed; its QEMU runs on"
        case AddDhcp() | AddDns() | RemoveDhcp() | RemoveDns():
            return _told_names(step, data)
        case PlaceSeed(path=path):
            return "seed", f"{_last(path)}, cloud-init" + (", kept" if message else "")
        case ReleaseHost():
            return "host", message.splitlines()[-1] if message else "nothing is left there"
        case _:
            return None


def _told_names(
    step: AddDhcp | AddDns | RemoveDhcp | RemoveDns, data: Mapping[str, str]
) -> tuple[str, str]:
    waits = ", waits for its server" if "deferred" in data else ""
    match step:
        case AddDhcp(entry=dhcp):
            return "dhcp", f"{dhcp.name} {', '.join(dhcp.addresses)}{waits}"
        case AddDns(entry=dns):
            return "dns", f"{dns.name} {', '.join(dns.addresses)}{waits}"
        case RemoveDhcp(entry=dhcp):
            return "dhcp", f"{dhcp.name} removed{waits}"
        case RemoveDns(entry=dns):
            return "dns", f"{dns.name} removed{waits}"


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _accelerator(argv: tuple[str, ...]) -> str:
    if "-accel" not in argv:
        return "–"
    return argv[argv.index("-accel") + 1].split(",")[0].removeprefix("accel=")
