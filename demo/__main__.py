"""The first evening of a cluster, on three lab hosts: every command is shown and really run.

Everything goes through the installed `tashictl`, over real SSH, to real QEMUs. What the demo makes
is gone when it ends, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from demo import evening
from demo.stage import Failed, Stage
from tests.live.lab import needs
from tests.live.lab.hosts import Lab

HOSTS = 3
INTERRUPTED = 130


def main() -> int:
    """Exit code 0, 1 when a command did not do what it should, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no pauses for a reader")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun_s = time.monotonic()
    try:
        needs.require(needs.missing_for_hosts() + needs.missing_for_guest())
        with tempfile.TemporaryDirectory(prefix="tashictl-demo-") as folder, Lab(HOSTS) as lab:
            stage = Stage(Path(folder), lab, pause_s=0.0 if options.quick else 0.6)
            evening.play(stage)
            left = evening.left_over(lab)
    except KeyboardInterrupt:
        sys.stderr.write("\ndemo: interrupted; its hosts and VMs are gone\n")
        return INTERRUPTED
    except (Failed, needs.MissingPartError, RuntimeError) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    if left:
        sys.stderr.write(f"demo: left behind: {', '.join(left)}\n")
        return 1
    seconds = time.monotonic() - begun_s
    sys.stdout.write(f"\nNothing is left on any host. The evening took {seconds:.0f} s.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
