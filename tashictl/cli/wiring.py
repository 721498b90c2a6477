"""The world of a command that reaches hosts or changes the state: ports and the adapters that fit.

mypy proves here that every adapter fits its port.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tashictl.adapters import faults, inventory_files, qmp, templates
from tashictl.adapters.clock import SystemClock
from tashictl.adapters.dice import SystemDice
from tashictl.adapters.dispatch import Dispatch, DryRunRemote
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.local import LocalRemote
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.seed import FileSeeds
from tashictl.adapters.ssh.hostkeys import HostKeyStore
from tashictl.adapters.store.create import SEED_FOLDER
from tashictl.adapters.store.form import ReadOnlyStore
from tashictl.adapters.store.tiny import TinyStore
from tashictl.adapters.store.whole import WholeStateFile
from tashictl.adapters.who import SystemWho
from tashictl.cli.desk import Desk, no_cluster
from tashictl.cli.progress import Progress
from tashictl.cli.servers import SystemNames
from tashictl.errors import TashiError, raise_all
from tashictl.model.inventory import Inventory
from tashictl.ops.context import Context
from tashictl.ops.ports import Remote, Store, World
from tashictl.ops.ports_sweep import Books
from tashictl.planning import inventory as inventory_plan
from tashictl.planning.inventory_networks import with_ranges
from tashictl.planning.net import files
from tashictl.planning.render import IFUP

if TYPE_CHECKING:
    from tashictl.adapters.history import SqliteHistory
    from tashictl.adapters.ssh.remote import SshRemote


def inventory_of(desk: Desk) -> Inventory:
    """The inventory, with the ranges that the configuration gives."""
    uid = os.getuid()
    if desk.face.inventory:
        sources = inventory_files.read(desk.face.inventory, uid)
    else:
        sources = inventory_files.read_default(desk.folder, uid)
    return with_ranges(inventory_plan.load(sources), desk.settings)


def context_of(desk: Desk, inventory: Inventory | None = None) -> Context:
    """What operations decide with."""
    if not desk.settings.tashictl.cluster_id:
        missing = no_cluster(desk.folder)
        if Path(desk.state_folder).is_dir():
            missing.what = f"no [Tashictl] clusterId in {desk.folder}/Tashi.cfg"
        raise missing
    cluster = Path(desk.folder)
    return Context(
        settings=desk.settings,
        inventory=inventory_of(desk) if inventory is None else inventory,
        ifup_template=templates.read(IFUP, templates.own_folders(cluster)),
        ifup_templates=templates.of_hosts(IFUP, cluster),
    )


def net_templates(desk: Desk) -> Callable[[str], dict[str, str]]:
    """For a host's name, all templates of its network by name; its own ones go first.

    What it gives raises InvalidRequest or Problems for those that cannot be read.
    """
    cluster = Path(desk.folder)

    def of(host: str) -> dict[str, str]:
        own = templates.own_folders(cluster, host)
        found: dict[str, str] = {}
        problems = []
        for name in files.TEMPLATES:
            try:
                found[name] = templates.read(name, own)
            except TashiError as error:
                problems.append(error)
        raise_all(problems)
        return found

    return of


def tiny_store(desk: Desk) -> TinyStore:
    """The state database, to be changed."""
    ours, clock = desk.settings.tashictl, SystemClock()
    locks = _locks(desk)
    return TinyStore(desk.state_folder, locks, clock, keep=ours.backups)


def whole_file(desk: Desk) -> WholeStateFile:
    """The state file, whatever is in it."""
    return WholeStateFile(desk.state_folder, _locks(desk), SystemClock())


def _ssh(desk: Desk, known_hosts: Path) -> SshRemote:
    # paramiko and fabric are half of all that is imported: only who reaches a host pays.
    from tashictl.adapters.ssh.remote import SshRemote

    config = Path.home() / ".ssh" / "config"
    return SshRemote(
        known_hosts,
        ssh_config=config if config.is_file() else None,
        connect_timeout_s=desk.settings.tashictl.connect_timeout_s,
    )


def _locks(desk: Desk) -> FileLocks:
    return FileLocks(
        f"{desk.state_folder}/locks",
        SystemClock(),
        SystemWho().controller(),
        desk.settings.tashictl.lock_timeout_s,
    )


def journals(desk: Desk) -> FileJournals:
    """All journals of the cluster."""
    return FileJournals(f"{desk.state_folder}/journal", SystemClock())


def history(desk: Desk, *, read_only: bool = False) -> SqliteHistory:
    """What was measured; `read_only` for those that only show, and in a dry run."""
    # sqlite3 costs milliseconds of start-up: only who uses the history pays.
    from tashictl.adapters.history import SqliteHistory
    from tashictl.adapters.history_fold import Limits

    ours = desk.settings.tashictl
    return SqliteHistory(
        desk.state_folder,
        SystemClock(),
        Limits(raw_s=ours.history_raw_s, rolled_s=ours.history_rollup_s),
        warn=Progress(desk.face).warn,
        timeout_s=ours.lock_timeout_s,
        read_only=read_only or desk.face.dry_run,
    )


@contextmanager
def world_of(desk: Desk, *, bare: bool = False) -> Iterator[World]:
    """All ports; connections are closed at the end. In a dry run nothing in it changes anything.

    `bare` is for a look around where no cluster is yet: it changes nothing either.
    """
    if not bare and not Path(desk.state_folder).is_dir():
        raise no_cluster(desk.folder)
    known_hosts = Path(desk.state_folder) / "known_hosts"
    remote: Remote = Dispatch({"paramiko": lambda: _ssh(desk, known_hosts), "local": LocalRemote})
    store: Store = tiny_store(desk)
    if desk.face.dry_run or bare:
        remote = DryRunRemote(remote)
        store = ReadOnlyStore(desk.state_folder)
    try:
        yield World(
            store=store,
            journals=journals(desk),
            locks=_locks(desk),
            remote=remote,
            qmp=qmp,
            trust=HostKeyStore(known_hosts),
            clock=SystemClock(),
            dice=SystemDice(),
            who=SystemWho(),
            faults=faults.from_environment(desk.face.streams.env),
            report=Progress(desk.face),
            seeds=FileSeeds(f"{desk.state_folder}/{SEED_FOLDER}"),
            names=SystemNames(),
        )
    finally:
        remote.close()


def books_of(desk: Desk) -> Books:
    """The book of events, the history, and the lock of sweeps."""
    from tashictl.adapters.book import SqliteBook
    from tashictl.adapters.locks import FileSweepLocks

    clock, actor = SystemClock(), SystemWho().controller()
    return Books(
        book=SqliteBook(desk.state_folder, clock.now),
        history=history(desk),
        locks=FileSweepLocks(f"{desk.state_folder}/locks", clock, actor),
    )
