"""A DNS server that takes dynamic updates, by dnspython."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import dns.name

from tashictl.adapters.dns import batches, faults, forms, keys, questions
from tashictl.adapters.dns.batches import Part, Settling
from tashictl.adapters.dns.link import Link
from tashictl.errors import InvalidRequest, OperationFailed, TashiError
from tashictl.model.naming import DnsEntry, DnsRecord
from tashictl.model.settings import DnsSettings


class DnsServer:
    """The server of the settings; see `ops.ports_names.Dns`.

    A call has one connection, which it closes. Raises InvalidRequest E-DNS-SERVER, E-DNS-KEY,
    E-DNS-NAME where the settings do not do.
    """

    def __init__(self, settings: DnsSettings) -> None:
        if settings.server is None:
            raise InvalidRequest(
                "E-DNS-SERVER",
                "no DNS server is known",
                cause="[DhcpDns] dnsServer is not set",
                hint="dnsServer, dnsDomain and dnsKeyFile in the configuration",
            )
        self._server = settings.server
        self._timeout_s = settings.timeout_s
        self._key = keys.load(settings)
        self._zones = questions.Zones(settings.zones)

    def add(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Register, forward before reverse; an entry that fails in between is done in part."""
        with self._link() as link:
            settling = Settling(link)
            parts = self._parts(entries, settling, link, adds=True)
            for reverse in (False, True):
                left = [
                    part
                    for part in parts
                    if (part.kinds == forms.PTR_KINDS) == reverse
                    and part.entry not in settling.errors
                ]
                settling.settle(left, (batches.create, batches.renew))
                self._name_what_stands(settling, entries, link)
        return [settling.errors.get(number) for number in range(len(entries))]

    def remove(self, entries: Sequence[DnsEntry]) -> list[TashiError | None]:
        """Remove, reverse before forward, both as far as it goes.

        A reverse zone that the server does not have holds nothing of ours.
        """
        with self._link() as link:
            settling = Settling(link)
            parts = self._parts(entries, settling, link, adds=False)
            for reverse in (True, False):
                left = [part for part in parts if (part.kinds == forms.PTR_KINDS) == reverse]
                settling.settle(left, (batches.take_away, batches.gone))
                self._name_what_stays(settling, entries, link)
        return [settling.errors.get(number) for number in range(len(entries))]

    def zone_of(self, name: str) -> str:
        """The zone in which a name lies."""
        with self._link() as link:
            zone = self._zones.of(forms.name_of(name), link)
        if zone is None:
            raise faults.refused_zone(self._server, name)
        return forms.text_of(zone)

    def records(self, zone: str) -> tuple[DnsRecord, ...]:
        """All records of a zone, but for the SOA record that ends a transfer."""
        with self._link() as link:
            return tuple(questions.transfer(forms.name_of(zone), link))

    def lookup(self, names: Sequence[str]) -> tuple[DnsRecord, ...]:
        """The records of some names; raises OperationFailed E-DNS-ZONE where one is in no zone."""
        asked = list(dict.fromkeys(forms.name_of(name) for name in names))
        found: list[DnsRecord] = []
        with self._link() as link:
            self._zones.of_each(asked, link)
            zones = {name: self._zones.known(name) or self._zones.of(name, link) for name in asked}
            for name, zone in zones.items():
                if zone is None:
                    raise faults.refused_zone(self._server, forms.text_of(name))
            for one in questions.standing(asked, link):
                zone = zones[one.name]
                assert zone is not None
                for rrset in one.rrsets:
                    found += forms.records_of(forms.text_of(zone), rrset)
        return tuple(found)

    # helpers

    def _link(self) -> Link:
        return Link(self._server, self._key, self._timeout_s)

    def _parts(
        self, entries: Sequence[DnsEntry], settling: Settling, link: Link, *, adds: bool
    ) -> list[Part]:
        """What is to be done; nothing of an entry whose names or zones do not do."""
        names: dict[int, list[tuple[dns.name.Name, str]]] = {}
        for number, entry in enumerate(entries):
            try:
                names[number] = list(_names(entry))
            except InvalidRequest as error:
                settling.errors[number] = error
        try:
            self._zones.of_each((name for each in names.values() for name, _ in each), link)
        except TashiError as error:
            for number in names:
                settling.errors[number] = error
            return []
        found: list[Part] = []
        for number, each in names.items():
            try:
                found += list(self._parts_of(number, entries[number], each, adds=adds))
            except (InvalidRequest, OperationFailed) as error:
                settling.errors[number] = error
        return found

    def _parts_of(
        self,
        number: int,
        entry: DnsEntry,
        names: Iterable[tuple[dns.name.Name, str]],
        *,
        adds: bool,
    ) -> Iterator[Part]:
        addresses = tuple(forms.address_data(address) for address in entry.addresses)
        own = forms.name_of(entry.name)
        for name, address in names:
            zone = self._zones.known(name)
            if zone is None:
                if address and not adds:
                    continue
                raise faults.refused_zone(
                    self._server, address or entry.name, reverse=bool(address)
                )
            yield Part(
                entry=number,
                zone=zone,
                name=name,
                mark=forms.mark_name(name),
                owner=forms.text_data(entry.owner),
                kinds=forms.PTR_KINDS if address else forms.ADDRESS_KINDS,
                data=(forms.pointer_data(own),) if address else addresses,
                ttl_s=entry.ttl_s,
            )

    def _name_what_stands(
        self, settling: Settling, entries: Sequence[DnsEntry], link: Link
    ) -> None:
        """Say of each part that is somebody else's what stands there."""
        there = _shown([n for part in settling.odd for n in (part.name, part.mark)], link)
        for part in settling.odd:
            seen = None
            if there is not None:
                both = (*there[part.name], *there[part.mark])
                seen = [f"{one.name} {one.kind} {one.value}" for one in both]
            name, owner = forms.text_of(part.name), entries[part.entry].owner
            settling.fail(part, faults.foreign(self._server, name, seen, owner))

    def _name_what_stays(self, settling: Settling, entries: Sequence[DnsEntry], link: Link) -> None:
        """What has another mark is not ours; ours with something beside it needs a hand."""
        there = _shown([part.mark for part in settling.odd], link) or {}
        for part in settling.odd:
            marks = [one.value for one in there.get(part.mark, ()) if one.kind == "TXT"]
            if entries[part.entry].owner in marks:
                mark = forms.text_of(part.mark)
                settling.fail(part, faults.not_alone(self._server, mark, marks))


def _names(entry: DnsEntry) -> Iterator[tuple[dns.name.Name, str]]:
    """The names of an entry, each with its address; that of itself with none."""
    if entry.forward:
        yield forms.name_of(entry.name), ""
    if entry.reverse:
        for address in entry.addresses:
            yield forms.reverse_name(address), address


def _shown(
    names: Sequence[dns.name.Name], link: Link
) -> dict[dns.name.Name, list[DnsRecord]] | None:
    """What stands at names, None where that cannot be found out: something else is told then."""
    try:
        return {
            one.name: [r for rrset in one.rrsets for r in forms.records_of("", rrset)]
            for one in questions.standing(names, link)
        }
    except TashiError:
        return None
