"""interfaces(5) is read as ifupdown reads it; what is not ours survives byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tashictl.planning.net import stanzas
from tashictl.planning.net.stanzas import INTERFACES, Stanza

NAMES = ("eth1", "eth2", "wlan0", "home", "eth0x", "xeth0", "vmbr.9x")
OURS = {"eth0", "eth0.999", "vmbr", "vmbr.999"}
MIXED = """\
# eth0 is the uplink \\
source-directory /etc/network/interfaces.d
auto lo eth0 \\
     eth1
allow-hotplug eth0 wlan0=home
no-auto-down eth0
iface lo inet loopback

mapping eth0
\tscript /usr/local/sbin/map
\tmap HOME eth0-home

# the uplink
iface eth0 inet static
\taddress 192.0.2.7/24
\t# inside
\tup echo one \\
\t   two
\tauto

iface common inet manual
    mtu 1500
iface eth1 inet static inherits common
    address 198.51.100.1/24
rename foo=bar
"""


def test_the_stanzas_of_an_interface_go_and_its_name_in_lists() -> None:
    assert stanzas.without(MIXED, {"eth0"}) == (
        MIXED.replace(" eth0 \\\n", " \\\n")
        .replace("allow-hotplug eth0 ", "allow-hotplug ")
        .replace("no-auto-down eth0\n", "")
        .replace("iface eth0 inet static\n\taddress 192.0.2.7/24\n", "")
        .replace("\tup echo one \\\n\t   two\n\tauto\n", "")
    )


def test_options_commands_and_continuations_are_read() -> None:
    found = {s.name: s for s in stanzas.stanzas(MIXED)}

    assert found["eth0"] == Stanza(
        name="eth0",
        family="inet",
        method="static",
        options=(("address", "192.0.2.7/24"), ("up", "echo one \t   two")),
    )
    assert found["eth1"].inherits == "common"
    assert stanzas.resolved(found["eth1"], found.values()).options == (
        ("mtu", "1500"),
        ("address", "198.51.100.1/24"),
    )


def test_a_comment_goes_on_to_no_other_line() -> None:
    text = "# the old one \\\niface eth0 inet dhcp\n"

    assert [s.name for s in stanzas.stanzas(text)] == ["eth0"]


def test_a_stanza_that_inherits_its_method_has_it() -> None:
    text = "iface base inet dhcp\n  hostname a\niface eth0 inherits base\n"
    base, heir = stanzas.stanzas(text)

    assert stanzas.resolved(heir, (base, heir)) == Stanza(
        name="eth0", family="inet", method="dhcp", options=(("hostname", "a"),)
    )


def test_stanzas_that_inherit_from_each_other_end() -> None:
    found = stanzas.stanzas("iface a inherits b\niface b inherits a\n")

    assert stanzas.resolved(found[0], found).name == "a"


@pytest.mark.parametrize(
    ("line", "path", "read"),
    [
        ("source /etc/network/interfaces.d/*", "/etc/network/interfaces.d/tashi", True),
        ("source interfaces.d/*", "/etc/network/interfaces.d/tashi", True),
        ("source interfaces.d/*.cfg", "/etc/network/interfaces.d/tashi", False),
        ("source interfaces.d/[a-z]*", "/etc/network/interfaces.d/tashi", True),
        ("source interfaces.d/[!t]*", "/etc/network/interfaces.d/tashi", False),
        ("source interfaces.d/*", "/etc/network/interfaces.d/.hidden", False),
        ("source /etc/network/*", "/etc/network/interfaces.d/tashi", False),
        ("source one interfaces.d/tash?", "/etc/network/interfaces.d/tashi", True),
        ("source-directory interfaces.d", "/etc/network/interfaces.d/tashi", True),
        ("source-directory interfaces.d/", "/etc/network/interfaces.d/a.cfg", False),
        ("# source interfaces.d/*", "/etc/network/interfaces.d/tashi", False),
        ("source interfaces.d/[z-a]", "/etc/network/interfaces.d/tashi", False),
    ],
)
def test_sourced_files_are_those_that_ifupdown_reads(line: str, path: str, read: bool) -> None:
    files = {INTERFACES: line + "\n", path: ""}

    assert (path in stanzas.sourced(files)) is read
    assert stanzas.reads({INTERFACES: line + "\n"}, path) is read


def test_files_that_source_each_other_are_read_once() -> None:
    files = {INTERFACES: "source a\nsource a\n", "/etc/network/a": "source interfaces\n"}

    assert stanzas.sourced(files) == (INTERFACES, "/etc/network/a")


_BLANK = st.sampled_from(["", " ", "\t", "# a comment", "#", "  # iface eth0 inet dhcp \\"])
_NAME = st.sampled_from(NAMES)
_LISTED = st.builds(
    lambda word, names: f"{word} {' '.join(names)}",
    st.sampled_from(["auto", "allow-hotplug", "no-auto-down", "no-scripts", "rename"]),
    st.lists(_NAME, min_size=1),
)
_OPTION = st.sampled_from(
    ["\taddress 192.0.2.1/24", "  up ip link set eth0 up", "mtu 9000", "up a \\\n  b", "auto", ""]
)
_IFACE = st.builds(
    lambda name, options: "\n".join([f"iface {name} inet static", *options]),
    _NAME,
    st.lists(_OPTION),
)
_MAPPING = st.just("mapping eth*\n\tscript /bin/true\n\tmap a eth0")
_SOURCE = st.sampled_from(["source interfaces.d/*", "source-directory interfaces.d"])
LINES = st.lists(st.one_of(_BLANK, _LISTED, _IFACE, _MAPPING, _SOURCE))
OPERATORS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))


@given(OPERATORS)
def test_text_that_has_nothing_of_ours_survives_byte_for_byte(text: str) -> None:
    assert stanzas.without(text, OURS) == text


@given(st.text(alphabet=st.sampled_from("a#\\ \t\n\r\v\"'[]*=é\u2028iface")))
def test_any_text_survives_byte_for_byte(text: str) -> None:
    assert stanzas.without(text, OURS) == text
    assert stanzas.sourced({INTERFACES: text}) == (INTERFACES,)


@given(OPERATORS, OPERATORS)
def test_what_was_taken_out_is_out_and_the_rest_is_read_as_before(before: str, after: str) -> None:
    text = f"{before}\niface vmbr inet dhcp\n  bridge_ports eth0\n\nauto vmbr eth1\n{after}"

    left = stanzas.without(text, {"vmbr"})

    assert stanzas.stanzas(left) == tuple(s for s in stanzas.stanzas(text) if s.name != "vmbr")
    assert stanzas.without(left, {"vmbr"}) == left
