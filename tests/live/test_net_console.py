"""What docs/networks.md says to type at a console, typed: it brings the host back."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tashictl.model.net import HostFile
from tests.live.lab.hosts import Lab
from tests.live.switching import Switch

DOCUMENT = Path(__file__).parents[2] / "docs" / "networks.md"


@pytest.fixture(scope="module")
def lab(machine: None) -> Iterator[Lab]:
    """One host."""
    with Lab(1) as raised:
        yield raised


@pytest.fixture
def switch(lab: Lab) -> Iterator[Switch]:
    made = Switch(lab.hosts[0], 7001)
    yield made
    made.end()


def blocks(switch: Switch) -> list[str]:
    """The commands of the section, in the folders of this change; without the reboots."""
    section = DOCUMENT.read_text().split("## At a console, by hand")[1].split("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    places = {"/run/tashi/net": switch.net_dir, "/var/lib/tashi/net": f"{switch.lib_dir}/net"}
    for index, text in enumerate(found):
        for there, here in places.items():
            text = text.replace(there, here)
        found[index] = re.sub(r"^reboot.*\n", "", text, flags=re.MULTILINE)
    return found


def test_what_is_in_flight_is_seen_and_goes_back_at_once(switch: Switch) -> None:
    switch.applied(files=(switch.new_file(),))
    look, back, *_ = blocks(switch)[0].splitlines()
    assert "applied" in switch.host.run(look, check=True).stdout
    switch.host.run(back, check=True)
    assert switch.await_stage("reverted").active is False
    assert not switch.is_there
    ended = blocks(switch)[0].splitlines()[2]
    assert "reverted" in switch.host.run(ended, check=True).stdout


def test_after_a_confirmation_the_files_from_before_are_put_back(switch: Switch) -> None:
    switch.write(switch.file, "old\n")
    gone, made = f"{switch.file}.gone", f"{switch.file}.made"
    switch.write(gone, "away\n")
    switch.applied(
        files=(
            switch.new_file(),
            HostFile(path=gone, text=None, mode=0o644),
            HostFile(path=made, text="made\n", mode=0o644),
        )
    )
    switch.confirm()
    assert (switch.text(switch.file), switch.text(gone), switch.text(made)) == (
        *("new\n", None, "made\n"),
    )
    switch.host.run(blocks(switch)[1], check=True)
    assert (switch.text(switch.file), switch.text(gone), switch.text(made)) == (
        *("old\n", "away\n", None),
    )
