"""Answers of hosts of the lab, with parts of them changed."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tashictl.model.host import HostConfig
from tashictl.model.network import Network
from tashictl.model.settings import Settings, TashictlSettings
from tashictl.model.vm import Vm
from tashictl.planning import render, requirements
from tashictl.planning.doctor import host, probe, reading
from tashictl.planning.doctor.findings import Finding, Severity
from tashictl.planning.doctor.reading import Examined
from tashictl.planning.doctor.subject import Subject

GOLDEN = Path(__file__).parents[1] / "golden" / "doctor"  # captured on a host of the lab
TEMPLATE = (Path(__file__).parents[3] / "templates" / "qemu-ifup.j2").read_text()
NONCE = "00112233aabbccdd"
LAN = Network(id=1, name="lan", bridge="vmbr", default=True)
TAGGED = Network(id=999, name="cluster", vlan=999, bridge="vmbr.999")
SETTINGS = Settings(tashictl=TashictlSettings(cluster_id="0123456789ab"))
IFUP = render.ifup(TEMPLATE, LAN)


def out(name: str = "dash", **parts: str) -> bytes:
    """A golden answer; `parts` replace the text of sections."""
    text = (GOLDEN / f"{name}.txt").read_text()
    for section, new in parts.items():
        what = section.replace("_", " ")
        pattern = re.compile(rf"(\n@{NONCE} B {what}\n).*?(?=\n@{NONCE} )", re.DOTALL)
        text, found = pattern.subn(lambda m, new=new: f"{m[1]}{new}\n", text)
        assert found == 1, what
    return text.encode()


def clock_of(answer: bytes) -> datetime:
    """The host's clock at the end of an answer."""
    return datetime.fromtimestamp(int(answer.split(b"B clock\ntime ")[1].split()[0]), UTC)


def read(name: str = "dash", **parts: str) -> Examined:
    """What is read of an answer, at the host's own time."""
    answer = out(name, **parts)
    seen = reading.read(answer, NONCE, clock_of(answer))
    assert seen is not None
    return seen


def subject(
    *networks: Network,
    vms: tuple[Vm, ...] = (),
    settings: Settings = SETTINGS,
    asked_s: float = 0.0,
    added: bool = True,
    **config: Any,
) -> Subject:
    """A host with an uplink."""
    usual = {"name": "h1", "address": "10.0.0.1", "uplink": "trunk0"}
    carried = networks or (LAN,)
    return Subject(
        place=requirements.place(HostConfig(**{**usual, **config}), settings, carried),
        vms=vms,
        ifups={n.id: render.ifup(TEMPLATE, n) for n in probe.wired(carried)},
        asked_s=asked_s,
        added=added,
    )


def found(seen: Examined, at: Subject) -> dict[str, Finding]:
    """The findings by id, and by ``id/subject`` where an id has several."""
    every = host.findings(seen, at)
    keys = [f.key for f in every]
    assert len(set(keys)) == len(keys), keys
    by_id: dict[str, Finding] = {}
    for finding in every:
        by_id.setdefault(finding.id, finding)
        by_id[f"{finding.id}/{finding.subject}"] = finding
    assert all(f.evidence for f in every)
    assert all(f.remedy for f in every if f.severity in (Severity.WARNING, Severity.ERROR))
    return by_id


def unwell(seen: Examined, at: Subject) -> list[str]:
    """The ids of what is a warning or an error."""
    bad = (Severity.WARNING, Severity.ERROR)
    return [f.id for f in host.findings(seen, at) if f.severity in bad]


def link(name: str, **values: Any) -> dict[str, Any]:
    """An interface as ``ip -j -d addr show`` has it; up, with 1500 bytes."""
    kind = values.pop("kind", "")
    info: dict[str, Any] = {"info_kind": kind} if kind else {}
    if "vlan" in values:
        info = {"info_kind": "vlan", "info_data": {"protocol": "802.1Q", "id": values.pop("vlan")}}
    if values.pop("vlan_aware", False):
        info = {"info_kind": "bridge", "info_data": {"vlan_filtering": 1}}
    usual = {"ifname": name, "flags": ["BROADCAST", "UP", "LOWER_UP"], "mtu": 1500}
    local = [{"family": "inet", "local": a, "prefixlen": 24} for a in values.pop("addresses", ())]
    return {**usual, **values, **({"linkinfo": info} if info else {}), "addr_info": local}


def links(*entries: dict[str, Any]) -> str:
    """The section of interfaces."""
    return json.dumps(list(entries))


def lan(**port: Any) -> list[dict[str, Any]]:
    """A bridge vmbr with its uplink; `port` changes the uplink."""
    return [link("vmbr", kind="bridge"), link("trunk0", **{"master": "vmbr", **port})]
