"""Prints the speed figures: `python -m bench [PART] …`, without a word all of them.

Exit code 1 when a figure is over its limit: a machine under other load can bring that about, so
look at the spread and run it again before you believe it.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata

from bench import audit, history, names, store, sweep, vm_create, vm_list
from bench.timing import Figure

PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "list": vm_list.figures,
    "create": vm_create.figures,
    "store": store.figures,
    "history": history.figures,
    "sweep": sweep.figures,
    "names": names.figures,
    "audit": audit.figures,
}
_PACKAGES = (
    "tashictl",
    "click",
    "msgspec",
    "tinydb",
    "paramiko",
    "fabric",
    "PyYAML",
    "Jinja2",
    "dnspython",
)
_PROGRAMS = (["qemu-system-x86_64", "--version"], ["ssh", "-V"], ["strace", "--version"])


def main() -> int:
    """Run the parts that are named, or all; 0 when every figure keeps within its limit."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "part",
        nargs="*",
        choices=[*PARTS, []],
        metavar="PART",
        help="list, create, store, history, sweep, names, audit",
    )
    chosen = parser.parse_args().part or list(PARTS)
    _say_where()
    found: list[Figure] = []
    for name in chosen:
        print(f"\n== {name}   load average {_load()}", flush=True)
        for figure in PARTS[name]():
            print(figure.line(), flush=True)
            found.append(figure)
        print(f"   load average then {_load()}")
    over = [figure for figure in found if not figure.passes]
    print(f"\n{len(found)} figures, {len(over)} over their limits")
    return 1 if over else 0


def _say_where() -> None:
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC  {platform.platform()}  {os.cpu_count()} CPUs")
    print(f"Python {platform.python_version()} ({sys.executable})")
    print(", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES))
    for argv in _PROGRAMS:
        print(_version(argv))


def _version(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return f"{argv[0]}: not installed"
    return (done.stdout or done.stderr).splitlines()[0]


def _load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main())
