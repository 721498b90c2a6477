"""The whole state of a cluster, as one immutable value."""

from __future__ import annotations

import re

from msgspec import Struct

from tashictl.model.host import HostRecord
from tashictl.model.image import Image
from tashictl.model.vm import Vm

_ID = re.compile(r"[0-9]{1,18}")
STATE_SCHEMA = 2
MIN_WRITER = 2


class Meta(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the state is: schema, cluster, counters.

    `generation` rises with every commit; `epoch` with every rebuild; the counters are the last ids
    given out, and ids are never used twice. `stale` says which host proved this to be an old copy:
    then nothing may be changed.
    """

    schema: int = STATE_SCHEMA
    min_writer: int = MIN_WRITER
    cluster: str
    epoch: int = 1
    generation: int = 0
    last_vm_id: int = 0
    last_operation_id: int = 0
    last_host_id: int = 0
    stale: str = ""


class State(Struct, frozen=True, kw_only=True):
    """Everything that the database holds, by key: VMs by id, hosts and images by name."""

    meta: Meta
    vms: dict[int, Vm] = {}
    hosts: dict[str, HostRecord] = {}
    images: dict[str, Image] = {}

    def vm_named(self, name_or_id: str) -> Vm | None:
        """The VM of that name or decimal id, or None."""
        if _ID.fullmatch(name_or_id):
            return self.vms.get(int(name_or_id))
        return next((vm for vm in self.vms.values() if vm.name == name_or_id), None)

    def host_named(self, name_or_id: str) -> HostRecord | None:
        """The host of that name or decimal id, or None."""
        found = self.hosts.get(name_or_id)
        if found is None and _ID.fullmatch(name_or_id):
            found = next((h for h in self.hosts.values() if h.id == int(name_or_id)), None)
        return found
