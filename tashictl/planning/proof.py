"""What a sighting proves about the database and about whose a host is."""

from __future__ import annotations

from tashictl.model.sighting import Sighting
from tashictl.planning.verdict import Scene


def is_foreign(scene: Scene, sighting: Sighting) -> bool:
    """Whether another cluster owns the host."""
    return sighting.claim is not None and sighting.claim[0] != scene.state.meta.cluster


def of_an_old_copy(scene: Scene) -> str:
    """Why the database is an old copy, if a host knows what only a newer one can have told it.

    Compared with the database as it is now, not as it was before the looks: what began since then
    is known to it.
    """
    meta = scene.state.meta
    if meta.stale:
        return meta.stale
    by_uuid = {vm.uuid: vm for vm in scene.state.vms.values()}
    for host in scene.sightings:
        sighting = scene.looked_at(host)
        if sighting is None or is_foreign(scene, sighting):
            continue
        if sighting.claim is not None:
            _, epoch, counter = sighting.claim
            if epoch > meta.epoch:
                return f"{host} knows epoch {epoch}, the database {meta.epoch}"
            if epoch == meta.epoch and counter > meta.last_operation_id:
                return f"{host} knows operation {counter}, the database {meta.last_operation_id}"
        for seen in sighting.vms:
            vm = by_uuid.get(seen.uuid)
            if vm is not None and seen.generation > vm.generation:
                known = f"generation {seen.generation}, the database {vm.generation}"
                return f"{host} knows {vm.name} in {known}"
            operation = (seen.manifest or {}).get("operation")
            if isinstance(operation, int) and operation > meta.last_operation_id:
                return f"{host} has a VM of operation {operation}, which the database does not know"
    return ""
