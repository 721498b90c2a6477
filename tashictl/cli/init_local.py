"""`tashictl init --local`: a cluster of this machine alone, ready for `vm create`.

It is looked at before anything is made: what is missing is told, and the same command is repeated.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tashictl.adapters import config_files, files, places
from tashictl.adapters.cluster_folder import lay_out
from tashictl.adapters.who import SystemWho
from tashictl.cli import options, output, wiring
from tashictl.cli.desk import Desk
from tashictl.cli.options import Globals
from tashictl.cli.progress import Progress
from tashictl.errors import FaultsFound, InvalidRequest, NotPermitted, TashiError
from tashictl.model.host import HostConfig, HostFacts
from tashictl.model.places import Places
from tashictl.model.settings import Layer
from tashictl.ops import host as ops
from tashictl.ops.context import Context
from tashictl.planning import config, inventory, local, requirements
from tashictl.planning.requirements import Finding

_INVENTORY = "local.yaml"
_APT = "apt-get install "


class _Draft(Struct, frozen=True, kw_only=True):
    """What is going to be made: texts, and the cluster as it will be read from them."""

    cluster: str
    folder: Path
    own: Places | None
    config: str
    inventory: str
    desk: Desk
    context: Context

    @property
    def host(self) -> HostConfig:
        """This machine."""
        return self.context.inventory.hosts[0]


def make(face: Globals, folder: Path, cluster: str, head: str) -> None:
    """Look at this machine, make the cluster directory, take the machine in, say what is next.

    `head` is the beginning of Tashi.cfg. Raises FaultsFound with the packages that are missing,
    NotPermitted when the machine belongs to a cluster; nothing was made then.
    """
    draft = _draft(face, folder, cluster, head)
    _refuse(draft, *_look(draft))
    if face.dry_run:
        ours = draft.context.settings.tashictl
        output.say(face, f"would make a cluster in {folder}: Tashi.cfg, inventory/, state/")
        output.say(
            face, f"would take in {draft.host.name}, this machine: {ours.lib_dir}, {ours.run_dir}"
        )
        output.say(face, "nothing was changed")
        return
    if draft.own is not None:
        places.make(draft.own.lib_dir)
        places.make(draft.own.run_dir)
    lay_out(str(folder), cluster, draft.config)
    files.write_new(str(folder / "inventory" / _INVENTORY), draft.inventory.encode())
    try:
        with wiring.world_of(draft.desk) as world:
            checked = ops.add(world, draft.context, draft.host)
    except TashiError as error:
        again = f"{program(face, folder)} host add {draft.host.name}"
        error.leftovers = (*error.leftovers, f"{folder} is there, without its host   {again}")
        raise
    _tell(face, draft, checked.findings)


def _draft(face: Globals, folder: Path, cluster: str, head: str) -> _Draft:
    around = config_files.surroundings()
    own = None if around.uid == 0 else _own_places(around, face)
    written = local.config_text(head, own)
    _check_written(written, own)
    listed = local.inventory_text(local.host_name(os.uname().nodename))
    there = config_files.ClusterFolder(path=str(folder.resolve()), asked=True)
    layers = (
        *config_files.layers(there, around),
        Layer(path=str(folder / "Tashi.cfg"), text=written),
    )
    merged = config.merge(layers, face.streams.env)
    desk = Desk(face=face, folder=there.path, merged=merged)
    known = inventory.load([(str(folder / "inventory" / _INVENTORY), listed)])
    return _Draft(
        cluster=cluster,
        folder=folder,
        own=own,
        config=written,
        inventory=listed,
        desk=desk,
        context=wiring.context_of(desk, known),
    )


def _own_places(around: config_files.Surroundings, face: Globals) -> Places:
    lib = local.lib_dir(around.home, face.streams.env)
    run = places.first_safe(local.run_folders(around.uid, lib, face.streams.env))
    if run is None:
        raise InvalidRequest(
            "E-RUN-DIR",
            "no folder is fit for the sockets of VMs",
            cause=f"tried $XDG_RUNTIME_DIR, {lib} and /var/tmp/tashi-{around.uid}: each belongs to"
            " others, is open to them, or has too long a path",
            hint="set XDG_RUNTIME_DIR to a folder of yours with mode 0700 and a short path",
        )
    return local.places(lib, run)


def _check_written(text: str, own: Places | None) -> None:
    """A path with a comment's sign in it would be read as another one."""
    ours = config.merge([Layer(path="Tashi.cfg", text=text)]).settings.tashictl
    if own is not None and (ours.lib_dir, ours.run_dir) != (own.lib_dir, own.run_dir):
        raise InvalidRequest(
            "E-PATH",
            f"the configuration cannot hold the path {own.lib_dir}",
            cause=f"it would be read as {ours.lib_dir}",
            hint="set XDG_STATE_HOME to a plain path",
        )


def _look(draft: _Draft) -> tuple[HostFacts, Sequence[Finding]]:
    """What this machine is and has; KVM, which takes its time, is tried when it is taken in."""
    with wiring.world_of(draft.desk, bare=True) as world:
        reading = ops.look(world, draft.context, draft.host, "tcg")
    networks = draft.context.inventory.networks
    place = requirements.place(draft.host, draft.context.settings, networks)
    return reading.facts, requirements.findings(reading, place)


def _refuse(draft: _Draft, facts: HostFacts, findings: Sequence[Finding]) -> None:
    ours = draft.context.settings.tashictl
    if facts.claimed_by is not None:
        claim = shlex.quote(f"{ours.lib_dir}/cluster")
        raise NotPermitted(
            "E-FOREIGN",
            f"this machine belongs to cluster {facts.claimed_by}",
            cause=f"{ours.lib_dir}/cluster says so",
            hint=f"use that cluster; or, when it is gone and nothing of it runs: rm {claim}",
        )
    unmet = [f for f in findings if not f.ok]
    if not unmet:
        return
    remedies = [line for f in unmet for line in f.remedy.splitlines()]
    packages = dict.fromkeys(
        word for line in remedies if line.startswith(_APT) for word in line[len(_APT) :].split()
    )
    todo = [f"{_APT}{' '.join(packages)}   (as root)"] if packages else []
    todo += [line for line in remedies if not line.startswith(_APT)]
    raise FaultsFound(
        "E-MISSING",
        "this machine cannot run VMs yet: nothing was made",
        cause="; ".join(f"{f.check}: {f.seen}" for f in unmet),
        hint="; ".join([*todo, "then the same command again"]),
    )


def _tell(face: Globals, draft: _Draft, findings: Sequence[Finding]) -> None:
    report, ours = Progress(face), draft.context.settings.tashictl
    for finding in findings:
        if finding.remedy or finding.check == "accel":
            remedy = "; ".join(finding.remedy.splitlines())
            report.note(f"{finding.check}: {finding.seen}" + (f": {remedy}" if remedy else ""))
    if draft.own is not None and places.ends_at_logout(SystemWho().user()):
        report.note("XDG_RUNTIME_DIR goes when you log out; to keep it: loginctl enable-linger")
    called = program(face, draft.folder)
    output.emit_record(
        face,
        {
            "cluster": draft.cluster,
            "directory": str(draft.folder),
            "host": draft.host.name,
            "network": local.NETWORK,
            "run_dir": ours.run_dir,
            "lib_dir": ours.lib_dir,
        },
        [
            f"cluster {draft.cluster} in {draft.folder}; its only host is {draft.host.name}, "
            "this machine",
            f"next: {called} image build-demo   (or {called} image import FILE)",
            f"      {called} vm create web1 --disk demo.qcow2",
        ],
        name=draft.cluster,
    )


def program(face: Globals, folder: Path) -> str:
    """How tashictl is called for this cluster."""
    if options.cluster_dir(face).resolve() == folder.resolve():
        return "tashictl"
    return f"tashictl --cluster {shlex.quote(str(folder))}"
