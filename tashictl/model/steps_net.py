"""The steps that change a host's network under a dead man's switch; see planning/net/switch.py."""

from __future__ import annotations

from tashictl.model.net import HostFile
from tashictl.model.steps_base import HostStep


class NetStep(HostStep, frozen=True, kw_only=True, tag=True):
    """`token` names the change, `net_dir` is the folder of all such on the host."""

    token: str
    net_dir: str


class ArmNet(NetStep, frozen=True, kw_only=True, tag=True):
    """Lay the change and its reverse down and start the timer; nothing of the network changes.

    Refused while another change is in flight, when the picture is not that of `digest` any more,
    and for files that the host's own tools do not understand. `forward` and `reverse` are command
    lines; `window_s` is how long after this it goes back by itself. `up` and `down` are the
    interfaces that ifupdown is told of when it is confirmed.
    """

    forward: tuple[str, ...]
    reverse: tuple[str, ...]
    files: tuple[HostFile, ...]
    digest: str
    window_s: int
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


class GoNet(NetStep, frozen=True, kw_only=True, tag=True):
    """Start the change, detached; it begins after the answer has gone out."""


class ConfirmNet(NetStep, frozen=True, kw_only=True, tag=True):
    """Disarm, then write the files; refused before it is applied and after it has gone back."""


class RollbackNet(NetStep, frozen=True, kw_only=True, tag=True):
    """Go back now; `why` is what is shown, one word."""

    why: str = "rollback"
