"""A lab to try things in: `python -m tests.live.lab up`, then eval what it prints.

up    raises hosts in the background and prints two `export` lines
ps    shows hosts and what runs on them
down  removes all of it
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.live.lab import cluster, guest, needs, runner, traces
from tests.live.lab.hosts import Lab

_UP_TIMEOUT_S = 120.0
_DOWN_TIMEOUT_S = 30.0
_STATE = "lab.json"


def main() -> int:
    """Exit code 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.live.lab",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=("up", "down", "ps", "hold"))
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--dir", type=Path, default=guest.default_cache() / "up")
    options = parser.parse_args()
    folder: Path = options.dir.absolute()
    verbs = {"down": down, "ps": ps}
    try:
        if options.verb == "hold":
            return hold(folder, options.hosts)
        return up(folder, options.hosts) if options.verb == "up" else verbs[options.verb](folder)
    except (needs.MissingPartError, RuntimeError, AssertionError, ValueError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


def up(folder: Path, hosts: int) -> int:
    """Starts the holder, waits until the cluster stands, prints the exports."""
    needs.require(needs.missing_for_hosts() + needs.missing_for_guest())
    if _holder(folder) is not None:
        raise RuntimeError(f"a lab is up already; `python -m tests.live.lab down --dir {folder}`")
    _forget(folder)
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "tests.live.lab", "hold"]
    argv += ["--hosts", str(hosts), "--dir", str(folder)]
    with (folder / "lab.log").open("wb") as log:
        holder = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        state = _await_state(folder, holder)
    except BaseException:
        # Its end of the pipe closes with it, and the janitor removes what there is.
        holder.kill()
        raise
    for note in state["notes"]:
        print(f"lab: {note}", file=sys.stderr)
    print(f"export TASHICTL_CLUSTER={folder / 'cluster'}")
    print(f"export PATH={Path(sys.executable).parent}:$PATH")
    return 0


def hold(folder: Path, hosts: int) -> int:
    """The background process: holds the lab until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    directory = folder / "cluster"
    with Lab(hosts) as lab:
        notes = [f"{hosts} hosts up in {lab.up_s:.1f} s"]
        image = guest.build()
        tashictl = runner.installed()
        if tashictl is None:
            cluster.write_inventory(directory, lab)
            notes.append(f"no tashictl beside {sys.executable}: no cluster was made; image {image}")
        else:
            cluster.make_cluster(lab, directory, [str(tashictl)], image)
        _write_state(folder, lab, notes)
        while True:
            signal.pause()


def down(folder: Path) -> int:
    """Ends the holder and removes what `up` made in the folder."""
    pid = _holder(folder)
    if pid is None:
        print("lab: none is up", file=sys.stderr)
    else:
        lab_id = _state(folder)["lab"]
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_TIMEOUT_S
        while _holder(folder) is not None or traces.leftovers(lab_id):
            if time.monotonic() > deadline:
                raise RuntimeError(f"still there: {', '.join(traces.leftovers(lab_id))}")
            time.sleep(0.05)
    _forget(folder)
    return 0


def ps(folder: Path) -> int:
    """Prints the hosts and their QEMU processes; 1 when no lab is up."""
    if _holder(folder) is None:
        print("lab: none is up", file=sys.stderr)
        return 1
    for host in _state(folder)["hosts"]:
        print(f"{host['name']}  {host['address']}  {host['fingerprint']}  init {host['pid']}")
        enter = ["nsenter", "--target", str(host["pid"]), "--mount", "--pid", "--"]
        argv = [*enter, "pgrep", "-a", "qemu-system"]
        text = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
        print("".join(f"    {line[:150]}\n" for line in text.splitlines()), end="")
    return 0


def _write_state(folder: Path, lab: Lab, notes: list[str]) -> None:
    hosts = [
        {
            "name": host.name,
            "address": host.address,
            "fingerprint": host.host_key_fingerprint,
            "pid": host.pid,
        }
        for host in lab.hosts
    ]
    holder = {"pid": os.getpid(), "started": _started(os.getpid())}
    state = {"lab": lab.id, "holder": holder, "hosts": hosts, "notes": notes}
    part = folder / f"{_STATE}.part"
    part.write_text(json.dumps(state, indent=1), encoding="utf-8")
    part.rename(folder / _STATE)


def _state(folder: Path) -> Any:
    return json.loads((folder / _STATE).read_text(encoding="utf-8"))


def _await_state(folder: Path, holder: "subprocess.Popen[bytes]") -> Any:
    deadline = time.monotonic() + _UP_TIMEOUT_S
    while not (folder / _STATE).exists():
        if holder.poll() is not None or time.monotonic() > deadline:
            words = (folder / "lab.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the lab is not up: {words.strip()}")
        time.sleep(0.05)
    return _state(folder)


def _holder(folder: Path) -> int | None:
    """Pid of the process that holds the lab of this folder, if it lives."""
    if not (folder / _STATE).exists():
        return None
    holder = _state(folder)["holder"]
    pid: int = holder["pid"]
    return pid if _started(pid) == holder["started"] else None


def _started(pid: int) -> str:
    """Start time in clock ticks after boot, empty when there is no such process or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = text.rsplit(")", 1)[1].split()
    return "" if fields[0] == "Z" else fields[19]


def _forget(folder: Path) -> None:
    shutil.rmtree(folder / "cluster", ignore_errors=True)
    for name in (_STATE, "lab.log"):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
