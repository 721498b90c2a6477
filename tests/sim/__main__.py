"""Run the simulation by hand: ``python -m tests.sim [--seed N] [--pairs N] [--cases PATTERN …]``.

Prints the seed, what was played, what failed with the id that repeats it, and what is not covered.
A pattern is a case's id or a glob of ids; an id that no generator makes is played as it stands.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.sim.cases import parse
from tests.sim.generate import FAMILIES, Report, family, report, uncovered
from tests.sim.harness import remove_templates
from tests.sim.play import play
from tests.sim.races import race, races

say = print  # a program's own output


def main() -> int:
    """Exit code 1 when something failed."""
    asked = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    asked.add_argument("--seed", type=int, default=None, help="a number; random without it")
    asked.add_argument("--pairs", type=int, default=300, help="sampled pairs of faults per family")
    asked.add_argument("--races", type=int, default=60, help="seeds for each race")
    asked.add_argument("--cases", nargs="*", default=[], help="ids or globs")
    options = asked.parse_args()
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    say(f"seed {seed}")
    try:
        reports = _reports(seed, options.pairs, tuple(options.cases))
        bad = sum(len(r.failed) for r in reports)
        if not options.cases:
            bad += _races(seed, options.races)
            say("not covered:", *(uncovered(reports) or ["nothing"]), sep="\n  ")
    finally:
        remove_templates()
    say(f"{bad} failures, seed {seed}")
    return 1 if bad else 0


def _reports(seed: int, pairs: int, patterns: tuple[str, ...]) -> list[Report]:
    exact = [p for p in patterns if "*" not in p and "?" not in p]
    globs = tuple(p for p in patterns if p not in exact)
    found = []
    if exact:
        found.append(report("cases", [play(parse(text), seed) for text in exact], 0.0))
    if globs or not patterns:
        found += [family(verb, seed, pairs, globs) for verb in FAMILIES]
    for one in found:
        say(f"{one.family}: {one.count} cases in {one.seconds:.1f} s, {len(one.failed)} failures")
        if one.failed:
            say(one.text)
    return found


def _races(seed: int, count: int) -> int:
    begun_s, bad, played = time.monotonic(), 0, 0
    for name, own_seed, fault in races(seed, count // 3, count - count // 3):
        result, played = race(name, own_seed, fault), played + 1
        for problem in result.problems:
            bad += 1
            say(f"  race {name} {own_seed} {fault}\n      {problem}  {result.outcomes}")
    say(f"races: {played} in {time.monotonic() - begun_s:.1f} s, {bad} failures")
    return bad


if __name__ == "__main__":
    sys.exit(main())
