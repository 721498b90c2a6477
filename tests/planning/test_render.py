from pathlib import Path

import pytest
from msgspec.structs import replace

import tashictl
from tashictl.errors import InvalidRequest
from tashictl.planning import render
from tests.planning.cases import LAB, LAN

SHIPPED = (Path(tashictl.__file__).parents[1] / "templates" / "qemu-ifup.j2").read_text()


def test_the_shipped_template_joins_the_tap_to_the_bridge() -> None:
    text = render.ifup(SHIPPED, LAN)

    assert text.startswith("#!/bin/sh\n# rendered by tashictl")
    assert text.endswith('ip link set dev "$1" up && ip link set dev "$1" master vmbr\n')
    assert "mtu" not in text


def test_the_shipped_template_sets_the_mtu_of_the_network() -> None:
    assert 'ip link set dev "$1" mtu 9000\n' in render.ifup(SHIPPED, LAB)


@pytest.mark.parametrize(
    "template",
    [
        "{{ network.nothing }}",
        "{{ other }}",
        "{{ network.bridge",
        "{% include '/etc/passwd' %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ network.__class__.__init__.__globals__ }}",
        "{% for i in range(10**9) %}x{% endfor %}",
    ],
)
def test_a_template_that_is_wrong_or_reaches_out_is_refused(template: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        render.ifup(f"{render.IFUP_MARK}\n{template}", LAN)

    assert caught.value.code == "E-TEMPLATE"


def test_a_network_without_a_bridge_is_refused_with_what_to_add() -> None:
    with pytest.raises(InvalidRequest) as caught:
        render.ifup(SHIPPED, replace(LAN, bridge=None))

    assert "bridge" in caught.value.hint
