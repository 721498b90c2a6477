"""Render the templates that operators may edit; the text comes from outside, the values from us."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from tashictl.errors import InvalidRequest
from tashictl.model.network import Network

# What tells a file of ours from an operator's own, which is never overwritten.
IFUP_MARK = "# rendered by tashictl"
IFUP = "qemu-ifup.j2"
_PLACE = "<template>"


def ifup(template: str, network: Network, *, style: str = "ifupdown", host: str = "") -> str:
    """The text of ``/etc/qemu-ifup.<id>``; raises InvalidRequest for a bad template."""
    if network.bridge is None:
        raise InvalidRequest(
            "E-NETWORK",
            f"network {network.name} has no bridge",
            hint=f"add `bridge: NAME` to network {network.id} in the inventory",
        )
    what = f"network {network.name}" + (f" on {host}" if host else "")
    values = {"network": network, "style": style}
    text = fill(IFUP, template, values, what, host=host)
    return text if IFUP_MARK in text else _marked(text, f" for network {network.id}")


def fill(
    name: str,
    template: str,
    values: Mapping[str, object],
    what: str,
    *,
    host: str,
    trim: bool = False,
) -> str:
    """The text of a template; `trim` takes a line that holds nothing but a tag away.

    Raises InvalidRequest that names the template, its line and `what` it was rendered for.
    """
    # Only who renders pays for this import: a seventh of a command that reaches a host.
    import jinja2  # noqa: PLC0415
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415

    # Operators may edit templates: an undefined name is an error, no code can be reached from one.
    environment = SandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=trim,
        lstrip_blocks=trim,
    )
    try:
        return environment.from_string(template).render(values)
    except Exception as error:  # what an operator's template computes may raise anything
        line = getattr(error, "lineno", None) or _line_of(error.__traceback__)
        where = f", line {line}," if line else ""
        raise InvalidRequest(
            "E-TEMPLATE",
            f"template {name}{where} cannot be rendered for {what}",
            cause=str(error) or type(error).__name__,
            hint=f"the shipped {name} shows which values there are",
            host=host or None,
        ) from error


def _line_of(trace: TracebackType | None) -> int | None:
    """The line of the template that was reached last."""
    found = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _PLACE:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def marked(text: str) -> str:
    """The text with our mark, which an operator's template may lack."""
    if IFUP_MARK in text:
        return text
    return _marked(text, "") if text.startswith("#!") else f"{IFUP_MARK}\n{text}"


def _marked(text: str, more: str) -> str:
    first, _, rest = text.partition("\n")
    return f"{first}\n{IFUP_MARK}{more}\n{rest}"
