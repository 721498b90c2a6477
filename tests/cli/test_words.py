"""Completion: names that exist where they may stand, and never an error."""

import io
import shlex
import sys

import pytest
from msgspec.structs import replace

from tashictl.adapters.book import SqliteBook
from tashictl.cli import main
from tashictl.model.event import Problem
from tests.cli import stage
from tests.cli.office import CREATE, Office

AT = "2026-11-26T00:00:00Z"


class Shell:
    """What bash would be offered."""

    def __init__(self, office: Office, patch: pytest.MonkeyPatch) -> None:
        self.office = office
        self._patch = patch

    def offered(self, *words: str) -> list[str]:
        """The words for the last one of a command line, which may be empty."""
        line = ["tashictl", "--cluster", str(self.office.folder), *words]
        self._patch.setenv("COMP_WORDS", "\n".join(shlex.quote(w) for w in line))
        self._patch.setenv("COMP_CWORD", str(len(line) - 1))
        out = io.TextIOWrapper(io.BytesIO())  # click writes bytes
        env = {"_TASHICTL_COMPLETE": "bash_complete"}
        streams = replace(stage.streams(env=env), stdout=out)
        assert main.run_with((), streams, main.ROOT) == 0
        assert streams.stderr.getvalue() == ""  # type: ignore[attr-defined]
        out.seek(0)
        told = out.read().splitlines()
        return [line.split(",", 1)[1] for line in told if line]


@pytest.fixture
def shell(office: Office, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A cluster with two VMs."""
    office.ok(*CREATE)
    office.ok("vm", "create", "db-0", "--disk", "demo.qcow2")
    return Shell(office, monkeypatch)


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("vm", "destroy", ""), ["web1", "db-0"]),
        (("vm", "destroy", "w"), ["web1"]),
        (("vm", "destroy", "web1", ""), ["db-0"]),
        (("vm", "show", "2"), ["2"]),
        (("vm", "create", ""), []),
        (("vm", "create", "x", "--disk", ""), ["demo.qcow2"]),
        (("vm", "create", "x", "--host", "node"), ["node1", "node2"]),
        (("host", "remove", ""), ["node1", "node2"]),
        (("host", "show", "node2"), ["node2"]),
        (("op", "show", ""), ["2", "1"]),
        (("op", "resume", ""), []),
        (
            ("event", "list", "--filter", "sev"),
            ["severity=note", "severity=warning", "severity=error"],
        ),
        (("vm", "list", "-c", "na"), ["name"]),
        (("vm", "list", "-c", "id,ho"), ["id,host"]),
        (("vm", "list", "-c", "+uu"), ["+uuid"]),
        (("vm", "list", "-c", "id,i"), ["id,image"]),
        (("host", "check", "--columns", "rem"), ["remedy"]),
        (("doctor", "node1"), ["node1"]),
        (("doctor", "--columns", "rem"), ["remedy"]),
        (("audit", "--filter", "kind", "=", "dns-o"), ["dns-orphan"]),
        (("doctor", "--filter", "severity", "=", "err"), ["error"]),
        (("config", "show", "-c", "or"), ["origin"]),
        (("vm", "list", "--filter", "state=Ru"), ["state=Running"]),
        # bash breaks words at = and then holds only what follows the last one
        (("vm", "list", "--filter", "state", "=", "Ru"), ["Running"]),
        (("vm", "list", "--filter", "user", "=", "dev,state", "=", "Hel"), ["Held"]),
        (("host", "check", "--filter", "ok", "="), ["true", "false"]),
        (("vm", "create", "x", "--host", "=", "node2"), ["node2"]),
        (("vm", "list", "--filter", "user=dev,mem"), ["user=dev,memory_mib="]),
        (("vm", "list", "--filter", "user", "=", "dev,mem"), ["dev,memory_mib="]),
        (("op", "list", "--filter", "status=int"), ["status=interrupted"]),
        (("host", "che"), ["check"]),
        (("-o", "js"), ["json"]),
    ],
)
def test_what_exists_is_offered(shell: Shell, words: tuple[str, ...], offered: list[str]) -> None:
    assert shell.offered(*words) == offered


def test_hosts_that_wait_to_be_added_are_offered_there(shell: Shell) -> None:
    (shell.office.folder / "inventory" / "more.yaml").write_text("hosts:\n  node7: {}\n")

    assert shell.offered("host", "add", "node") == ["node1", "node2", "node7"]
    assert shell.offered("host", "remove", "node7") == []


def test_problems_that_nobody_acknowledged_are_offered(shell: Shell) -> None:
    assert shell.offered("event", "ack", "") == []
    book = SqliteBook(f"{shell.office.folder}/state", shell.office.clock.now)
    book.settle([Problem(id="a:b", text="b"), Problem(id="a:c", text="c")], [], True, AT)
    book.acknowledge(["a:b"], "dev", AT, "")

    assert shell.offered("event", "ack", "a") == ["a:c"]


def test_backups_are_offered_by_name(shell: Shell) -> None:
    shell.office.ok("state", "backup", "mine")

    assert any("mine" in name for name in shell.offered("state", "restore", ""))


def test_files_are_left_to_the_shell(shell: Shell) -> None:
    assert shell.offered("image", "import", "/tmp/x") == ["/tmp/x"]


@pytest.mark.parametrize(
    "words",
    [
        ("vm", "destroy", ""),
        ("host", "add", ""),
        ("op", "show", ""),
        ("state", "restore", ""),
        ("vm", "create", "x", "--disk", ""),
    ],
)
@pytest.mark.parametrize("harm", ["absent", "garbage", "inventory"])
def test_without_a_whole_cluster_nothing_is_offered_and_nothing_said(
    shell: Shell, words: tuple[str, ...], harm: str
) -> None:
    folder = shell.office.folder
    if harm == "absent":
        shell.office.folder = folder / "none"
    elif harm == "garbage":
        (folder / "state" / "tashi.json").write_text("{")
    else:
        (folder / "inventory" / "lab.yaml").write_text("hosts: [")

    shell.offered(*words)


def test_an_executable_inventory_is_not_run(shell: Shell) -> None:
    program = shell.office.home / "inventory"
    program.write_text("#!/bin/sh\ntouch ran\n")
    program.chmod(0o755)

    shell.offered("--inventory", str(program), "host", "add", "")

    assert not (shell.office.home / "ran").exists()


def test_it_stays_quick(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for heavy in ("paramiko", "fabric", "jinja2"):
        monkeypatch.setitem(sys.modules, heavy, None)  # an import of it would fail

    assert shell.offered("vm", "destroy", "w") == ["web1"]
    assert shell.offered("op", "show", "1") == ["1"]
