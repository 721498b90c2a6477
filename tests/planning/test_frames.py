from hypothesis import example, given
from hypothesis import strategies as st

from tashictl.planning import frames
from tashictl.planning.frames import StepAnswer

NONCE = "00112233aabbccdd"
OTHER = "ffeeddccbbaa9988"


def framed(*lines: str, nonce: str = NONCE) -> bytes:
    return "".join(f"\n@{nonce} {line}\n" for line in lines).encode()


GOOD = (
    framed("B 0 WriteManifest", "E 0 0", "B 1 StartQemu")
    + b"some words\n"
    + framed("D pid 4711", "D boot_id a b")
    + b"more words\n"
    + framed("E 1 0", "Z")
)
READ = frames.parse(GOOD, NONCE)
noise = st.binary(max_size=200).filter(lambda b: NONCE.encode() not in b)


def test_an_answer_says_what_each_step_said() -> None:
    answer = frames.parse(GOOD, NONCE)

    assert answer == frames.Answer(
        complete=True,
        steps={
            0: StepAnswer(rc=0),
            1: StepAnswer(
                rc=0, message="some words\nmore words", data={"pid": "4711", "boot_id": "a b"}
            ),
        },
    )


def test_a_refusal_has_its_reason_and_details() -> None:
    answer = frames.parse(framed("R foreign ffffffffffff me@there", "Z"), NONCE)

    assert answer.refused == ("foreign", "ffffffffffff", "me@there")
    assert answer.complete
    assert answer.steps == {}


def test_a_failure_has_its_code_and_words() -> None:
    out = framed("B 3 AddTap") + b"no bridge\n" + framed("E 3 127", "Z")

    assert frames.parse(out, NONCE).steps == {3: StepAnswer(rc=127, message="no bridge")}


def test_a_step_that_only_began_has_no_code() -> None:
    answer = frames.parse(framed("B 0 AddTap"), NONCE)

    assert answer == frames.Answer(steps={0: StepAnswer()})


@given(noise)
@example(b"Welcome to node1!\n")
@example(b"\n@" + OTHER.encode() + b" Z\n")
@example(b"\xff\xfe")
def test_what_a_login_shell_prints_before_changes_nothing(before: bytes) -> None:
    assert frames.parse(before + GOOD, NONCE) == READ


@given(st.integers(0, len(GOOD)))
def test_what_is_cut_short_is_never_complete(length: int) -> None:
    answer = frames.parse(GOOD[:length], NONCE)

    assert answer.complete is (length >= len(GOOD) - 1)
    for index, said in answer.steps.items():
        assert said.rc in (None, READ.steps[index].rc)


@given(st.integers(0, len(GOOD)), st.integers(0, len(GOOD)))
def test_what_lacks_a_middle_never_gains_a_step(first: int, second: int) -> None:
    start, end = sorted((first, second))

    answer = frames.parse(GOOD[:start] + GOOD[end:], NONCE)

    # What is left of an end may read as another failure ("E 0" before " 4711"), never as a step.
    assert set(answer.steps) <= {0, 1}


lookalikes = st.lists(
    st.sampled_from(["Z", "R late 1", "B 0 X", "E 0 0", "E 1 1", "D pid 1", "B x", "E", "B", ""]),
    max_size=8,
)


@given(lookalikes, st.sampled_from([OTHER, "", NONCE[:-1], NONCE.upper(), NONCE + "0"]))
def test_frames_with_another_nonce_are_words_and_nothing_else(lines: list[str], nonce: str) -> None:
    hostile = framed(*lines, nonce=nonce)
    out = framed("B 0 StartQemu") + hostile + framed("E 0 1", "Z")

    answer = frames.parse(out, NONCE)

    assert (answer.complete, answer.refused) == (True, ())
    assert {i: s.rc for i, s in answer.steps.items()} == {0: 1}
    assert answer.steps[0].data == {}


@given(st.lists(st.text(max_size=30), max_size=8))
@example(["B x", "E 0 0", "E x y", "D", "B 0", "E 0 x", "E 9 9", "B " + "9" * 5000, "D  "])
@example(["B ²", "E ² 0"])
def test_no_frame_at_all_makes_it_raise(lines: list[str]) -> None:
    frames.parse(framed(*lines), NONCE)


@given(st.binary(max_size=300))
def test_no_bytes_at_all_make_it_raise(out: bytes) -> None:
    assert frames.parse(out, NONCE) == frames.Answer()


def test_a_step_ends_only_itself() -> None:
    answer = frames.parse(framed("B 0 AddTap", "E 1 0", "Z"), NONCE)

    assert answer.steps == {0: StepAnswer()}


def test_a_frame_inside_a_line_is_words() -> None:
    out = framed("B 0 AddTap") + f"x @{NONCE} Z".encode()

    assert not frames.parse(out, NONCE).complete
