"""What the live tests of the sweep share: a cluster, rounds, what they told, and sick commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.history import SqliteHistory
from tests.live import invariants
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.observe import Qemu, qemus
from tests.live.lab.runner import Result, Tashictl

# A host that is away costs 5 s; the probe's own limit is added to that.
CONFIG = "connectTimeout = 5\nlockTimeout = 2\n"
CREATE = ("vm", "create", "--disk", invariants.IMAGE)
OK, PROBLEMS, BUSY, STALE, BRAKE = 0, 4, 5, 7, 9


def cluster_of(lab: Lab, directory: Path, argv: Sequence[str], config: str = "") -> Tashictl:
    """A cluster of the lab's hosts that was swept once, so that the next round has no news."""
    made = invariants.blank_cluster(lab, directory, argv, CONFIG + config)
    sweep(made)
    return made


def sweep(
    cluster: Tashictl, *more: str, rc: int = OK, env: Mapping[str, str] | None = None
) -> Result:
    """A round as cron has it; the exit code must be `rc`, and nothing may break."""
    done = cluster.run("sweep", *more, check=False, env=env)
    assert done.rc == rc, str(done)
    assert "Traceback" not in done.err, str(done)
    assert "E-BUG" not in done.err, str(done)
    return done


def silent(cluster: Tashictl, *more: str) -> None:
    """A round with nothing to tell: cron sends no mail."""
    silent_but(cluster, OK, *more)


def silent_but(cluster: Tashictl, rc: int, *more: str) -> None:
    """A round that says nothing, with an exit code."""
    done = sweep(cluster, *more, rc=rc)
    assert (done.out, done.err) == ("", ""), str(done)


def round_of(
    cluster: Tashictl, *more: str, rc: int = OK, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A round as an object."""
    found: dict[str, Any] = sweep(cluster, "-o", "json", *more, rc=rc, env=env).json()
    return found


def ids(found: dict[str, Any]) -> list[str]:
    """The ids of the problems of a round."""
    return sorted(problem["id"] for problem in found["problems"])


def kinds(found: dict[str, Any]) -> list[str]:
    """The kinds of the events of a round."""
    return sorted(event["kind"] for event in found["events"])


def create(cluster: Tashictl, name: str, host: str, *more: str) -> dict[str, Any]:
    """A VM that runs on a host."""
    argv = (*CREATE, name, "--host", host, "--memory", "64M", *more, "-o", "json")
    made: dict[str, Any] = cluster.run(*argv).json()
    return made


def vm(cluster: Tashictl, name: str) -> dict[str, Any]:
    """The record of a VM that is there."""
    found = invariants.record(cluster, name)
    assert found is not None, f"no {name}"
    return found


def states(cluster: Tashictl) -> dict[str, str]:
    """Every VM's state by its name."""
    return {one["name"]: one["state"] for one in invariants.records(cluster)}


def qemu(host: Host, of: dict[str, Any]) -> Qemu:
    """The one QEMU of a VM."""
    (found,) = [one for one in qemus(host) if one.uuid == of["uuid"]]
    return found


def run_folder(host: Host, of: dict[str, Any]) -> Path:
    """The run folder of a VM, as this process can write it."""
    (found,) = (host.root / "run/tashi").glob(f"*/{of['uuid']}")
    return found


def state_file(cluster: Tashictl) -> Path:
    """The state database."""
    return cluster.cluster / "state/tashi.json"


def history(cluster: Tashictl) -> SqliteHistory:
    """What was measured."""
    return SqliteHistory(str(cluster.cluster / "state"), SystemClock(), read_only=True)


def samples(cluster: Tashictl, subject: str, name: str) -> list[float]:
    """When one number of a subject was measured, from old to new, since 1970."""
    found = history(cluster).series(subject, [name], 0.0, 1e11)
    return [at_s for series in found for at_s in series.at_s]


@contextmanager
def shadowed(host: Host, command: str, text: str) -> Iterator[None]:
    """On the host a command is a script; the real one is then below /usr/bin."""
    path = host.root / "usr/local/bin" / command
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def without_rights(cluster: Tashictl, host: Host) -> Iterator[None]:
    """The login on a host is one that may do nothing."""
    path = cluster.cluster / "inventory/lab.yaml"
    text, usual = path.read_text(encoding="utf-8"), f"{{address: {host.address}}}"
    assert usual in text
    path.write_text(text.replace(usual, f"{usual[:-1]}, user: noroot}}"), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")


@contextmanager
def cut_short(host: Host, size_bytes: int) -> Iterator[None]:
    """What scripts say on the host ends after so many bytes."""
    cut = f'#!/usr/bin/dash\n/usr/bin/dash "$@" | head -c {size_bytes}\n'
    host.run("mv /usr/bin/sh /usr/bin/sh.away", check=True)
    path = host.root / "usr/bin/sh"
    path.write_text(cut, encoding="utf-8")
    path.chmod(0o755)
    try:
        yield
    finally:
        path.unlink()
        path.with_name("sh.away").rename(path)


def reset(lab: Lab, cluster: Tashictl) -> None:
    """Every fault ended, no VM left, all hosts known to be up, and nothing wrong any more."""
    invariants.ready(lab, cluster)
    sweep(cluster, "--yes")
    assert invariants.complaints(lab, cluster) == []


def by_hand(uuid: str, name: str) -> str:
    """Shell text that starts a QEMU which is nobody's."""
    words = f"-name {name} -uuid {uuid} -machine none -display none -nodefaults"
    return f"qemu-system-x86_64 {words} -daemonize -pidfile /run/{name}.pid"


@contextmanager
def kept(cluster: Tashictl) -> Iterator[None]:
    """What is done inside changes no byte of the cluster directory but its locks."""
    before = _files(cluster)
    yield
    assert _files(cluster) == before


def _files(cluster: Tashictl) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in cluster.cluster.rglob("*")
        if path.is_file() and "/state/locks/" not in str(path)
    }


@contextmanager
def hosts_kept(lab: Lab) -> Iterator[None]:
    """What is done inside changes nothing on a host but the probe's own lock."""
    before = _on_hosts(lab)
    yield
    assert _on_hosts(lab) == before


def _on_hosts(lab: Lab) -> dict[str, object]:
    found: dict[str, object] = {}
    for host in lab.hosts:
        found |= {
            f"{host.name}:{path}": what
            for path, what in host.snapshot().items()
            if not path.endswith(("console.log", ".qcow2", "/probe.lock"))
        }
        found[f"{host.name} runs"] = sorted((q.pid, q.uuid) for q in qemus(host))
    return found
