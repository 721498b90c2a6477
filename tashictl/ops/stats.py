"""What was measured, of the VMs and hosts that the database knows, and of VMs that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from tashictl.errors import NoSuchTarget, TashiError, raise_all
from tashictl.model.names import select
from tashictl.model.sample import Known, Point
from tashictl.model.state import State
from tashictl.model.vm import Vm
from tashictl.ops.ports_sweep import History
from tashictl.planning import publish
from tashictl.planning.metrics import HOST, VM
from tashictl.planning.publish import Measured


class Publisher(Protocol):
    """Takes values to where others collect them. Raises OperationFailed."""

    def publish(self, values: Sequence[publish.Value]) -> str | None:
        """Hand all over; why they were not, where it failed lately and is not tried again yet."""
        ...


class Row(Struct, frozen=True, kw_only=True):
    """A VM or a host and its newest values, none where it was not measured yet."""

    of: str
    subject: str
    name: str
    uuid: str | None = None
    host: str | None = None
    user: str = ""
    at_s: float | None = None
    values: dict[str, float] = {}

    @property
    def measured(self) -> Measured | None:
        """The same for those who collect values, if it was measured."""
        if self.at_s is None:
            return None
        return Measured(
            of=self.of,
            subject=self.subject,
            name=self.name,
            host=self.host,
            user=self.user,
            at_s=self.at_s,
            values=self.values,
        )


class Subject(Struct, frozen=True, kw_only=True):
    """What `stats history` was asked for: `name` is for people, `gone` when it is no more."""

    of: str
    subject: str
    name: str
    host: str | None = None
    gone: bool = False


def vms(state: State, history: History, words: Sequence[str] = ()) -> list[Row]:
    """The VMs that names, ids, globs and ranges stand for (none: all), with their newest values.

    Raises NoSuchTarget for all words that stand for none; OperationFailed E-HISTORY.
    """
    by_name = {vm.name: vm for vm in state.vms.values()}
    chosen: dict[int, Vm] = dict(state.vms) if not words else {}
    problems: list[TashiError] = []
    for word in words:
        one = state.vm_named(word)
        some = [one] if one else [by_name[n] for n in select(word, by_name)]
        chosen.update((vm.id, vm) for vm in some)
        if not some:
            problems.append(NoSuchTarget("E-NO-VM", f"no VM {word!r}", hint="tashictl vm list"))
    raise_all(problems)
    latest = history.latest()
    return [_vm_row(vm, latest) for vm in chosen.values()]


def hosts(state: State, history: History, words: Sequence[str] = ()) -> list[Row]:
    """As `vms`, for hosts; raises NoSuchTarget E-NO-HOST."""
    chosen = dict.fromkeys(state.hosts) if not words else {}
    problems: list[TashiError] = []
    for word in words:
        one = state.host_named(word)
        some = [one.name] if one else select(word, state.hosts)
        chosen.update(dict.fromkeys(some))
        if not some:
            problems.append(
                NoSuchTarget("E-NO-HOST", f"no host {word!r}", hint="tashictl host list")
            )
    raise_all(problems)
    latest = history.latest()
    return [_host_row(name, latest) for name in chosen]


def find(state: State, history: History, name: str) -> Subject:
    """The VM of that name, id or uuid, the host, or a VM that is gone; the newest of several.

    ``vm:`` or ``host:`` in front says which is meant. Raises NoSuchTarget E-NO-STATS.
    """
    of, colon, bare = name.partition(":")
    if not colon or of not in (VM, HOST):
        of, bare = "", name
    if of != HOST:
        vm = state.vm_named(bare) or next((v for v in state.vms.values() if v.uuid == bare), None)
        if vm is not None:
            return Subject(of=VM, subject=f"vm:{vm.uuid}", name=vm.name, host=vm.host)
    if of != VM and (record := state.host_named(bare)) is not None:
        return Subject(of=HOST, subject=f"host:{record.name}", name=record.name)
    known = [k for k in history.subjects() if _is_called(k, of, bare)]
    if not known:
        raise NoSuchTarget(
            "E-NO-STATS",
            f"nothing called {name!r} was measured",
            cause="it is no VM and no host, and the history remembers none of that name",
            hint="tashictl stats show; tashictl stats show --hosts",
        )
    newest = max(known, key=lambda k: k.at_s)
    kind, _, own = newest.subject.partition(":")
    return Subject(of=kind, subject=newest.subject, name=newest.label or own, gone=True)


def _is_called(known: Known, of: str, name: str) -> bool:
    kind, _, own = known.subject.partition(":")
    return (not of or kind == of) and name in (own, known.label)


def _vm_row(vm: Vm, latest: Mapping[str, Point]) -> Row:
    subject = f"vm:{vm.uuid}"
    point = latest.get(subject)
    return Row(
        of=VM,
        subject=subject,
        name=vm.name,
        uuid=vm.uuid,
        host=vm.host,
        user=vm.user,
        at_s=point.at_s if point else None,
        values=point.values if point else {},
    )


def _host_row(name: str, latest: Mapping[str, Point]) -> Row:
    point = latest.get(f"host:{name}")
    return Row(
        of=HOST,
        subject=f"host:{name}",
        name=name,
        host=name,
        at_s=point.at_s if point else None,
        values=point.values if point else {},
    )
