"""A lab: hosts in namespaces on this machine, up in about two seconds, gone without a trace."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tashictl.adapters.demo import parts
from tests.live.lab import boot, needs, slots, traces
from tests.live.lab.host import Host, make_key
from tests.live.lab.observe import Observation, observe
from tests.live.lab.wiring import Wiring

__all__ = ["Host", "Lab", "Observation", "leftovers", "observe", "snapshot"]

leftovers = traces.leftovers
_PROJECT = Path(__file__).resolve().parents[3]
_CLOSE_TIMEOUT_S = 20.0


def snapshot(host: Host) -> dict[str, tuple[int, str]]:
    """What differs on the host from a bare machine; see Host.snapshot."""
    return host.snapshot()


class Lab:
    """`with Lab(3) as lab:` raises hosts h1 to h3, each with sshd, QEMU and a bridge `vmbr`.

    A host has its own mount, uts, ipc, pid and net namespaces and an overlay of this machine's
    root on a tmpfs of `disk_mib`; where `tashi_mib` is given, /var/lib/tashi is a disk of that
    size of its own. All hosts share the kernel, so load and memory figures are this machine's.
    Users: root, ops (may sudo without a password), noroot (may not); `key` opens all of them.
    `shared` appears on every host as /srv/shared. Several labs at once do not meet.
    A janitor process removes everything when this process ends in whatever way.
    """

    def __init__(
        self,
        n_hosts: int,
        *,
        base_dir: Path | None = None,
        shared: Path | None = None,
        disk_mib: int = 4096,
        tashi_mib: int = 0,
    ) -> None:
        if not 0 <= n_hosts <= 99:
            raise ValueError(f"{n_hosts} hosts: a lab has 0 to 99")
        needs.require(needs.missing_for_hosts())
        self.n_hosts = n_hosts
        self.hosts: tuple[Host, ...] = ()
        self.up_s = 0.0
        self.down_s = 0.0
        self._base_dir = base_dir
        self._shared = shared.resolve() if shared else None
        self._sizes_mib = (disk_mib, tashi_mib)
        self._slot: slots.Slot | None = None
        self._janitor: subprocess.Popen[str] | None = None
        self._wiring: Wiring | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def wiring(self) -> Wiring:
        """Names, addresses and processes of this lab; raises RuntimeError when it is not up."""
        if self._wiring is None:
            raise RuntimeError("the lab is not up")
        return self._wiring

    @property
    def id(self) -> str:
        """Six hex digits that are in every name of the lab."""
        return self.wiring.lab_id

    @property
    def directory(self) -> Path:
        """Folder of keys and logs; gone with the lab."""
        return self.wiring.directory

    @property
    def key(self) -> Path:
        """Private key of the lab's client."""
        return self.wiring.client_key

    def host(self, name: str) -> Host:
        """The host of that name; raises KeyError."""
        return {host.name: host for host in self.hosts}[name]

    def up(self) -> None:
        """Raises everything; on failure removes what there is already and raises RuntimeError."""
        start = time.monotonic()
        try:
            self._start_janitor()
            self._add_bridges()
            make_key(self.key)
            self.hosts = tuple(Host(self.wiring, n) for n in range(1, self.n_hosts + 1))
            for host in self.hosts:
                host.furnish()
            holders = boot.boot(self.wiring, [host.number for host in self.hosts])
            for host in self.hosts:
                host.adopt(*holders[host.number])
            self.write_known_hosts(self.directory / "known_hosts")
        except BaseException:
            self.close()
            raise
        self.up_s = time.monotonic() - start

    def close(self) -> None:
        """Removes hosts, links, keys and logs; may be called twice."""
        start = time.monotonic()
        janitor, self._janitor = self._janitor, None
        if janitor is not None and janitor.stdin is not None:
            with contextlib.suppress(BrokenPipeError), janitor.stdin:
                janitor.stdin.write("bye")
            janitor.wait(timeout=_CLOSE_TIMEOUT_S)
            for host in self.hosts:
                host.kill()
        slot, self._slot = self._slot, None
        if slot is not None:
            # The janitor has done all this, unless it was killed.
            traces.remove(slot.lab_id, traces.directory(slot.lab_id, self._base_dir))
            slots.release(slot)
        self.hosts = ()
        self._wiring = None
        self.down_s = time.monotonic() - start

    def write_known_hosts(self, path: Path) -> None:
        """Writes the hosts' current keys in the known_hosts format."""
        lines = [f"{host.address} {host.host_pubkey}\n" for host in self.hosts]
        path.write_text("".join(lines), encoding="utf-8")

    def ssh_argv(self, host: Host, user: str = "root") -> list[str]:
        """Start of a command line that runs the system's ssh; append the remote command."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "IdentitiesOnly": "yes",
            "IdentityFile": str(self.key),
            "UserKnownHostsFile": str(self.directory / "known_hosts"),
        }
        flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", *flags, f"{user}@{host.address}"]

    def _start_janitor(self) -> None:
        self._slot = slot = slots.take(self._base_dir)
        folder = traces.directory(slot.lab_id, self._base_dir).absolute()
        folder.mkdir(parents=True, mode=0o700)
        numbers = [str(number) for number in (self.n_hosts, *self._sizes_mib)]
        arguments = [slot.lab_id, str(folder), str(slot.path), *numbers]
        with (folder / "janitor.log").open("wb") as log:
            self._janitor = janitor = subprocess.Popen(
                [sys.executable, "-S", "-m", "tests.live.lab.janitor", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=_PROJECT,
                start_new_session=True,
                pass_fds=(slot.fd,),
                env={"PATH": parts.SBIN, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        assert janitor.stdout is not None
        with janitor.stdout as answer:
            keeper = answer.readline().strip()
        if not keeper:
            words = (folder / "janitor.log").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the lab's janitor did not start: {words.strip()}")
        self._wiring = Wiring(
            lab_id=slot.lab_id,
            directory=folder,
            subnet=slot.subnet,
            janitor=janitor.pid,
            keeper=int(keeper),
            shared=self._shared,
        )

    def _add_bridges(self) -> None:
        wiring = self.wiring
        bridge = "type bridge stp_state 0 forward_delay 0"
        boot.ip_batch(
            [
                f"link add {wiring.mgmt_bridge} {bridge}",
                f"addr add {wiring.controller_address}/24 dev {wiring.mgmt_bridge}",
                f"link set {wiring.mgmt_bridge} up",
                f"link add {wiring.vm_bridge} {bridge}",
                f"addr add {wiring.vm_subnet}.254/24 dev {wiring.vm_bridge}",
                f"link set {wiring.vm_bridge} up",
            ]
        )
