"""How an operation tells people how it goes: notes, steps and warnings on stderr, and the log."""

from __future__ import annotations

import contextlib
import threading

from tashictl.cli import options, text

_STEP_WIDTH = 9
_WIDTH = 80


class Progress:
    """The Report port. A stderr that is closed or full never disturbs an operation.

    With ``-o json`` and the other forms for programs notes and steps need -v.
    """

    def __init__(self, face: options.Globals) -> None:
        self._stream = face.streams.stderr
        self._env = face.streams.env
        self._paint = options.paint_for(self._stream, face.color, face.streams.env)
        self._says_all = face.for_people or face.verbose > 0 or face.debug
        self._turn = threading.Lock()  # a text stream mixes up what several threads write at once

    def note(self, text_: str) -> None:
        """A line on the side, behind a dim ``·``."""
        if self._says_all:
            self._write(f"{self._paint('dim', '·')} {text.visible(text_)}")

    def step(self, name: str, text_: str) -> None:
        """A step that was done, behind a green ``✓``."""
        if self._says_all:
            label = text.visible(name).ljust(_STEP_WIDTH)
            self._write(f"  {self._paint('green', '✓')} {label} {text.visible(text_)}".rstrip())

    def warn(self, text_: str) -> None:
        """A line that matters, behind a yellow ``!``."""
        self._write(f"{self._paint('yellow', '!')} {text.visible(text_)}")

    def waits(self, text_: str) -> None:
        """One line that is written over, on a terminal; elsewhere nothing."""
        if not (self._says_all and self._stream.isatty()):
            return
        width = options.width_of(self._stream, self._env) or _WIDTH
        shown = text.visible(text_)[: width - 3]  # a line that wraps cannot be written over
        line = f"{self._paint('dim', '·')} {shown}" if text_ else ""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"\r\x1b[K{line}")
            self._stream.flush()

    def _write(self, line: str) -> None:
        with self._turn, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()


def log_to_stderr(face: options.Globals) -> None:
    """Let the log through to stderr: -v from INFO, -vv and --debug from DEBUG; else nothing."""
    if not (face.verbose or face.debug):
        return
    import logging

    level = logging.DEBUG if face.debug or face.verbose > 1 else logging.INFO
    handler = logging.StreamHandler(face.streams.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    log = logging.getLogger("tashictl")
    log.handlers = [handler]
    log.setLevel(level)
