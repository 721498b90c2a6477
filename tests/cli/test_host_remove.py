"""`host remove` from the command line: asked, listed, taken out of the inventory, resumed."""

import pytest

from tests.cli.office import CREATE, Office
from tests.ops.hosts import KEY, Trouble
from tests.ops.test_host import answer


@pytest.fixture
def office(office: Office) -> Office:
    """Hosts that answer; node3 was added into a file of its own."""
    for name in ("node1", "node2", "node3"):
        office.remote.probes[name] = answer()
    add = ("host", "add", "node3", "--address", "10.77.0.3", "--fingerprint", KEY.fingerprint)
    office.ok(*add)
    return office


def names(office: Office) -> list[str]:
    return [h["name"] for h in office.ok("host", "list", "-o", "json").json()]


def test_a_host_and_the_file_that_host_add_wrote_are_gone(office: Office) -> None:
    own = office.folder / "inventory" / "node3.yaml"
    assert own.exists()

    done = office.ok("host", "remove", "node3", "-y")

    assert done.out == f"node3 is removed, and {own}\n"
    assert not own.exists()
    assert names(office) == ["node1", "node2"]
    assert "node3" not in (office.folder / "state" / "known_hosts").read_text()


def test_a_file_that_the_operator_has_changed_stays_and_is_named(office: Office) -> None:
    own = office.folder / "inventory" / "node3.yaml"
    own.write_text(own.read_text() + "# the one beside the window\n")

    done = office.ok("host", "remove", "node3", "-y", "-o", "json").json()

    assert done == [
        {
            "host": "node3",
            "added": True,
            "forced": False,
            "images": [],
            "left": None,
            "inventory_removed": None,
            "inventory_left": [str(own)],
        }
    ]
    assert own.exists()


def test_it_asks_and_names_what_is_lost(office: Office) -> None:
    words = ("host", "remove", "node[1-2]")
    refused = office.run(*words)
    assert refused.code == 2
    assert "demo.qcow2 is on no other host" in refused.err
    assert "nothing was changed" in refused.err
    assert office.run(*words, tty=True, answer="n\n").code == 2
    assert names(office) == ["node1", "node2", "node3"]

    office.ok(*words, tty=True, answer="y\n")

    assert names(office) == ["node3"]
    assert office.ok("image", "list", "-o", "json").json() == []


def test_a_dry_run_shows_the_script_and_changes_nothing(office: Office) -> None:
    before = office.everything()

    dry = office.ok("host", "remove", "node1", "--dry-run", "-o", "json").json()

    assert [s["name"] for s in dry["steps"]] == ["ReleaseHost"]
    assert "demo.qcow2" in dry["steps"][0]["script"]
    assert "nothing was changed" in office.ok("host", "remove", "node*", "--dry-run").out
    assert office.everything() == before


def test_hosts_with_vms_are_refused_and_the_others_go(office: Office) -> None:
    office.ok(*CREATE)

    only = office.run("host", "remove", "node1", "-y")
    both = office.run("host", "remove", "node1", "node3", "-y", "-o", "json")

    assert only.code == 5
    assert "node1 has 1 VM: web1 (Running)" in only.err
    assert "try: tashictl vm destroy web1" in only.err
    assert both.code == 4
    assert [g["host"] for g in both.json()] == ["node3"]
    assert "web1" in both.error["cause"]
    assert office.run("host", "remove", "node1", "--dry-run").code == 5


def test_a_host_that_does_not_answer_is_forgotten_only_by_force(office: Office) -> None:
    office.remote.down.add("node3")

    refused = office.run("host", "remove", "node3", "-y")
    assert refused.code == 6
    assert "tashictl host remove node3 --force" in refused.err
    assert "node3" in names(office)

    forced = office.ok("host", "remove", "node3", "--force", "-y")

    assert "node3 is forgotten" in forced.out
    assert "/var/lib/tashi/" in forced.err
    assert "node3" not in names(office)


def test_one_that_is_interrupted_is_listed_and_resumed(office: Office) -> None:
    office.remote.upon("ReleaseHost", Trouble.MUTE)
    assert office.run("host", "remove", "node3", "-y").code == 6
    (line,) = [
        one["command"]
        for one in office.ok("status", "-o", "json").json()["attention"]
        if one["kind"] == "operation"
    ]
    assert office.run("op", "undo", line.split()[-1]).code == 5

    done = office.ok(*line.split()[1:])

    assert "node3 is gone" in done.out
    assert names(office) == ["node1", "node2"]
    assert not (office.folder / "inventory" / "node3.yaml").exists()


def test_a_host_that_only_the_inventory_knows_is_taken_out_of_it(office: Office) -> None:
    (office.folder / "inventory" / "node4.yaml").write_text(
        "hosts:\n  node4: {address: box.example}\n"
    )

    done = office.ok("host", "remove", "node4", "-y")

    assert "node4 was not added" in done.out
    assert not (office.folder / "inventory" / "node4.yaml").exists()
    assert office.run("host", "remove", "node4", "-y").code == 3


def test_a_host_that_is_no_longer_listed_is_removed_by_force(office: Office) -> None:
    (office.folder / "inventory" / "node3.yaml").unlink()

    assert office.run("host", "remove", "node3", "-y").code == 2
    office.ok("host", "remove", "node3", "--force", "-y")

    with office.store().transaction() as tx:
        assert "node3" not in tx.state.hosts
