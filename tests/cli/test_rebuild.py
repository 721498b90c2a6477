"""`tashictl state rebuild`: the question, the report, the exit codes."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tashictl.model.vm import Vm
from tashictl.planning import manifest
from tests.cli.office import CREATE, Office, own
from tests.ops.hosts import Host
from tests.ops.test_host import answer


def showing(office: Office, host: Host, *more: str) -> Callable[[str], bytes]:
    """What a host says of itself now."""

    def out(nonce: str) -> bytes:
        claim = host.claimed
        cluster = f"\ncluster {claim[0]} {claim[1]} {claim[2]} {claim[3]} me" if claim else ""
        head = f"\nreplica {' '.join(map(str, host.replica))}" if host.replica else ""
        basics = "time 1772366400\nboot_id b-1\narch x86_64\nkernel 6.1.0\ncores 2\n"
        parts = {"basics": f"{basics}memory_kib 2097152\nbridge vmbr{cluster}{head}"}
        for uuid, text in host.manifests.items():
            whole = text if text.count("{") == text.count("}") else text + "}"
            alive = int(uuid in host.running)
            parts[f"vm {uuid}"] = f"alive {alive}\npid 4711\nmanifest {whole}"
        return answer(**parts)(nonce)

    return out


@pytest.fixture
def lost(office: Office) -> Office:
    """A cluster with one VM, whose state file is gone."""
    for name in ("node1", "node2"):
        host = office.remote.hosts[name]
        host.claimed = (own(office), 1, 0, "host")
        office.remote.probes[name] = showing(office, host)
    office.ok(*CREATE)
    for path in ((office.folder / "state/tashi.json"), *office.folder.glob("state/backups/*")):
        path.unlink()
    return office


def vm_of(office: Office) -> Vm:
    (vm,) = office.store().read().vms.values()
    return vm


def test_the_vm_is_back_and_what_was_done_is_told(lost: Office) -> None:
    done = lost.ok("state", "rebuild", "-y")
    assert "rebuilt: 1 VM and 2 hosts, from the hosts alone" in done.out
    assert "web1 (id 1) is recorded from its manifest on node" in done.out
    assert vm_of(lost).state.name == "Running"
    assert lost.ok("vm", "list", "-o", "name").out == "web1\n"
    lost.ok("vm", "destroy", "web1", "-y")


def test_without_a_yes_nothing_is_changed(lost: Office) -> None:
    before = [h.claimed for h in lost.remote.hosts.values()]
    refused = lost.run("state", "rebuild")
    assert refused.code == 2
    assert "1 VM and 2 hosts" in refused.err
    said_no = lost.run("state", "rebuild", tty=True, answer="n\n")
    assert said_no.code == 2
    assert not (lost.folder / "state/tashi.json").exists()
    assert [h.claimed for h in lost.remote.hosts.values()] == before
    assert lost.run("state", "rebuild", tty=True, answer="y\n").code == 0


def test_a_dry_run_writes_nothing_and_shows_the_scripts(lost: Office) -> None:
    before = lost.everything()
    plan = lost.ok("state", "rebuild", "--dry-run", "-o", "json").json()
    assert [(s["host"], s["name"]) for s in plan["steps"]] == [
        ("node1", "MarkFences"),
        ("node2", "MarkFences"),
    ]
    assert plan["report"]["epoch"] == 2
    assert "would record 1 VM" in lost.ok("state", "rebuild", "--dry-run").out
    assert lost.everything() == before


def test_a_host_that_is_down_is_named_with_what_to_type(lost: Office) -> None:
    lost.remote.down.add("node2")
    refused = lost.run("state", "rebuild", "-y", "-o", "json")
    assert (refused.code, refused.error["code"]) == (6, "E-HOSTS-MISSING")
    assert "state rebuild --without node2" in refused.error["hint"]
    told = lost.ok("state", "rebuild", "--without", "node2", "-y", "-o", "json").json()
    assert told["without"] == ["node2"]


def test_what_runs_twice_is_not_recorded_and_is_exit_4(lost: Office) -> None:
    one, two = lost.remote.hosts["node1"], lost.remote.hosts["node2"]
    for a, b in ((one, two), (two, one)):
        a.manifests |= b.manifests
        a.running |= b.running
    done = lost.run("state", "rebuild", "-y", "-o", "json")
    assert (done.code, done.error["code"]) == (4, "E-NOT-CHOSEN")
    assert {f["kind"] for f in done.json()["findings"]} == {"runs-twice"}
    assert len(done.error["leftovers"]) == 2
    assert lost.store().read().vms == {}


def test_an_old_copy_is_refused_with_exit_7_and_the_verb_to_type(office: Office) -> None:
    for name in ("node1", "node2"):
        host = office.remote.hosts[name]
        host.claimed = (own(office), 1, 0, "host")
        office.remote.probes[name] = showing(office, host)
    old = (office.folder / "state/tashi.json").read_bytes()
    told = office.ok("state", "rebuild", "-y", "-o", "json").json()
    assert told["base"]["from"].endswith("state/tashi.json")
    assert told["kept"] is not None
    (office.folder / "state/tashi.json").write_bytes(old)
    refused = office.run(*CREATE, "-o", "json")
    assert (refused.code, refused.error["code"]) == (7, "E-OLD-DATABASE")
    assert "tashictl state rebuild" in refused.error["hint"]


def test_a_host_of_another_cluster_is_refused(lost: Office) -> None:
    lost.remote.hosts["node2"].claimed = ("ffffffffffff", 1, 1, "host")
    refused = lost.run("state", "rebuild", "-y", "-o", "json")
    assert (refused.code, refused.error["code"]) == (7, "E-FOREIGN")
    assert "--without node2" in refused.error["hint"]


def test_a_manifest_that_another_vm_has_the_name_of_is_told_with_its_folder(lost: Office) -> None:
    lost.ok("state", "rebuild", "-y")
    vm = vm_of(lost)
    other = replace(vm, id=9, uuid="7c1e0000-0000-4000-8000-0000000000ff", host="node2")
    text: Any = manifest.text(other, own(lost), "running", 9)
    lost.remote.hosts["node2"].manifests[other.uuid] = text
    done = lost.run("state", "rebuild", "-y")
    assert done.code == 4
    assert f"/var/lib/tashi/{own(lost)}/{other.uuid}" in done.out
    assert vm_of(lost).uuid == vm.uuid
