"""The known word that was probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The nearest of `known` to `word` whatever its case, or None when nothing is near."""
    from difflib import get_close_matches  # noqa: PLC0415  only a mistake pays for its import

    by_lower = {k.lower(): k for k in known}
    if word.lower() in by_lower:
        return by_lower[word.lower()]
    begun = [k for k in by_lower if len(word) > 1 and k.startswith(word.lower())]
    if len(begun) == 1:
        return by_lower[begun[0]]
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown `word`: the nearest known one, else all of them."""
    words = tuple(known)
    near = nearest(word, words)
    return f"did you mean {near}?" if near else "known: " + ", ".join(words)
