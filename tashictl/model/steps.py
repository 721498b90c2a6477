"""Steps: what a plan is made of. Planning turns a step into text, execute carries it out.

A step's class says what a failure after it means: REVERSIBLE can be undone, PIVOT is the point
after which we only go on, FORWARD is never undone. Every do can be done twice and checks first.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from tashictl.model.steps_base import HostStep as HostStep
from tashictl.model.steps_base import StepClass as StepClass
from tashictl.model.steps_mend import LoadModule as LoadModule
from tashictl.model.steps_mend import MendIfup as MendIfup
from tashictl.model.steps_names import AddDhcp as AddDhcp
from tashictl.model.steps_names import AddDns as AddDns
from tashictl.model.steps_names import ProbeAddress as ProbeAddress
from tashictl.model.steps_names import RemoveDhcp as RemoveDhcp
from tashictl.model.steps_names import RemoveDns as RemoveDns
from tashictl.model.steps_net import ArmNet as ArmNet
from tashictl.model.steps_net import ConfirmNet as ConfirmNet
from tashictl.model.steps_net import GoNet as GoNet
from tashictl.model.steps_net import RollbackNet as RollbackNet
from tashictl.model.steps_setup import InstallPackages as InstallPackages
from tashictl.model.steps_setup import JoinGroup as JoinGroup
from tashictl.model.steps_setup import MakeUser as MakeUser
from tashictl.model.steps_setup import PutFile as PutFile
from tashictl.model.steps_setup import SetFolder as SetFolder
from tashictl.model.steps_state import Guard as Guard
from tashictl.model.steps_state import MakeReplicaFolder as MakeReplicaFolder
from tashictl.model.steps_state import MarkFences as MarkFences
from tashictl.model.steps_state import PlaceReplica as PlaceReplica
from tashictl.model.steps_state import PutReplica as PutReplica


class WriteManifest(HostStep, frozen=True, kw_only=True, tag=True):
    """Write the VM's manifest beside its disks: first of all steps, so that nothing is ownerless.

    `phase` is ``creating``, ``starting`` (again, with the disks that are there), ``running`` or
    ``stopped``: a start was taken back. That is written only where a manifest is, and a full disk
    is no failure, since of a VM's life only run.lock is believed. `manifest` is JSON text without
    its closing brace when `add_started` (the host then appends what only it knows: pid, start time,
    boot id of the QEMU).
    """

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    phase: str
    manifest: str
    add_started: bool = False


class CreateOverlay(HostStep, frozen=True, kw_only=True, tag=True):
    """Create the overlay of a disk if it is absent; an existing one is never touched.

    `base` must resolve to a file below `image_folder`; formats are ``qcow2`` or ``raw``.
    """

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    path: str
    base: str
    base_format: str
    image_folder: str


class CheckImage(HostStep, frozen=True, kw_only=True, tag=True):
    """Check that a persistent disk's image is there, below `image_folder`, no link out of it."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    path: str
    image_folder: str


class CheckDisk(HostStep, frozen=True, kw_only=True, tag=True):
    """Check that a file of the VM's own, an overlay or its seed, is still there."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    path: str


class WriteIfup(HostStep, frozen=True, kw_only=True, tag=True):
    """Write ``/etc/qemu-ifup.<network id>``, unless an operator's own file is there."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    path: str
    content: str


class AddTap(HostStep, frozen=True, kw_only=True, tag=True):
    """Create a TAP device and hand it to the network's ifup script."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    tap: str
    ifup: str


class CheckPort(HostStep, frozen=True, kw_only=True, tag=True):
    """Check that nothing listens on a TCP port that QEMU will forward, unless the VM runs."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    port: int


class StartQemu(HostStep, frozen=True, kw_only=True, tag=True):
    """Start QEMU holding run.lock, unless it is alive already; wait for its sockets.

    `binaries` are tried in order; `argv` is without the binary; `wait_s` is how long QEMU may take
    to open its QMP socket; `powerdown_s` is how long a shutdown of the host waits for the guest.
    Files of `argv` below `image_folder` are lent to the user that QEMU runs as, if there is one.
    """

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    binaries: tuple[str, ...]
    argv: tuple[str, ...]
    wait_s: int = 20
    powerdown_s: int = 60
    image_folder: str = ""


class AwaitQmp(HostStep, frozen=True, kw_only=True, tag=True):
    """Greet QEMU over QMP and check that it is this VM and runs; then we only go on.

    `paused_too`: one that is paused will do, as it is found when it is adopted.
    """

    step_class: ClassVar[StepClass] = StepClass.PIVOT
    scripted: ClassVar[bool] = False
    changes: ClassVar[bool] = False
    socket: str
    paused_too: bool = False


class KillQemu(HostStep, frozen=True, kw_only=True, tag=True):
    """End the VM's QEMU: TERM, wait, KILL; done when run.lock is free and no process left."""

    wait_s: int = 10


class RemoveTap(HostStep, frozen=True, kw_only=True, tag=True):
    """Delete a TAP device if it exists."""

    tap: str


class RemoveDir(HostStep, frozen=True, kw_only=True, tag=True):
    """Remove the VM's folders, the manifest last; refuses while a QEMU lives."""


class QmpCommand(HostStep, frozen=True, kw_only=True, tag=True):
    """Give QEMU one command over QMP, unless its run state is already one that it leads to.

    `command` is ``stop``, ``cont`` or ``system_reset``; `leads_to` are QEMU's names of run states
    (qapi/run-state.json), empty for a command that is given in any case.
    """

    scripted: ClassVar[bool] = False
    socket: str
    command: str
    leads_to: tuple[str, ...] = ()


class PressPowerButton(HostStep, frozen=True, kw_only=True, tag=True):
    """Press the guest's ACPI power button, again every `again_s`, until its QEMU ends.

    A button that is pressed before the guest listens is lost, hence again. Fails when QEMU is still
    there after `timeout_s`; nothing takes a pressed button back.
    """

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    scripted: ClassVar[bool] = False
    socket: str
    timeout_s: int
    again_s: int = 5


class AwaitExit(HostStep, frozen=True, kw_only=True, tag=True):
    """Wait until the VM's QEMU has ended by itself; then we only go on. Never ends it."""

    step_class: ClassVar[StepClass] = StepClass.PIVOT
    wait_s: int = 10


class AdoptQemu(HostStep, frozen=True, kw_only=True, tag=True):
    """Take in a QEMU that was started by hand: its pid and monitor, and a keeper of run.lock.

    The keeper holds the lock until the process of that start time has ended. `socket` is QEMU's own
    QMP socket. The QEMU itself is never touched.
    """

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    pid: int
    starttime: int
    socket: str


class LetGo(HostStep, frozen=True, kw_only=True, tag=True):
    """Remove what was made to adopt a QEMU: keeper, run folder, manifest. It runs on."""


class MakeFolder(HostStep, frozen=True, kw_only=True, tag=True):
    """Make a folder below the image folder, if it is absent."""

    path: str


class PutImage(HostStep, frozen=True, kw_only=True, tag=True):
    """Stream an image to a host's image folder: a part file, checked, then renamed into place.

    The content comes from the operation's caller; `folder` is the image folder. Not undone: a part
    file that stays is completed by the next import, and is removed when the import fails.
    """

    scripted: ClassVar[bool] = False
    path: str
    size_bytes: int
    sha256: str


class PlaceImage(HostStep, frozen=True, kw_only=True, tag=True):
    """Check a part file's sha256 and give it its name; a file of that name must be the same."""

    part: str
    path: str
    sha256: str


class PutSeed(HostStep, frozen=True, kw_only=True, tag=True):
    """Stream the VM's cloud-init seed beside its place; what is in it is in no plan or journal.

    Where the controller keeps it no more, nothing is sent: a seed that is in place already will do.
    """

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    scripted: ClassVar[bool] = False
    path: str
    size_bytes: int
    sha256: str


class PlaceSeed(HostStep, frozen=True, kw_only=True, tag=True):
    """Check the seed's sha256 and give it its name, unless it is in place."""

    step_class: ClassVar[StepClass] = StepClass.REVERSIBLE
    part: str
    path: str
    sha256: str


class RemoveFile(HostStep, frozen=True, kw_only=True, tag=True):
    """Remove one file (a part file of a failed import) if it exists."""

    path: str


class ReleaseHost(HostStep, frozen=True, kw_only=True, tag=True):
    """Remove all that the cluster has on a host, its claim last; refuses while a VM is there.

    `folder` is the image folder and `run_folder` the one above all clusters' run folders; `images`
    are names below `folder`, none where it is `shared`; `parts` are files that an import left.
    `made` and `user` are what `host setup` may have made: they go if it noted there that it did.
    """

    etc_dir: str
    images: tuple[str, ...]
    parts: tuple[str, ...] = ()
    shared: bool = False
    made: tuple[str, ...] = ()
    user: str = ""


Step = (
    WriteManifest
    | CreateOverlay
    | CheckImage
    | CheckDisk
    | WriteIfup
    | AddTap
    | CheckPort
    | StartQemu
    | AwaitQmp
    | KillQemu
    | RemoveTap
    | RemoveDir
    | QmpCommand
    | PressPowerButton
    | AwaitExit
    | AdoptQemu
    | LetGo
    | MakeFolder
    | PutImage
    | PlaceImage
    | PutSeed
    | PlaceSeed
    | RemoveFile
    | ReleaseHost
    | MarkFences
    | MakeReplicaFolder
    | PutReplica
    | PlaceReplica
    | MendIfup
    | LoadModule
    | ArmNet
    | GoNet
    | ConfirmNet
    | RollbackNet
    | InstallPackages
    | MakeUser
    | JoinGroup
    | SetFolder
    | PutFile
    | ProbeAddress
    | AddDhcp
    | AddDns
    | RemoveDns
    | RemoveDhcp
)
Plan = tuple[Step, ...]


class Fence(Struct, frozen=True, kw_only=True):
    """What a changing script carries so that a late or repeated one does nothing.

    (epoch, operation, attempt) are compared with what the host knows of `uuid`. `seen` is the last
    operation that the database knows the host to have seen: where the host knows a later one, and
    it is not this very operation of this VM, the database is an old copy, or another operation of
    ours is quicker. A manifest of a higher `generation` proves an old copy too. `not_after_s` is in
    the host's clock. `uuid` is ``host`` for what concerns no single VM.
    """

    cluster: str
    epoch: int
    operation: int
    attempt: int
    seen: int
    generation: int
    uuid: str
    lib_dir: str
    not_after_s: int
    lock_wait_s: int = 30
    controller: str = ""


class Batch(Struct, frozen=True, kw_only=True):
    """Steps that follow each other on one host and travel as one script in one exec.

    `indexes` are the steps' places in the plan.
    """

    host: str
    indexes: tuple[int, ...]
    steps: tuple[Step, ...]


def batches(
    plan: Plan, split_at: str | None = None, only: range | None = None
) -> tuple[Batch, ...]:
    """Group a plan into batches; a step that is not scripted stands alone.

    `split_at` names a step kind that must begin and end a batch of its own (fault points); `only`
    takes a part of the plan, whose steps keep their places.
    """
    found: list[Batch] = []
    for index in range(len(plan)) if only is None else only:
        step = plan[index]
        last = found[-1] if found else None
        joins = (
            last is not None
            and last.host == step.host
            and step.scripted
            and last.steps[-1].scripted
            and split_at not in (step.name, last.steps[-1].name)
        )
        if joins and last is not None:
            found[-1] = Batch(
                host=last.host, indexes=(*last.indexes, index), steps=(*last.steps, step)
            )
        else:
            found.append(Batch(host=step.host, indexes=(index,), steps=(step,)))
    return tuple(found)
