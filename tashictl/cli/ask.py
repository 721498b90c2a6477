"""Questions before something is lost."""

from __future__ import annotations

from tashictl.cli import options, text
from tashictl.errors import InvalidRequest


def confirm(face: options.Globals, question: str) -> None:
    """Ask `question` (what will be lost, without the ``?``) on stderr, and return only after a yes.

    --yes answers it, a dry run needs no answer. Raises InvalidRequest E-CONFIRM where there is
    nobody to ask, and when the answer is not yes.
    """
    if face.dry_run or face.yes:
        return
    streams = face.streams
    if not (streams.stdin.isatty() and streams.stderr.isatty()):
        raise InvalidRequest(
            "E-CONFIRM",
            "refused: not a terminal, and no --yes",
            cause=f"it would have been asked: {question}?",
            hint="--yes to go on, --dry-run to see what would happen",
        )
    paint = options.paint_for(streams.stderr, face.color, streams.env)
    asked = "\n".join(text.visible_lines(question))
    streams.stderr.write(f"{asked}? {paint('dim', '[y/N]')} ")
    streams.stderr.flush()
    if streams.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InvalidRequest("E-CONFIRM", "not confirmed")
