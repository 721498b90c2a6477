"""Measured values in the forms of those who collect them: OpenMetrics text, Ganglia's values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from tashictl.planning import metrics

_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_STAMP = "sample_timestamp_seconds"


class Measured(Struct, frozen=True, kw_only=True):
    """The newest values of a VM or host; `of` is ``vm`` or ``host``.

    `host` is where the VM is, `user` its owner; `at_s` since 1970.
    """

    of: str
    subject: str
    name: str
    host: str | None = None
    user: str = ""
    at_s: float
    values: Mapping[str, float]

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """What tells it from others in OpenMetrics."""
        if self.of == metrics.HOST:
            return (("host", self.name),)
        return (("vm", self.name), ("host", self.host or ""), ("user", self.user))


class Value(Struct, frozen=True, kw_only=True):
    """One value for Ganglia: `host` is the machine that it is told of, "" for none."""

    name: str
    value: float
    unit: str
    host: str


class _Family:
    def __init__(self, about: str, base: str) -> None:
        self.about = about
        self.base = base
        self.lines: list[str] = []


def openmetrics(found: Iterable[Measured], *, stamped: bool) -> str:
    """OpenMetrics 1.0 text, which is Prometheus' own form too when it is not `stamped`.

    node_exporter's textfile collector refuses timestamps; the time of each sample is a metric of
    its own in any case.
    """
    families: dict[str, _Family] = {}
    for one in found:
        stamp = f" {one.at_s:.3f}" if stamped else ""
        for name in sorted(one.values, key=lambda n: metrics.order_of(one.of, n)):
            known = metrics.find(one.of, name)
            if known is None:
                continue
            metric = known.metric
            value = one.values[name] * metric.scale
            if not math.isfinite(value):
                continue
            labels = one.labels + (((metric.label, known.label),) if metric.label else ())
            family = families.setdefault(known.exported, _Family(metric.about, metric.base))
            written = _number(value)
            family.lines.append(f"{known.exported}{_labels(labels)} {written}{stamp}")
        name = f"tashictl_{one.of}_{_STAMP}"
        family = families.setdefault(name, _Family("when it was measured last", "seconds"))
        family.lines.append(f"{name}{_labels(one.labels)} {one.at_s:.3f}{stamp}")
    lines: list[str] = []
    for name, family in families.items():
        lines += [f"# TYPE {name} gauge"]
        lines += [f"# UNIT {name} {family.base}"] if family.base else []
        lines += [f"# HELP {name} {family.about.translate(_ESCAPES)}", *family.lines]
    return "".join(f"{line}\n" for line in [*lines, "# EOF"])


def ganglia(found: Iterable[Measured], names: Sequence[str], *, spoofed: bool) -> list[Value]:
    """The values for gmetric: of a host by its name, of a VM as ``vm_<vm>_<name>``.

    Not `spoofed`, all are told of this machine, so a host's get ``host_<host>_`` in front. `names`
    chooses; none are all.
    """
    values: list[Value] = []
    for one in found:
        of_host = one.of == metrics.HOST
        prefix = "" if of_host and spoofed else f"{one.of}_{one.name}_"
        host = (one.name if of_host else one.host or "") if spoofed else ""
        values += [
            Value(
                name=f"{prefix}{name}",
                value=one.values[name],
                unit=metrics.unit_of(one.of, name),
                host=host,
            )
            for name in sorted(one.values, key=lambda n: metrics.order_of(one.of, n))
            if not names or name in names
        ]
    return values


def _labels(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in pairs) + "}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
