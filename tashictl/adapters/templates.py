"""Find the templates that operators may edit."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import tashictl
from tashictl.adapters import files
from tashictl.errors import InvalidRequest

_CHECKOUT = Path(tashictl.__file__).parents[1] / "templates"
_INSTALLED = Path(sys.prefix) / "share" / "tashictl" / "templates"


HOSTS = "hosts"  # below the cluster's templates: a folder for each host that has its own


def own_folders(cluster: Path, host: str = "") -> list[Path]:
    """Where a cluster's own templates lie: those of the host first."""
    common = cluster / "templates"
    return [common / HOSTS / host, common] if host else [common]


def of_hosts(name: str, cluster: Path) -> dict[str, str]:
    """The text of a template for each host that has one of its own; raises InvalidRequest."""
    folder = cluster / "templates" / HOSTS
    having = [folder / host for host in files.names_in(str(folder))]
    return {f.name: read(name, [f]) for f in having if (f / name).is_file()}


def read(name: str, own: Iterable[Path]) -> str:
    """The text of a template: first from the folders `own`, then the one that came with tashictl.

    Found in a checkout, in an editable install and in a wheel. Raises InvalidRequest.
    """
    searched = [*own, _CHECKOUT, _INSTALLED]
    for folder in searched:
        path = folder / name
        if path.is_file():
            try:
                return path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidRequest(
                    "E-TEMPLATE", f"template {path} cannot be read", cause=str(error)
                ) from error
    raise InvalidRequest(
        "E-TEMPLATE",
        f"no template {name}",
        cause="looked in " + ", ".join(str(f) for f in searched),
        hint="reinstall tashictl",
    )
