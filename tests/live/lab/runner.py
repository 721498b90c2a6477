"""Runs the installed tashictl as a process of its own, as an operator or cron would."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a command gave: exit code, standard output, standard error."""

    argv: tuple[str, ...]
    rc: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as JSON; raises AssertionError with everything when it is none."""
        try:
            return json.loads(self.out)
        except json.JSONDecodeError as error:
            raise AssertionError(f"no JSON on stdout: {self}") from error

    def __str__(self) -> str:
        return f"{' '.join(self.argv)}\nrc {self.rc}\nout: {self.out}\nerr: {self.err}"


def installed() -> Path | None:
    """The tashictl that is installed beside the running Python, if any."""
    path = Path(sys.executable).parent / "tashictl"
    return path if os.access(path, os.X_OK) else None


class Tashictl:
    """tashictl on one cluster directory, with a home of its own so that no ~/.ssh plays a part."""

    def __init__(self, argv: Sequence[str], cluster: Path, home: Path) -> None:
        self.argv = tuple(argv)
        self.cluster = cluster
        self.home = home

    def run(
        self,
        *args: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
    ) -> Result:
        """Runs `tashictl ARGS`; raises AssertionError with its output if `check` and it failed."""
        with self.start(*args, env=env) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired as late:
                process.kill()
                out, err = process.communicate()
                words = Result((*self.argv, *args), process.returncode, out, err)
                raise AssertionError(f"not done after {timeout} s: {words}") from late
        result = Result((*self.argv, *args), process.returncode, out, err)
        if check and result.rc != 0:
            raise AssertionError(str(result))
        return result

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Starts `tashictl ARGS` and does not wait, for tests that kill or stop it."""
        return subprocess.Popen(
            [*self.argv, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self._environment(), **(env or {})},
            cwd=self.home,
        )

    def _environment(self) -> dict[str, str]:
        kept = {
            name: os.environ[name]
            for name in ("PATH", "TMPDIR", "PYTHONPATH")
            if name in os.environ
        }
        own = {"HOME": str(self.home), "TASHICTL_CLUSTER": str(self.cluster)}
        return {**kept, **own, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
