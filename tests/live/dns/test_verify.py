"""What `net verify` asks a DNS server: it proves what a registration needs, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tashictl.cli.servers import SystemNames
from tashictl.model.network import Network
from tashictl.model.settings import DnsSettings
from tashictl.ops import net_verify_names
from tashictl.planning.net.standing import Row
from tests.live.dns.site import NETWORK, ZONE, everything, settings
from tests.live.lab.bind import Bind
from tests.live.lab.tsig import Key
from tests.ops.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def verified(stage: Stage, dns: DnsSettings, domain: str = ZONE) -> dict[str, Row]:
    """The rows about DNS of a network whose names and addresses are in the server's zones."""
    network = Network(
        id=5,
        name="named",
        bridge="vmbr5",
        cidr=NETWORK,
        range="172.16.7.0-172.16.7.255",
        domain=domain,
    )
    world = replace(stage.world, names=SystemNames())
    ours = replace(stage.context.settings, dns=dns)
    inventory = replace(stage.context.inventory, networks=(network,))
    context = replace(stage.context, settings=ours, inventory=inventory)
    return {row.check: row for row in net_verify_names.rows(world, context, [network])}


def test_net_verify_proves_a_server_and_leaves_nothing_there(
    bind: Bind, key: Key, newer_key: Key, stage: Stage
) -> None:
    right = verified(stage, settings(bind, key))
    assert {row.verdict for row in right.values()} == {"ok"}
    assert list(right) == ["range", "dns", "dns key", "clock", "zone", "update", "reverse"]
    assert right["reverse"].seen.startswith("16.172.in-addr.arpa takes the PTR record of 172.16.7")

    unknown = verified(stage, settings(bind, Key.generate("nobody", "hmac-sha256")))
    assert (unknown["dns"].verdict, unknown["dns key"].verdict) == ("ok", "wrong")
    elsewhere = verified(stage, settings(bind, key), domain="elsewhere.test")
    assert elsewhere["zone"].verdict == "wrong"
    refused = verified(stage, settings(bind, key), domain="newer.test")
    assert (refused["zone"].verdict, refused["update"].verdict) == ("ok", "wrong")
    bind.kill()
    assert verified(stage, settings(bind, key))["dns"].verdict == "wrong"
    bind.start()

    assert everything(bind) == set()
    assert stage.state.deferred == {}


def test_net_verify_tells_how_far_a_clock_is_off(tmp_path: Path, key: Key, stage: Stage) -> None:
    with Bind(tmp_path / "named", (ZONE, NETWORK), (key,), skew_s=400) as late:
        found = verified(stage, settings(late, key))
    assert (found["dns key"].verdict, found["clock"].verdict) == ("ok", "wrong")
    assert " s ahead of this one" in found["clock"].seen
