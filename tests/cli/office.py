"""A cluster directory in a folder and the whole command line; hosts in memory, no network."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tashictl.adapters import config_files
from tashictl.adapters.config_files import Surroundings
from tashictl.adapters.journals import FileJournals
from tashictl.adapters.locks import FileLocks
from tashictl.adapters.store.tiny import TinyStore
from tashictl.cli import main, options, wiring
from tashictl.model.host import HostRecord
from tests.cli import stage as face
from tests.ops import hosts, remote
from tests.ops import stage as world

INVENTORY = """\
defaults: {user: root}
hosts:
  node1: {address: 10.77.0.1}
  node2: {address: 10.77.0.2}
networks:
  - {id: 1, name: lan, bridge: vmbr, default: true}
"""


class Done:
    """What a command line left: exit code, stdout, stderr."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error on stderr as JSON; notes may stand before it."""
        found: dict[str, Any] = json.loads(self.err[self.err.index('{"error"') :])["error"]
        return found


class Office:
    """An operator's desk: commands run in this process, against the cluster in `folder`."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.folder = home / "cluster"
        self.env: dict[str, str] = {}
        around = Surroundings(current=str(home), home=str(home), uid=os.getuid(), system=())
        patch.setattr(config_files, "surroundings", lambda: around)
        patch.setenv("HOME", str(home))
        self.clock = world.Clock()
        journals = FileJournals(f"{self.folder}/state/journal", self.clock)
        self.remote = remote.Remote(journals, self.clock, [])
        self.remote.hosts = {n: hosts.Host() for n in ("node1", "node2", "node3")}
        patch.setattr(wiring, "Dispatch", lambda _transports: self.remote)
        patch.setattr(wiring, "qmp", hosts.Qmp(self.clock))

    def run(self, *words: str, answer: str = "", tty: bool = False) -> Done:
        """Run one command line."""
        kind = face.Terminal if tty else io.StringIO
        streams = options.Streams(stdin=kind(answer), stdout=kind(), stderr=kind(), env=self.env)
        argv = [*words, "--cluster", str(self.folder)]
        if "--" in words:
            argv = ["--cluster", str(self.folder), *words]
        code = main.run_with(argv, streams, main.ROOT)
        return Done(code, streams.stdout.getvalue(), streams.stderr.getvalue())  # type: ignore[attr-defined]

    def ok(self, *words: str, **more: Any) -> Done:
        """Run one that must succeed."""
        done = self.run(*words, **more)
        assert done.code == 0, (words, done.out, done.err)
        return done

    def make(self) -> None:
        """`init`, the inventory, two hosts that were added and one image."""
        self.ok("init", str(self.folder))
        (self.folder / "inventory" / "lab.yaml").write_text(INVENTORY)
        with self.store().transaction() as tx:
            for number, name in enumerate(("node1", "node2"), 1):
                tx.put_host(HostRecord(id=number, name=name, up=True, facts=world.facts()))
            tx.put_image(world.an_image("demo.qcow2", ("node1", "node2")))

    def store(self) -> TinyStore:
        """The database."""
        state = f"{self.folder}/state"
        locks = FileLocks(f"{state}/locks", self.clock, "dev@desk", 1.0)
        return TinyStore(state, locks, self.clock, keep=20)

    def everything(self) -> dict[str, bytes]:
        """Every file of the home, but for what a reader may touch."""
        return {
            str(p.relative_to(self.home)): p.read_bytes()
            for p in sorted(self.home.rglob("*"))
            if p.is_file()
        }


CREATE = ("vm", "create", "web1", "--disk", "demo.qcow2")


def own(office: Office) -> str:
    """The cluster's id."""
    text = (office.folder / "Tashi.cfg").read_text()
    found = re.search(r"^clusterId = ([0-9a-f]{12})$", text, re.M)
    assert found is not None
    return found.group(1)
