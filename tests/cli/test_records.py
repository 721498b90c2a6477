from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tashictl.cli import listings, records, tables
from tashictl.model.cluster import Host
from tashictl.model.host import HostConfig, HostFacts, HostRecord, HostState
from tashictl.model.image import Image
from tashictl.model.network import Network
from tashictl.model.operation import Operation, Status, StepView
from tashictl.model.vm import Machine, OperationKind, OperationRef, Seed, VmSpec
from tests.cli import stage

FACTS = HostFacts(
    at="2026-11-22T14:59:50Z",
    boot_id="b1",
    arch="x86_64",
    cores=8,
    memory_mib=16384,
    accel="kvm",
    qemu_version="7.2.22",
)


def host(facts: HostFacts | None = FACTS) -> Host:
    return Host(
        config=HostConfig(name="node1", address="10.77.0.1"),
        record=HostRecord(
            id=1,
            name="node1",
            state=HostState.Drained,
            up=True,
            last_contact="2026-11-22T14:59:50Z" if facts else None,
            reserved_for=("lab",),
            notes="fan",
            facts=facts,
        ),
        cores=8 if facts else 0,
        memory_mib=16384 if facts else 0,
        reserved_memory_mib=512,
        used_cores=2,
        used_memory_mib=2048,
        vms=1,
    )


OPERATION = Operation(
    id=118,
    kind="create",
    target="web9",
    status=Status.INTERRUPTED,
    actor="dev@ws",
    started="2026-11-22T14:57:00Z",
    ended=None,
    steps=(
        StepView(name="CreateOverlay", host="n2", klass="reversible", status="done", seconds=0.1),
        StepView(name="StartQemu", host="n2", klass="reversible", status="begun"),
        StepView(name="AwaitQmp", host="n2", klass="pivot", status="waiting"),
    ),
    reason="",
)


def flat(value: object, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from flat(value[0], path)
    else:
        yield path


def test_a_vm_is_written_as_the_contract_says() -> None:
    vm = stage.vm(
        7,
        operation=OperationRef(id=118, kind=OperationKind.CREATE, started="x"),
        started="2026-11-22T14:00:00Z",
        pid=48812,
        spec=VmSpec(
            disks=(*stage.vm(1).spec.disks, *stage.four()[0].spec.disks),
            nics=stage.vm(7).spec.nics,
            hints={"rack": "r1"},
            machine=Machine(type="pc-i440fx-7.2", cpu="x86-64-v2"),
        ),
    )

    assert records.vm_record(vm, stage.SCENE) == {
        "id": 7,
        "name": "web7",
        "uuid": "7c1e0000-0000-4000-8000-000000000007",
        "state": "Activating",
        "wanted": "running",
        "observed": {"what": "running", "at": "2026-11-22T14:59:50Z", "boot_id": "b1"},
        "operation": {"id": 118, "kind": "create"},
        "host": "node1",
        "user": "dev",
        "cores": 1,
        "memory_mib": 128,
        "disks": [
            {
                "index": 0,
                "image": "debian-12",
                "persistent": False,
                "format": "qcow2",
                "path": "/var/lib/tashi/4f1c09ab77e2/7c1e0000-0000-4000-8000-000000000007"
                "/disk0.qcow2",
            },
            {
                "index": 0,
                "image": "pg-16",
                "persistent": True,
                "format": "raw",
                "path": "/var/lib/tashi/shared/images/pg-16",
            },
        ],
        "nics": [
            {
                "index": 0,
                "network": "lan",
                "mac": "52:54:00:4f:00:2d",
                "ip": "172.16.192.7",
                "ip6": None,
                "fqdn": None,
                "learnt": [],
                "ssh_port": None,
            }
        ],
        "seed": None,
        "hints": {"rack": "r1"},
        "arch": "x86_64",
        "machine": "pc-i440fx-7.2",
        "decayed": False,
        "created": "2026-11-22T09:00:00Z",
        "started": "2026-11-22T14:00:00Z",
        "pid": 48812,
        "reason": None,
    }


def test_an_observation_decays_only_where_there_is_a_host() -> None:
    orphan, _web, pending, _busy = stage.four()

    assert records.vm_record(orphan, stage.SCENE)["decayed"] is True
    assert records.vm_record(pending, stage.SCENE)["decayed"] is False


def test_a_host_that_was_never_probed_has_nulls() -> None:
    seen = records.host_record(host(), stage.SCENE)
    unseen = records.host_record(host(None), stage.SCENE)

    assert (seen["cores"], seen["version"], seen["state"], seen["decayed"]) == (
        *(8, "7.2.22", "Drained"),
        False,
    )
    assert (unseen["cores"], unseen["memory_mib"], unseen["version"], unseen["accel"]) == (
        *(None, None),
        *(None, None),
    )
    assert unseen["decayed"] is True


_BUSY = stage.vm(1, operation=OperationRef(id=1, kind=OperationKind.CREATE, started="x"))
FULL_VM = replace(_BUSY, spec=replace(_BUSY.spec, seed=Seed(sha256="9f3a", size_bytes=73728)))


@pytest.mark.parametrize(
    ("keys", "record"),
    [
        (records.VM_KEYS, records.vm_record(FULL_VM, stage.SCENE)),
        (records.HOST_KEYS, records.host_record(host(), stage.SCENE)),
        (
            records.NETWORK_KEYS,
            records.network_record(records.NetworkUse(network=Network(id=1, name="lan"))),
        ),
        (
            records.IMAGE_KEYS,
            records.image_record(Image(name="a", format="raw", size_bytes=1, virtual_size_bytes=2)),
        ),
        (records.OPERATION_KEYS, records.operation_record(OPERATION)),
    ],
)
def test_the_keys_that_filters_know_are_those_of_the_record(
    keys: tuple[str, ...], record: dict[str, object]
) -> None:
    assert tuple(k.removesuffix(".*") for k in keys) == tuple(flat(record))


def test_hosts_images_networks_and_operations_have_their_tables() -> None:
    def drawn(table: tables.Table, row: object) -> str:  # type: ignore[type-arg]
        columns = tables.choose(table, None, [tables.Shown.ALWAYS])
        return tables.render(table, columns, [row], tables.Style())

    assert drawn(listings.host_table(stage.SCENE), host()) == (
        " ID  NAME   STATE    UP  CORES  MEMORY GiB  VMS  QEMU    ACCEL  LAST SEEN\n"
        "  1  node1  Drained  up    2/8        2/16    1  7.2.22  kvm    14:59"
        "        · reserved for lab: fan\n"
    )
    assert (
        drawn(listings.host_table(stage.SCENE), host(None))
        .splitlines()[1]
        .startswith("  1  node1  Drained  up    2/–         2/–    1  –     –      –")
    )
    image = Image(name="debian-12", format="qcow2", size_bytes=14_000_000, virtual_size_bytes=2**31)
    assert drawn(listings.image_table(), image) == (
        " NAME       FORMAT      SIZE  VIRTUAL  ARCH    HOSTS\n"
        " debian-12  qcow2   13.4 MiB    2 GiB  x86_64  –\n"
    )
    use = records.NetworkUse(network=Network(id=999, name="lab", default=True), used=3, free=7)
    assert drawn(listings.network_table(), use) == (
        "  ID  NAME  VLAN  BRIDGE  MODE    CIDR  USED  FREE  DEFAULT\n"
        " 999  lab      –  –       bridge  –        3     7  default\n"
    )
    assert drawn(listings.operation_table(stage.SCENE), OPERATION) == (
        "  ID  KIND    TARGET  STATUS       STEP       STARTED  TOOK  ACTOR\n"
        " 118  create  web9    interrupted  StartQemu  14:57       –  dev@ws\n"
    )
