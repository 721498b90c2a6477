"""The configuration layers -> one typed Settings, with where each value comes from.

Later layers win, then the environment, then the command line. Every mistake of every layer is
reported at once, also one that a later layer would have covered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from tashictl.errors import InvalidRequest, raise_all
from tashictl.model.settings import (
    IpRange,
    Layer,
    Merged,
    Note,
    Origin,
    RawOption,
    Settings,
    Weight,
)
from tashictl.planning import config_values, ini
from tashictl.planning.config_options import (
    GUARDED,
    OBSOLETE_SECTIONS,
    OPTIONS,
    SECTIONS,
    Kind,
    Option,
    is_logging,
)
from tashictl.planning.config_values import MASK, Value
from tashictl.planning.nearest import suggestion

_PREFIX = "TASHICTL_"
_SECRET_NAME = re.compile(r"password|secret|key", re.IGNORECASE)

_BY_NAME = {(o.section, o.name.lower().removesuffix("<n>")): o for o in OPTIONS}
_BY_VARIABLE = {f"{s}_{n}".upper(): o for (s, n), o in _BY_NAME.items()}
_SECTION_PREFIXES = tuple(f"{s.upper()}_" for s in SECTIONS)


class _Found(Struct, frozen=True, kw_only=True):
    """An option as it was found; `number` is that of a family, 0 otherwise."""

    option: Option
    number: int
    text: str
    where: str


class _Merger:
    """Collects values by option, later ones over earlier ones, and all that is to be said."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, int], tuple[_Found, Value]] = {}
        self.raw: dict[tuple[str, str], RawOption] = {}
        self.problems: list[InvalidRequest] = []
        self.notes: dict[Note, None] = {}

    def take_layer(self, layer: Layer) -> None:
        """Take one file."""
        if layer.ignored:
            weight = Weight.NOTE if layer.unreadable else Weight.WARNING
            self._note(weight, f"ignored: {layer.ignored}", layer.path)
            return
        entries, mistakes = ini.read(layer.text, _is_known)
        for mistake in mistakes:
            self.problem(mistake.what, f"{layer.path}:{mistake.line}", hint=mistake.hint)
        strange: set[str] = set()
        for entry in entries:
            where = f"{layer.path}:{entry.line}"
            found = _find(entry.section, entry.option, entry.value, where)
            if found is not None:
                self.take(found, layer)
            elif _is_kept(entry.section):
                self._keep(entry, layer.path, where)
            elif entry.section in SECTIONS:
                self._unknown(entry.section, entry.option, where)
            elif entry.section not in strange:
                strange.add(entry.section)
                known = (*SECTIONS, *OBSOLETE_SECTIONS)
                hint = suggestion(entry.section, known)
                self.problem(f"no section [{entry.section}]", where, hint=hint)

    def take(self, found: _Found, layer: Layer | None = None) -> None:
        """Take one known option of a file, or of the environment or command line."""
        option = found.option
        if option.kind is Kind.OBSOLETE:
            self._note(Weight.NOTE, f"{_name(found)} is not used: {option.note}", found.where)
            self._keep_raw(option.section, _spelled(found), found.text)
            return
        key = (option.section, option.name, found.number)
        if not found.text:
            self.values.pop(key, None)
            return
        if layer is not None:
            self._guard(found, layer)
        try:
            value = config_values.read(option, found.text, found.number)
        except ValueError as error:
            self._misread(found, str(error))
        else:
            self.values[key] = (found, value)

    def _misread(self, found: _Found, cause: str) -> None:
        if found.option.kind is Kind.CLUSTER_ID:
            # Only what needs the id minds that there is none.
            self._note(Weight.WARNING, f"{_name(found)} is ignored: {cause}", found.where)
        else:
            kind = found.option.kind
            hint = "" if kind in (Kind.CHOICE, Kind.CLASS) else f"write {kind.value}"
            self.problem(f"{_name(found)}: {cause}", found.where, hint=hint)

    def _guard(self, found: _Found, layer: Layer) -> None:
        if found.option.field in GUARDED and layer.others_read:
            self.problems.append(
                InvalidRequest(
                    "E-SECRET",
                    f"{_name(found)} in a file that others can read, {found.where}",
                    cause="a key or password is readable by every user of this machine",
                    hint=f"chmod 600 {_quoted(layer.path)}",
                )
            )
        if config_values.has_password(found.option, found.text):
            text = f"{_name(found)} holds a password, which others may see"
            if found.option.field == "users.ldap_command":
                text += " (ps shows it while the command runs); write -y FILE instead of -w"
            self._note(Weight.WARNING, text, found.where)

    def _keep(self, entry: ini.Entry, path: str, where: str) -> None:
        if entry.section == "DEFAULT":
            self._note(Weight.WARNING, "[DEFAULT] is not used: write options in sections", where)
        elif entry.section in OBSOLETE_SECTIONS:
            why = OBSOLETE_SECTIONS[entry.section]
            self._note(Weight.NOTE, f"[{entry.section}] is not used: {why}", path)
        self._keep_raw(entry.section, entry.option, entry.value)

    def _keep_raw(self, section: str, option: str, text: str) -> None:
        secret = not is_logging(section) and _SECRET_NAME.search(option)
        self.raw[(section, option.lower())] = RawOption(
            section=section, option=option, value=MASK if secret else text
        )

    def _unknown(self, section: str, option: str, where: str) -> None:
        names = tuple(o.name for o in OPTIONS if o.section == section)
        self.problem(f"no option {option!r} in [{section}]", where, hint=suggestion(option, names))

    def take_environment(self, environ: Mapping[str, str]) -> None:
        """Take TASHICTL_<SECTION>_<OPTION>; an empty one counts as absent."""
        for name in sorted(n for n in environ if n.startswith(_PREFIX) and environ[n]):
            rest, number = name.removeprefix(_PREFIX), 0
            option = _BY_VARIABLE.get(rest)
            if option is None:
                stem, number = _numbered(rest)
                option = _BY_VARIABLE.get(stem)
            where = f"environment {name}"
            if option is not None and option.is_family == (rest not in _BY_VARIABLE):
                self.take(_Found(option=option, number=number, text=environ[name], where=where))
            elif rest.startswith(_SECTION_PREFIXES):
                hint = suggestion(rest, _BY_VARIABLE)
                self.problem(f"no option for {name}", where, hint=hint)
            elif "_" in rest:
                self._note(Weight.NOTE, f"{name} names no section and is ignored", where)

    def take_flags(self, flags: Mapping[str, str]) -> None:
        """Take ``Section.option`` -> text from the command line."""
        for name, text in flags.items():
            section, _, option = name.partition(".")
            found = _find(section, option, text, "command line")
            if found is None:
                self._unknown(section, option, "command line")
            else:
                self.take(found)

    def problem(self, what: str, where: str, *, hint: str = "") -> None:
        """Note a mistake."""
        self.problems.append(InvalidRequest("E-CONFIG", f"{what}, {where}", hint=hint))

    def _note(self, weight: Weight, text: str, where: str) -> None:
        self.notes[Note(weight=weight, text=text, where=where)] = None


def merge(
    layers: Iterable[Layer],
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Merged:
    """Merge the layers, in order, then the environment, then the command line.

    `environ` is the whole environment; `flags` maps ``Section.option`` to text. Raises
    InvalidRequest (E-CONFIG, E-SECRET), or Problems with all of them.
    """
    merger = _Merger()
    for layer in layers:
        merger.take_layer(layer)
    merger.take_environment(environ or {})
    merger.take_flags(flags or {})
    raise_all(merger.problems)
    return Merged(
        settings=_settings(merger),
        origins=tuple(
            Origin(
                section=found.option.section,
                option=_spelled(found),
                value=config_values.show(found.option, value),
                where=found.where,
            )
            for found, value in _in_table_order(merger)
        ),
        notes=tuple(merger.notes),
    )


def listing(merged: Merged) -> tuple[Origin, ...]:
    """Every option that is used, with its value (secrets masked) and where it comes from."""
    found: list[Origin] = []
    for option in OPTIONS:
        if option.kind is Kind.OBSOLETE:
            continue
        stem = option.name.removesuffix("<n>")
        given = [o for o in merged.origins if o.section == option.section and _of(o.option, stem)]
        found += given
        if not given and not option.is_family:
            value = config_values.show(option, value_at(merged.settings, option.field))
            found.append(
                Origin(section=option.section, option=option.name, value=value, where="default")
            )
    return tuple(found)


def value_at(settings: Settings, field: str) -> object:
    """The value of a field by its path, such as ``qemu.accel``."""
    value: object = settings
    for part in field.split("."):
        value = getattr(value, part)
    return value


def _settings(merger: _Merger) -> Settings:
    groups: dict[str, dict[str, Value]] = {}
    ranges: dict[int, IpRange] = {}
    hooks: dict[int, str] = {}
    for found, value in merger.values.values():
        if isinstance(value, IpRange):
            ranges[found.number] = value
        elif found.option.is_family:
            hooks[found.number] = str(value)
        else:
            group, _, field = found.option.field.rpartition(".")
            groups.setdefault(group, {})[field] = value
    defaults = Settings()
    changed = {
        group: replace(getattr(defaults, group), **values)
        for group, values in groups.items()
        if group
    }
    return replace(
        defaults,
        **groups.get("", {}),
        **changed,
        ip_ranges=tuple(ranges[n] for n in sorted(ranges)),
        hooks=tuple(hooks[n] for n in sorted(hooks)),
        raw=tuple(merger.raw.values()),
    )


def _in_table_order(merger: _Merger) -> list[tuple[_Found, Value]]:
    places = {(o.section, o.name): place for place, o in enumerate(OPTIONS)}
    keys = sorted(merger.values, key=lambda key: (places[key[:2]], key[2]))
    return [merger.values[key] for key in keys]


def _find(section: str, name: str, text: str, where: str) -> _Found | None:
    lower = name.lower()
    option = _BY_NAME.get((section, lower))
    if option is not None and not option.is_family:
        return _Found(option=option, number=0, text=text, where=where)
    stem, number = _numbered(lower)
    family = _BY_NAME.get((section, stem))
    if family is None or stem == lower or not family.is_family:
        return None
    return _Found(option=family, number=number, text=text, where=where)


def _numbered(name: str) -> tuple[str, int]:
    """Take a name apart from the number behind it; a name without one comes back as it is."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return (stem, int(digits)) if 0 < len(digits) < 10 else (name, 0)


def _is_known(section: str, name: str) -> bool:
    return _find(section, name, "", "") is not None


def _is_kept(section: str) -> bool:
    return section in OBSOLETE_SECTIONS or section == "DEFAULT" or is_logging(section)


def _spelled(found: _Found) -> str:
    stem = found.option.name.removesuffix("<n>")
    return f"{stem}{found.number}" if found.option.is_family else stem


def _name(found: _Found) -> str:
    return f"[{found.option.section}] {_spelled(found)}"


def _of(name: str, stem: str) -> bool:
    return name.removeprefix(stem).isdigit() or name == stem


def _quoted(path: str) -> str:
    from shlex import quote  # noqa: PLC0415  only a mistake pays for its import

    return quote(path)
