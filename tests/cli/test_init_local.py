"""`init --local` from the command line: looked at first, made whole, or not at all."""

import os
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.adapters import config_files, places
from tashictl.cli import init_local
from tashictl.planning import local, qemu
from tests.cli import stage
from tests.cli.office import CREATE, Office, own
from tests.ops import hosts
from tests.ops.stage import an_image
from tests.ops.test_host import answer

NAME = local.host_name(os.uname().nodename)


@pytest.fixture
def laptop(bare: Office, monkeypatch: pytest.MonkeyPatch) -> Office:
    """A machine without a cluster, of a user who is not root."""
    around = replace(config_files.surroundings(), uid=1717)
    monkeypatch.setattr(config_files, "surroundings", lambda: around)
    monkeypatch.setattr(places, "_SYSTEMD", Path("/none"))
    runtime = bare.home / "r"
    runtime.mkdir(mode=0o700)
    bare.env = {"XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(bare.home / "s")}
    for module in (local, qemu):  # tmp_path is a long one
        monkeypatch.setattr(module, "MAX_SOCKET_PATH_BYTES", 1000)
    bare.remote.hosts[NAME] = hosts.Host()
    bare.remote.probes[NAME] = answer(basics=answer_basics())
    return bare


def answer_basics(*more: str) -> str:
    lines = (
        f"time {int(time.time())}",
        "boot_id b-1",
        "arch x86_64",
        "cores 4",
        "memory_kib 4194304",
    )
    return "\n".join((*lines, "missing ip", *more))


def init(laptop: Office, *words: str, code: int = 0) -> str:
    done = laptop.run("init", str(laptop.folder), "--local", *words)
    assert done.code == code, (done.out, done.err)
    return done.out + done.err


def test_a_user_has_all_folders_below_his_own_and_a_vm_can_be_created(laptop: Office) -> None:
    done = laptop.ok("init", str(laptop.folder), "--local", "-o", "json")

    lib, run = f"{laptop.home}/s/tashi", f"{laptop.home}/r/tashi"
    assert done.json() == {
        "cluster": own(laptop),
        "directory": str(laptop.folder),
        "host": NAME,
        "network": "user",
        "run_dir": run,
        "lib_dir": lib,
    }
    assert Path(lib).stat().st_mode & 0o777 == Path(run).stat().st_mode & 0o777 == 0o700
    (host,) = laptop.ok("host", "list", "-o", "json").json()
    assert (host["name"], host["cores"], host["state"]) == (NAME, 4, "Normal")

    with laptop.store().transaction() as tx:
        tx.put_image(an_image("demo.qcow2", (NAME,)))
    made = laptop.ok(*CREATE)
    assert f"web1 is Running on {NAME}" in made.out
    assert "· ssh -p 22000 root@127.0.0.1" in made.err
    assert " at 127.0.0.1:22000   (" in made.out
    assert "127.0.0.1:22000" in laptop.ok("vm", "list").out
    (nic,) = laptop.ok("vm", "show", "web1", "-o", "json").json()["nics"]
    assert (nic["ssh_port"], nic["ip"]) == (22000, None)
    refused = laptop.run("vm", "create", "web2", "--disk", "demo.qcow2", "--nic", "user:10.0.2.9")
    assert refused.code == 2 and "mode is user" in refused.err


def test_what_is_next_names_the_cluster_where_it_is_not_the_usual_one(laptop: Office) -> None:
    said = init(laptop)

    assert "next: tashictl image build-demo" in said
    assert "  tashictl vm create web1 --disk demo.qcow2" in said
    assert "accel: tcg" in said
    other = init_local.program(stage.face(cluster=str(laptop.folder)), laptop.home / "a b")
    assert other == f"tashictl --cluster '{laptop.home}/a b'"


def test_root_uses_the_systems_folders(laptop: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    around = replace(config_files.surroundings(), uid=0)
    monkeypatch.setattr(config_files, "surroundings", lambda: around)

    done = laptop.ok("init", str(laptop.folder), "--local", "-o", "json").json()

    assert (done["run_dir"], done["lib_dir"]) == ("/run/tashi", "/var/lib/tashi")
    assert not (laptop.home / "s").exists()
    assert "Dir" not in (laptop.folder / "Tashi.cfg").read_text()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_is_missing_is_listed_with_its_packages_and_nothing_is_made(
    laptop: Office, dry: tuple[str, ...]
) -> None:
    missing = answer_basics("missing qemu-img", "missing flock")
    laptop.remote.probes[NAME] = answer(basics=missing, qemu="")
    before = laptop.everything()

    said = init(laptop, *dry, code=9)

    assert "apt-get install qemu-system-x86 qemu-utils" in said and "util-linux" in said
    assert said.count("apt-get") == 1 and "then the same command again" in said
    assert laptop.everything() == before
    assert not laptop.folder.exists() and not (laptop.home / "s").exists()


def test_a_machine_of_another_cluster_is_refused_and_nothing_is_made(laptop: Office) -> None:
    claimed = answer_basics("cluster deadbeef0000 1 7 host me@here")
    laptop.remote.probes[NAME] = answer(basics=claimed)

    said = init(laptop, code=7)

    assert "E-FOREIGN" in said and "deadbeef0000" in said
    assert f"rm {laptop.home}/s/tashi/cluster" in said
    assert not laptop.folder.exists()


def test_twice_is_a_conflict_and_a_dry_run_makes_nothing(laptop: Office) -> None:
    said = init(laptop, "--dry-run")
    assert f"would take in {NAME}, this machine" in said
    assert not laptop.folder.exists() and not (laptop.home / "s").exists()

    init(laptop)
    before = laptop.everything()
    assert "E-EXISTS" in init(laptop, code=5)
    assert laptop.everything() == before


def test_where_the_machine_cannot_be_taken_in_the_next_step_is_said(laptop: Office) -> None:
    laptop.remote.upon("MakeFolder", hosts.Trouble.FAILS)

    said = init(laptop, code=1)

    assert f"tashictl host add {NAME}" in said
    assert f"{NAME} is Normal" in laptop.ok("host", "add", NAME).out


def test_without_a_place_for_sockets_the_way_out_is_said(
    laptop: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "first_safe", lambda _folders: None)

    assert "XDG_RUNTIME_DIR" in init(laptop, code=2)
    assert not laptop.folder.exists()


def test_a_path_that_the_configuration_would_misread_is_refused(laptop: Office) -> None:
    laptop.env["XDG_STATE_HOME"] = f"{laptop.home}/a ;b"

    assert "E-PATH" in init(laptop, code=2)
    assert not laptop.folder.exists()


def test_a_logout_that_would_end_vms_is_told(
    laptop: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "ends_at_logout", lambda _user: True)
    assert "loginctl enable-linger" in init(laptop)


def test_a_local_host_is_added_without_a_key(laptop: Office) -> None:
    laptop.ok("init", str(laptop.folder))
    (laptop.folder / "inventory" / "l.yaml").write_text(local.inventory_text(NAME))

    laptop.remote.host_key = None  # type: ignore[assignment,method-assign]
    assert f"{NAME} is Normal" in laptop.ok("host", "add", NAME).out
