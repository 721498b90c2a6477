"""Scripts and files over an exchange, without a host: a scripted exchange stands in."""

import contextlib
import hashlib
import io
import shlex
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.adapters.ssh import work
from tashictl.adapters.ssh.faults import Down
from tashictl.model.script import Fault, Script


class Scripted:
    """Answers each command with the next of `answers`: (rc or fault, out, err)."""

    def __init__(self, *answers: tuple[int | Fault, bytes, bytes]) -> None:
        self.answers = list(answers)
        self.commands: list[str] = []
        self.fed: list[bytes] = []

    @contextlib.contextmanager
    def start(self, command: str, _deadline_s: float, sink: work.Sink) -> Iterator["_One"]:
        self.commands.append(command)
        rc, out, err = self.answers.pop(0)
        self.fed.append(b"")
        yield _One(self, rc, out, err, sink)


class _One:
    def __init__(
        self, host: Scripted, rc: int | Fault, out: bytes, err: bytes, sink: work.Sink
    ) -> None:
        self.host, self.rc, self.out_, self.err_, self.sink = host, rc, out, err, sink

    def feed(self, data: bytes | memoryview) -> bool:
        self.host.fed[-1] += bytes(data)
        return True

    def end_of_input(self) -> None:
        pass

    def finish(self) -> int:
        self.sink.out(self.out_)
        self.sink.err(self.err_)
        if isinstance(self.rc, Fault):
            raise Down(self.rc, "why")
        return self.rc


def within(seconds: float = 60) -> float:
    return time.monotonic() + seconds


SCRIPT = Script(text="echo x", nonce="0" * 16, changing=False, timeout_s=7)


def test_the_script_goes_to_stdin_and_the_limit_to_the_host() -> None:
    host = Scripted((0, b"x\n", b""))
    reply = work.run_script(host.start, SCRIPT, False, within(), None)
    assert host.commands == ["exec timeout -k 5 7 /bin/sh -s"]
    assert host.fed == [b"echo x"]
    assert (reply.rc, reply.out, reply.sent, reply.fault) == (0, b"x\n", True, None)


def test_become_asks_sudo_in_english_and_never_for_a_password() -> None:
    assert work.command_line(7, True) == "exec env LC_ALL=C sudo -n timeout -k 5 7 /bin/sh -s"


def test_a_part_of_an_answer_is_kept_beside_the_fault() -> None:
    host = Scripted((Fault.CUT, b"begun", b"e"))
    reply = work.run_script(host.start, SCRIPT, False, within(), None)
    assert (reply.rc, reply.out, reply.err) == (None, b"begun", b"e")
    assert (reply.fault, reply.detail, reply.sent) == (Fault.CUT, "why", True)


def test_what_never_started_was_not_sent() -> None:
    def start(*_: object) -> contextlib.AbstractContextManager[work.Exchange]:
        raise Down(Fault.AUTH, "no")

    reply = work.run_script(start, SCRIPT, False, within(), None)
    assert (reply.fault, reply.sent) == (Fault.AUTH, False)


@pytest.mark.parametrize(
    ("rc", "out", "err", "refused"),
    [
        (1, b"", b"sudo: a password is required\n", True),
        (1, b"", b"Welcome!\nsudo: a terminal is required to read the password\n", True),
        (127, b"", b"env: 'sudo': No such file or directory\n", True),
        (1, b"@0 V 1\n", b"sudo: a password is required\n", False),
        (1, b"", b"rm: cannot remove x\n", False),
        (0, b"", b"sudo: unable to resolve host h1\n", False),
        (2, b"", b"sudo: a password is required\n", False),
    ],
)
def test_sudos_own_refusal_is_told_from_the_scripts(
    rc: int, out: bytes, err: bytes, refused: bool
) -> None:
    host = Scripted((rc, out, err))
    reply = work.run_script(host.start, SCRIPT, True, within(), None)
    assert (reply.fault is Fault.SUDO) == refused
    assert reply.sent != refused


def test_output_beyond_the_limit_is_a_fault() -> None:
    host = Scripted((0, b"x" * (work.OUTPUT_MAX_BYTES + 1), b""))
    reply = work.run_script(host.start, SCRIPT, False, within(), None)
    assert (reply.fault, reply.sent, reply.rc) == (Fault.EXEC, True, None)


@pytest.mark.parametrize("text", [work._LOOK, work._PUT, work._GET, work.JOIN])
def test_texts_for_a_login_shell_mean_the_same_to_all_of_them(text: str) -> None:
    assert not set(text) & set("\n\\!'")
    assert shlex.split(work.command_line(5, False, text))[-1] == text


def test_a_part_on_the_host_is_gone_on_with_when_it_is_a_prefix() -> None:
    data = bytes(range(256)) * 10
    held = hashlib.sha256(data[:1000]).hexdigest().encode()
    host = Scripted((0, b"1000\n" + held + b"  -\n", b""), (0, b"abc", b""))
    reply = work.put(host.start, False, io.BytesIO(data), "/x y", len(data), within())
    assert host.fed == [b"/x y\n2560\n", b"/x y\n1000\n" + data[1000:]]
    assert (reply.out, reply.sent) == (b"abc", True)


@given(st.binary(max_size=200), st.integers(0, 250), st.booleans())
def test_a_put_feeds_what_is_missing_or_all(data: bytes, held: int, true: bool) -> None:
    prefix = data[:held] if true else b"?" * held
    digest = hashlib.sha256(prefix).hexdigest()
    fits = 0 < len(prefix) <= len(data)
    look = f"{len(prefix)}\n" + (f"{digest}  -\n" if fits else "")
    answers = [(0, look.encode(), b"")] if data else []
    host = Scripted(*answers, (0, b"h", b""))
    work.put(host.start, False, io.BytesIO(b"skip" + data), "/p", len(data), within())
    source = io.BytesIO(b"skip" + data)
    source.seek(4)
    host = Scripted(*answers, (0, b"h", b""))
    work.put(host.start, False, source, "/p", len(data), within())
    head, offset, rest = host.fed[-1].split(b"\n", 2)
    agreed = fits and data.startswith(prefix)
    assert (head, int(offset)) == (b"/p", len(prefix) if agreed else 0)
    assert rest == data[int(offset) :]


@given(st.binary(max_size=100))
def test_no_answer_can_crash_the_look(answer: bytes) -> None:
    size, digest = work.parse_look(answer)
    assert size >= 0
    assert len(digest) in (0, 64)


@pytest.mark.parametrize("path", ["", "a\nb", "a\0b", "a\rb"])
def test_a_path_that_is_no_line_is_refused_before_anything_is_sent(path: str) -> None:
    host = Scripted()
    for reply in (
        work.put(host.start, False, io.BytesIO(b"x"), path, 1, within()),
        work.get(host.start, False, path, io.BytesIO(), within()),
    ):
        assert (reply.fault, reply.sent) == (Fault.EXEC, False)


def test_a_failed_look_is_the_answer() -> None:
    host = Scripted((1, b"", b"permission denied\n"))
    reply = work.put(host.start, False, io.BytesIO(b"x"), "/p", 1, within())
    assert (reply.rc, reply.err, reply.sent) == (1, b"permission denied\n", False)


def test_a_fetched_file_is_hashed() -> None:
    host, sink = Scripted((0, b"data", b"")), io.BytesIO()
    reply = work.get(host.start, False, "/p", sink, within())
    assert sink.getvalue() == b"data"
    assert reply.out.decode() == hashlib.sha256(b"data").hexdigest()
