"""Bad input, each as an operator would type it: all problems at once, and nothing was changed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.lab.hosts import Lab, observe
from tests.live.lab.runner import Tashictl

NAMES = (
    *("web 1", "web/1", "web'1", 'web"1', "$(id)", "`id`", "a\nb", "-web", "wéb", "123", ""),
    *("a" * 300, "a" * 64, "Web", "web_1", "web-", ".", "..", "web;id", "web\x1b[31m", "a,b=c"),
)
MEMORY = ("0", "-1", "2X", "", "1e3", "0x10", "99999999999999999999", "1.5.G", " ", "NaN")
CORES = ("0", "-1", "x", "1.5", "", "99999999")
DISKS = (
    *("../secret", "a/../../b", "/etc/shadow", "./x", ".hidden", "blank.img,readonly=off"),
    *('blank.img",x="', "blank.img'", "a b", "blank.img:rw", "$(id)", "x\n", "", "a//b"),
)
IMAGE_NAMES = (
    *("a,b.img", "a'b.img", 'a"b.img', "a b.img", "-x.img", ".x", "a\nb", "file=x", "json:{}"),
    *("a:b.img", "../up.img", "bild-ü.img"),
)
NICS = ("nowhere", "lan:999.1.1.1", "lan::zz:zz", "lan::01:00:5e:00:00:01", "lan,script=/bin/sh")
HINTS = ("novalue", "=x", "clockOffset=utc,driftfix=slew", "cpuModel=host,+x2apic")


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster with one image."""
    directory = tmp_path_factory.mktemp("bad") / "cluster"
    return invariants.blank_cluster(lab, directory, tashictl_argv)


@pytest.fixture(autouse=True)
def unchanged(lab: Lab, cluster: Tashictl) -> Iterator[None]:
    """No test here may change a host or a byte of the cluster directory."""
    with invariants.untouched(lab, cluster, but="/state/locks"):
        yield


def create(cluster: Tashictl, *argv: str) -> list[str]:
    """Codes of all errors of a `vm create` that must be refused with exit code 2."""
    result = cluster.run("vm", "create", *argv, "-o", "json", check=False)
    invariants.refused(result, 2)
    return invariants.codes(result)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_bad_name_is_refused(cluster: Tashictl, name: str) -> None:
    argv = ("vm", "create", "-o", "json", "--disk", invariants.IMAGE, "--", name)
    assert invariants.refused(cluster.run(*argv, check=False), 2)["code"] == "E-NAME"


@pytest.mark.parametrize("memory", MEMORY, ids=ascii)
def test_a_bad_memory_is_refused(cluster: Tashictl, memory: str) -> None:
    assert create(cluster, "v1", "--disk", invariants.IMAGE, f"--memory={memory}") == ["E-MEMORY"]


@pytest.mark.parametrize("cores", CORES, ids=ascii)
def test_a_bad_number_of_cores_is_refused(cluster: Tashictl, cores: str) -> None:
    assert create(cluster, "v1", "--disk", invariants.IMAGE, f"--cores={cores}") == ["E-CORES"]


@pytest.mark.parametrize("disk", DISKS, ids=ascii)
def test_a_bad_disk_is_refused(cluster: Tashictl, disk: str) -> None:
    assert create(cluster, "v1", f"--disk={disk}")[0] in ("E-IMAGE", "E-DISK")


@pytest.mark.parametrize("nic", NICS, ids=ascii)
def test_a_bad_nic_is_refused(cluster: Tashictl, nic: str) -> None:
    codes = create(cluster, "v1", "--disk", invariants.IMAGE, "--nic", nic)
    assert codes[0] in ("E-NIC", "E-NETWORK", "E-MAC")


@pytest.mark.parametrize("hint", HINTS, ids=ascii)
def test_a_bad_hint_is_refused(cluster: Tashictl, hint: str) -> None:
    assert create(cluster, "v1", "--disk", invariants.IMAGE, "--hint", hint) == ["E-HINT"]


def test_all_problems_of_a_request_are_said_at_once(cluster: Tashictl) -> None:
    wrong = ("--disk", "none.img", "--memory", "2X", "--cores", "0", "--nic", "zz", "--host", "h9")
    codes = create(cluster, "Bad Name", *wrong, "--hint", "diskInterface=floppy,x")
    assert sorted(codes) == sorted(
        ["E-NAME", "E-IMAGE", "E-MEMORY", "E-CORES", "E-NETWORK", "E-HOST", "E-HINT"]
    )


def test_the_nearest_known_names_are_shown(cluster: Tashictl) -> None:
    result = cluster.run("vm", "create", "v1", "--disk", "blan.img", "-o", "json", check=False)
    error = invariants.refused(result, 2, "blan.img")
    assert invariants.IMAGE in error["hint"]


def test_an_unknown_owner_of_options_is_refused_before_anything_else(cluster: Tashictl) -> None:
    for argv in (
        ("vm", "creat", "v1"),
        ("vm", "create", "--disc", "x", "v1"),
        ("vn", "list"),
        ("vm", "create"),
        ("vm", "destroy"),
        ("op", "undo", "x"),
        ("--output", "xml"),
    ):
        result = cluster.run(*argv, check=False)
        assert result.rc == 2, str(result)
        assert result.err.startswith("error[E-"), str(result)
        assert "Traceback" not in result.err


@pytest.mark.parametrize("name", IMAGE_NAMES, ids=ascii)
def test_no_image_gets_a_name_that_qemu_could_read_otherwise(
    cluster: Tashictl, tmp_path: Path, name: str
) -> None:
    source = invariants.blank_image(tmp_path)
    argv = ("image", "import", f"--name={name}", str(source), "-o", "json")
    assert invariants.refused(cluster.run(*argv, check=False), 2)["code"] == "E-IMAGE"


def test_an_image_file_that_is_none_is_refused(cluster: Tashictl, tmp_path: Path) -> None:
    empty = tmp_path / "empty.img"
    empty.touch()
    short = tmp_path / "short.qcow2"
    short.write_bytes(b"QFI\xfb\0\0\0\3")
    backed = tmp_path / "backed.qcow2"
    backed.write_bytes(
        b"QFI\xfb\0\0\0\3"
        + (104).to_bytes(8, "big")
        + (11).to_bytes(4, "big")
        + bytes(4)
        + (1 << 20).to_bytes(8, "big")
        + bytes(72)
        + b"/etc/shadow"
    )
    for path in (empty, short, backed, tmp_path / "absent.img", tmp_path):
        result = cluster.run("image", "import", str(path), "-o", "json", check=False)
        invariants.refused(result, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hosts: [", ("lab.yaml:2",)),
        ("hosts:\n  h1: {adress: 10.0.0.1}\n", ("lab.yaml", "adress", "address")),
        ("hosts:\n  h1: {cores: many}\n", ("lab.yaml", "cores")),
        ("hosts:\n  h1: !!python/object/apply:os.system ['id']\n", ("lab.yaml",)),
        ("hosts:\n  h1: {}\nnetworks:\n  - {id: x, name: lan, bridge: vmbr}\n", ("lab.yaml", "id")),
        ("\x00\x01", ("lab.yaml",)),
    ],
    ids=["cut", "unknown-key", "wrong-kind", "python-tag", "network", "binary"],
)
def test_a_malformed_inventory_is_named_with_file_and_line(
    cluster: Tashictl, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(text, encoding="utf-8")
    argv = ("vm", "create", "v1", "--disk", invariants.IMAGE, "--inventory", str(path))
    invariants.refused(cluster.run(*argv, "-o", "json", check=False), 2, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clusterId = 123456789012\n", ("Tashi.cfg", "1")),
        ("[Tashictl\nclusterId = 123456789012\n", ("Tashi.cfg", "1")),
        (
            "[Tashictl]\nclusterId = 123456789012\nlockTimout = 3\n",
            ("lockTimout", "lockTimeout", "3"),
        ),
        ("[Tashictl]\nstepTimeout = never\nlockTimeout = soon\n", ("stepTimeout", "lockTimeout")),
        ("[Qemu]\naccel = fast\n[Tashictl]\nclusterId = 123456789012\n", ("accel", "tcg")),
    ],
    ids=["no-section", "open-bracket", "unknown-option", "two-wrong-values", "no-such-choice"],
)
def test_a_malformed_configuration_is_named_with_file_and_line(
    cluster: Tashictl, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "Tashi.cfg").write_text(text, encoding="utf-8")
    (tmp_path / "state").mkdir(mode=0o700)
    argv = ("--cluster", str(tmp_path), "vm", "create", "v1", "--disk", "x", "-o", "json")
    invariants.refused(cluster.run(*argv, check=False), 2, *words)


@pytest.mark.parametrize(
    "option",
    [
        "[DhcpDns]\ndnsSecretKey = c2VjcmV0\n",
        "[SQL]\npassword = x\n",
        "[DhcpDns]\ndhcpSecretKey = c2VjcmV0\n",
    ],
)
def test_secrets_that_others_can_read_are_refused(
    cluster: Tashictl, tmp_path: Path, option: str
) -> None:
    path = tmp_path / "Tashi.cfg"
    path.write_text(f"[Tashictl]\nclusterId = 123456789012\n{option}", encoding="utf-8")
    path.chmod(0o644)
    argv = ("--cluster", str(tmp_path), "config", "show", "-o", "json")
    error = invariants.refused(cluster.run(*argv, check=False), 2, "Tashi.cfg", "chmod")
    assert "c2VjcmV0" not in json.dumps(error)
    path.chmod(0o600)
    shown = cluster.run(*argv)
    assert "c2VjcmV0" not in shown.out + shown.err


def test_a_configuration_of_someone_else_is_not_believed(cluster: Tashictl, tmp_path: Path) -> None:
    path = tmp_path / "Tashi.cfg"
    path.write_text("[Tashictl]\nclusterId = 123456789012\n", encoding="utf-8")
    for owner, mode in ((1234, 0o644), (0, 0o666)):
        os.chown(path, owner, owner)
        path.chmod(mode)
        argv = ("--cluster", str(tmp_path), "config", "show", "-o", "json")
        result = cluster.run(*argv, check=False)
        assert result.rc in (2, 7), str(result)
        invariants.refused(result, result.rc, "Tashi.cfg")


def test_an_inventory_of_someone_else_is_not_run(cluster: Tashictl, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "inventory.sh"
    path.write_text(f"#!/bin/sh\ntouch {mark}\necho '{{}}'\n", encoding="utf-8")
    path.chmod(0o755)
    os.chown(path, 1234, 1234)
    argv = ("vm", "create", "v1", "--disk", invariants.IMAGE, "--inventory", str(path))
    result = cluster.run(*argv, "-o", "json", check=False)
    assert result.rc in (2, 7), str(result)
    assert not mark.exists()


def test_nothing_of_all_this_started_anything(lab: Lab, cluster: Tashictl) -> None:
    assert observe(lab.hosts[0]).qemus == ()
    assert invariants.records(cluster) == []
