"""What exists, as the operator's files say: hosts and networks."""

from __future__ import annotations

from msgspec import Struct

from tashictl.model.host import HostConfig
from tashictl.model.network import Network


class Inventory(Struct, frozen=True, kw_only=True):
    """Hosts and networks in the order of the files; names and ids are unique."""

    hosts: tuple[HostConfig, ...] = ()
    networks: tuple[Network, ...] = ()

    def host(self, name: str) -> HostConfig | None:
        """The host of that name, or None."""
        return next((h for h in self.hosts if h.name == name), None)

    def network(self, name_or_id: str) -> Network | None:
        """The network of that name or decimal id, or None."""
        return next(
            (n for n in self.networks if name_or_id in (n.name, str(n.id))),
            None,
        )

    def default_network(self, configured_id: int | None) -> Network | None:
        """The one flagged default, else `configured_id` (defaultNetwork), else the only one."""
        flagged = [n for n in self.networks if n.default]
        if len(flagged) == 1:
            return flagged[0]
        if configured_id is not None:
            return next((n for n in self.networks if n.id == configured_id), None)
        return self.networks[0] if len(self.networks) == 1 and not flagged else None
