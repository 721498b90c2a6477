"""How a VM that nobody asked to end has ended, in words, from what its host still knows."""

from __future__ import annotations

import re

from tashictl.model.sighting import VmSample

ENDED = "its QEMU ended"
OOM = "killed by the kernel: the host had no memory left"
_SIGNAL = re.compile(r"terminating on signal (\d+)(?: from pid (\d+))?")
_SIGNALS = {1: "HUP", 2: "INT", 6: "ABRT", 9: "KILL", 11: "SEGV", 15: "TERM"}
_TEXT_CHARS = 120


def words(vm: VmSample) -> str:
    """How it ended; ENDED where nothing tells more.

    `exit_status` is systemd's $EXIT_STATUS: a number, or the name of a signal (systemd.exec(5)).
    """
    if vm.oom:
        return OOM
    for line in reversed(vm.log_end):
        if match := _SIGNAL.search(line):
            number, pid = match.groups()
            by = f", by process {pid}" if pid else ""
            return f"{ENDED} by signal {_SIGNALS.get(int(number), number)}{by}"
    if vm.exit_status.isalpha():
        return f"{ENDED} by signal {vm.exit_status}"
    last = vm.log_end[-1].strip()[:_TEXT_CHARS] if vm.log_end else ""
    if vm.exit_status == "0":
        return "the guest powered off"
    if vm.exit_status:
        return f"{ENDED} with exit code {vm.exit_status}" + (f": {last}" if last else "")
    return f"{ENDED}: {last}" if last else ENDED
