"""Read what a script answered: its frames, and nothing else of what a login shell may print."""

from __future__ import annotations

import re

from msgspec import Struct

_NUMBER = re.compile(r"[0-9]{1,9}")


class StepAnswer(Struct, frozen=True, kw_only=True):
    """What one step said; `rc` is None when it began and no end was heard of."""

    rc: int | None = None
    message: str = ""
    data: dict[str, str] = {}


class Answer(Struct, frozen=True, kw_only=True):
    """What a script said; without `complete` its end was not heard, so it may still run.

    `refused` is the reason and its details when the host's fence did not let it begin.
    """

    complete: bool = False
    refused: tuple[str, ...] = ()
    steps: dict[int, StepAnswer] = {}


class Section(Struct, frozen=True, kw_only=True):
    """One frame with the text that follows it."""

    kind: str
    words: tuple[str, ...]
    text: str


def sections(out: bytes, nonce: str) -> tuple[Section, ...]:
    """Split stdout at its frames; what comes before the first one is noise."""
    parts = out.decode("utf-8", "replace").split(f"\n@{nonce} ")[1:]
    found = []
    for part in parts:
        head, _, text = part.partition("\n")
        kind, *words = head.split(" ") or [""]
        found.append(Section(kind=kind, words=tuple(words), text=text))
    return tuple(found)


def parse(out: bytes, nonce: str) -> Answer:
    """Read the answer of a changing script."""
    complete = False
    refused: tuple[str, ...] = ()
    steps: dict[int, StepAnswer] = {}
    current: int | None = None
    for section in sections(out, nonce):
        match section.kind, section.words:
            case "Z", _:
                complete = True
            case "R", words:
                refused = words
            case "B", (number, _name) if _NUMBER.fullmatch(number):
                current = int(number)
                steps[current] = StepAnswer(message=section.text.strip())
            case "D", (key, *value) if current is not None:
                before = steps[current]
                steps[current] = StepAnswer(
                    message=f"{before.message}\n{section.text.strip()}".strip(),
                    data={**before.data, key: " ".join(value)},
                )
            case "E", (number, rc) if number == str(current) and _NUMBER.fullmatch(rc):
                before = steps[int(number)]
                steps[int(number)] = StepAnswer(
                    rc=int(rc), message=before.message, data=before.data
                )
                current = None
            case _:
                continue
    return Answer(complete=complete, refused=refused, steps=steps)
