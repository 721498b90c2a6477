"""The whole state of a cluster, as one immutable value."""

from __future__ import annotations

import re

from msgspec import Struct

from tashictl.model.host import HostRecord
from tashictl.model.image import Image
from tashictl.model.naming import Deferred
from tashictl.model.vm import Vm

_ID = re.compile(r"[0-9]{1,18}")
STATE_SCHEMA = 4
MIN_WRITER = 4


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


class Quarantined(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address that nobody gets until a time (ISO-8601 UTC): somebody unknown may still use it.

    `network` is a network id. One that is `resting` was given back in good order: no range gives
    it out for a time, and who asks for it by itself may have it.
    """

    network: int
    ip: str
    until: str
    why: str
    resting: bool = False

    @property
    def key(self) -> str:
        """``<network id>/<ip>``."""
        return f"{self.network}/{self.ip}"


class State(Struct, frozen=True, kw_only=True):
    """Everything that the database holds, by key: VMs by id, hosts and images by name.

    Addresses in quarantine are by ``<network id>/<ip>``, work that waits for a server by its entry.
    """

    meta: Meta
    vms: dict[int, Vm] = {}
    hosts: dict[str, HostRecord] = {}
    images: dict[str, Image] = {}
    quarantine: dict[str, Quarantined] = {}
    deferred: dict[str, Deferred] = {}

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
