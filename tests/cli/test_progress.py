import errno
import io

from tashictl.cli import options, progress
from tests.cli import stage


def told(face: options.Globals) -> str:
    report = progress.Progress(face)
    report.note("placed on node1")
    report.step("address", "172.16.192.10\x1b on cluster")
    report.warn("dns: deferred")
    return face.streams.stderr.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_notes_steps_and_warnings_have_their_marks() -> None:
    assert told(stage.face()) == (
        "· placed on node1\n  ✓ address   172.16.192.10\\x1b on cluster\n! dns: deferred\n"
    )


def test_marks_are_coloured_on_a_terminal_only() -> None:
    text = told(stage.face(streams=stage.streams(tty=True)))

    assert "\x1b[2m·\x1b[0m placed" in text
    assert "\x1b[32m✓\x1b[0m" in text
    assert "\x1b[33m!\x1b[0m" in text


def test_what_is_waited_for_is_one_line_that_is_written_over_on_a_terminal_only() -> None:
    for tty, said in (
        (True, "\r\x1b[K\x1b[2m·\x1b[0m one\r\x1b[K\x1b[2m·\x1b[0m " + "x" * 77 + "\r\x1b[K"),
        (False, ""),
    ):
        face = stage.face(streams=stage.streams(tty=tty))
        report = progress.Progress(face)
        report.waits("one")
        report.waits("x" * 200)
        report.waits("")
        assert face.streams.stderr.getvalue() == said  # type: ignore[attr-defined]


def test_for_programs_only_warnings_come_unless_more_is_asked_for() -> None:
    assert told(stage.face(output=options.Output.JSON)) == "! dns: deferred\n"
    assert "placed" in told(stage.face(output=options.Output.JSON, verbose=1))


class Broken(io.StringIO):
    """A stderr that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, text)


def test_a_broken_stderr_never_disturbs_an_operation() -> None:
    on = stage.streams()
    broken = options.Streams(stdin=on.stdin, stdout=on.stdout, stderr=Broken(), env={})

    code, out, _err = stage.run(stage.root(), "vm", "create", "a", on=broken)

    assert (code, out) == (0, "a is Running\n")


def test_what_is_waited_for_makes_visible_what_a_terminal_would_act_upon() -> None:
    face = stage.face(streams=stage.streams(tty=True))

    progress.Progress(face).waits("refused\x1b]0;title\x07\u202e")

    said = face.streams.stderr.getvalue()  # type: ignore[attr-defined]
    assert said.endswith("refused\\x1b]0;title\\x07\\u202e")
