"""The text of one configuration option -> its typed value, and back for people, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Callable

from tashictl.model import names, units
from tashictl.model.settings import IpRange, PortRange, Secret, Server
from tashictl.planning.config_options import Kind, Option
from tashictl.planning.nearest import suggestion

Value = str | int | float | bool | None | tuple[str, ...] | Server | Secret | IpRange | PortRange

MASK = "***"
_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_CLUSTER_ID = re.compile(r"[0-9a-f]{12}")
_PORTS = re.compile(r"([0-9]{1,5})\s*-\s*([0-9]{1,5})")
_VERSION = re.compile(r"[0-9]+(\.[0-9]+){0,3}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
# The argument of ldapsearch -w, also after other letters (-xw) or without a space; what cannot be
# taken apart is masked to its end.
_LDAP_PASSWORD = re.compile(
    r"(?<!\S)(-[A-Za-z]*?w)\s*(?:(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.|[^\s'\"\\])+(?!\S)|.+)",
    re.DOTALL,
)
_URI_PASSWORD = re.compile(r"(://[^/@]*?):.*@", re.DOTALL)


def read(option: Option, text: str, number: int | None = None) -> Value:
    """Read `text` as `option`'s kind; `number` is that of a family. Raises ValueError.

    Empty text never comes here: it means the default.
    """
    if "\0" in text:
        raise ValueError("it holds a NUL")
    value = _READERS[option.kind](option, text)
    if isinstance(value, IpRange):
        return IpRange(network=number or 0, first=value.first, last=value.last)
    return value


def has_password(option: Option, text: str) -> bool:
    """Whether a value holds a password that it need not: ldapCommand -w, a URI's user:password."""
    pattern = {"users.ldap_command": _LDAP_PASSWORD, "sql.uri": _URI_PASSWORD}.get(option.field)
    return pattern is not None and pattern.search(text) is not None


def show(option: Option, value: object) -> str:
    """A value as the configuration writes it, with every secret masked."""
    if isinstance(value, Secret):
        if option.field == "users.ldap_command":
            return _LDAP_PASSWORD.sub(rf"\1 {MASK}", value.value)
        return _URI_PASSWORD.sub(rf"\1:{MASK}@", value.value) if option.name == "uri" else MASK
    if isinstance(value, IpRange):
        return f"{value.first}-{value.last}"
    if isinstance(value, tuple):
        return ", ".join(str(v) for v in value)
    if isinstance(value, float):
        return f"{value:g}" if value < 1e6 else repr(value)
    return "" if value is None else str(value)


def _int(option: Option, text: str) -> int | None:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"{text!r} is no whole number")
    value = _in_limits(option, int(text))
    # Tashi's defaultNetwork 0 means that none was chosen.
    return None if option.field == "cluster.default_network" and value == 0 else value


def _memory(option: Option, text: str) -> int:
    return _in_limits(option, units.memory_mib(text))


def _seconds(_: Option, text: str) -> float:
    value = units.seconds(text)
    if value > 1e9:
        raise ValueError(f"{text!r} is longer than 30 years")
    return value


def _whole_seconds(option: Option, text: str) -> int:
    value = _seconds(option, text)
    if value != int(value):
        raise ValueError(f"{text!r} is no whole number of seconds")
    return int(value)


def _in_limits(option: Option, value: int) -> int:
    if option.low is not None and value < option.low:
        raise ValueError(f"{value} is less than {option.low}")
    if option.high is not None and value > option.high:
        raise ValueError(f"{value} is more than {option.high}")
    return value


def _bool(_: Option, text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither True nor False") from None


def _choice(option: Option, text: str) -> str:
    if text not in option.choices:
        raise ValueError(f"{text!r}: {suggestion(text, option.choices)}")
    return text


def _class(option: Option, text: str) -> str:
    if _CLASS.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no class name")
    last = text.rpartition(".")[2]
    if option.choices and last not in option.choices:
        raise ValueError(f"{text!r}: {suggestion(last, option.choices)}")
    # Hooks and publishers of the site keep their whole name.
    return last if option.choices or text.startswith("tashi.") else text


def _versions(_: Option, text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in found:
        if _VERSION.fullmatch(part) is None:
            raise ValueError(f"{part!r} is no version")
    return found


def _names(_: Option, text: str) -> tuple[str, ...]:
    found = tuple(part.strip().rstrip(".").lower() for part in text.split(",") if part.strip())
    for name in found:
        if not names.is_domain(name):
            raise ValueError(f"{name!r} is no domain name")
    return found


def _mac_prefix(_: Option, text: str) -> str:
    prefix = text.lower()
    if re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){2,3}", prefix) is None:
        raise ValueError(f"{text!r} is not three or four bytes of a MAC address")
    if int(prefix[:2], 16) & 1:
        raise ValueError(f"{text!r} is multicast")
    return prefix


def _server(option: Option, text: str) -> Server:
    host, *rest = text.split()
    port = rest[0] if len(rest) == 1 else str(option.port) if not rest else ""
    if _HOST.fullmatch(host) is None or not port:
        raise ValueError(f"{text!r} is not 'host' or 'host port'")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"port {port!r} is not within 1 and 65535")
    return Server(host=host, port=int(port))


def _path(_: Option, text: str) -> str:
    if not text.startswith("/") or "\n" in text or ".." in text.split("/"):
        raise ValueError(f"{text!r} is no absolute path without ..")
    return text.rstrip("/") or "/"


def _text(_: Option, text: str) -> str:
    return " ".join(text.split("\n"))


def _secret(option: Option, text: str) -> Secret:
    return Secret(_text(option, text))


def _range(_: Option, text: str) -> IpRange:
    first, last = ip_range(text)
    return IpRange(network=0, first=first, last=last)


def _ports(_: Option, text: str) -> PortRange:
    match = _PORTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not first-last")
    first, last = int(match[1]), int(match[2])
    if not 1024 <= first <= last <= 65535:
        raise ValueError(f"{text!r} does not rise within 1024 and 65535")
    return PortRange(first=first, last=last)


def _cluster_id(_: Option, text: str) -> str:
    if _CLUSTER_ID.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not 12 hex digits")
    return text


def ip_range(text: str) -> tuple[str, str]:
    """Read ``first-last``, both ends IPv4 or both IPv6; returns normal forms. Raises ValueError."""
    from ipaddress import ip_address  # noqa: PLC0415  4 ms that only a range pays for

    first_text, dash, last_text = (part.strip() for part in text.partition("-"))
    if not dash:
        raise ValueError(f"{text!r} is not first-last")
    first, last = ip_address(first_text), ip_address(last_text)
    if first.version != last.version:
        raise ValueError(f"{text!r} mixes IPv4 and IPv6")
    if int(first) > int(last):
        raise ValueError(f"{text!r} runs backwards")
    return str(first), str(last)


def _unused(_: Option, text: str) -> str:
    return text


_READERS: dict[Kind, Callable[[Option, str], Value]] = {
    Kind.INT: _int,
    Kind.SECONDS: _seconds,
    Kind.WHOLE_SECONDS: _whole_seconds,
    Kind.MEMORY: _memory,
    Kind.BOOL: _bool,
    Kind.CHOICE: _choice,
    Kind.CLASS: _class,
    Kind.VERSIONS: _versions,
    Kind.NAMES: _names,
    Kind.MAC_PREFIX: _mac_prefix,
    Kind.SERVER: _server,
    Kind.PATH: _path,
    Kind.FILE: _text,
    Kind.TEXT: _text,
    Kind.SECRET: _secret,
    Kind.RANGE: _range,
    Kind.PORTS: _ports,
    Kind.CLUSTER_ID: _cluster_id,
    Kind.OBSOLETE: _unused,
}
