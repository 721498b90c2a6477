"""Updates of many names in few messages, and how those are found that do not go through.

A message is done as a whole or not at all, and its answer does not say which of its prerequisites
failed. There are two ways to do a thing ("it is free" and "it is ours already"), which one message
cannot hold; a group that goes neither way is halved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import dns.exception
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.update
from msgspec import Struct

from tashictl.adapters.dns import faults, forms
from tashictl.adapters.dns.link import Link
from tashictl.errors import InvalidRequest, OperationFailed, TashiError, Uncertain, Unreachable

GROUP = 200  # of about 150 bytes each: a message has at most 64 KiB

_FAILED_PREREQUISITES = frozenset(
    (dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.NXRRSET)
)


class Part(Struct, frozen=True, kw_only=True):
    """What an entry has in one zone: records of some kinds at a name, and its mark.

    `entry` is the number of the entry among those of the call.
    """

    entry: int
    zone: dns.name.Name
    name: dns.name.Name
    mark: dns.name.Name
    owner: dns.rdata.Rdata
    kinds: tuple[dns.rdatatype.RdataType, ...]
    data: tuple[dns.rdata.Rdata, ...]
    ttl_s: int


Way = Callable[[dns.update.UpdateMessage, Part], None]


def create(update: dns.update.UpdateMessage, part: Part) -> None:
    """Where nothing of any kind is at the name, nor a mark."""
    update.absent(part.name)
    update.absent(part.mark)
    for data in part.data:
        update.add(part.name, part.ttl_s, data)
    update.add(part.mark, part.ttl_s, part.owner)


def renew(update: dns.update.UpdateMessage, part: Part) -> None:
    """Where the mark is exactly ours: the records of these kinds become what they should be."""
    update.present(part.mark, part.owner)
    # Beside a CNAME a server drops what is added, and says that all is well.
    update.absent(part.name, dns.rdatatype.CNAME)
    for kind in part.kinds:
        update.delete(part.name, kind)
    for data in part.data:
        update.add(part.name, part.ttl_s, data)
    update.add(part.mark, part.ttl_s, part.owner)


def take_away(update: dns.update.UpdateMessage, part: Part) -> None:
    """Where the mark is exactly ours: these values and the mark go."""
    update.present(part.mark, part.owner)
    for data in part.data:
        update.delete(part.name, data)
    update.delete(part.mark, part.owner)


def gone(update: dns.update.UpdateMessage, part: Part) -> None:
    """Where there is no mark: nothing of ours is left, and nothing is done."""
    update.absent(part.mark, dns.rdatatype.TXT)


class Settling:
    """Does parts two ways, and keeps what became of the entries.

    `errors` has the first error of an entry, `touched` those of which something was done,
    `odd` the parts that went neither way. After a fault that the next message would meet as well
    nothing more is sent.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stop: TashiError | None = None
        self.errors: dict[int, TashiError] = {}
        self.touched: set[int] = set()
        self.odd: list[Part] = []

    def settle(self, parts: Iterable[Part], ways: tuple[Way, Way]) -> None:
        """Do all parts, some hundred of a zone in each message."""
        self.odd = []
        for group in _groups(parts):
            self._settle(group, ways)

    def _settle(self, group: Sequence[Part], ways: tuple[Way, Way]) -> None:
        for way in ways:
            try:
                done = self._send(group, way)
            except dns.exception.TooBig:
                if len(group) == 1:
                    self._fail(group, _too_big(group[0]))
                    return
                break
            except TashiError as error:
                self._fail(group, error)
                return
            if done:
                self.touched.update(part.entry for part in group)
                return
        if len(group) == 1:
            self.odd.append(group[0])
            return
        half = len(group) // 2
        self._settle(group[:half], ways)
        self._settle(group[half:], ways)

    def _send(self, group: Sequence[Part], way: Way) -> bool:
        """Whether the prerequisites held; raises our errors, and TooBig before it is sent."""
        if self._stop is not None:
            raise self._stop
        zone = group[0].zone
        update = dns.update.UpdateMessage(zone)
        for part in group:
            way(update, part)
        try:
            answer = self._link.update(update, forms.text_of(zone))
        except Uncertain as error:
            self._stop = faults.down(self._link.server, f"it did not answer before: {error.cause}")
            raise
        except (Unreachable, OperationFailed) as error:
            self._stop = error
            raise
        rcode = answer.rcode()
        if rcode in _FAILED_PREREQUISITES:
            return False
        if rcode != dns.rcode.NOERROR:
            server, key = self._link.server, self._link.key
            raise faults.answered(server, forms.text_of(zone), rcode, key)
        return True

    def _fail(self, group: Iterable[Part], error: TashiError) -> None:
        for part in group:
            self.fail(part, error)

    def fail(self, part: Part, error: TashiError) -> None:
        """Note why a part is not done: of an entry the first counts.

        Unreachable says of an entry that nothing was done. Where another part of it was, or may
        have been, that would be wrong.
        """
        unsent = isinstance(error, Unreachable) and not isinstance(error, Uncertain)
        if unsent and part.entry in self.touched:
            error = faults.partly(error, forms.text_of(part.name))
        self.errors.setdefault(part.entry, error)


def _groups(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Groups of one zone each. No name is in a group twice: both would find it free."""
    by_zone: dict[dns.name.Name, list[Part]] = {}
    for part in parts:
        by_zone.setdefault(part.zone, []).append(part)
    for waiting in by_zone.values():
        while waiting:
            group: list[Part] = []
            names: set[dns.name.Name] = set()
            later: list[Part] = []
            for part in waiting:
                full = len(group) == GROUP or part.name in names
                (later if full else group).append(part)
                names.add(part.name)
            yield group
            waiting = later


def _too_big(part: Part) -> InvalidRequest:
    return InvalidRequest(
        "E-DNS-NAME",
        f"{forms.text_of(part.name)} has more than a message can carry",
        cause=f"{len(part.data)} records",
    )
