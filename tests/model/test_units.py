import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.model import units


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("128", 128),
        ("0", 0),
        ("1G", 1024),
        ("1g", 1024),
        ("1.5G", 1536),
        ("0.5G", 512),
        ("1024K", 1),
        ("2T", 2 * 1024**2),
        ("2 GiB", 2048),
        ("64MB", 64),
        (" 64 ", 64),
    ],
)
def test_memory_is_read_as_mib(text: str, mib: int) -> None:
    assert units.memory_mib(text) == mib


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "2X",
        "G",
        "1.5",
        "1K",
        "1.",
        ".5G",
        "1,5G",
        "1e3",
        "0x1",
        "1 2",
        "+1",
        "٣",
        "9" * 400,
    ],
)
def test_what_is_no_whole_number_of_mib_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"memory size|whole number"):
        units.memory_mib(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("2m", 120),
        ("2min", 120),
        ("1h", 3600),
        ("1d", 86400),
    ],
)
def test_durations_are_read_as_seconds(text: str, value: float) -> None:
    assert units.seconds(text) == value


@pytest.mark.parametrize("text", ["", "-1", "1w", "s", "1 2", "1.", "٣"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        units.seconds(text)


@given(st.integers(0, 1 << 40))
def test_memory_that_was_shown_is_read_back(mib: int) -> None:
    shown = units.show_memory(mib)

    if "e" not in shown:
        assert abs(units.memory_mib(shown) - mib) <= mib * 1e-5


@given(st.integers(0, 8192))
def test_usual_memory_is_shown_exactly(mib: int) -> None:
    assert units.memory_mib(units.show_memory(mib)) == mib


@pytest.mark.parametrize(
    ("mib", "shown"),
    [(0, "0 MiB"), (640, "640 MiB"), (1024, "1 GiB"), (1536, "1.5 GiB"), (1100, "1100 MiB")],
)
def test_memory_is_shown_in_the_unit_that_fits(mib: int, shown: str) -> None:
    assert units.show_memory(mib) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (13_396_480, "12.8 MiB"),
        (5 << 30, "5 GiB"),
        (3 << 40, "3 TiB"),
    ],
)
def test_bytes_are_shown_with_three_digits(size: int, shown: str) -> None:
    assert units.show_bytes(size) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.94, "0.9 s"), (12, "12 s"), (180, "3 min"), (7200, "2 h"), (172800, "2 d")],
)
def test_seconds_are_shown_in_the_unit_that_fits(value: float, shown: str) -> None:
    assert units.show_seconds(value) == shown
