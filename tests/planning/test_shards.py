"""Shards: every host is in one, whoever asks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.errors import InvalidRequest
from tashictl.planning.shards import in_shard, parse_shard

COUNTS = st.integers(1, 40)


@given(st.text(), COUNTS)
def test_every_host_is_in_exactly_one_shard(host: str, count: int) -> None:
    assert sum(in_shard(host, index, count) for index in range(1, count + 1)) == 1


def test_the_shard_of_a_name_is_the_same_for_ever() -> None:
    found = [next(i for i in range(1, 8) if in_shard(f"node{n}", i, 7)) for n in range(12)]
    assert found == [2, 5, 6, 4, 2, 4, 5, 6, 3, 2, 4, 4]


def test_shards_are_about_equal() -> None:
    sizes = [sum(in_shard(f"node{n}", i, 4) for n in range(1000)) for i in range(1, 5)]
    assert all(200 < size < 300 for size in sizes), sizes


@pytest.mark.parametrize(("index", "count"), [(0, 1), (2, 1), (-1, 3), (1, 0)])
def test_an_index_out_of_range_is_an_error(index: int, count: int) -> None:
    with pytest.raises(ValueError, match="from 1 to"):
        in_shard("node1", index, count)


@given(COUNTS.flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_what_is_written_as_a_shard_is_read_as_it(shard: tuple[int, int]) -> None:
    assert parse_shard("{}/{}".format(*shard)) == shard


@pytest.mark.parametrize(
    "text",
    ["", "1", "0/4", "5/4", "1/0", "1/1001", "-1/4", "01/4", "1/4/2", " 1/4", "1/4\n", "²/4"],
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_shard(text)
    assert caught.value.code == "E-SHARD"
