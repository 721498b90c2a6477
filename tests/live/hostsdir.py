"""dnsmasq's folders in a folder of a test: entries, and what the scripts do with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tashictl.errors import TashiError
from tashictl.model.naming import DhcpEntry, DnsmasqFolders
from tashictl.model.settings import DhcpSettings, Settings
from tashictl.planning import dnsmasq, dnsmasq_look
from tests.live.ground import Ground

NONCE = "00112233aabbccdd"
Results = list[TashiError | None]


def owner(uuid: object, cluster: str = "0123456789ab") -> str:
    """The mark of a VM."""
    return f"tashictl:{cluster}:{uuid}"


def entry(number: int, **values: Any) -> DhcpEntry:
    """An interface with one address of each kind; `values` change it."""
    high, low = divmod(number, 250)
    usual: dict[str, Any] = {
        "driver": "dnsmasq",
        "network": 1,
        "name": f"vm{number}",
        "mac": f"02:16:00:00:{high:02x}:{low:02x}",
        "addresses": (f"172.16.{high + 7}.{low}", f"2001:db8::{number:x}"),
        "owner": owner(number),
        "fqdn": f"vm{number}.cloud.test",
    }
    return DhcpEntry(**{**usual, **values})


class Folders:
    """Both folders, and the shell that a script is given to: stdin to stdout."""

    def __init__(self, settings: DhcpSettings, shell: Callable[[str], bytes]) -> None:
        self.settings = Settings(dhcp=settings)
        self.shell = shell

    def script(self, *changes: tuple[DhcpEntry, bool], late: bool = False) -> str:
        """The text of a script."""
        not_after_s = int(time.time()) + (-60 if late else 300)
        return dnsmasq.script(changes, self.settings, NONCE, not_after_s).text

    def change(self, *changes: tuple[DhcpEntry, bool], late: bool = False) -> Results:
        """What became of each change."""
        out = self.shell(self.script(*changes, late=late))
        results = dnsmasq.read(out, NONCE, changes, self.settings, "node1")
        assert results is not None, out
        return results

    def add(self, *entries: DhcpEntry) -> Results:
        """Add them in one script."""
        return self.change(*((one, True) for one in entries))

    def remove(self, *entries: DhcpEntry) -> Results:
        """Remove them in one script."""
        return self.change(*((one, False) for one in entries))

    def look(self) -> DnsmasqFolders:
        """What lies there."""
        found = dnsmasq_look.read(
            self.shell(dnsmasq_look.listing(self.settings, NONCE).text), NONCE
        )
        assert found is not None
        return found


class Site(Folders):
    """The folders of a ground."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.hosts = ground.root / "et c" / "hosts"
        self.names = ground.root / "names"
        self.pid_file = ground.root / "pid"
        settings = DhcpSettings(
            dnsmasq_leases_dir=str(self.hosts),
            dnsmasq_names_dir=str(self.names),
            dnsmasq_pid_file=str(self.pid_file),
        )
        super().__init__(settings, ground.text)

    def without_names(self) -> Folders:
        """As where there is no hostsdir."""
        settings = DhcpSettings(
            dnsmasq_leases_dir=str(self.hosts), dnsmasq_pid_file=str(self.pid_file)
        )
        return Folders(settings, self.shell)


def codes(results: Results) -> list[str]:
    """The codes of what went wrong, "" for what is done."""
    return ["" if error is None else error.code for error in results]


def texts(folder: Path) -> dict[str, str]:
    """What each file of a folder says, those that begin with a dot too."""
    return {p.name: p.read_text() if p.is_file() else "folder" for p in sorted(folder.iterdir())}
