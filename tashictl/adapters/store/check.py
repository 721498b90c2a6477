"""The state folder examined: what is there, what is wrong with it; nothing is changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from tashictl.adapters import files
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.store import backups
from tashictl.adapters.store.create import LOCK_FOLDER, SEED_FOLDER, SUBFOLDERS
from tashictl.adapters.store.form import HINT, STATE_FILE, read_state, read_stored
from tashictl.adapters.store.upgrade import LADDER, Ladder
from tashictl.errors import TashiError
from tashictl.model.operation import JournalView
from tashictl.model.state import State

_VM_LOCK = re.compile(r"vm-(\d+)")


class Finding(Struct, frozen=True, kw_only=True):
    """One result: `severity` is ``note``, ``warning`` or ``error``; `id` names the check."""

    id: str
    severity: str
    evidence: str
    remedy: str = ""


def check(folder: str, journals: FileJournals, ladder: Ladder = LADDER) -> tuple[Finding, ...]:
    """Examine a state folder: the database, its copies, the journals, lock files, privacy.

    Takes no lock: what changes meanwhile may show as a journal without a record or the reverse.
    """
    state, file_finding = _file(folder, ladder)
    found = [file_finding, *_backups(folder, ladder), *_privacy(folder), *_leftovers(folder)]
    warning = files.network_warning(folder)
    if warning is not None:
        found.append(Finding(id="state-network", severity="warning", evidence=warning))
    views, unreadable = _journals(journals)
    found += unreadable
    if state is not None:
        found += _consistency(state)
        found += _operations(state, views, journals)
        found += _locks(folder, state)
    return tuple(found)


def _file(folder: str, ladder: Ladder) -> tuple[State | None, Finding]:
    path = f"{folder}/{STATE_FILE}"
    try:
        stored = read_stored(path, ladder)
    except TashiError as error:
        return None, Finding(
            id="state-file", severity="error", evidence=str(error), remedy=error.hint
        )
    state = stored.state
    evidence = (
        f"{path} is whole: schema {stored.seal.schema}, epoch {state.meta.epoch},"
        f" generation {state.meta.generation}, {len(state.vms)} VMs, {len(state.hosts)} hosts"
    )
    return state, Finding(id="state-file", severity="note", evidence=evidence)


def _backups(folder: str, ladder: Ladder) -> Iterator[Finding]:
    paths = backups.listed(f"{folder}/{backups.BACKUP_FOLDER}")
    whole = 0
    for path in paths:
        try:
            read_state(path, ladder)
            whole += 1
        except TashiError as error:
            # What a restore or a rebuild replaced is kept because it may be damaged.
            name = path.rpartition("/")[2]
            replaced = name.startswith((backups.REPLACED, backups.BEFORE_REBUILD))
            severity = "note" if replaced else "warning"
            yield Finding(id="state-backup", severity=severity, evidence=str(error))
    evidence = f"{len(paths)} backups, {whole} of them whole"
    yield Finding(id="state-backups", severity="note", evidence=evidence)


def _privacy(folder: str) -> Iterator[Finding]:
    for path, why in exposed(folder):
        remedy = f"chmod -R go= {folder}"
        evidence = f"{path}: {why}"
        yield Finding(id="state-private", severity="error", evidence=evidence, remedy=remedy)


def exposed(folder: str) -> Iterator[tuple[str, str]]:
    """What in a state folder is not private, and why."""
    paths = [folder, *(f"{folder}/{name}" for name in files.names_in(folder))]
    for name in (*SUBFOLDERS, SEED_FOLDER):
        paths += [f"{folder}/{name}/{inner}" for inner in files.names_in(f"{folder}/{name}")]
    for path in paths:
        why = None
        with suppress(TashiError):  # gone since it was listed
            why = files.exposure(path)
        if why is not None:
            yield path, why


def _leftovers(folder: str) -> Iterator[Finding]:
    for place in (folder, *(f"{folder}/{name}" for name in (*SUBFOLDERS, SEED_FOLDER))):
        for name in files.names_in(place):
            if name.startswith(".") and name.endswith(files.TEMP_SUFFIX):
                yield Finding(
                    id="state-temp",
                    severity="warning",
                    evidence=f"{place}/{name} was left by a process that died, or is in use",
                    remedy="remove it when no tashictl runs",
                )


def _journals(journals: FileJournals) -> tuple[list[JournalView], list[Finding]]:
    views: list[JournalView] = []
    findings: list[Finding] = []
    for operation_id in journals.ids():
        try:
            view = journals.read(operation_id)
        except TashiError as error:
            findings.append(
                Finding(id="journal", severity="error", evidence=str(error), remedy=error.hint)
            )
            continue
        if view is not None:
            views.append(view)
    return views, findings


def _operations(
    state: State, views: list[JournalView], journals: FileJournals
) -> Iterator[Finding]:
    """Compare the operations that VMs name with the journals that did not end."""
    present = set(journals.ids())
    named = {vm.operation.id: vm for vm in state.vms.values() if vm.operation is not None}
    for operation_id, vm in named.items():
        if operation_id not in present:
            yield Finding(
                id="record-without-journal",
                severity="warning",
                evidence=f"VM {vm.name} names operation {operation_id}, which has no journal",
                remedy=f"tashictl op resume {operation_id}",
            )
    for view in views:
        header = view.header
        if header.id > state.meta.last_operation_id:
            yield Finding(
                id="state-old",
                severity="error",
                evidence=f"operation {header.id} has a journal, but the database does not know it:"
                " it is an old copy",
                remedy="tashictl state rebuild",
            )
        elif header.epoch < state.meta.epoch:
            continue  # whatever became of it, the rebuild has seen it
        elif view.ended is None and not view.alive and header.vm and header.id not in named:
            yield Finding(
                id="journal-without-record",
                severity="warning",
                evidence=f"operation {header.id} on {header.target} was interrupted, and no VM"
                " names it",
                remedy=f"tashictl op resume {header.id}",
            )


def _consistency(state: State) -> Iterator[Finding]:
    """What no transaction would have written."""
    meta = state.meta
    faults = [f"VM {vm.id} lies under id {key}" for key, vm in state.vms.items() if key != vm.id]
    names = Counter(vm.name for vm in state.vms.values())
    faults += [f"{count} VMs are named {name}" for name, count in names.items() if count > 1]
    numbers = Counter(host.id for host in state.hosts.values())
    faults += [f"{count} hosts have id {number}" for number, count in numbers.items() if count > 1]
    if max(state.vms, default=0) > meta.last_vm_id:
        faults.append("a VM has an id that was not given out yet")
    if max(numbers, default=0) > meta.last_host_id:
        faults.append("a host has an id that was not given out yet")
    if meta.stale:
        yield Finding(
            id="state-old", severity="error", evidence=meta.stale, remedy="tashictl state rebuild"
        )
    for fault in faults:
        yield Finding(id="state-consistent", severity="error", evidence=fault, remedy=HINT)


def _locks(folder: str, state: State) -> Iterator[Finding]:
    matches = map(_VM_LOCK.fullmatch, files.names_in(f"{folder}/{LOCK_FOLDER}"))
    left = [m.group() for m in matches if m is not None and int(m.group(1)) not in state.vms]
    if left:
        yield Finding(
            id="locks-left",
            severity="note",
            evidence=f"{len(left)} lock files of VMs that are gone: {', '.join(left[:5])}"
            + (" …" if len(left) > 5 else ""),
            remedy="none needed",
        )
