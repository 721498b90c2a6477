"""Ganglia: one call of its `gmetric` program for each value, as Tashi did."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tashictl.adapters import files
from tashictl.adapters.clock import Waiting
from tashictl.errors import OperationFailed, TashiError

PROGRAM = "gmetric"
NOTE = "ganglia.failed"

_CALL_S = 10.0
_NEWS_CHARS = 200


class Value(Protocol):
    """What one call tells; `host` is the machine that it is told of, "" for this one."""

    @property
    def name(self) -> str:
        """The metric."""
        ...

    @property
    def value(self) -> float:
        """The number."""
        ...

    @property
    def unit(self) -> str:
        """Its unit, may be empty."""
        ...

    @property
    def host(self) -> str:
        """The machine."""
        ...


Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; raises OSError and subprocess.TimeoutExpired."""
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_CALL_S,
        check=False,
    )


class Gmetric:
    """Hands values to gmetric; after a failure not again for `retry_s`, noted in `folder`.

    gmond drops a value that was not renewed for `dmax_s`. `addresses` are those of the machines
    that values are told of.
    """

    def __init__(
        self,
        folder: str,
        clock: Waiting,
        *,
        dmax_s: int,
        retry_s: int,
        addresses: Mapping[str, str] | None = None,
        run: Run = run,
    ) -> None:
        self._note = f"{folder}/{NOTE}"
        self._clock = clock
        self._dmax_s = dmax_s
        self._retry_s = retry_s
        self._addresses = addresses or {}
        self._run = run

    def publish(self, values: Sequence[Value]) -> str | None:
        """Hand all over; raises OperationFailed E-GMETRIC or E-GANGLIA at the first that fails.

        Returns why it was not even tried, where it failed lately.
        """
        waiting = self._waiting()
        if waiting is not None:
            return waiting
        for number, value in enumerate(values):
            said = self._tell(value)
            if said is not None:
                self._remember(said)
                raise OperationFailed(
                    "E-GANGLIA",
                    f"gmetric failed at value {number + 1} of {len(values)}, {value.name}",
                    cause=said,
                    hint=f"is gmond set up? Not tried again for {self._retry_s} s"
                    " ([GangliaPublisher] retry)",
                )
        files.remove(self._note)
        return None

    def _tell(self, value: Value) -> str | None:
        """What went wrong, None for nothing."""
        try:
            done = self._run(self._argv(value))
        except FileNotFoundError as error:
            raise OperationFailed(
                "E-GMETRIC",
                "there is no program gmetric here",
                cause="Ganglia is told through it",
                hint="apt-get install ganglia-monitor",
            ) from error
        except subprocess.TimeoutExpired:
            return f"no end within {_CALL_S:g} s"
        except OSError as error:
            return error.strerror or str(error)
        if done.returncode == 0:
            return None
        said = (done.stderr or done.stdout).strip().splitlines()
        return (said[-1] if said else f"exit code {done.returncode}")[:_NEWS_CHARS]

    def _argv(self, value: Value) -> list[str]:
        argv = [PROGRAM, "-n", value.name, "-v", f"{value.value:.10g}", "-t", "double"]
        argv += ["-u", value.unit, "-d", str(self._dmax_s)]
        if value.host:
            argv += ["-S", f"{self._addresses.get(value.host, value.host)}:{value.host}"]
        return argv

    def _waiting(self) -> str | None:
        raw = files.read_file(self._note)
        if raw is None:
            return None
        stamp, _, said = raw.decode(errors="replace").partition(" ")
        try:
            left_s = float(stamp) + self._retry_s - self._clock.now().timestamp()
        except ValueError:
            return None
        # A clock that was set back must not make it wait for longer.
        if not 0 < left_s <= self._retry_s:
            return None
        return f"gmetric failed ({said.strip()}); tried again in {left_s:.0f} s"

    def _remember(self, said: str) -> None:
        # Rounded down: a stamp in the future would look like a clock that was set back.
        note = f"{int(self._clock.now().timestamp())} {said}\n"
        with contextlib.suppress(TashiError):  # the failure itself is what has to be told
            files.write_lasting(self._note, note.encode())
