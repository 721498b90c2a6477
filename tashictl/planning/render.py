"""Render the templates that operators may edit; the text comes from outside, the values from us."""

from __future__ import annotations

from tashictl.errors import InvalidRequest
from tashictl.model.network import Network

# What tells a file of ours from an operator's own, which is never overwritten.
IFUP_MARK = "# rendered by tashictl"


def ifup(template: str, network: Network) -> str:
    """The text of ``/etc/qemu-ifup.<id>``; raises InvalidRequest for a bad template."""
    if network.bridge is None:
        raise InvalidRequest(
            "E-NETWORK",
            f"network {network.name} has no bridge",
            hint=f"add `bridge: NAME` to network {network.id} in the inventory",
        )
    # Only who renders pays for this import: a seventh of a command that reaches a host.
    import jinja2  # noqa: PLC0415
    from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415

    # Operators may edit templates: an undefined name is an error, no code can be reached from one.
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    try:
        text = environment.from_string(template).render(network=network)
    except Exception as error:  # what an operator's template computes may raise anything
        raise InvalidRequest(
            "E-TEMPLATE",
            f"template qemu-ifup.j2 cannot be rendered for network {network.name}",
            cause=str(error),
        ) from error
    return text if IFUP_MARK in text else _marked(text, network)


def _marked(text: str, network: Network) -> str:
    """An operator's template may lack the line that says whose file it is."""
    first, _, rest = text.partition("\n")
    return f"{first}\n{IFUP_MARK} for network {network.id}\n{rest}"
