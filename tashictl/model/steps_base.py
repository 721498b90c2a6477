"""What every step has."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from msgspec import Struct


class StepClass(Enum):
    """What may follow a step that was done."""

    REVERSIBLE = "reversible"
    PIVOT = "pivot"
    FORWARD = "forward"


class HostStep(Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """A step that is carried out on one host for one VM (or, for host steps, for none).

    `folder` is the VM's durable folder, `run_folder` the one that is gone at reboot; both absolute.
    """

    step_class: ClassVar[StepClass] = StepClass.FORWARD
    scripted: ClassVar[bool] = True  # travels as shell text; else the controller does it itself
    changes: ClassVar[bool] = True  # has an effect that recovery must know of

    host: str
    uuid: str
    folder: str
    run_folder: str

    @property
    def name(self) -> str:
        """The step's kind, as the journal, the fault points and `op show` name it."""
        return type(self).__name__
