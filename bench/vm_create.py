"""`tashictl vm create` on a lab host: connections, execs, fsyncs; its time against that by hand.

Connections and execs are what the host's sshd logged (LogLevel VERBOSE); fsyncs are what strace
saw of the controller and its children. The time is from the start of the process to its end, with
QEMU greeted and the record committed, less that of `bench.hand` in paired runs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench import crowd, hand, timing
from bench.timing import Figure
from tests.live.lab import cluster as clusters
from tests.live.lab import guest, needs
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

PAIRS = 9
COUNTED = 3
MORE_THAN_BY_HAND_S = 0.4
_NAME = "bench"
_CREATE = ("vm", "create", _NAME, "--disk", guest.NAME, "--memory", "128M", "--host", "h1")
_TRACE = "trace=fsync,fdatasync,sync,syncfs,sync_file_range"
_SYNC = re.compile(r"\b(?:fsync|fdatasync|sync|syncfs|sync_file_range)\(")


def figures() -> Iterator[Figure]:
    """The figures of this file; none, with the reason, where no lab can stand."""
    lacking = needs.missing_for_hosts() + needs.missing_for_guest()
    if lacking:
        print(f"vm create: left out, no lab can stand here: {needs.explain(lacking)}")
        return
    with Lab(1) as lab:
        folder = lab.directory
        argv = [crowd.tashictl()]
        tashictl = clusters.make_cluster(lab, folder / "cluster", argv)
        bench = _Bench(lab, tashictl)
        print(f"vm create: {' '.join(['tashictl', *_CREATE])}; sshd on a bridge of this machine")
        yield from bench.counts()
        yield from bench.times()


class _Bench:
    def __init__(self, lab: Lab, tashictl: Tashictl) -> None:
        self.lab = lab
        self.host: Host = lab.hosts[0]
        self.tashictl = tashictl
        self.log = self.host.root / "var/log/sshd.log"
        config = self.host.root / "etc/ssh/sshd_config"
        config.write_text(f"LogLevel VERBOSE\n{config.read_text()}", encoding="utf-8")
        self.host.stop_sshd()
        self.host.start_sshd()
        time.sleep(0.5)  # the lab's own look at the port is logged late

    def counts(self) -> Iterator[Figure]:
        """Connections, execs and fsyncs: the greatest of some runs."""
        connections, execs, syncs = [], [], []
        for _ in range(COUNTED):
            skip = len(self._logged())
            self._create()
            said = self._logged()[skip:]
            connections.append(said.count("Connection from "))
            execs.append(said.count("Starting session: "))
            self._destroy()
            if shutil.which("strace"):
                syncs.append(self._traced())
                self._destroy()
        runs = f"{COUNTED} runs, by the host's sshd log"
        yield Figure(
            name="vm create: SSH connections", value=max(connections), limit=1, unit="", detail=runs
        )
        yield Figure(name="vm create: execs", value=max(execs), limit=2, unit="", detail=runs)
        if not syncs:
            print("vm create: fsyncs left out: no strace")
            return
        yield Figure(
            name="vm create: fsyncs of the controller",
            value=max(syncs),
            limit=4,
            unit="",
            detail=f"{COUNTED} runs, strace -f -e {_TRACE}",
        )

    def times(self) -> Iterator[Figure]:
        """Wall time against the same steps by hand."""
        self._create()
        steps = self._recipe()
        self._destroy()
        print("  by hand: ssh -L SOCKET:qmp.sock h1 'sh -s', which is fed:")
        print("".join(f"    {line[:110]}\n" for line in steps.text.splitlines()), end="")
        cpu: list[float] = []

        def ours() -> float:
            spent = self._create()
            cpu.append(spent.cpu_s)
            self._destroy()
            return spent.wall_s

        def floor() -> float:
            took_s = hand.create(self.lab, self.host, steps)
            hand.destroy(self.host, steps)
            return took_s

        pairs = timing.by_turns(ours, floor, PAIRS)
        yield Figure(
            name="vm create: wall beyond the same steps by hand",
            value=pairs.difference_s,
            limit=MORE_THAN_BY_HAND_S,
            unit="s",
            detail=pairs.detail,
        )
        yield Figure(name="vm create: wall / by hand", value=pairs.ratio, limit=None)
        yield Figure(
            name="vm create: CPU of the controller",
            value=min(cpu),
            limit=None,
            unit="s",
            detail="the least of all runs",
        )

    def _create(self) -> timing.Spent:
        return timing.run([*self.tashictl.argv, *_CREATE], self._env(), self.tashictl.home)

    def _destroy(self) -> None:
        self.tashictl.run("vm", "destroy", _NAME, "-y")
        time.sleep(0.1)

    def _env(self) -> dict[str, str]:
        own = {"TASHICTL_CLUSTER": str(self.tashictl.cluster)}
        return {**crowd.environment(self.tashictl.home), **own}

    def _traced(self) -> int:
        trace = self.lab.directory / "strace.log"
        strace = ["strace", "-f", "-qq", "-o", str(trace)]
        strace += ["-e", _TRACE]
        argv = [*strace, *self.tashictl.argv, *_CREATE]
        timing.run(argv, self._env(), self.tashictl.home)
        return len(_SYNC.findall(trace.read_text(encoding="utf-8")))

    def _logged(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _recipe(self) -> hand.Recipe:
        """What QEMU was started with, as the host's kernel knows it."""
        record = self.tashictl.run("vm", "show", _NAME, "-o", "json").json()
        cmdline = Path(f"/proc/{self._outer_pid(record['uuid'])}/cmdline").read_bytes()
        argv = cmdline.decode().rstrip("\0").split("\0")
        folder = str(Path(record["disks"][0]["path"]).parent)
        ours = folder.split("/")[-2:]
        ifup = f"/etc/qemu-ifup.{record['nics'][0]['network']}"
        return hand.recipe(argv, folder, "/".join(["/run/tashi", *ours]), ifup)

    def _outer_pid(self, uuid: str) -> int:
        argv = ["pgrep", "-f", f"qemu-system.* -uuid {uuid}"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[0])
