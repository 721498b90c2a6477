"""The line that tells how far a file has been sent."""

import io

from hypothesis import given
from hypothesis import strategies as st

from tashictl.cli import meter
from tests.cli import stage
from tests.ops.stage import an_image

IMAGE = an_image("debian-12", (), size_bytes=400 << 20)


def test_it_tells_bytes_speed_and_seconds_left() -> None:
    told = meter.line(IMAGE, 100 << 20, 10.0, 100)

    assert "100 MiB of 400 MiB" in told
    assert "10.5 MB/s" in told
    assert "30 s left" in told
    assert told.startswith("  debian-12  █████░")


@given(st.integers(0, 400 << 20), st.floats(0, 1e6), st.integers(1, 200))
def test_it_fits_every_terminal(sent: int, seconds: float, width: int) -> None:
    assert len(meter.line(IMAGE, sent, seconds, width)) < max(width, 1) or width == 1


def test_a_bar_is_never_empty_when_something_is_there_nor_longer_than_full() -> None:
    assert meter.bar(0, 10) == "░" * 20
    assert meter.bar(1, 1000) == "█" + "░" * 19
    assert meter.bar(20, 10) == "█" * 20
    assert meter.bar(0, 0) == "░" * 20


def test_a_file_is_read_as_it_is_and_the_line_is_gone_at_the_end() -> None:
    times = iter(range(100))
    stream = io.StringIO()
    image = an_image("x", (), size_bytes=10)
    source = meter.Meter(io.BytesIO(b"0123456789"), image, stream, 80, lambda: float(next(times)))

    assert source.seekable()
    assert source.read(4) + source.read(4) + source.read() == b"0123456789"
    assert (source.tell(), source.seek(0)) == (10, 0)

    assert "4 B of 10 B" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_only_a_terminal_is_told() -> None:
    source = io.BytesIO(b"x")
    for face in (
        stage.face(),
        stage.face(streams=stage.streams(tty=True), output=stage.options.Output.JSON),
    ):
        with meter.on_terminal(face, IMAGE) as show:
            assert show(source) is source
    with meter.on_terminal(
        stage.face(streams=stage.streams(tty=True, env={"COLUMNS": "80"})), IMAGE
    ) as show:
        assert isinstance(show(source), meter.Meter)
