"""Errors as people and programs read them; click's and the system's become ours here."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence

import click
import msgspec

from tashictl.cli import text
from tashictl.errors import (
    Interrupted,
    InvalidRequest,
    OperationFailed,
    Problems,
    TashiError,
)

# Exit codes of requests that are refused before anything is begun.
_REFUSED = frozenset({2, 3, 5, 7, 8})
_CLOSE = 0.7
_DISK_HINTS = {
    errno.ENOSPC: "free some space there, then run it again",
    errno.EDQUOT: "free some of your quota there, then run it again",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "check its owner and mode, and those of the folders above",
    errno.EPERM: "check its owner and mode, and those of the folders above",
    errno.EIO: "the disk fails: look into the kernel's log (dmesg)",
    errno.EFBIG: "a file size limit is set (ulimit -f)",
    errno.EMFILE: "too many open files (ulimit -n)",
}


def each(error: TashiError) -> tuple[TashiError, ...]:
    """The error itself, or each of several problems."""
    return error.problems if isinstance(error, Problems) else (error,)


def was_refused(error: TashiError) -> bool:
    """Whether the request was refused before anything was begun, so that nothing was changed."""
    return all(e.exit_code in _REFUSED and not e.leftovers for e in each(error))


def render_text(error: TashiError, paint: text.Paint, width: int | None = None) -> str:
    """Render ``error[E-CODE]: what, where``, cause, what is left, what to try; per problem.

    A cause is broken between words at `width`; what may be typed is never broken.
    """
    return "".join(f"{line}\n" for one in each(error) for line in _block(one, paint, width))


def _block(error: TashiError, paint: text.Paint, width: int | None) -> Iterator[str]:
    what = text.visible(error.what)
    if error.host is not None and error.host not in re.split(r"[^\w.-]+", error.what):
        what += f", on {text.visible(error.host)}"
    yield paint("red", f"error[{error.code}]:") + f" {what}"
    yield from _labelled("cause", text.broken(error.cause, width, len("  cause: ")), paint)
    for left in error.leftovers:
        yield from _labelled("left", left, paint)
    yield from _labelled("try", error.hint, paint)


def _labelled(label: str, body: str, paint: text.Paint) -> Iterator[str]:
    for number, line in enumerate(text.visible_lines(body)):
        head = paint("dim", f"{label}:") if number == 0 else " " * (len(label) + 1)
        yield f"  {head} {line}"


def render_json(error: TashiError) -> str:
    """Render one line with one JSON object; several problems stand beside the first as `errors`."""
    objects = [_object(e) for e in each(error)]
    body: dict[str, object] = {"error": objects[0]}
    if len(objects) > 1:
        body["errors"] = objects
    return text.visible_json(msgspec.json.encode(body).decode()) + "\n"


def _object(error: TashiError) -> dict[str, object]:
    return {
        "code": error.code,
        "message": _whole(error.what),
        "cause": _whole(error.cause) or None,
        "hint": _whole(error.hint) or None,
        "host": None if error.host is None else _whole(error.host),
        "leftovers": [_whole(left) for left in error.leftovers],
    }


def _whole(value: str) -> str:
    """`value` with undecodable bytes of the command line as escapes: JSON has no surrogates."""
    return value.encode("utf-8", "backslashreplace").decode()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` was probably meant to be: what it begins, or nearly is."""
    from difflib import get_close_matches

    names = list(known)
    begun = [name for name in names if len(word) > 1 and name.startswith(word)]
    close = begun or get_close_matches(word, names, n=1, cutoff=_CLOSE)
    return close[0] if close else None


def unknown_command(path: str, name: str, known: Iterable[str]) -> InvalidRequest:
    """The error for a noun or verb that does not exist; `path` is what stands before it."""
    names = list(known)
    close = nearest(name, names)
    return InvalidRequest(
        "E-USAGE",
        f"'{path}' has no command '{name}'",
        cause=f"it has {', '.join(names)}" if names else "",
        hint=f"{path} {close}" if close else f"{path} --help",
    )


def from_usage(error: click.ClickException) -> InvalidRequest:
    """Click's usage error as ours: lower case, no full stop, the nearest option as the hint."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    path = ctx.command_path if ctx else "tashictl"
    hint = f"{path} --help"
    if isinstance(error, click.NoSuchOption) and ctx is not None:
        what = f"'{path}' has no option '{error.option_name}'"
        params = ctx.command.get_params(ctx)
        known = {o.lstrip("-"): o for p in params for o in p.opts if o.startswith("-")}
        if close := nearest(error.option_name.lstrip("-"), known):
            hint = f"{known[close]}   ({hint})"
    else:
        message = error.format_message()
        what = (message[:1].lower() + message[1:]).rstrip(".")
    usage = ctx.get_usage() if ctx else ""
    cause = " ".join(usage.split()).replace("Usage:", "usage:", 1)
    return InvalidRequest("E-USAGE", what, cause=cause, hint=hint)


def from_usages(errors: Sequence[click.ClickException]) -> list[InvalidRequest]:
    """Several bad values of one command line; only the last says how it is used."""
    found = [from_usage(error) for error in errors]
    return [*(InvalidRequest(e.code, e.what) for e in found[:-1]), *found[-1:]]


def unknown_keys(
    code: str, kind: str, wrong: Iterable[str], known: Sequence[str]
) -> list[InvalidRequest]:
    """The errors for keys or columns that do not exist; the last one lists those that do."""
    words = list(wrong)
    lists = [""] * (len(words) - 1) + [f"there are {', '.join(known)}"]
    return [
        InvalidRequest(code, f"no {kind} '{w}'", cause=cause, hint=nearest(w, known) or "")
        for w, cause in zip(words, lists, strict=False)
    ]


def translated(failure: BaseException) -> TashiError:
    """Whatever was raised, as one of our errors."""
    if isinstance(failure, TashiError):
        return failure
    if isinstance(failure, click.ClickException):
        return from_usage(failure)
    if isinstance(failure, click.Abort | KeyboardInterrupt):
        return Interrupted(
            "E-INTERRUPTED", "interrupted", hint="tashictl op list shows what was in flight"
        )
    if isinstance(failure, OSError):
        return from_os(failure)
    return from_bug(failure)


def from_os(error: OSError) -> TashiError:
    """An error of the local disk; whatever else the system said is a bug of ours.

    The path may be missing (a full disk is met by write(2), which knows none).
    """
    known = error.errno in _DISK_HINTS
    if error.filename is None and not known:
        return from_bug(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    return OperationFailed(
        "E-DISK",
        f"{path or 'a local file'}: {error.strerror or error}",
        cause=f"the system said {errno.errorcode.get(error.errno or 0, 'nothing more')}",
        hint=_DISK_HINTS.get(error.errno or 0, "check the path"),
    )


def from_bug(error: BaseException) -> TashiError:
    """An exception that should never have come this far, with the place that raised it."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    place = (
        f" ({'/'.join(frames[-1].filename.split('/')[-2:])}:{frames[-1].lineno})" if frames else ""
    )
    return OperationFailed(
        "E-BUG",
        f"{type(error).__name__}: {error}{place}",
        hint="this is a fault of tashictl; run it again with --debug and report what it prints",
    )
