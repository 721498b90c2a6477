"""What the tests of failures look at."""

from tashictl.model.vm import Seen, TashiState, Wanted
from tests.ops.stage import Stage


def nothing_is_left(stage: Stage) -> None:
    """Neither a record nor anything on a host nor a lock."""
    assert stage.state.vms == {}
    assert stage.host().empty
    assert stage.host("node2").empty
    assert stage.locks_left() == []


def a_tombstone_stays(stage: Stage) -> None:
    """Name, place and operation are kept until the host was asked."""
    vm = stage.state.vms[1]
    assert (vm.name, vm.host, vm.wanted) == ("web1", "node1", Wanted.ABSENT)
    assert vm.state is TashiState.Destroying
    assert vm.observed.what is Seen.UNKNOWN
    assert vm.operation is not None
    assert stage.status(1) == "interrupted"
