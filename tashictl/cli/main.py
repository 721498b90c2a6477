"""The entry: the table of nouns, and the only place where an error becomes an exit code."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from tashictl.cli import commands, errors_text, options
from tashictl.errors import exit_code_of

# What a shell reports of a program that SIGPIPE ended: nobody reads stdout any more.
PIPE_CLOSED = 141
_COMPLETE = "_TASHICTL_COMPLETE"

NOUNS = {
    "init": commands.Lazy(module="tashictl.cli.init", summary="Make a cluster directory."),
    "status": commands.Lazy(
        module="tashictl.cli.status", summary="The cluster at a glance, and what wants attention."
    ),
    "doctor": commands.Lazy(
        module="tashictl.cli.doctor",
        summary="Look closely at this machine and the hosts: what is wrong, and the remedy.",
    ),
    "host": commands.Lazy(
        module="tashictl.cli.host", summary="Hosts: add, list, show, check, remove."
    ),
    "vm": commands.Lazy(
        module="tashictl.cli.vm",
        summary="VMs: create, list, start, pause, shutdown, destroy, console.",
    ),
    "op": commands.Lazy(
        module="tashictl.cli.op", summary="Operations in flight or interrupted: list, resume, undo."
    ),
    "event": commands.Lazy(
        module="tashictl.cli.event", summary="What was found or decided, and what is wrong now."
    ),
    "state": commands.Lazy(
        module="tashictl.cli.state", summary="The state database: check, backup, restore, adopt."
    ),
    "config": commands.Lazy(
        module="tashictl.cli.config", summary="The configuration and where each value comes from."
    ),
    "image": commands.Lazy(
        module="tashictl.cli.image", summary="Disk images: import, build-demo, list."
    ),
    "net": commands.Lazy(
        module="tashictl.cli.net",
        summary="Networks of hosts: list, render, diff, apply, confirm, rollback.",
    ),
    "schedule": commands.Lazy(
        module="tashictl.cli.schedule", summary="Place the VMs that are Pending."
    ),
    "sweep": commands.Lazy(
        module="tashictl.cli.sweep",
        summary="One round over all hosts: what runs, statistics, repairs. For cron.",
    ),
    "audit": commands.Lazy(
        module="tashictl.cli.audit",
        summary="The database against DHCP, DNS and the hosts; --repair mends it.",
    ),
    "stats": commands.Lazy(
        module="tashictl.cli.stats", summary="What was measured: show, history, top, export."
    ),
    "completion": commands.Lazy(
        module="tashictl.cli.completion", summary="Print the completion script of a shell."
    ),
}

ROOT = commands.Noun(
    "tashictl",
    lazy=NOUNS,
    help="Manage virtual machines on a cluster of Linux hosts over SSH, without any agent.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 no such target, 4 partial, 5 conflict, "
    "6 unreachable, 7 not permitted, 8 no capacity, 9 differences found, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def run() -> int:
    """Run this process's command line and return its exit code: the console script."""
    # A command is short: a fifth of its CPU time would go into looking for cycles, most of it
    # when the interpreter ends.
    gc.set_threshold(50_000)
    streams = options.standard_streams()
    code = run_with(sys.argv[1:], streams, ROOT)
    _settle(streams.stderr)
    gc.freeze()
    return code


def run_with(arguments: Sequence[str], streams: options.Streams, root: click.Group) -> int:
    """Run one command line (without the program's name); nothing but an exit code leaves."""
    words = list(arguments)
    early = options.early(words)
    meta: dict[str, object] = {}
    try:
        code = _dispatch(root, words, streams, meta)
        options.flush(streams)
        return code
    except BrokenPipeError as error:
        if _is_closed(streams.stdout):
            return PIPE_CLOSED
        failure: BaseException = error
    except (click.Abort, KeyboardInterrupt) as error:
        failure = error
    except Exception as error:  # noqa: BLE001  the last resort: no traceback may reach a user
        failure = error
    finally:
        _settle(streams.stdout)
    return _report(failure, streams, early, changes=commands.CHANGES in meta)


def _dispatch(
    root: click.Group, words: list[str], streams: options.Streams, meta: dict[str, object]
) -> int:
    if instruction := streams.env.get(_COMPLETE):
        return _complete(root, streams, instruction)
    face = options.Globals(streams=streams)
    # click itself prints --help and --version to sys.stdout.
    with contextlib.redirect_stdout(streams.stdout):
        try:
            with root.make_context("tashictl", words, obj=face) as ctx:
                try:
                    result = root.invoke(ctx)
                finally:
                    meta.update(ctx.meta)
        except click.exceptions.Exit as leaving:
            return leaving.exit_code
    return result if isinstance(result, int) else 0


def _complete(root: click.Group, streams: options.Streams, instruction: str) -> int:
    from click.shell_completion import add_completion_class, shell_complete

    from tashictl.cli import words

    add_completion_class(words.Bash, "bash")
    root_values = {"obj": options.Globals(streams=streams)}
    # Whatever is wrong: what a shell completes from shows no error and never fails.
    with contextlib.redirect_stdout(streams.stdout), contextlib.suppress(Exception):
        return shell_complete(root, root_values, "tashictl", _COMPLETE, instruction)
    return 0


def _report(
    failure: BaseException, streams: options.Streams, early: options.Early, *, changes: bool
) -> int:
    """Write `failure` to stderr in the form that was asked for, and return its exit code."""
    error = errors_text.translated(failure)
    with contextlib.suppress(OSError, ValueError):  # a stderr that is closed has no reader
        if early.debug:
            import traceback

            traceback.print_exception(failure, file=streams.stderr)
        paint = options.paint_for(streams.stderr, early.color, streams.env)
        refused = changes and errors_text.was_refused(error)
        streams.stderr.write(
            errors_text.render_json(error)
            if early.json
            else errors_text.render_text(
                error, paint, options.width_of(streams.stderr, streams.env)
            )
            + ("nothing was changed\n" if refused else "")
        )
    return exit_code_of(error)


def _is_closed(stdout: TextIO) -> bool:
    """Whether nobody reads stdout any more (a failed write does not make the next flush fail)."""
    try:
        stdout.flush()
        poll = select.poll()
        poll.register(stdout.fileno(), select.POLLOUT)
        return any(event & (select.POLLERR | select.POLLHUP) for _fd, event in poll.poll(0))
    except BrokenPipeError:
        return True
    except (OSError, ValueError):
        return False


def _settle(stream: TextIO) -> None:
    """Flush; what cannot be written goes nowhere: the interpreter would exit with 120 for it."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


if __name__ == "__main__":
    sys.exit(run())
