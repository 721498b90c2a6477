"""The reader of Tashi's files: dialect, lines, and every mistake at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning import ini


def nothing(section: str, name: str) -> bool:
    return False


def entries(text: str) -> list[tuple[str, str, str, int]]:
    found, mistakes = ini.read(text, nothing)
    assert mistakes == ()
    return [(e.section, e.option, e.value, e.line) for e in found]


def mistakes(text: str) -> list[tuple[int, str]]:
    return [(m.line, m.what) for m in ini.read(text, lambda _, n: n == "prefix")[1]]


def test_both_delimiters_and_the_white_space_around_them_are_taken() -> None:
    assert entries("[A]\nx=1\ny : 2 \nz   =  a = b: c\n") == [
        ("A", "x", "1", 2),
        ("A", "y", "2", 3),
        ("A", "z", "a = b: c", 4),
    ]


def test_a_semicolon_behind_white_space_begins_a_comment_and_a_sharp_does_not() -> None:
    text = "[A] ; the first\nhost = h1 ; a comment\nkey = a;b#c #d\nrem nothing = here\n"
    assert entries(text) == [("A", "host", "h1", 2), ("A", "key", "a;b#c #d", 3)]


def test_comments_blank_lines_and_a_byte_order_mark_are_passed_over() -> None:
    assert entries("\ufeff# one\n;two = 2\n\n[A]\n\t\nx = 1\r\n") == [("A", "x", "1", 6)]


def test_an_indented_line_continues_the_value_before_it() -> None:
    assert entries("[A]\nx = 1\n  2\n\n\t3\n") == [("A", "x", "1\n2\n3", 2)]


def test_a_pair_of_quotes_is_an_empty_value() -> None:
    assert entries('[A]\nx = ""\ny =\n') == [("A", "x", "", 2), ("A", "y", "", 3)]


def test_a_section_may_be_continued_further_down() -> None:
    assert [e[0] for e in entries("[A]\nx = 1\n[B]\ny = 2\n[A]\nz = 3\n")] == ["A", "B", "A"]


def test_interpolation_is_off() -> None:
    assert entries("[A]\nformat = %(asctime)s %d %\n")[0][2] == "%(asctime)s %d %"


def test_every_malformed_line_is_named_with_its_line() -> None:
    text = "x = 1\n[A\ny = 2\n[B]\nnonsense\n  indented\n= 3\n[]\n[C] rest\n"
    assert mistakes(text) == [
        (1, "'x' stands before any [Section]"),
        (2, "'[A' is no section header"),
        (5, "'nonsense' is no option"),
        (6, "'indented' is indented, but continues no option"),
        (7, "'=' is no option"),
        (8, "'[]' is no section header"),
        (9, "'[C]' is no section header"),
    ]


def test_an_option_that_is_there_twice_names_its_first_line() -> None:
    assert mistakes("[A]\nx = 1\n[B]\nx = 2\n[A]\nX = 3\n") == [
        (6, "X in [A] is there twice, first in line 2")
    ]


def test_an_indented_known_option_is_a_mistake_and_not_a_value() -> None:
    assert mistakes("[Vfs]\nx = 1\n  prefix = /srv\n") == [
        (3, "prefix is indented, so it continues the line above")
    ]


def test_a_malformed_line_shows_no_more_than_its_first_word() -> None:
    (mistake,) = ini.read("[DhcpDns]\ndhcpSecretKey Zm9vYmFy\n", nothing)[1]
    assert "Zm9v" not in mistake.what


@given(st.text(st.sampled_from("[]=:;#\n \tab\r\x0b\u2028\0"), max_size=60))
def test_any_text_is_read_without_an_exception_and_lines_stay_within_it(text: str) -> None:
    found, wrong = ini.read(text, nothing)
    assert all(1 <= x.line <= text.count("\n") + 1 for x in (*found, *wrong))


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}", fullmatch=True).map(str.lower),
        st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True).filter(
            lambda v: ";" not in v and v != '""'
        ),
        max_size=5,
    )
)
def test_what_was_written_is_read_back(values: dict[str, str]) -> None:
    values.pop("rem", None)
    text = "[A]\n" + "".join(f"{k} = {v}\n" for k, v in values.items())
    assert {option: value for _, option, value, _ in entries(text)} == values
