import pytest

from tashictl.cli import ask, options
from tashictl.errors import InvalidRequest
from tests.cli import stage


@pytest.mark.parametrize("answer", ["y\n", "Y\n", " yes \n"])
def test_a_yes_at_a_terminal_goes_on(answer: str) -> None:
    face = stage.face(streams=stage.streams(tty=True, answer=answer), color="never")

    ask.confirm(face, "destroy web3: 1 overlay is lost")

    assert face.streams.stderr.getvalue() == "destroy web3: 1 overlay is lost? [y/N] "  # type: ignore[attr-defined]
    assert face.streams.stdout.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yy\n"])
def test_all_else_stops(answer: str) -> None:
    face = stage.face(streams=stage.streams(tty=True, answer=answer))

    with pytest.raises(InvalidRequest, match="not confirmed"):
        ask.confirm(face, "destroy")


def test_where_nobody_can_be_asked_it_refuses_with_code_2() -> None:
    code, out, err = stage.run(stage.root(), "vm", "destroy", "a")

    assert (code, out) == (2, "")
    assert err.startswith("error[E-CONFIRM]: refused: not a terminal, and no --yes\n")
    assert err.endswith("nothing was changed\n")


@pytest.mark.parametrize("word", ["-y", "--yes", "--dry-run"])
def test_yes_and_a_dry_run_ask_nothing(word: str) -> None:
    assert stage.run(stage.root(), "vm", "destroy", "a", word) == (0, "a is gone\n", "")


def test_a_question_shows_escapes() -> None:
    on: options.Streams = stage.streams(tty=True, answer="y\n", env={"NO_COLOR": "1"})

    stage.run(stage.root(), "vm", "destroy", "\x1b[2J", on=on)

    assert "\x1b" not in on.stderr.getvalue()  # type: ignore[attr-defined]
