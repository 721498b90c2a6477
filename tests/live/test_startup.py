"""What a command loads: an interpreter of its own is needed to see it."""

from pathlib import Path

import pytest

from bench import crowd, vm_list


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tashictl_argv: list[str]) -> Path:
    """A home with a cluster directory of three VMs in it, and no host to reach."""
    folder = tmp_path_factory.mktemp("startup")
    crowd.cluster(folder, vms=3)
    return folder


@pytest.mark.parametrize("form", ["json", "table"])
def test_vm_list_loads_nothing_that_reaches_a_host_or_writes(home: Path, form: str) -> None:
    assert vm_list.loaded(home / "cluster", home, "vm", "list", "-o", form) == []


def test_a_command_that_reaches_no_host_loads_no_ssh(home: Path) -> None:
    # What it needs itself is named: the probe sees what is loaded.
    assert vm_list.loaded(home / "cluster", home, "schedule", "-o", "json") == ["yaml", "tinydb"]


def test_status_loads_the_inventory_and_nothing_that_reaches_a_host(home: Path) -> None:
    assert vm_list.loaded(home / "cluster", home, "status", "-o", "json") == ["yaml", "tinydb"]
