"""`tashictl status`: the cluster at a glance, from the database, the journals and the inventory."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from tashictl.cli import attention, commands, desk, meter, options, output, text
from tashictl.cli.options import Globals
from tashictl.model.host import HostState

if TYPE_CHECKING:
    from tashictl.cli.desk import Desk

_OLD_S = 24 * 3600.0  # what hosts said longer ago is pointed out
_GAP = "  "
_SHOWN = 12  # lines of one kind; the rest is counted
_IN_GIB_MIB = 2048  # from here on a total is shown in GiB


@click.command("status", cls=commands.Reading)
@click.pass_obj
def command(face: Globals) -> None:
    """The cluster at a glance: hosts, VMs, room, and what wants attention."""
    at = desk.sit_down(face)
    picture = looked(at)
    streams = face.streams
    output.refuse_choice(face, "status")
    if face.for_people:
        width = options.width_of(streams.stdout, streams.env)
        paint = options.paint_for(streams.stdout, face.color, streams.env)
        output.write(face, "".join(f"{line}\n" for line in lines(picture, width, paint)))
    else:
        output.emit_record(face, attention.record(picture), (), name=picture.name)


def looked(at: Desk) -> attention.Picture:
    """All that the screen is made of."""
    from tashictl.adapters import book
    from tashictl.cli import wiring
    from tashictl.model.cluster import snapshot
    from tashictl.ops import recover

    state = at.state()
    inventory = wiring.inventory_of(at)
    with wiring.world_of(at) as world:
        operations = recover.listing(world, ended=False)
    return attention.Picture(
        name=os.path.basename(os.path.abspath(at.folder)),  # noqa: PTH100, PTH119
        state=state,
        cluster=snapshot(state, inventory, at.settings.qemu.reserved_memory_mib),
        inventory=inventory,
        operations=operations,
        now=(now := at.scene().now),
        problems=tuple(book.of_state(at.state_folder, lambda: now).values()),
    )


def lines(picture: attention.Picture, width: int | None, paint: text.Paint) -> list[str]:
    """The screen: one or two lines of what there is, the bars, what wants attention, what next."""
    found = [*_headline(picture, width)]
    if picture.cluster.hosts:
        found += _bars(picture, width)
    found += _attention_lines(attention.of(picture), width, paint)
    found += [_mark("dim", "·", note, width, paint) for note in _notes(picture)]
    return found


def _headline(picture: attention.Picture, width: int | None) -> Iterator[str]:
    parts = [
        f"cluster {text.visible(picture.name)} ({picture.state.meta.cluster})",
        _host_words(picture),
        _vm_words(picture),
    ]
    line = ""
    for part in parts:
        joined = f"{line}   {part}" if line else part
        if line and width is not None and text.cells_of(joined) > width:
            yield text.clip(line, width)
            joined = part
        line = joined
    yield line if width is None else text.clip(line, width)


def _host_words(picture: attention.Picture) -> str:
    hosts = picture.cluster.hosts
    if not hosts:
        return "no hosts yet"
    up = [h for h in hosts if h.record.up is True]
    said = [f"{attention.count(len(up), 'host')} up"]
    away = [h for h in hosts if h.record.up is not True]
    if away:
        since = min((h.record.last_contact or "" for h in away), default="")
        seen = text.show_time(since, picture.now) if since else None
        when = f" since {seen}" if seen else ""
        said.append(f"{len(away)} not reached{when} ({text.few([h.name for h in away])})")
    for state, word in ((HostState.Drained, "drained"), (HostState.VersionMismatch, "unfit")):
        some = [h.name for h in hosts if h.state is state]
        if some:
            said.append(f"{len(some)} {word} ({text.few(some)})")
    return ", ".join(said)


def _vm_words(picture: attention.Picture) -> str:
    vms = picture.state.vms
    if not vms:
        return "no VMs"
    counted = attention.by_state(vms.values())
    words = ", ".join(f"{number} {state.lower()}" for state, number in counted.items())
    return f"{attention.count(len(vms), 'VM')}: {words}"


def _bars(picture: attention.Picture, width: int | None) -> Iterator[str]:
    hosts = picture.cluster.hosts
    cores = sum(h.used_cores for h in hosts), sum(h.cores for h in hosts)
    memory = sum(h.used_memory_mib for h in hosts), sum(h.memory_mib for h in hosts)
    scale, unit = (1024, "GiB") if memory[1] >= _IN_GIB_MIB else (1, "MiB")
    shown = (
        ("cores", f"{cores[0]}/{cores[1]}", meter.bar(*cores)),
        (
            "memory",
            f"{_size(memory[0], scale)}/{_size(memory[1], scale)} {unit}",
            meter.bar(*memory),
        ),
    )
    in_one = "      ".join(f"{name:<6}  {used}  {bar}" for name, used, bar in shown)
    if width is None or len(in_one) <= width:
        yield in_one
        return
    widest = max(len(used) for _, used, _ in shown)
    for name, used, bar in shown:
        yield text.clip(f"{name:<6}  {used:<{widest}}  {bar}", width)


def _size(mib: int, scale: int) -> str:
    return f"{mib / scale:.3g}" if scale > 1 and mib < 1000 * scale else f"{mib / scale:.0f}"


def _attention_lines(
    found: Sequence[attention.Line], width: int | None, paint: text.Paint
) -> Iterator[str]:
    shown: list[attention.Line] = []
    counts: Counter[str] = Counter()
    for one in found:
        counts[one.kind] += 1
        if counts[one.kind] <= _SHOWN:
            shown.append(one)
    lengths = [text.cells_of(text.visible(one.said)) for one in shown if _fits(one, width)]
    column = max(lengths, default=0) + len(_GAP)
    for one in shown:
        yield from _attention_line(one, column, width, paint)
    for kind, number in counts.items():
        if number > _SHOWN:
            yield f"{paint('yellow', '!')} and {number - _SHOWN} more: {kind}"


def _fits(one: attention.Line, width: int | None) -> bool:
    """Whether the line and its command stand beside each other."""
    said, command = text.visible(one.said), text.visible(one.command)
    return width is None or text.cells_of(said) + len(command) + 2 * len(_GAP) <= width


def _attention_line(
    one: attention.Line, column: int, width: int | None, paint: text.Paint
) -> Iterator[str]:
    """The line with its command at the right; below it where both do not fit beside each other."""
    said, command = text.visible(one.said), text.visible(one.command)
    mark, length = paint("yellow", "!"), text.cells_of(said)
    if _fits(one, width):
        gap = column - length
        if width is not None and len(_GAP) + column + len(command) > width:
            gap = width - len(_GAP) - length - len(command)  # the longest one pushes it here
        yield f"{mark} {said}{' ' * gap}{paint('dim', command)}"
        return
    assert width is not None
    for piece in _wrapped(said, width - 2):
        yield f"{mark} {piece}"
        mark = " "
    yield f"    {paint('dim', text.clip(command, max(1, width - 4)))}"


def _wrapped(said: str, width: int) -> list[str]:
    """`said` in pieces of at most `width`, broken at blanks: why something waits is never cut."""
    import textwrap

    return textwrap.wrap(said, max(16, width)) or [""]


def _mark(colour: str, sign: str, said: str, width: int | None, paint: text.Paint) -> str:
    shown = text.visible(said) if width is None else text.clip(text.visible(said), width - 2)
    return f"{paint(colour, sign)} {shown}"


def _notes(picture: attention.Picture) -> Iterator[str]:
    for operation in picture.operations:
        if operation.status.value == "running":
            begun = attention.ago(operation.started, picture.now)
            yield (
                f"op {operation.id} {operation.kind} {operation.target}: running, begun {begun} "
                f"by {operation.actor}"
            )
    old = [
        h
        for h in picture.cluster.hosts
        if h.record.up is True and text.is_older(h.record.last_contact, picture.now, _OLD_S)
    ]
    if old:
        oldest = min(h.record.last_contact or "" for h in old)
        yield (
            f"{text.few([h.name for h in old])}: last asked "
            f"{attention.ago(oldest, picture.now)}; "
            "tashictl host check asks now"
        )
    if not picture.cluster.networks and not picture.state.vms:
        yield "no network yet: describe one in the inventory (docs/formats.md)"
    following = attention.next_step(picture)
    if following is not None:
        yield f"next: {following}"
