"""The history under real kills, real writers and a real full disk; Ganglia by its own programs."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tashictl.adapters.clock import SystemClock
from tashictl.adapters.history import FILE, SqliteHistory
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.tiny import TinyStore
from tashictl.errors import OperationFailed
from tashictl.model.host import HostRecord
from tashictl.model.sample import Counters, Point
from tests.live.lab.runner import Tashictl

HERE = Path(__file__).parents[2]
START_S = 20_000 * 86400.0
PACKAGES = ("ganglia-monitor", "libganglia1", "libconfuse2", "libapr1")
_PORT = 18649

# A process that appends sweeps until it is killed; every sweep has all subjects.
WRITER = """
    import sys
    from tashictl.adapters.clock import SystemClock
    from tashictl.adapters.history import SqliteHistory
    from tashictl.model.sample import Counters, Point

    folder, first, count, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    history = SqliteHistory(folder, SystemClock(), warn=print, timeout_s=30.0)
    for number in range(first, first + count * step, step):
        at_s = 20_000 * 86400.0 + 300.0 * number
        points = [
            Point(subject=f"vm:{i}", at_s=at_s, values={"cpuLoad": float(number), "rss": 1.0})
            for i in range(200)
        ]
        counters = Counters(at_s=at_s, incarnation="b", values={"number": float(number)})
        history.append({f"vm:{i}": counters for i in range(200)}, points)
        print(number, flush=True)
"""


def history(folder: Path, warnings: list[str]) -> SqliteHistory:
    return SqliteHistory(str(folder), SystemClock(), warn=warnings.append)


def writer(folder: Path, first: int, count: int, step: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(WRITER),
            str(folder),
            *map(str, (first, count, step)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE,
    )


def test_a_writer_that_is_killed_leaves_whole_sweeps_and_nothing_else(tmp_path: Path) -> None:
    dice, done, warnings = random.Random(5), -1, list[str]()
    for _ in range(12):
        killed = writer(tmp_path, done + 1, 10_000)
        assert killed.stdout is not None
        killed.stdout.readline()
        time.sleep(dice.random() * 0.15)
        killed.send_signal(signal.SIGKILL)
        said = [line for line in killed.stdout.read().split() if line.isdigit()]
        killed.wait()
        last = history(tmp_path, warnings).last()
        reached = {int(c.values["number"]) for c in last.values()}
        assert len(last) == 200 and len(reached) == 1
        # What was said to be kept is; one more may be, whose word did not get out.
        assert max(reached) - int(said[-1] if said else done + 1) in (0, 1)
        done = max(reached)
    for number in (0, 99, 199):
        (load,) = history(tmp_path, warnings).series(f"vm:{number}", ["cpuLoad"], 0, START_S * 2)
        assert load.at_s == tuple(START_S + 300 * n for n in range(done + 1))
    history(tmp_path, warnings).append({}, [Point(subject="vm:0", at_s=START_S, values={"x": 1.0})])
    assert warnings == []
    # A journal that was empty when its writer died is nobody's until the next one writes.
    assert {p.name for p in tmp_path.iterdir()} == {FILE}
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    both = [writer(tmp_path, first, 25, 2) for first in (0, 1)]
    assert [w.wait(timeout=120) for w in both] == [0, 0]

    (load,) = history(tmp_path, []).series("vm:7", ["cpuLoad"], 0, START_S * 2)
    assert load.at_s == tuple(START_S + 300 * n for n in range(50))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_stops_the_history_and_nothing_of_it_is_lost(small_disk: Path) -> None:
    warnings: list[str] = []
    kept, number = history(small_disk, warnings), 0
    with pytest.raises(OperationFailed) as caught:
        for number in range(10_000):
            values = {f"n{i}": random.random() for i in range(30)}
            at_s = START_S + 60 * number
            points = [Point(subject=f"vm:{i}", at_s=at_s, values=values) for i in range(50)]
            kept.append({"vm:0": Counters(at_s=at_s, incarnation="b", values={})}, points)

    assert caught.value.code == "E-HISTORY"
    assert "full" in caught.value.cause
    assert number > 10
    (one,) = kept.series("vm:0", ["n1"], 0, START_S * 2)
    assert len(one.at_s) == number
    assert kept.last()["vm:0"].at_s == START_S + 60 * (number - 1)
    assert warnings == []


# -- Ganglia


@pytest.fixture(scope="module")
def cluster(tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tashictl:
    """A cluster directory whose only host was measured, and nothing else."""
    home = tmp_path_factory.mktemp("ganglia")
    made = Tashictl(tashictl_argv, home / "cluster", home)
    made.run("init", str(made.cluster))
    (made.cluster / "inventory" / "hosts.yaml").write_text(
        "hosts:\n  node1: {address: 10.77.0.1}\n"
    )
    measured(made)
    return made


def measured(made: Tashictl) -> None:
    """Put a host into the database and a sample into the history."""
    state, clock = f"{made.cluster}/state", SystemClock()
    store = TinyStore(state, FileLocks(f"{state}/locks", clock, "test", 5.0), clock, keep=1)
    with store.transaction() as tx:
        tx.put_host(HostRecord(id=1, name="node1", up=True))
    values = {"cpu_busy": 0.25, "load1": 1.5, "memory_mib": 2048.0}
    point = Point(subject="host:node1", at_s=time.time(), values=values)
    SqliteHistory(state, clock).append({}, [point])


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def with_path(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_a_gmetric_of_ours_is_told_each_value_and_after_a_failure_left_alone(
    cluster: Tashictl, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script(tmp_path / "gmetric", f'for a; do printf "[%s]" "$a"; done >> {log}; echo >> {log}')
    cluster.run("stats", "export", "ganglia", env=with_path(tmp_path))
    assert log.read_text().splitlines() == [
        "[-n][host_node1_cpu_busy][-v][0.25][-t][double][-u][][-d][60]",
        "[-n][host_node1_load1][-v][1.5][-t][double][-u][][-d][60]",
        "[-n][host_node1_memory_mib][-v][2048][-t][double][-u][MiB][-d][60]",
    ]

    log.unlink()
    script(tmp_path / "gmetric", f"echo no route >&2; echo >> {log}; exit 1")
    first = cluster.run("stats", "export", "ganglia", env=with_path(tmp_path), check=False)
    again = cluster.run("stats", "export", "ganglia", env=with_path(tmp_path))
    assert first.rc == 1 and "E-GANGLIA" in first.err and "no route" in first.err
    assert again.err == again.out == ""
    assert log.read_text() == "\n"
    (cluster.cluster / "state" / "ganglia.failed").unlink()


def test_without_gmetric_the_package_is_named(cluster: Tashictl, tmp_path: Path) -> None:
    if shutil.which("gmetric"):
        pytest.skip("gmetric is installed here")
    done = cluster.run("stats", "export", "ganglia", check=False)

    assert done.rc == 1
    assert "apt-get install ganglia-monitor" in done.err


@pytest.fixture(scope="module")
def ganglia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Callable[[], str]]]:
    """Debian's gmetric in a folder, and what Debian's gmond knows; both unpacked, not installed."""
    folder = tmp_path_factory.mktemp("gmond")
    folder.chmod(0o755)
    got = subprocess.run(
        ["apt-get", "download", *PACKAGES], cwd=folder, capture_output=True, text=True, check=False
    )
    if got.returncode != 0:
        pytest.skip(f"Debian's ganglia-monitor is not to be had here: {got.stderr[-200:]}")
    root = folder / "root"
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, root], check=True)
    (library,) = {p.parent for p in root.rglob("libganglia.so.0")}
    env = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    conf = folder / "gmond.conf"
    conf.write_text(
        textwrap.dedent(
            f"""
            globals {{ daemonize = no  setuid = no  mute = no  deaf = no  host_dmax = 0 }}
            cluster {{ name = "lab" }}
            udp_send_channel {{ host = 127.0.0.1  port = {_PORT} }}
            udp_recv_channel {{ port = {_PORT}  bind = 127.0.0.1 }}
            tcp_accept_channel {{ port = {_PORT}  bind = 127.0.0.1 }}
            """
        )
    )
    programs = folder / "bin"
    programs.mkdir()
    script(
        programs / "gmetric",
        f'LD_LIBRARY_PATH={library} exec {root}/usr/bin/gmetric -c {conf} "$@"',
    )
    daemon = subprocess.Popen([root / "usr/sbin/gmond", "-f", "-c", conf], env=env)
    try:
        _wait_for(_PORT)
        yield programs, _known
    finally:
        daemon.terminate()
        daemon.wait(timeout=10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("gmond does not listen")


def _known() -> str:
    """The XML that gmond gives to whoever connects."""
    with socket.create_connection(("127.0.0.1", _PORT), 5) as sock:
        chunks = []
        while chunk := sock.recv(65536):
            chunks.append(chunk)
    return b"".join(chunks).decode("latin-1")


def _metrics(xml: str) -> dict[tuple[str, str], Mapping[str, str]]:
    body = xml[xml.index("<GANGLIA_XML") :]
    return {
        (host.get("NAME", ""), metric.get("NAME", "")): metric.attrib
        for host in ElementTree.fromstring(body).iter("HOST")
        for metric in host.iter("METRIC")
    }


def test_debians_gmond_learns_the_values_with_their_units_and_of_the_host(
    cluster: Tashictl, ganglia: tuple[Path, Callable[[], str]]
) -> None:
    programs, known = ganglia
    cluster.run("stats", "export", "ganglia", env=with_path(programs))
    cluster.run("stats", "export", "ganglia", "--spoof", env=with_path(programs))

    deadline, found = time.monotonic() + 20, dict[tuple[str, str], Mapping[str, str]]()
    while ("node1", "memory_mib") not in found and time.monotonic() < deadline:
        time.sleep(0.2)
        found = _metrics(known())
    told = {name: metric for (host, name), metric in found.items() if host != "node1"}
    assert told["host_node1_cpu_busy"]["VAL"] == "0.25"
    spoofed = found["node1", "memory_mib"]
    assert (spoofed["VAL"], spoofed["UNITS"], spoofed["DMAX"]) == ("2048", "MiB", "60")
