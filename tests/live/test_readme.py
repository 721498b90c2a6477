"""Every command block of the README, run: make targets, the tour of the lab, the first real hosts.

The block of `init --local` (fenced as ``shell``) is run by test_init_local.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tashictl.planning import inventory
from tests.live import invariants
from tests.live.lab.host import make_key
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Tashictl

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
IMAGE = "debian-12-genericcloud-amd64.qcow2"


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.S | re.M)


def commands() -> list[list[str]]:
    """Every line of every sh block, as words."""
    return [shlex.split(line) for block in blocks("sh") for line in block.splitlines() if line]


def test_every_block_is_of_a_kind_that_a_test_runs() -> None:
    kinds = re.findall(r"^```(\w*)$", README.read_text(), re.M)

    assert set(kinds) == {"", "sh", "shell", "bash", "yaml"}
    assert len(blocks("shell")) == len(blocks("yaml")) == 1
    assert len(blocks("bash")) == 2


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    for text in (README, *sorted((ROOT / "docs").glob("*.md"))):
        for link in re.findall(r"\]\((?!https?:|#)([^)#\[]+)\)", text.read_text()):
            assert (text.parent / link).is_file(), f"{text.name}: {link}"


def test_two_make_targets_do_all_set_up() -> None:
    targets = [words[1] for words in commands() if words[0] == "make"]

    assert targets == ["demo", "test"]
    for target in [*targets, "lab", "lab-down"]:
        # GNU make exports its own flags; a dry run of a target that runs this test must not nest.
        done = subprocess.run(
            ["make", "-n", target],
            cwd=ROOT,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr


def test_the_tour_of_the_lab_works_as_printed(tashictl: Tashictl) -> None:
    tour = [w[1:] for w in commands() if w[0] == "tashictl"]

    assert len(tour) == 8
    for words in tour:
        tashictl.run(*words)
    assert tashictl.run("vm", "list", "-o", "json").json() == []


@pytest.fixture
def desk(lab: Lab, guest_image: Path, tmp_path: Path) -> Iterator[Path]:
    """An operator's home: a key that the hosts take, a cloud image (the demo guest plays it)."""
    for host in lab.hosts:
        host.wipe()
    (tmp_path / ".ssh").mkdir(mode=0o700)
    make_key(tmp_path / ".ssh" / "id_ed25519")
    shutil.copyfile(guest_image, tmp_path / IMAGE)
    digest = hashlib.sha512(guest_image.read_bytes()).hexdigest()
    (tmp_path / "SHA512SUMS").write_text(f"{'0' * 128}  other.qcow2\n{digest}  {IMAGE}\n")
    # OpenSSH takes its home from the user database, not from HOME.
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    quiet = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh {quiet} -i ~/.ssh/id_ed25519 "$@"\n')
    ssh.chmod(0o755)
    yield tmp_path
    for host in lab.hosts:
        host.wipe()


def test_ten_minutes_to_the_first_vm_work_as_printed(lab: Lab, desk: Path) -> None:
    first, second = blocks("bash")
    (text,) = blocks("yaml")
    assert [h.name for h in inventory.load([("README.md", text)]).hosts] == ["node1", "node2"]

    def here(words: str) -> str:
        """The README's addresses as the lab has them."""
        for name, number in (("10.0.0.11", 0), ("10.0.0.12", 1)):
            words = words.replace(name, lab.hosts[number].address)
        words = words.replace("10.0.0.", f"{lab.wiring.vm_subnet}.").replace("br0", "vmbr")
        return words.replace("debian@", "root@")

    def run(script: str) -> str:
        env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TASHICTL_")},
            "HOME": str(desk),
            "PATH": f"{desk}/bin:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        done = subprocess.run(
            ["bash", "-ec", script],
            cwd=desk,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    run(here(first))
    folder = desk / "cluster" / "inventory"
    (folder / "cluster.yaml").write_text(here(text))
    # What the test needs beside: the lab's key, and caps, since all hosts share one machine.
    (folder / "test.yaml").write_text(
        f"defaults: {{identity_file: {lab.key}, cores: 2, memory: 2G}}\n"
    )
    out = run(f"export TASHICTL_CLUSTER=~/cluster\n{here(second)}")
    assert "load average" in out
    run("TASHICTL_CLUSTER=~/cluster tashictl vm destroy web1 -y")
    for host in lab.hosts:
        assert not [t for t in invariants.traces(host) if t.kind in ("QEMU", "TAP")]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_prints_what_the_readme_says_it_does() -> None:
    done = subprocess.run(
        ["make"], cwd=ROOT, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )

    assert done.returncode == 0
    assert "make test" in done.stdout
    assert "make demo" in done.stdout
