"""A line that tells how far a file has been sent; only on a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from tashictl.cli import options
from tashictl.cli.options import Globals
from tashictl.model import units

if TYPE_CHECKING:
    from tashictl.model.image import Image

_EVERY_S = 0.2
_CLEAR = "\r\x1b[K"
_BAR_CELLS = 20
_LEAST_WIDTH = 40

Shown = Callable[[BinaryIO], BinaryIO]


class Meter:
    """A file that is read by whoever sends it; what was read is told on `stream`.

    Each seek to the beginning is another host's turn. `width` is the terminal's.
    """

    def __init__(
        self,
        source: BinaryIO,
        image: Image,
        stream: TextIO,
        width: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._image = image
        self._stream = stream
        self._width = width
        self._now = now
        self._began_s = self._told_s = now()
        self._at = 0

    def seekable(self) -> bool:
        """As the file."""
        return self._source.seekable()

    def tell(self) -> int:
        """As the file."""
        return self._source.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """As the file."""
        self._at = self._source.seek(offset, whence)
        if self._at == 0:
            self._began_s = self._now()
        return self._at

    def read(self, size: int = -1) -> bytes:
        """As the file; tells how far it is."""
        data = self._source.read(size)
        self._at += len(data)
        now_s = self._now()
        if self._at >= self._image.size_bytes:
            self._write(_CLEAR)
        elif now_s - self._told_s >= _EVERY_S:
            self._told_s = now_s
            self._write(_CLEAR + line(self._image, self._at, now_s - self._began_s, self._width))
        return data

    def clear(self) -> None:
        """Leave nothing of it on the terminal."""
        self._write(_CLEAR)

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()


def line(image: Image, sent_bytes: int, seconds: float, width: int) -> str:
    """``  debian-12  ███░░░  123 of 412 MiB  11.2 MB/s  26 s left``, as much as fits `width`."""
    size = max(1, image.size_bytes)
    speed = sent_bytes / seconds if seconds > 0 else 0.0
    left_s = (size - sent_bytes) / speed if speed else None
    parts = [
        image.name,
        bar(sent_bytes, size),
        f"{units.show_bytes(sent_bytes)} of {units.show_bytes(size)}",
        f"{speed / 1e6:.1f} MB/s",
        "" if left_s is None else f"{units.show_seconds(left_s)} left",
    ]
    # The name goes first, then the bar: the numbers are what is read.
    for dropped in ((), (0,), (0, 1)):
        kept = [p for place, p in enumerate(parts) if p and place not in dropped]
        text = "  " + "  ".join(kept)
        if len(text) < width:
            return text
    return text[: max(0, width - 1)]


def bar(part: float, whole: float, cells: int = _BAR_CELLS) -> str:
    """A bar of `cells` characters, as full as `part` is of `whole`; a little shows as one cell."""
    full = round(cells * min(1.0, part / whole)) if whole > 0 else 0
    if part > 0:
        full = max(1, full)
    return "█" * full + "░" * (cells - full)


@contextlib.contextmanager
def on_terminal(face: Globals, image: Image) -> Iterator[Shown]:
    """What wraps a file that is sent; where stderr is no terminal, nothing does."""
    streams = face.streams
    width = options.width_of(streams.stderr, streams.env)
    if not face.for_people or width is None or width < _LEAST_WIDTH:
        yield lambda source: source
        return
    made: list[Meter] = []

    def show(source: BinaryIO) -> BinaryIO:
        made.append(Meter(source, image, streams.stderr, width))
        return cast(BinaryIO, made[-1])

    try:
        yield show
    finally:
        for one in made:
            one.clear()
