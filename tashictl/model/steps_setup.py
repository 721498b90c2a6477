"""The steps that make a bare host ready; what they made is written down there, and goes with it."""

from __future__ import annotations

from tashictl.model.steps_base import HostStep


class InstallPackages(HostStep, frozen=True, kw_only=True, tag=True):
    """Install packages that are missing, without a question, in at most `timeout_s`.

    `manager` is ``apt-get`` or ``dnf``. The host's lock is let go before: this may take long.
    """

    manager: str
    packages: tuple[str, ...]
    timeout_s: int


class MakeUser(HostStep, frozen=True, kw_only=True, tag=True):
    """Make a system user with a group of its name, no home and no shell, if it is absent."""

    user: str


class JoinGroup(HostStep, frozen=True, kw_only=True, tag=True):
    """Put a user into the group that a device belongs to."""

    user: str
    device: str


class SetFolder(HostStep, frozen=True, kw_only=True, tag=True):
    """Make a folder if it is absent, and let everybody pass through it (not list it)."""

    path: str


class PutFile(HostStep, frozen=True, kw_only=True, tag=True):
    """Write a file of ours, which has `mark` in it; one without is the operator's and stays.

    `mode` is octal text; `sudoers` has ``visudo -cf`` look at it before it is put in place.
    """

    path: str
    content: str
    mode: str
    mark: str
    sudoers: bool = False
