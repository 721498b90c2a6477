"""Every operation, every step, every moment, every fault; then the next command. See `__main__`."""

from __future__ import annotations

import sys

import pytest

from tests.sim.generate import FAMILIES, Report, family, uncovered

SEED = 20260301
PAIRS = {
    "create": 300,
    "destroy": 200,
    "schedule": 100,
    "import": 100,
    "seeded": 60,
    "shutdown": 100,
    "start": 100,
    "named": 50,
    "unname": 50,
}
SHARE = {
    "count": 0.2,
    "schedule": 0.4,
    "seeded": 0.4,
    "named": 0.3,
    "unname": 0.7,
    "shutdown": 0.4,
    "start": 0.4,
}
# Step kinds that are played in test_host_remove, test_rebuild and test_sweeps, or (of adopt, of
# doctor, setup and networks, which have no journal) only in tests/ops and tests/live.
UNPLANNED = {
    "step AdoptQemu: in no plan that is played",
    "step ArmNet: in no plan that is played",
    "step ConfirmNet: in no plan that is played",
    "step GoNet: in no plan that is played",
    "step InstallPackages: in no plan that is played",
    "step JoinGroup: in no plan that is played",
    "step LetGo: in no plan that is played",
    "step LoadModule: in no plan that is played",
    "step MakeReplicaFolder: in no plan that is played",
    "step MakeUser: in no plan that is played",
    "step MarkFences: in no plan that is played",
    "step MendIfup: in no plan that is played",
    "step ProbeAddress: in no plan that is played",
    "step PlaceReplica: in no plan that is played",
    "step PutFile: in no plan that is played",
    "step PutReplica: in no plan that is played",
    "step ReleaseHost: in no plan that is played",
    "step RemoveFile: in no plan that is played",
    "step RollbackNet: in no plan that is played",
    "step SetFolder: in no plan that is played",
}
_reports: dict[str, Report] = {}


def _played(verb: str) -> Report:
    if verb not in _reports:
        _reports[verb] = family(verb, SEED, PAIRS.get(verb, 40), share=SHARE.get(verb, 1.0))
    return _reports[verb]


@pytest.mark.parametrize("verb", FAMILIES)
def test_whatever_goes_wrong_nothing_leaks_nothing_is_double_and_the_next_command_converges(
    verb: str,
) -> None:
    report = _played(verb)
    sys.stdout.write(f"{verb}: {report.count} cases in {report.seconds:.1f} s, seed {SEED}\n")
    assert not report.failed, f"seed {SEED}, {len(report.failed)} failures\n{report.text}"
    assert report.count > 300


def test_every_step_of_every_plan_meets_every_moment_and_every_fault_happens() -> None:
    missing = uncovered(_played(verb) for verb in FAMILIES)
    sys.stdout.write("not covered:\n" + "".join(f"  {line}\n" for line in missing))
    assert set(missing) == UNPLANNED
