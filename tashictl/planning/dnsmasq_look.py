"""What lies in dnsmasq's folders: a read-only script, and how its answer is read."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence

from tashictl.model.naming import DnsmasqFolders, DnsmasqHost, DnsmasqName, owner_of
from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning.dnsmasq_text import FILES, WATCHERS
from tashictl.planning.frames import Section, sections
from tashictl.planning.shell import read_only

LOOK_S = 30
_MAC = re.compile(r"([0-9a-f]{1,2}-)?([0-9a-f]{1,2}(:[0-9a-f]{1,2}){5})")
_TIME = re.compile(r"infinite|ignore|[0-9]+[wdhms]?")
_KEYS = ("watcher", "pid")
_PID = re.compile(r"[0-9]{1,9}")

_LOOK = r"""
say B server
for p in $(watchers "$H" 2>/dev/null); do echo "watcher $p"; done
p=$(by_pid_file); [ -z "$p" ] || echo "pid $p"
! grep -lxsq dnsmasq /proc/[0-9]*/comm || echo running
[ ! -e "$H/.tashictl.hup" ] || echo due
for d in "$H" ${D:+"$D"}; do [ -d "$d" ] || echo "missing $d"; done
all() { files "$1" H | F=$1 awk '$1 == "F" { n = substr($0, 5); f = ENVIRON["F"] "/" n; print n "\t"
  while ((getline l <f) > 0) print n "\t" l
  close(f) }'; }
say B hosts; all "$H"
say B names; [ -z "$D" ] || all "$D"
"""


def listing(settings: Settings, nonce: str) -> Script:
    """The look at the folders; it changes nothing."""
    dhcp = settings.dhcp
    text = read_only(
        nonce,
        FILES + WATCHERS + _LOOK,
        H=dhcp.dnsmasq_leases_dir,
        D=dhcp.dnsmasq_names_dir,
        PID=dhcp.dnsmasq_pid_file,
    )
    return Script(text=text, nonce=nonce, changing=False, timeout_s=LOOK_S)


def read(out: bytes, nonce: str) -> DnsmasqFolders | None:
    """Read the answer; None when it is cut short."""
    found = sections(out, nonce)
    by_name = {s.words: s for s in found if s.kind == "B"}
    if (
        not found
        or found[-1].kind != "Z"
        or not {("server",), ("hosts",), ("names",)} <= {*by_name}
    ):
        return None
    server = [line.partition(" ") for line in by_name["server",].text.splitlines()]
    pids = {key: [int(v) for k, _, v in server if k == key and _PID.fullmatch(v)] for key in _KEYS}
    said = {key for key, _, _ in server}
    return DnsmasqFolders(
        hosts=tuple(_hosts(by_name["hosts",])),
        names=tuple(_names(by_name["names",])),
        watchers=tuple(pids["watcher"]),
        by_pid_file=pids["pid"][0] if pids["pid"] else None,
        running="running" in said,
        due="due" in said,
        missing=tuple(value for key, _, value in server if key == "missing"),
    )


def _hosts(section: Section) -> Iterator[DnsmasqHost]:
    for file, owner, line in _lines(section):
        yield _host(file, owner, [word.strip() for word in line.split(",")])


def _host(file: str, owner: str, words: Sequence[str]) -> DnsmasqHost:
    mac, name, addresses = "", "", []
    for word in words:
        if match := _MAC.fullmatch(word.lower()):
            mac = mac or ":".join(part.zfill(2) for part in match.group(2).split(":"))
        elif (address := _address(word.removeprefix("[").removesuffix("]"))) is not None:
            addresses.append(address)
        elif word and ":" not in word and not _TIME.fullmatch(word):
            name = word.lower()
    return DnsmasqHost(
        file=file,
        owner=owner,
        mac=mac,
        addresses=tuple(addresses),
        name=name,
        tagged=any(word.startswith("set:") for word in words),
    )


def _names(section: Section) -> Iterator[DnsmasqName]:
    for file, owner, line in _lines(section):
        first, *others = line.partition("#")[0].split() or [""]
        address = _address(first)
        if address is None:
            continue
        for name in others:
            plain = name.lower().rstrip(".")
            yield DnsmasqName(file=file, owner=owner, address=address, name=plain)


def _lines(section: Section) -> Iterator[tuple[str, str, str]]:
    """Each line that is no comment, with its file and that file's owner."""
    file, owner, first = "", "", False
    # Not splitlines: a file of somebody else may have anything in its lines.
    for text in section.text.split("\n"):
        name, tab, line = text.partition("\t")
        if not tab:
            continue
        if not line and name != file:
            file, owner, first = name, "", True
        elif name == file and line.startswith("#"):
            if first and owner_of(line.removeprefix("# ")) is not None:
                owner = line.removeprefix("# ")
            first = False
        elif name == file:
            first = False
            if line.strip():
                yield file, owner, line


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
