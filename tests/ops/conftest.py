"""A stage for each test, empty or with a VM."""

from pathlib import Path

import pytest

from tashictl.model.vm import Vm
from tashictl.ops import vm as ops
from tests.ops.stage import Stage, raw


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two hosts, nothing runs."""
    return Stage(tmp_path)


@pytest.fixture
def vm(stage: Stage) -> Vm:
    """web1 runs on node1; what led to it is forgotten."""
    made = ops.create(stage.world, stage.context, raw())
    stage.events.clear()
    stage.remote.scripts.clear()
    return made
