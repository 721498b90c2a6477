"""The proof that a changed network works: fresh connections, a look from beside, checks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tashictl.errors import OperationFailed, TashiError
from tashictl.model.host import HostConfig
from tashictl.model.net import HostNet
from tashictl.ops import net
from tashictl.ops.context import Context
from tashictl.ops.ports import World
from tashictl.planning.net import checks
from tashictl.planning.net import look as looks
from tashictl.planning.net.checks import Seen

_LOOK_S, _PATIENCE, _LONGEST_S = 5.0, 3, 60.0
_TCP_S = 5.0
_DNS_PORT = 53


def clock(when: datetime) -> str:
    """The time of day as people read it, where they are."""
    return f"{when.astimezone():%H:%M:%S}"


class Baseline(Struct, frozen=True, kw_only=True):
    """What worked before: on the host, and whether `peer` could see it."""

    seen: Seen
    nameservers: frozenset[str] = frozenset()
    peer: HostConfig | None = None
    peer_net: HostNet | None = None


class Prover:
    """Looks at one host, each time by a fresh connection, and remembers when it answered."""

    def __init__(self, world: World, context: Context, looked: net.Looked) -> None:
        assert looked.proposal is not None
        self.world, self.context, self.host = world, context, looked.host
        self.proposal = looked.proposal
        # How long a look at a host that may be gone may take.
        self.look_limit_s = min(max(_LOOK_S, _PATIENCE * looked.seconds), _LONGEST_S)
        self.good_at: datetime | None = None
        self.lost_at: datetime | None = None
        self.back_at: datetime | None = None

    # looks

    def fresh_look(self) -> HostNet | None:
        """What the host shows over a connection of its own; None when it does not answer."""
        world = self.world
        world.remote.drop(self.host)
        nonce = world.dice.nonce()
        etc = self.context.settings.tashictl.etc_dir
        script = looks.script(net.net_dir(self.context), etc, nonce)
        began = world.clock.now()
        reply = world.remote.run(self.host, script, world.clock.monotonic_s() + self.look_limit_s)
        seen = looks.read(reply.out, nonce)
        if seen is None:
            if reply.seconds >= 0.9 * self.look_limit_s:
                # Lost, or only slower than it was: the next look waits longer.
                self.look_limit_s = min(1.5 * self.look_limit_s, _LONGEST_S)
            self.lost_at = self.lost_at or began
            self.back_at = None
            return None
        now = world.clock.now()
        if self.lost_at is None:
            self.good_at = now
        elif self.back_at is None:
            self.back_at = now
        return seen

    def tell_gap(self) -> None:
        """Say when the host was lost, and when it answered again."""
        if self.lost_at is None or self.back_at is None:
            return
        last = clock(self.good_at) if self.good_at else "before"
        gap_s = (self.back_at - (self.good_at or self.lost_at)).total_seconds()
        self.world.report.warn(
            f"{self.host.name}: last good SSH {last}, lost {clock(self.lost_at)}, "
            f"back {clock(self.back_at)} ({gap_s:.0f} s)"
        )

    # before

    def baseline(self, peers: Sequence[HostConfig]) -> Baseline:
        """What works now; what does not is not asked for afterwards."""
        before = self.proposal.net
        seen = self._checks(before) or Seen()
        servers = frozenset(s for s in before.nameservers if self._answers(self.host, s, _DNS_PORT))
        for peer in peers:
            looked = net.look(self.world, self.context, (peer,))[peer.name].net
            if looked is not None and self._seen_from(peer, looked, before):
                return Baseline(seen=seen, nameservers=servers, peer=peer, peer_net=looked)
        return Baseline(seen=seen, nameservers=servers)

    def _checks(self, at: HostNet) -> Seen | None:
        world = self.world
        nonce = world.dice.nonce()
        limit_s = world.clock.monotonic_s() + checks.TIMEOUT_S
        reply = world.remote.run(self.host, checks.script(at, nonce), limit_s)
        return checks.read(reply.out, nonce, at) if reply.fault is None else None

    def _answers(self, via: HostConfig, address: str, port: int) -> bool:
        """Whether a TCP port answers as `via` sees it."""
        deadline_s = self.world.clock.monotonic_s() + _TCP_S
        try:
            self.world.remote.open_tcp(via, address, port, deadline_s).close()
        except TashiError:
            return False
        return True

    def _seen_from(self, peer: HostConfig, peer_net: HostNet, mine: HostNet) -> bool:
        port = mine.port or self.host.port
        some = checks.reachable_at(mine, peer_net)[:4]
        return any(self._answers(peer, address, port) for address in some)

    # after

    def prove(self, baseline: Baseline, settle_s: float, deadline_s: float) -> None:
        """Two fresh connections at least `settle_s` apart, checks, the look from beside.

        Raises OperationFailed for what is not as it was, or did not come in time.
        """
        world = self.world
        began_s = world.clock.monotonic_s()
        self._await_look(deadline_s)
        first_s = world.clock.monotonic_s()
        rest_s = settle_s - (world.clock.monotonic_s() - first_s)
        if world.clock.monotonic_s() + rest_s > deadline_s:
            raise OperationFailed(
                "E-NET-WINDOW",
                f"{self.host.name}: {settle_s:.0f} s of proof do not fit into what is left",
                hint="--revert-after with more seconds",
                host=self.host.name,
            )
        world.clock.sleep(rest_s)
        second = self._await_look(deadline_s)
        second_s = world.clock.monotonic_s()
        self._right(second)
        said = self._compare(baseline, second)
        world.report.step(
            self.host.name,
            f"applied; reached again after {first_s - began_s:.1f} s and {second_s - began_s:.1f} s"
            + "".join(f"; {word}" for word in said),
        )

    def _await_look(self, deadline_s: float) -> HostNet:
        while self.world.clock.monotonic_s() < deadline_s:
            seen = self.fresh_look()
            if seen is not None:
                return seen
            self.world.clock.sleep(0.5)
        raise OperationFailed(
            "E-NET-SILENT",
            f"{self.host.name} does not answer since the change",
            host=self.host.name,
        )

    def _right(self, seen: HostNet) -> None:
        wrong = checks.astray(self.proposal, seen)
        if wrong:
            raise OperationFailed(
                "E-NET-ASTRAY",
                f"{self.host.name}: not as it was to become",
                cause="; ".join(wrong[:5]),
                host=self.host.name,
            )

    def _compare(self, baseline: Baseline, second: HostNet) -> list[str]:
        after = self._checks(second)
        gone = list(checks.lost(baseline.seen, after or Seen()))
        gone += [
            f"name server {s}"
            for s in sorted(baseline.nameservers)
            if s in second.nameservers and not self._answers(self.host, s, _DNS_PORT)
        ]
        said = []
        if baseline.peer is not None and baseline.peer_net is not None:
            if self._seen_from(baseline.peer, baseline.peer_net, second):
                said.append(f"seen from {baseline.peer.name}")
            else:
                gone.append(f"the look from {baseline.peer.name}")
        if gone:
            raise OperationFailed(
                "E-NET-CHECK",
                f"{self.host.name}: what worked before does no more: {', '.join(gone)}",
                host=self.host.name,
            )
        return [*said, *_fine(baseline, second)]


def _fine(baseline: Baseline, now: HostNet) -> list[str]:
    """What still works, in a few words, or nothing."""
    names = sorted({w.rpartition(" ")[0] for w in baseline.seen.works}, reverse=True)
    names += ["dns"] if baseline.nameservers else []
    taps = sum(link.name.startswith("tashi") for link in now.picture.links)
    names += [f"{taps} TAP{'s' if taps > 1 else ''}"] if taps else []
    return [f"{', '.join(names)} ✓"] if names else []
