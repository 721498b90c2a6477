"""`tashictl vm list` with 1,000 VMs against `python -c pass` of the same environment.

The floor is what any program in Python pays before its first line. Judged is CPU time, user and
system, of the whole process; output goes to /dev/null.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import crowd, timing
from bench.timing import Figure

LIMIT = 8.0
PAIRS = 25
# What a list must not load: it reaches no host and writes nothing.
HEAVY = (
    "paramiko",
    "fabric",
    "invoke",
    "cryptography",
    "yaml",
    "jinja2",
    "tinydb",
    "asyncio",
    "pycdlib",
)
_LOADED = f"""
import sys
from tashictl.cli import main
code = main.run()
print("loaded", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


def figures() -> Iterator[Figure]:
    """The figures of this file."""
    with tempfile.TemporaryDirectory(prefix="tashictl-bench-") as made:
        folder = Path(made)
        cluster = crowd.cluster(folder)
        size = (cluster / "state" / "tashi.json").stat().st_size
        print(f"vm list: {crowd.VMS} VMs, state of {size} bytes; {PAIRS} pairs by turns")
        for form in ("json", "table"):
            argv = [crowd.tashictl(), "--cluster", str(cluster), "vm", "list", "-o", form]
            yield _figure(form, argv, folder)
        extra = loaded(cluster, folder, "vm", "list")
        yield Figure(
            name="vm list: heavy modules that it loads",
            value=len(extra),
            limit=0,
            unit="modules",
            detail=" ".join(extra) or f"none of {', '.join(HEAVY)}",
        )


def loaded(cluster: Path, home: Path, *words: str) -> list[str]:
    """Which of the heavy modules are loaded after a command, in an interpreter of its own.

    Raises RuntimeError when the command fails or says nothing on stdout.
    """
    argv = [sys.executable, "-c", _LOADED, "--cluster", str(cluster), *words]
    done = subprocess.run(
        argv, env=crowd.environment(home), cwd=timing.PROJECT, capture_output=True, text=True
    )
    if done.returncode != 0 or not done.stdout:
        raise RuntimeError(f"{' '.join(argv)}: {done.returncode}: {done.stderr}")
    said: list[str] = done.stderr.splitlines()[-1].split()
    return said[1:]


def _figure(form: str, argv: list[str], folder: Path) -> Figure:
    env = crowd.environment(folder)
    floor = [sys.executable, "-c", "pass"]
    print("  $", *argv, "|", os.path.basename(floor[0]), "-c pass")  # noqa: PTH119
    pairs = timing.by_turns(
        lambda: timing.run(argv, env).cpu_s, lambda: timing.run(floor, env).cpu_s, PAIRS
    )
    return Figure(
        name=f"vm list -o {form}, {crowd.VMS} VMs, CPU / python -c pass",
        value=pairs.ratio,
        limit=LIMIT,
        detail=pairs.detail,
    )
