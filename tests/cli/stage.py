"""A stage for the face: streams in memory, and a noun file as small as one can be."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from tashictl.cli import ask, commands, listings, main, options, output, progress, records
from tashictl.errors import NoSuchTarget
from tashictl.model.network import Network
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.vm import (
    DiskSpec,
    NicSpec,
    Observed,
    OperationKind,
    OperationRef,
    Seen,
    Vm,
    VmSpec,
)

SCENE = records.Scene(
    now=datetime(2026, 11, 22, 15, 0, tzinfo=UTC),
    settings=Settings(tashictl=TashictlSettings(cluster_id="4f1c09ab77e2")),
    networks=(Network(id=1, name="lan"),),
)


class Terminal(io.StringIO):
    """Memory that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def streams(
    tty: bool = False, answer: str = "", env: Mapping[str, str] | None = None
) -> options.Streams:
    kind = Terminal if tty else io.StringIO
    return options.Streams(stdin=kind(answer), stdout=kind(), stderr=kind(), env=env or {})


def face(**values: Any) -> options.Globals:
    return options.Globals(**{"streams": streams(), **values})


def run(root: click.Group, *words: str, on: options.Streams | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command line."""
    used = on or streams()
    code = main.run_with(words, used, root)
    return code, used.stdout.getvalue(), used.stderr.getvalue()  # type: ignore[attr-defined]


def vm(vm_id: int, **values: Any) -> Vm:
    """A VM that runs on node1."""
    usual: dict[str, Any] = {
        "id": vm_id,
        "name": f"web{vm_id}",
        "uuid": f"7c1e0000-0000-4000-8000-{vm_id:012}",
        "user": "dev",
        "host": "node1",
        "created": "2026-11-22T09:00:00Z",
        "observed": Observed(what=Seen.RUNNING, at="2026-11-22T14:59:50Z", boot_id="b1"),
        "spec": VmSpec(
            cores=2,
            memory_mib=2048,
            disks=(DiskSpec(index=0, name="debian-12"),),
            nics=(NicSpec(index=0, network=1, mac="52:54:00:4f:00:2d", ip=f"172.16.192.{vm_id}"),),
        ),
    }
    return Vm(**{**usual, **values})


def four() -> list[Vm]:
    """The VMs of the sketch: running twice, pending, orphaned."""
    database = VmSpec(
        cores=4,
        memory_mib=8192,
        disks=(DiskSpec(index=0, name="pg-16", persistent=True, format="raw"),),
        hints={"rack": "r1"},
    )
    return [
        vm(
            44,
            name="db1",
            host="node4",
            observed=Observed(at="2026-11-22T14:02:00Z"),
            spec=database,
        ),
        vm(41),
        vm(43, name="web7", host=None, observed=Observed(), spec=VmSpec(cores=8, memory_mib=640)),
        vm(
            42,
            operation=OperationRef(
                id=118, kind=OperationKind.CREATE, started="2026-11-22T14:59:00Z"
            ),
        ),
    ]


def root(raises: BaseException | None = None) -> commands.Noun:
    """A program with the noun `vm`: list and show read, create changes (or raises)."""
    noun = commands.Noun("vm", help="VMs.")

    @noun.reads("list")
    @click.pass_obj
    def list_(face: options.Globals) -> None:
        """List the VMs."""
        output.emit_list(face, four(), listings.vm_table(SCENE))

    @noun.reads("show")
    @click.argument("name")
    @click.pass_obj
    def show(face: options.Globals, name: str) -> None:
        """Show one VM."""
        if raises is not None:
            raise raises
        found = next((v for v in four() if v.name == name), None)
        if found is None:
            raise NoSuchTarget("E-VM", f"no VM '{name}'", hint="tashictl vm list")
        output.emit_object(face, found, listings.vm_table(SCENE))

    @noun.changes("create")
    @click.argument("name")
    @click.option("--cores", type=int, default=1)
    @click.option("--memory", type=int, default=128)
    @click.pass_obj
    def create(face: options.Globals, name: str, cores: int, memory: int) -> int:
        """Create a VM."""
        if raises is not None:
            raise raises
        progress.Progress(face).step("qemu", f"{cores} cores, {memory} MiB")
        output.say(face, f"{name} is Running")
        return 8 if name == "pending" else 0

    @noun.changes("destroy")
    @click.argument("name")
    @click.pass_obj
    def destroy(face: options.Globals, name: str) -> None:
        """Destroy a VM."""
        ask.confirm(face, f"destroy {name}: its overlay is lost")
        output.say(face, f"{name} is gone")

    whole = commands.Noun(
        "tashictl", context_settings={"help_option_names": ["-h", "--help"]}, help="All."
    )
    whole.add_command(noun)
    return whole
