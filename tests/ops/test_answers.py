import pytest

from tashictl import errors
from tashictl.model.script import Fault, Reply
from tashictl.ops import answers
from tests.planning.script_cases import STEPS


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_has_an_error_with_its_cause_and_a_hint(fault: Fault) -> None:
    error = answers.unreachable("node1", Reply(fault=fault, detail="by the way"))

    assert errors.exit_code_of(error) == (7 if fault is Fault.HOSTKEY_CHANGED else 6)
    assert error.cause == f"{fault.value}: by the way"
    assert error.hint
    assert error.host == "node1"
    assert error.code == f"E-{fault.name.replace('_', '-')}"


@pytest.mark.parametrize(
    ("why", "kind", "exit_code"),
    [
        ("foreign", errors.NotPermitted, 7),
        ("epoch", errors.NotPermitted, 7),
        ("counter", errors.NotPermitted, 7),
        ("generation", errors.NotPermitted, 7),
        ("newer", errors.Conflict, 5),
        ("late", errors.StepFailed, 1),
        ("busy", errors.StepFailed, 1),
        ("folder", errors.StepFailed, 1),
        ("manifest", errors.StepFailed, 1),
        ("of a later version", errors.StepFailed, 1),
    ],
)
def test_every_refusal_of_the_fence_has_an_error(
    why: str, kind: type[errors.TashiError], exit_code: int
) -> None:
    error = answers.refusal("node1", why, "7")

    assert type(error) is kind
    assert errors.exit_code_of(error) == exit_code
    assert "node1" in error.what
    assert error.host == "node1"


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (Reply(fault=Fault.CUT, sent=True), Fault.CUT.value),
        (Reply(rc=124, sent=True), "the script ran into its deadline on the host"),
        (Reply(rc=137, sent=True), "the script ran into its deadline on the host"),
        (Reply(rc=2, err=b"sh: no\n", sent=True), "the answer ends in the middle: sh: no"),
        (Reply(rc=0, sent=True), "the answer ends in the middle"),
    ],
)
def test_an_answer_that_never_came_is_uncertain(reply: Reply, cause: str) -> None:
    error = answers.no_answer("node1", reply)

    assert isinstance(error, errors.Uncertain)
    assert error.cause == cause


def test_a_step_of_ours_that_failed_tells_the_last_of_what_the_host_said() -> None:
    error = answers.failed("PutImage", "node1", Reply(rc=1, err=b"x" * 900 + b" no space\n"))

    assert error.code == "E-PUTIMAGE"
    assert error.cause.endswith("no space")
    assert len(error.cause) == 500
    assert answers.failed("PutImage", "node1", Reply(rc=3)).cause == "exit code 3"


def test_a_step_that_failed_has_a_next_step_also_for_an_image_that_is_gone() -> None:
    overlay = STEPS["create-overlay"]
    gone = answers.step_failed(overlay, "node1", "no image")

    assert "tashictl image import FILE --name 'a b.qcow2' --host node1" in gone.hint
    assert gone.hint.endswith("tashictl host check node1")
    assert answers.step_failed(STEPS["add-tap"], "node1", "no").hint == "tashictl host check node1"
    assert answers.refusal("node1", "folder", "/x").hint == "tashictl host check node1"
