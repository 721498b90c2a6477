"""A host with ten VMs, as far as the sweep's probe can tell, and what a probe costs there.

The VMs are folders with a manifest, a disk and a log, and processes with QEMU's command line that
hold run.lock as their descriptor 8; each has a TAP. Around them are 150 idle processes. Where we
are root it has process ids, a /proc, a /sys and a network of its own. `python -m bench.probe_host
FOLDER CLUSTER ROUNDS` makes it in FOLDER, and prints what `Measured` holds as JSON.
"""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench import crowd
from tashictl.model.settings import Settings
from tashictl.model.vm import Vm
from tashictl.planning import manifest, probe, probe_read

VMS = 10
IDLE = 150
NONCE = "0123456789abcdef"
# All of one length, so that no one is the beginning of another; a TAP's name takes 15 characters.
FIRST_ID = 9_000_011


class Measured(Struct, frozen=True, kw_only=True):
    """Seconds of each round: CPU (user and system, of all processes) and wall; and one answer.

    `floor_cpu_s` is that of `sh -s` which is fed `true`, by turns with the probe.
    """

    cpu_s: tuple[float, ...]
    floor_cpu_s: tuple[float, ...]
    wall_s: tuple[float, ...]
    answer: bytes
    script_bytes: int
    processes: int


def settings_of(folder: Path, cluster: str) -> Settings:
    """The settings of a cluster whose hosts keep everything below `folder`."""
    plain = Settings()
    ours = replace(
        plain.tashictl, cluster_id=cluster, lib_dir=f"{folder}/lib", run_dir=f"{folder}/run"
    )
    return replace(plain, tashictl=ours, vfs_prefix=f"{folder}/vfs")


def vms() -> list[Vm]:
    """The VMs of the host."""
    return [crowd.vm(FIRST_ID + number) for number in range(VMS)]


def measure(folder: Path, cluster: str, rounds: int) -> Measured:
    """Make the host in a process of its own, let it be probed, and take it down."""
    alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"]
    argv = [sys.executable, "-m", "bench.probe_host", str(folder), cluster, str(rounds)]
    env = {**crowd.environment(folder), "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    argv = [*alone, *argv] if os.geteuid() == 0 else argv
    done = subprocess.run(argv, env=env, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.decode()}")
    return msgspec.json.decode(done.stdout, type=Measured)


def main() -> None:
    """What runs inside."""
    folder, cluster, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if os.getpid() == 1:
        subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    settings = settings_of(folder, cluster)
    there = vms()
    Path(settings.image_folder).mkdir(parents=True)
    running = [_start(settings, vm) for vm in there]
    (folder / "lib/cluster").write_text(f"{f'{cluster} 1 0 host dev@ws':<119}\n")
    running += [subprocess.Popen(["sleep", "86400"]) for _ in range(IDLE)]
    try:
        found = _measured(settings, tuple(vm.uuid for vm in there), rounds)
    finally:
        for process in running:
            process.kill()
            process.wait()
    sys.stdout.buffer.write(msgspec.json.encode(found))


def _start(settings: Settings, vm: Vm) -> subprocess.Popen[bytes]:
    ours = settings.tashictl
    folder = Path(ours.lib_dir, ours.cluster_id, vm.uuid)
    run_folder = Path(ours.run_dir, ours.cluster_id, vm.uuid)
    folder.mkdir(parents=True)
    run_folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(manifest.text(vm, ours.cluster_id, "running", 0))
    (folder / "disk0.qcow2").write_bytes(b"QFI" + bytes(1 << 16))
    (folder / "console.log").write_text("login:\n")
    if os.getpid() == 1:
        subprocess.run(["ip", "tuntap", "add", f"tashi{vm.id}.0", "mode", "tap"], check=False)
    lock = os.open(run_folder / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.dup2(lock, 8)
    argv = ["/usr/bin/qemu-system-x86_64", "-c", "read x", "qemu", "-name", vm.name]
    argv += ["-uuid", vm.uuid]
    process = subprocess.Popen(argv, executable="/bin/sh", stdin=subprocess.PIPE, pass_fds=(8,))
    os.close(8)
    os.close(lock)
    (run_folder / "qemu.pid").write_text(f"{process.pid}\n")
    return process


def _measured(settings: Settings, uuids: tuple[str, ...], rounds: int) -> Measured:
    ask = probe.Ask(settings=settings, known=uuids, running=uuids)
    text = probe.script(ask, NONCE).text.encode()
    answer, *_ = _run(text)
    seen = probe_read.read(answer, NONCE, datetime.now(UTC))
    if seen is None or [vm.alive for vm in seen.vms] != [True] * VMS or seen.foreign:
        raise RuntimeError(f"the probe does not see its host: {answer.decode()}")
    probes, floors = [], []
    for _ in range(rounds):
        probes.append(_run(text))
        floors.append(_run(b"true"))
    return Measured(
        cpu_s=tuple(cpu for _, cpu, _ in probes),
        floor_cpu_s=tuple(cpu for _, cpu, _ in floors),
        wall_s=tuple(wall for _, _, wall in probes),
        answer=probes[-1][0],
        script_bytes=len(text),
        processes=sum(1 for p in Path("/proc").iterdir() if p.name.isdigit()),
    )


def _run(text: bytes) -> tuple[bytes, float, float]:
    """What `sh -s` says to a text, what it and all its children cost, and how long it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.perf_counter()
    done = subprocess.run(["/bin/sh", "-s"], input=text, capture_output=True, check=True)
    wall_s = time.perf_counter() - began_s
    _reap_strays()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, cpu_s, wall_s


def _reap_strays() -> None:
    """Wait for children that outlived their parent: they came to us, who are process 1."""
    time.sleep(0.02)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
