import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from tashictl.cli import text

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


@given(st.text())
def test_visible_text_holds_nothing_that_a_terminal_acts_upon(value: str) -> None:
    shown = text.visible(value)

    assert shown.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown)
    if value.isprintable():
        assert shown == value


@given(st.text())
def test_json_that_was_made_visible_still_means_the_same(value: str) -> None:
    dumped = json.dumps([value], ensure_ascii=False).encode("utf-8", "replace").decode()

    shown = text.visible_json(dumped)

    assert json.loads(shown) == json.loads(dumped)
    assert shown.isprintable()


def test_escapes_are_shown_as_such() -> None:
    assert text.visible("a\x1b[31m\n\x9b\u202e") == "a\\x1b[31m\\n\\x9b\\u202e"
    assert text.visible_lines("a\tb\r\nc\x07") == ["a    b", "c\\x07"]


def test_wide_and_combining_characters_are_measured() -> None:
    assert text.cells_of("日本") == 4
    assert text.cells_of("e\u0301") == 1
    assert text.cells_of("–…·") == 3


@given(st.text(alphabet="ab日\u0301–"), st.integers(1, 9))
def test_clipped_text_fits(value: str, limit: int) -> None:
    shown = text.clip(value, limit)

    assert text.cells_of(shown) <= limit
    assert shown == value or shown.endswith("…")


def test_times_are_shown_in_the_readers_zone() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))

    assert text.show_time("2026-11-22T14:02:00Z", NOW) == "14:02"
    assert text.show_time("2026-11-21T14:02:00Z", NOW) == "2026-11-21 14:02"
    assert text.show_time("2026-11-22T15:30:00Z", there) == "00:30"
    assert text.show_time(None, NOW) is None
    assert text.show_time("soon", NOW) is None


def test_what_was_never_seen_is_older_than_all() -> None:
    assert text.is_older(None, NOW, 1e9)
    assert text.is_older("2026-11-22T14:59:00Z", NOW, 30)
    assert not text.is_older("2026-11-22T14:59:40Z", NOW, 30)


def test_of_many_names_the_first_few_are_named_and_the_rest_is_counted() -> None:
    assert text.few(["a", "b", "c"]) == "a, b, c"
    assert text.few(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert text.few(["a", "b", "c", "d"], 4) == "a, b, c, d"
