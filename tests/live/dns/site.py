"""What the tests of a DNS server share: its zones, entries, and an eye on what is there."""

from collections.abc import Sequence

from msgspec.structs import replace

from tashictl.errors import TashiError
from tashictl.model.naming import DnsEntry
from tashictl.model.settings import DnsSettings, Secret, Server
from tests.live.lab.bind import Bind, Record
from tests.live.lab.tsig import Key

ZONE, NETWORK, NETWORK_V6 = "cloud.test", "172.16.0.0/16", "2001:db8::/32"
OURS = "tashictl:0123456789ab:9b2f6a34-0000-4000-8000-00000000000"
THEIRS = "tashictl:ba9876543210:9b2f6a34-0000-4000-8000-000000000009"
PATIENT_S = 60.0  # for what does answer, on a machine with other work
IMPATIENT_S = 1.0


def settings(bind: Bind, key: Key, **changes: object) -> DnsSettings:
    made = DnsSettings(
        server=Server(host=bind.server, port=bind.port),
        key_name=key.name,
        secret_key=Secret(key.secret),
        key_algorithm=key.algorithm,
        timeout_s=PATIENT_S,
    )
    return replace(made, **changes)


def entry(name: str, *addresses: str, number: int = 1, reverse: bool = True) -> DnsEntry:
    return DnsEntry(
        name=f"{name}.{ZONE}",
        addresses=addresses,
        owner=f"{OURS}{number}",
        ttl_s=90,
        reverse=reverse,
    )


WEB = entry("web", "172.16.7.7", "2001:db8::7")
WEB_V6_NAME = f"7.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa."


def everything(bind: Bind) -> set[Record]:
    found = {r for zone in (ZONE, NETWORK, NETWORK_V6) for r in bind.records(zone)}
    return {record for record in found if record.name != f"ns.{ZONE}."}


def codes(results: Sequence[TashiError | None]) -> list[str]:
    return [error.code if error is not None else "" for error in results]


def one(results: Sequence[TashiError | None]) -> TashiError:
    (error,) = results
    assert error is not None
    return error


def many(count: int) -> list[DnsEntry]:
    return [
        entry(f"vm{n}", f"172.16.{n // 250}.{n % 250 + 1}", number=10_000 + n) for n in range(count)
    ]
