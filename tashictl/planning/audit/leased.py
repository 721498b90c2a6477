"""dhcpd's files on its host: the script that reads them, and the hosts that they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from tashictl.model.audit import DhcpHost
from tashictl.model.leases import HostRecord
from tashictl.model.script import Script
from tashictl.model.settings import Settings
from tashictl.planning import leases, naming
from tashictl.planning.frames import sections
from tashictl.planning.shell import read_only

TIMEOUT_S = 60

# What dhcpd.conf includes is read as well, but not what those files include.
_LOOK = r"""
[ -r "$LEASES" ] || die "$LEASES: not there, or not to be read"
say B leases; cat "$LEASES" || exit 1
say B conf; [ ! -r "$CONF" ] || { cat "$CONF"
  sed -n 's/^[^#"]*include[ \t]*"\([^"]*\)".*/\1/p' "$CONF" \
  | while read -r f; do [ ! -r "$f" ] || { echo; cat "$f"; }; done; }
"""


def script(settings: Settings, nonce: str) -> Script:
    """The look at both files; it changes nothing."""
    dhcp = settings.dhcp
    text = read_only(nonce, _LOOK, LEASES=dhcp.leases_file, CONF=dhcp.conf_file)
    return Script(text=text, nonce=nonce, changing=False, timeout_s=TIMEOUT_S)


def read(out: bytes, nonce: str) -> tuple[DhcpHost, ...] | None:
    """The hosts that dhcpd has; None when the answer is not whole."""
    found = sections(out, nonce)
    texts = {s.words[0]: s.text for s in found if s.kind == "B" and s.words}
    if not found or found[-1].kind != "Z" or not {"leases", "conf"} <= texts.keys():
        return None
    file, conf = leases.read_leases(texts["leases"]), leases.read_conf(texts["conf"])
    # Over OMAPI hosts of dhcpd.conf can be removed as well: then the leases file says so.
    static = [host for host in conf.hosts if host.name not in file.deleted]
    return (*_hosts(file.hosts, fixed=False), *_hosts(static, fixed=True))


def _hosts(records: Iterable[HostRecord], *, fixed: bool) -> Iterator[DhcpHost]:
    for record in records:
        yield DhcpHost(
            driver=naming.OMAPI,
            name=record.name,
            mac=record.mac,
            addresses=tuple(a for a in record.addresses if _is_address(a)),
            owner=record.owner,
            fixed=fixed,
        )


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
