"""tashictl for hosts that are machines in software, maybe on a busy one: nothing is about speed."""

from collections.abc import Mapping

from tests.live.lab.runner import Result, Tashictl

# For the end of Tashi.cfg, whose last section is [Tashictl].
PATIENCE = """\
connectTimeout = 120
stepTimeout = 300
[Qemu]
startTimeout = 120
powerdownTimeout = 240
"""
COMMAND_S = 300.0


class Patient(Tashictl):
    """tashictl on a slow host."""

    def run(
        self,
        *args: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        timeout: float = COMMAND_S,
    ) -> Result:
        return super().run(*args, check=check, env=env, timeout=timeout)
