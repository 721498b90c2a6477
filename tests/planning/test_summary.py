import pytest

from tashictl.model.steps import AwaitQmp, PressPowerButton, PutImage, PutReplica, PutSeed, Step
from tashictl.planning import summary
from tests.planning.script_cases import AT, HOST, STEPS

EVERY: dict[str, Step] = {
    **STEPS,
    "await-qmp": AwaitQmp(**AT, socket=f"{AT['run_folder']}/qmp.sock"),
    "put-seed": PutSeed(**AT, path="/seed.iso.part", size_bytes=73_728, sha256="9f3a"),
    "put-replica": PutReplica(**HOST, path="/state.json.part", size_bytes=4096, sha256="9f3a"),
    "put-image": PutImage(**HOST, path="/a.img.part", size_bytes=14_000_000, sha256="9f3a"),
}
WORDS = {
    "write-manifest": "phase creating",
    "write-manifest-started": "phase running",
    "create-overlay": "if it is not there",
    "write-manifest-stopped": "phase stopped",
    "check-disk": "disk0.qcow2 is still there",
    "check-image": "data.img",
    "write-ifup": "/etc/qemu-ifup.1",
    "add-tap": "tashi1.0",
    "check-port": "127.0.0.1:22000",
    "probe-address": "nobody has 10.9.0.7 already, asked on vmbr.9",
    "start-qemu": "qemu-system-x86_64",
    "await-qmp": "qmp.sock",
    "await-exit": "never killed",
    "kill-qemu": "7c1e0000…",
    "remove-tap": "tashi1.0",
    "remove-dir": AT["folder"],
    "make-folder": "images/sub",
    "place-image": "9f3a9f3a…",
    "adopt-qemu": "pid 4711",
    "let-go": "its QEMU runs on",
    "release-host": "a b.img",
    "release-host-shared": "claim",
    "release-host-setup": "claim",
    "install-packages-apt": "bridge-utils, qemu-utils by apt-get",
    "install-packages-dnf": "at most 60 s",
    "make-user": "tashi-qemu",
    "join-group": "/dev/kvm",
    "set-folder": "/images",
    "put-file": "/etc/qemu-ifup.1",
    "put-file-sudoers": "visudo",
    "remove-file": "a.img.part",
    "mend-ifup": "/etc/qemu-ifup.1",
    "load-module": "modprobe 8021q",
    "place-seed": "9f3a9f3a…",
    "mark-fences": "epoch 3",
    "arm-net": "90 s",
    "go-net": "detached",
    "confirm-net": "write the files",
    "rollback-net": "go back",
    "make-replica-folder": "/replica",
    "put-replica": "state.json.part",
    "place-replica": "generation 41",
    "put-seed": "72",
    "put-image": "13.4 MiB",
}


@pytest.mark.parametrize("name", EVERY)
def test_each_step_is_told_in_one_line_that_names_its_thing(name: str) -> None:
    line = summary.line(EVERY[name])

    assert WORDS[name] in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "data", "message", "told"),
    [
        ("create-overlay", {}, "", ("disk", "disk0.qcow2, overlay on a b.qcow2")),
        (
            "create-overlay",
            {},
            "is there already",
            ("disk", "disk0.qcow2, overlay on a b.qcow2, kept"),
        ),
        ("check-image", {}, "", ("disk", "data.img, persistent")),
        ("check-disk", {}, "", ("disk", "disk0.qcow2, as it was")),
        ("add-tap", {}, "", ("nic", "tashi1.0")),
        ("check-port", {}, "", ("ssh", "127.0.0.1:22000 leads to port 22")),
        ("probe-address", {}, "", ("address", "10.9.0.7, nobody else answers")),
        ("probe-address", {}, "10.9.0.7 not asked for", ("address", "10.9.0.7 not asked for")),
        ("kill-qemu", {"pid": "47"}, "", ("qemu", "pid 47 ended")),
        ("kill-qemu", {}, "not running", ("qemu", "was not running")),
        ("remove-tap", {}, "", ("nic", "tashi1.0 removed")),
        ("remove-dir", {}, "", ("folder", "removed")),
        ("write-manifest", {}, "", None),
        ("write-ifup", {}, "", None),
        ("put-seed", {}, "", None),
        ("place-seed", {}, "", ("seed", "seed.iso, cloud-init")),
        ("place-seed", {}, "is there already", ("seed", "seed.iso, cloud-init, kept")),
    ],
)
def test_what_is_told_of_a_step_that_was_done(
    name: str, data: dict[str, str], message: str, told: tuple[str, str] | None
) -> None:
    assert summary.told(EVERY[name], data, message) == told


@pytest.mark.parametrize(
    ("pressed", "words"),
    [
        ("once", "pressed once, the guest went"),
        ("3 times", "pressed 3 times, the guest went"),
        ("never", "not pressed, the guest had ended"),
    ],
)
def test_a_button_that_nobody_had_to_press_is_not_told_as_pressed(pressed: str, words: str) -> None:
    press = PressPowerButton(**AT, socket=f"{AT['run_folder']}/qmp.sock", timeout_s=5)

    assert summary.told(press, {"pressed": pressed}, "") == ("button", words)
