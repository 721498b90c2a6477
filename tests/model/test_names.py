import re
import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tashictl.model import names

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("text", ["a", "web1", "a-b", "1a", "0-0", "x" * 63, "a--b"])
def test_labels_are_names(text: str) -> None:
    assert names.is_name(text)


@pytest.mark.parametrize(
    "text",
    ["", "1", "007", "-a", "a-", "A", "a.b", "a_b", "x" * 64, "a b", "a\n", "\na", "é", "²", "a/b"],
)
def test_all_else_is_none(text: str) -> None:
    assert not names.is_name(text)


@given(st.text(max_size=70))
@example("web$(reboot)")
@example("web\n")
@example("ｗｅｂ")
def test_a_name_never_means_anything_to_a_shell_a_path_or_a_pattern(text: str) -> None:
    if names.is_name(text):
        assert shlex.quote(text) == text
        assert re.fullmatch(r"[a-z0-9-]{1,63}", text)
        assert not text.startswith("-")
        assert not set(text) & set("*?[")
        assert names.expand(text) == (text,)


@given(label)
def test_every_label_that_is_no_number_is_a_name(text: str) -> None:
    assert names.is_name(text) is not text.isdigit()


@pytest.mark.parametrize("text", ["a", "Debian-12.qcow2", "a/b/c.img", "x" * 200, "a+b_c"])
def test_paths_of_plain_parts_are_image_names(text: str) -> None:
    assert names.is_image_name(text)


@given(st.text(max_size=210))
@example("../a")
@example("a/../b")
@example("a\n")
@example("a/.b")
@example("/a")
def test_an_image_name_never_leaves_its_folder(text: str) -> None:
    if names.is_image_name(text):
        assert shlex.quote(text) == text
        assert not text.startswith("/")
        assert all(part and not part.startswith((".", "-")) for part in text.split("/"))
        assert "," not in text


# -- ranges


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("node", ("node",)),
        ("node[2-4,7]", ("node2", "node3", "node4", "node7")),
        ("n[08-10]", ("n08", "n09", "n10")),
        ("n[8-10]", ("n8", "n9", "n10")),
        ("n[00]", ("n00",)),
        ("r[1-2]n[1-2]x", ("r1n1x", "r1n2x", "r2n1x", "r2n2x")),
        ("n[a-b]", ("n[a-b]",)),
    ],
)
def test_a_range_stands_for_its_numbers(text: str, expanded: tuple[str, ...]) -> None:
    assert names.expand(text) == expanded


@pytest.mark.parametrize(
    "text", ["n[3-1]", "n[1-]", "n[-1]", "n[,]", "n[1,,2]", "n[0-999999]", "n[1-1000][1-1000]"]
)
def test_a_malformed_or_endless_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|backwards|more than"):
        names.expand(text)


@given(st.integers(0, 5000), st.integers(0, 50), st.integers(0, 6))
def test_a_range_has_each_number_once_in_order_with_its_padding(
    first: int, more: int, width: int
) -> None:
    low = str(first).zfill(width)

    found = names.expand(f"n[{low}-{first + more}]x")

    assert [int(n[1:-1]) for n in found] == list(range(first, first + more + 1))
    if low.startswith("0"):
        assert {len(n) for n in found} <= set(range(len(low) + 2, 20))
        assert found[0] == f"n{low}x"


@given(st.lists(st.sampled_from("web1 web2 web10 db1 db".split()), unique=True))  # noqa: SIM905
def test_what_is_selected_is_known_and_keeps_its_order(known: list[str]) -> None:
    for pattern in ("web*", "web[1-2]", "*", "web?", "db", "none", "[", "web[3-1]"):
        found = names.select(pattern, known)
        assert list(found) == [n for n in known if n in found]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("web1", ("web1",)),
        ("web*", ("web1", "web2", "web10")),
        ("web?", ("web1", "web2")),
        ("web[1-2]", ("web1", "web2")),
        ("web[2,10]", ("web2", "web10")),
        ("*", ("web1", "web2", "web10", "db")),
        ("none", ()),
        ("WEB1", ()),
        ("web[9-1]", ()),
    ],
)
def test_a_pattern_selects(pattern: str, found: tuple[str, ...]) -> None:
    assert names.select(pattern, ("web1", "web2", "web10", "db")) == found
