"""An address in quarantine is not given out; when its time has passed it is forgotten."""

import pytest

from tashictl.errors import Conflict
from tashictl.model.state import Quarantined
from tashictl.ops import vm as ops
from tests.ops.stage import Stage, raw


def test_an_address_in_quarantine_is_given_out_when_its_time_has_passed(stage: Stage) -> None:
    until = "2026-03-02T12:00:00Z"
    with stage.store.transaction() as tx:
        tx.put_quarantine(Quarantined(network=1, ip="10.0.0.9", until=until, why="web9 is gone"))
    wanted = raw(nics=("lan:10.0.0.9",))
    with pytest.raises(Conflict) as caught:
        ops.create(stage.world, stage.context, wanted)
    assert caught.value.code == "E-QUARANTINE"
    assert stage.state.vms == {}

    stage.clock.sleep(86400)
    assert ops.create(stage.world, stage.context, wanted).spec.nics[0].ip == "10.0.0.9"
    assert stage.state.quarantine == {}
