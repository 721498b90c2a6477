"""`host setup` with the real apt-get and dpkg: from an archive in a folder of the host."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import invariants
from tests.live.conftest import give_up
from tests.live.lab.host import Host
from tests.live.lab.hosts import Lab
from tests.live.lab.runner import Result, Tashictl

PACKAGE, TOOL = "qemu-utils", "/usr/bin/qemu-img"
CONTROL = f"Package: {PACKAGE}\nVersion: 99:1\nArchitecture: all\nMaintainer: nobody <n@x.org>\n"
LOCK = "/var/lib/dpkg/lock-frontend"
HOLD = (
    f"import fcntl,time; f=open('{LOCK}','w'); fcntl.lockf(f,fcntl.LOCK_EX); "
    "open('/run/held','w'); time.sleep(300)"
)


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host, whose dpkg knows of no qemu-utils, and whose apt has no archive at all."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        give_up("no apt-get and dpkg-deb: this machine is no Debian")
    with Lab(1) as raised:
        made = raised.host("h1")
        made.run(f"dpkg --force-all -P {PACKAGE}; [ ! -e {TOOL} ]", check=True)
        made.run("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*", check=True)
        yield raised


@pytest.fixture
def host(lab: Lab) -> Host:
    """The one host."""
    return lab.host("h1")


@pytest.fixture(scope="module")
def cluster(
    lab: Lab, tashictl_argv: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Tashictl:
    """A cluster with the host trusted."""
    host = lab.host("h1")
    directory = tmp_path_factory.mktemp("apt") / "cluster"
    made = Tashictl(tashictl_argv, directory, directory.parent)
    made.run("init", str(directory))
    (directory / "inventory/lab.yaml").write_text(
        f"hosts:\n  h1: {{address: {host.address}, identity_file: {lab.key}}}\n"
        "networks:\n  - {id: 1, name: lan, bridge: vmbr, default: true}\n",
        encoding="utf-8",
    )
    made.run("host", "trust", "h1", "--fingerprint", host.host_key_fingerprint)
    return made


def setup(cluster: Tashictl) -> Result:
    return cluster.run("host", "setup", "h1", "-y", "-o", "json", check=False)


def archive(host: Host, tmp_path: Path) -> None:
    """An archive with one package in a folder of the host, which its apt knows of."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(f"{CONTROL}Description: a stub\n", encoding="utf-8")
    (tree / "usr/bin").mkdir(parents=True)
    (tree / TOOL.lstrip("/")).write_text("#!/bin/sh\n", encoding="utf-8")
    (tree / TOOL.lstrip("/")).chmod(0o755)
    deb = tmp_path / "stub.deb"
    argv = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)]
    subprocess.run(argv, check=True, capture_output=True)
    data = deb.read_bytes()
    folder = host.root / "srv/archive"
    folder.mkdir()
    (folder / "stub.deb").write_bytes(data)
    (folder / "Packages").write_text(
        f"{CONTROL}Filename: ./stub.deb\nSize: {len(data)}\n"
        f"SHA256: {hashlib.sha256(data).hexdigest()}\nDescription: a stub\n",
        encoding="utf-8",
    )
    (host.root / "etc/apt/sources.list").write_text(
        "deb [trusted=yes] file:/srv/archive ./\n", encoding="utf-8"
    )


def test_a_package_that_no_archive_has_and_then_one_has(
    cluster: Tashictl, host: Host, tmp_path: Path
) -> None:
    error = invariants.refused(setup(cluster), 1, "h1")
    assert f"E: Package '{PACKAGE}' has no installation candidate" in error["cause"]
    assert "/etc/apt" in error["hint"]

    archive(host, tmp_path)
    done = setup(cluster)

    assert done.rc == 0, str(done)
    assert done.json()[0]["changes"][0] == f"installed {PACKAGE}"
    assert host.run(f"dpkg-query -W -f '${{Version}}' {PACKAGE}").stdout == "99:1"
    assert setup(cluster).json()[0]["changes"] == []


def test_a_program_that_its_package_does_not_bring_is_told(cluster: Tashictl, host: Host) -> None:
    host.run(f"mv {TOOL} {TOOL}.away", check=True)
    try:
        error = invariants.refused(setup(cluster), 1, "h1")
    finally:
        host.run(f"mv {TOOL}.away {TOOL}", check=True)
    assert "though their packages are installed" in error["message"]


@pytest.mark.slow
def test_a_dpkg_that_another_one_holds_is_waited_for_and_then_told(
    cluster: Tashictl, host: Host
) -> None:
    host.run(f"dpkg --force-all -P {PACKAGE}", check=True)
    holder = host.run(
        f'python3 -c "{HOLD}" >/dev/null 2>&1 & echo $!; '
        "until [ -e /run/held ]; do sleep 0.1; done",
        check=True,
    ).stdout.strip()
    try:
        error = invariants.refused(setup(cluster), 1, "h1")
    finally:
        host.run(f"kill {holder}")
    assert "lock" in error["cause"]
    assert "another package manager works there" in error["hint"]
