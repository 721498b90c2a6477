"""What a host says for an audit, by real shells: its QEMUs' MACs, TAPs, neighbours."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tashictl.planning.audit import ask
from tests.live import invariants
from tests.live.ground import CLUSTER, NONCE, OTHER_UUID, UUID, Ground

MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
DEVICE = '{"driver":"virtio-net-pci","id":"nic0","mac":"52:54:00:00:00:01"}'
_SLEEPER = "import time; time.sleep(60)"
_FORKS = "import os, time; os.fork(); time.sleep(60)"


@contextmanager
def pretender(*words: str, code: str = _SLEEPER, name: str = "qemu-system-x86_64") -> Iterator[int]:
    """A process that has a QEMU's words, and what it forks; its pid."""
    argv = [f"/usr/bin/{name}", "-c", code, *words]
    process = subprocess.Popen(argv, executable=sys.executable, start_new_session=True)
    try:
        assert invariants.until(
            lambda: b"-c" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), 10.0
        )
        time.sleep(0.2 if code == _FORKS else 0)
        yield process.pid
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def looked(ground: Ground, *known: str) -> dict[int, tuple[str, tuple[str, ...]]]:
    """The QEMUs that a look finds, by pid: uuid and MACs."""
    script = ask.script(ground.settings, known, NONCE)
    seen = ask.read(ground.text(script.text), NONCE, "node1")
    assert seen is not None
    assert not seen.hidden
    return {qemu.pid: (qemu.uuid, qemu.macs) for qemu in seen.qemus}


def test_a_qemu_that_uses_our_folder_is_ours_with_its_macs(ground: Ground) -> None:
    ours = f"path={ground.settings.tashictl.run_dir}/{CLUSTER}/{UUID}/qmp.sock"
    more = ("-device", "virtio-net-pci,netdev=n1,mac=52:54:00:00:00:02", "-netdev", "user,id=n1")
    with pretender("-uuid", UUID, "-device", DEVICE, *more, "-chardev", ours) as pid:
        assert looked(ground) == {pid: (UUID, MACS)}


def test_one_that_was_started_by_hand_is_ours_by_its_uuid_only(ground: Ground) -> None:
    words = ("-uuid", OTHER_UUID.upper(), "-net", "nic,macaddr=52:54:00:00:00:02")
    with pretender(*words) as pid:
        assert looked(ground) == {}
        assert looked(ground, UUID, OTHER_UUID) == {pid: (OTHER_UUID, MACS[1:])}


def test_a_child_of_a_qemu_and_what_only_speaks_of_one_are_none(ground: Ground) -> None:
    words = ("-uuid", UUID, "-device", DEVICE)
    with pretender(*words, code=_FORKS) as pid, pretender(*words, name="grep-qemu"):
        assert looked(ground, UUID) == {pid: (UUID, MACS[:1])}


def test_neighbours_are_told_but_for_those_that_nobody_reached(ground: Ground) -> None:
    line = (
        '[{"dst":"10.0.0.9","dev":"vmbr","lladdr":"52:54:00:AA:00:01","confirmed":7,'
        '"state":["STALE"]},{"dst":"10.0.0.8","dev":"vmbr","state":["FAILED"]}]'
    )
    ground.tool("ip", f"#!/bin/sh\necho '{line}'\n")
    script = ask.script(ground.settings, (), NONCE)
    seen = ask.read(ground.text(script.text), NONCE, "node1")
    assert seen is not None
    (met,) = seen.neighbours
    assert (met.address, met.mac, met.device, met.age_s) == (
        *("10.0.0.9", "52:54:00:aa:00:01", "vmbr", 7.0),
    )
