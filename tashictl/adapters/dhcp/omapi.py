"""ISC dhcpd over OMAPI: hosts that are added and removed while it runs, each with our mark.

Found by trying dhcpd 4.4.3-P1, and what this rests on:

- An open with `create` and `exclusive` is refused for a taken name (18), and is on disk before its
  answer. A taken MAC it refuses only of a host without a client identifier (393223), and ours has
  one: so the MAC is looked up before. In between another may come, which the database, where MACs
  are unique, rules out for us.
- Statements cannot be changed, and are lost by the attempt: to change a host is to replace it.
- A delete works on hosts of dhcpd.conf too, for good; so each delete is of a handle that was looked
  up just before and whose mark is ours (`omapi_host`).
- A group is kept only with a statement in it: without one, dhcpd forgets the group of each host at
  its next start. An empty text of statements, of a group or a host, kills dhcpd at once.
- A wrong secret is seen only when something is asked: each operation begins with a lookup, so that
  it shows before a change.
- Of two hosts with one address both are taken: the database keeps addresses apart.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pypureomapi import OmapiAuthenticatorBase, OmapiMessage

from tashictl.adapters.dhcp import omapi_host, omapi_wire
from tashictl.adapters.dhcp.omapi_host import FoundHost, WantedHost
from tashictl.adapters.dhcp.omapi_wire import Answer, Channel, Denied, Lost, Nonsense, Wire
from tashictl.errors import (
    Conflict,
    InvalidRequest,
    OperationFailed,
    TashiError,
    Uncertain,
    Unreachable,
)
from tashictl.model.naming import DhcpEntry, OmapiHost
from tashictl.model.settings import DhcpSettings, Server

_DONE, _EXISTS, _NOT_FOUND, _KEY_CONFLICT = 0, 18, 23, 0x60007
_ONE = struct.pack("!I", 1)
_ETHERNET = (b"hardware-type", _ONE)
# It never holds for a host: a statement that does nothing, and keeps the group.
_GROUP_STATEMENT = b'if not known { log (debug, "tashictl"); }'
_MAX_NAME = 255
_TRIES = 3  # the second where the name is taken, the third where another was quicker


class OmapiServer:
    """One connection, made when it is first needed; see `ops.ports_names.Omapi`.

    `through` is used once, and not made anew when it is lost.
    """

    def __init__(self, settings: DhcpSettings, through: Channel | None) -> None:
        self._settings = settings
        self._through = through
        self._used = False
        self._wire: Wire | None = None
        self._lock = threading.Lock()
        self._changed = False

    def add(self, entry: DhcpEntry) -> None:
        """Register a host; one that is the entry's but differs is replaced.

        IPv6 addresses are left out. A host with the same name, MAC and address and nobody's mark
        does what is wanted and is left as it is, and is never removed by us.
        """
        wanted = omapi_host.wanted(entry)
        with self._talk() as wire:
            for tries in range(_TRIES):
                if self._stands(wire, wanted, name_too=tries > 0):
                    return
                answer = self._create(wire, wanted)
                if answer.result == _DONE:
                    return
                if answer.result not in (_EXISTS, _KEY_CONFLICT):
                    break
            raise self._refused(f"adding DHCP host {wanted.name}", answer)

    def remove(self, entry: DhcpEntry) -> None:
        """Remove the host with this name, MAC and address that has the entry's mark.

        A part that the host lacks is no difference: a leases file that was cut leaves such hosts.
        """
        try:
            wanted = omapi_host.identity(entry)
        except InvalidRequest:
            return  # such a host is never asked for: none of ours has it
        with self._talk() as wire:
            there = self._find(wire, (b"name", wanted.name.encode()))
            if there is None or there.owner != str(wanted.owner):
                return
            if there.mac in ("", wanted.mac) and there.address in ("", wanted.address):
                self._delete(wire, there)

    def lookup(self, name: str) -> OmapiHost | None:
        """The host of that name, with the mark that it carries."""
        if not name or len(name) > _MAX_NAME or not name.isprintable():
            return None
        with self._talk() as wire:
            there = self._find(wire, (b"name", name.encode()))
        if there is None:
            return None
        addresses = (there.address,) if there.address else ()
        return OmapiHost(name=there.name, mac=there.mac, addresses=addresses, owner=there.owner)

    def close(self) -> None:
        """End the connection; never raises."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
        if self._through is not None:
            self._through.close()

    def _create(self, wire: Wire, wanted: WantedHost) -> Answer:
        message = _open(b"host", (b"name", wanted.name.encode()), *_mac(wanted.mac), create=True)
        packed = bytes(int(part) for part in wanted.address.split("."))
        message.obj.append((b"ip-address", packed))
        message.obj.append((b"dhcp-client-identifier", wanted.mark.encode()))
        message.obj.append((b"group", wanted.group.encode()))
        message.obj.append((b"statements", wanted.statements.encode()))
        answer = self._change(wire, message)
        if answer.result != _NOT_FOUND:
            return answer
        group = _open(b"group", (b"name", wanted.group.encode()), create=True)
        group.obj.append((b"statements", _GROUP_STATEMENT))
        made = self._change(wire, group)
        if made.result not in (_DONE, _EXISTS):
            raise self._refused(f"adding the group {wanted.group}", made)
        message.generate_tid()
        return self._change(wire, message)

    def _stands(self, wire: Wire, wanted: WantedHost, *, name_too: bool) -> bool:
        """Whether the host is there as it is wanted; what is the VM's and differs is deleted.

        A taken name is found by the server, so it is looked up only with `name_too`, or before
        something is deleted. Raises Conflict for what is not the VM's.
        """
        by_mac = self._find(wire, *_mac(wanted.mac))
        if by_mac is not None and _same(by_mac, wanted):
            return True
        named = name_too or by_mac is not None
        by_name = self._find(wire, (b"name", wanted.name.encode())) if named else None
        if by_name is not None and _same(by_name, wanted):
            return True
        standing = [one for one in (by_name, by_mac) if one is not None]
        for one in standing:
            if one.owner != str(wanted.owner):
                raise self._foreign(wanted, one)
        for one in {one.handle: one for one in standing}.values():
            self._delete(wire, one)
        return False

    def _find(self, wire: Wire, *keys: tuple[bytes, bytes]) -> FoundHost | None:
        answer = wire.ask(_open(b"host", *keys))
        if answer.result == _NOT_FOUND:
            return None
        if answer.result != _DONE or not answer.handle:
            raise self._refused("looking up a DHCP host", answer)
        return omapi_host.found(answer.handle, answer.attributes)

    def _delete(self, wire: Wire, there: FoundHost) -> None:
        answer = self._change(wire, OmapiMessage.delete(there.handle))
        if answer.result not in (_DONE, _NOT_FOUND):
            raise self._refused(f"removing DHCP host {there.name}", answer)

    def _change(self, wire: Wire, message: OmapiMessage) -> Answer:
        self._changed = True
        return wire.ask(message)

    @contextmanager
    def _talk(self) -> Iterator[Wire]:
        """The connection for one operation; what goes wrong is said in our words."""
        with self._lock:
            self._changed = False
            try:
                if self._wire is None:
                    self._wire = self._connect()
                yield self._wire
            except Lost as lost:
                self._drop()
                raise self._lost(str(lost)) from lost
            except Nonsense as nonsense:
                self._drop()
                raise self._nonsense(str(nonsense)) from nonsense
            except Denied as denied:
                self._drop()
                raise self._denied(str(denied)) from denied

    def _connect(self) -> Wire:
        key = self._key()
        channel = self._channel()
        try:
            return Wire(channel, key, self._settings.timeout_s)
        except (Lost, Nonsense, Denied):
            channel.close()
            raise

    def _channel(self) -> Channel:
        if self._through is not None:
            if self._used:
                raise Lost("the connection through its host has ended")
            self._used = True
            return self._through
        server = self._server()
        try:
            return omapi_wire.TcpChannel(server.host, server.port, self._settings.timeout_s)
        except OSError as error:
            raise Lost(str(error)) from error

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _key(self) -> OmapiAuthenticatorBase:
        settings = self._settings
        if settings.key_name is None or settings.secret_key is None:
            raise InvalidRequest(
                "E-DHCP-KEY",
                f"{self._where()}: no key to sign with is known",
                cause="dhcpKeyName or dhcpSecretKey is not set",
                hint="in [DhcpDns]: the key that omapi-key names in dhcpd.conf",
            )
        algorithm = settings.key_algorithm
        try:
            return omapi_wire.authenticator(algorithm, settings.key_name, settings.secret_key.value)
        except ValueError:
            # Not "from" it: the library's error may show a part of the key.
            raise InvalidRequest(
                "E-DHCP-KEY",
                f"{self._where()}: the key {settings.key_name} is none",
                cause=f"dhcpSecretKey is not base64, or {algorithm} is no algorithm",
                hint=f"dhcpKeyAlgorithm is one of {', '.join(omapi_wire.ALGORITHMS)}",
            ) from None

    def _server(self) -> Server:
        if self._settings.server is None:
            raise InvalidRequest(
                "E-DHCP-SERVER",
                "no DHCP server is known",
                hint="dhcpServer, dhcpKeyName and dhcpSecretKey in the configuration",
            )
        return self._settings.server

    def _where(self) -> str:
        server = self._settings.server
        return f"dhcpd at {server}" if server is not None else "dhcpd"

    def _lost(self, why: str) -> TashiError:
        if self._changed:
            return Uncertain(
                "E-DHCP-TIMEOUT",
                f"{self._where()}: a change was sent and not answered",
                cause=why,
                hint="it may have been done, or will be; the same again is safe",
            )
        return Unreachable(
            "E-DHCP-DOWN",
            f"{self._where()}: not reached over OMAPI, nothing was changed",
            cause=why,
            hint="check that dhcpd runs there, that it has omapi-port, and what is in between",
        )

    def _nonsense(self, why: str) -> TashiError:
        if self._changed:
            return self._lost(f"what came is not OMAPI: {why}")
        return OperationFailed(
            "E-DHCP-ANSWER",
            f"{self._where()}: what answers is not OMAPI",
            cause=why,
            hint="dhcpServer is the server and the port of omapi-port in dhcpd.conf",
        )

    def _denied(self, why: str) -> TashiError:
        name, algorithm = self._settings.key_name, self._settings.key_algorithm
        return OperationFailed(
            "E-DHCP-KEY",
            f"{self._where()}: it does not accept the key {name} ({algorithm})",
            cause=why,
            hint="compare name, algorithm and secret with the key that omapi-key names there",
        )

    def _refused(self, what: str, answer: Answer) -> TashiError:
        return OperationFailed(
            "E-DHCP-ANSWER",
            f"{self._where()}: {what} was refused",
            cause=answer.text,
            hint="the log of dhcpd on that server may say more",
        )

    def _foreign(self, wanted: WantedHost, there: FoundHost) -> TashiError:
        taken = "its name" if there.name == wanted.name else f"its MAC {wanted.mac}"
        return Conflict(
            "E-DHCP-FOREIGN",
            f"{self._where()}: DHCP host {wanted.name}: {taken} is taken",
            cause=f"there is {there}",
            hint="remove that host if nobody needs it, or take another name or MAC",
        )


def _same(there: FoundHost, wanted: WantedHost) -> bool:
    identity = (there.name, there.mac, there.address) == (wanted.name, wanted.mac, wanted.address)
    return identity and (there.mark == wanted.mark or not there.owner)


def _mac(mac: str) -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    return (b"hardware-address", bytes.fromhex(mac.replace(":", ""))), _ETHERNET


def _open(kind: bytes, *attributes: tuple[bytes, bytes], create: bool = False) -> OmapiMessage:
    message = OmapiMessage.open(kind)
    if create:
        message.message += [(b"create", _ONE), (b"exclusive", _ONE)]
    message.obj += attributes
    return message
