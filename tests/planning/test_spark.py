"""Small bars: what they show, and what they must not hide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning import spark


def test_bars_go_from_zero_to_the_greatest() -> None:
    assert spark.line([0.0, 1.0, 2.0, 3.5, 7.0]) == "▁▂▃▅█"
    assert spark.line([5.0, 5.0]) == "██"
    assert spark.line([0.0, 0.0]) == "▁▁"


def test_what_is_little_is_not_shown_as_nothing() -> None:
    assert spark.line([0.0, 0.001, 100.0]) == "▁▂█"


def test_a_gap_is_a_blank() -> None:
    assert spark.line([1.0, None, 1.0]) == "█ █"
    assert spark.line([None, None]) == "  "


def test_ascii_stands_in_where_there_are_no_blocks() -> None:
    assert spark.line([0.0, 1.0, 7.0], spark.ASCII).isascii()
    assert len(spark.ASCII) == len(spark.BLOCKS)


def test_bins_are_means_of_equal_parts() -> None:
    assert spark.binned([0, 1, 5, 10], [2.0, 4.0, 9.0, 7.0], (0, 10), 5) == [
        3.0,
        None,
        9.0,
        None,
        7.0,
    ]


@pytest.mark.parametrize(("reach", "shown"), [(0, "█ █ "), (1, "████")])
def test_a_line_of_rare_samples_is_filled_up_to_its_reach(reach: int, shown: str) -> None:
    assert spark.line(spark.filled([1.0, None, 1.0, None], reach)) == shown


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e300, 1e300)), max_size=50),
    st.integers(1, 60),
)
def test_any_samples_make_a_line_of_the_width(
    samples: list[tuple[float, float]], cells: int
) -> None:
    bins = spark.binned([t for t, _ in samples], [v for _, v in samples], (0.0, 1e6), cells)

    line = spark.line(bins)
    assert len(line) == cells
    assert set(line) <= {*spark.BLOCKS, spark.GAP}
