"""VMs whose machines and command lines are kept as golden files, and how an argv is read back.

`python -m tests.planning.qemu_cases` writes the files anew. A changed `.machine.json` is what new
VMs will get; a change in the guest-visible part of an `.argv` would change the VMs that exist.
"""

import json
from pathlib import Path

import msgspec

from tashictl.model.host import HostFacts
from tashictl.model.settings import QemuSettings, Settings
from tashictl.model.vm import DiskSpec, Machine, NicSpec, Seed, Vm, VmSpec
from tashictl.planning import machine, qemu

GOLDEN = Path(__file__).parent / "golden" / "qemu"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
FOLDERS = {
    "folder": f"/var/lib/tashi/0123456789ab/{UUID}",
    "run_folder": f"/run/tashi/0123456789ab/{UUID}",
    "image_folder": "/var/lib/tashi/shared/images",
}
# run: tests/live/test_qemu_argv.py starts it. read: held against QEMU's documentation only.
VERSIONS = {"7.2": "run", "8.2": "read", "9.2": "read", "10.0": "read"}
_NICS = (
    NicSpec(index=0, network=1, mac="52:54:00:12:34:56"),
    NicSpec(index=1, network=7, mac="52:54:00:AB:CD:EF"),
)
_DISKS = (
    DiskSpec(index=0, name="demo.qcow2"),
    DiskSpec(index=1, name="data/big.img", persistent=True, format="raw"),
)
_SEED = Seed(sha256="9f3a" * 16, size_bytes=73728)
# name: (spec, [Qemu] machine, accelerator)
CASES = {
    "plain": (VmSpec(disks=_DISKS[:1], nics=_NICS[:1]), "pc", "tcg"),
    "pc-scsi": (
        VmSpec(
            cores=4,
            memory_mib=2048,
            disks=_DISKS,
            nics=_NICS,
            hints={"diskInterface": "scsi", "nicModel": "e1000", "cpumodel": "x86-64-v3"},
        ),
        "pc",
        "tcg",
    ),
    "pc-ide": (
        VmSpec(disks=_DISKS, hints={"diskInterface": "ide", "noAcpi": "True"}),
        "pc",
        "tcg",
    ),
    "user": (
        VmSpec(
            disks=_DISKS[:1],
            nics=(
                NicSpec(index=0, network=3, mac="52:54:00:12:34:56", ssh_port=22000),
                _NICS[1],
            ),
        ),
        "pc",
        "tcg",
    ),
    "q35": (VmSpec(cores=2, memory_mib=512, disks=_DISKS, nics=_NICS), "q35", "tcg"),
    "q35-ide": (
        VmSpec(
            disks=_DISKS,
            nics=_NICS,
            hints={"diskInterface": "ide", "nicModel": "rtl8139", "cpumodel": "max"},
        ),
        "q35",
        "tcg",
    ),
    "pc-seed": (VmSpec(disks=_DISKS[:1], nics=_NICS[:1], seed=_SEED), "pc", "tcg"),
    "q35-seed": (VmSpec(disks=_DISKS[:1], nics=_NICS[:1], seed=_SEED), "q35", "tcg"),
    "pc-ide-seed": (
        VmSpec(disks=_DISKS[:1], nics=_NICS[:1], hints={"diskInterface": "ide"}, seed=_SEED),
        "pc",
        "tcg",
    ),
}


def facts(version: str = "7.2.22", accel: str = "tcg", **more: object) -> HostFacts:
    """A host with QEMU of this version and what its `-machine help` lists."""
    short = ".".join(version.split(".")[:2])
    types = tuple(
        line
        for family, alias in (("pc-i440fx", "pc"), ("pc-q35", "q35"))
        for line in (f"{alias}={family}-{short}", f"{family}-{short}", f"{family}-6.2")
    )
    given = {"machine_types": types, "qemu_version": version, **more}
    return HostFacts(
        at="", boot_id="", arch="x86_64", cores=2, memory_mib=4096, accel=accel, **given
    )


def settings(machine_name: str = "pc", **more: str) -> Settings:
    """Settings whose [Qemu] differs from the defaults by these."""
    return Settings(qemu=QemuSettings(machine=machine_name, **more))


def frozen(name: str) -> VmSpec:
    """The case's spec, frozen on a host with QEMU 7.2."""
    spec, type_, accel = CASES[name]
    return machine.freeze(spec, uuid=UUID, facts=facts(accel=accel), settings=settings(type_))


def vm_of(spec: VmSpec, name: str = "web1", vm_id: int = 42, uuid: str = UUID) -> Vm:
    """A VM with this spec."""
    return Vm(id=vm_id, name=name, uuid=uuid, user="ann", spec=spec, created="2026-01-01T00:00:00Z")


def argv_of(name: str, version: str, spec: VmSpec | None = None) -> tuple[str, ...]:
    """The case's command line for this QEMU, with the machine of `spec`."""
    vm = vm_of(spec or frozen(name))
    return qemu.argv(vm, version=qemu.version_of(version), accel=CASES[name][2], **FOLDERS)


def kept_machine(name: str) -> Machine:
    """The golden machine: as an earlier tashictl froze it."""
    return msgspec.json.decode((GOLDEN / f"{name}.machine.json").read_bytes(), type=Machine)


def kept_argv(name: str, version: str) -> tuple[str, ...]:
    """The golden command line."""
    lines = (GOLDEN / f"{name}-{version}.argv").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def options(text: str) -> dict[str, str]:
    """Read ``key=value,…`` as QEMU does (util/qemu-option.c): commas doubled, = first only."""
    found: dict[str, str] = {}
    rest = text
    while rest:
        key, equals, rest = rest.partition("=")
        assert equals and "," not in key, f"QEMU would take {key!r} for a value"
        value = ""
        while rest:
            part, comma, rest = rest.partition(",")
            value += part
            if not comma or not rest.startswith(","):
                break
            value, rest = value + ",", rest[1:]
        found[key] = value
    return found


def values(argv: tuple[str, ...], option: str) -> list[str]:
    """The words that follow each `option`."""
    return [argv[i + 1] for i, word in enumerate(argv) if word == option]


_OF_THE_HOST = {"drive", "netdev", "rng", "chardev"}


def guest_visible(argv: tuple[str, ...]) -> dict[str, object]:
    """What the guest sees: the argv without what only the host does."""
    machine_options = options(values(argv, "-machine")[0])
    del machine_options["dump-guest-core"]
    devices = [json.loads(text) for text in values(argv, "-device")]
    return {
        "machine": machine_options,
        "devices": [{k: v for k, v in d.items() if k not in _OF_THE_HOST} for d in devices],
        "nodefaults": "-nodefaults" in argv,
        **{word: values(argv, word) for word in ("-uuid", "-cpu", "-smp", "-m", "-rtc", "-boot")},
    }


def write() -> None:
    """Write all golden files."""
    for name in CASES:
        spec = frozen(name)
        text = msgspec.json.format(msgspec.json.encode(spec.machine), indent=1).decode()
        (GOLDEN / f"{name}.machine.json").write_text(text + "\n", encoding="utf-8")
        for version, how in VERSIONS.items():
            lines = [f"# QEMU {version}: {how}", *argv_of(name, version, spec)]
            path = GOLDEN / f"{name}-{version}.argv"
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    write()
