"""The console's log: what a guest says cannot pass for the end of the answer."""

from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning import console

NONCE = "00112233aabbccdd"


def answer(text: bytes) -> bytes:
    return f"motd\n\n@{NONCE} B log {len(text)}\n".encode() + text + f"\n@{NONCE} Z\n".encode()


@given(st.binary(max_size=200))
def test_every_byte_comes_as_it_was_said(text: bytes) -> None:
    said = console.read(answer(text), NONCE)

    assert said is not None and (said.text, said.missing) == (text, False)


@given(st.binary(min_size=1, max_size=100), st.integers(0, 100))
def test_what_is_cut_short_is_no_answer(text: bytes, length: int) -> None:
    whole = answer(text)
    cut = whole[: min(length, whole.index(text, whole.index(b"log")) + len(text) - 1)]

    assert console.read(cut, NONCE) is None


def test_a_missing_log_is_told() -> None:
    said = console.read(f"\n@{NONCE} B missing\n\n@{NONCE} Z\n".encode(), NONCE)

    assert said is not None and said.missing


def test_it_only_reads() -> None:
    script = console.script("/var/lib/tashi/it's", 1000, NONCE)

    assert not script.changing
    assert "'/var/lib/tashi/it'\"'\"'s'" in script.text
