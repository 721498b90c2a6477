"""`net verify`."""

from __future__ import annotations

from collections.abc import Sequence

from tashictl.cli import desk, named, output, wiring
from tashictl.cli.options import Globals
from tashictl.cli.tables import Column, Table
from tashictl.errors import FaultsFound, NoSuchTarget, PartialResult, SummedUp, raise_all
from tashictl.model.inventory import Inventory
from tashictl.ops import net, net_verify, net_verify_names
from tashictl.planning.net.standing import Row

KEYS = ("network", "host", "check", "verdict", "seen", "remedy")
_COLOURS = {"ok": "green", "wrong": "red", "unknown": "yellow"}


def run(face: Globals, networks: Sequence[str], hosts: Sequence[str]) -> None:
    """Print what was checked; raises FaultsFound when something is wrong."""
    at = desk.sit_down(face)
    context = wiring.context_of(at)
    chosen = [h.name for h in named.hosts(context.inventory, hosts)]
    wanted = _networks(context.inventory, networks)
    with wiring.world_of(at) as world:
        # Hosts that were not named are looked at as well: they are who answers.
        looked = net.look(world, context, context.inventory.hosts)
        found = net.held_against(world, context, looked, wiring.net_templates(at))
        verified = net_verify.verify(world, context, found, wanted, chosen)
        asked = [n for n in context.inventory.networks if n.name in wanted]
        names = net_verify_names.rows(world, context, asked, dry=face.dry_run)
    rows = (*verified.rows, *names)
    if verified.errors and len(verified.errors) == len(chosen):
        raise_all(verified.errors)
    output.emit_list(face, rows, table())
    if verified.errors:
        what = f"{len(verified.errors)} of {len(chosen)} hosts were not looked at"
        raise SummedUp([PartialResult("E-PARTIAL", what), *verified.errors])
    _sum_up(face, rows)


def _sum_up(face: Globals, rows: Sequence[Row]) -> None:
    wrong, unknown = net_verify.wrong(rows), net_verify.unknown(rows)
    if wrong:
        remedy = next((r.remedy for r in rows if r.verdict == "wrong" and r.remedy), "")
        raise FaultsFound(
            "E-NET-VERIFY", f"{wrong} of {len(rows)} checks found something wrong", hint=remedy
        )
    if face.for_people:
        rest = f", {unknown} could not be told" if unknown else ""
        output.say(face, f"{len(rows) - unknown} of {len(rows)} checks are ok{rest}")


def _networks(inventory: Inventory, words: Sequence[str]) -> frozenset[str]:
    known = {n.name: n for n in inventory.networks if n.mode != "user"}
    by_id = {str(n.id): n.name for n in known.values()}
    names = [by_id.get(word, word) for word in words]
    hint = "tashictl net list"
    raise_all(
        NoSuchTarget("E-NETWORK", f"no network {name!r} on a bridge", hint=hint)
        for name in names
        if name not in known
    )
    return frozenset(names or known)


def record(row: Row) -> dict[str, object]:
    """A check for programs; null is what is of no one network or host."""
    values: dict[str, object] = {key: getattr(row, key) for key in KEYS}
    return {**values, **{key: values[key] or None for key in ("network", "host", "remedy")}}


def table() -> Table[Row]:
    """The table of checks."""
    return Table(
        things="checks",
        keys=KEYS,
        record=record,
        name=lambda row: f"{row.host}:{row.network}:{row.check}",
        order=lambda row: row.number,
        columns=(
            Column(key="network", header="NETWORK", show=lambda r: r.network or None),
            Column(key="host", header="HOST", show=lambda r: r.host or None),
            Column(key="check", header="CHECK", show=lambda r: r.check),
            Column(
                key="verdict",
                header="VERDICT",
                show=lambda r: r.verdict,
                colour=lambda r: _COLOURS[r.verdict],
            ),
            Column(key="seen", header="SEEN", show=lambda r: r.seen),
            Column(key="remedy", header="REMEDY", show=lambda r: r.remedy),
        ),
    )
