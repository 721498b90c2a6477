"""A cluster of this machine alone: names, folders by the XDG specification, short enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.model.names import is_name
from tashictl.model.settings import Layer
from tashictl.planning import config, inventory, local, qemu

LONG = "/home/" + "x" * 60


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("laptop", "laptop"),
        ("Laptop.example.org", "laptop"),
        ("my_old laptop!", "my-old-laptop"),
        ("-x-", "x"),
        ("", "local"),
        ("42", "local"),
        ("日本", "local"),
        ("a" * 80, "a" * 63),
    ],
)
def test_the_short_hostname_is_made_a_legal_name(hostname: str, name: str) -> None:
    assert local.host_name(hostname) == name


@given(st.text())
def test_every_hostname_gives_a_legal_name(hostname: str) -> None:
    assert is_name(local.host_name(hostname))


@pytest.mark.parametrize(
    ("environ", "lib", "run"),
    [
        ({}, "/home/a/.local/state/tashi", "/home/a/.local/state/tashi/run"),
        ({"XDG_RUNTIME_DIR": "/run/user/7/"}, "/home/a/.local/state/tashi", "/run/user/7/tashi"),
        ({"XDG_STATE_HOME": "/srv/a"}, "/srv/a/tashi", "/srv/a/tashi/run"),
        # Relative paths are invalid and count as unset.
        (
            {"XDG_RUNTIME_DIR": "run", "XDG_STATE_HOME": "state"},
            "/home/a/.local/state/tashi",
            "/home/a/.local/state/tashi/run",
        ),
        ({"XDG_RUNTIME_DIR": LONG}, "/home/a/.local/state/tashi", "/home/a/.local/state/tashi/run"),
        ({"XDG_STATE_HOME": LONG}, f"{LONG}/tashi", "/var/tmp/tashi-7/run"),
        ({"XDG_RUNTIME_DIR": "/a/../b"}, "/home/a/.local/state/tashi", None),
        ({"XDG_RUNTIME_DIR": "/a\nb"}, "/home/a/.local/state/tashi", None),
    ],
)
def test_the_best_place_for_what_runs_is_short_enough(
    environ: dict[str, str], lib: str, run: str | None
) -> None:
    found = local.lib_dir("/home/a", environ)
    best = local.run_folders(7, found, environ)[0]

    assert (found, best.path) == (lib, run or f"{lib}/run")


def test_the_longest_socket_of_a_place_that_fits_is_what_qemu_would_take() -> None:
    room = qemu.MAX_SOCKET_PATH_BYTES - len(f"/{'0' * 12}/{'0' * 36}/serial.sock")

    assert local.fits("/" + "x" * (room - 1))
    assert not local.fits("/" + "x" * room)
    assert not local.fits("/" + "é" * (room // 2 + 1))


def test_the_files_read_back_as_what_was_meant() -> None:
    lib = "/home/a b/.local/state/tashi"
    own = local.places(lib, local.run_folders(7, lib, {})[0])
    text = local.config_text("[Tashictl]\nclusterId = 0123456789ab\n", own)
    settings = config.merge([Layer(path="Tashi.cfg", text=text)]).settings

    assert settings.tashictl.cluster_id == "0123456789ab"
    assert settings.tashictl.run_dir == f"{lib}/run"
    assert (settings.tashictl.lib_dir, settings.tashictl.etc_dir) == (lib, f"{lib}/etc")
    assert settings.image_folder == f"{lib}/shared/images"
    assert local.config_text("head\n", None) == "head\n"


@pytest.mark.parametrize("name", ["laptop", "no", "null", "0x1f", "1e5"])
def test_the_inventory_is_this_machine_and_a_network_of_its_own(name: str) -> None:
    found = inventory.load([("local.yaml", local.inventory_text(name))])

    (host,), (network,) = found.hosts, found.networks
    assert (host.name, host.transport) == (name, "local")
    assert (network.mode, network.bridge, network.default) == ("user", None, True)
