"""What QEMU's user is lent: the images that its arguments name, and nothing else."""

import msgspec
import pytest
from msgspec.structs import replace

from tashictl.model.steps import StartQemu
from tashictl.planning import qemu_user
from tests.planning import script_cases as cases

IMAGES = "/var/lib/tashi/shared/images"


def start(*argv: str, image_folder: str = IMAGES) -> StartQemu:
    step = cases.STEPS["start-qemu"]
    assert isinstance(step, StartQemu)
    return replace(step, argv=argv, image_folder=image_folder)


def blockdev(**node: object) -> tuple[str, str]:
    return "-blockdev", msgspec.json.encode(node).decode()


def file(path: str, *, reads: bool) -> dict[str, object]:
    return {"driver": "file", "filename": path, "read-only": reads}


def test_the_image_below_an_overlay_is_read_and_a_persistent_one_written() -> None:
    overlay = blockdev(
        driver="qcow2",
        file=file(f"{cases.AT['folder']}/disk0.qcow2", reads=False),
        backing={"driver": "raw", "file": file(f"{IMAGES}/it's.img", reads=True)},
    )
    whole = blockdev(driver="raw", file=file(f"{IMAGES}/data.img", reads=False))

    assert qemu_user.lent(start(*overlay, *whole)).split(" \\\n  && ") == [
        f"""lend {IMAGES} '{IMAGES}/it'"'"'s.img' r""",
        f"lend {IMAGES} {IMAGES}/data.img rw",
    ]


@pytest.mark.parametrize(
    "step",
    [
        start(),
        start("-name", "x"),
        start(*blockdev(driver="raw", file=file("/etc/shadow", reads=True))),
        start(*blockdev(driver="raw", file=file(f"{IMAGES}-of-another/a", reads=True))),
        start(*blockdev(driver="raw", file=file(f"{IMAGES}/a", reads=True)), image_folder=""),
    ],
)
def test_what_lies_elsewhere_is_not_lent(step: StartQemu) -> None:
    assert qemu_user.lent(step) == ":"


@pytest.mark.parametrize(
    ("argv", "asks"),
    [
        (("-accel", "kvm"), True),
        (("-accel", "tcg,tb-size=32"), False),
        (("-name", "kvm"), False),
    ],
)
def test_kvm_is_asked_for_only_where_it_is_used(argv: tuple[str, ...], asks: bool) -> None:
    assert bool(qemu_user.kvm(argv)) is asks


def test_the_sockets_that_are_waited_for_are_those_that_qemu_is_told_to_make() -> None:
    run = cases.AT["run_folder"]
    both = qemu_user.start(start("-vnc", f"unix:{run}/vnc.sock", "-qmp", f"unix:{run}/qmp.sock"))

    assert "for s in qmp.sock vnc.sock;" in both
    assert "for s in qmp.sock;" in qemu_user.start(start("-uuid", "x"))
