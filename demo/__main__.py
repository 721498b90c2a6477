"""What tashictl does, on lab hosts that are made for it: every command is shown and really run.

`evening` is the first evening of a cluster, on three hosts; `networks` is a good and a deadly
change of the network of two hosts. Everything goes through the installed `tashictl`, over real SSH.
What the demo makes is gone when it ends, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

HOSTS = 3
INTERRUPTED = 130


def main() -> int:
    """Exit code 0, 1 when a command did not do what it should, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("story", nargs="?", choices=("evening", "networks"), default="evening")
    parser.add_argument("--quick", action="store_true", help="no pauses for a reader")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begun_s = time.monotonic()
    play = _networks if options.story == "networks" else _evening
    try:
        problem = play(0.0 if options.quick else 0.6)
    except KeyboardInterrupt:
        sys.stderr.write("\ndemo: interrupted; its hosts and VMs are gone\n")
        return INTERRUPTED
    if problem:
        sys.stderr.write(f"demo: {problem}\n")
        return 1
    seconds = time.monotonic() - begun_s
    what = "It took" if options.story == "networks" else "The evening took"
    sys.stdout.write(f"\nNothing is left on any host. {what} {seconds:.0f} s.\n")
    return 0


def _evening(pause_s: float) -> str:
    """The whole evening; what went wrong, or nothing."""
    # Here, so that Ctrl-C is understood while they are loaded.
    from demo import evening  # noqa: PLC0415
    from demo.stage import Failed, Stage  # noqa: PLC0415
    from tests.live.lab import needs  # noqa: PLC0415
    from tests.live.lab.hosts import Lab  # noqa: PLC0415

    try:
        needs.require(needs.missing_for_hosts() + needs.missing_for_guest())
        with tempfile.TemporaryDirectory(prefix="tashictl-demo-") as folder, Lab(HOSTS) as lab:
            evening.play(Stage(Path(folder), lab, pause_s))
            left = evening.left_over(lab)
    except (Failed, needs.MissingPartError, RuntimeError) as error:
        return str(error)
    return f"left behind: {', '.join(left)}" if left else ""


def _networks(pause_s: float) -> str:
    """The two changes of networks; what went wrong, or nothing."""
    from demo import networks  # noqa: PLC0415
    from demo.stage import Failed, Stage  # noqa: PLC0415
    from tests.live.lab import booted_image, needs  # noqa: PLC0415
    from tests.live.lab.nethosts import NetHosts  # noqa: PLC0415

    try:
        needs.require(needs.missing_for_hosts() + booted_image.missing())
        with tempfile.TemporaryDirectory(prefix="tashictl-demo-") as folder:
            networks.announce()
            with NetHosts(Path(folder) / "machines") as nets:
                networks.Story(Stage(Path(folder), nets.lab, pause_s), nets).play()
    except (Failed, needs.MissingPartError, RuntimeError, TimeoutError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    sys.exit(main())
