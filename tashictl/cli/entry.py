"""The console script: first of all fewer looks for garbage, then the command line.

A command lives for a moment and makes few cycles: with the usual threshold the collector would run
dozens of times while the libraries are imported, a tenth of what `vm list` costs.
"""

from __future__ import annotations

import gc


def run() -> int:
    """Run this process's command line; returns its exit code."""
    gc.set_threshold(50_000, 20, 20)
    from tashictl.cli import main

    return main.run()
