"""The tables of docs/formats.md, made from the code, so that they cannot go stale.

``python -m tests.formats_table`` writes them into the document, between ``<!-- table: NAME -->``
and ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo

from tashictl.adapters.store.form import Seal
from tashictl.model import event, host, image, naming, operation, state, steps, vm
from tashictl.model.settings import Settings
from tashictl.planning import replica
from tashictl.planning.audit import table as audit
from tashictl.planning.config import value_at
from tashictl.planning.config_options import OBSOLETE_SECTIONS, OPTIONS, Kind, Option
from tashictl.planning.config_values import show
from tashictl.planning.doctor import table as doctor
from tashictl.planning.inventory_keys import HOST_KEYS, NETWORK_KEYS, Key
from tashictl.planning.manifest import Manifest
from tashictl.planning.metrics import METRICS

DOCUMENT = Path(__file__).parents[1] / "docs" / "formats.md"
_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines
    )


def config_table() -> str:
    """Every option that is used."""
    used = (o for o in OPTIONS if o.kind is not Kind.OBSOLETE)
    return table(
        ("section", "option", "value", "default", ""),
        ((f"[{o.section}]", f"`{o.name}`", _kind(o), _default(o), o.note) for o in used),
    )


def obsolete_table() -> str:
    """Every option and section that is accepted with a note, and why it is not used."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for option in OPTIONS:
        if option.kind is Kind.OBSOLETE:
            reasons.setdefault((option.section, option.note), []).append(f"`{option.name}`")
    rows = [(f"[{section}]", " ".join(names), why) for (section, why), names in reasons.items()]
    rows += [(f"[{section}]", "all", why) for section, why in OBSOLETE_SECTIONS.items()]
    return table(("section", "options", "why"), rows)


def keys_table(keys: Iterable[Key]) -> str:
    """The keys of a host or network."""
    return table(("key", ""), ((f"`{k.name}`", k.about) for k in keys))


def struct_tables(*structs: type[msgspec.Struct]) -> str:
    """One table per struct, under its name and docstring."""
    return "\n".join(_struct(struct) for struct in structs)


def _struct(struct: type[msgspec.Struct]) -> str:
    text = " ".join((struct.__doc__ or "").split())
    rows = (
        (f"`{f.encode_name}`", _type(f.type), _field_default(f))
        for f in msgspec.structs.fields(struct)
    )
    return f"**{struct.__name__}** — {text}\n\n" + table(("field", "type", "default"), rows)


def _type(found: Any) -> str:
    origin, parts = get_origin(found), get_args(found)
    if found is type(None):
        return "null"
    if isinstance(found, type) and issubclass(found, Enum):
        return " \u00b7 ".join(str(_enum_text(member)) for member in found)
    if origin is tuple and parts[-1:] == (...,):
        return f"list of {_type(parts[0])}"
    if origin is tuple:
        return "[" + ", ".join(_type(p) for p in parts) + "]"
    if origin is dict:
        return f"object: {_type(parts[0])} \u2192 {_type(parts[1])}"
    if parts:
        if len(parts) > 4:
            return "steps"
        return " or ".join(_type(p) for p in parts)
    return {str: "text", int: "integer", float: "number", bool: "boolean", object: "any"}.get(
        found, getattr(found, "__name__", str(found))
    )


def _enum_text(member: Enum) -> str:
    if isinstance(member.value, int):
        return f"{member.value} ({member.name})"
    return f"`{member.value}`"


def _field_default(field: FieldInfo) -> str:
    if field.default_factory is not msgspec.NODEFAULT:
        default: object = field.default_factory()
    else:
        default = field.default
    if default is msgspec.NODEFAULT:
        return "required"
    if isinstance(default, msgspec.Struct):
        return "its defaults"
    if isinstance(default, Enum):
        return _enum_text(default)
    return f"`{msgspec.json.encode(default).decode()}`"


def _kind(option: Option) -> str:
    if option.choices:
        return " \u00b7 ".join(f"`{c}`" for c in option.choices)
    return option.kind.value


def _default(option: Option) -> str:
    if option.is_family:
        return ""
    text = show(option, value_at(Settings(), option.field))
    return f"`{text}`" if text else "\u2013"


def step_kinds() -> tuple[type[msgspec.Struct], ...]:
    """The kinds of the union `Step`."""
    assert get_origin(steps.Step) in (Union, type(int | str))
    return get_args(steps.Step)


def steps_table() -> str:
    """The kinds of steps with their class and what each has beside the fields of every step."""
    common = {f.name for f in msgspec.structs.fields(steps.HostStep)}
    return table(
        ("kind", "class", "fields", ""),
        (
            (
                f"`{kind.__name__}`",
                kind.step_class.value,  # type: ignore[attr-defined]
                " ".join(
                    f"`{f.name}`" for f in msgspec.structs.fields(kind) if f.name not in common
                ),
                (kind.__doc__ or "").split("\n")[0],
            )
            for kind in step_kinds()
        ),
    )


def metrics_table() -> str:
    """Every value that is measured, its unit, and its name in OpenMetrics."""
    return table(
        ("of", "name", "unit", "", "OpenMetrics"),
        ((m.of, f"`{m.name}`", m.unit, m.about, f"`{m.exported}`") for m in METRICS),
    )


def doctor_table() -> str:
    """Every check of `doctor`: where, how bad it can be, and what --fix does about it."""
    return table(
        ("id", "severity", "looks at", "`--fix`"),
        ((f"`{c.id}`", c.severities, c.about, c.mends) for c in doctor.CHECKS),
    )


def audit_table() -> str:
    """Every kind of disagreement that `audit` tells, and what --repair does about it."""
    return table(
        ("kind", "means", "`--repair`"), ((f"`{k.id}`", k.about, k.mends) for k in audit.KINDS)
    )


TABLES: dict[str, Callable[[], str]] = {
    "config": config_table,
    "config-obsolete": obsolete_table,
    "hosts": lambda: keys_table(HOST_KEYS),
    "networks": lambda: keys_table(NETWORK_KEYS),
    "seal": lambda: struct_tables(Seal),
    "state": lambda: struct_tables(
        state.Meta, vm.Vm, vm.VmSpec, vm.DiskSpec, vm.NicSpec, vm.Machine, vm.Observed,
        vm.OperationRef, host.HostRecord, image.Image, state.Quarantined,
        naming.Deferred, naming.DnsEntry, naming.DhcpEntry,
    ),
    "journal-header": lambda: struct_tables(operation.Header),
    "journal-entries": lambda: struct_tables(*get_args(operation.Entry)),
    "step-common": lambda: struct_tables(steps.HostStep),
    "steps": steps_table,
    "events": lambda: struct_tables(event.Event, event.Problem),
    "manifest": lambda: struct_tables(Manifest),
    "facts": lambda: struct_tables(host.HostFacts, host.VmFact, host.ImageFact),
    "metrics": metrics_table,
    "doctor": doctor_table,
    "audit": audit_table,
    "fence": lambda: struct_tables(steps.Fence),
    "guard": lambda: struct_tables(steps.Guard),
    "replica": lambda: struct_tables(replica.Seal),
}  # fmt: skip


def filled(text: str) -> str:
    """The document with every table made anew; raises KeyError for one that nobody makes."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n{m[3]}", text)


def names(text: str) -> set[str]:
    """The tables that a document has."""
    return {match[2] for match in _BLOCK.finditer(text)}


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text()))
