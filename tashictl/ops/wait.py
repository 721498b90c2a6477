"""Wait for a guest: until an address of it answers, or until its SSH does.

Nothing is changed by it, and the VM runs on whatever comes of it.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from tashictl.errors import Interrupted, PartialResult, TashiError, Unreachable
from tashictl.model.host import HostConfig
from tashictl.model.vm import Vm
from tashictl.ops import answers
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning import lookout
from tashictl.planning.lookout import Look

SSH_PORT = 22
DEFAULT_TIMEOUT_S = 300
_CONNECT_S = 2.0  # from here; a guest that boots does not answer at all
_THROUGH_S = 6.0  # by the host, which needs 3 s to find out that nobody has an address
_THROUGH_EVERY_S = 8.0
_BANNER_S = 5.0
_LOOK_EVERY_S = 3.0
_PAUSE_S = 0.3
_BANNER = b"SSH-"
_REFUSED, _TCP = "E-REFUSED", "E-TCP"
# This machine, as a host that needs no SSH.
_HERE = HostConfig(name="this machine", address="localhost", transport="local")


class Goal(Enum):
    """What is waited for."""

    RUNNING = "running"
    IP = "ip"
    SSH = "ssh"


class Found(Struct, frozen=True, kw_only=True):
    """A guest that answers at `address`; `through` is the host that it was reached by, if one."""

    address: str
    port: int = SSH_PORT
    through: str | None = None


class _Try(Struct, frozen=True, kw_only=True):
    """How one try went: `there` is an answer of any kind, a refusal or a banner too."""

    said: str
    there: bool = False
    refused: bool = False
    ssh: bool = False


def until(world: World, context: Context, vm: Vm, goal: Goal, timeout_s: float) -> Found:
    """Wait until a VM that runs answers; raises PartialResult E-WAIT when it does not in time.

    Raises Interrupted after Ctrl-C.
    """
    watch = _Watch(world, context, vm, goal, timeout_s)
    try:
        return watch.wait()
    except KeyboardInterrupt:
        raise Interrupted(
            "E-INTERRUPTED",
            f"interrupted; {vm.name} runs on {vm.host}: only the wait has ended",
            hint=f"tashictl vm show {vm.name}",
        ) from None
    finally:
        world.report.waits("")


class _Watch:
    """One wait: what was last seen of the guest."""

    def __init__(
        self, world: World, context: Context, vm: Vm, goal: Goal, timeout_s: float
    ) -> None:
        self._world = world
        self._context = context
        self._vm = vm
        self._goal = goal
        self._timeout_s = timeout_s
        self._begun_s = world.clock.monotonic_s()
        self._deadline_s = self._begun_s + timeout_s
        self._host = context.config(vm.host or "")
        self._look: Look | None = None
        self._looked_s = self._begun_s - _LOOK_EVERY_S
        self._said = ""
        self._from_host = ""
        self._through_s: dict[str, float] = {}  # when the host is tried next, by address

    def wait(self) -> Found:
        """Try, look, pause, until the goal is reached or the time is over."""
        clock = self._world.clock
        while True:
            if clock.monotonic_s() - self._looked_s >= _LOOK_EVERY_S:
                self._look_at_host()
            found = self._round()
            if found is not None:
                return found
            left_s = self._deadline_s - clock.monotonic_s()
            if left_s <= 0:
                self._look_at_host()
                raise self._expired()
            clock.sleep(min(_PAUSE_S, left_s))

    def _round(self) -> Found | None:
        for address, port in self._candidates():
            what = f"{self._vm.name}: waits for {self._goal.value} at {address}"
            self._world.report.waits(f"{what}   {self._passed()}   {self._said}")
            found = self._try_both(address, port)
            if found is not None:
                return found
        return None

    def _candidates(self) -> list[tuple[str, int]]:
        """Where the guest may answer: a forwarded port, its own address, what its host knows."""
        nics = self._vm.spec.nics
        found = [("127.0.0.1", nic.ssh_port) for nic in nics if nic.ssh_port is not None]
        found += [(address, SSH_PORT) for nic in nics for address in nic.addresses]
        learned = self._look.addresses if self._look is not None else ()
        found += [(address, SSH_PORT) for address in learned]
        return list(dict.fromkeys(found))

    def _try_both(self, address: str, port: int) -> Found | None:
        where, forwarded = f"{address} port {port}", port != SSH_PORT
        here, near = _Try(said=""), self._host.transport == _HERE.transport
        if not forwarded:
            here = self._try(_HERE, address, port, _CONNECT_S)
            if self._is_enough(here, forwarded):
                return Found(address=address, port=port)
            # What connects and is silent may be a firewall on the way: the host knows better.
            if here.refused or near:
                self._said = f"{where}: {here.said}"
                return None
            self._said = f"{where}: {here.said} from here{self._from_host}"
            if not self._is_time_for_host(address):
                return None
        there = self._try(self._host, address, port, _THROUGH_S)
        self._from_host = f", {there.said} from {self._host.name}"
        from_here = f"{here.said} from here" if here.said else ""
        self._said = f"{where}: {from_here}{self._from_host}".replace(": , ", ": ")
        known = self._look is not None and address in self._look.addresses
        if self._is_enough(there, forwarded) or (known and self._goal is Goal.IP):
            return Found(address=address, port=port, through=self._host.name)
        return None

    def _is_time_for_host(self, address: str) -> bool:
        """Not at each turn: the host takes seconds to find out that nobody is there."""
        now_s = self._world.clock.monotonic_s()
        if now_s < self._through_s.get(address, self._begun_s):
            return False
        self._through_s[address] = now_s + _THROUGH_EVERY_S
        return True

    def _is_enough(self, seen: _Try, forwarded: bool) -> bool:
        # A forwarded port takes every connection: only what the guest says is a sign of it.
        return seen.ssh or (seen.there and self._goal is Goal.IP and not forwarded)

    def _try(self, via: HostConfig, address: str, port: int, limit_s: float) -> _Try:
        clock = self._world.clock
        try:
            stream = self._world.remote.open_tcp(
                via, address, port, min(clock.monotonic_s() + limit_s, self._deadline_s)
            )
        except TashiError as error:
            if error.code == _REFUSED:
                return _Try(said="refused, its SSH is not up", there=True, refused=True)
            return _Try(said=f"{error.what} ({error.cause})" if error.code == _TCP else error.what)
        try:
            heard = b""
            limit = min(clock.monotonic_s() + _BANNER_S, self._deadline_s)
            while len(heard) < len(_BANNER) and (data := stream.receive(limit)):
                heard += data
        except Unreachable as error:
            return _Try(said=f"connected, no SSH banner ({error.what})", there=True)
        finally:
            stream.close()
        if heard.startswith(_BANNER):
            return _Try(said="SSH answers", there=True, ssh=True)
        said = "what answers is not SSH" if heard else "connected, and closed at once"
        return _Try(said=said, there=True)

    def _look_at_host(self) -> None:
        """Ask the host; raises where it says that the guest has ended."""
        world, nonce = self._world, self._world.dice.nonce()
        self._looked_s = world.clock.monotonic_s()
        script = lookout.script(self._vm, self._context.settings, nonce)
        limit_s = self._context.settings.tashictl.connect_timeout_s + lookout.TIMEOUT_S
        reply = world.remote.run(self._host, script, world.clock.monotonic_s() + limit_s)
        if reply.fault is not None:
            self._said = _why(answers.unreachable(self._host.name, reply))
            return
        look = lookout.read(reply.out, nonce, self._vm)
        if look is None:
            return
        self._look = look
        if not look.alive:
            raise PartialResult(
                "E-WAIT",
                f"{self._vm.name} was waited for, but its QEMU on {self._host.name} has ended",
                cause=self._console() or "its console says nothing",
                hint=f"tashictl host check {self._host.name}, then vm destroy {self._vm.name}",
                host=self._host.name,
            )

    def _expired(self) -> PartialResult:
        vm, host = self._vm, self._host.name
        what = "SSH" if self._goal is Goal.SSH else "address"
        seen = [f"last seen: {self._said}"]
        if not self._candidates():
            macs = ", ".join(nic.mac for nic in vm.spec.nics)
            seen = [f"no --nic with an address, and {host} has seen none of {macs}"]
        return PartialResult(
            "E-WAIT",
            f"{vm.name} runs on {host}, but no {what} of it answered within {self._timeout_s:g} s",
            cause="; ".join([*seen, self._console() or "its console says nothing"]),
            hint=f"it runs on: tashictl vm show {vm.name}, or wait longer: --timeout",
            host=host,
        )

    def _console(self) -> str:
        lines = self._look.console if self._look is not None else ()
        return "its console ends: " + " / ".join(lines) if lines else ""

    def _passed(self) -> str:
        passed_s = self._world.clock.monotonic_s() - self._begun_s
        return f"{passed_s:.0f} of {self._timeout_s:g} s"


def _why(error: TashiError) -> str:
    return f"{error.what}: {error.cause}" if error.cause else error.what
