"""One round of `tashictl sweep` against the bare transport; its looks against peers' ways to facts.

The floor is `python -m bench.floor`: the same transport brings `true` to the same hosts. Both are
programs of their own, from their start to their end. What the hosts do themselves is measured
apart, on one (see `bench.probe_host`), and then only waited for (see `bench.crowd_ssh`).
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from bench import crowd_sweep, peers, probe_host, timing
from bench.crowd_ssh import Answers, Crowd, crowd
from bench.probe_host import Measured
from bench.timing import Figure, Pairs, Spent

PROBE_S = 0.030
WALL = 1.15
CPU = 2.0
PROBES = 25
PAIRS = {200: 5, 1000: 2}
MEMORY_HOSTS = 2000
MEMORY_MIB = 150e6 / (1 << 20)


def figures() -> Iterator[Figure]:
    """The figures of this file."""
    with tempfile.TemporaryDirectory(prefix="tashictl-bench-") as made:
        measured = probe_host.measure(Path(made) / "host", crowd_sweep.CLUSTER, PROBES)
    yield _probe(measured)
    for count, pairs in PAIRS.items():
        with standing(count, measured) as site:
            yield from site.against_the_floor(pairs)
    with standing(MEMORY_HOSTS, measured) as site:
        yield site.memory()
    yield from peers.figures()


def _probe(measured: Measured) -> Figure:
    pairs = Pairs(ours=measured.cpu_s, floor=measured.floor_cpu_s)
    return Figure(
        name=f"probe of a host with {probe_host.VMS} VMs: CPU on the host",
        value=statistics.median(measured.cpu_s),
        limit=PROBE_S,
        unit="s",
        detail=f"{measured.processes} processes, script of {measured.script_bytes} bytes, "
        f"wall {min(measured.wall_s) * 1000:.0f} ms least; {pairs.detail}",
    )


class Site:
    """A crowd with a cluster of it, below `folder`."""

    def __init__(self, folder: Path, hosts: Crowd, measured: Measured) -> None:
        self.folder = folder
        self.hosts = hosts.hosts
        self.cluster = crowd_sweep.make(folder, hosts.hosts, hosts.known_hosts, measured)
        kept = crowd_sweep.digest(self.cluster)
        for number, host in enumerate(hosts.hosts):
            hosts.answer(host, crowd_sweep.answer(number, host.name, measured, kept))
        self._env = crowd_sweep.environment(folder)
        self._listed = folder / "hosts.json"
        self._listed.write_bytes(msgspec.json.encode(hosts.hosts))

    def sweep(self) -> Spent:
        """One round; raises RuntimeError when it finds anything amiss."""
        return timing.run(crowd_sweep.argv(self.cluster, "sweep"), self._env)

    def floor(self) -> Spent:
        """The bare transport brings `true` to the same hosts."""
        known = self.cluster / "state" / "known_hosts"
        code = f"{timing.TELL_PEAK}import sys; from bench.floor import main; sys.exit(main())"
        argv = [sys.executable, "-c", code, str(self._listed), str(known)]
        return timing.run(argv, self._env)

    def against_the_floor(self, pairs: int) -> Iterator[Figure]:
        """Wall and CPU of rounds, by turns with the bare transport."""
        spent = _by_turns(self.sweep, self.floor, pairs)
        told = f"{len(self.hosts)} hosts, {probe_host.VMS} VMs each"
        for what, limit in (("wall", WALL), ("cpu", CPU)):
            found = Pairs(
                ours=tuple(getattr(ours, f"{what}_s") for ours, _ in spent),
                floor=tuple(getattr(floor, f"{what}_s") for _, floor in spent),
            )
            yield Figure(
                name=f"sweep of {told}: {what} / bare transport's round of `true`",
                value=found.ratio,
                limit=limit,
                detail=found.detail,
            )
        peak = max(ours.peak_mib for ours, _ in spent)
        least = max(floor.peak_mib for _, floor in spent)
        yield Figure(
            name=f"sweep of {told}: most memory",
            value=peak,
            limit=None,
            unit="MiB",
            detail=f"bare transport {least:.0f} MiB",
        )

    def memory(self) -> Figure:
        """The most memory that a second round holds, which has the counters of the first."""
        self.sweep()
        spent = self.sweep()
        count = len(self.hosts)
        return Figure(
            name=f"sweep of {count} hosts, {count * probe_host.VMS} VMs: most memory",
            value=spent.peak_mib,
            limit=MEMORY_MIB,
            unit="MiB",
            detail=f"bare transport {self.floor().peak_mib:.0f} MiB; {spent.wall_s:.1f} s",
        )


@contextlib.contextmanager
def standing(count: int, measured: Measured) -> Iterator[Site]:
    """A site of so many hosts for a block."""
    # The least: more is what this machine's other work adds to it.
    answers = Answers(mark=crowd_sweep.MARK, wait_s=min(measured.wall_s))
    with tempfile.TemporaryDirectory(prefix="tashictl-bench-") as made:
        folder = Path(made)
        with crowd(folder / "crowd", count, answers) as hosts:
            yield Site(folder, hosts, measured)


def _by_turns(
    ours: Callable[[], Spent], floor: Callable[[], Spent], pairs: int
) -> Sequence[tuple[Spent, Spent]]:
    ours(), floor()
    return [(ours(), floor()) for _ in range(pairs)]
