"""The files /etc/qemu-ifup.N: as rendered, spoilt, absent, or an operator's own."""

import pytest

from tashictl.model.steps import MendIfup
from tashictl.planning.doctor.findings import Finding, Severity
from tests.planning.doctor import cases
from tests.planning.doctor.cases import IFUP
from tests.planning.doctor.test_host import vm

EXECUTABLE = "executable\nmode 755 0\ntext\n"


def look(told: str, *, used: bool = False) -> Finding:
    at = cases.subject(vms=(vm("web1"), vm("other", network=2)) if used else ())
    return cases.found(cases.read(ifup_1=told), at)["net.ifup"]


def test_a_file_as_it_is_rendered_is_well() -> None:
    found = look(f"{EXECUTABLE}{IFUP}.")

    assert found.severity is Severity.OK
    assert (found.subject, found.steps) == ("/etc/qemu-ifup.1", ())


def test_a_file_that_is_not_executable_is_mended() -> None:
    found = look(f"mode 644 0\ntext\n{IFUP}.")

    assert found.severity is Severity.WARNING
    assert found.evidence == "not executable (mode 644)"
    (step,) = found.steps
    assert isinstance(step, MendIfup)
    assert (step.path, step.content, step.host) == ("/etc/qemu-ifup.1", IFUP.rstrip(), "h1")


def test_a_file_of_ours_with_other_lines_is_told_with_what_differs() -> None:
    found = look(f"{EXECUTABLE}{IFUP}rm -rf /\n.")

    assert found.evidence == "not what is rendered: lines: 0 missing, 1 too many"
    assert "\n-rm -rf /" in found.diff
    assert found.diff.startswith("--- /etc/qemu-ifup.1\n+++ /etc/qemu-ifup.1\n")


def test_a_line_feed_more_or_less_at_the_end_is_no_difference() -> None:
    # The step that writes the file sees none either.
    for text in (IFUP.rstrip("\n"), f"{IFUP}\n\n"):
        assert look(f"{EXECUTABLE}{text}.").severity is Severity.OK


@pytest.mark.parametrize(("used", "severity"), [(True, Severity.WARNING), (False, Severity.NOTE)])
def test_an_absent_file_is_a_fault_only_where_a_vm_needs_it(used: bool, severity: Severity) -> None:
    found = look("absent", used=used)

    assert found.severity is severity
    assert len(found.steps) == 1
    assert ("web1" in found.evidence) is used
    assert "other" not in found.evidence
    assert found.diff.startswith("--- /dev/null\n")


def test_an_operators_own_file_is_a_note_and_never_written() -> None:
    found = look(f"{EXECUTABLE}#!/bin/sh\nmine\n.")

    assert (found.severity, found.steps) == (Severity.NOTE, ())
    assert "the operator's own" in found.evidence


def test_an_operators_own_file_that_is_not_executable_is_told() -> None:
    found = look("mode 644 0\ntext\n#!/bin/sh\n.")

    assert (found.severity, found.steps) == (Severity.WARNING, ())
    assert found.remedy == "chmod 755 /etc/qemu-ifup.1"
