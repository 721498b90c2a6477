"""Prove that the servers of names and addresses do what networks need; a probe comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address

from tashictl.errors import OperationFailed, TashiError, Uncertain
from tashictl.model.host import HostConfig
from tashictl.model.naming import Deferred, DnsEntry, DnsmasqFolders
from tashictl.model.network import Network
from tashictl.model.script import Reply, Script
from tashictl.model.state import State
from tashictl.ops import answers, naming, naming_dnsmasq
from tashictl.ops.context import Context, iso
from tashictl.ops.ports import World
from tashictl.ops.ports_names import Dns
from tashictl.planning import dnsmasq_look, leases, pool
from tashictl.planning import naming as plan
from tashictl.planning.net import verify_dhcp, verify_names
from tashictl.planning.net.standing import UNKNOWN, Row
from tashictl.planning.net.verify_dhcp import Held
from tashictl.planning.net.verify_names import Tried

_SLACK_S = 15.0


def rows(
    world: World, context: Context, networks: Iterable[Network], *, dry: bool = False
) -> list[Row]:
    """What is right and wrong about names and addresses of these networks.

    In a dry run no name is registered.
    """
    look = _Look(world, context, dry=dry)
    found: list[Row] = []
    for network in networks:
        found += verify_names.range_rows(network)
        found += look.dns(network)
        found += look.dhcp(network)
    return found


class _Look:
    """One round: what was asked of a server for one network holds for the next one too."""

    def __init__(self, world: World, context: Context, *, dry: bool) -> None:
        self._world = world
        self._context = context
        self._dry = dry
        self._state: State = world.store.read()
        self._tried: dict[str, Tried] = {}
        self._omapi: list[TashiError | None] = []
        self._text: str | TashiError | None = None
        self._folders: DnsmasqFolders | TashiError | None = None

    # DNS

    def dns(self, network: Network) -> Iterator[Row]:
        settings = self._context.settings
        domain = plan.domain(network, settings)
        if not domain:
            return
        if domain not in self._tried:
            entry = verify_names.probe(domain, settings, self._world.dice.nonce())
            self._tried[domain] = self._try(entry, entry.name)
        tried = self._tried[domain]
        yield from verify_names.dns_rows(network, tried)
        if tried.failed is not None or not settings.dns.reverse:
            return
        for v6 in (False, True):
            if network.range6 if v6 else network.range:
                yield from self._reverse(network, domain, tried.server, v6=v6)

    def _reverse(self, network: Network, domain: str, server: str, *, v6: bool) -> Iterator[Row]:
        address = self._free(network, v6=v6)
        if not address:
            yield verify_names.no_address(network, server)
            return
        nonce = self._world.dice.nonce()
        entry = verify_names.probe(domain, self._context.settings, nonce, address, reverse=True)
        tried = self._try(entry, ip_address(address).reverse_pointer)
        yield from verify_names.reverse_rows(network, tried)

    def _free(self, network: Network, *, v6: bool) -> str:
        """An address that no VM has: the last one, which a creation takes last."""
        now, context = iso(self._world.clock.now()), self._context
        picture = context.picture(self._state, now)
        taken = pool.held(network, picture.cluster, picture.quarantine, picture.deferred)
        return pool.choose(network, context.inventory, taken, v6=v6, turn=-1)

    def _try(self, entry: DnsEntry, name: str) -> Tried:
        """Put a name and take it away again, whatever happens in between."""
        settings = self._context.settings.dns
        server = settings.server.host if settings.server is not None else ""
        zone, failed, stays = "", None, None
        try:
            dns = self._world.names.dns(settings)
            zone = dns.zone_of(name)
            if not self._dry:
                failed, stays = self._put(dns, entry)
        except TashiError as error:
            failed = error
        return Tried(
            server=server, entry=entry, zone=zone, failed=failed, stays=stays, dry=self._dry
        )

    def _put(self, dns: Dns, entry: DnsEntry) -> tuple[TashiError | None, TashiError | None]:
        failed: TashiError | None = None
        stays: TashiError | None = None
        try:
            failed = dns.add([entry])[0]
        finally:
            # Also after Ctrl-C, and after an answer that did not come: it may be there.
            if failed is None or not naming.is_unsent(failed):
                stays = dns.remove([entry])[0]
                if _refused_both(failed, stays):
                    stays = None
                elif stays is not None:
                    self._later(entry, stays)
        return failed, stays

    def _later(self, entry: DnsEntry, why: TashiError) -> None:
        """The sweep removes it when the server can be had."""
        since = iso(self._world.clock.now())
        work = Deferred(entry=entry, add=False, since=since, why=naming.line(why))
        with self._world.store.transaction() as tx:
            tx.put_deferred(work)

    # DHCP

    def dhcp(self, network: Network) -> Iterator[Row]:
        match network.dhcp:
            case plan.OMAPI:
                yield from self._dhcpd(network)
            case plan.DNSMASQ:
                yield from self._dnsmasq(network)
            case plan.KEA:
                yield verify_names.row(network, "", "dhcp", UNKNOWN, "kea cannot be asked yet")
            case _:
                return

    def _dhcpd(self, network: Network) -> Iterator[Row]:
        settings = self._context.settings.dhcp
        server = settings.server.host if settings.server is not None else ""
        self._omapi = self._omapi or [self._ask_omapi()]
        yield from verify_dhcp.omapi_rows(network, server, self._omapi[0])
        yield from self._conf(network, server)

    def _ask_omapi(self) -> TashiError | None:
        name = f"tashictl-probe-{self._world.dice.nonce()}"
        try:
            with naming.omapi(self._world, self._context) as omapi:
                omapi.lookup(name)
        except TashiError as error:
            return error
        return None

    def _conf(self, network: Network, server: str) -> Iterator[Row]:
        settings = self._context.settings.dhcp
        host = naming.server_host(self._context, settings.server) if settings.server else None
        if host is None:
            why = "the server is no host of the inventory: its file was not read"
            hint = "the server as a host of the inventory, to have pools and hosts checked"
            yield verify_dhcp.unread(network, server, why, hint)
            return
        text = self._text = self._text or self._read_conf(host)
        if isinstance(text, TashiError):
            why, hint = verify_names.fact(text), text.hint or ""
            yield verify_dhcp.unread(network, server, why, hint)
            return
        conf = leases.read_conf(text)
        yield from verify_dhcp.conf_rows(network, server, conf, self._held(network))

    def _held(self, network: Network) -> Held:
        context = self._context
        nics = [nic for vm in self._state.vms.values() for nic in vm.spec.nics]
        return Held(
            kept_out=tuple(pool.shut(network, context.inventory, v6=False)),
            ours=frozenset((nic.mac, a) for nic in nics for a in nic.addresses),
            lease_s=context.settings.dhcp.lease_s,
            domain=plan.domain(network, context.settings),
        )

    def _read_conf(self, host: HostConfig) -> str | TashiError:
        """The text of dhcpd.conf, not empty; else why it was not had."""
        settings = self._context.settings.dhcp
        try:
            script, reply = self._run(host, lambda nonce: verify_dhcp.conf_script(settings, nonce))
        except TashiError as error:
            return error
        return verify_dhcp.conf_text(reply.out, script.nonce) or OperationFailed(
            "E-DHCP-CONF",
            f"{settings.conf_file} on {host.name} cannot be read",
            hint="[DhcpDns] dhcpConf is its path there, and the login must be let read it",
        )

    def _dnsmasq(self, network: Network) -> Iterator[Row]:
        settings = self._context.settings
        where = settings.dhcp.dnsmasq_host or ""
        self._folders = self._folders or self._look_at_folders()
        found = self._folders
        if isinstance(found, TashiError):
            yield verify_names.failed(network, where, "dhcp", found)
            return
        held = self._held(network)
        yield from verify_dhcp.dnsmasq_rows(network, where, settings.dhcp, found, held)

    def _look_at_folders(self) -> DnsmasqFolders | TashiError:
        """What lies in dnsmasq's folders, or why it was not seen."""
        settings = self._context.settings
        try:
            host = naming_dnsmasq.server(self._context)
            script, reply = self._run(host, lambda nonce: dnsmasq_look.listing(settings, nonce))
        except TashiError as error:
            return error
        return dnsmasq_look.read(reply.out, script.nonce) or answers.no_answer(host.name, reply)

    def _run(self, host: HostConfig, make: Callable[[str], Script]) -> tuple[Script, Reply]:
        """Have a host look; raises Unreachable and NotPermitted where it does not answer."""
        ours = self._context.settings
        script = make(self._world.dice.nonce())
        limit_s = ours.tashictl.connect_timeout_s + script.timeout_s + _SLACK_S
        reply = self._world.remote.run(host, script, self._world.clock.monotonic_s() + limit_s)
        if reply.fault is not None:
            raise answers.unreachable(host.name, reply)
        return script, reply


def _refused_both(failed: TashiError | None, stays: TashiError | None) -> bool:
    """What a server did not take, and does not remove for the same reason, is not there."""
    return (
        failed is not None
        and stays is not None
        and not isinstance(failed, Uncertain)
        and failed.code == stays.code
    )
