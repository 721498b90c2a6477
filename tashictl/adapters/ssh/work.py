"""What runs on a host, whatever carries it there: scripts, and files to and fro.

The texts for the login shell are constant, in one line and without backslash or exclamation mark,
so that sh, csh and fish take them for the same; names travel on stdin, never through that shell.
"""

from __future__ import annotations

import hashlib
import math
import shlex
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from tashictl.adapters.ssh.faults import Down, left_s
from tashictl.model.script import Fault, Reply, Script

OUTPUT_MAX_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 18
_SHA256_HEX = 64
# A relay that nobody closed ends by itself.
STREAM_S = 24 * 3600.0

_LOOK = (
    "LC_ALL=C; export LC_ALL; IFS= read -r p; IFS= read -r n; "
    '[ -f "$p" ] || { echo 0; exit 0; }; s=$(($(wc -c < "$p"))) || exit 1; echo $s; '
    '[ $s -eq 0 ] || [ $s -gt "$n" ] || sha256sum < "$p"'
)
_PUT = (
    "LC_ALL=C; export LC_ALL; IFS= read -r p; IFS= read -r o; "
    # A disk that is full must not stay so for the sake of a part.
    'w() { cat || { c=$?; rm -f "$p"; exit $c; }; }; '
    'if [ "$o" -eq 0 ]; then w > "$p"; else '
    '[ $(($(wc -c < "$p"))) -eq "$o" ] || { echo "$p: changed meanwhile" >&2; exit 75; }; '
    'w >> "$p"; fi; '
    'sync "$p" || exit; h=$(sha256sum < "$p") || exit; printf %s "${h%% *}"'
)
_GET = 'LC_ALL=C; export LC_ALL; IFS= read -r p; exec cat "$p"'
JOIN = (
    "LC_ALL=C; export LC_ALL; IFS= read -r p; "
    '[ -S "$p" ] || { echo "$p: no such socket" >&2; exit 2; }; '
    'command -v socat > /dev/null && exec socat - "UNIX-CONNECT:$p"; exec nc -U "$p"'
)


class Exchange(Protocol):
    """A command that runs: one form over an SSH channel, one over a local process."""

    def feed(self, data: bytes | memoryview) -> bool:
        """Send all of `data`; False when the command takes no more. Raises Down."""
        ...

    def end_of_input(self) -> None:
        """Tell the command that nothing follows."""
        ...

    def finish(self) -> int:
        """Collect until the end; the exit status. Raises Down."""
        ...


class Sink:
    """Where output goes: kept up to a limit, and shown to `on_output` as it comes."""

    def __init__(self, on_output: Callable[[bytes], None] | None = None) -> None:
        self._on_output = on_output
        self._out: list[bytes] = []
        self._err: list[bytes] = []
        self._size = 0

    def out(self, data: bytes) -> None:
        """Take some stdout; raises Down(EXEC) beyond the limit."""
        self._count(data)
        self._out.append(data)
        if self._on_output is not None:
            self._on_output(data)

    def err(self, data: bytes) -> None:
        """Take some stderr; raises Down(EXEC) beyond the limit."""
        self._count(data)
        self._err.append(data)

    def all_out(self) -> bytes:
        """All stdout so far."""
        return b"".join(self._out)

    def all_err(self) -> bytes:
        """All stderr so far."""
        return b"".join(self._err)

    def _count(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > OUTPUT_MAX_BYTES:
            raise Down(Fault.EXEC, f"more than {OUTPUT_MAX_BYTES >> 20} MiB of output")


class FileSink(Sink):
    """Stdout into a file, hashed on the way; only stderr is kept."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()

    def out(self, data: bytes) -> None:
        """Write some stdout; raises OSError as the file does."""
        self._file.write(data)
        self._hash.update(data)

    def all_out(self) -> bytes:
        """The sha256 of what was written, in hex."""
        return self._hash.hexdigest().encode("ascii")


Starter = Callable[[str, float, Sink], AbstractContextManager[Exchange]]


def command_line(timeout_s: float, become: bool, text: str | None = None) -> str:
    """The line for the login shell: sh on stdin, or a constant `text`, with a limit on the host."""
    shell = "/bin/sh -s" if text is None else f"/bin/sh -c {shlex.quote(text)}"
    limited = f"timeout -k 5 {max(1, math.ceil(timeout_s))} {shell}"
    # sudo's refusal must be recognised, so it must be in English.
    return f"exec env LC_ALL=C sudo -n {limited}" if become else f"exec {limited}"


def run_script(
    start: Starter,
    script: Script,
    become: bool,
    deadline_s: float,
    on_output: Callable[[bytes], None] | None,
) -> Reply:
    """Feed a script to sh on the host and collect what comes; never raises for the host's sake."""
    begun_s = time.monotonic()
    sink = Sink(on_output)
    sent, rc, down = False, None, None
    try:
        with start(command_line(script.timeout_s, become), deadline_s, sink) as exchange:
            sent = True
            exchange.feed(script.text.encode("utf-8", "surrogateescape"))
            exchange.end_of_input()
            rc = exchange.finish()
    except Down as failure:
        down = failure
    return _reply(sink, rc, down, sent, become, begun_s)


def _reply(
    sink: Sink, rc: int | None, down: Down | None, sent: bool, become: bool, begun_s: float
) -> Reply:
    out, err = sink.all_out(), sink.all_err()
    fault = down.fault if down is not None else None
    detail = down.detail if down is not None else ""
    if become and fault is None and is_refused_by_sudo(rc, out, err):
        # sudo never started the shell: nothing was done, whatever has been fed.
        fault, detail, sent = Fault.SUDO, _line_of(err), False
    seconds = time.monotonic() - begun_s
    return Reply(rc=rc, out=out, err=err, fault=fault, detail=detail, sent=sent, seconds=seconds)


def is_refused_by_sudo(rc: int | None, out: bytes, err: bytes) -> bool:
    """Whether sudo itself, not what it was to run, has ended with `rc`."""
    said = err.lstrip()
    missing = rc == 127 and b"sudo" in said and not out
    refused = rc == 1 and not out and b"sudo: " in said[:4096] and b"sudo: timeout" not in said
    return missing or refused


def _line_of(text: bytes) -> str:
    return "; ".join(text.decode("utf-8", "replace").split("\n")).strip("; \r")[:300]


def is_clean(path: str) -> bool:
    """Whether a path can travel as one line."""
    return bool(path) and not set(path) & {"\n", "\r", "\0"}


def _refused(detail: str) -> Reply:
    return Reply(fault=Fault.EXEC, detail=detail)


def put(
    start: Starter,
    become: bool,
    source: BinaryIO,
    path: str,
    size_bytes: int,
    deadline_s: float,
) -> Reply:
    """Stream a file to a host and hash it there; a part that is a true prefix is gone on with.

    Only a seekable source can resume. A part that is longer or different is written anew.
    """
    if not is_clean(path):
        return _refused("the path cannot be sent")
    begun_s = time.monotonic()
    sink, sent, rc, down = Sink(), False, None, None
    try:
        seekable = source.seekable()
        at = source.tell() if seekable else 0
        offset = 0
        if seekable and size_bytes:
            look = _look(start, become, path, size_bytes, deadline_s)
            if look.fault is not None or look.rc != 0:
                return look
            offset = _agreed(source, look.out)
            if not offset:
                source.seek(at)
        command = command_line(left_s(deadline_s), become, _PUT)
        with start(command, deadline_s, sink) as exchange:
            sent = True
            if exchange.feed(f"{path}\n{offset}\n".encode("utf-8", "surrogateescape")):
                _pour(exchange, source, size_bytes - offset)
            exchange.end_of_input()
            rc = exchange.finish()
    except Down as failure:
        down = failure
    except OSError as error:
        down = Down(Fault.EXEC, f"the source cannot be read: {error}")
    return _reply(sink, rc, down, sent, become, begun_s)


def _look(start: Starter, become: bool, path: str, size_bytes: int, deadline_s: float) -> Reply:
    begun_s = time.monotonic()
    sink, rc, down = Sink(), None, None
    try:
        with start(command_line(left_s(deadline_s), become, _LOOK), deadline_s, sink) as exchange:
            exchange.feed(f"{path}\n{size_bytes}\n".encode("utf-8", "surrogateescape"))
            exchange.end_of_input()
            rc = exchange.finish()
    except Down as failure:
        down = failure
    return _reply(sink, rc, down, False, become, begun_s)


def _agreed(source: BinaryIO, answer: bytes) -> int:
    """How many bytes of `source` the host has already; the source then stands behind them."""
    size, hexdigest = parse_look(answer)
    if not hexdigest:
        return 0
    digest, left = hashlib.sha256(), size
    while left:
        chunk = source.read(min(_CHUNK_BYTES, left))
        if not chunk:
            return 0
        digest.update(chunk)
        left -= len(chunk)
    return size if digest.hexdigest() == hexdigest else 0


def parse_look(answer: bytes) -> tuple[int, str]:
    """Size and sha256 of the part on the host; (0, "") for whatever is not quite that."""
    words = answer.decode("ascii", "replace").split()
    if len(words) < 2 or not words[0].isascii() or not words[0].isdigit():
        return 0, ""
    return (int(words[0]), words[1]) if len(words[1]) == _SHA256_HEX else (0, "")


def _pour(exchange: Exchange, source: BinaryIO, left: int) -> None:
    while left:
        chunk = source.read(min(_CHUNK_BYTES, left))
        if not chunk:
            raise Down(Fault.EXEC, f"the source ended {left} bytes early")
        if not exchange.feed(chunk):
            return
        left -= len(chunk)


def get(start: Starter, become: bool, path: str, file: BinaryIO, deadline_s: float) -> Reply:
    """Stream a file from a host into `file`; the reply's `out` is the sha256 of it in hex."""
    if not is_clean(path):
        return _refused("the path cannot be sent")
    begun_s = time.monotonic()
    sink, sent, rc, down = FileSink(file), False, None, None
    try:
        command = command_line(left_s(deadline_s), become, _GET)
        with start(command, deadline_s, sink) as exchange:
            sent = True
            exchange.feed(f"{path}\n".encode("utf-8", "surrogateescape"))
            exchange.end_of_input()
            rc = exchange.finish()
    except Down as failure:
        down = failure
    except OSError as error:
        down = Down(Fault.EXEC, f"the copy cannot be written: {error}")
    return _reply(sink, rc, down, sent, become, begun_s)
