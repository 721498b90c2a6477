"""One step of each kind, whose text is kept as a golden file.

`python -m tests.planning.script_cases` writes the files anew; read the difference before it is
kept: it is what hosts will be sent.
"""

from __future__ import annotations

from pathlib import Path

from tashictl.model.net import HostFile
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.steps import (
    AddTap,
    AdoptQemu,
    ArmNet,
    AwaitExit,
    Batch,
    CheckDisk,
    CheckImage,
    CheckPort,
    ConfirmNet,
    CreateOverlay,
    Fence,
    GoNet,
    Guard,
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
    ProbeAddress,
    PutFile,
    ReleaseHost,
    RemoveDir,
    RemoveFile,
    RemoveTap,
    RollbackNet,
    SetFolder,
    StartQemu,
    Step,
    WriteIfup,
    WriteManifest,
)
from tashictl.planning import paths, scripts, shell

GOLDEN = Path(__file__).parent / "golden" / "scripts"
UUID = "7c1e0000-0000-4000-8000-000000000001"
NONCE = "00112233aabbccdd"
SETTINGS = Settings(tashictl=TashictlSettings(cluster_id="0123456789ab"))
AT = paths.at("node1", UUID, SETTINGS)
HOST = paths.at_host("node1", SETTINGS)
_MANIFEST = f'{{"uuid":"{UUID}","generation":1,"name":"it\'s"'
_IMAGES = SETTINGS.image_folder
_REPLICA = "/var/lib/tashi/0123456789ab/replica"
_SHA256 = "9f3a" * 16
_NET = {"token": "00112233aabbccdd", "net_dir": "/run/tashi/net"}

STEPS: dict[str, Step] = {
    "write-manifest": WriteManifest(**AT, phase="creating", manifest=_MANIFEST + "}"),
    "write-manifest-started": WriteManifest(
        **AT, phase="running", manifest=_MANIFEST, add_started=True
    ),
    "write-manifest-stopped": WriteManifest(**AT, phase="stopped", manifest=_MANIFEST + "}"),
    "check-disk": CheckDisk(**AT, path=f"{AT['folder']}/disk0.qcow2"),
    "create-overlay": CreateOverlay(
        **AT,
        path=f"{AT['folder']}/disk0.qcow2",
        base=f"{_IMAGES}/a b.qcow2",
        base_format="qcow2",
        image_folder=_IMAGES,
    ),
    "check-image": CheckImage(**AT, path=f"{_IMAGES}/data.img", image_folder=_IMAGES),
    "write-ifup": WriteIfup(
        **AT, path="/etc/qemu-ifup.1", content='#!/bin/sh\n# rendered by tashictl\nip "$1"\n'
    ),
    "add-tap": AddTap(**AT, tap="tashi1.0", ifup="/etc/qemu-ifup.1"),
    "check-port": CheckPort(**AT, port=22000),
    "probe-address": ProbeAddress(
        **AT,
        address="10.9.0.7",
        mac="52:54:00:01:00:01",
        device="vmbr.9",
        network="it's red",
        network_id=9,
    ),
    "start-qemu": StartQemu(
        **AT,
        binaries=("qemu-system-x86_64", "/usr/libexec/qemu-kvm"),
        argv=("-uuid", UUID, "-name", "guest=it's", ""),
    ),
    "kill-qemu": KillQemu(**AT),
    "await-exit": AwaitExit(**AT),
    "adopt-qemu": AdoptQemu(**AT, pid=4711, starttime=815, socket="/srv/it's/qmp.sock"),
    "let-go": LetGo(**AT),
    "remove-tap": RemoveTap(**AT, tap="tashi1.0"),
    "remove-dir": RemoveDir(**AT),
    "make-folder": MakeFolder(**HOST, path=f"{_IMAGES}/sub"),
    "place-image": PlaceImage(
        **HOST, part=f"{_IMAGES}/a.img.part", path=f"{_IMAGES}/a.img", sha256=_SHA256
    ),
    "place-seed": PlaceSeed(
        **AT,
        part=f"{AT['folder']}/seed.iso.part",
        path=f"{AT['folder']}/seed.iso",
        sha256=_SHA256,
    ),
    "release-host": ReleaseHost(
        **HOST, etc_dir="/etc", images=("a b.img", "sub/it's.qcow2"), parts=("c.img.part",)
    ),
    "release-host-setup": ReleaseHost(
        **HOST,
        etc_dir="/etc",
        images=(),
        made=("/etc/modules-load.d/tashictl.conf", "/etc/sudoers.d/tashictl"),
        user="tashi-qemu",
    ),
    "release-host-shared": ReleaseHost(**HOST, etc_dir="/etc", images=(), shared=True),
    "mark-fences": MarkFences(**HOST, epoch=3),
    "make-replica-folder": MakeReplicaFolder(**HOST, path=_REPLICA, epoch=2, generation=41),
    "place-replica": PlaceReplica(
        **HOST,
        path=_REPLICA,
        part=f"{_REPLICA}/state.json.part",
        sha256=_SHA256,
        epoch=2,
        generation=41,
        digest="0011223344556677",
    ),
    "mend-ifup": MendIfup(
        **HOST, path="/etc/qemu-ifup.1", content='#!/bin/sh\n# rendered by tashictl\nip "$1"\n'
    ),
    "load-module": LoadModule(**HOST, module="8021q"),
    "remove-file": RemoveFile(**HOST, path=f"{_IMAGES}/a.img.part"),
    "install-packages-apt": InstallPackages(
        **HOST, manager="apt-get", packages=("bridge-utils", "qemu-utils"), timeout_s=900
    ),
    "install-packages-dnf": InstallPackages(
        **HOST, manager="dnf", packages=("qemu-img", "qemu-kvm"), timeout_s=60
    ),
    "make-user": MakeUser(**HOST, user="tashi-qemu"),
    "join-group": JoinGroup(**HOST, user="tashi-qemu", device="/dev/kvm"),
    "set-folder": SetFolder(**HOST, path=_IMAGES),
    "put-file": PutFile(
        **HOST,
        path="/etc/qemu-ifup.1",
        content='#!/bin/sh\n# rendered by tashictl\nip "$1"\n',
        mode="755",
        mark="# rendered by tashictl",
    ),
    "put-file-sudoers": PutFile(
        **HOST,
        path="/etc/sudoers.d/tashictl",
        content="# ours\nops ALL=(root) NOPASSWD: ALL\n",
        mode="440",
        mark="# ours",
        sudoers=True,
    ),
    "arm-net": ArmNet(
        **HOST,
        **_NET,
        forward=("ip link set dev eth1 up",),
        reverse=("ip link set dev eth1 down",),
        files=(
            HostFile(path="/etc/network/interfaces.d/tashi", text="auto eth1\n"),
            HostFile(path="/etc/qemu-ifup.9", text=None),
        ),
        digest=_SHA256,
        window_s=90,
        up=("eth1",),
    ),
    "go-net": GoNet(**HOST, **_NET),
    "confirm-net": ConfirmNet(**HOST, **_NET),
    "rollback-net": RollbackNet(**HOST, **_NET),
}


def a_fence(uuid: str = UUID) -> Fence:
    """A fence with a value of its own in each place."""
    return Fence(
        cluster="0123456789ab",
        epoch=2,
        operation=17,
        attempt=3,
        seen=16,
        generation=4,
        uuid=uuid,
        lib_dir="/var/lib/tashi",
        not_after_s=1772366460,
        lock_wait_s=10,
        controller="o'dev@desk",
    )


def a_guard(claims: bool = False) -> Guard:
    """A guard with a value of its own in each place."""
    return Guard(
        cluster="0123456789ab",
        epoch=3,
        lib_dir="/var/lib/tashi",
        not_after_s=1772366460,
        lock_wait_s=10,
        controller="o'dev@desk",
        claims=claims,
    )


def whole() -> str:
    """A script of two steps from its first line to its last."""
    batch = Batch(host="node1", indexes=(4, 5), steps=(STEPS["kill-qemu"], STEPS["remove-tap"]))
    return scripts.changing(batch, a_fence(), NONCE, 130).text


def texts() -> dict[str, str]:
    """Every golden file by name."""
    return {
        **{name: scripts.body(step) + "\n" for name, step in STEPS.items()},
        "fence-vm": shell.fenced(a_fence(), NONCE, AT["folder"], AT["run_folder"]),
        "fence-host": shell.fenced(a_fence("host"), NONCE, HOST["folder"], HOST["run_folder"]),
        "guard": shell.guarded(a_guard(claims=True), NONCE),
        "whole": whole(),
    }


if __name__ == "__main__":
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (GOLDEN / f"{name}.sh").write_text(text, encoding="utf-8")
