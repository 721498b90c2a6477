"""The console script: first of all fewer looks for garbage, then the command line.

A command lives for a moment and makes few cycles: with the usual threshold the collector would run
dozens of times while the libraries are imported, a tenth of what `vm list` costs.
"""

from __future__ import annotations

import gc

INTERRUPTED = 130


def run() -> int:
    """Run this process's command line; returns its exit code."""
    gc.set_threshold(50_000, 20, 20)
    try:
        from tashictl.cli import main

        return main.run()
    except KeyboardInterrupt:
        # Where main could not see it: while the libraries are imported, or at the very end.
        return INTERRUPTED
