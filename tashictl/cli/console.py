"""`tashictl vm console`: the serial console of a VM, and what it has said."""

from __future__ import annotations

import click

from tashictl.cli import commands, desk, options, output, text
from tashictl.cli.options import Globals
from tashictl.errors import InvalidRequest, NoSuchTarget
from tashictl.model.vm import Vm

_LINES = 1000
_LINE_BYTES = 512  # on average, of the log that is asked for
_MAX_BYTES = 8 * 1024 * 1024


def register(noun: commands.Noun) -> None:
    """Add the verb to `vm`."""

    @noun.reads("console")
    @click.argument("name")
    @click.option("--log", is_flag=True, help="Print what the console has said, and end.")
    @click.option("--lines", default=None, metavar="N", help=f"With --log: the last N [{_LINES}].")
    @click.pass_obj
    def console(face: Globals, name: str, log: bool, lines: str | None) -> int:
        """Connect the terminal to a VM's serial console (Ctrl-] ends it), or print its log."""
        wanted = _lines(lines, log)
        at = desk.sit_down(face)
        vm = at.state().vm_named(name)
        if vm is None:
            raise NoSuchTarget("E-NO-VM", f"no VM {name!r}", hint="tashictl vm list")
        return _log(at, vm, wanted) if log else _connect(at, vm)


def _lines(text_: str | None, log: bool) -> int:
    if text_ is None:
        return _LINES
    if not log:
        raise InvalidRequest("E-USAGE", "--lines needs --log", hint="tashictl vm console --help")
    if not (text_.isascii() and text_.isdigit() and 1 <= int(text_[:9]) <= 1_000_000):
        raise InvalidRequest("E-USAGE", f"--lines {text_!r}: a number of lines, at least 1")
    return int(text_)


def _log(at: desk.Desk, vm: Vm, lines: int) -> int:
    """Print the last lines; what a terminal would act upon is made visible."""
    from tashictl.cli import wiring
    from tashictl.ops import console

    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        said = console.log(world, context, vm, min(lines * _LINE_BYTES, _MAX_BYTES))
    # A terminal's own line ends are CR LF, and progress overwrites a line by a bare CR.
    shown = said.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if shown and not shown[-1]:
        shown.pop()
    whole = [
        text.visible(line.rstrip("\r").rsplit("\r", 1)[-1].replace("\t", "    ")) for line in shown
    ]
    face = at.face
    if face.for_people or face.output is options.Output.NAME:
        output.write(face, "".join(f"{line}\n" for line in whole[-lines:]))
    else:
        output.emit_record(face, {"name": vm.name, "lines": whole[-lines:]}, ())
    return 0


def _connect(at: desk.Desk, vm: Vm) -> int:
    from tashictl.adapters import terminal
    from tashictl.cli import progress, wiring
    from tashictl.ops import console

    streams = at.face.streams
    if not (streams.stdin.isatty() and streams.stdout.isatty()):
        raise InvalidRequest(
            "E-TERMINAL",
            "a console needs a terminal",
            hint=f"tashictl vm console {vm.name} --log   prints what it has said",
        )
    context = wiring.context_of(at)
    with wiring.world_of(at) as world:
        stream = console.connect(world, context, vm)
        progress.Progress(at.face).note(f"console of {vm.name}; Ctrl-] ends it")
        try:
            ended = terminal.join(stream, streams.stdin.fileno(), streams.stdout.fileno())
        finally:
            stream.close()
    progress.Progress(at.face).note(ended)
    return 0
