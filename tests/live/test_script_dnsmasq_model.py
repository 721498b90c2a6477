"""Any changes of dnsmasq's folders, by real shells, against a model of a few lines."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tashictl.model.naming import DhcpEntry
from tashictl.planning import dnsmasq
from tests.live.ground import Ground
from tests.live.hostsdir import Site, codes, entry, owner, texts


@pytest.fixture
def site(ground: Ground) -> Site:
    return Site(ground)


class Model:
    """What the folders should say: by file, its owner and the entry, or the words of its line."""

    def __init__(self) -> None:
        self.files: dict[str, DhcpEntry] = {}

    def add(self, one: DhcpEntry) -> str:
        """Add an entry; the code of what stands against it."""
        there = self.files.get(one.name)
        if there is not None and there.owner != one.owner:
            return "E-DHCP-FOREIGN"
        for name, other in self.files.items():
            if name != one.name and (
                other.mac == one.mac
                or set(other.addresses) & set(one.addresses)
                or (one.fqdn and other.fqdn == one.fqdn)
            ):
                return "E-DHCP-FOREIGN"
        self.files[one.name] = one
        return ""

    def remove(self, one: DhcpEntry) -> str:
        """Remove an entry."""
        if (there := self.files.get(one.name)) is not None and there.owner == one.owner:
            del self.files[one.name]
        return ""

    def texts(self) -> tuple[dict[str, str], dict[str, str]]:
        """The files of both folders."""
        hosts, names = {}, {}
        for name, one in self.files.items():
            hosts[name] = f"# {one.owner}\n{dnsmasq.host_line(one)}\n"
            if one.fqdn:
                lines = "".join(f"{address} {one.fqdn}\n" for address in one.addresses)
                names[name] = f"# {one.owner}\n{lines}"
        return hosts, names


NUMBERS = st.integers(1, 3)
CHANGES = st.lists(
    st.tuples(
        st.builds(
            lambda name, mac, v4, v6, whose, fqdn: entry(
                name,
                mac=entry(mac).mac,
                addresses=(f"172.16.7.{v4}", f"2001:db8::{v6}"),
                owner=owner(whose),
                fqdn=f"x{fqdn}.test" if fqdn else "",
            ),
            *(NUMBERS, NUMBERS, NUMBERS, st.integers(1, 9), st.integers(1, 2), st.integers(0, 3)),
        ),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(CHANGES, min_size=1, max_size=3))
def test_any_changes_end_as_the_model_says(
    site: Site, batches: list[list[tuple[DhcpEntry, bool]]]
) -> None:
    for folder in (site.hosts, site.names):
        shutil.rmtree(folder, ignore_errors=True)
    model = Model()
    for batch in batches:
        wanted = [model.add(one) if add else model.remove(one) for one, add in batch]

        assert codes(site.change(*batch)) == wanted

        hosts = {name: text for name, text in texts(site.hosts).items() if name[0] != "."}
        assert (hosts, texts(site.names)) == model.texts()
