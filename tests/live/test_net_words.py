"""The words of a change of a network that need no network: leases that move with their client."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tashictl.planning.net.text import WORDS
from tests.live.ground import SHELLS

LEASE = """\
default-duid "\\000\\001";
lease {
  interface "eth0";
  fixed-address 192.0.2.5;
  option dhcp-lease-time 600;
}
"""


@pytest.fixture(params=list(SHELLS))
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(SHELLS[request.param])


def kept(folder: Path) -> None:
    """The client of eth0 was stopped in this change."""
    (folder / "lease.eth0").write_text(LEASE)
    (folder / "lease-at.eth0").write_text(f"{folder}/dhclient.eth0.leases\n")


def words(shell: list[str], folder: Path, command: str) -> str:
    text = f"P={folder}\n{WORDS}\n{command}\n"
    done = subprocess.run([*shell, "-c", text], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_lease_file_goes_along_under_the_name_of_the_bridge(
    shell: list[str], tmp_path: Path
) -> None:
    kept(tmp_path)
    new = tmp_path / "dhclient.vmbr.leases"

    words(shell, tmp_path, f"lease_taken vmbr {new}")

    assert new.read_text() == LEASE.replace("eth0", "vmbr")


@pytest.mark.parametrize("name", ["dhclient.eth0.leases", "other.vmbr.leases"])
def test_a_lease_of_somebody_else_is_not_taken(shell: list[str], tmp_path: Path, name: str) -> None:
    kept(tmp_path)
    device = "eth0" if "eth0" in name else "vmbr"

    words(shell, tmp_path, f"lease_taken {device} {tmp_path / name}")

    assert not (tmp_path / name).exists()


def test_the_lease_file_of_a_client_is_what_stands_behind_lf(shell: list[str]) -> None:
    line = "lease_file /sbin/dhclient -4 -i -lf /var/lib/dhcp/x.leases -I eth0; lease_file a b"

    assert words(shell, Path("/nowhere"), line) == "/var/lib/dhcp/x.leases\n"


@pytest.mark.parametrize(("way", "asked"), [("stay=", 1), ("stay=1", 2)])
def test_a_client_without_a_lease_goes_on_asking_on_the_way_back_only(
    shell: list[str], tmp_path: Path, way: str, asked: int
) -> None:
    client, log = tmp_path / "client", tmp_path / "asked"
    client.write_text(f"#!/bin/sh\necho $$ >>{log}\nexec sleep 300\n")
    client.chmod(0o755)

    said = words(shell, tmp_path, f"{way}; dhcp_start none0 1 {client} none0 || echo failed")

    assert said == "no lease for none0 within 1 s\nfailed\n"
    deadline_s = time.monotonic() + (30 if asked == 2 else 0.5)
    while (pids := log.read_text().split()) and time.monotonic() < deadline_s:
        if len(pids) > 1:
            break
        time.sleep(0.05)
    assert len(pids) == asked
    if asked == 2:
        os.kill(int(pids[1]), signal.SIGKILL)  # it lives
