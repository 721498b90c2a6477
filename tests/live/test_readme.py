"""Every command block of the README, run."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tashictl.planning import inventory
from tests.live.lab.runner import Tashictl

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.S | re.M)


def commands() -> list[list[str]]:
    """Every line of every sh block, as words."""
    return [shlex.split(line) for block in blocks("sh") for line in block.splitlines() if line]


def test_the_make_targets_exist() -> None:
    targets = [words[1] for words in commands() if words[0] == "make"]

    assert targets == ["test", "lab"]
    for target in targets:
        # GNU make exports its own flags; a dry run of a target that runs this test must not nest.
        done = subprocess.run(
            ["make", "-n", target],
            cwd=README.parent,
            capture_output=True,
            env={"PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr


def test_the_tour_of_the_lab_works_as_printed(tashictl: Tashictl) -> None:
    tour = [w[1:] for w in commands() if w[0] == "tashictl" and w[1] != "init"]

    assert len(tour) == 6
    for words in tour:
        tashictl.run(*words)
    assert tashictl.run("vm", "list", "-o", "json").json() == []


def test_a_cluster_begins_with_init_and_the_printed_inventory(
    tashictl: Tashictl, tmp_path: Path
) -> None:
    init = next(w for w in commands() if w[:2] == ["tashictl", "init"])
    assert init == ["tashictl", "init", "~/cluster"]
    folder = tmp_path / "cluster"

    tashictl.run("init", str(folder))
    (text,) = blocks("yaml")
    (folder / "inventory" / "cluster.yaml").write_text(text)

    assert [h.name for h in inventory.load([("README.md", text)]).hosts] == ["node1", "node2"]
    tashictl.run("--cluster", str(folder), "host", "list")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_prints_what_the_readme_says_it_does() -> None:
    done = subprocess.run(
        ["make"], cwd=README.parent, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
    )

    assert done.returncode == 0
    assert "make test" in done.stdout
