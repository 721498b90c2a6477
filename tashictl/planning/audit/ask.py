"""What a host is asked for an audit: neighbours, TAPs, QEMUs; and how its answer is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from tashictl.model.audit import HostSeen, Neighbour, QemuSeen
from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning.frames import sections
from tashictl.planning.shell import read_only

TIMEOUT_S = 30

# A QEMU is ours that uses our run folder, or that the database has there (an adopted one). A child
# that it is about to be replaced in has its words too: the parent tells that.
_LOOK = r"""
export OWN KNOWN
say B neighbours; ip -s -j neigh show 2>/dev/null || ip -j neigh show 2>/dev/null
say B taps
for f in /sys/class/net/tashi*; do [ ! -e "$f" ] || echo "${f##*/}"; done
say B folders
for d in "$LIB"/*-*-*-*-*/; do [ ! -d "$d" ] || { d=${d%/}; echo "${d##*/}"; }; done
say B qemus; [ -e /proc/1/stat ] || echo hidden
for p in $(grep -lsaF -e qemu -e kvm /proc/[0-9]*/cmdline | cut -d/ -f3); do
  { tr '\0' '\n' <"/proc/$p/cmdline"; } 2>/dev/null \
  | P="$p $({ sed 's/^.*) . //' "/proc/$p/stat" | cut -d' ' -f1; } 2>/dev/null)" awk '
  BEGIN { h = "[0-9a-f][0-9a-f]"; m = h ":" h ":" h ":" h ":" h ":" h }
  NR == 1 { sub(/.*\//, ""); if ($0 !~ /^(qemu-system-|qemu-kvm|kvm$)/) exit }
  { if (index($0, ENVIRON["OWN"])) ours = 1 }
  last ~ /^--?uuid$/ { uuid = tolower($0); if (index(ENVIRON["KNOWN"], " " uuid " ")) ours = 1 }
  last ~ /^--?(device|net|nic)$/ { l = tolower($0)
    while (match(l, "mac(addr)?\"?[:=] *\"?" m)) {
      macs = macs " " substr(l, RSTART + RLENGTH - 17, 17); l = substr(l, RSTART + RLENGTH) } }
  { last = $0 }
  END { if (ours && uuid != "") print ENVIRON["P"], uuid macs }'
done
"""
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_GONE = ("FAILED", "INCOMPLETE", "NOARP")


def script(settings: Settings, known: Iterable[str], nonce: str) -> Script:
    """The look; `known` are the uuids of VMs that the database has there. It changes nothing."""
    ours = settings.tashictl
    text = read_only(
        nonce,
        _LOOK,
        OWN=f"{ours.run_dir}/{ours.cluster_id}/",
        LIB=f"{ours.lib_dir}/{ours.cluster_id}",
        KNOWN=f" {' '.join(known)} ",
    )
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def read(out: bytes, nonce: str, host: str) -> HostSeen | None:
    """What a host answered; None when the answer is not whole."""
    found = sections(out, nonce)
    if not found or found[-1].kind != "Z":
        return None
    texts = {s.words[0]: s.text for s in found if s.kind == "B" and s.words}
    try:
        neighbours = tuple(_neighbours(json.loads(texts["neighbours"] or "[]")))
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    qemus = texts.get("qemus", "")
    return HostSeen(
        host=host,
        neighbours=neighbours,
        taps=tuple(texts.get("taps", "").split()),
        qemus=_qemus(qemus),
        folders=tuple(texts.get("folders", "").split()),
        hidden="hidden" in qemus.split(),
    )


def _neighbours(entries: Iterable[dict[str, Any]]) -> Iterable[Neighbour]:
    for entry in entries:
        if "lladdr" not in entry or any(s in _GONE for s in entry.get("state", ())):
            continue
        yield Neighbour(
            address=str(entry["dst"]),
            mac=str(entry["lladdr"]).lower(),
            device=str(entry.get("dev", "")),
            age_s=float(entry.get("confirmed", 0)),
        )


def _qemus(text: str) -> tuple[QemuSeen, ...]:
    """One for each VM: a child of a QEMU is no second one."""
    lines = [line.split() for line in text.splitlines()]
    rows = [w for w in lines if len(w) >= 3 and w[0].isdigit() and w[1].isdigit()]
    uuids = {words[0]: words[2] for words in rows}
    return tuple(
        QemuSeen(
            uuid=words[2],
            pid=int(words[0]),
            macs=tuple(dict.fromkeys(m for m in words[3:] if _MAC.fullmatch(m))),
        )
        for words in rows
        if uuids.get(words[1]) != words[2]
    )
