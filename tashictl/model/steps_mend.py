"""The steps of `doctor --fix`: each is safe, ours, and can be taken back."""

from __future__ import annotations

from tashictl.model.steps_base import HostStep


class MendIfup(HostStep, frozen=True, kw_only=True, tag=True):
    """Write a file qemu-ifup.N of ours as it is rendered, 0755; an operator's own is left alone."""

    path: str
    content: str


class LoadModule(HostStep, frozen=True, kw_only=True, tag=True):
    """Load a module of the kernel; it is gone at the next boot."""

    module: str
