"""One command of power on the stage's only VM, and what stands afterwards."""

from __future__ import annotations

import pytest

from tashictl import errors
from tashictl.model.vm import OperationKind, TashiState, Vm, Wanted
from tashictl.ops import power
from tests.ops.stage import Stage


def act(stage: Stage, kind: OperationKind, timeout_s: int = 20) -> Vm | None:
    return power.act(stage.world, stage.context, "web1", kind, timeout_s)


def caught(stage: Stage, kind: OperationKind) -> errors.TashiError:
    with pytest.raises(errors.TashiError) as found:
        act(stage, kind)
    return found.value


def seen(stage: Stage) -> tuple[TashiState, Wanted, bool]:
    vm = stage.state.vms[1]
    return vm.state, vm.wanted, vm.operation is not None
