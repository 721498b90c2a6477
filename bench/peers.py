"""The sweep's looks against ansible's `setup` and pyinfra's facts: the same hosts, as many at once.

Here every host does its own work for real, on this machine: the probe runs, as ansible's module
and pyinfra's commands do. Theirs are in TASHICTL_BENCH_PEERS, a virtual environment of its own
(`python3 -m venv DIR && DIR/bin/pip install ansible-core pyinfra`). ansible pipelines and keeps no
master connection; all three verify the hosts' keys.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench import crowd_sweep, probe_host, timing
from bench.crowd_ssh import Answers, Crowd, crowd
from bench.timing import Figure
from tashictl.planning import probe

AT_LEAST = 5.0  # times as fast
HOSTS = 50
FORKS = 32
PAIRS = 3
# What of the sweep's looks pyinfra has facts for.
_FACTS = (
    "server.Hostname",
    "server.Kernel",
    "server.KernelVersion",
    "server.Arch",
    "server.LinuxDistribution",
    "server.Mounts",
    "server.Date",
    "hardware.Cpus",
    "hardware.Memory",
    "hardware.BlockDevices",
    "hardware.NetworkDevices",
)


def figures() -> Iterator[Figure]:
    """The figures of this file; none, with the reason, where the peers are not installed."""
    folder = os.environ.get("TASHICTL_BENCH_PEERS", "")
    tools = [Path(folder, "bin", name) for name in ("ansible", "pyinfra")]
    if not folder or not all(tool.exists() for tool in tools):
        print("sweep against peers: left out, no TASHICTL_BENCH_PEERS with ansible and pyinfra")
        return
    with tempfile.TemporaryDirectory(prefix="tashictl-bench-") as made:
        # No answer is laid down for any host, so each runs what it is sent.
        answers = Answers(mark=crowd_sweep.MARK, wait_s=0.0)
        with crowd(Path(made) / "crowd", HOSTS, answers) as hosts:
            peers = _Peers(Path(made), hosts, Path(folder))
            for name, argv in (
                ("ansible setup", peers.ansible()),
                ("pyinfra facts", peers.pyinfra()),
            ):
                yield peers.figure(name, argv)


class _Peers:
    def __init__(self, folder: Path, hosts: Crowd, tools: Path) -> None:
        self._folder = folder
        self._tools = tools
        self._env = crowd_sweep.environment(folder)
        self._files(hosts)

    def figure(self, name: str, argv: list[str]) -> Figure:
        """How many times as long the peer takes; judged is that its inverse is small enough."""
        ours = [sys.executable, "-m", "bench.floor"]
        ours += [str(self._folder / f) for f in ("hosts.json", "known", "probe.json")]
        pairs = timing.by_turns(
            lambda: timing.run(ours, self._env).wall_s,
            lambda: timing.run(argv, self._peer_env(), self._folder).wall_s,
            PAIRS,
        )
        return Figure(
            name=f"look at {HOSTS} hosts, {FORKS} at once: wall / {name}",
            value=pairs.ratio,
            limit=1 / AT_LEAST,
            detail=f"{1 / pairs.ratio:.1f} times as fast; {pairs.detail}",
        )

    def ansible(self) -> list[str]:
        """The command line of ansible's own facts of all hosts."""
        ini = str(self._folder / "ansible.ini")
        return [str(self._tools / "bin/ansible"), "all", "-i", ini, "-m", "setup", "-f", str(FORKS)]

    def pyinfra(self) -> list[str]:
        """The command line of pyinfra's facts of all hosts."""
        argv = [str(self._tools / "bin/pyinfra"), "-y", "--parallel", str(FORKS)]
        return [*argv, str(self._folder / "inventory.py"), "fact", *_FACTS]

    def _peer_env(self) -> dict[str, str]:
        known = self._folder / "known.addresses"
        options = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o ControlMaster=no"
        return {
            "PATH": f"{self._tools}/bin:{os.environ['PATH']}",
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_ARGS": options,
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        }

    def _files(self, crowd_: Crowd) -> None:
        hosts, folder = crowd_.hosts, self._folder
        (folder / "hosts.json").write_bytes(msgspec.json.encode(hosts))
        (folder / "known").write_text(crowd_.known_hosts)
        key = crowd_.known_hosts.split(None, 1)[1].splitlines()[0]
        lines = "".join(f"[{host.address}]:{host.port} {key}\n" for host in hosts)
        (folder / "known.addresses").write_text(lines)
        first = hosts[0]
        (folder / "ansible.ini").write_text(
            "".join(
                f"{h.name} ansible_host={h.address} ansible_port={h.port} ansible_user={h.user}"
                f" ansible_ssh_private_key_file={h.identity_file}\n"
                for h in hosts
            )
        )
        data = {
            "ssh_port": first.port,
            "ssh_user": first.user,
            "ssh_key": first.identity_file,
            "ssh_known_hosts_file": str(folder / "known.addresses"),
            "ssh_strict_host_key_checking": "yes",
        }
        (folder / "inventory.py").write_text(
            f"hosts = ({[h.address for h in hosts]!r}, {data!r})\n"
        )
        settings = probe_host.settings_of(folder, crowd_sweep.CLUSTER)
        # All hosts are one here: without its lock, which lets one probe in at a time.
        script = probe.script(probe.Ask(settings=settings, mounts=False), probe_host.NONCE)
        text = msgspec.json.encode({"text": script.text, "nonce": script.nonce})
        (folder / "probe.json").write_bytes(text)
