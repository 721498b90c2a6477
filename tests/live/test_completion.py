"""Completion by the shells themselves, with the script that `tashictl completion` prints."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bench import crowd

BASH = """
eval "$(tashictl completion bash)"
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
_tashictl_completion tashictl
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tashictl_argv: list[str]) -> Path:
    """A home with a cluster directory of three VMs in it."""
    folder = tmp_path_factory.mktemp("completion")
    crowd.cluster(folder, vms=3)
    return folder


def run(home: Path, argv: list[str], tashictl_argv: list[str]) -> str:
    """Stdout of a shell that finds tashictl; it must be silent on stderr."""
    env = {
        "PATH": f"{Path(tashictl_argv[0]).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "TASHICTL_CLUSTER": str(home / "cluster"),
        "TERM": "dumb",
    }
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout


def bash(home: Path, tashictl_argv: list[str], *words: str) -> list[str]:
    """What bash would offer for the last word."""
    argv = ["bash", "--norc", "-c", BASH, "bash", "tashictl", *words]
    return run(home, argv, tashictl_argv).split()


def test_bash_is_offered_what_exists(home: Path, tashictl_argv: list[str]) -> None:
    names = bash(home, tashictl_argv, "vm", "destroy", "")
    assert len(names) == 3
    rest = bash(home, tashictl_argv, "vm", "destroy", names[0], "")
    assert rest == names[1:]
    assert bash(home, tashictl_argv, "vm", "li") == ["list"]
    assert bash(home, tashictl_argv, "vm", "list", "-c", "id,uu") == ["id,uuid"]
    split = ("vm", "list", "--filter", "state", "=", "Run")
    assert bash(home, tashictl_argv, *split) == ["Running"]


def test_bash_is_offered_nothing_without_a_cluster(home: Path, tashictl_argv: list[str]) -> None:
    assert bash(home / "none", tashictl_argv, "--cluster", "/none", "vm", "destroy", "") == []


def test_it_is_quick(home: Path, tashictl_argv: list[str]) -> None:
    floor = min(_seconds(home, tashictl_argv, "true") for _ in range(3))
    took = min(_seconds(home, tashictl_argv, "tashictl") for _ in range(3))
    bare = min(_seconds(home, tashictl_argv, "tashictl --version") for _ in range(3))
    assert took - floor < 2.5 * (bare - floor)


def _seconds(home: Path, tashictl_argv: list[str], command: str) -> float:
    words = "COMP_WORDS='tashictl vm destroy ' COMP_CWORD=3 _TASHICTL_COMPLETE=bash_complete"
    began_s = time.monotonic()
    prefix = words if command == "tashictl" else ""
    run(home, ["sh", "-c", f"{prefix} {command} >/dev/null"], tashictl_argv)
    return time.monotonic() - began_s


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_script_and_ask_in_their_way(
    home: Path, tashictl_argv: list[str], shell: str
) -> None:
    ask = f"env _TASHICTL_COMPLETE={shell}_complete COMP_CWORD=3"
    ask += " COMP_WORDS='tashictl vm destroy'"
    told = run(home, ["sh", "-c", f"{ask} tashictl"], tashictl_argv)
    assert "Running" in told
    script = run(home, ["sh", "-c", f"tashictl completion {shell}"], tashictl_argv)
    assert "_TASHICTL_COMPLETE" in script
    if shutil.which(shell) is not None:  # no test asks for a shell to be installed
        path = home / f"complete.{shell}"
        path.write_text(script, encoding="utf-8")
        run(home, [shell, "-n", str(path)], tashictl_argv)
    if shell == "fish" and shutil.which("fish") is not None:
        line = "tashictl completion fish | source; complete -C 'tashictl vm destroy '"
        assert "Running" in run(home, ["fish", "-c", line], tashictl_argv)
